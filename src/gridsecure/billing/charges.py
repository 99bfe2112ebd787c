"""Charges: the list of bill lines a tariff means for a period, and their exact integers.

`line_rules` compiles a tariff once; the plaintext oracle and the encrypted plans both consume that
list, so they cannot disagree about what a line is. A rule's lines exist for every meter point,
also with quantity zero: the list depends on the tariff and the period only, never on readings.

Scales. A quantity is an integer in thousandths of its unit (Wh of kWh, VA of kVA, 0.001 month or
day). A rate has eight decimals, so it is an integer in 1e-8 yuan per unit. Their product is

    amount [1e-11 yuan] = quantity [1e-3 unit] x rate [1e-8 yuan / unit]

and nothing is rounded here. int64 holds 92 million yuan in that scale; beyond it the arrays hold
Python integers (dtype object), which have no bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from gridsecure.billing.periods import BillingPeriod, billing_month
from gridsecure.billing.settlements import INT64_MAX, register_column
from gridsecure.billing.tariff_rows import RateRow, TierRow
from gridsecure.billing.tariffs import Tariff
from gridsecure.errors import InputError

QUANTITY_DECIMALS = 3
RATE_DECIMALS = 8
AMOUNT_DECIMALS = QUANTITY_DECIMALS + RATE_DECIMALS
QUANTITY_SCALE = 10**QUANTITY_DECIMALS
RATE_SCALE = 10**RATE_DECIMALS
AMOUNT_SCALE = 10**AMOUNT_DECIMALS
FEN_PER_YUAN = 100
AMOUNT_UNITS_PER_FEN = AMOUNT_SCALE // FEN_PER_YUAN
# Upper limit of an open tier: no energy in int64 lies above it.
OPEN_LIMIT_WH = INT64_MAX

REGISTER = "register"
TOTAL = "total"
TIER_PART = "tier-part"
CONTRACT = "contract"

# int64, or object holding Python integers where int64 could overflow.
IntegerArray = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class LineRule:
    """One bill line: a rate and the quantity it multiplies.

    Args:
        charge: Kind of charge, as `energy`, `tier-adder`, `capacity`.
        tou_period: Time-of-use label of a register line, or None.
        tier: Tier number of a tier line, or None.
        basis: What is multiplied: one `register`, the `total`, the `tier-part` of the total
            between the limits, or a fact of the `contract` or calendar.
        rate: Money per unit [`unit`], at most eight decimals.
        unit: As `CNY/kWh`.
        source: Id of the tariff's source row.
        lower_kwh: Energy below it belongs to lower tiers [kWh], before the household quota.
        upper_kwh: Inclusive end of the tier [kWh], before the household quota; None when open.
    """

    charge: str
    tou_period: str | None
    tier: int | None
    basis: str
    rate: Decimal
    unit: str
    source: str
    lower_kwh: Decimal = Decimal(0)
    upper_kwh: Decimal | None = None


def line_rules(tariff: Tariff, period: BillingPeriod) -> tuple[LineRule, ...]:
    """Compile a tariff to the bill lines of one period, in the order of its rate rows.

    Raises:
        InputError: The period is not one local month (`period.not-a-month`), or not wholly
            inside the tariff's validity (`tariff.not-valid`).
    """
    zone = ZoneInfo(tariff.timezone)
    first = period.start.astimezone(zone).date()
    end = period.end.astimezone(zone).date()
    if period != billing_month(first.year, first.month, timezone=tariff.timezone):
        raise InputError(
            f"The billing period is not one calendar month in {tariff.timezone}.",
            reason="period.not-a-month",
            remedy="Tiers and monthly charges are defined for whole local months.",
        )
    if first < tariff.valid_from or (tariff.valid_to is not None and end > tariff.valid_to):
        raise InputError(
            f"Tariff {tariff.tariff_id!r} {tariff.version} does not cover all of {first:%Y-%m}.",
            reason="tariff.not-valid",
            remedy="Bill the period with the tariff version that was in force.",
        )
    ladder = {tier.tier: tier for tier in tariff.tiers if first.month in tier.months}
    return tuple(_line_rule(rate, ladder) for rate in tariff.rates)


def _line_rule(rate: RateRow, ladder: dict[int, TierRow]) -> LineRule:
    lower, upper = Decimal(0), None
    if rate.tou_period is not None:
        basis = REGISTER
    elif rate.tier is not None:
        basis = TIER_PART
        upper = ladder[rate.tier].upper_limit_kwh
        if rate.tier > 1:
            # Every tier but the last has a limit; the tariff was checked for that.
            lower = ladder[rate.tier - 1].upper_limit_kwh or lower
    else:
        basis = TOTAL if rate.unit == "CNY/kWh" else CONTRACT
    return LineRule(
        charge=rate.charge,
        tou_period=rate.tou_period,
        tier=rate.tier,
        basis=basis,
        rate=rate.rate,
        unit=rate.unit,
        source=rate.source,
        lower_kwh=lower,
        upper_kwh=upper,
    )


def rate_units(rate: Decimal) -> int:
    """Return a rate as an integer [1e-8 yuan per unit].

    Raises:
        ValueError: More than eight decimals; a loaded tariff has none.

    >>> rate_units(Decimal("0.66286875"))
    66286875
    """
    return _scaled(rate, RATE_DECIMALS)


def tier_limits_wh(
    rule: LineRule, contracts: pd.DataFrame
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return each meter point's own limits of a rule's tier [Wh].

    A household quota moves both limits of a tier (Guangdong, 粤发改价格函〔2021〕826: 260/600 kWh
    become 360/700), so the first tier grows and the others keep their width. Energy `e` of the
    month has `min(e, upper) - min(e, lower)` in the tier: at exactly the upper limit all of it is
    still inside, and the next Wh is the first of the next tier.

    Args:
        rule: A rule of basis `tier-part`; any other rule spans all energy.
        contracts: Contract rows in the order wanted, with `household_quota_wh`.

    Returns:
        Lower and upper limits, int64; an open tier ends at `OPEN_LIMIT_WH`.
    """
    quota = contracts["household_quota_wh"].to_numpy(np.int64)
    lower = np.zeros(len(quota), dtype=np.int64)
    upper = np.full(len(quota), OPEN_LIMIT_WH, dtype=np.int64)
    if rule.lower_kwh:
        lower = quota + _scaled(rule.lower_kwh, QUANTITY_DECIMALS)
    if rule.upper_kwh is not None:
        upper = quota + _scaled(rule.upper_kwh, QUANTITY_DECIMALS)
    return lower, upper


