"""Bill lines: what a tariff means for one period, compiled once for every way of computing it.

The plaintext oracle and the encrypted plans both consume the list that `line_rules` makes, so they
cannot disagree about what a line is. A rule's line exists for every meter point, also with quantity
zero: the list depends on the tariff and the period only, never on readings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from gridsecure.errors import InputError
from gridsecure.month_texts import LAST_CYCLE_DAY
from gridsecure.periods import BillingPeriod, billing_month
from gridsecure.tariffs.consistency import CHRONOLOGICAL, MONTH, PER_PERIOD, YEAR
from gridsecure.tariffs.header import LAST_DAY
from gridsecure.tariffs.pricing import (
    DISCOUNT_CHARGE,
    ENERGY_CHARGE,
    FEED_IN_CHARGE,
    FREE_QUOTA_CHARGE,
    MINIMUM_CHARGE,
)
from gridsecure.tariffs.rows import KWH, PER_KW, PER_KWH, RATE_DECIMALS, RateRow, TierRow
from gridsecure.tariffs.tariff import Tariff

# What a line multiplies.
REGISTER = "register"  # one time-of-use register
TOTAL = "total"  # the total energy
TIER_PART = "tier-part"  # the part of the energy between two limits
SHARE = "share"  # a register's share of such a part, in the ratio register : total
SPLIT = "split"  # a register's energy that fell into a tier in the order of time
DEMAND = "demand"  # the highest demand of the month, or of a demand period
OWN_DEMAND = "own-demand"  # the month's own demand, where no share of an earlier one is higher
RATCHET = "ratchet"  # an earlier month's demand, where a share of it is billed
DISCOUNT = "discount"  # the demand of meter points with enough use hours
EXPORT = "export"  # energy fed in
QUOTA = "quota"  # the energy within the free quota
DYNAMIC = "dynamic"  # every interval at its own price
CONTRACT = "contract"  # a fact of the contract or calendar
POWER_FACTOR = "power-factor"  # a percentage of other lines
MINIMUM = "minimum"  # what the other lines lack to an amount
PERCENT = "%"


@dataclass(frozen=True, slots=True)
class LineRule:
    """One bill line: a rate and the quantity it multiplies.

    Args:
        charge: Kind of charge, as `energy`, `tier-adder`, `capacity`.
        tou_period: Time-of-use label of the line, or None.
        tier: Tier number of a tier line, or None.
        basis: What is multiplied, one of the names above.
        rate: Money per unit [`unit`], at most eight decimals; the amount itself for `minimum`;
            zero where there is no single rate.
        unit: As `CNY/kWh`; `%` for the power factor.
        lower: Energy below it belongs to lower tiers [`limit_unit`], before the household quota.
        upper: Inclusive end of the tier [`limit_unit`], before the quota; None when open.
        reset: Whether they count a `month` or a `year`.
        min_use_hours: Kilowatt-hours per contracted kVA from which a `discount` applies.
        prices: Price of each interval of the period [1e-8 per kWh], of a `dynamic` line.
        base: Numbers of the lines that a `power-factor` line takes a percentage of.
        step_wh: Energy step that limits are counted in on ciphertext [Wh]; 0 where whole kWh are
            compared. `gridsecure.plans` decides it; no bill depends on it.
        step_radix: Values of a digit that steps are written in, or 0.
        part: What it is for a part of a month, of `PartMonthRule`; of a tier, what its limits are.
    """

    charge: str
    tou_period: str | None
    tier: int | None
    basis: str
    rate: Decimal
    unit: str
    source: str
    lower: Decimal = Decimal(0)
    upper: Decimal | None = None
    limit_unit: str = KWH
    reset: str = MONTH
    min_use_hours: int = 0
    prices: tuple[int, ...] = ()
    base: tuple[int, ...] = ()
    standard: str = ""
    step_wh: int = 0
    step_radix: int = 0
    part: str = ""


def line_rules(tariff: Tariff, period: BillingPeriod) -> tuple[LineRule, ...]:
    """Compile a tariff to the bill lines of one period, in the order of its rate rows.

    A power-factor line comes after them and a minimum line last of all.

    Raises:
        InputError: The period is not one month of a cycle (`period.not-a-month`), lies in two
            months that the tariff prices apart (`tariff.cycle-month`), or is not wholly inside
            the tariff's validity (`tariff.not-valid`) or its price series
            (`tariff.dynamic-range`).
    """
    month = _checked_month(tariff, period)
    rules = _rules_of(tariff, period, month=month)
    begun = period.start.month
    if begun != month and tariff.cycle_month is None:
        earlier = _rules_of(tariff, period, month=begun)
        if not _are_alike(rules, earlier) or not _count_alike(tariff, begun, month):
            raise _two_prices(tariff)
    return rules


def _count_alike(tariff: Tariff, begun: int, month: int) -> bool:
    """Whether intervals and demand count alike in two months: hours, a ratchet, a year of tiers."""
    ratchet = tariff.ratchet.months if tariff.ratchet else ()
    is_new_year = tariff.tier_reset == YEAR and month < begun
    same_hours = _hours(tariff, month) == _hours(tariff, begun)
    return same_hours and (begun in ratchet) == (month in ratchet) and not is_new_year


def _are_alike(one: Sequence[LineRule], other: Sequence[LineRule]) -> bool:
    """Whether two months have the same lines, wherever their figures come from."""
    return [replace(rule, source="") for rule in one] == [
        replace(rule, source="") for rule in other
    ]


def _hours(tariff: Tariff, month: int) -> frozenset[tuple[object, ...]]:
    """The windows of a month, of energy and of demand."""
    both = ((False, tariff.windows), (True, tariff.demand_windows))
    return frozenset(
        (demand, w.day_types, w.from_minute, w.to_minute, w.tou_period)
        for demand, windows in both
        for w in windows
        if month in w.months
    )


def _two_prices(tariff: Tariff) -> InputError:
    return InputError(
        f"The billing period lies in two months that tariff {tariff.tariff_id!r} prices apart, and"
        " the tariff does not say which of the two counts.",
        reason="tariff.cycle-month",
        remedy='Write cycle_month = "last-day" into the tariff if what is read in a month has that'
        " month's prices, or bill by calendar month.",
    )


def _rules_of(tariff: Tariff, period: BillingPeriod, *, month: int) -> tuple[LineRule, ...]:
    """The lines of a period by the rows of one month."""
    ladders = {(tier.tou_period, tier.tier): tier for tier in tariff.tiers if month in tier.months}
    rules: list[LineRule] = []
    minimum: list[LineRule] = []
    for rate in tariff.rates:
        if month in rate.months:
            made = _line_rules(rate, tariff, ladders)
            (minimum if rate.charge == MINIMUM_CHARGE else rules).extend(made)
    if tariff.dynamic is not None:
        rules.insert(0, _dynamic_rule(tariff, period))
    if tariff.power_factor is not None:
        rules.append(_power_factor_rule(tariff, rules))
    return (*rules, *minimum)


def _checked_month(tariff: Tariff, period: BillingPeriod) -> int:
    zone = ZoneInfo(tariff.timezone)
    local = BillingPeriod(period.start.astimezone(zone), period.end.astimezone(zone))
    first, end = local.start.date(), local.end.date()
    if first.day > LAST_CYCLE_DAY or period != billing_month(
        *local.month, timezone=tariff.timezone, cycle_day=first.day
    ):
        raise InputError(
            f"The billing period is not one month of a cycle in {tariff.timezone}.",
            reason="period.not-a-month",
            remedy="Tiers and monthly charges are defined for whole local months, which begin on"
            f" day 1 to {LAST_CYCLE_DAY}.",
        )
    if tariff.cycle_month == LAST_DAY:  # the edition counts that is in force in that month
        first = date(*local.month, 1)
    if first < tariff.valid_from or (tariff.valid_to is not None and end > tariff.valid_to):
        until = "" if tariff.valid_to is None else f" and ends before {tariff.valid_to}"
        raise InputError(
            f"Tariff {tariff.tariff_id!r} {tariff.version} does not cover all of {local.name}: it"
            f" is in force from {tariff.valid_from}{until}.",
            reason="tariff.not-valid",
            remedy="Bill the month with the edition that was in force. If prices change within "
            "the month, write a file that covers the whole month.",
        )
    return local.month[1]


def _line_rules(
    rate: RateRow, tariff: Tariff, ladders: dict[tuple[str | None, int], TierRow]
) -> list[LineRule]:
    rule = LineRule(
        charge=rate.charge,
        tou_period=rate.tou_period,
        tier=rate.tier,
        basis=_basis(rate, tariff),
        rate=rate.rate,
        unit=rate.unit,
        source=rate.source,
        reset=tariff.tier_reset,
        min_use_hours=rate.min_kwh_per_kva or 0,
        part=_part(rate, tariff),
    )
    if rate.tier is not None:
        ladder = rate.tou_period if tariff.tier_convention == PER_PERIOD else None
        own = ladders[ladder, rate.tier]
        # Every tier but the last has a limit; the tariff was checked for that.
        below = ladders.get((ladder, rate.tier - 1))
        rule = replace(
            rule,
            upper=own.upper_limit,
            lower=(below.upper_limit if below else None) or Decimal(0),
            limit_unit=(own if own.upper_limit is not None else below or own).unit,
        )
    if tariff.ratchet is not None and rule.basis == DEMAND and rate.tou_period is None:
        shared = rule.rate * tariff.ratchet.share
        if shared != round(shared, RATE_DECIMALS):
            raise InputError(
                f"{rate.row}: the ratchet's share of the rate has more than eight decimals.",
                reason="tariff.decimals",
                remedy="Round the rate or the share as the tariff's publisher does.",
            )
        ratchet = replace(rule, charge=f"{rate.charge}-ratchet", basis=RATCHET, rate=shared)
        return [replace(rule, basis=OWN_DEMAND), ratchet]
    return [rule]


def _part(rate: RateRow, tariff: Tariff) -> str:
    said = tariff.part_month
    if said is None:
        return ""
    return said.charges if rate.tier is None else said.limits


def _basis(rate: RateRow, tariff: Tariff) -> str:
    named = {
        FEED_IN_CHARGE: EXPORT,
        FREE_QUOTA_CHARGE: QUOTA,
        DISCOUNT_CHARGE: DISCOUNT,
        MINIMUM_CHARGE: MINIMUM,
    }
    if rate.charge in named:
        return named[rate.charge]
    if rate.per == PER_KW:
        return DEMAND
    if rate.per != PER_KWH:
        return CONTRACT
    if rate.tou_period is not None and rate.tier is not None:
        by_time = {CHRONOLOGICAL: SPLIT, PER_PERIOD: TIER_PART}
        return by_time.get(tariff.tier_convention or "", SHARE)
    if rate.tou_period is not None:
        return REGISTER
    return TOTAL if rate.tier is None else TIER_PART


def _dynamic_rule(tariff: Tariff, period: BillingPeriod) -> LineRule:
    """The line of a series: the prices of exactly the period's intervals."""
    series = tariff.dynamic
    if series is None:
        raise ValueError("a tariff without a price series has no such line")
    begin = series.start.replace(tzinfo=ZoneInfo(tariff.timezone))
    first, off_grid = divmod(period.start - begin, series.interval)
    count = (period.end - period.start) // series.interval
    if first < 0 or off_grid or first + count > len(series.rates):
        raise InputError(
            f"The price series of {tariff.tariff_id!r} does not cover all of the period.",
            reason="tariff.dynamic-range",
            remedy="Add the prices of the missing intervals to the series.",
        )
    return LineRule(
        charge=ENERGY_CHARGE,
        tou_period=None,
        tier=None,
        basis=DYNAMIC,
        rate=Decimal(0),
        unit=f"{tariff.currency}/kWh",
        source=series.source,
        prices=tuple(rate_units(rate) for rate in series.rates[first : first + count]),
    )


