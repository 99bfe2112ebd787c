"""Charges: the exact quantity and amount of every bill line, in plaintext: the oracle.

Scales. A quantity is an integer in thousandths of its unit (Wh of kWh, VA of kVA, 0.001 month or
day). A rate has eight decimals, so it is an integer in 1e-8 yuan per unit. Their product is

    amount [1e-11 yuan] = quantity [1e-3 unit] x rate [1e-8 yuan / unit]

and nothing is rounded here, with one exception: a line that divides (a pro-rata share, a
percentage) has a fraction for its amount. It is cut off toward zero at 1e-11 yuan. Half a fen is
a whole number of 1e-11 yuan, so rounding the cut amount half-up to the fen gives what rounding the
fraction would have given.

int64 holds 92 million yuan in that scale; beyond it the arrays hold Python integers (object).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gridsecure.billing.limits import capacities_va, tier_limits_wh
from gridsecure.billing.rules import (
    CONTRACT,
    DEMAND,
    DISCOUNT,
    DYNAMIC,
    EXPORT,
    MINIMUM,
    OWN_DEMAND,
    POWER_FACTOR,
    QUOTA,
    RATCHET,
    REGISTER,
    SHARE,
    SPLIT,
    TIER_PART,
    LineRule,
    rate_units,
)
from gridsecure.billing.settlement_columns import (
    EXPORT_COLUMN,
    INT64_MAX,
    OWN_DEMAND_COLUMN,
    POWER_FACTOR_COLUMN,
    RATCHET_COLUMN,
    TOTAL_COLUMN,
    YEAR_BEFORE_COLUMN,
    demand_column,
    interval_column,
    register_column,
    split_column,
)
from gridsecure.periods import BillingPeriod
from gridsecure.tariffs.consistency import YEAR
from gridsecure.tariffs.power_factor import adjustment_table
from gridsecure.tariffs.rows import PER_DAY, PER_KVA, RATE_DECIMALS

QUANTITY_DECIMALS = 3
AMOUNT_DECIMALS = QUANTITY_DECIMALS + RATE_DECIMALS
QUANTITY_SCALE = 10**QUANTITY_DECIMALS
AMOUNT_SCALE = 10**AMOUNT_DECIMALS
FEN_PER_YUAN = 100
AMOUNT_UNITS_PER_FEN = AMOUNT_SCALE // FEN_PER_YUAN
PERCENT_SCALE = 10_000
"""A percentage is a whole number of hundredths of a percent."""
PERCENT_QUANTITY = 10
"""Thousandths of a percent in a hundredth: the quantity of a power-factor line is in percent."""

# int64, or object holding Python integers where int64 could overflow.
IntegerArray = npt.NDArray[Any]


def exact_lines(
    rules: Sequence[LineRule],
    *,
    settlements: pd.DataFrame,
    contracts: pd.DataFrame,
    period: BillingPeriod,
) -> tuple[IntegerArray, IntegerArray]:
    """Return quantities [1e-3 unit] and amounts [1e-11 yuan], a row a rule, a column a meter point.

    Args:
        settlements: Settlements of this period, one row per meter point.
        contracts: Contracts in the same order.
    """
    quantities = line_quantities(rules, settlements=settlements, contracts=contracts, period=period)
    amounts = line_amounts(rules, quantities=quantities)
    for line, rule in enumerate(rules):
        if rule.basis in (SHARE, DYNAMIC):
            amounts = amounts.astype(object)
            amounts[line] = (
                _shares(rule, settlements, contracts, period)
                if rule.basis == SHARE
                else _priced_intervals(rule, settlements)
            )
    return quantities, derive_lines(rules, quantities=quantities, amounts=amounts)


def derive_lines(
    rules: Sequence[LineRule], *, quantities: IntegerArray, amounts: IntegerArray
) -> IntegerArray:
    """Fill in the lines that follow from other lines: the power factor, then the minimum.

    Args:
        quantities: Their quantities; the percentage [1e-3 %] of a power-factor line among them.
        amounts: The amounts of all other lines [1e-11 yuan].

    Returns:
        The amounts of all lines; the same array where nothing is derived.
    """
    for line, rule in enumerate(rules):
        if rule.basis == POWER_FACTOR:
            amounts = amounts.astype(object)
            base = amounts[list(rule.base)].sum(axis=0)
            percent = quantities[line].astype(object) // PERCENT_QUANTITY
            amounts[line] = divide_toward_zero(base * percent, PERCENT_SCALE)
        elif rule.basis == MINIMUM:
            amounts = amounts.astype(object)
            others = [n for n, other in enumerate(rules) if other.basis != MINIMUM]
            wanted = quantities[line].astype(object) * rate_units(rule.rate)
            missing = wanted - amounts[others].sum(axis=0)
            amounts[line] = np.where(missing > 0, missing, 0)
    return amounts


def line_quantities(
    rules: Sequence[LineRule],
    *,
    settlements: pd.DataFrame,
    contracts: pd.DataFrame,
    period: BillingPeriod,
) -> npt.NDArray[np.int64]:
    """Return the quantity of every line [1e-3 unit], one row per rule, one column per meter point.

    A share's quantity is cut off at 1e-3 kWh; its amount is computed from the fraction.

    Args:
        settlements: Settlements of this period, one row per meter point.
        contracts: Contracts in the same order.
        period: The billing period, for charges per month or day.
    """
    quantities = np.zeros((len(rules), len(settlements)), dtype=np.int64)
    for number, rule in enumerate(rules):
        if rule.basis == TIER_PART:
            quantities[number] = tier_parts(rule, settlements, contracts, period)
        elif rule.basis == SHARE:
            product, total = _share_terms(rule, settlements, contracts, period)
            quantities[number] = product // np.where(total == 0, 1, total)
        elif rule.basis == QUOTA:
            free = contracts["free_quota_wh"].to_numpy(np.int64)
            quantities[number] = np.minimum(_column(settlements, TOTAL_COLUMN), free)
        elif rule.basis == DISCOUNT:
            quantities[number] = _discounted(rule, settlements, contracts)
        elif rule.basis == POWER_FACTOR:
            table = adjustment_table(rule.standard)
            factors = _column(settlements, POWER_FACTOR_COLUMN)
            quantities[number] = table[factors] * PERCENT_QUANTITY
        elif rule.basis in (CONTRACT, MINIMUM):
            quantities[number] = contract_quantity(rule, contracts, period)
        else:
            quantities[number] = _column(settlements, _measured(rule))
    return quantities


def _measured(rule: LineRule) -> str:
    """The settlement column a line multiplies as it stands."""
    label, tier = rule.tou_period, rule.tier
    if rule.basis == REGISTER and label is not None:
        return register_column(label)
    if rule.basis == SPLIT and label is not None and tier is not None:
        return split_column(label, tier)
    if rule.basis == DEMAND:
        return demand_column(label)
    fixed = {OWN_DEMAND: OWN_DEMAND_COLUMN, RATCHET: RATCHET_COLUMN, EXPORT: EXPORT_COLUMN}
    return fixed.get(rule.basis, TOTAL_COLUMN)


def _column(settlements: pd.DataFrame, name: str) -> npt.NDArray[np.int64]:
    return settlements[name].to_numpy(np.int64)


def tier_parts(
    rule: LineRule, settlements: pd.DataFrame, contracts: pd.DataFrame, period: BillingPeriod
) -> npt.NDArray[np.int64]:
    """Energy of each meter point between a rule's limits [Wh].

    Of a year's tiers, what this month added: the part of all energy since 1 January with the month,
    less the part without it.
    """
    own = rule.basis == TIER_PART and rule.tou_period is not None
    name = register_column(rule.tou_period) if own and rule.tou_period else TOTAL_COLUMN
    energy = _column(settlements, name)
    lower, upper = tier_limits_wh(rule, contracts, period=period, settlements=settlements)
    if rule.reset == YEAR:
        before = _column(settlements, YEAR_BEFORE_COLUMN)
        after = before + energy
        return _between(after, lower, upper) - _between(before, lower, upper)
    return _between(energy, lower, upper)


def _between(
    energy: npt.NDArray[np.int64], lower: npt.NDArray[np.int64], upper: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    part: npt.NDArray[np.int64] = np.minimum(energy, upper) - np.minimum(energy, lower)
    return part


def _share_terms(
    rule: LineRule, settlements: pd.DataFrame, contracts: pd.DataFrame, period: BillingPeriod
) -> tuple[IntegerArray, IntegerArray]:
    """Register x tier part [Wh²] and total [Wh]; their quotient is the share."""
    if rule.tou_period is None:
        raise ValueError("a share is one of a time-of-use register")
    register = _column(settlements, register_column(rule.tou_period)).astype(object)
    part = tier_parts(rule, settlements, contracts, period).astype(object)
    return register * part, _column(settlements, TOTAL_COLUMN).astype(object)


def _shares(
    rule: LineRule, settlements: pd.DataFrame, contracts: pd.DataFrame, period: BillingPeriod
) -> IntegerArray:
    product, total = _share_terms(rule, settlements, contracts, period)
    return divide_toward_zero(product * rate_units(rule.rate), total)


def divide_toward_zero(numerators: IntegerArray, divisor: IntegerArray | int) -> IntegerArray:
    """Divide exact integers and cut toward zero; what is divided by zero is zero.

    >>> cut(np.array([7, -7, 5], dtype=object), np.array([2, 2, 0], dtype=object)).tolist()
    [3, -3, 0]
    """
    safe = np.where(np.asarray(divisor) == 0, 1, divisor)
    magnitudes = abs(numerators) // safe
    signed: IntegerArray = np.where(numerators < 0, -magnitudes, magnitudes)
    return np.where(np.asarray(divisor) == 0, 0, signed)


def _priced_intervals(rule: LineRule, settlements: pd.DataFrame) -> IntegerArray:
    amounts = np.zeros(len(settlements), dtype=object)
    for index, price in enumerate(rule.prices):
        name = interval_column(index)
        if price and name in settlements:
            amounts += _column(settlements, name).astype(object) * price
    return amounts


def _discounted(
    rule: LineRule, settlements: pd.DataFrame, contracts: pd.DataFrame
) -> npt.NDArray[np.int64]:
    """Demand of the meter points with enough kWh per contracted kVA; zero for the others."""
    enough = capacities_va(contracts) * rule.min_use_hours
    reached = _column(settlements, TOTAL_COLUMN) >= enough
    return np.where(reached, _column(settlements, demand_column(None)), 0)


def contract_quantity(
    rule: LineRule, contracts: pd.DataFrame, period: BillingPeriod
) -> npt.NDArray[np.int64]:
    """Capacity is contracted kVA for a month; standing charges count months or local days."""
    per = rule.unit.partition("/")[2]
    if per == PER_KVA:
        return contracts["contracted_va"].to_numpy(np.int64)
    count = period.days if per == PER_DAY else 1
    return np.full(len(contracts), count * QUANTITY_SCALE, dtype=np.int64)


def line_amounts(rules: Sequence[LineRule], *, quantities: IntegerArray) -> IntegerArray:
    """Multiply quantities by their rates, exactly [1e-11 yuan].

    Args:
        quantities: One row per rule [1e-3 unit].

    Returns:
        The same shape; int64 when no amount can leave it, else Python integers. Zero for lines
        that are no product of a quantity and a rate.
    """
    products = (SHARE, DYNAMIC, POWER_FACTOR, MINIMUM)
    units = [0 if rule.basis in products else rate_units(rule.rate) for rule in rules]
    bound = max(
        (find_largest(row) * abs(unit) for row, unit in zip(quantities, units, strict=True)),
        default=0,
    )
    dtype = np.dtype(np.int64) if bound <= INT64_MAX else np.dtype(object)
    rates = np.array(units, dtype=dtype).reshape(-1, 1)
    amounts: IntegerArray = quantities.astype(dtype) * rates
    return amounts


def find_largest(values: IntegerArray) -> int:
    """Return the largest absolute value as a Python integer; zero when there is none."""
    return max(int(values.max(initial=0)), -int(values.min(initial=0)))