def line_quantities(
    rules: Sequence[LineRule],
    *,
    settlements: pd.DataFrame,
    contracts: pd.DataFrame,
    period: BillingPeriod,
) -> npt.NDArray[np.int64]:
    """Return the quantity of every line [1e-3 unit], one row per rule, one column per meter point.

    Args:
        rules: The compiled lines.
        settlements: Settlements of this period, one row per meter point [Wh].
        contracts: Contracts in the same order.
        period: The billing period, for charges per month or day.
    """
    quantities = np.zeros((len(rules), len(settlements)), dtype=np.int64)
    total_wh = settlements["total_wh"].to_numpy(np.int64)
    for number, rule in enumerate(rules):
        if rule.tou_period is not None:
            quantities[number] = settlements[register_column(rule.tou_period)].to_numpy(np.int64)
        elif rule.basis == TIER_PART:
            lower, upper = tier_limits_wh(rule, contracts)
            quantities[number] = np.minimum(total_wh, upper) - np.minimum(total_wh, lower)
        elif rule.basis == TOTAL:
            quantities[number] = total_wh
        else:
            quantities[number] = _contract_quantity(rule, contracts, period)
    return quantities


def _contract_quantity(
    rule: LineRule, contracts: pd.DataFrame, period: BillingPeriod
) -> npt.NDArray[np.int64]:
    """Capacity is contracted kVA for a month; standing charges count months or local days."""
    if rule.unit == "CNY/kVA-month":
        return contracts["contracted_va"].to_numpy(np.int64)
    count = period.days if rule.unit == "CNY/day" else 1
    return np.full(len(contracts), count * QUANTITY_SCALE, dtype=np.int64)


def line_amounts(rules: Sequence[LineRule], *, quantities: IntegerArray) -> IntegerArray:
    """Multiply quantities by their rates, exactly [1e-11 yuan].

    Args:
        rules: The compiled lines.
        quantities: One row per rule [1e-3 unit].

    Returns:
        The same shape; int64 when no amount can leave it, else Python integers.
    """
    units = [rate_units(rule.rate) for rule in rules]
    bound = max(
        (largest(row) * abs(unit) for row, unit in zip(quantities, units, strict=True)), default=0
    )
    dtype = np.dtype(np.int64) if bound <= INT64_MAX else np.dtype(object)
    rates = np.array(units, dtype=dtype).reshape(-1, 1)
    amounts: IntegerArray = quantities.astype(dtype) * rates
    return amounts


def largest(values: IntegerArray) -> int:
    """Return the largest absolute value as a Python integer; zero when there is none."""
    return max(int(values.max(initial=0)), -int(values.min(initial=0)))


def _scaled(number: Decimal, decimals: int) -> int:
    """Shift the decimal point in integers: Decimal arithmetic would round to its context."""
    sign, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int) or exponent < -decimals:
        raise ValueError(f"a number has more than {decimals} decimals")
    shift: int = 10 ** (exponent + decimals)
    magnitude = int("".join(map(str, digits))) * shift
    return -magnitude if sign else magnitude
