"""Curve arithmetic by the host's libcrypto (OpenSSL 3), called through ctypes.

`EC_POINTs_mul` sums any number of multiples in one pass. It is marked deprecated since 3.0, as all
functions on bare points are, and a library built without deprecated functions lacks it; then
`LibcryptoArithmetic()` refuses and the big-integer backends remain.

libcrypto keeps tables of one point a group, its generator. So a prepared point gets a copy of the
group in which it is the generator: a multiple of it takes a sixth of the time, the table a
millisecond.

In a group whose cofactor it knows, libcrypto computes a single multiple by a ladder in constant
time, slower than a sum, and a sum of several inverts a number to begin with. Scalars arrive
blinded, so its groups here are without a cofactor, which it calls unknown.

Sums are not computed in constant time: secret scalars must arrive blinded (`group.Group.blind`).
Shares of a scalar are never added up again here.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from gridsecure.credentials.curves import IDENTITY, MAX_PREPARED, Curve, Point, Term
from gridsecure.crypto.libcrypto import INT, POINTER, SIZE, TEXT, Signatures, load_libcrypto
from gridsecure.errors import GridSecureError

_UNCOMPRESSED: Final = 4  # POINT_CONVERSION_UNCOMPRESSED
_SMALL_ORDER: Final = 2**128 + 1
"""An order for which libcrypto guesses no cofactor: of at most half the field's bits and three.

Nothing here depends on a group's own order: scalars are reduced before, and tables made before."""
_PIECE: Final = 256
"""Terms of a sum that libcrypto is given at once.

It writes eight multiples of every point before it adds. Those of thousands lie far beyond a
processor's caches, where a term costs half as much again; 256 share their doublings well enough."""
_SIGNATURES: Final[Signatures] = {
    "ERR_clear_error": (None, []),
    "BN_new": (POINTER, []),
    "BN_bin2bn": (POINTER, [TEXT, INT, POINTER]),
    "BN_bn2binpad": (INT, [POINTER, POINTER, INT]),
    "BN_mod_exp": (INT, [POINTER, POINTER, POINTER, POINTER, POINTER]),
    "BN_clear_free": (None, [POINTER]),
    "BN_CTX_new": (POINTER, []),
    "BN_CTX_free": (None, [POINTER]),
    "EC_GROUP_new_by_curve_name": (POINTER, [INT]),
    "EC_GROUP_dup": (POINTER, [POINTER]),
    "EC_GROUP_set_generator": (INT, [POINTER, POINTER, POINTER, POINTER]),
    "EC_GROUP_precompute_mult": (INT, [POINTER, POINTER]),
    "EC_GROUP_free": (None, [POINTER]),
    "EC_POINT_new": (POINTER, [POINTER]),
    "EC_POINT_clear_free": (None, [POINTER]),
    "EC_POINT_is_at_infinity": (INT, [POINTER, POINTER]),
    "EC_POINT_oct2point": (INT, [POINTER, POINTER, TEXT, SIZE, POINTER]),
    "EC_POINT_point2oct": (SIZE, [POINTER, POINTER, INT, POINTER, SIZE, POINTER]),
    "EC_POINT_add": (INT, [POINTER, POINTER, POINTER, POINTER, POINTER]),
    "EC_POINTs_make_affine": (INT, [POINTER, SIZE, POINTER, POINTER]),
    "EC_POINTs_mul": (INT, [POINTER, POINTER, POINTER, SIZE, POINTER, POINTER, POINTER]),
}


def _unavailable(why: str) -> GridSecureError:
    return GridSecureError(
        f"The host's libcrypto cannot sum points: {why}.",
        reason="identity.backend.unavailable",
        remedy="Use another backend; all give the same results.",
    )


class _Handle:
    """An EC_GROUP, freed when nobody computes in it any more."""

    def __init__(self, library: ctypes.CDLL, group: int) -> None:
        self.group = group
        weakref.finalize(self, library.EC_GROUP_free, group)


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
        group = library.EC_GROUP_new_by_curve_name(curve.nid)
        if not group:
            library.ERR_clear_error()
            raise _unavailable(f"it was built without {curve.name}")
        self._plain = _Handle(library, group)
        with _Workspace(library, group) as work:
            work.forget_cofactor(group, work.point(curve.generator))
        self._preparing = threading.Lock()
        self._prepared: OrderedDict[Point, _Handle] = OrderedDict()

    def prepare(self, point: Point) -> None:
        """Make a group of its own for a point that comes back often; a millisecond."""
        if point == IDENTITY:
            return
        with self._preparing:
            known = self._prepared.pop(point) if point in self._prepared else None
            self._prepared[point] = known or self._own_group(point)
            while len(self._prepared) > MAX_PREPARED:
                self._prepared.popitem(last=False)

    def _own_group(self, point: Point) -> _Handle:
        library, plain = self._library, self._plain.group
        made = _Handle(library, library.EC_GROUP_dup(plain))
        with _Workspace(library, plain) as work:
            order, cofactor = work.number(self._curve.order), work.number(1)
            base = work.point(point)
            if (
                library.EC_GROUP_set_generator(made.group, base, order, cofactor) != 1
                or library.EC_GROUP_precompute_mult(made.group, work.context) != 1
            ):
                raise _failed(library)
            work.forget_cofactor(made.group, base)
        return made

    def sums(self, combinations: Sequence[Sequence[Term]]) -> list[Point]:
        """Return Σ scalar·point for each combination, in affine form.

        Args:
            combinations: Lists of scalars with their points; scalars are reduced here.
        """
        with _Workspace(self._library, self._plain.group) as work:
            return work.read([self._sum(terms, work) for terms in combinations])

    def power(self, base: int, exponent: int) -> int:
        """A power modulo the field's prime, of public numbers: six times faster than Python's."""
        with _Workspace(self._library, self._plain.group) as work:
            return work.power(base, exponent, self._curve.p)

    def _sum(self, terms: Sequence[Term], work: _Workspace) -> int:
        order = self._curve.order
        own, rest, single = [], [], []
        for factor, point in terms:
            scalar = factor % order
            if scalar == 0 or point == IDENTITY:
                continue
            # looked up once: another thread may prepare points, and so push some out
            ready = self._prepared.get(point)
            if scalar == 1:
                single.append(point)
            elif ready is None:
                rest.append((scalar, point))
            else:
                own.append((scalar, ready))
        total = work.multiply(own[0] if own else None, rest[:_PIECE])
        for at in range(_PIECE, len(rest), _PIECE):
            work.add(total, work.multiply(None, rest[at : at + _PIECE]))
        for one in own[1:]:
            work.add(total, work.multiply(one, []))
        for point in single:
            work.add(total, work.point(point))
        return total


