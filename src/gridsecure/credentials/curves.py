"""The two curves the credentials are computed on: constants, points and what arithmetic must offer.

SM2 is the curve in use. P-256 exists so that the very same code can be held against published
vectors (RFC 9380, RFC 9497 and the ARC draft), none of which exist for SM2.

Both curves are y² = x³ - 3x + b over a prime p ≡ 3 (mod 4), with a prime number of points: every
point but the identity generates the whole group, so "on the curve" is the whole subgroup check.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from cryptography.hazmat.primitives import hashes

from gridsecure.crypto import sm2_curve
from gridsecure.crypto.sm3 import sm3_digest


class Point(NamedTuple):
    """An affine point; the identity is (0, 0), which lies on neither curve because b is not 0."""

    x: int
    y: int


IDENTITY: Final = Point(0, 0)
"""The neutral element. It has no encoding and no message may hold it."""

MAX_PREPARED: Final = 64
"""Prepared points that a backend keeps; the one asked for longest ago goes first."""

Term = tuple[int, Point]
"""A scalar, any integer, and the point it multiplies."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A short Weierstrass curve with a = -3, and the hash that belongs to it.

    Args:
        name: For messages and tables.
        p: The field's prime.
        order: The number of points, prime.
        generator: The standard base point.
        z: The constant Z of the simplified SWU map (RFC 9380, §6.6.2).
        digest: The hash function.
        nid: libcrypto's number of the curve.
    """

    name: str
    p: int
    b: int
    order: int
    generator: Point
    z: int
    digest: Callable[[bytes], bytes]
    nid: int

    @property
    def a(self) -> int:
        """The linear coefficient, -3 as a residue."""
        return self.p - 3

    def contains(self, point: Point) -> bool:
        """Say whether a point has reduced coordinates and lies on the curve."""
        x, y = point
        if not (0 <= x < self.p and 0 <= y < self.p):
            return False
        return (y * y - (x * x - 3) * x - self.b) % self.p == 0


class Arithmetic(Protocol):
    """What a backend does: sums of multiples of points, on public and on blinded scalars."""

    name: str

    def prepare(self, point: Point) -> None:
        """Make later multiples of a point that comes back often cheaper."""

    def sums(self, combinations: Sequence[Sequence[Term]]) -> list[Point]:
        """Return Σ scalar·point for each combination, in affine form."""

    def power(self, base: int, exponent: int) -> int:
        """Return a power modulo the field's prime; of public numbers only."""


def _sha256(data: bytes) -> bytes:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(data)
    return digest.finalize()


SM2: Final = Curve(
    name="SM2",
    p=sm2_curve.P,
    b=sm2_curve.B,
    order=sm2_curve.N,
    generator=Point(sm2_curve.GX, sm2_curve.GY),
    z=-9,  # found by the procedure of RFC 9380, appendix H.2; a test repeats it
    digest=sm3_digest,
    nid=1172,
)
"""sm2p256v1 of GB/T 32918.5-2017 with SM3."""

# SEC 2 v2.0 §2.4.2, secp256r1; the same constants as FIPS 186-4 D.1.2.3. Z: RFC 9380 §8.2.
P256: Final = Curve(
    name="P-256",
    p=0xFFFFFFFF_00000001_00000000_00000000_00000000_FFFFFFFF_FFFFFFFF_FFFFFFFF,
    b=0x5AC635D8_AA3A93E7_B3EBBD55_769886BC_651D06B0_CC53B0F6_3BCE3C3E_27D2604B,
    order=0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551,
    generator=Point(
        0x6B17D1F2_E12C4247_F8BCE6E5_63A440F2_77037D81_2DEB33A0_F4A13945_D898C296,
        0x4FE342E2_FE1A7F9B_8EE7EB4A_7C0F9E16_2BCE3357_6B315ECE_CBB64068_37BF51F5,
    ),
    z=-10,
    digest=_sha256,
    nid=415,
)
"""secp256r1 with SHA-256, for published vectors only."""
