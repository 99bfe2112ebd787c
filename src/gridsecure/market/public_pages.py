"""What the public portal (互联网公开门户) shows: published rows, and nothing that waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlmodel import Session, select

from gridsecure.circulation.documents import moment
from gridsecure.circulation.products import ON_SALE, STAGE_NAMES, STAGE_OF, ProductDesign
from gridsecure.circulation.trade import Need, Offer
from gridsecure.circulation.uses import ReleasedAggregate, read_aggregate
from gridsecure.market import shelf
from gridsecure.market.tables import DocumentRow
from gridsecure.messages import CellTotal, Message, ReleaseCertificate
from gridsecure.store.rows import find_many

_HERE: Final = Path(__file__).parent
MOST: Final = 100
"""Rows of each list: the newest."""
LANGUAGES: Final = ("zh", "en")


TimedT = TypeVar("TimedT", Offer, Need)


@dataclass(frozen=True, slots=True)
class Shown:
    """A published document.

    Args:
        stage: Of a product, "product" or "asset"; else empty.
        product: Of an offer, the design that it is of.
        cells: Of released totals.
    """

    row: DocumentRow
    said: Message
    stage: str = ""
    stage_zh: str = ""
    product: ProductDesign | None = None
    cells: tuple[CellTotal, ...] = ()


@dataclass(frozen=True, slots=True)
class PublicRows:
    """All that is shown to everybody, the newest first."""

    products: list[Shown]
    offers: list[Shown]
    needs: list[Shown]
    aggregates: list[Shown]


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
        aggregates=[_aggregate(row) for row in _rows(session, ReleasedAggregate)],
    )


def _offers(session: Session, now: datetime) -> list[Shown]:
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
    found = [(row, kind.parse(row.envelope.body)) for row in _rows(session, kind)]
    return [(row, said) for row, said in found if now < moment(said.valid_until)]


def _rows(session: Session, kind: type[Message], state: str = shelf.IN_FORCE) -> list[DocumentRow]:
    found = select(DocumentRow).where(DocumentRow.kind == kind.kind, DocumentRow.state == state)
    newest = found.order_by(DocumentRow.id.desc()).limit(MOST)  # type: ignore[union-attr] # a column
    return list(session.exec(newest))


def _aggregate(row: DocumentRow) -> Shown:
    said = ReleasedAggregate.parse(row.envelope.body)
    # Its signatures were verified as it came in, and a kept row never changes.
    cells = read_aggregate(said, ReleaseCertificate.parse(said.certificate.body))
    return Shown(row, said, cells=tuple(cells))


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
    return template.render(rows=rows, zh=language == "zh", language=language, other=other)


def stylesheet() -> bytes:
    """The page's style."""
    return (_HERE / "portal.css").read_bytes()
