"""The closed list of homomorphic parameter sets, and the security bound each one keeps.

A set's name spells scheme, ring degree, bits of ciphertext modulus and bits of plain modulus. Two
parties agree on a set by its SM3 digest, never by its name alone. A set outside the bound cannot be
constructed, so there is no "insecure" switch to forget.

Why these primes:

* `bfv_4096_q44_t31` (interval columns, load curves). SEAL encrypts with both primes and rounds the
  60-bit one away, so a fresh ciphertext is already at its last level and stores in 11 bytes a slot.
  Rounding noise is at most (1 + N) / 2 = 2,048.5 in absolute value, under q / 2t = 4,096.1: one
  column plus a plaintext decrypts correctly without any probability argument.
* `bfv_4096_q109_t60` (register columns, linear bills). The plain modulus is above the first prime,
  so SEAL keeps both primes for data: there is nothing to relinearise in a linear bill and the whole
  109 bits serve as room for `energy [Wh] × rate [1e-8 yuan/kWh]`, one product a bill line, up to t,
  which is 16,383 short of 2**60.
* `bgv_16384_q300_t35` (tier bills) and `bgv_16384_q360_t35` (pro-rata shares and power factors, one
  product deeper, so one prime more). All primes are 1 mod 2N·t, so that modulus switching leaves
  the BGV correction factor at 1 and ciphertexts of different depth add without losing bits of t.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Final

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import KeyMismatchError, NotFoundError

MAX_MODULUS_BITS: Final = {4096: 109, 8192: 218, 16384: 438, 32768: 881}
"""Largest total log2(q) for 128-bit classical security with ternary secrets.

Source: HomomorphicEncryption.org Security Standard (2018), table 1, row "128"; SEAL 4.3
`native/src/seal/util/hestdparms.h` enforces the same figures."""


class Scheme(IntEnum):
    """SEAL's scheme numbers. BGV is 3 although the wrapper's enumeration does not name it."""

    BFV = 1
    BGV = 3


@dataclass(frozen=True)
class Parameters:
    """One homomorphic parameter set.

    Args:
        name: Spells the set; unique in `PARAMETER_SETS`.
        scheme: BFV or BGV.
        ring_degree: N, which is also the number of slots of one ciphertext.
        primes: Coefficient primes; the last is for key switching unless `keeps_all_primes`.
        plain_modulus: t, a prime that is 1 mod 2N (batching).
        keeps_all_primes: Data ciphertexts use every prime (no key switching possible).

    Raises:
        ValueError: The set is outside `MAX_MODULUS_BITS` or cannot batch.
    """

    name: str
    scheme: Scheme
    ring_degree: int
    primes: tuple[int, ...]
    plain_modulus: int
    keeps_all_primes: bool = False

    def __post_init__(self) -> None:
        bound = MAX_MODULUS_BITS.get(self.ring_degree, 0)
        if self.modulus_bits > bound:
            raise ValueError(
                f"{self.name}: {self.modulus_bits} bits of modulus exceed {bound}, the bound"
            )
        if self.plain_modulus % (2 * self.ring_degree) != 1:
            raise ValueError(f"{self.name}: the plain modulus cannot batch")

    @property
    def modulus_bits(self) -> int:
        """Bits of the product of all primes."""
        product = 1
        for prime in self.primes:
            product *= prime
        return product.bit_length()

    @property
    def fresh_primes(self) -> int:
        """Number of primes under a fresh ciphertext."""
        return len(self.primes) if self.keeps_all_primes else len(self.primes) - 1

    @property
    def stays_residues(self) -> bool:
        """Whether a column is kept as residues: of one prime, under BFV, adding takes no library.

        That is what interval columns are for; the library would be given every one of them and
        asked for it back, to add one array.
        """
        return self.scheme is Scheme.BFV and self.fresh_primes == 1

    @cached_property
    def digest(self) -> str:
        """SM3 over the canonical description: what both sides compare."""
        described = {
            "keeps_all_primes": self.keeps_all_primes,
            "name": self.name,
            "plain_modulus": self.plain_modulus,
            "primes": list(self.primes),
            "ring_degree": self.ring_degree,
            "scheme": self.scheme.name,
        }
        return sm3_hex(json.dumps(described, sort_keys=True, separators=(",", ":")).encode())


INTERVAL: Final = Parameters(
    name="bfv_4096_q44_t31",
    scheme=Scheme.BFV,
    ring_degree=4096,
    primes=(17592186028033, 1152921504606830593),
    plain_modulus=2147377153,
)
REGISTER: Final = Parameters(
    name="bfv_4096_q109_t60",
    scheme=Scheme.BFV,
    ring_degree=4096,
    primes=(562949953216513, 1152921504606748673),
    plain_modulus=1152921504606830593,
    keeps_all_primes=True,
)
TIER: Final = Parameters(
    name="bgv_16384_q300_t35",
    scheme=Scheme.BGV,
    ring_degree=16384,
    primes=(
        1083099183379972097,
        1057203880658829313,
        1020049750667624449,
        1009916806124568577,
        1103365072466083841,
    ),
    plain_modulus=34359214081,
)
PRODUCT: Final = Parameters(
    name="bgv_16384_q360_t35",
    scheme=Scheme.BGV,
    ring_degree=16384,
    primes=(
        1083099183379972097,
        1057203880658829313,
        1020049750667624449,
        1009916806124568577,
        1008790923397562369,
        1103365072466083841,
    ),
    plain_modulus=34359214081,
)
PARAMETER_SETS: Final = {p.name: p for p in (INTERVAL, REGISTER, TIER, PRODUCT)}


def find_parameters(name: str, *, digest: str | None = None) -> Parameters:
    """Look a set up by name and, where given, by the digest the other side declared.

    Raises:
        NotFoundError: No such set in this release.
        KeyMismatchError: Same name, other content.
    """
    found = PARAMETER_SETS.get(name)
    if found is None:
        raise NotFoundError(
            f"There is no parameter set named {name!r}.",
            reason="parameters.unknown",
            remedy=f"Use one of {', '.join(sorted(PARAMETER_SETS))}.",
        )
    if digest is not None and digest != found.digest:
        raise KeyMismatchError(
            f"The parameter set {name!r} differs from the one declared.",
            reason="parameters.digest",
            remedy="Run the same release on both sides.",
        )
    return found
