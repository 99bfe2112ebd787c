"""What must hold between the rows of a tariff, so that every kWh has exactly one price.

Each function looks at one kind of row, names the first offending row and says why. Together:

* every minute of every month and day type lies in exactly one window (or there are no windows);
* in every month the tiers are 1..n with growing inclusive limits, only the last one open;
* each charge per kWh is priced in one way only: on the total, on every time-of-use period, or
  on every tier; nothing is priced twice and nothing is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from gridsecure.billing.tariff_rows import (
    ALL_MONTHS,
    MINUTES_PER_DAY,
    DayRow,
    RateRow,
    SourceRow,
    TierRow,
    WindowRow,
    refusal,
)

ENERGY_CHARGE = "energy"
TIER_ADDER_CHARGE = "tier-adder"
# Time-of-use prices first, then the same adder on every kWh beyond a limit, whatever its period
# (Guangdong). The other conventions in use price the same load differently, so a tariff that
# wants one of them is refused rather than guessed at.
UNIFORM_ADDER = "uniform-adder"
CONVENTIONS = (UNIFORM_ADDER,)


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


def check_tiers(tiers: Sequence[TierRow]) -> None:
    """Refuse tiers that overlap, do not grow, or differ in number from month to month.

    Raises:
        InvalidTariffError: `tariff.tier-overlap`, `tariff.tier-gap`, `tariff.tier-limit`.
    """
    if not tiers:
        return
    highest = max(tier.tier for tier in tiers)
    for month in ALL_MONTHS:
        ladder = sorted((tier for tier in tiers if month in tier.months), key=lambda t: t.tier)
        for below, tier in pairwise(ladder):
            if below.tier == tier.tier:
                raise refusal(tier.row, f"tier {tier.tier} is given twice", "tier-overlap")
        if [tier.tier for tier in ladder] != list(range(1, highest + 1)):
            raise refusal(
                "tiers", f"month {month} needs each of the tiers 1 to {highest}", "tier-gap"
            )
        _check_ladder(ladder)


def _check_ladder(ladder: Sequence[TierRow]) -> None:
    """Limits grow, and exactly the last tier is open."""
    if ladder[-1].upper_limit_kwh is not None:
        raise refusal(ladder[-1].row, "the last tier has no upper limit", "tier-limit")
    floor = None
    for tier in ladder[:-1]:
        limit = tier.upper_limit_kwh
        if limit is None:
            raise refusal(tier.row, "only the last tier is open", "tier-limit")
        if floor is not None and limit <= floor:
            raise refusal(tier.row, "limits grow from tier to tier", "tier-limit")
        floor = limit


def check_rates(
    rates: Sequence[RateRow],
    *,
    sources: Sequence[SourceRow],
    labels: frozenset[str],
    tiers: frozenset[int],
    convention: str | None,
) -> None:
    """Refuse rates that price a kWh twice, or not at all, or in a way the tariff does not name.

    Args:
        rates: The rate rows.
        sources: The source rows that rates refer to.
        labels: Time-of-use periods that the windows give.
        tiers: Tier numbers that the tier rows give.
        convention: How tiers and time-of-use combine, or None.

    Raises:
        InvalidTariffError: With the reason `tariff.convention`, `tariff.source`,
            `tariff.duplicate-rate`, `tariff.rate-scope` or `tariff.missing-rate`.
    """
    if convention is not None and convention not in CONVENTIONS:
        raise refusal("tier_convention", f"unknown convention {convention!r}", "convention")
    known = {source.source_id for source in sources}
    seen: set[tuple[str, str | None, int | None]] = set()
    for rate in rates:
        if rate.source not in known:
            raise refusal(rate.row, f"source {rate.source!r} is not listed", "source")
        key = (rate.charge, rate.tou_period, rate.tier)
        if key in seen:
            raise refusal(rate.row, "the same rate is given twice", "duplicate-rate")
        seen.add(key)
        _check_scope(rate, convention=convention)
    for charge in dict.fromkeys(rate.charge for rate in rates):
        rows = [rate for rate in rates if rate.charge == charge]
        _check_charge(rows, labels=labels, tiers=tiers)
    _check_everything_priced(rates, labels=labels, tiers=tiers)


def _check_scope(rate: RateRow, *, convention: str | None) -> None:
    """A rate applies to a period, a tier or the whole; never to a period within a tier."""
    if rate.tou_period is not None and rate.tier is not None:
        raise refusal(
            rate.row,
            f"a rate per period and tier needs a convention other than {UNIFORM_ADDER}",
            "convention",
        )
    scoped = rate.tou_period is not None or rate.tier is not None
    if scoped and rate.unit != "CNY/kWh":
        raise refusal(rate.row, f"{rate.unit} has no periods or tiers", "rate-scope")
    adder = rate.charge == TIER_ADDER_CHARGE
    if adder and (convention != UNIFORM_ADDER or rate.tier is None):
        raise refusal(
            rate.row,
            f'{TIER_ADDER_CHARGE} needs a tier and tier_convention = "{UNIFORM_ADDER}"',
            "convention",
        )


def _check_charge(
    rows: Sequence[RateRow], *, labels: frozenset[str], tiers: frozenset[int]
) -> None:
    """One charge is priced one way: in total, or on every period, or on every tier."""
    first = rows[0]
    scopes = {(row.tou_period is not None, row.tier is not None, row.unit) for row in rows}
    if len(scopes) > 1:
        raise refusal(first.row, f"{first.charge} is priced in two ways at once", "rate-scope")
    if first.tou_period is not None:
        _check_names(rows, given=[row.tou_period for row in rows], wanted=labels)
    if first.tier is not None:
        # The first tier pays no adder: its price is the energy rate itself.
        wanted = tiers - {1} if first.charge == TIER_ADDER_CHARGE else tiers
        _check_names(rows, given=[row.tier for row in rows], wanted=wanted)


def _check_names(
    rows: Sequence[RateRow],
    *,
    given: Sequence[str | int | None],
    wanted: frozenset[str] | frozenset[int],
) -> None:
    for row, name in zip(rows, given, strict=True):
        if name not in wanted:
            raise refusal(row.row, f"{name!r} is no period or tier of this charge", "rate-scope")
    missing = sorted(wanted - set(given), key=str)
    if missing:
        raise refusal("rates", f"{rows[0].charge} has no rate for {missing[0]!r}", "missing-rate")


def _check_everything_priced(
    rates: Sequence[RateRow], *, labels: frozenset[str], tiers: frozenset[int]
) -> None:
    """Energy has a price, and no window or tier is there for nothing."""
    energy = [rate for rate in rates if rate.charge == ENERGY_CHARGE and rate.unit == "CNY/kWh"]
    if not energy:
        raise refusal("rates", f"{ENERGY_CHARGE} has no rate per kWh", "missing-rate")
    if labels and not any(rate.tou_period is not None for rate in energy):
        raise refusal("rates", f"{ENERGY_CHARGE} has no rate per TOU period", "missing-rate")
    if tiers - {1} and not any(rate.tier is not None for rate in rates):
        raise refusal("rates", "no rate depends on the tiers", "missing-rate")
    by_tier = any(rate.tier is not None for rate in energy)
    if by_tier and any(rate.charge == TIER_ADDER_CHARGE for rate in rates):
        raise refusal("rates", "energy per tier and a tier adder both price a tier", "convention")


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
