"""The do-nothing scheme: the arithmetic of an encrypted column on integers in the clear.

Plans and their tests run on this to learn what the encrypted result must be. It never reduces
modulo t, so a plan that would wrap gives different numbers here and is found out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PlainColumn:
    """One quantity for every slot: integers [slots] (object dtype, so nothing overflows)."""

    values: NDArray[Any]

    @classmethod
    def of(cls, values: NDArray[Any]) -> PlainColumn:
        """Wrap integers of any dtype."""
        return cls(np.asarray(values).astype(object))

    @property
    def slots(self) -> int:
        """Slots in use."""
        return len(self.values)

    @property
    def primes(self) -> int:
        """Levels mean nothing in the clear."""
        return 1

    @property
    def size(self) -> int:
        """Nor do sizes."""
        return 2

    def plus(self, other: PlainColumn) -> PlainColumn:
        """Slot by slot sum."""
        return PlainColumn(self.values + other.values)

    def minus(self, other: PlainColumn) -> PlainColumn:
        """Slot by slot difference."""
        return PlainColumn(self.values - other.values)

    def times(self, other: PlainColumn) -> PlainColumn:
        """Slot by slot product."""
        return PlainColumn(self.values * other.values)

    def scale(self, factor: int) -> PlainColumn:
        """Every slot times one integer."""
        return PlainColumn(self.values * factor)

    def raise_by(self, amount: int | NDArray[np.int64]) -> PlainColumn:
        """Every slot plus an integer, or plus its own."""
        return PlainColumn(
            self.values + (amount if isinstance(amount, int) else amount.astype(object))
        )

    def complement(self) -> PlainColumn:
        """One minus every slot."""
        return PlainColumn(1 - self.values)

    def select(self, mask: NDArray[np.int64]) -> PlainColumn:
        """Every slot times its own integer."""
        return PlainColumn(self.values * mask.astype(object))

    def blind(self, blinding: NDArray[np.uint64]) -> PlainColumn:
        """Every slot plus its own integer."""
        return PlainColumn(self.values + blinding.astype(object))

    def relinearise(self) -> PlainColumn:
        """Nothing to do in the clear."""
        return self

    def switch_down(self, primes: int) -> PlainColumn:  # noqa: ARG002
        """Nothing to do in the clear."""
        return self

    def narrow(self, low: int, high: int) -> PlainColumn:
        """Check the plan's statement about the range.

        Raises:
            AssertionError: The plan's statement is wrong.
        """
        if self.slots and not (low <= min(self.values) and max(self.values) <= high):
            raise AssertionError("the plan states a range that its own arithmetic leaves")
        return self
