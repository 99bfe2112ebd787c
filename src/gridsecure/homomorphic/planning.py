"""Static planning: the proven range and noise of every column, before anything runs.

`PlannedColumn` carries an interval of integers and a bound on the noise, both propagated by the
same methods an encrypted column has. A plan whose output could wrap the plain modulus or come
within `MARGIN_BITS` of its noise capacity is refused here; SEAL itself would say nothing.

Noise model (one standard deviation of a coefficient, heuristic of independent coefficients as in
Iliashenko, Chen, Laine, "Revisiting homomorphic encryption schemes for finite fields", 2021, and
Costache, Laine, Player, eprint 2019/493; sums are taken linearly, as if fully dependent, which is
pessimistic). BFV: phase = (q/t)·m + v, correct while |v| < q/2t. BGV: phase = m + t·e, the whole of
it is counted, correct while |m + t·e| < q/2. A test holds every bound against the library's own
measurement.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gridsecure.errors import DepthExceededError, OutOfRangeError
from gridsecure.homomorphic.parameters import Parameters, Scheme

MARGIN_BITS: Final = 5.0
"""Capacity must exceed the noise deviation 32-fold: a Gaussian gets there with odds of 2^-744."""

ERROR_DEVIATION: Final = 3.24
"""SEAL's centred binomial error (21 + 21 bits): sqrt(21/2)."""

SHARED_BITS: Final = 10.0
"""Two noises are not independent: SEAL's BGV rounding is not centred, so every noise contains the
same smooth polynomial, 1/2·(1 + X + … + X^(N-1)) times the secret. Nearly all of it sits in one
pair of slots of the canonical embedding, where it stands 1.1·sqrt(N)·g above the white noise, g a
Rayleigh variable of the key. A product of k columns is there (2/sqrt(N))·(1.1·sqrt(N)·g)^k above
independence: for N = 16384, 8.3 + 2·log2(g) bits at k = 2 and 15.4 + 3·log2(g) at k = 3. Over 247
keys the largest coefficient was 11.6, 19.6 and 28.7 bits above for k = 2, 3, 4. Ten bits a product,
with `MARGIN_BITS`, leave room up to g = 8, odds of e^-64 for a key."""

SECRET_VARIANCE: Final = 2 / 3
"""A uniform ternary coefficient."""


