"""Slots to coefficients of a plaintext, as two products with matrices of double-precision numbers.

The library encodes too, but takes its numbers one by one from a list, which costs more than the
rest. Here a number-theoretic transform of N = R² points is done in two steps of R points (the
four-step transform of Bailey, 1990), and every step is a product of R×R matrices:

    m[i1 + R·i2] = Σ_k2 B[i2, k2] · T[i1, k2] · Σ_k1 A[i1, k1] · M[R·k1 + k2]

M[k] is the value at ζ^(2k+1), ζ a root of unity of order 2N modulo t, ω = ζ²:

    A[i1, k1] = ω^(-R·i1·k1)   T[i1, k2] = ω^(-i1·k2)·ζ^(-i1)   B[i2, k2] = ω^(-R·i2·k2)·ζ^(-R·i2)/N

Column k + R/2 of A and of B is column k, with the other sign in odd rows. So even rows are products
with sums of two operands, odd rows with their differences, and both are half as long.

It is exact. An operand x is below t < 2**31 in absolute value, a sum or difference below 2·t. It is
split into a multiple of 2**16 and a rest of at most 2**15, with a matrix for each: residues of
M·2**16 over 2**16, and of M, between -t/2 and t/2. So a sum of 2·R/2 = 64 products is below
32·2**30·(2**16 + 2**15) < 2**52, and a double holds integers up to 2**53.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate, chain, repeat
from math import isqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gridsecure.homomorphic.parameters import Parameters

_LOW_BITS: Final = 16
_ROUNDING: Final = 1.5 * 2.0 ** (52 + _LOW_BITS)
"""Beside it, doubles are multiples of 2**16: adding it and taking it away rounds to one."""
Doubles = NDArray[np.float64]


class SlotEncoder:
    """Encodes arrays of N slots as the library's batch encoder does.

    Raises:
        ValueError: The set's plain modulus or degree is too large for exact doubles.
    """

    def __init__(self, parameters: Parameters) -> None:
        degree, modulus = parameters.ring_degree, parameters.plain_modulus
        side = isqrt(degree)
        if modulus >= 2**31 or side**2 != degree or side > 64:
            raise ValueError("this set cannot be encoded in doubles")
        self._modulus, self._degree, self._side = modulus, degree, side
        root = smallest_root(2 * degree, modulus)
        # Of ζ, powers count modulo 2N. Slots j and N/2 + j hold the values at ζ^(3^j), ζ^(-3^j).
        powers = np.array(_powers(root, 2 * degree, modulus), dtype=object)
        places = np.array(_powers(3, degree // 2, 2 * degree))
        self._slots = np.argsort(np.concatenate((places, 2 * degree - places)))
        i, j = np.indices((side, side))

        def matrix(exponents: NDArray[np.int64], factor: int = 1) -> NDArray[np.int64]:
            residues = powers[exponents % (2 * degree)] * factor % modulus
            return np.where(residues > modulus // 2, residues - modulus, residues).astype(np.int64)

        def halves(exponents: NDArray[np.int64], factor: int = 1) -> Doubles:
            kept = exponents[:, : side // 2]
            high = matrix(kept, factor << _LOW_BITS) / (1 << _LOW_BITS)
            joined = np.hstack((high, matrix(kept, factor)))
            return np.stack((joined[0::2], joined[1::2]))

        self._first = halves(-2 * side * i * j)
        self._twiddle = matrix(-(2 * j + 1) * i)
        self._share = self._twiddle / modulus
        self._second = halves(-side * i * (2 * j + 1), pow(degree, -1, modulus))

    def encode(self, slots: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Coefficients [N] of the plaintext with these residues of t in its first slots."""
        modulus, side = self._modulus, self._side
        values = np.zeros(self._degree)
        values[: len(slots)] = slots
        sums = self._multiply(self._first, values.take(self._slots).reshape(side, side))
        # Both products pass 2**63 and wrap around. Their difference does not: the quotient, below
        # 2**51 and so rounded by less than one, leaves less than t of either sign.
        residues = sums.astype(np.int64)
        residues *= self._twiddle
        sums *= self._share
        quotients = np.rint(sums, out=sums).astype(np.int64)
        quotients *= modulus
        residues -= quotients
        sums = self._multiply(self._second, residues.T)
        # What the nearest quotient leaves is hardly more than t/2, of either sign. Below 0 it is
        # the larger as an unsigned number, and t more of it wraps around to the residue.
        nearest = sums * (1 / modulus)
        np.rint(nearest, out=nearest)
        nearest *= modulus
        sums -= nearest
        whole = sums.astype(np.int64).view(np.uint64).ravel()
        np.minimum(whole, whole + np.uint64(modulus), out=whole)
        return whole

    def _multiply(self, matrices: Doubles, values: NDArray[Any]) -> Doubles:
        """The product with values [R, R], not reduced."""
        side, half = self._side, self._side // 2
        parts = np.empty((2 * half, 2, side))
        high, low = parts[:half], parts[half:]
        np.add(values[:half], values[half:], out=low[:, 0])
        np.subtract(values[:half], values[half:], out=low[:, 1])
        np.add(low, _ROUNDING, out=high)
        high -= _ROUNDING
        low -= high
        sums = np.empty((half, 2, side))
        # Products of 32·64·64 numbers: the linear algebra library starts no threads for those.
        np.matmul(matrices, parts.swapaxes(0, 1), out=sums.swapaxes(0, 1))
        return sums.reshape(side, side)


@lru_cache(maxsize=2)
def slot_encoder(parameters: Parameters) -> SlotEncoder:
    """The process's one encoder of a set."""
    return SlotEncoder(parameters)


def _powers(base: int, count: int, modulus: int) -> list[int]:
    """The first powers of a number, from its power 0."""
    factors = chain((1,), repeat(base, count - 1))
    return list(accumulate(factors, lambda power, factor: power * factor % modulus))


@lru_cache
def smallest_root(order: int, modulus: int) -> int:
    """The smallest root of unity of an order that is a power of two, as the library takes it."""
    exponent = (modulus - 1) // order
    found = (pow(base, exponent, modulus) for base in range(2, modulus))
    root = next(one for one in found if pow(one, order // 2, modulus) == modulus - 1)
    return min(pow(root, power, modulus) for power in range(1, order, 2))
