"""Encrypted columns: one quantity for every slot of a roster, and the arithmetic allowed on it.

A column is a short list of SEAL ciphertexts (chunks of N slots) under one parameter set and one
key. Every operation checks that both sides share key, set and slots, and returns a new column.
`crypto.plain.PlainColumn` has the same methods on integers, `crypto.planning.PlannedColumn` on
proven bounds and `crypto.counting.CountedColumn` on those and a count of operations, so a plan is
written once and runs on all four.

Not handled here: who may see a result (the key authority) and whether a value fits (planning).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gridsecure.errors import DepthExceededError, KeyMismatchError
from gridsecure.homomorphic.counting import CountedColumn
from gridsecure.homomorphic.parameters import Parameters
from gridsecure.homomorphic.plain import PlainColumn
from gridsecure.homomorphic.planning import PlannedColumn
from gridsecure.homomorphic.rings import Ring, ring_for


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a process without the secret key needs to compute under one key.

    Args:
        key_id: Fingerprint of the public key everything is encrypted under.
        relinearisation_keys: SEAL's keys, or None where no product is ever relinearised.
    """

    parameters: Parameters
    key_id: str
    relinearisation_keys: Any = None

    @property
    def ring(self) -> Ring:
        """The process's ring of this set."""
        return ring_for(self.parameters)


@dataclass(frozen=True, slots=True)
class EncryptedColumn:
    """One quantity, encrypted, for `slots` meter points.

    Args:
        slots: Slots in use over all chunks.
        chunks: Ciphertexts, SEAL's or (of a set that stays residues) their residues, the last one
            possibly part-filled. Unused slots are zero when encrypted and follow the arithmetic
            after that; no reader looks at them.
    """

    evaluation: Evaluation
    slots: int
    chunks: tuple[Any, ...]

    def plus(self, other: EncryptedColumn) -> EncryptedColumn:
        """Slot by slot sum."""
        return self._with(other, lambda e, a, b, out: e.add(a, b, out))

    def minus(self, other: EncryptedColumn) -> EncryptedColumn:
        """Slot by slot difference."""
        return self._with(other, lambda e, a, b, out: e.sub(a, b, out))

    def times(self, other: EncryptedColumn) -> EncryptedColumn:
        """Slot by slot product of two encrypted columns; grows until `relinearise`."""
        return self._with(other, lambda e, a, b, out: e.multiply(a, b, out))

    def scale(self, factor: int) -> EncryptedColumn:
        """Every slot times one public integer, 0 < factor < t.

        Raises:
            CiphertextError: The factor is zero modulo t: the product would be no encryption.
        """
        constant = self.evaluation.ring.constant(factor)
        return self._each(lambda e, a, out: e.multiply_plain(a, constant, out))

    def raise_by(self, amount: int | NDArray[np.int64]) -> EncryptedColumn:
        """Every slot plus a public integer, or plus its own integer of an array [slots]."""
        if isinstance(amount, int):
            constant = self.evaluation.ring.constant(amount)
            return self._each(lambda e, a, out: e.add_plain(a, constant, out))
        return self.blind(amount)

    def complement(self) -> EncryptedColumn:
        """One minus every slot."""
        return self._each(lambda e, a, out: e.negate(a, out)).raise_by(1)

    def select(self, mask: NDArray[np.int64]) -> EncryptedColumn:
        """Every slot times its own public integer of an array [slots], as a mask of ones and zeros.

        Costs about log2(t·N) bits of noise. The mask must select a slot of every chunk: an
        all-zero product is refused by the library because it would be no encryption at all.
        """
        return self._with_plain(mask, self.evaluation.ring.multiply_plain)

    def blind(self, blinding: NDArray[Any]) -> EncryptedColumn:
        """Every slot plus its own residue of t from an array [slots]."""
        return self._with_plain(blinding, self.evaluation.ring.add_plain)

    def relinearise(self) -> EncryptedColumn:
        """A size-3 product back to size 2."""
        keys = self.evaluation.relinearisation_keys
        if keys is None:
            raise KeyMismatchError("This key set came without relinearisation keys.")
        return self._each(lambda e, a, out: e.relinearize(a, keys, out))

    def switch_down(self, primes: int) -> EncryptedColumn:
        """Switched down to `primes` coefficient primes (noise shrinks, so does the ciphertext).

        Raises:
            DepthExceededError: Fewer primes than one, or more than are left.
        """
        if not 1 <= primes <= self.primes:
            raise DepthExceededError("The column has already passed that level.")
        column = self
        while column.primes > primes:
            column = column._each(lambda e, a, out: e.mod_switch_to_next(a, out))
        return column

    def narrow(self, low: int, high: int) -> EncryptedColumn:  # noqa: ARG002
        """A statement for planning; encrypted values cannot be looked at."""
        return self

    @property
    def primes(self) -> int:
        """Coefficient primes left."""
        return self.evaluation.ring.shape(self.chunks[0])[1]

    @property
    def size(self) -> int:
        """Polynomials of each chunk: 2, or 3 after a product."""
        return self.evaluation.ring.shape(self.chunks[0])[0]

    def _each(self, operation: Callable[[Any, Any, Any], None]) -> EncryptedColumn:
        ring = self.evaluation.ring
        results = tuple(ring.evaluate(operation, chunk) for chunk in self.chunks)
        return EncryptedColumn(self.evaluation, self.slots, results)

    def _with(
        self, other: EncryptedColumn, operation: Callable[[Any, Any, Any, Any], None]
    ) -> EncryptedColumn:
        mine, theirs = self.evaluation, other.evaluation
        if mine.key_id != theirs.key_id or mine.parameters != theirs.parameters:
            raise KeyMismatchError("Columns under different keys cannot be combined.")
        if self.slots != other.slots:
            raise KeyMismatchError("Columns of different rosters cannot be combined.")
        if self.primes != other.primes:
            raise DepthExceededError("Columns at different levels cannot be combined.")
        pairs = zip(self.chunks, other.chunks, strict=True)
        results = tuple(mine.ring.evaluate(operation, a, b) for a, b in pairs)
        return EncryptedColumn(mine, self.slots, results)

    def _with_plain(
        self, values: NDArray[Any], operation: Callable[[Any, NDArray[np.uint64]], Any]
    ) -> EncryptedColumn:
        # The encoder pads with zeros: a short blinding would leave the last slots unblinded.
        if len(values) != self.slots:
            raise ValueError("an array for a column holds one integer for every slot")
        parts = split_chunks(values, parameters=self.evaluation.parameters)
        pairs = zip(self.chunks, parts, strict=True)
        results = tuple(operation(chunk, part) for chunk, part in pairs)
        return EncryptedColumn(self.evaluation, self.slots, results)


Column = TypeVar("Column", EncryptedColumn, PlainColumn, PlannedColumn, CountedColumn)


def sum_columns(columns: Iterable[Column]) -> Column:
    """Slot by slot sum of one or more columns."""
    items = list(columns)
    result = items[0]
    for column in items[1:]:
        result = result.plus(column)
    return result


def split_chunks(values: NDArray[Any], *, parameters: Parameters) -> list[NDArray[np.uint64]]:
    """Split values [slots] into residues of t by chunk; negative integers wrap to t - |value|."""
    residues = np.asarray(values)
    if residues.dtype != np.uint64:
        residues = np.mod(residues, parameters.plain_modulus).astype(np.uint64)
    degree = parameters.ring_degree
    return [residues[i : i + degree] for i in range(0, max(len(residues), 1), degree)]
