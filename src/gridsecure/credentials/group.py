"""A group of prime order on one curve: points, scalars, strict encodings, sums of multiples.

Invariants:
- What `decode` returns is a point of the curve and never the identity.
- A point and a scalar have exactly one accepted encoding each.
- Every secret scalar is split into two random shares before a backend sees it. Those of one batch
  may have one share in common (`Blinding`).

Three backends do the arithmetic and give the same results: `libcrypto`, `gmpy2`, `python`.
Not here: constant time. Python's integers are not constant-time, splitting only makes what a
listener measures independent of the key; keep issuer and opener keys on hosts of their own.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Literal

from gridsecure.credentials.big_integers import gmpy2_arithmetic, python_arithmetic
from gridsecure.credentials.curves import IDENTITY, SM2, Arithmetic, Curve, Point, Term
from gridsecure.credentials.libcrypto_points import LibcryptoArithmetic
from gridsecure.errors import GridSecureError, InvalidMessageError

SCALAR_BYTES: Final = 32
POINT_BYTES: Final = 33
WHOLE_BYTES: Final = 64
"""A point written with both coordinates: no root has to be found to read it."""

_PREFIXES: Final = (b"\x02", b"\x03")

BackendName = Literal["auto", "libcrypto", "gmpy2", "python"]
_MAKERS: Final[dict[str, Callable[[Curve], Arithmetic]]] = {
    "libcrypto": LibcryptoArithmetic,
    "gmpy2": gmpy2_arithmetic,
    "python": python_arithmetic,
}


@dataclass(frozen=True, slots=True)
class Blinding:
    """A random share that the secret scalars of one batch have in common.

    Each of them is multiplied as the share and the rest. Both are uniform, as if every scalar had a
    share of its own, but the share is multiplied once a point for all of the batch. Who learned the
    rests of two scalars whole would know by what these differ, and by listening that well would
    learn the share too. It is drawn anew for every batch: what is known of two batches does not add
    up.

    Args:
        share: The share, 1..n-1.
        multiples: By point, its multiple by the share.
    """

    share: int = field(repr=False)
    multiples: Mapping[Point, Point] = field(repr=False)

    def split(self, scalar: int, point: Point) -> tuple[Term, Term]:
        """Return two terms that add up to scalar·point, none of them with the secret scalar."""
        return (1, self.multiples[point]), (scalar - self.share, point)


class Group:
    """The points of one curve, computed by one backend."""

    __slots__ = ("backend", "curve")

    def __init__(self, curve: Curve, *, backend: Arithmetic) -> None:
        self.curve = curve
        self.backend = backend

    @property
    def order(self) -> int:
        """The number of points, prime."""
        return self.curve.order

    @property
    def generator(self) -> Point:
        """The standard base point."""
        return self.curve.generator

    def prepare(self, *points: Point) -> None:
        """Make multiples of points that come back often cheaper."""
        for point in points:
            self.backend.prepare(point)

    def sum(self, *terms: Term) -> Point:
        """Return Σ scalar·point. For secret scalars, pass what `blind` returns."""
        return self.backend.sums([terms])[0]

    def sums(self, combinations: Sequence[Sequence[Term]]) -> list[Point]:
        """Return Σ scalar·point for each combination; cheaper than one after the other."""
        return self.backend.sums(combinations)

    def blind(self, scalar: int, point: Point) -> tuple[Term, Term]:
        """Return two terms that add up to scalar·point, each with a uniformly random scalar."""
        share = secrets.randbelow(self.order)
        return (share, point), ((scalar - share) % self.order, point)

    def multiply(self, point: Point, *, scalar: int) -> Point:
        """Return scalar·point for a secret scalar."""
        return self.sum(*self.blind(scalar, point))

    def blinding(self, *points: Point) -> Blinding:
        """Draw what splits the secret scalars of a batch that are multiplied with these points."""
        share = self.random_scalar()
        multiples = self.sums([[(share, point)] for point in points])
        return Blinding(share, dict(zip(points, multiples, strict=True)))

    def multiply_all(self, point: Point, *, scalars: Sequence[int]) -> list[Point]:
        """Return scalar·point for each of some secret scalars."""
        blinding = self.blinding(point)
        return self.sums([blinding.split(scalar, point) for scalar in scalars])

    def subtract(self, first: Point, *, second: Point) -> Point:
        """Return first - second."""
        return self.sum((1, first), (-1, second))

    def random_scalar(self) -> int:
        """Return a scalar, uniform in 1..n-1."""
        return 1 + secrets.randbelow(self.order - 1)

    def invert(self, scalar: int) -> int:
        """Return 1/scalar modulo the order, blinded by a random factor.

        Raises:
            ValueError: The scalar is 0.
        """
        mask = self.random_scalar()
        return pow(scalar * mask, -1, self.order) * mask % self.order

    def square_root(self, square: int) -> int | None:
        """Return a root modulo the field's prime p ≡ 3 (mod 4), or None for a non-square."""
        p = self.curve.p
        root = self.backend.power(square, (p + 1) // 4)
        return root if (root * root - square) % p == 0 else None

    def encode(self, point: Point) -> bytes:
        """Return a point's 33 bytes: 02 or 03 by the parity of y, then x (SEC 1, §2.3.3).

        Raises:
            ValueError: The identity, which no message may hold.
        """
        if point == IDENTITY:
            raise ValueError("the identity has no encoding")
        return _PREFIXES[point.y & 1] + point.x.to_bytes(32, "big")

    def decode(self, data: bytes) -> Point:
        """Read a point from exactly its 33 bytes.

        Raises:
            InvalidMessageError: Another length or prefix, x not below p, or no point has this x
                (`identity.point`).
        """
        if len(data) != POINT_BYTES or data[0] not in (2, 3):
            raise _bad_point()
        p, x = self.curve.p, int.from_bytes(data[1:], "big")
        if x >= p:
            raise _bad_point()
        square = ((x * x - 3) * x + self.curve.b) % p
        y = self.square_root(square)
        if y is None:
            raise _bad_point()
        return Point(x, y if y & 1 == data[0] & 1 else p - y)

    def decode_points(self, data: bytes) -> list[Point]:
        """Read points that follow each other, 33 bytes each.

        Raises:
            InvalidMessageError: As `decode`, or the length is no multiple of 33.
        """
        if len(data) % POINT_BYTES:
            raise _bad_point()
        return [self.decode(data[at : at + POINT_BYTES]) for at in range(0, len(data), POINT_BYTES)]

    def encode_whole(self, *points: Point) -> bytes:
        """Return points as 64 bytes each, x then y.

        Raises:
            ValueError: As `encode`.
        """
        if IDENTITY in points:
            raise ValueError("the identity has no encoding")
        return b"".join(n.to_bytes(32, "big") for point in points for n in point)

    def decode_whole(self, data: bytes) -> list[Point]:
        """Read points that follow each other, 64 bytes each.

        Raises:
            InvalidMessageError: One is not on the curve, or the length is no multiple of 64
                (`identity.point`).
        """
        numbers = [int.from_bytes(data[at : at + 32], "big") for at in range(0, len(data), 32)]
        points = [Point(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=False)]
        # the identity's (0, 0) is on no curve of ours
        if len(data) % WHOLE_BYTES or not all(map(self.curve.contains, points)):
            raise _bad_point()
        return points

    def encode_scalars(self, *scalars: int) -> bytes:
        """Return scalars as 32 big-endian bytes each."""
        return b"".join((scalar % self.order).to_bytes(SCALAR_BYTES, "big") for scalar in scalars)

    def decode_scalars(self, data: bytes) -> list[int]:
        """Read scalars that follow each other, 32 bytes each.

        Raises:
            InvalidMessageError: One is not below the order, or the length is no multiple of 32
                (`identity.scalar`).
        """
        scalars = [
            int.from_bytes(data[at : at + SCALAR_BYTES], "big")
            for at in range(0, len(data), SCALAR_BYTES)
        ]
        if len(data) % SCALAR_BYTES or any(scalar >= self.order for scalar in scalars):
            raise InvalidMessageError("A number is out of range.", reason="identity.scalar")
        return scalars


def _bad_point() -> InvalidMessageError:
    return InvalidMessageError("Bytes are not a point of the curve.", reason="identity.point")


def group_on(curve: Curve = SM2, *, backend: BackendName = "auto") -> Group:
    """Return the group of a curve; every caller gets the same one, with its prepared points.

    Args:
        backend: Who computes; `auto` is the fastest there is.

    Raises:
        GridSecureError: The backend asked for is not there (`identity.backend.unavailable`).
        ValueError: No such backend.
    """
    # A cache takes an argument left out and its default for two questions.
    return _group_on(curve, backend)


@cache
def _group_on(curve: Curve, backend: BackendName) -> Group:
    if backend != "auto":
        if backend not in _MAKERS:
            raise ValueError("the backends are auto, libcrypto, gmpy2 and python")
        return Group(curve, backend=_MAKERS[backend](curve))
    return Group(curve, backend=next(_usable(curve)))


def available_backends(curve: Curve = SM2) -> tuple[str, ...]:
    """The names of the backends this host can use for a curve, the fastest first."""
    return tuple(backend.name for backend in _usable(curve))


def _usable(curve: Curve) -> Iterator[Arithmetic]:
    """Backends made as they are asked for; the last one is on every host."""
    for make in _MAKERS.values():
        try:
            yield make(curve)
        except GridSecureError:
            continue