def _power_factor_rule(tariff: Tariff, rules: Sequence[LineRule]) -> LineRule:
    rule = tariff.power_factor
    if rule is None:
        raise ValueError("a tariff without a power-factor rule has no such line")
    left_out = {*rule.excludes, FEED_IN_CHARGE}
    return LineRule(
        charge=POWER_FACTOR,
        tou_period=None,
        tier=None,
        basis=POWER_FACTOR,
        rate=Decimal(0),
        unit=PERCENT,
        source=rule.source,
        base=tuple(n for n, line in enumerate(rules) if line.charge not in left_out),
        standard=rule.standard,
    )


def interval_length(tariff: Tariff) -> timedelta | None:
    """The interval that a dynamic tariff prices, or None."""
    return tariff.dynamic.interval if tariff.dynamic else None


def rate_units(rate: Decimal) -> int:
    """Return a rate as an integer [1e-8 yuan per unit].

    Raises:
        ValueError: More than eight decimals; a loaded tariff has none.

    >>> rate_units(Decimal("0.66286875"))
    66286875
    """
    return scale_decimal(rate, RATE_DECIMALS)


def scale_decimal(number: Decimal, decimals: int) -> int:
    """Shift the decimal point in integers: Decimal arithmetic would round to its context.

    Raises:
        ValueError: More than so many decimals.
    """
    sign, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int) or exponent < -decimals:
        raise ValueError(f"a number has more than {decimals} decimals")
    shift: int = 10 ** (exponent + decimals)
    magnitude = int("".join(map(str, digits))) * shift
    return -magnitude if sign else magnitude
