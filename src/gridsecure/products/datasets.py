"""The catalogue (数据目录): dataset cards made of verified release certificates, and their search.

A card says what a release says, and who owns it, on which terms and how good it is. It is searched
by customer class, zone, period and quality; there is no field by which a person could be found,
because there is none in a certificate.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, ClassVar, Final, NamedTuple

from pydantic import AfterValidator, Field, NonNegativeInt

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import InputError
from gridsecure.messages import CellTotal, Digest, Message, ReleaseCertificate
from gridsecure.policy.decisions import curve_resolution
from gridsecure.policy.language import RESOLUTIONS, Resolution
from gridsecure.policy.packs import list_packs, load_pack
from gridsecure.queries.exact import Unsigned
from gridsecure.written_words import one_line

TITLES: Final = {
    "bill": ("Bills of a month", "月度电费与电量"),
    "load-curve": ("Load curve", "负荷曲线"),
    "rebill": ("Corrections of a month", "月度更正"),
}
_PERCENT: Final = 100
_TEXT: Final = r"^[^\x00-\x1f\x7f]{1,200}$"
Text = Annotated[str, Field(pattern=_TEXT), AfterValidator(one_line)]


class Quality(Message):
    """How good the readings were, as the gateway counts them.

    Args:
        accepted: Readings that were taken, estimated ones among them.
        estimated: Those of them that the gateway estimated.
        quarantined: Readings that were not billed.
    """

    kind: ClassVar[str] = "dataset-quality"
    accepted: NonNegativeInt
    estimated: NonNegativeInt
    quarantined: NonNegativeInt

    @property
    def measured_percent(self) -> int:
        """Readings that were measured, of all that there were [%], rounded down."""
        every = self.accepted + self.quarantined
        return (self.accepted - self.estimated) * _PERCENT // every if every else 0


class DatasetCard(Message):
    """What is known of a dataset.

    Args:
        dataset: Its name: plan, period, and the beginning of the certificate's digest.
        owner: Whose it is.
        grade: Of its resolution, as its policy has it (分级).
        start: Of its period, ISO 8601 with the local offset.
        end: Its end, exclusive.
        told: Cells with a value, of all measures; `withheld`, those without.
        meter_points: Of its largest measure; 0 where nothing is said of it.
        minimum: Fewest customers that any of it is about.
        policy: The policy's name, and its digest.
        price_yuan: Of one use; "0" is free of charge.
        quality: Of the gateway; None where nobody handed it in.
        certificate: Digest of the certificate.
    """

    kind: ClassVar[str] = "dataset-card"
    dataset: Text
    title: Text
    title_zh: Text
    owner: Text
    plan: Text
    measures: list[Text]
    resolution: Resolution
    grade: Annotated[int, Field(ge=1, le=9)]
    zones: list[Text]
    classes: list[Text]
    start: Text
    end: Text
    told: NonNegativeInt
    withheld: NonNegativeInt
    meter_points: NonNegativeInt
    minimum: NonNegativeInt
    policy: str
    policy_digest: str
    price_yuan: Unsigned
    quality: Quality | None = None
    certificate: Digest

    @property
    def version(self) -> Digest:
        """SM3 of everything on it."""
        return sm3_hex(self.model_dump_json().encode())


class Catalogue(Message):
    """What a catalogue is called, who publishes it, and its cards by name."""

    kind: ClassVar[str] = "catalogue"
    title: str
    title_zh: str
    publisher: str
    cards: list[DatasetCard]


class Terms(NamedTuple):
    """What the owner of a dataset says of it.

    Args:
        price_yuan: Decimal text.
    """

    owner: str
    price_yuan: str = "0"


class Search(NamedTuple):
    """What is looked for; what is empty matches all.

    Args:
        customer_class: A tariff class.
        at: A moment of its period, ISO 8601 with an offset, or a month YYYY-MM.
        measured_percent: Least share of measured readings [%]; 0 also finds cards without quality.
    """

    customer_class: str = ""
    zone: str = ""
    at: str = ""
    measure: str = ""
    measured_percent: int = 0


def make_card(
    certificate: ReleaseCertificate,
    *,
    digest: Digest,
    terms: Terms,
    quality: Quality | None = None,
) -> DatasetCard:
    """The card of a release, whose certificate was verified before.

    Args:
        digest: Of the certificate, as the log names it.

    Raises:
        InputError: It is of a sealed question, of which nothing is anybody's but its asker's
            (`catalogue.sealed`).
    """
    if certificate.plan not in TITLES:
        raise InputError(
            "The answer of a sealed question is its asker's, and no dataset.",
            reason="catalogue.sealed",
            remedy="Enter releases of bills and load curves.",
        )
    cells = certificate.cells
    resolution = "monthly" if certificate.plan != "load-curve" else _resolution(cells)
    title, title_zh = TITLES[certificate.plan]
    told = sum(cell.told or cell.value is not None for cell in cells)
    return DatasetCard(
        dataset=f"{certificate.plan}-{certificate.start[:10]}-{digest[:8]}",
        title=f"{title}, {certificate.start[:10]}",
        title_zh=f"{title_zh}（{certificate.start[:10]}）",
        owner=terms.owner,
        plan=certificate.plan,
        measures=sorted({cell.measure for cell in cells}),
        resolution=resolution,
        grade=_grade(certificate.policy_name, resolution),
        zones=sorted({cell.zone for cell in cells}),
        classes=sorted({cell.customer_class for cell in cells}),
        start=certificate.start,
        end=certificate.end,
        told=told,
        withheld=len(cells) - told,
        meter_points=_points(cells),
        minimum=certificate.minimum_members,
        policy=certificate.policy_name,
        policy_digest=certificate.policy,
        price_yuan=terms.price_yuan,
        quality=quality,
        certificate=digest,
    )


class _Span(NamedTuple):
    """A cell as far as its resolution goes."""

    start: str
    end: str
    intervals: int = 1


def _resolution(cells: Iterable[CellTotal]) -> Resolution:
    return curve_resolution({_Span(cell.start, cell.end) for cell in cells})


def _grade(policy: str, resolution: Resolution) -> int:
    if policy in list_packs():
        return load_pack(policy).grades[resolution]
    return 1 + RESOLUTIONS.index(resolution)


def _points(cells: Iterable[CellTotal]) -> int:
    """Meter points of all places, each once."""
    largest: dict[tuple[str, str], int] = {}
    for cell in cells:
        place = (cell.zone, cell.customer_class)
        largest[place] = max(largest.get(place, 0), cell.members)
    return sum(largest.values())


def search(cards: Iterable[DatasetCard], wanted: Search) -> list[DatasetCard]:
    """The cards that match all of what is looked for, by name.

    Raises:
        InputError: `at` is neither a month nor a moment (`catalogue.period`).
    """
    return sorted((card for card in cards if _matches(card, wanted)), key=lambda one: one.dataset)


def _matches(card: DatasetCard, wanted: Search) -> bool:
    return (
        (not wanted.customer_class or wanted.customer_class in card.classes)
        and (not wanted.zone or wanted.zone in card.zones)
        and (not wanted.measure or wanted.measure in card.measures)
        and (not wanted.at or _is_at(card, wanted.at))
        and (not wanted.measured_percent or _is_measured(card, wanted.measured_percent))
    )


def _is_measured(card: DatasetCard, percent: int) -> bool:
    return card.quality is not None and card.quality.measured_percent >= percent


def _is_at(card: DatasetCard, at: str) -> bool:
    if len(at) == len("2026-07") and at[4:5] == "-":
        return card.start[:7] == at
    try:
        moment = datetime.fromisoformat(at)
        return datetime.fromisoformat(card.start) <= moment < datetime.fromisoformat(card.end)
    except (ValueError, TypeError) as error:
        raise InputError(
            "A period is a month as 2026-07, or a moment with its offset.",
            reason="catalogue.period",
            remedy="Write it as 2026-07 or 2026-07-15T00:00:00+08:00.",
        ) from error
