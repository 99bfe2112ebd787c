"""Encryptions of zero under a public key, as residues of one prime, without the library.

The library makes them in the same way: with a key (b, a) modulo q·p, a ternary u and two errors e,

    c = ((b·u + e1) / p, (a·u + e2) / p), rounded, modulo q,

and takes two and a half times as long, because it draws its noise from a slow hash and writes what
it made compressed. The distribution is the same, so nobody can tell who made a ciphertext (decision
112): u uniform over -1, 0 and 1, e1 and e2 binomial. Only which of two integers a quotient within
2**-40 of their middle is rounded to may differ.

Products are exact. A polynomial modulo a prime of w bits is split into two of w/2 bits with signs,
and each is multiplied by u in doubles: N/2 complex numbers x[j] + i·x[j + N/2], times powers of
exp(i·π/N) so that X^N is -1, through a Fourier transform of that length. By Percival ("Rapid
multiplication modulo the sum and difference of highly composite numbers", 2003, theorem 5.1), with
n = log2(N/2) = 11 and ε = 2**-53 no number is wrong by more than

    |x|·|u|·((1 + ε)^(3n)·(1 + √5·ε)^(3n + 1)·(1 + ε)^(3n) - 1) < 2**35 · 2**6 · 2**-45.8 < 0.04,

where |x| ≤ 2**29·√N. The twists add three products each to that. So the nearest integer is right.
"""

from __future__ import annotations

import os
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gridsecure.crypto.aes import BLOCK_BYTES, KEY_BYTES, keystream
from gridsecure.homomorphic.encoding import smallest_root
from gridsecure.homomorphic.parameters import Parameters

Integers = NDArray[np.int64]
Randomness = tuple[Integers, Integers]

_ERROR_BITS: Final = 21
"""An error is the number of ones among so many random bits, less that among as many others."""
_BITS: Final = np.uint64((1 << 2 * _ERROR_BITS) - 1)
_SPARE: Final = 512
_REFUSED: Final = 255
_WIDEST: Final = 60
_LONGEST: Final = 4096
_BESIDE: Final = 1.5 * 2.0**52
_BESIDE_BITS: Final = np.float64(_BESIDE).view(np.int64)