class _Workspace:
    """What one call allocates in libcrypto, freed together; nothing is shared between threads."""

    def __init__(self, library: ctypes.CDLL, group: int) -> None:
        self._library, self._group = library, group
        self._points: dict[Point, int] = {}
        self._numbers: list[int] = []
        self._results: list[int] = []

    def __enter__(self) -> _Workspace:
        self.context: int = self._library.BN_CTX_new()
        if not self.context:
            raise _failed(self._library)
        return self

    def __exit__(self, *_: object) -> None:
        for point in (*self._points.values(), *self._results):
            self._library.EC_POINT_clear_free(point)
        for number in self._numbers:
            self._library.BN_clear_free(number)
        self._library.BN_CTX_free(self.context)

    def number(self, scalar: int) -> int:
        """A new BIGNUM."""
        number: int = self._library.BN_bin2bn(scalar.to_bytes(32, "big"), 32, None)
        self._numbers.append(number)
        return number

    def power(self, base: int, exponent: int, modulus: int) -> int:
        """A power modulo a number."""
        library, buffer = self._library, ctypes.create_string_buffer(32)
        numbers = [self.number(number) for number in (0, base, exponent, modulus)]
        if (
            library.BN_mod_exp(*numbers, self.context) != 1
            or library.BN_bn2binpad(numbers[0], buffer, 32) != 32
        ):
            raise _failed(library)
        return int.from_bytes(buffer.raw, "big")

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

    def multiply(self, own: tuple[int, _Handle] | None, rest: Sequence[Term]) -> int:
        """A new EC_POINT: a multiple of a prepared point, if any, and the sum of others."""
        total, size = self._result(), len(rest)
        if own is None and not rest:
            return total  # the identity, as every point begins
        done = self._library.EC_POINTs_mul(
            own[1].group if own else self._group,
            total,
            self.number(own[0]) if own else None,
            size,
            (POINTER * size)(*(self.point(point) for _, point in rest)),
            (POINTER * size)(*(self.number(scalar) for scalar, _ in rest)),
            self.context,
        )
        if done != 1:
            raise _failed(self._library)
        return total

    def forget_cofactor(self, group: int, generator: int) -> None:
        """Leave a group without a cofactor, and with the tables that it has."""
        order = self.number(_SMALL_ORDER)
        if self._library.EC_GROUP_set_generator(group, generator, order, None) != 1:
            raise _failed(self._library)

    def add(self, total: int, other: int) -> None:
        """Add a point to another."""
        if self._library.EC_POINT_add(self._group, total, total, other, self.context) != 1:
            raise _failed(self._library)

    def read(self, results: Sequence[int]) -> list[Point]:
        """Results in affine form, with one inversion for all."""
        library, group, size = self._library, self._group, len(results)
        handles = (POINTER * size)(*results)
        if size and library.EC_POINTs_make_affine(group, size, handles, self.context) != 1:
            raise _failed(library)
        buffer = ctypes.create_string_buffer(65)
        return [self._read(result, buffer) for result in results]

    def _result(self) -> int:
        made: int = self._library.EC_POINT_new(self._group)
        if not made:
            raise _failed(self._library)
        self._results.append(made)
        return made

    def _read(self, result: int, buffer: ctypes.Array[ctypes.c_char]) -> Point:
        library, group = self._library, self._group
        if library.EC_POINT_is_at_infinity(group, result) == 1:
            return IDENTITY
        size = library.EC_POINT_point2oct(group, result, _UNCOMPRESSED, buffer, 65, self.context)
        if size != 65:
            raise _failed(library)
        raw = buffer.raw
        return Point(int.from_bytes(raw[1:33], "big"), int.from_bytes(raw[33:65], "big"))


def _failed(library: ctypes.CDLL) -> GridSecureError:
    """Return the error for libcrypto refusing what passed our own checks."""
    library.ERR_clear_error()
    return GridSecureError(
        "libcrypto could not sum points.",
        reason="identity.backend.failed",
        remedy="Check the host's OpenSSL installation and its providers.",
    )
