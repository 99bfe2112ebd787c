"""URDB's own way to say a price: a structure of periods and tiers, and who applies when.

`…ratestructure[period][tier]` holds prices, the two 12 × 24 schedules name a period for each hour
of a month's weekdays and weekends. `max` is the cumulative, inclusive upper bound of a tier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from itertools import groupby, pairwise
from typing import Any

from gridsecure.tariffs.urdb import elements as read
from gridsecure.tariffs.urdb.elements import HOURS, MONTHS, OPEN_LIMIT, refuse
from gridsecure.tariffs.urdb.rows import ALL_MONTHS, Row, Value

TIER_KEYS = frozenset({"max", "unit", "rate", "adj", "sell", "sunrate"})
DAY_TYPES = ("weekday", "weekend")
EVERY_DAY = "every day"
# More than any rate has; it keeps a hostile file from becoming a tariff without end.
MOST_PERIODS = 288
MOST_TIERS = 50
ENOUGH_DIGITS = 100

Hours = tuple[int, ...]
# The period of each hour, by month and by type of day.
Schedule = tuple[tuple[Hours, Hours], ...]


@dataclass(frozen=True, slots=True)
class StructureTier:
    """One tier: its cumulative upper bound, None where it is open, and rate plus adjustment."""

    limit: Decimal | None
    price: Decimal


@dataclass(frozen=True, slots=True)
class Structure:
    """The periods of one structure; `unit` is what every `max` is counted in."""

    name: str
    unit: str
    periods: tuple[tuple[StructureTier, ...], ...]

    def is_free(self) -> bool:
        """Say whether every price is zero."""
        return not any(tier.price for tiers in self.periods for tier in tiers)


def read_structure(
    value: Any, *, name: str, units: Mapping[str, str], set_aside: frozenset[str]
) -> Structure:
    """Read a structure; `units` are the ones known for its tiers, the first if none is written.

    Raises:
        InvalidTariffError: `urdb.shape`, `urdb.number`, `urdb.unit`, `urdb.tier-limit`,
            `urdb.unknown-element` and what `sell` gives, with period and tier.
    """
    written = read.read_items(value, where=name)
    if len(written) > MOST_PERIODS:
        refuse(name, f"more than {MOST_PERIODS} periods", code="shape")
    found: dict[str, str] = {}
    periods = []
    for position, tiers in enumerate(written):
        where = f"{name}[{position}]"
        rows = read.read_items(tiers, where=where)
        if len(rows) > MOST_TIERS:
            refuse(where, f"more than {MOST_TIERS} tiers", code="shape")
        ladder = []
        for number, tier in enumerate(rows):
            place = f"{where}[{number}]"
            _check_tier(tier, where=place, set_aside=set_aside)
            limit = _limit(tier, where=place)
            ladder.append(StructureTier(limit, _tier_price(tier, where=place)))
            unit = _unit(tier, where=place, units=units)
            if limit is not None:
                found.setdefault(unit, place)
        _check_ladder(ladder, where=where)
        periods.append(tuple(ladder))
    if len(found) > 1:
        refuse(name, f"its tiers have different units ({read.join_names(found)})", code="unit")
    return Structure(name, next(iter(found), next(iter(units.values()))), tuple(periods))


def _check_tier(tier: Any, *, where: str, set_aside: frozenset[str]) -> None:
    if not isinstance(tier, Mapping):
        refuse(where, "a tier is an object", code="shape")
    for key, value in tier.items():
        if key not in TIER_KEYS:
            refuse(
                f"{where}.{read.make_visible(str(key))}", "unknown element", code="unknown-element"
            )
        if key in {"sell", "sunrate"} and value is not None:
            read.read_number(value, where=f"{where}.{key}")
            read.check_set_aside(key, value, where=f"{where}.{key}", set_aside=set_aside)
    if tier.get("rate") is None and tier.get("adj") is None:
        refuse(where, "the tier has no rate", code="rate-missing")


def _unit(tier: Mapping[str, Any], *, where: str, units: Mapping[str, str]) -> str:
    if tier.get("unit") is None:
        return next(iter(units.values()))
    return read.read_unit(tier["unit"], where=f"{where}.unit", known=units)


def _limit(tier: Mapping[str, Any], *, where: str) -> Decimal | None:
    if tier.get("max") is None:
        return None
    limit = read.read_number(tier["max"], where=f"{where}.max")
    if limit <= 0:
        refuse(f"{where}.max", "a tier ends above zero", code="tier-limit")
    if limit >= OPEN_LIMIT:
        return None
    return read.check_limit(limit, where=f"{where}.max")


def _tier_price(tier: Mapping[str, Any], *, where: str) -> Decimal:
    parts = [
        read.read_price(tier[key], where=f"{where}.{key}")
        for key in ("rate", "adj")
        if tier.get(key) is not None
    ]
    with localcontext() as context:
        context.prec = ENOUGH_DIGITS
        return sum(parts, Decimal(0)).normalize()


def _check_ladder(ladder: list[StructureTier], *, where: str) -> None:
    for number, (below, tier) in enumerate(pairwise(ladder)):
        if below.limit is None:
            refuse(f"{where}[{number}]", "only the last tier is open", code="tier-limit")
        if tier.limit is not None and tier.limit <= below.limit:
            refuse(f"{where}[{number + 1}].max", "limits grow from tier to tier", code="tier-limit")
    if ladder[-1].limit is not None:
        refuse(
            f"{where}[{len(ladder) - 1}].max",
            "the last tier ends, and what lies above has no price",
            code="tier-limit",
            remedy="Remove the max if it only tells for whom the rate is meant.",
        )


def read_schedule(elements: Mapping[str, Any], *, kind: str, periods: int) -> Schedule:
    """Read both schedules of `kind`; weekends are like weekdays where the file names only those.

    Raises:
        InvalidTariffError: `urdb.schedule`, or `urdb.period` for a period that does not exist.
    """
    names = [f"{kind}{day_type}schedule" for day_type in DAY_TYPES]
    written = [elements.get(name) for name in names]
    if written == [None, None] and periods == 1:
        everywhere = (0,) * HOURS
        return ((everywhere, everywhere),) * MONTHS
    if written[0] is None:
        refuse(names[0], f"{periods} periods need a schedule", code="schedule")
    weekday = _read_days(written[0], where=names[0], periods=periods)
    weekend = (
        weekday if written[1] is None else _read_days(written[1], where=names[1], periods=periods)
    )
    return tuple(zip(weekday, weekend, strict=True))


def _read_days(value: Any, *, where: str, periods: int) -> tuple[Hours, ...]:
    if not isinstance(value, list) or len(value) != MONTHS:
        refuse(where, "a schedule has 12 months", code="schedule")
    return tuple(
        _read_hours(hours, where=f"{where}[{month}]", periods=periods)
        for month, hours in enumerate(value)
    )


def _read_hours(value: Any, *, where: str, periods: int) -> Hours:
    if not isinstance(value, list) or len(value) != HOURS:
        refuse(where, "a day has 24 hours", code="schedule")
    hours = []
    for hour, period in enumerate(value):
        number = read.read_whole(period, where=f"{where}[{hour}]")
        if not 0 <= number < periods:
            refuse(f"{where}[{hour}]", f"there is no period {number}", code="period")
        hours.append(number)
    return tuple(hours)


def periods_by_month(schedule: Schedule) -> tuple[tuple[int, ...], ...]:
    """Periods that apply in each month, in rising order."""
    return tuple(
        tuple(sorted({hour for hours in day_types for hour in hours})) for day_types in schedule
    )


def find_unreached(structure: Structure, used: tuple[tuple[int, ...], ...]) -> tuple[str, ...]:
    """Note the periods no hour belongs to; they price nothing and are not written."""
    idle = sorted(set(range(len(structure.periods))) - {p for month in used for p in month})
    if not idle:
        return ()
    return (f"{structure.name}: no hour belongs to period {read.join_names(idle)}; not imported.",)


def window_rows(schedule: Schedule, *, table: str, prefix: str) -> tuple[Row, ...]:
    """Write a schedule as windows, in few rows: equal stretches share a row over their months."""
    months: dict[tuple[int, int, int], tuple[set[int], set[int]]] = {}
    for month, day_types in enumerate(schedule, start=1):
        for kind, hours in enumerate(day_types):
            for stretch in _stretches(hours):
                months.setdefault(stretch, (set(), set()))[kind].add(month)
    return tuple(
        Row(table, _window(stretch, of_months, day_type=day_type, prefix=prefix))
        for stretch, (weekday, weekend) in sorted(months.items())
        for day_type, of_months in _rectangles(weekday, weekend)
    )


def _stretches(hours: Hours) -> list[tuple[int, int, int]]:
    """Hours from, to before, and the period they belong to."""
    found = []
    for period, run in groupby(enumerate(hours), key=lambda item: item[1]):
        run_hours = [hour for hour, _ in run]
        found.append((run_hours[0], run_hours[-1] + 1, period))
    return found


def _rectangles(weekday: set[int], weekend: set[int]) -> list[tuple[str, set[int]]]:
    """Cover both sets of months by rows, each for one type of day or for every day."""
    both = weekday & weekend
    together = [
        (EVERY_DAY, both), (DAY_TYPES[0], weekday - both), (DAY_TYPES[1], weekend - both)
    ]  # fmt: skip
    apart = [(DAY_TYPES[0], weekday), (DAY_TYPES[1], weekend)]
    covers = [[row for row in rows if row[1]] for rows in (together, apart)]
    return min(covers, key=len)


def _window(
    stretch: tuple[int, int, int], months: set[int], *, day_type: str, prefix: str
) -> dict[str, Value]:
    start, end, period = stretch
    values: dict[str, Value] = {
        "from": f"{start:02d}:00",
        "to": f"{end:02d}:00",
        "tou_period": f"{prefix}{period}",
    }
    if day_type != EVERY_DAY:
        values["day_types"] = (day_type,)
    if tuple(sorted(months)) != ALL_MONTHS:
        values["months"] = tuple(sorted(months))
    return values
