"""What must hold between the windows, tiers and days of a tariff.

Each function looks at one kind of row, names the first offending row and says why:

* every minute of every month and day type lies in exactly one window (or there are no windows);
* in every month the tiers are 1..n with growing inclusive limits, only the last one open;
* no date has two day types.

What must hold between rates is in `tariff_pricing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from gridsecure.tariffs.cells import ALL_MONTHS, MINUTES_PER_DAY, refusal
from gridsecure.tariffs.rows import KWH, DayRow, TierRow, WindowRow

# How tiers and time-of-use combine. Software in use has all four, and one load costs differently
# under each, so a tariff names its own (docs/tariffs.md).
# Time-of-use prices first, then the same adder on every kWh beyond a limit, whatever its period.
UNIFORM_ADDER = "uniform-adder"
# Every period's energy is spread over the tiers in the ratio of the total.
PRO_RATA = "pro-rata"
# Intervals fill the tiers in the order of time.
CHRONOLOGICAL = "chronological"
# Every period has a ladder of its own.
PER_PERIOD = "per-period"
CONVENTIONS = (UNIFORM_ADDER, PRO_RATA, CHRONOLOGICAL, PER_PERIOD)
MONTH, YEAR = "month", "year"
RESETS = (MONTH, YEAR)


def check_windows(windows: Sequence[WindowRow], *, day_types: tuple[str, ...]) -> None:
    """Refuse windows that overlap or leave a minute without a label.

    Raises:
        InvalidTariffError: `tariff.window-overlap` or `tariff.window-gap`.
    """
    if not windows:
        return
    covered = np.zeros((len(ALL_MONTHS), len(day_types), MINUTES_PER_DAY), dtype=bool)
    for window in windows:
        minutes = slice(window.from_minute, window.to_minute)
        for month in window.months:
            for day_type in window.day_types:
                part = covered[month - 1, day_types.index(day_type), minutes]
                if part.any():
                    raise refusal(
                        window.row,
                        f"hours of month {month} ({day_type}) already have a window",
                        "window-overlap",
                    )
                part[:] = True
    if not covered.all():
        gap, kind, minute = (int(axis[0]) for axis in np.nonzero(~covered))
        raise refusal(
            "windows",
            f"month {gap + 1} ({day_types[kind]}) has no window"
            f" at {minute // 60:02d}:{minute % 60:02d}",
            "window-gap",
        )


def check_tiers(tiers: Sequence[TierRow], *, convention: str | None, reset: str) -> None:
    """Refuse tiers that overlap, leave a gap, do not grow, or count in two units.

    Args:
        convention: How tiers and time-of-use combine, or None.
        reset: `month` or `year`.

    Raises:
        InvalidTariffError: `tariff.tier-overlap`, `tariff.tier-gap`, `tariff.tier-limit`,
            `tariff.unit`, `tariff.convention` or `tariff.tier-reset`.
    """
    if not tiers:
        return
    _check_kinds(tiers, convention=convention, reset=reset)
    for tou_period in dict.fromkeys(tier.tou_period for tier in tiers):
        own = [tier for tier in tiers if tier.tou_period == tou_period]
        for month in ALL_MONTHS:
            ladder = sorted((t for t in own if month in t.months), key=lambda tier: tier.tier)
            _check_numbers(ladder, month=month)
            _check_ladder(ladder)


def _check_kinds(tiers: Sequence[TierRow], *, convention: str | None, reset: str) -> None:
    first = tiers[0]
    for tier in tiers:
        if (tier.unit, tier.tou_period is None) != (first.unit, first.tou_period is None):
            if tier.upper_limit is None and (tier.tou_period is None) == (first.tou_period is None):
                continue  # an open tier has no limit, so no unit either
            raise refusal(tier.row, "the tiers of a tariff count in one unit, one way", "unit")
        if (tier.tou_period is not None) != (convention == PER_PERIOD):
            raise refusal(
                tier.row,
                f'a ladder per time-of-use period and tier_convention = "{PER_PERIOD}" go together',
                "convention",
            )
        if reset == YEAR and (tier.unit != KWH or len(tier.months) < len(ALL_MONTHS)):
            raise refusal(
                tier.row, "tiers of a year count kWh and have one limit all year", "tier-reset"
            )
    if reset == YEAR and convention == PER_PERIOD:
        raise refusal("tier_reset", f"{PER_PERIOD} ladders are counted by month", "tier-reset")


def _check_numbers(ladder: Sequence[TierRow], *, month: int) -> None:
    for below, tier in pairwise(ladder):
        if below.tier == tier.tier:
            raise refusal(tier.row, f"tier {tier.tier} is given twice", "tier-overlap")
    if not ladder or [tier.tier for tier in ladder] != list(range(1, len(ladder) + 1)):
        raise refusal("tiers", f"month {month} needs tiers numbered 1, 2, … in a row", "tier-gap")


def _check_ladder(ladder: Sequence[TierRow]) -> None:
    """Limits grow, and exactly the last tier is open."""
    if ladder[-1].upper_limit is not None:
        raise refusal(ladder[-1].row, "the last tier has no upper limit", "tier-limit")
    floor = None
    for tier in ladder[:-1]:
        limit = tier.upper_limit
        if limit is None:
            raise refusal(tier.row, "only the last tier is open", "tier-limit")
        if floor is not None and limit <= floor:
            raise refusal(tier.row, "limits grow from tier to tier", "tier-limit")
        floor = limit


def check_days(days: Sequence[DayRow]) -> None:
    """Refuse a date that is given two day types.

    Raises:
        InvalidTariffError: `tariff.duplicate-day`.
    """
    seen: set[object] = set()
    for row in days:
        if row.day in seen:
            raise refusal(row.row, f"{row.day} is given twice", "duplicate-day")
        seen.add(row.day)
