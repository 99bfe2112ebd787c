"""Use hours: tiers in kWh per kVA or kW, and demand that is discounted from so many of them.

Limb by limb, (x - T·P)·[floor(x / P) >= T], lower limit minus upper: exact for energies of any
size. P is the contracted capacity, which is public, or the month's maximum demand, which is a
column in limbs itself. A discount is demand·[floor(x / P) >= T].
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from gridsecure.billing.limits import capacities_va, counts_hours, use_hours
from gridsecure.billing.rules import DISCOUNT, TIER_PART, LineRule
from gridsecure.billing.settlement_columns import DEMAND_COLUMN
from gridsecure.billing.table_rows import TableRows, numbers_of
from gridsecure.plans.circuit import LIMB_MASK, Circuit, limbs_of, minus_limbs
from gridsecure.plans.lines.kind import (
    GATED_LIMBS,
    NO_FACTS,
    LineKind,
    Method,
    Part,
    Reads,
    Rules,
    Values,
    weigh_limbs,
)
from gridsecure.plans.lines.tiers import tiered_quantity
from gridsecure.plans.quantities import (
    TOTAL_QUANTITY,
    Divisor,
    Measure,
    demand_quantity,
    hours_measure,
)
from gridsecure.tariffs.rows import KWH_PER_KVA

CAPACITY: Final = "contracted_va"
_DEMAND: Final = demand_quantity(None)
_DISCOUNT_MEASURE: Final = hours_measure(TOTAL_QUANTITY, per=Divisor.CAPACITY)


def _takes(rule: LineRule) -> bool:
    return rule.basis == DISCOUNT or (rule.basis == TIER_PART and counts_hours(rule))


def _per(rule: LineRule) -> Divisor:
    by_capacity = rule.basis == DISCOUNT or rule.limit_unit == KWH_PER_KVA
    return Divisor.CAPACITY if by_capacity else Divisor.DEMAND


def _describe(rule: LineRule, _rules: Rules) -> Method:
    if rule.basis == DISCOUNT:
        how = "demand·[w >= T], w = kWh per contracted kVA, four limbs of eight bits"
        return Method(GATED_LIMBS, how, depth=2)
    by_capacity = _per(rule) is Divisor.CAPACITY
    size = "contracted kVA, public" if by_capacity else "maximum demand"
    how = f"(x - T·P)·[w >= T] in limbs, lower limit minus upper, w = floor(x / P), P = {size}"
    return Method(GATED_LIMBS, how, depth=2)


def _measure(rule: LineRule) -> Measure:
    return hours_measure(tiered_quantity(rule), per=_per(rule))


def _read(rule: LineRule, _rules: Rules) -> Reads:
    if rule.basis == DISCOUNT:
        return Reads(measures=(_DISCOUNT_MEASURE,), limbed=(_DEMAND,))
    by_demand = (_DEMAND,) if _per(rule) is Divisor.DEMAND else ()
    return Reads(measures=(_measure(rule),), limbed=(tiered_quantity(rule), *by_demand))


def _settle(rule: LineRule, settled: TableRows) -> Values:
    if _DEMAND not in _read(rule, ()).limbed:
        return {}
    return {_DEMAND: numbers_of(settled, DEMAND_COLUMN)}


def _split(circuit: Circuit[Any], rule: LineRule, _limb_bits: int) -> list[Part[Any]]:
    if rule.basis == DISCOUNT:
        return _split_discount(circuit, rule)
    key = ("hours", rule.lower, rule.upper, rule.limit_unit, rule.tou_period)
    return weigh_limbs(circuit.share(key, lambda: _energy_between(circuit, rule)))


def _energy_between(circuit: Circuit[Any], rule: LineRule) -> list[Any]:
    unit, period = rule.limit_unit, circuit.period
    lower = _above_hours(circuit, rule, use_hours(rule.lower, unit, period=period))
    if rule.upper is None:
        return lower
    return minus_limbs(
        lower, _above_hours(circuit, rule, use_hours(rule.upper, unit, period=period))
    )


def _above_hours(circuit: Circuit[Any], rule: LineRule, hours: int) -> list[Any]:
    """Limbs of the energy above so many kWh per kVA or kW."""
    by_capacity = _per(rule) is Divisor.CAPACITY

    def offsets() -> list[Any]:
        if by_capacity:
            return limbs_of(capacities_va(circuit.contracts) * hours)
        return [limb.scale(hours) for limb in circuit.limbs(_DEMAND)]

    return circuit.gated_limbs(
        _measure(rule),
        thresholds=np.array(hours),
        limbs=circuit.limbs(tiered_quantity(rule)),
        offsets=offsets,
        reach=LIMB_MASK if by_capacity else LIMB_MASK * hours,
    )


def _split_discount(circuit: Circuit[Any], rule: LineRule) -> list[Part[Any]]:
    capacities_va(circuit.contracts)  # refuses those without capacity, as the oracle does
    gate = circuit.gate(_DISCOUNT_MEASURE, np.array(rule.min_use_hours))
    limbs = circuit.limbs(_DEMAND)
    if gate is None:
        return weigh_limbs(limbs)
    return weigh_limbs([gate.apply(limb).narrow(0, LIMB_MASK) for limb in limbs])


KIND: Final = LineKind(
    takes=_takes,
    describe=_describe,
    read=_read,
    settle=_settle,
    split=_split,
    is_limbed=lambda _rule: True,
    energy=lambda rule: (3, (rule.tou_period, rule.tier)) if rule.basis == TIER_PART else None,
    facts=lambda rule, _rules: frozenset({CAPACITY}) if rule.basis == DISCOUNT else NO_FACTS,
)
