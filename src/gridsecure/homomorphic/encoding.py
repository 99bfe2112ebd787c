"""Slots to coefficients of a plaintext, as two products with matrices of double-precision numbers.

The library encodes too, but takes its numbers one by one from a list, which costs more than the
rest. Here a number-theoretic transform of N = R² points is done in two steps of R points (the
four-step transform of Bailey, 1990), and every step is a product of R×R matrices:

    m[i1 + R·i2] = Σ_k2 B[k2, i2] · T[i1, k2] · Σ_k1 A[i1, k1] · M[R·k1 + k2]

M[k] is the value at ζ^(2k+1), ζ a root of unity of order 2N modulo t, ω = ζ²:

    A[i1, k1] = ω^(-R·i1·k1)   T[i1, k2] = ω^(-i1·k2)·ζ^(-i1)   B[k2, i2] = ω^(-R·i2·k2)·ζ^(-R·i2)/N

It is exact. An operand below t < 2**31 is split into 15 high and 16 low bits, with a matrix for
each: M·2**16 and M, residues between -t/2 and t/2. So a sum of 2·R = 128 products is below
64·(2**45 + 2**46) < 2**53, and a double holds integers up to that.
"""

from __future__ import annotations

from functools import lru_cache
from math import isqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gridsecure.homomorphic.parameters import Parameters

_LOW_BITS: Final = 16
_LOW: Final = float(1 << _LOW_BITS)
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
        self._modulus, self._inverse, self._side = float(modulus), 1 / modulus, side
        root = _smallest_root(2 * degree, modulus)
        # Of ζ, powers count modulo 2N. Slots j and N/2 + j hold the values at ζ^(3^j), ζ^(-3^j).
        powers = np.array([pow(root, e, modulus) for e in range(2 * degree)], dtype=object)
        places = np.array([pow(3, j, 2 * degree) for j in range(degree // 2)])
        self._points = np.concatenate((places, 2 * degree - places)) // 2
        i, j = np.indices((side, side))

        def matrix(exponents: NDArray[np.int64], factor: int = 1) -> tuple[Doubles, Doubles]:
            residues = powers[exponents % (2 * degree)] * factor
            pair = (residues * scale % modulus for scale in (1 << _LOW_BITS, 1))
            high, low = (np.where(r > modulus // 2, r - modulus, r).astype(float) for r in pair)
            return high, low

        self._first = matrix(-2 * side * i * j)
        self._twiddle = matrix(-(2 * j + 1) * i)
        self._second = matrix(-side * j * (2 * i + 1), pow(degree, -1, modulus))

    def encode(self, slots: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Coefficients [N] of the plaintext with these residues of t in its first slots."""
        side, modulus = self._side, np.uint64(self._modulus)
        values = np.zeros(side**2)
        values[self._points[: len(slots)]] = slots
        # Products of 64³ numbers each: the linear algebra library starts no threads for those.
        parts = _split(values.reshape(side, side))
        values = self._reduce(*map(np.matmul, self._first, parts))
        values = self._reduce(*map(np.multiply, self._twiddle, _split(values)))
        values = self._reduce(*map(np.matmul, _split(values), self._second))
        # Rounding may have left a number some units below 0 or above t.
        values += self._modulus
        whole = values.T.astype(np.uint64).ravel()
        for _ in range(2):
            np.minimum(whole, whole - modulus, out=whole)
        return whole

    def _reduce(self, values: Doubles, others: Doubles) -> Doubles:
        """The sum modulo t, in place of the first."""
        values += others
        quotients = values * self._inverse
        np.floor(quotients, out=quotients)
        quotients *= self._modulus
        values -= quotients
        return values


def _split(values: Doubles) -> tuple[Doubles, Doubles]:
    """High and low bits."""
    high = values * (1 / _LOW)
    np.floor(high, out=high)
    return high, values - high * _LOW


@lru_cache(maxsize=2)
def slot_encoder(parameters: Parameters) -> SlotEncoder:
    """The process's one encoder of a set."""
    return SlotEncoder(parameters)


def _smallest_root(order: int, modulus: int) -> int:
    """The smallest root of unity of an order that is a power of two, as the library takes it."""
    exponent = (modulus - 1) // order
    found = (pow(base, exponent, modulus) for base in range(2, modulus))
    root = next(one for one in found if pow(one, order // 2, modulus) == modulus - 1)
    return min(pow(root, power, modulus) for power in range(1, order, 2))
