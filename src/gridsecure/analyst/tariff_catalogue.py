"""The tariffs that ship, as people look at them: public prices, and nothing of anybody's energy.

Prices are those of the files; nothing here recomputes one. A kWh's price is added up only where a
tariff prices every kWh of a period alike, whatever the month's energy is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final, NamedTuple, TypeAlias

from gridsecure.errors import NotFoundError
from gridsecure.tariffs.calendar import Segment, clock, day_segments, months_text
from gridsecure.tariffs.diff import Change, diff_tariffs
from gridsecure.tariffs.rows import RateRow
from gridsecure.tariffs.sources import UNCONFIRMED
from gridsecure.tariffs.tariff import Tariff, catalogue_paths, load_tariff

Edition: TypeAlias = Tariff
"""A tariff as one file has it."""
DayHours: TypeAlias = tuple[tuple[str, ...], tuple[Segment, ...]]
"""Types of day that have their hours alike, and these hours."""

_PER_KWH: Final = "kWh"
ENERGY: Final = "energy"


class RateLine(NamedTuple):
    """A rate of a month.

    Args:
        months: The months that it holds in, as text; empty for all.
        confidence: How far its source is to be trusted.
    """

    rate: RateRow
    months: str
    confidence: str


@dataclass(frozen=True, slots=True)
class BuildUp:
    """What makes up the price of a kWh of any energy in a month.

    Args:
        periods: Time-of-use labels; one empty label where there are none.
        parts: Charge -> its part in each period, in the tariff's order.
    """

    periods: tuple[str, ...]
    parts: dict[str, tuple[Decimal, ...]]

    @property
    def total(self) -> tuple[Decimal, ...]:
        """The price of a kWh in each period."""
        return tuple(sum(column, Decimal(0)) for column in zip(*self.parts.values(), strict=True))


def list_editions() -> dict[str, Tariff]:
    """Every edition of the catalogue's tariffs, by the name of its file."""
    return {path.stem: load_tariff(path) for paths in catalogue_paths().values() for path in paths}


def find_edition(editions: dict[str, Tariff], name: str) -> Tariff:
    """The edition of that name.

    Raises:
        NotFoundError: There is none (`not-found.tariff`).
    """
    if name not in editions:
        raise NotFoundError(f"There is no tariff {name!r} in the catalogue.")
    return editions[name]


def first_month(tariff: Tariff) -> date:
    """The first month that an edition holds in, wholly or in part."""
    return tariff.valid_from.replace(day=1)


def day_hours(tariff: Tariff, *, month: int) -> list[DayHours]:
    """The hours of a month's days, each with the types of day that have them alike.

    Returns:
        Types of day, and segments as `day_segments` gives them.
    """
    alike: dict[tuple[Segment, ...], list[str]] = {}
    for day_type in tariff.day_types if tariff.windows else ():
        found = day_segments(tariff.windows, month=month, day_type=day_type)
        alike.setdefault(found, []).append(day_type)
    return [(tuple(types), segments) for segments, types in alike.items()]


def clock_text(minute: int) -> str:
    """A minute of the day as a clock time."""
    return clock(minute)


def rate_lines(tariff: Tariff, *, month: int) -> list[RateLine]:
    """The rates of a month, in the order of the bill's lines."""
    trusted = {source.source_id: source.confidence for source in tariff.sources}
    return [
        RateLine(rate, months_text(rate.months), trusted[rate.source])
        for rate in tariff.rates
        if month in rate.months
    ]


def build_up(tariff: Tariff, *, month: int) -> BuildUp | None:
    """What makes up the price of a kWh; None where it depends on the month's energy, or on hours.

    Adders of tiers, discounts and what is counted on capacity or demand are beside it.
    """
    if tariff.dynamic is not None:
        return None
    priced = [
        rate
        for rate in tariff.rates
        if month in rate.months and rate.per == _PER_KWH and rate.min_kwh_per_kva is None
    ]
    if any(rate.charge == ENERGY and rate.tier is not None for rate in priced):
        return None
    always = [rate for rate in priced if rate.tier is None]
    own = [r.tou_period for r in always if r.tou_period is not None]
    periods = tuple(dict.fromkeys(own)) or ("",)
    parts: dict[str, tuple[Decimal, ...]] = {}
    for charge in dict.fromkeys(rate.charge for rate in always):
        rates = [rate for rate in always if rate.charge == charge]
        parts[charge] = tuple(
            sum((r.rate for r in rates if r.tou_period in (None, period)), Decimal(0))
            for period in periods
        )
    return BuildUp(periods, parts) if parts else None


def count_unconfirmed(tariff: Tariff) -> int:
    """How many of its figures were not found in public."""
    doubted = {one.source_id for one in tariff.sources if one.confidence == UNCONFIRMED}
    return sum(source in doubted for _, source in tariff.named_sources)


def compare_editions(before: Tariff, after: Tariff) -> Sequence[Change]:
    """The rows in which two editions differ, in the order of a tariff file's parts."""
    return diff_tariffs(before, after)


def change_months(months: Sequence[int]) -> str:
    """The months of a change as text; empty for all of them, or where months do not matter."""
    return months_text(months)
