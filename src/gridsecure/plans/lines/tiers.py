"""Tiers and free quotas in kWh: energy between two limits, by digits of kWh or in limbs by steps.

In whole kWh, a part is the excess over the lower limit minus the excess over the upper one; of a
year, the same of the year with the month less that of the year without it. In steps (`plans.steps`)
it is the same limb by limb, with the digits of floor(x / step). Within a free quota lies the total
minus the excess over the quota.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gridsecure.billing.limits import OPEN_LIMIT_WH, tier_limits_wh
from gridsecure.billing.rules import QUOTA, TIER_PART, LineRule
from gridsecure.billing.settlement_columns import TOTAL_COLUMN, YEAR_BEFORE_COLUMN
from gridsecure.billing.table_rows import TableRows, numbers_of
from gridsecure.errors import InvalidTariffError
from gridsecure.homomorphic.thresholds import WH_PER_KWH
from gridsecure.periods import BillingPeriod
from gridsecure.plans.circuit import LIMB_MASK, Circuit, limbs_of, minus_limbs
from gridsecure.plans.lines.kind import (
    GATED_LIMBS,
    NO_FACTS,
    THRESHOLD,
    LineKind,
    Method,
    Part,
    Reads,
    Rules,
    Values,
    weigh_limbs,
)
from gridsecure.plans.quantities import (
    MAX_REGISTER_WH,
    MAX_TIER_WH,
    MONTH_MEASURE,
    TOTAL_QUANTITY,
    YEAR_AFTER,
    YEAR_BEFORE,
    Measure,
    register_measure,
    register_quantity,
    step_measure,
)
from gridsecure.tariffs.consistency import YEAR

FREE_QUOTA: Final = "free_quota_wh"


def tiered_quantity(rule: LineRule) -> str:
    """The energy whose tiers a rule counts: the total, or a register with a ladder of its own."""
    return TOTAL_QUANTITY if rule.tou_period is None else register_quantity(rule.tou_period)


def _describe(rule: LineRule, _rules: Rules) -> Method:
    if rule.step_wh:
        whole = "x - " if rule.basis == QUOTA else ""
        order = "" if rule.basis == QUOTA else ", lower limit minus upper"
        step = f"w = floor(x / {rule.step_wh:,} Wh), a step that divides every limit of the roster"
        return Method(GATED_LIMBS, f"{whole}(x - T)·[w >= T] in limbs{order}, {step}", depth=2)
    if rule.basis == QUOTA:
        how = "x - (x - T)·[w >= T], w = whole kWh, T the slot's free quota"
        return Method(THRESHOLD, how, depth=2)
    how = "(x - T)·[w >= T], lower limit minus upper, w = whole kWh"
    if rule.reset == YEAR:
        how += "; of the year with the month less that of the year without it"
    elif rule.tou_period:
        how += " of the register alone"
    return Method(THRESHOLD, how, depth=2)


def _read(rule: LineRule, _rules: Rules) -> Reads:
    if rule.step_wh:
        return Reads(measures=(_step_measure(rule),), limbed=(tiered_quantity(rule),))
    if _is_yearly(rule):
        return Reads(measures=(YEAR_BEFORE, YEAR_AFTER))
    return Reads(measures=(_month_measure(rule),))


def _settle(rule: LineRule, settled: TableRows) -> Values:
    if not _is_yearly(rule):
        return {}
    before = numbers_of(settled, YEAR_BEFORE_COLUMN)
    after = before + numbers_of(settled, TOTAL_COLUMN)
    return {YEAR_BEFORE.energy: before, YEAR_AFTER.energy: after}


def _is_yearly(rule: LineRule) -> bool:
    return rule.reset == YEAR and rule.basis != QUOTA


def _month_measure(rule: LineRule) -> Measure:
    return MONTH_MEASURE if rule.tou_period is None else register_measure(rule.tou_period)


def _step_measure(rule: LineRule) -> Measure:
    return step_measure(tiered_quantity(rule), step_wh=rule.step_wh, radix=rule.step_radix)


def _split(circuit: Circuit[Any], rule: LineRule, _limb_bits: int) -> list[Part[Any]]:
    if rule.basis == QUOTA:
        return _split_quota(circuit, rule)
    key = ("tier", rule.lower, rule.upper, rule.reset, rule.step_wh, rule.limit_unit)
    return weigh_limbs(
        circuit.share((*key, rule.tou_period), lambda: _energy_between(circuit, rule))
    )


def _energy_between(circuit: Circuit[Any], rule: LineRule) -> list[Any]:
    """Energy between a rule's limits: one column, or one a limb; none where it is nothing."""
    lower, upper = tier_limits_wh(rule, circuit.contracts, period=circuit.period)
    if rule.upper is not None and (lower == upper).all():
        return []  # before the first month of service; a column minus itself is no encryption
    if rule.step_wh:
        inside = _above_steps(circuit, rule, lower)
        return minus_limbs(
            inside, None if rule.upper is None else _above_steps(circuit, rule, upper)
        )
    below = _whole_kwh(lower) if rule.lower else None
    above = None if rule.upper is None else _whole_kwh(upper)
    if rule.reset == YEAR:
        after = _between(circuit, YEAR_AFTER, below, above)
        before = _between(circuit, YEAR_BEFORE, below, above)
        # What a month adds to a tier of the year is no more than the month.
        return [after.minus(before).narrow(0, MAX_TIER_WH)]
    return [_between(circuit, _month_measure(rule), below, above)]