class ZeroEncryptor:
    """Encrypts zero under one public key of a set with one prime for data and one beside it.

    Args:
        key: Residues [2, 2, N] of b and a, by prime, as the library has them: transformed.

    Raises:
        ValueError: The set has other primes, or products would not be exact.
    """

    def __init__(self, parameters: Parameters, key: NDArray[np.uint64]) -> None:
        degree, primes = parameters.ring_degree, parameters.primes
        if not parameters.stays_residues or len(primes) != 2 or degree > _LONGEST:
            raise ValueError(f"{parameters.name} is not encrypted in doubles")
        if max(prime.bit_length() for prime in primes) > _WIDEST:
            raise ValueError(f"{parameters.name} is not encrypted in doubles")
        self._degree, self._primes = degree, primes
        half = degree // 2
        self._twist = np.exp(1j * np.pi / degree * np.arange(half))
        self._untwist = self._twist.conj() / half
        self._widths = [-(-prime.bit_length() // 2) for prime in primes]
        self._inverse = _centred(pow(primes[1], -1, primes[0]), primes[0])
        # By prime, then the upper and the lower half of its bits, then b and a.
        self._key = np.stack(
            [
                self._transform(part)
                for number, prime in enumerate(primes)
                for part in _split(
                    np.stack([untransform(row, modulus=prime) for row in key[:, number]]),
                    modulus=prime,
                    width=self._widths[number],
                )
            ]
        ).reshape(2, 2, 2, half)

    def encrypt(self) -> NDArray[np.uint64]:
        """A new encryption of zero: residues [2, 1, N]."""
        return self.encrypt_with(*draw(self._degree))

    def encrypt_with(self, ternary: Integers, errors: Integers) -> NDArray[np.uint64]:
        """The encryption that these random numbers make.

        Args:
            ternary: The polynomial u [N], each -1, 0 or 1.
            errors: The coefficients of e1 and e2 [2, N], number j + N/2 behind number j.
        """
        half = self._degree // 2
        products = np.fft.ifft(self._key * self._transform(ternary), norm="forward")
        products *= self._untwist
        # Coefficients j and j + N/2 lie side by side until the end: all is done one by one.
        (high, low), (p_high, p_low) = products.view(np.float64)
        q, p = self._primes
        q_width, p_width = self._widths
        # Modulo p: below 2**72, wrapped around; the quotient is below 2**13 and right but for a
        # last place, so what is left is between -p/2 and p/2 but for 2**-40 of it.
        quotients = p_high * (2.0**p_width / p)
        quotients += p_low * (1 / p)
        left = _nearest(p_high) << p_width
        left += _nearest(p_low)
        left += errors
        left -= _nearest(quotients) * p
        # Modulo q: what the rounded quotient by p leaves, times the inverse of p.
        values = _nearest(high) << q_width
        values += _nearest(low)
        values += errors
        values -= left
        values -= _nearest(values * (1 / q)) * q
        quotients = values * (self._inverse / q)
        values *= self._inverse
        values -= _nearest(quotients) * q
        residues = values.view(np.uint64)
        np.minimum(residues, residues + np.uint64(q), out=residues)
        return residues.reshape(2, 1, half, 2).swapaxes(2, 3).reshape(2, 1, -1)

    def _transform(self, polynomials: Integers) -> NDArray[np.complex128]:
        half = self._degree // 2
        paired = np.empty((*polynomials.shape[:-1], half), dtype=np.complex128)
        paired.real, paired.imag = polynomials[..., :half], polynomials[..., half:]
        paired *= self._twist
        return np.fft.fft(paired)


def draw(degree: int) -> Randomness:
    """What one encryption takes: a uniform ternary polynomial [N] and errors [2, N].

    All of it is the keystream of a key that the operating system drew for it.
    """
    words = 2 * degree
    while True:
        length = 8 * words + degree + _SPARE
        stream = keystream(os.urandom(KEY_BYTES), nonce=bytes(BLOCK_BYTES), length=length)
        given = np.frombuffer(stream, dtype=np.uint8, offset=8 * words)
        # 255 is three times 85: without it, three remainders are equally likely.
        kept = given[given != _REFUSED]
        if len(kept) >= degree:
            break
    bits = np.frombuffer(stream, dtype=np.uint64, count=words)
    # As many ones as there are, less those that there are not, halved: ones less half of all.
    errors = np.bitwise_count(bits & _BITS).astype(np.int64)
    errors -= _ERROR_BITS
    ternary = (kept[:degree] % 3).astype(np.int64)
    ternary -= 1
    return ternary, errors.reshape(2, degree)


def untransform(values: NDArray[np.uint64], *, modulus: int) -> NDArray[np.object_]:
    """Coefficients [N] of a polynomial that the library has as values at roots of unity [N].

    Its k-th value is at ζ^(2·rev(k) + 1), ζ its root of order 2N and rev turning bits around. So
    two halves are remainders by X^(N/2) - ζ^(N/2) and X^(N/2) + ζ^(N/2), and so on within them.
    """
    degree = len(values)
    inverse = pow(smallest_root(2 * degree, modulus), -1, modulus)
    reversed_bits = np.zeros(1, dtype=np.int64)
    while len(reversed_bits) < degree:
        reversed_bits = np.concatenate((2 * reversed_bits, 2 * reversed_bits + 1))
    roots = np.array([pow(inverse, int(power), modulus) for power in reversed_bits], dtype=object)
    blocks = values.astype(object)
    size = 1
    while size < degree:
        pairs = blocks.reshape(-1, 2, size)
        count = len(pairs)
        left, right = pairs[:, 0], pairs[:, 1]
        rest = (left - right) * roots[count : 2 * count, np.newaxis] % modulus
        blocks = np.stack(((left + right) % modulus, rest), axis=1)
        size *= 2
    return blocks.reshape(degree) * pow(degree, -1, modulus) % modulus


def _split(residues: NDArray[np.object_], *, modulus: int, width: int) -> list[Integers]:
    """Residues as h·2**width + l, with |l| ≤ 2**(width - 1) and |h| hardly more: [h, l]."""
    centred = np.where(residues > modulus // 2, residues - modulus, residues).astype(np.int64)
    low = (centred + (1 << (width - 1))) % (1 << width) - (1 << (width - 1))
    return [(centred - low) >> width, low]


def _centred(residue: int, modulus: int) -> int:
    return residue - modulus if residue > modulus // 2 else residue


def _nearest(values: NDArray[np.floating[Any]]) -> Integers:
    """The nearest integers, all below 2**51; overwrites the values.

    Beside 1.5·2**52 doubles are whole numbers, whose last bits are the integer's.
    """
    values += _BESIDE
    whole = values.view(np.int64)
    whole -= _BESIDE_BITS
    return whole
