"""A column that counts and knows how many products in a row it is: what component cards measure.

A plan runs on it as it runs on ciphertexts, so depth and operations of a card are those of the
plan, whatever the plan is today.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridsecure.homomorphic.counting import CountedColumn, Tally
from gridsecure.homomorphic.parameters import Parameters
from gridsecure.homomorphic.planning import PlannedColumn
from gridsecure.plans.quantities import ColumnNeed


@dataclass(frozen=True, slots=True)
class MeasuredColumn:
    """A counted column.

    Args:
        depth: Ciphertext products in a row that it is of.
    """

    counted: CountedColumn
    depth: int = 0

    @property
    def planned(self) -> PlannedColumn:
        """Its proven range and noise."""
        return self.counted.planned

    @property
    def parameters(self) -> Parameters:
        """The parameter set."""
        return self.counted.parameters

    @property
    def primes(self) -> int:
        """Coefficient primes left."""
        return self.counted.primes

    @property
    def size(self) -> int:
        """Polynomials of the ciphertext."""
        return self.counted.size

    def plus(self, other: MeasuredColumn) -> MeasuredColumn:
        """Slot by slot sum."""
        return self._beside(other, self.counted.plus(other.counted))

    def minus(self, other: MeasuredColumn) -> MeasuredColumn:
        """Slot by slot difference."""
        return self._beside(other, self.counted.minus(other.counted))

    def times(self, other: MeasuredColumn) -> MeasuredColumn:
        """Slot by slot product."""
        return MeasuredColumn(self.counted.times(other.counted), max(self.depth, other.depth) + 1)

    def scale(self, factor: int) -> MeasuredColumn:
        """Every slot times one integer."""
        return MeasuredColumn(self.counted.scale(factor), self.depth)

    def raise_by(self, amount: int | NDArray[np.int64]) -> MeasuredColumn:
        """Every slot plus an integer, or plus its own."""
        return MeasuredColumn(self.counted.raise_by(amount), self.depth)

    def complement(self) -> MeasuredColumn:
        """One minus every slot."""
        return MeasuredColumn(self.counted.complement(), self.depth)

    def select(self, mask: NDArray[np.int64]) -> MeasuredColumn:
        """Every slot times its own integer."""
        return MeasuredColumn(self.counted.select(mask), self.depth)

    def blind(self, blinding: NDArray[np.uint64]) -> MeasuredColumn:
        """Every slot plus its own residue."""
        return MeasuredColumn(self.counted.blind(blinding), self.depth)

    def relinearise(self) -> MeasuredColumn:
        """Size 2 again."""
        return MeasuredColumn(self.counted.relinearise(), self.depth)

    def switch_down(self, primes: int) -> MeasuredColumn:
        """Fewer primes."""
        return MeasuredColumn(self.counted.switch_down(primes), self.depth)

    def narrow(self, low: int, high: int) -> MeasuredColumn:
        """A statement for planning."""
        return MeasuredColumn(self.counted.narrow(low, high), self.depth)

    def _beside(self, other: MeasuredColumn, result: CountedColumn) -> MeasuredColumn:
        return MeasuredColumn(result, max(self.depth, other.depth))


class MeasuredInputs(Mapping[str, Any]):
    """The columns of a recipe or plan, fresh; it notes which were read.

    Args:
        published: The columns that a gateway encrypts.
    """

    def __init__(self, published: Sequence[ColumnNeed]) -> None:
        self._published = {need.quantity: need for need in published}
        self.tally: Tally = Counter()
        self.used: dict[str, ColumnNeed] = {}

    def __getitem__(self, quantity: str) -> MeasuredColumn:
        need = self.used.setdefault(quantity, self._published[quantity])
        fresh = PlannedColumn.fresh(need.parameters, high=need.high)
        return MeasuredColumn(CountedColumn(fresh, self.tally))

    def __iter__(self) -> Iterator[str]:
        return iter(self._published)

    def __len__(self) -> int:
        return len(self._published)