def _between(
    circuit: Circuit[Any],
    measure: Measure,
    lower_kwh: NDArray[np.int64] | None,
    upper_kwh: NDArray[np.int64] | None,
) -> Any:
    part = circuit.take_above(measure, lower_kwh)
    if upper_kwh is None:
        return part
    return part.minus(circuit.take_above(measure, upper_kwh)).narrow(0, measure.high)


def _above_steps(circuit: Circuit[Any], rule: LineRule, limits_wh: NDArray[np.int64]) -> list[Any]:
    """Limbs of the energy above each slot's limit, where limits are counted in steps.

    Limbs of energy and limit are subtracted one by one, so a limb may be negative; together they
    are the energy above the limit.
    """
    return circuit.gated_limbs(
        _step_measure(rule),
        thresholds=limits_wh // rule.step_wh,
        limbs=circuit.limbs(tiered_quantity(rule)),
        offsets=lambda: limbs_of(limits_wh),
        reach=LIMB_MASK,
    )


def _split_quota(circuit: Circuit[Any], rule: LineRule) -> list[Part[Any]]:
    free = numbers_of(circuit.contracts, FREE_QUOTA)
    if not free.any():
        return []  # the total minus itself would be no encryption
    if rule.step_wh:
        everything = _above_steps(circuit, rule, np.zeros_like(free))
        return weigh_limbs(minus_limbs(everything, _above_steps(circuit, rule, free)))
    beyond = circuit.take_above(MONTH_MEASURE, _whole_kwh(free))
    within = circuit.take_above(MONTH_MEASURE, None).minus(beyond)
    return [Part(within.narrow(0, MAX_TIER_WH), 1, 1)]


def _whole_kwh(limits_wh: NDArray[np.int64]) -> NDArray[np.int64]:
    """Limits in kWh; those that are open stay beyond any.

    Raises:
        InvalidTariffError: A limit that is not whole kWh (`plan.limit`).
    """
    bounded = limits_wh[limits_wh != OPEN_LIMIT_WH]
    if (bounded % WH_PER_KWH).any():
        raise InvalidTariffError(
            "A tier limit or household quota is not a whole number of kWh.",
            reason="plan.limit",
            remedy="Encrypted tiers compare whole kWh; state the limit in whole kWh.",
        )
    return limits_wh // WH_PER_KWH


def _limits_wh(
    rule: LineRule, contracts: TableRows, period: BillingPeriod
) -> NDArray[np.int64] | None:
    if rule.basis == QUOTA:
        quotas: NDArray[np.int64] = numbers_of(contracts, FREE_QUOTA)
        return quotas
    if rule.reset == YEAR:
        return None
    both: NDArray[np.int64] = np.concatenate(tier_limits_wh(rule, contracts, period=period))
    bounded: NDArray[np.int64] = both[both != OPEN_LIMIT_WH]
    return bounded


KIND: Final = LineKind(
    takes=lambda rule: rule.basis in (TIER_PART, QUOTA),
    describe=_describe,
    read=_read,
    settle=_settle,
    split=_split,
    is_limbed=lambda rule: rule.basis == TIER_PART and rule.step_wh > 0,
    limits_wh=_limits_wh,
    bound_wh=lambda rule: MAX_REGISTER_WH if rule.step_wh else MAX_TIER_WH,
    energy=lambda rule: (3, (rule.tou_period, rule.tier)) if rule.basis == TIER_PART else None,
    facts=lambda rule, _rules: frozenset({FREE_QUOTA}) if rule.basis == QUOTA else NO_FACTS,
)
