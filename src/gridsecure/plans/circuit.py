"""What bill lines multiply, computed on columns: encrypted, planned or in the clear.

Thresholds, limbs and tier parts are computed once, however many lines read them. The kinds in
`lines` say what each line makes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic

import numpy as np
from numpy.typing import NDArray

from gridsecure.billing.rules import LineRule
from gridsecure.billing.table_rows import TableRows
from gridsecure.homomorphic.columns import Column
from gridsecure.homomorphic.parameters import Parameters
from gridsecure.homomorphic.thresholds import (
    GATED_LEVEL,
    Gate,
    compare,
    excess,
    find_needed_digits,
)
from gridsecure.periods import BillingPeriod
from gridsecure.plans.quantities import LIMB_BITS, LIMBS, Measure, limb_quantity

LIMB_MASK: Final = 2**LIMB_BITS - 1


@dataclass(frozen=True, slots=True, eq=False)
class Circuit(Generic[Column]):
    """The columns of a roster's month, with what is derived from them computed once.

    Args:
        contracts: Contract rows in slot order.
        inputs: Columns by quantity; may make them on demand.
    """

    rules: Sequence[LineRule]
    contracts: TableRows
    period: BillingPeriod
    inputs: Mapping[str, Column]
    parameters: Parameters
    _gates: dict[tuple[str, bytes], Gate[Column] | None] = field(default_factory=dict)
    _above: dict[tuple[str, bytes], Column] = field(default_factory=dict)
    _above_limbs: dict[tuple[str, bytes], list[Column]] = field(default_factory=dict)
    _shared: dict[tuple[object, ...], list[Column]] = field(default_factory=dict)

    def gate(self, measure: Measure, thresholds: NDArray[np.int64]) -> Gate[Column] | None:
        """[measure >= T], once for equal thresholds."""
        key = (measure.prefix, thresholds.tobytes())
        if key not in self._gates:
            columns = {
                place: self.inputs[measure.digit(*place)]
                for place in sorted(find_needed_digits(thresholds, digits=measure.digits))
            }
            self._gates[key] = compare(
                columns, thresholds=thresholds, digits=measure.digits, parameters=self.parameters
            )
        return self._gates[key]

    def take_above(self, measure: Measure, limit: NDArray[np.int64] | None) -> Column:
        """Energy above a limit [kWh, slots]; None is the limit nothing lies under."""
        thresholds = np.zeros(1, dtype=np.int64) if limit is None else limit
        # Lines that share a limit share its products, which are the costly part of a plan.
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

    def list_above(self) -> list[Column]:
        """The energy above each limit that was asked for, in that order."""
        return list(self._above.values())

    def limbs(self, quantity: str) -> list[Column]:
        """A quantity's limbs, least significant first."""
        return [self.inputs[limb_quantity(quantity, n)] for n in range(LIMBS)]

    def share(self, key: tuple[object, ...], make: Callable[[], list[Column]]) -> list[Column]:
        """Columns that several lines read, made for the first of them."""
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]

    def gated_limbs(
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
                [limb.switch_down(lowest) for limb in limbs]
                if gate is None
                else [
                    gate.apply(_less(limb, offset)).narrow(-reach, LIMB_MASK)
                    for limb, offset in zip(limbs, offsets(), strict=True)
                ]
            )
        return self._above_limbs[key]


def limbs_of(limits: NDArray[np.int64]) -> list[Any]:
    """Limbs of public limits. Beyond what they hold no energy reaches, and the gate is closed."""
    held = np.minimum(limits, 2 ** (LIMB_BITS * LIMBS) - 1)
    return [held >> (LIMB_BITS * n) & LIMB_MASK for n in range(LIMBS)]


def minus_limbs(lower: list[Column], upper: list[Column] | None) -> list[Column]:
    """Limb minus limb; a limb may be negative, together they are no less than nothing."""
    if upper is None:
        return lower
    return [below.minus(above) for below, above in zip(lower, upper, strict=True)]


def _less(limb: Column, offset: Any) -> Column:
    """A limb minus public integers by slot, or minus an encrypted limb."""
    if isinstance(offset, np.ndarray):
        return limb.raise_by(-offset)
    result: Column = limb.minus(offset)
    return result


def limb_of(number: int, limb: int, *, bits: int) -> int:
    """One limb of a signed integer, with its sign."""
    part = abs(number) >> (bits * limb) & ((1 << bits) - 1)
    return -part if number < 0 else part


def combine_columns(factors: Mapping[str, int], columns: Mapping[str, Column]) -> Any:
    """Σ factor × column with signed public factors; None when there is nothing to add."""
    sums: dict[bool, Any] = {}
    for name, factor in factors.items():
        column = columns[name]
        scaled = column if abs(factor) == 1 else column.scale(abs(factor))
        # Scaling takes positive factors only, so the two signs are added up apart and subtracted
        # once.
        negative = factor < 0
        sums[negative] = sums[negative].plus(scaled) if negative in sums else scaled
    if True not in sums:
        return sums.get(False)
    if False not in sums:
        return sums[True].complement().raise_by(-1)  # one minus x, minus one
    return sums[False].minus(sums[True])
