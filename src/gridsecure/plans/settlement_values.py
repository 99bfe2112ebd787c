"""From a settlement frame to the integers of every column a gateway encrypts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.rules import DYNAMIC, POWER_FACTOR, SPLIT, LineRule
from gridsecure.billing.settlement_columns import (
    DEMAND_COLUMN,
    EXPORT_COLUMN,
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
from gridsecure.homomorphic.thresholds import WH_PER_KWH, thermometer
from gridsecure.plans.quantities import (
    EXPORT_QUANTITY,
    FACTOR_QUANTITY,
    LIMB_BITS,
    LIMBS,
    LOWEST_STEP,
    OWN_DEMAND_QUANTITY,
    PEAK_HOURS,
    RATCHET_QUANTITY,
    STEPS_PREFIX,
    TIER_TOTAL,
    TOTAL_QUANTITY,
    USE_HOURS,
    YEAR_AFTER,
    YEAR_BEFORE,
    Measure,
    demand_quantity,
    factor_quantity,
    limb_quantity,
    limbed_quantities,
    linear_quantity,
    priced_quantity,
    register_quantity,
    rule_measures,
    split_quantity,
)
from gridsecure.tariffs.power_factor import HIGHEST_FACTOR

Values = dict[str, NDArray[np.int64]]


def settlement_values(
    settled: pd.DataFrame,
    *,
    rules: Sequence[LineRule],
    tou_periods: Sequence[str],
    contracted_va: NDArray[np.int64],
) -> Values:
    """The value of every settlement column, by quantity [slots].

    Args:
        settled: Settlement rows of one period in slot order.
        rules: The compiled lines of the period.
        tou_periods: The tariff's time-of-use labels.
        contracted_va: Contracted capacity in slot order [VA].
    """
    total = _column(settled, TOTAL_COLUMN)
    values: Values = {TOTAL_QUANTITY: total, TIER_TOTAL: total}
    for label in tou_periods:
        values[register_quantity(label)] = _column(settled, register_column(label))
        values[f"tier:{register_quantity(label)}"] = values[register_quantity(label)]
    values |= _measured(settled, rules)
    for measure in dict.fromkeys(m for rule in rules for m in rule_measures(rule)):
        values |= _digits(measure, settled, values, contracted_va)
    for quantity in limbed_quantities(rules):
        for limb in range(LIMBS):
            part = values[quantity] >> (LIMB_BITS * limb) & (2**LIMB_BITS - 1)
            values[limb_quantity(quantity, limb)] = part
    return values


def _column(settled: pd.DataFrame, name: str) -> NDArray[np.int64]:
    return settled[name].to_numpy(np.int64)


def _measured(settled: pd.DataFrame, rules: Sequence[LineRule]) -> Values:
    """Columns that stand in the settlement frame as they are."""
    named = {
        OWN_DEMAND_QUANTITY: OWN_DEMAND_COLUMN,
        RATCHET_QUANTITY: RATCHET_COLUMN,
        EXPORT_QUANTITY: EXPORT_COLUMN,
        demand_quantity(None): DEMAND_COLUMN,
    }
    values = {q: _column(settled, name) for q, name in named.items() if name in settled}
    if YEAR_BEFORE_COLUMN in settled:
        before = _column(settled, YEAR_BEFORE_COLUMN)
        values[YEAR_BEFORE.energy] = before
        values[YEAR_AFTER.energy] = before + _column(settled, TOTAL_COLUMN)
    for rule in rules:
        label, tier = rule.tou_period, rule.tier
        if rule.basis == SPLIT and label is not None and tier is not None:
            values[split_quantity(label, tier)] = _column(settled, split_column(label, tier))
        elif rule.basis == DYNAMIC:
            for n in range(len(rule.prices)):
                values[priced_quantity(n)] = _column(settled, interval_column(n))
        elif rule.basis == POWER_FACTOR:
            values |= _factors(_column(settled, POWER_FACTOR_COLUMN))
        elif (linear_quantity(rule) or "").startswith("demand:"):
            values[demand_quantity(label)] = _column(settled, demand_column(label))
    return values


def _factors(factors: NDArray[np.int64]) -> Values:
    steps = range(LOWEST_STEP + 1, HIGHEST_FACTOR + 1)
    values = {factor_quantity(n): (factors >= n).astype(np.int64) for n in steps}
    return values | {FACTOR_QUANTITY: np.minimum(factors, LOWEST_STEP)}


def _digits(
    measure: Measure, settled: pd.DataFrame, values: Values, contracted_va: NDArray[np.int64]
) -> Values:
    counted, _, counted_quantity = measure.prefix.partition(":")
    if counted == USE_HOURS.prefix:
        whole = values[counted_quantity or TOTAL_QUANTITY] // np.maximum(contracted_va, 1)
    elif counted == PEAK_HOURS.prefix:
        # Nothing was used where nothing was demanded, so any divisor gives zero.
        demand = np.maximum(_column(settled, DEMAND_COLUMN), 1)
        whole = values[counted_quantity or TOTAL_QUANTITY] // demand
    elif measure.prefix.startswith(STEPS_PREFIX):
        quantity, _, step = measure.prefix.removeprefix(STEPS_PREFIX).rpartition(":")
        whole = values[quantity] // int(step)
    else:
        whole = values[measure.energy] // WH_PER_KWH
    columns = thermometer(whole, digits=measure.digits)
    return {measure.digit(*place): bits for place, bits in columns.items()}
