"""What the public portal (互联网公开门户) shows: published rows, and nothing that waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlmodel import Session, col, select

from gridsecure.circulation.documents import moment
from gridsecure.circulation.products import ON_SALE, STAGE_NAMES, STAGE_OF, ProductDesign
from gridsecure.circulation.trade import Need, Offer
from gridsecure.circulation.uses import ReleasedAggregate, read_aggregate
from gridsecure.errors import GridSecureError
from gridsecure.market import shelf
from gridsecure.market.standing import MOST_STANDING
from gridsecure.market.tables import DocumentRow
from gridsecure.messages import CellTotal, Message, ReleaseCertificate
from gridsecure.plans.cells import BILLS, ENERGY, MONEY
from gridsecure.store.rows import find_many
from gridsecure.wire.market import (
    PublicCell,
    PublicNeed,
    PublicOffer,
    PublicProduct,
    PublicTold,
    PublicTotals,
)
from gridsecure.wire.services import Answer

_HERE: Final = Path(__file__).parent
MOST: Final = 100
"""Rows of each list: the newest."""
_OF_ONE: Final = 25
"""Rows of one organisation that come before others' older ones."""
_LOOKED_AT: Final = MOST // _OF_ONE * MOST_STANDING
"""So many of the newest rows hold a whole list, whoever they are of: no organisation has more than
`MOST_STANDING`, so each row that is shown before others' older ones stands for four at the most."""
MOST_CELLS: Final = 3000
"""Cells of all totals together, those of the newest first: strangers ask for them, and as often as
they like, so a page stays small enough to be kept."""
LANGUAGES: Final = ("zh", "en")


UNITS: Final[Mapping[str, tuple[str, str, str]]] = {
    BILLS: ("1", "账单（份）", "bills"),
    ENERGY: ("Wh", "电量（瓦时）", "energy [Wh]"),
    MONEY: ("fen", "电费（分）", "amount [fen]"),
}
"""Of each measure its unit, and what the page calls it in Chinese and English."""

TimedT = TypeVar("TimedT", Offer, Need)
SaidT = TypeVar("SaidT", bound=Message)


@dataclass(frozen=True, slots=True)
class Shown(Generic[SaidT]):
    """A published document.

    Args:
        stage: Of a product, "product" or "asset"; else empty.
        product: Of an offer, the design that it is of.
    """

    row: DocumentRow
    said: SaidT
    stage: str = ""
    stage_zh: str = ""
    product: ProductDesign | None = None


@dataclass(frozen=True, slots=True)
class ShownTotals:
    """Released totals as everybody gets them: their told cells alone.

    Args:
        certificate: Its digest.
        release: What the certificate says; of it release id, policy and period are told.
        cells: Those with a value; of all totals together no more than `MOST_CELLS`.
    """

    row: DocumentRow
    said: ReleasedAggregate
    certificate: str
    release: ReleaseCertificate
    cells: tuple[CellTotal, ...]


@dataclass(frozen=True, slots=True)
class PublicRows:
    """All that is shown to everybody, the newest first."""

    products: list[Shown[ProductDesign]]
    offers: list[Shown[Offer]]
    needs: list[Shown[Need]]
    aggregates: list[ShownTotals]


def read_public(session: Session, *, now: datetime) -> PublicRows:
    """What is published at a moment; what is over by then is left out."""
    designs = [
        (row, STAGE_OF[state]) for state in ON_SALE for row in _rows(session, ProductDesign, state)
    ]
    designs.sort(key=lambda found: -(found[0].id or 0))
    products = [
        Shown(row, ProductDesign.parse(row.envelope.body), stage, STAGE_NAMES[stage])
        for row, stage in designs[:MOST]
    ]
    return PublicRows(
        products=products,
        offers=_offers(session, now),
        needs=[Shown(row, said) for row, said in _standing(session, Need, now)],
        aggregates=_aggregates(session),
    )


def _offers(session: Session, now: datetime) -> list[Shown[Offer]]:
    found = _standing(session, Offer, now)
    designs = find_many(session, DocumentRow, [said.design for _, said in found], by="digest")
    return [
        Shown(row, said, product=ProductDesign.parse(designs[said.design].envelope.body))
        for row, said in found
        if designs[said.design].state in ON_SALE
    ]


def _standing(
    session: Session, kind: type[TimedT], now: datetime
) -> list[tuple[DocumentRow, TimedT]]:
    return [(row, kind.parse(row.envelope.body)) for row in _rows(session, kind, now=now)]


