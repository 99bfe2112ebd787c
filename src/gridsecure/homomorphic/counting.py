"""Counting what a plan does: a planned column that notes every operation, for cost estimates.

A plan runs on this as it runs on ciphertexts, so an estimate made from the count cannot forget a
step or go stale. What an operation costs is in `gridsecure.plans.operation_costs`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gridsecure.homomorphic.parameters import Parameters
from gridsecure.homomorphic.planning import PlannedColumn

ADD: Final = "add"
ADD_CONSTANT: Final = "add constant"
ADD_ARRAY: Final = "encode and add array"
SCALE: Final = "× constant"
SELECT: Final = "encode and × array"
MULTIPLY: Final = "ciphertext × ciphertext"
RELINEARISE: Final = "relinearise"
SWITCH: Final = "switch one prime away"
EVALUATED: Final = (
    ADD, ADD_CONSTANT, ADD_ARRAY, SCALE, SELECT, MULTIPLY, RELINEARISE, SWITCH,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation on one ciphertext.

    Args:
        kind: One of `EVALUATED`.
        primes: Coefficient primes of the operands.
        size: Polynomials of the larger operand.
    """

    kind: str
    parameters: Parameters
    primes: int
    size: int


Tally = Counter[Operation]
"""How often every operation happened."""


@dataclass(frozen=True, slots=True, eq=False)
class CountedColumn:
    """A column that counts.

    Args:
        tally: Shared by all columns of a plan.
    """

    planned: PlannedColumn
    tally: Tally

    @property
    def parameters(self) -> Parameters:
        """The parameter set."""
        return self.planned.parameters

    @property
    def primes(self) -> int:
        """Coefficient primes left."""
        return self.planned.primes

    @property
    def size(self) -> int:
        """Polynomials of the ciphertext."""
        return self.planned.size

    def plus(self, other: CountedColumn) -> CountedColumn:
        """Slot by slot sum."""
        return self._count(self.planned.plus(other.planned), ADD)

    def minus(self, other: CountedColumn) -> CountedColumn:
        """Slot by slot difference."""
        return self._count(self.planned.minus(other.planned), ADD)

    def times(self, other: CountedColumn) -> CountedColumn:
        """Slot by slot product."""
        return self._count(self.planned.times(other.planned), MULTIPLY)

    def scale(self, factor: int) -> CountedColumn:
        """Every slot times one integer."""
        return self._count(self.planned.scale(factor), SCALE)

    def raise_by(self, amount: int | NDArray[np.int64]) -> CountedColumn:
        """Every slot plus an integer, or plus its own."""
        kind = ADD_CONSTANT if isinstance(amount, int) else ADD_ARRAY
        return self._count(self.planned.raise_by(amount), kind)

    def complement(self) -> CountedColumn:
        """One minus every slot."""
        return self._count(self.planned.complement(), ADD, ADD_CONSTANT)

    def select(self, mask: NDArray[np.int64]) -> CountedColumn:
        """Every slot times its own integer."""
        return self._count(self.planned.select(mask), SELECT)

    def blind(self, blinding: NDArray[np.uint64]) -> CountedColumn:
        """Every slot plus its own residue."""
        return self._count(self.planned.blind(blinding), ADD_ARRAY)

    def relinearise(self) -> CountedColumn:
        """Size 2 again."""
        return self._count(self.planned.relinearise(), RELINEARISE)

    def switch_down(self, primes: int) -> CountedColumn:
        """Fewer primes, one switch each."""
        for left in range(self.primes, primes, -1):
            self.tally[Operation(SWITCH, self.parameters, left, self.size)] += 1
        return CountedColumn(self.planned.switch_down(primes), self.tally)

    def narrow(self, low: int, high: int) -> CountedColumn:
        """A statement for planning."""
        return CountedColumn(self.planned.narrow(low, high), self.tally)

    def _count(self, result: PlannedColumn, *kinds: str) -> CountedColumn:
        size = max(self.size, result.size)
        for kind in kinds:
            self.tally[Operation(kind, self.parameters, self.primes, size)] += 1
        return CountedColumn(result, self.tally)


def count_since(tally: Tally, before: Tally) -> Iterator[tuple[Operation, int]]:
    """What was counted after a copy was taken."""
    for operation, count in tally.items():
        if count > before[operation]:
            yield operation, count - before[operation]
