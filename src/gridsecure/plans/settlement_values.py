"""From a settlement frame to the integers of every column a gateway encrypts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gridsecure.billing.rules import LineRule
from gridsecure.billing.settlement_columns import DEMAND_COLUMN, TOTAL_COLUMN, register_column
from gridsecure.billing.table_rows import TableRows, numbers_of
from gridsecure.homomorphic.thresholds import thermometer
from gridsecure.plans.lines.kind import Values
from gridsecure.plans.lines.registry import kind_of
from gridsecure.plans.needs import list_limbed, list_measures, list_reads
from gridsecure.plans.quantities import (
    LIMB_BITS,
    LIMBS,
    TIER_TOTAL,
    TOTAL_QUANTITY,
    Divisor,
    Measure,
    limb_quantity,
    register_measure,
    register_quantity,
)


def settlement_values(
    settled: TableRows,
    *,
    rules: Sequence[LineRule],
    tou_periods: Sequence[str],
    contracted_va: NDArray[np.int64],
) -> Values:
    """The value of every settlement column, by quantity [slots].

    Args:
        settled: Settlement rows of one period in slot order.
        contracted_va: Contracted capacity in slot order [VA].
    """
    total = _column(settled, TOTAL_COLUMN)
    values: Values = {TOTAL_QUANTITY: total, TIER_TOTAL: total}
    for label in tou_periods:
        energy = _column(settled, register_column(label))
        values |= {register_quantity(label): energy, register_measure(label).energy: energy}
    for rule in rules:
        values |= kind_of(rule).settle(rule, settled)
    reads = list_reads(rules)
    for measure in list_measures(reads):
        values |= _digits(measure, settled, values, contracted_va)
    for quantity in list_limbed(reads):
        for limb in range(LIMBS):
            part = values[quantity] >> (LIMB_BITS * limb) & (2**LIMB_BITS - 1)
            values[limb_quantity(quantity, limb)] = part
    return values


def _column(settled: TableRows, name: str) -> NDArray[np.int64]:
    return numbers_of(settled, name)


def _digits(
    measure: Measure, settled: TableRows, values: Values, contracted_va: NDArray[np.int64]
) -> Values:
    if measure.divisor is Divisor.CAPACITY:
        divisor = np.maximum(contracted_va, 1)
    elif measure.divisor is Divisor.DEMAND:
        # Nothing was used where nothing was demanded, so any divisor gives zero.
        divisor = np.maximum(_column(settled, DEMAND_COLUMN), 1)
    else:
        divisor = np.array(measure.divisor)
    columns = thermometer(values[measure.counted] // divisor, digits=measure.digits)
    return {measure.digit(*place): bits for place, bits in columns.items()}