def _rows(
    session: Session,
    kind: type[Message],
    state: str = shelf.IN_FORCE,
    *,
    now: datetime | None = None,
) -> list[DocumentRow]:
    """The newest rows of a kind, of which no organisation pushes out another's.

    Args:
        now: The present, of a kind that ends by itself.
    """
    looked = select(DocumentRow.id, DocumentRow.organisation).where(
        DocumentRow.kind == kind.kind, DocumentRow.state == state
    )
    if now is not None:
        looked = looked.where(col(DocumentRow.until) > now)
    seen, first, older = Counter[str](), list[int | None](), list[int | None]()
    newest = looked.order_by(col(DocumentRow.id).desc()).limit(_LOOKED_AT)
    with session.exec(newest.execution_options(yield_per=MOST)) as rows:
        for number, organisation in rows:
            seen[organisation] += 1
            (first if seen[organisation] <= _OF_ONE else older).append(number)
            if len(first) == MOST:
                break
    chosen = [*first, *older][:MOST]
    found = select(DocumentRow).where(col(DocumentRow.id).in_(chosen))
    return list(session.exec(found.order_by(col(DocumentRow.id).desc())))


def _aggregates(session: Session) -> list[ShownTotals]:
    """The newest totals, as far as their cells fit on the page."""
    found, left = [], MOST_CELLS
    for row in _rows(session, ReleasedAggregate):
        one = _aggregate(row)
        if one is None:
            continue
        if left <= 0:
            break
        found.append(replace(one, cells=one.cells[:left]))
        left -= len(one.cells)
    return found


def _aggregate(row: DocumentRow) -> ShownTotals | None:
    """A row of totals; None where it cannot be shown, so that it takes nobody else's page down."""
    said = ReleasedAggregate.parse(row.envelope.body)
    # Its signatures were verified as it came in, and a kept row never changes.
    release = ReleaseCertificate.parse(said.certificate.body)
    try:
        cells = tuple(cell for cell in read_aggregate(said, release) if cell.value is not None)
        for cell in cells:
            moment(cell.start)
            moment(cell.end)
    except GridSecureError:
        return None
    return ShownTotals(row, said, said.certificate.digest, release, cells)


def tell_public(rows: PublicRows) -> PublicTold:
    """What is shown, as programs read it. A person's name is in none of it."""
    return PublicTold(
        products=[
            PublicProduct(**_named(one, PublicProduct), stage=one.stage) for one in rows.products
        ],
        offers=[PublicOffer(**_named(one, PublicOffer)) for one in rows.offers],
        needs=[PublicNeed(**_named(one, PublicNeed)) for one in rows.needs],
        aggregates=[_tell_totals(one) for one in rows.aggregates],
    )


def _named(one: Shown[Any], to: type[Answer]) -> dict[str, Any]:
    """Of a document what an answer has fields for."""
    wanted = to.model_fields.keys() & type(one.said).model_fields.keys()
    said: dict[str, Any] = one.said.model_dump(include=wanted)
    return said | {"digest": one.row.digest}


def _tell_totals(one: ShownTotals) -> PublicTotals:
    return PublicTotals(
        digest=one.row.digest,
        organisation=one.said.organisation,
        design=one.said.design,
        title=one.said.title,
        title_zh=one.said.title_zh,
        release_id=one.release.release_id,
        certificate=one.certificate,
        policy=one.release.policy,
        start=one.release.start,
        end=one.release.end,
        cells=[
            PublicCell(
                zone=cell.zone,
                customer_class=cell.customer_class,
                start=cell.start,
                end=cell.end,
                measure=cell.measure,
                unit=UNITS[cell.measure][0],
                value=cell.value or "",
            )
            for cell in one.cells
        ],
    )


@cache
def _templates() -> Environment:
    made = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)
    made.filters["minute"] = _to_the_minute
    return made


def _to_the_minute(text: str) -> str:
    """A time as people read it, with its offset: 2026-07-01 00:00 +08:00."""
    at = moment(text)
    return f"{at:%Y-%m-%d %H:%M} {at.isoformat()[-6:]}"


def write_page(rows: PublicRows, *, language: str) -> str:
    """The page in a language, "zh" or "en"; there is no script in it."""
    other = "en" if language == "zh" else "zh"
    template = _templates().get_template("portal.html.jinja")
    is_chinese = language == "zh"
    measures = {name: words[1 if is_chinese else 2] for name, words in UNITS.items()}
    return template.render(
        rows=rows, zh=is_chinese, language=language, other=other, measures=measures
    )


def stylesheet() -> bytes:
    """The page's style."""
    return (_HERE / "portal.css").read_bytes()
