"""Curve arithmetic by the host's libcrypto (OpenSSL 3), called through ctypes.

`EC_POINTs_mul` sums any number of multiples in one pass. It is marked deprecated since 3.0, as all
functions on bare points are, and a library built without deprecated functions lacks it; then
`LibcryptoArithmetic()` refuses and the big-integer backends remain.

libcrypto takes a constant-time ladder for a single multiple only, not for sums: secret scalars must
arrive blinded (`group.Group.blind`).
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import Final

from gridsecure.credentials.curves import IDENTITY, Curve, Point, Term
from gridsecure.crypto.libcrypto import INT, POINTER, SIZE, TEXT, Signatures, load_libcrypto
from gridsecure.errors import GridSecureError

_UNCOMPRESSED: Final = 4  # POINT_CONVERSION_UNCOMPRESSED
_SIGNATURES: Final[Signatures] = {
    "ERR_clear_error": (None, []),
    "BN_new": (POINTER, []),
    "BN_bin2bn": (POINTER, [TEXT, INT, POINTER]),
    "BN_clear_free": (None, [POINTER]),
    "BN_CTX_new": (POINTER, []),
    "BN_CTX_free": (None, [POINTER]),
    "EC_GROUP_new_by_curve_name": (POINTER, [INT]),
    "EC_GROUP_free": (None, [POINTER]),
    "EC_POINT_new": (POINTER, [POINTER]),
    "EC_POINT_clear_free": (None, [POINTER]),
    "EC_POINT_is_at_infinity": (INT, [POINTER, POINTER]),
    "EC_POINT_oct2point": (INT, [POINTER, POINTER, TEXT, SIZE, POINTER]),
    "EC_POINT_point2oct": (SIZE, [POINTER, POINTER, INT, POINTER, SIZE, POINTER]),
    "EC_POINTs_mul": (INT, [POINTER, POINTER, POINTER, SIZE, POINTER, POINTER, POINTER]),
}


def _unavailable(why: str) -> GridSecureError:
    return GridSecureError(
        f"The host's libcrypto cannot sum points: {why}.",
        reason="identity.backend.unavailable",
        remedy="Use another backend; all give the same results.",
    )


class LibcryptoArithmetic:
    """Sums of multiples on one curve. Build it once; it loads and types the library.

    Raises:
        GridSecureError: libcrypto is missing or lacks the functions or the curve
            (`identity.backend.unavailable`).
    """

    name = "libcrypto"

    def __init__(self, curve: Curve) -> None:
        self._curve = curve
        self._library = library = load_libcrypto(_SIGNATURES, unavailable=_unavailable)
        self._group = library.EC_GROUP_new_by_curve_name(curve.nid)
        if not self._group:
            library.ERR_clear_error()
            raise _unavailable(f"it was built without {curve.name}")
        weakref.finalize(self, library.EC_GROUP_free, self._group)

    def prepare(self, point: Point) -> None:
        """Do nothing: libcrypto keeps tables for its own generator only."""

    def sums(self, combinations: Sequence[Sequence[Term]]) -> list[Point]:
        """Return Σ scalar·point for each combination, in affine form.

        Args:
            combinations: Lists of scalars with their points; scalars are reduced here.
        """
        with _Workspace(self._library, self._group) as work:
            return [self._sum(terms, work) for terms in combinations]

    def _sum(self, terms: Sequence[Term], work: _Workspace) -> Point:
        order = self._curve.order
        own, rest = 0, []  # multiples of the generator take libcrypto's own path
        for scalar, point in terms:
            if point == self._curve.generator:
                own += scalar
            elif point != IDENTITY and scalar % order:
                rest.append((scalar % order, point))
        points = [work.point(point) for _, point in rest]
        scalars = [work.number(scalar) for scalar, _ in rest]
        size = len(rest)
        done = self._library.EC_POINTs_mul(
            self._group,
            work.result,
            work.number(own % order) if own % order else None,
            size,
            (POINTER * size)(*points),
            (POINTER * size)(*scalars),
            work.context,
        )
        if done != 1:
            raise _failed(self._library)
        return work.read_result()


class _Workspace:
    """What one call allocates in libcrypto, freed together; nothing is shared between threads."""

    def __init__(self, library: ctypes.CDLL, group: int) -> None:
        self._library, self._group = library, group
        self._points: dict[Point, int] = {}
        self._numbers: list[int] = []
        self._buffer = ctypes.create_string_buffer(65)

    def __enter__(self) -> _Workspace:
        self.context: int = self._library.BN_CTX_new()
        self.result: int = self._library.EC_POINT_new(self._group)
        if not self.context or not self.result:
            raise _failed(self._library)
        return self

    def __exit__(self, *_: object) -> None:
        for point in (*self._points.values(), self.result):
            self._library.EC_POINT_clear_free(point)
        for number in self._numbers:
            self._library.BN_clear_free(number)
        self._library.BN_CTX_free(self.context)

    def number(self, scalar: int) -> int:
        """A new BIGNUM."""
        number: int = self._library.BN_bin2bn(scalar.to_bytes(32, "big"), 32, None)
        self._numbers.append(number)
        return number

    def point(self, point: Point) -> int:
        """The EC_POINT of a point, parsed once; libcrypto checks that it is on the curve."""
        known = self._points.get(point)
        if known is None:
            data = b"\x04" + point.x.to_bytes(32, "big") + point.y.to_bytes(32, "big")
            known = self._library.EC_POINT_new(self._group)
            self._points[point] = known
            if self._library.EC_POINT_oct2point(self._group, known, data, 65, self.context) != 1:
                raise _failed(self._library)
        return known

    def read_result(self) -> Point:
        """The result in affine form."""
        library, group = self._library, self._group
        if library.EC_POINT_is_at_infinity(group, self.result) == 1:
            return IDENTITY
        size = library.EC_POINT_point2oct(
            group, self.result, _UNCOMPRESSED, self._buffer, 65, self.context
        )
        if size != 65:
            raise _failed(library)
        raw = self._buffer.raw
        return Point(int.from_bytes(raw[1:33], "big"), int.from_bytes(raw[33:65], "big"))


def _failed(library: ctypes.CDLL) -> GridSecureError:
    """Return the error for libcrypto refusing what passed our own checks."""
    library.ERR_clear_error()
    return GridSecureError(
        "libcrypto could not sum points.",
        reason="identity.backend.failed",
        remedy="Check the host's OpenSSL installation and its providers.",
    )
