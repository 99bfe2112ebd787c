"""What must hold between the rates of a tariff, so that every kWh has exactly one price.

In every month: each charge is priced in one way only (on the total, on every time-of-use period,
on every tier, or on every tier of every period); nothing is priced twice and nothing is left out.
Rates that hold in some months only are looked at month by month.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gridsecure.tariffs.cells import ALL_MONTHS, refusal
from gridsecure.tariffs.consistency import (
    CONVENTIONS,
    PER_PERIOD,
    PRO_RATA,
    UNIFORM_ADDER,
)
from gridsecure.tariffs.elements import DemandRatchet, DynamicPrices, PowerFactorRule
from gridsecure.tariffs.rows import (
    PER_DAY,
    PER_KVA,
    PER_KW,
    PER_KWH,
    PER_MONTH,
    RateRow,
    TierRow,
    WindowRow,
)

ENERGY_CHARGE = "energy"
CAPACITY_CHARGE = "capacity"
DEMAND_CHARGE = "demand"
STANDING_CHARGE = "standing"
TIER_ADDER_CHARGE = "tier-adder"
DISCOUNT_CHARGE = "demand-discount"
MINIMUM_CHARGE = "minimum"
FEED_IN_CHARGE = "feed-in"
FREE_QUOTA_CHARGE = "free-quota"

# Charges whose name says what they multiply, and the units they may have.
_RESERVED = {
    ENERGY_CHARGE: (PER_KWH,),
    CAPACITY_CHARGE: (PER_KVA,),
    DEMAND_CHARGE: (PER_KW,),
    STANDING_CHARGE: (PER_MONTH, PER_DAY),
    TIER_ADDER_CHARGE: (PER_KWH,),
    DISCOUNT_CHARGE: (PER_KW,),
    MINIMUM_CHARGE: (PER_MONTH, PER_DAY),
    FEED_IN_CHARGE: (PER_KWH,),
    FREE_QUOTA_CHARGE: (PER_KWH,),
}
_NOT_A_PRICE = (TIER_ADDER_CHARGE, FEED_IN_CHARGE, FREE_QUOTA_CHARGE)


@dataclass(frozen=True, slots=True)
class PricedRows:
    """The rows that rates are checked against.

    Args:
        demand_windows: Time-of-use windows of demand.
        convention: How tiers and time-of-use combine, or None.
        dynamic: Prices per interval, or None.
        power_factor: The power-factor rule, or None.
        ratchet: The demand ratchet, or None.
    """

    rates: Sequence[RateRow]
    windows: Sequence[WindowRow]
    demand_windows: Sequence[WindowRow]
    tiers: Sequence[TierRow]
    convention: str | None
    dynamic: DynamicPrices | None = None
    power_factor: PowerFactorRule | None = None
    ratchet: DemandRatchet | None = None


def check_rates(rows: PricedRows) -> None:
    """Refuse rates that price a kWh twice, or not at all, or in a way the tariff does not name.

    Raises:
        InvalidTariffError: With the reason `tariff.convention`, `tariff.duplicate-rate`,
            `tariff.rate-scope`, `tariff.missing-rate`, `tariff.power-factor`, `tariff.ratchet` or
            `tariff.dynamic`.
    """
    if rows.convention is not None and rows.convention not in CONVENTIONS:
        raise refusal("tier_convention", f"unknown convention {rows.convention!r}", "convention")
    for rate in rows.rates:
        _check_scope(rate, convention=rows.convention)
    _check_single_elements(rows)
    _check_demand_elements(rows)
    looked_at = set()
    for month in ALL_MONTHS:
        active = tuple(rate for rate in rows.rates if month in rate.months)
        labels = frozenset(w.tou_period for w in rows.windows if month in w.months)
        tiers = frozenset((t.tou_period, t.tier) for t in rows.tiers if month in t.months)
        if (active, labels, tiers) not in looked_at:
            looked_at.add((active, labels, tiers))
            _check_month(rows, active, labels=labels, tiers=tiers)


def _check_scope(rate: RateRow, *, convention: str | None) -> None:
    """A rate applies to a period, a tier, a period within a tier, or the whole."""
    units = _RESERVED.get(rate.charge)
    if units is not None and rate.per not in units:
        raise refusal(
            rate.row, f"{rate.charge} counts {' or '.join(units)}, not {rate.per}", "rate-scope"
        )
    if (rate.min_kwh_per_kva is not None) != (rate.charge == DISCOUNT_CHARGE):
        raise refusal(rate.row, f"{DISCOUNT_CHARGE} and min_kwh_per_kva go together", "rate-scope")
    if (
        rate.tou_period is not None
        and rate.tier is not None
        and convention in (None, UNIFORM_ADDER)
    ):
        raise refusal(
            rate.row,
            f"a rate per period and tier needs a convention other than {UNIFORM_ADDER}",
            "convention",
        )
    whole = rate.charge in (FEED_IN_CHARGE, FREE_QUOTA_CHARGE, DISCOUNT_CHARGE)
    scoped = rate.tou_period is not None or rate.tier is not None
    demand_period = rate.per == PER_KW and rate.tier is None
    if scoped and (whole or not (rate.per == PER_KWH or demand_period)):
        raise refusal(
            rate.row, f"{rate.charge} ({rate.unit}) has no periods or tiers", "rate-scope"
        )
    adder = rate.charge == TIER_ADDER_CHARGE
    if adder and (convention != UNIFORM_ADDER or rate.tier is None or rate.tou_period is not None):
        raise refusal(
            rate.row,
            f'{TIER_ADDER_CHARGE} needs a tier and tier_convention = "{UNIFORM_ADDER}"',
            "convention",
        )


def _check_single_elements(rows: PricedRows) -> None:
    energy = [rate for rate in rows.rates if rate.charge == ENERGY_CHARGE]
    if rows.dynamic and (energy or rows.windows or rows.tiers):
        raise refusal(
            "dynamic", "prices per interval leave no room for other energy rates", "dynamic"
        )
    rule = rows.power_factor
    if rule is None:
        return
    charges = {rate.charge for rate in rows.rates}
    unknown = sorted(set(rule.excludes) - charges)
    if unknown:
        raise refusal(
            "power_factor",
            f"it leaves out {unknown[0]!r}, which has no rate of its own; give that charge a row,"
            " or write excludes = []",
            "power-factor",
        )
    shared = any(rate.tou_period is not None and rate.tier is not None for rate in rows.rates)
    if rows.dynamic or (shared and rows.convention in CONVENTIONS[1:]):
        raise refusal(
            "power_factor",
            "it cannot be combined with prices per interval or per tier of a period",
            "power-factor",
        )


def _check_demand_elements(rows: PricedRows) -> None:
    """Demand windows, a ratchet and a discount each change something that has a rate."""
    rates = [rate for rate in rows.rates if rate.per == PER_KW]
    if rows.demand_windows and not any(rate.tou_period is not None for rate in rates):
        raise refusal("demand_windows", "no demand rate has a period", "missing-rate")
    discounts = [rate for rate in rates if rate.charge == DISCOUNT_CHARGE]
    whole = [rate for rate in rates if rate not in discounts and rate.tou_period is None]
    for discount in discounts:
        if not set(discount.months) <= {month for rate in whole for month in rate.months}:
            raise refusal(discount.row, "there is no demand rate to discount", "missing-rate")
    if rows.ratchet is not None and not whole:
        raise refusal("demand_ratchet", "no rate counts the month's demand", "missing-rate")
    if rows.ratchet is not None and discounts:
        raise refusal(
            "demand_ratchet", f"which demand {DISCOUNT_CHARGE} counts is not said", "ratchet"
        )


def _check_month(
    rows: PricedRows,
    rates: Sequence[RateRow],
    *,
    labels: frozenset[str],
    tiers: frozenset[tuple[str | None, int]],
) -> None:
    """The rates of one month: no rate twice, every charge complete, all energy priced."""
    seen: set[tuple[str, str | None, int | None]] = set()
    for rate in rates:
        key = (rate.charge, rate.tou_period, rate.tier)
        if key in seen:
            raise refusal(rate.row, "the same rate is given twice", "duplicate-rate")
        seen.add(key)
    all_labels = frozenset(window.tou_period for window in rows.windows)
    demand_labels = frozenset(window.tou_period for window in rows.demand_windows)
    for charge in dict.fromkeys(rate.charge for rate in rates):
        own = [rate for rate in rates if rate.charge == charge]
        if own[0].per == PER_KW:
            _check_demand(own, labels=demand_labels)
        else:
            _check_charge(own, labels=labels, all_labels=all_labels, tiers=tiers)
    _check_everything_priced(rows, rates, labels=labels, tiers=tiers)


def _check_demand(rows: Sequence[RateRow], *, labels: frozenset[str]) -> None:
    """Demand may be priced on the month's highest and on every period's highest at once."""
    for row in rows:
        if row.per != PER_KW:
            raise refusal(row.row, f"{row.charge} is priced in two ways at once", "rate-scope")
    by_period = [row for row in rows if row.tou_period is not None]
    if by_period:
        _check_names(by_period, given=[row.tou_period for row in by_period], wanted=labels)


def _check_charge(
    rows: Sequence[RateRow],
    *,
    labels: frozenset[str],
    all_labels: frozenset[str],
    tiers: frozenset[tuple[str | None, int]],
) -> None:
    """One charge is priced one way: in total, on every period, every tier, or every pair.

    A period that has no hours in the month may have a rate all the same.
    """
    first = rows[0]
    scopes = {(row.tou_period is not None, row.tier is not None, row.unit) for row in rows}
    if len(scopes) > 1:
        raise refusal(first.row, f"{first.charge} is priced in two ways at once", "rate-scope")
    own_ladders = any(tou_period is not None for tou_period, _ in tiers)
    if first.tou_period is not None and first.tier is not None:
        pairs = tiers if own_ladders else frozenset((p, tier) for p in labels for _, tier in tiers)
        given = [(row.tou_period, row.tier) for row in rows]
        known = pairs | frozenset((p, tier) for p in all_labels for _, tier in tiers)
        _check_names(rows, given=given, wanted=pairs, known=tiers if own_ladders else known)
    elif first.tou_period is not None:
        given_labels = [row.tou_period for row in rows]
        _check_names(rows, given=given_labels, wanted=labels, known=all_labels)
    elif first.tier is not None:
        if own_ladders:
            raise refusal(first.row, f"{PER_PERIOD} tiers need a rate per period", "rate-scope")
        numbers = frozenset(tier for _, tier in tiers)
        # The first tier pays no adder: its price is the energy rate itself.
        wanted = numbers - {1} if first.charge == TIER_ADDER_CHARGE else numbers
        _check_names(rows, given=[row.tier for row in rows], wanted=wanted)


def _check_names(
    rows: Sequence[RateRow],
    *,
    given: Sequence[object],
    wanted: frozenset[object],
    known: frozenset[object] | None = None,
) -> None:
    for row, name in zip(rows, given, strict=True):
        if name not in (wanted if known is None else known):
            said = "'{}' in tier {}".format(*name) if isinstance(name, tuple) else f"{name!r}"
            raise refusal(row.row, f"{said} is no period or tier of this charge", "rate-scope")
    missing = sorted(wanted - set(given), key=str)
    if missing:
        raise refusal("rates", f"{rows[0].charge} has no rate for {missing[0]!r}", "missing-rate")


def _check_everything_priced(
    rows: PricedRows,
    rates: Sequence[RateRow],
    *,
    labels: frozenset[str],
    tiers: frozenset[tuple[str | None, int]],
) -> None:
    """Energy has a price, and no window or tier is there for nothing."""
    priced = [rate for rate in rates if rate.per == PER_KWH and rate.charge not in _NOT_A_PRICE]
    if not priced and not rows.dynamic:
        raise refusal("rates", f"{ENERGY_CHARGE} has no rate per kWh", "missing-rate")
    if labels and not any(rate.tou_period is not None for rate in priced):
        raise refusal("rates", f"{ENERGY_CHARGE} has no rate per TOU period", "missing-rate")
    numbers = {tier for _, tier in tiers}
    if numbers - {1} and not any(rate.tier is not None for rate in rates):
        raise refusal("rates", "no rate depends on the tiers", "missing-rate")
    by_tier = any(rate.tier is not None for rate in priced)
    if by_tier and any(rate.charge == TIER_ADDER_CHARGE for rate in rates):
        raise refusal("rates", "energy per tier and a tier adder both price a tier", "convention")
    if rows.convention == PRO_RATA and not (labels or numbers):
        raise refusal("tier_convention", "there is nothing to combine", "convention")