@dataclass(frozen=True, slots=True)
class PlannedColumn:
    """What is known about a column before it exists.

    Args:
        low: Smallest value any slot can hold.
        high: Largest value any slot can hold.
        primes: Coefficient primes left.
        noise: log2 of the noise deviation.
        size: Polynomials of the ciphertext.
    """

    parameters: Parameters
    low: int
    high: int
    primes: int
    noise: float
    size: int = 2

    @classmethod
    def fresh(cls, parameters: Parameters, *, high: int) -> PlannedColumn:
        """A column as it comes from the gateway, values in 0..high.

        Raises:
            OutOfRangeError: `high` does not fit the plain modulus.
        """
        planned = cls(parameters, 0, high, parameters.fresh_primes, fresh_noise(parameters))
        planned.check(what="An input column")
        return planned

    def plus(self, other: PlannedColumn) -> PlannedColumn:
        """Slot by slot sum."""
        return replace(
            self._beside(other),
            low=self.low + other.low,
            high=self.high + other.high,
            noise=_sum(self.noise, other.noise),
        )

    def minus(self, other: PlannedColumn) -> PlannedColumn:
        """Slot by slot difference."""
        return replace(
            self._beside(other),
            low=self.low - other.high,
            high=self.high - other.low,
            noise=_sum(self.noise, other.noise),
        )

    def times(self, other: PlannedColumn) -> PlannedColumn:
        """Slot by slot product.

        Raises:
            DepthExceededError: The set is BFV, where no registered plan multiplies.
        """
        if self.parameters.scheme is not Scheme.BGV:
            raise DepthExceededError(
                "Products of encrypted columns are planned under BGV only.",
                remedy="Use the tier parameter set for this plan.",
            )
        # Either range may reach below zero, so the extremes lie at any of the four corners.
        ends = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        return replace(
            self._beside(other),
            low=min(ends),
            high=max(ends),
            noise=self.noise
            + other.noise
            + math.log2(self.parameters.ring_degree) / 2
            + SHARED_BITS,
            size=self.size + other.size - 1,
        )

    def scale(self, factor: int) -> PlannedColumn:
        """Every slot times one integer, 0 < factor < t.

        Raises:
            OutOfRangeError: Another factor, which the library would reduce or refuse.
        """
        if not 0 < factor < self.parameters.plain_modulus:
            raise OutOfRangeError(
                "A plan scales a column by a factor outside the plain modulus.",
                remedy="Leave out what is multiplied by zero, or choose a coarser price unit.",
            )
        ends = (self.low * factor, self.high * factor)
        return replace(self, low=min(ends), high=max(ends), noise=self.noise + math.log2(factor))

    def raise_by(self, amount: int | NDArray[np.int64]) -> PlannedColumn:
        """Every slot plus an integer."""
        least, most = (amount, amount) if isinstance(amount, int) else _ends(amount)
        return replace(self._encode(), low=self.low + least, high=self.high + most)

    def complement(self) -> PlannedColumn:
        """One minus every slot."""
        return replace(self._encode(), low=1 - self.high, high=1 - self.low)

    def select(self, mask: NDArray[np.int64]) -> PlannedColumn:
        """A product with a full plaintext polynomial: coefficients uniform modulo t."""
        # Zero too: the encoder pads the mask, so slots beyond the roster become zero.
        ends = [end * factor for end in (self.low, self.high) for factor in (0, *_ends(mask))]
        return replace(
            self,
            low=min(ends),
            high=max(ends),
            noise=self.noise
            + math.log2(self.parameters.plain_modulus / math.sqrt(12))
            + math.log2(self.parameters.ring_degree) / 2,
        )

    def blind(self, blinding: NDArray[np.uint64]) -> PlannedColumn:  # noqa: ARG002
        """Values become residues of t; the noise is that of the column plus one rounding."""
        return replace(self._encode(), low=0, high=self.parameters.plain_modulus - 1)

    def relinearise(self) -> PlannedColumn:
        """Size 2 again, plus the key-switching noise (hybrid, one special prime)."""
        degree, t = self.parameters.ring_degree, self.parameters.plain_modulus
        special = self.parameters.primes[-1]
        # One digit for each prime left; each carries a fresh error and is divided by the special
        # prime.
        widest = max(self.parameters.primes[: self.primes])
        switching = ERROR_DEVIATION * math.sqrt(self.primes * degree / 12) * widest / special
        added = t * (switching + _rounding(degree, size=2))
        return replace(self, size=2, noise=_sum(self.noise, math.log2(added)))

    def switch_down(self, primes: int) -> PlannedColumn:
        """Fewer primes: noise divided by those dropped, plus a rounding each time.

        Raises:
            DepthExceededError: Fewer primes than one, or more than are left.
        """
        if not 1 <= primes <= self.primes:
            raise DepthExceededError("A plan asks for a level that its column has already passed.")
        noise, degree = self.noise, self.parameters.ring_degree
        unit = self.parameters.plain_modulus if self.parameters.scheme is Scheme.BGV else 1
        for prime in reversed(self.parameters.primes[primes : self.primes]):
            # SEAL's BGV rounding is uniform on [0, 1), not centred: four times the variance.
            skew = 2 if self.parameters.scheme is Scheme.BGV else 1
            rounding = math.log2(unit * skew * _rounding(degree, size=self.size))
            noise = _sum(noise - math.log2(prime), rounding)
        return replace(self, primes=primes, noise=noise)

    def narrow(self, low: int, high: int) -> PlannedColumn:
        """Narrow the range by an argument that intervals cannot see; `PlainColumn` checks it."""
        return replace(self, low=low, high=high)

    @property
    def capacity(self) -> float:
        """log2 of the noise at which decryption fails."""
        modulus = math.prod(self.parameters.primes[: self.primes])
        # BGV noise counts the factor t already; BFV scales the message by q/t instead.
        share = 1 if self.parameters.scheme is Scheme.BGV else self.parameters.plain_modulus
        return math.log2(modulus) - 1 - math.log2(share)

    @property
    def margin(self) -> float:
        """Bits between the noise deviation and the capacity."""
        return self.capacity - self.noise

    def check(self, *, what: str, signed: bool = False) -> None:
        """Refuse what could wrap or fail to decrypt.

        Args:
            what: Names the column in the refusal.
            signed: Whether the reader takes residues above half the plain modulus for negative.

        Raises:
            OutOfRangeError: A value could reach the plain modulus (or fall below zero); if signed,
                half of it on either side.
            DepthExceededError: The noise could reach the capacity.
        """
        t = self.parameters.plain_modulus
        least, most = (-(t // 2), t // 2) if signed else (0, t - 1)
        if not least <= self.low <= self.high <= most:
            raise OutOfRangeError(
                f"{what} could leave the range of {self.parameters.name}.",
                remedy="Declare a smaller bound or a coarser unit for the column.",
            )
        if self.margin < MARGIN_BITS:
            raise DepthExceededError(
                f"{what} could carry more noise than {self.parameters.name} tolerates.",
                remedy="Use a larger parameter set or a shallower plan.",
            )

    def _encode(self) -> PlannedColumn:
        """The noise of one more plaintext: BFV rounds (q/t)·m, BGV's phase counts m itself."""
        unit = self.parameters.plain_modulus if self.parameters.scheme is Scheme.BGV else 1
        return replace(self, noise=_sum(self.noise, math.log2(unit * math.sqrt(1 / 12))))

    def _beside(self, other: PlannedColumn) -> PlannedColumn:
        if (self.parameters, self.primes) != (other.parameters, other.primes):
            raise DepthExceededError("A plan combines columns of different sets or levels.")
        return replace(self, size=max(self.size, other.size))


def fresh_noise(parameters: Parameters) -> float:
    """log2 deviation of a public-key encryption as SEAL makes it.

    e·u + e' + e''·s has variance σ²(1 + 2N·2/3); where SEAL encrypts with the special prime it then
    divides by it and rounds.
    """
    degree = parameters.ring_degree
    deviation = ERROR_DEVIATION * math.sqrt(1 + 2 * degree * SECRET_VARIANCE)
    if not parameters.keeps_all_primes:
        deviation = deviation / parameters.primes[-1] + _rounding(degree, size=2)
    deviation += math.sqrt(1 / 12)  # BFV rounds (q/t)·m; BGV adds m itself, below t in size
    unit = parameters.plain_modulus if parameters.scheme is Scheme.BGV else 1
    return math.log2(unit * deviation)


def _rounding(degree: int, *, size: int) -> float:
    """Deviation of rounding every polynomial of a ciphertext, seen through powers of the secret."""
    variance, power = 0.0, 1.0
    for _ in range(size):
        variance += power / 12
        power *= degree * SECRET_VARIANCE
    return math.sqrt(variance)


def _sum(first: float, second: float) -> float:
    return max(first, second) + math.log2(1 + 2 ** -abs(first - second))


def _ends(values: NDArray[Any]) -> tuple[int, int]:
    return (int(values.min()), int(values.max())) if len(values) else (0, 0)
