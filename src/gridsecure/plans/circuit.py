"""What bill lines multiply, computed on columns: encrypted, planned or in the clear.

Thresholds, limbs and tier parts are computed once, however many lines read them. `parts` says
what each line makes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.limits import OPEN_LIMIT_WH, capacities_va, tier_limits_wh, use_hours
from gridsecure.billing.rules import (
    TIER_PART,
    LineRule,
)
from gridsecure.errors import InvalidTariffError
from gridsecure.homomorphic.columns import Column
from gridsecure.homomorphic.thresholds import (
    GATED_LEVEL,
    WH_PER_KWH,
    Gate,
    compare,
    excess,
    needed_digits,
)
from gridsecure.periods import BillingPeriod
from gridsecure.plans.quantities import (
    LIMB_BITS,
    LIMBS,
    MAX_TIER_WH,
    MONTH_MEASURE,
    YEAR_AFTER,
    YEAR_BEFORE,
    Measure,
    circuit_parameters,
    counts_hours,
    demand_quantity,
    hours_measure,
    limb_quantity,
    register_measure,
    step_measure,
    tiered_quantity,
)
from gridsecure.tariffs.consistency import YEAR
from gridsecure.tariffs.rows import KWH_PER_KVA

LIMB_MASK: Final = 2**LIMB_BITS - 1


@dataclass(frozen=True, slots=True, eq=False)
class Circuit(Generic[Column]):
    """The columns of a roster's month, with what is derived from them computed once.

    Args:
        rules: The compiled lines.
        contracts: Contract rows in slot order.
        period: The month.
        inputs: Columns by quantity; may make them on demand.
    """

    rules: Sequence[LineRule]
    contracts: pd.DataFrame
    period: BillingPeriod
    inputs: Mapping[str, Column]
    _gates: dict[tuple[str, bytes], Gate[Column] | None] = field(default_factory=dict)
    _above: dict[tuple[str, bytes], Column] = field(default_factory=dict)
    _above_limbs: dict[tuple[str, bytes], list[Column]] = field(default_factory=dict)
    _parts: dict[tuple[object, ...], list[Column]] = field(default_factory=dict)

    @property
    def parameters(self) -> Any:
        """The set of everything that is multiplied."""
        return circuit_parameters(self.rules)

    def gate(self, measure: Measure, thresholds: NDArray[np.int64]) -> Gate[Column] | None:
        """[measure >= T], once for equal thresholds."""
        key = (measure.prefix, thresholds.tobytes())
        if key not in self._gates:
            columns = {
                place: self.inputs[measure.digit(*place)]
                for place in sorted(needed_digits(thresholds, digits=measure.digits))
            }
            self._gates[key] = compare(
                columns, thresholds=thresholds, digits=measure.digits, parameters=self.parameters
            )
        return self._gates[key]

    def above(self, measure: Measure, limit: NDArray[np.int64] | None) -> Column:
        """Energy above a limit [kWh, slots]; None is the limit nothing lies under."""
        thresholds = np.zeros(1, dtype=np.int64) if limit is None else limit
        key = (measure.prefix, thresholds.tobytes())
        if key not in self._above:
            self._above[key] = excess(
                self.inputs[measure.energy],
                high=measure.high,
                gate=self.gate(measure, thresholds),
                thresholds_kwh=thresholds,
                parameters=self.parameters,
            )
        return self._above[key]

    def between(self, rule: LineRule, measure: Measure) -> Column:
        """Energy of a measure between a rule's limits [Wh]."""
        lower, upper = self.limits_kwh(rule)
        part = self.above(measure, lower)
        if upper is None:
            return part
        inside: Column = part.minus(self.above(measure, upper)).within(0, measure.high)
        return inside

    def limits_kwh(
        self, rule: LineRule
    ) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
        """A rule's limits of every slot [kWh]; None where nothing limits.

        Raises:
            InvalidTariffError: A limit that is not whole kWh (`plan.limit`).
        """
        lower, upper = tier_limits_wh(rule, self.contracts, period=self.period)
        below = whole_kwh(lower) if rule.lower else None
        return below, None if rule.upper is None else whole_kwh(upper)

    def limbs(self, quantity: str) -> list[Column]:
        """A quantity's limbs, least significant first."""
        return [self.inputs[limb_quantity(quantity, n)] for n in range(LIMBS)]

    def tier_part(self, rule: LineRule) -> list[Column]:
        """Energy between a rule's limits: one column, or one a limb; none where it is nothing."""
        ladder = rule.tou_period if rule.basis == TIER_PART else None
        key = (rule.limit_unit, rule.lower, rule.upper, rule.reset, rule.step_wh, ladder)
        if key not in self._parts:
            self._parts[key] = self._tier_part(rule)
        return self._parts[key]

    def _tier_part(self, rule: LineRule) -> list[Column]:
        if counts_hours(rule):
            return self._part_by_hours(rule)
        lower, upper = tier_limits_wh(rule, self.contracts, period=self.period)
        if rule.upper is not None and (lower == upper).all():
            return []  # before the first month of service; a column minus itself is no encryption
        if rule.step_wh:
            return self._part_by_steps(rule)
        if rule.reset == YEAR:
            after, before = self.between(rule, YEAR_AFTER), self.between(rule, YEAR_BEFORE)
            # What a month adds to a tier of the year is no more than the month.
            return [after.minus(before).within(0, MAX_TIER_WH)]
        own = rule.basis == TIER_PART and rule.tou_period is not None
        measure = register_measure(rule.tou_period or "") if own else MONTH_MEASURE
        return [self.between(rule, measure)]

    def _part_by_hours(self, rule: LineRule) -> list[Column]:
        """Limb by limb: energy above so many kWh per kVA or kW, lower limit minus upper."""
        unit = rule.limit_unit
        lower = use_hours(rule.lower, unit, period=self.period)
        upper = None if rule.upper is None else use_hours(rule.upper, unit, period=self.period)
        return _minus_limbs(
            self._above_hours(rule, lower),
            None if upper is None else self._above_hours(rule, upper),
        )

    def _part_by_steps(self, rule: LineRule) -> list[Column]:
        """Limb by limb: energy above limits that are whole numbers of steps."""
        lower, upper = tier_limits_wh(rule, self.contracts, period=self.period)
        return _minus_limbs(
            self.above_steps(rule, lower),
            None if rule.upper is None else self.above_steps(rule, upper),
        )

    def above_steps(self, rule: LineRule, limits_wh: NDArray[np.int64]) -> list[Column]:
        """Limbs of the energy above each slot's limit, where limits are counted in steps.

        Limbs of energy and limit are subtracted one by one, so a limb may be negative; together
        they are the energy above the limit.
        """
        quantity = tiered_quantity(rule)
        measure = step_measure(quantity, step_wh=rule.step_wh, radix=rule.step_radix)
        return self._gated_limbs(
            measure,
            thresholds=limits_wh // rule.step_wh,
            limbs=self.limbs(quantity),
            offsets=lambda: _limbs_of(limits_wh),
            reach=LIMB_MASK,
        )

    def _above_hours(self, rule: LineRule, hours: int) -> list[Column]:
        by_capacity = rule.limit_unit == KWH_PER_KVA

        def offsets() -> list[Any]:
            if by_capacity:
                return _limbs_of(capacities_va(self.contracts) * hours)
            return [limb.scaled(hours) for limb in self.limbs(demand_quantity(None))]

        quantity = tiered_quantity(rule)
        return self._gated_limbs(
            hours_measure(quantity, by_capacity=by_capacity),
            thresholds=np.array(hours),
            limbs=self.limbs(quantity),
            offsets=offsets,
            reach=LIMB_MASK if by_capacity else LIMB_MASK * hours,
        )

    def _gated_limbs(
        self,
        measure: Measure,
        *,
        thresholds: NDArray[np.int64],
        limbs: list[Column],
        offsets: Callable[[], list[Any]],
        reach: int,
    ) -> list[Column]:
        """(limb - offset)·[measure >= T] for every limb, once for equal thresholds.

        A gate is zero or one, which intervals cannot see: a limb less an offset up to `reach` stays
        between -reach and 255 behind it.
        """
        key = (measure.prefix, thresholds.tobytes())
        if key not in self._above_limbs:
            gate = self.gate(measure, thresholds)
            lowest = self.parameters.fresh_primes - GATED_LEVEL
            self._above_limbs[key] = (
                [limb.lowered(lowest) for limb in limbs]
                if gate is None
                else [
                    gate.kept(_less(limb, offset)).within(-reach, LIMB_MASK)
                    for limb, offset in zip(limbs, offsets(), strict=True)
                ]
            )
        return self._above_limbs[key]


def _limbs_of(limits: NDArray[np.int64]) -> list[Any]:
    """Limbs of public limits. Beyond what they hold no energy reaches, and the gate is closed."""
    held = np.minimum(limits, 2 ** (LIMB_BITS * LIMBS) - 1)
    return [held >> (LIMB_BITS * n) & LIMB_MASK for n in range(LIMBS)]


def _minus_limbs(lower: list[Column], upper: list[Column] | None) -> list[Column]:
    if upper is None:
        return lower
    return [below.minus(above) for below, above in zip(lower, upper, strict=True)]


def _less(limb: Column, offset: Any) -> Column:
    """A limb minus public integers by slot, or minus an encrypted limb."""
    if isinstance(offset, np.ndarray):
        return limb.raised(-offset)
    result: Column = limb.minus(offset)
    return result


def whole_kwh(limits_wh: NDArray[np.int64]) -> NDArray[np.int64]:
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
