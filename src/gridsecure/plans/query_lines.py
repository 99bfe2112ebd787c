"""Bill lines in questions: on which scale meter points are counted for one, and at which edges.

| what a line has | counted by | of |
|---|---|---|
| tiers in kWh, of a month or of the year | the energy of it | tiers, also by the day |
| tiers in kWh per kVA, a discount from so many on | kWh per contracted kVA | `use-hours` |
| tiers in kWh per kW | kWh per kW of the month's demand | `peak-hours` |
| a power factor | the factor, at each step of its table | `power-factor` |

A line that multiplies a column as it stands has none. All others are refused: nobody could say how
many customers their totals are about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gridsecure.billing.limits import OPEN_LIMIT_WH, counts_hours, tier_limits_wh, use_hours
from gridsecure.billing.rules import (
    CONTRACT,
    DEMAND,
    DISCOUNT,
    DYNAMIC,
    EXPORT,
    POWER_FACTOR,
    REGISTER,
    TIER_PART,
    TOTAL,
    LineRule,
)
from gridsecure.billing.table_rows import TableRows
from gridsecure.homomorphic.thresholds import WH_PER_KWH
from gridsecure.periods import BillingPeriod
from gridsecure.plans.quantities import LOWEST_STEP
from gridsecure.plans.query_counted import FEEDS_IN, uncounted
from gridsecure.plans.query_edges import Scale, edge_on
from gridsecure.tariffs.consistency import YEAR
from gridsecure.tariffs.power_factor import HIGHEST_FACTOR, adjustment_table
from gridsecure.tariffs.rows import KWH_PER_KVA

_LINEAR: Final = frozenset({REGISTER, TOTAL, DEMAND, DYNAMIC, CONTRACT})
"""What a line multiplies that depends on no edge. Energy fed in is none of them: most feed in
nothing, and nobody counts who does."""


def find_scale(rule: LineRule) -> Scale | None:
    """What meter points are counted by for a line; None where they are not."""
    if rule.basis == POWER_FACTOR:
        return Scale.FACTOR
    if rule.basis == DISCOUNT:
        return Scale.CAPACITY
    if rule.basis != TIER_PART or rule.tou_period is not None or rule.step_wh:
        return None
    if counts_hours(rule):
        return Scale.CAPACITY if rule.limit_unit == KWH_PER_KVA else Scale.DEMAND
    return Scale.YEAR if rule.reset == YEAR else Scale.MONTH


def check_countable(rules: Sequence[LineRule]) -> None:
    """Refuse lines of which nobody counts who reaches what, and such on several scales.

    Raises:
        InputError: `query.limits`.
    """
    for rule in rules:
        if rule.basis not in _LINEAR and find_scale(rule) is None:
            why = "nobody counts who reaches its limits"
            raise uncounted(f"the line {rule.charge!r}", FEEDS_IN if rule.basis == EXPORT else why)
    scales = {find_scale(rule) for rule in rules} - {None}
    if len(scales) > 1:
        names = " and ".join(sorted(scale.words for scale in scales if scale is not None))
        raise uncounted("the bill", f"it has limits by {names}, which are told apart alone")


def line_edges(
    rule: LineRule, contracts: TableRows, *, period: BillingPeriod
) -> list[NDArray[np.int64]]:
    """The edges that a line's total depends on, each for all slots; 0 or less is none.

    Raises:
        InputError: A limit is no whole kWh, at which alone is counted (`query.limits`).
    """
    scale = find_scale(rule)
    if scale is None:
        return []
    if scale is Scale.FACTOR:
        return [_alike(edge_on(scale, step), contracts) for step in _steps(rule.standard)]
    if scale in (Scale.CAPACITY, Scale.DEMAND):
        hours = [rule.min_use_hours] if rule.basis == DISCOUNT else [
            use_hours(limit, rule.limit_unit, period=period)
            for limit in (rule.lower, rule.upper)
            if limit
        ]  # fmt: skip
        return [_alike(edge_on(scale, own), contracts) for own in hours if own]
    found = []
    for limits in tier_limits_wh(rule, contracts, period=period):
        bounded = np.where(limits == OPEN_LIMIT_WH, 0, limits)
        if (bounded % WH_PER_KWH).any():
            raise uncounted("a bill's tiers", "a limit is not a whole number of kWh")
        kwh: NDArray[np.int64] = bounded // WH_PER_KWH
        found.append(np.where(kwh > 0, kwh + edge_on(scale, 0), 0))
    return found


def _alike(edge: int, contracts: TableRows) -> NDArray[np.int64]:
    return np.full(len(contracts), edge, dtype=np.int64)


def _steps(standard: str) -> list[int]:
    """The factors at which a table changes, above the one up to which all are counted as one."""
    table = adjustment_table(standard)
    return [n for n in range(LOWEST_STEP + 1, HIGHEST_FACTOR + 1) if table[n] != table[n - 1]]
