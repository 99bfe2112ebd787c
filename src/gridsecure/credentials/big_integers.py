"""Curve arithmetic in Python's own integers, or in GMP's through `gmpy2` where that is installed.

A combination Σ kᵢ·Pᵢ is computed in one pass (Straus): every scalar is written in signed odd digits
of five bits (wNAF), doublings are shared by all of them, and points wait at the bit where they are
to be added. Points that come back often (generators, keys, domains) are prepared: for them a table
holds j·2^(7i)·P, so their multiples need no doubling at all and simply wait at bit 0.

Formulas are in Jacobian coordinates for a = -3, from the Explicit-Formulas Database: doubling
dbl-2001-b, mixed addition madd (both written out here, because a call costs as much as a product).
All table points are made affine with one shared inversion (Montgomery's trick).

Not constant-time: secret scalars must arrive blinded (`group.Group.blind`).
"""

from __future__ import annotations

import importlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final

from gridsecure.credentials.curves import IDENTITY, MAX_PREPARED, Curve, Point, Term
from gridsecure.errors import GridSecureError

# A coordinate is an int or a gmpy2 number, which behaves like one; gmpy2 need not be installed,
# so its type cannot be named.
Number = Any
Affine = tuple[Number, Number]
Jacobian = tuple[Number, Number, Number]

_WIDTH: Final = 5  # bits of a wNAF digit: 8 table points, one addition per 6 bits
_WINDOW: Final = 7  # bits of a digit of a prepared point: 37 additions, 2368 table points
_SCALAR_BITS: Final = 256


class BigIntegerArithmetic:
    """Sums of multiples on one curve.

    Args:
        number: Makes a coordinate of an int: `int`, or `gmpy2.mpz`.
    """

    def __init__(self, curve: Curve, *, number: Callable[[int], Number], name: str) -> None:
        self.name = name
        self._curve = curve
        self._number = number
        self._p = number(curve.p)
        self._preparing = threading.Lock()
        self._prepared: OrderedDict[Point, list[list[Affine]]] = OrderedDict()

    def prepare(self, point: Point) -> None:
        """Build the table of a point that comes back often; some ten milliseconds."""
        if point == IDENTITY:
            return
        with self._preparing:
            known = self._prepared.pop(point) if point in self._prepared else None
            self._prepared[point] = known or self._rows(point)
            while len(self._prepared) > MAX_PREPARED:
                self._prepared.popitem(last=False)

    def _rows(self, point: Point) -> list[list[Affine]]:
        """j·2^(7i)·P for j = 1..64, a row for each i."""
        number, p = self._number, self._p
        rows: list[list[Jacobian]] = []
        base: Jacobian = (number(point.x), number(point.y), number(1))
        for _ in range(_SCALAR_BITS // _WINDOW + 1):
            (affine,) = self._affine([base])
            row, step = [base], base
            for _ in range(2 ** (_WINDOW - 1) - 1):
                step = _double(step, p) if step is base else _add_affine(step, affine, p)
                row.append(step)
            rows.append(row)
            base = _double(row[-1], p)  # 2^(w-1) is the last of a row, so this is 2^w
        flat = iter(self._affine([entry for row in rows for entry in row]))
        return [[next(flat) for _ in row] for row in rows]

    def sums(self, combinations: Sequence[Sequence[Term]]) -> list[Point]:
        """Return Σ scalar·point for each combination, in affine form.

        Args:
            combinations: Lists of scalars with their points; scalars are reduced here.
        """
        order = self._curve.order
        # Looked up once: another thread may prepare points, and so push some out, meanwhile.
        points = {point for terms in combinations for _, point in terms}
        ready = {point: rows for point in points if (rows := self._prepared.get(point)) is not None}
        fresh = {
            point: None
            for terms in combinations
            for scalar, point in terms
            if point not in ready and point != IDENTITY and 1 < scalar % order < order - 1
        }
        tables = dict(zip(fresh, self._odd_multiples(list(fresh)), strict=True))
        results = [self._sum(terms, tables, ready) for terms in combinations]
        finite = [result for result in results if result[2] != 0]
        affine = iter(self._affine(finite))
        return [
            Point(*map(int, next(affine))) if result[2] != 0 else IDENTITY for result in results
        ]

    def power(self, base: int, exponent: int) -> int:
        """A power modulo the field's prime, of public numbers."""
        return int(pow(self._number(base), exponent, self._p))

    def _sum(
        self,
        terms: Sequence[Term],
        tables: dict[Point, list[Affine]],
        ready: dict[Point, list[list[Affine]]],
    ) -> Jacobian:
        order, p = self._curve.order, self._p
        waiting: list[list[Affine]] = [[] for _ in range(_SCALAR_BITS + 2)]
        for factor, point in terms:
            scalar = factor % order
            if scalar == 0 or point == IDENTITY:
                continue
            rows = ready.get(point)
            if rows is not None:
                waiting[0] += _prepared_points(rows, scalar, p)
            elif scalar in (1, order - 1):
                y = point.y if scalar == 1 else self._curve.p - point.y
                waiting[0].append((self._number(point.x), self._number(y)))
            else:
                _place(waiting, tables[point], scalar, p)
        return _run(waiting, p)

    def _odd_multiples(self, points: list[Point]) -> list[list[Affine]]:
        """P, 3P, 5P … 15P of each point, all made affine with two inversions."""
        number, p = self._number, self._p
        ones = [(number(point.x), number(point.y), number(1)) for point in points]
        twos = self._affine([_double(one, p) for one in ones])
        entries: list[Jacobian] = []
        for one, two in zip(ones, twos, strict=True):
            step: Jacobian = one
            entries.append(step)
            for _ in range(2 ** (_WIDTH - 2) - 1):
                step = _add_affine(step, two, p)
                entries.append(step)
        affine, size = self._affine(entries), 2 ** (_WIDTH - 2)
        return [affine[at : at + size] for at in range(0, len(affine), size)]

    def _affine(self, points: Sequence[Jacobian]) -> list[Affine]:
        """Divide by all Z with one inversion; none of them is the identity."""
        p = self._p
        products, running = [], self._number(1)
        for _, _, z in points:
            products.append(running)
            running = running * z % p
        # Montgomery's trick: one inversion for all; it costs far more than the products added.
        inverse = pow(running, -1, p) if points else running
        affine: list[Affine] = []
        for (x, y, z), product in zip(reversed(points), reversed(products), strict=True):
            one = inverse * product % p
            inverse = inverse * z % p
            square = one * one % p
            affine.append((x * square % p, y * square % p * one % p))
        affine.reverse()
        return affine


def python_arithmetic(curve: Curve) -> BigIntegerArithmetic:
    """The backend that is always there."""
    return BigIntegerArithmetic(curve, number=int, name="python")


def gmpy2_arithmetic(curve: Curve) -> BigIntegerArithmetic:
    """The backend on GMP's integers, more than twice as fast.

    Raises:
        GridSecureError: `gmpy2` is not installed (`identity.backend.unavailable`).
    """
    try:
        number: Callable[[int], Number] = importlib.import_module("gmpy2").mpz
    except ImportError as missing:
        raise GridSecureError(
            "The gmpy2 package is not installed.",
            reason="identity.backend.unavailable",
            remedy="Install the extra named fast, or use another backend.",
        ) from missing
    return BigIntegerArithmetic(curve, number=number, name="gmpy2")


def _prepared_points(rows: list[list[Affine]], scalar: int, p: Number) -> list[Affine]:
    """The table points that add up to scalar·P, by signed digits of `_WINDOW` bits."""
    points: list[Affine] = []
    half, mask = 1 << (_WINDOW - 1), (1 << _WINDOW) - 1
    carry = 0
    for row in rows:
        digit = (scalar & mask) + carry
        scalar >>= _WINDOW
        carry = 0
        if digit > half:
            digit -= mask + 1
            carry = 1
        if digit > 0:
            points.append(row[digit - 1])
        elif digit < 0:
            x, y = row[-digit - 1]
            points.append((x, p - y))
    return points


def _place(waiting: list[list[Affine]], table: list[Affine], scalar: int, p: Number) -> None:
    """Let the odd multiples that make up scalar·P wait at their bits (wNAF, Solinas 2000)."""
    at, half, full = 0, 1 << (_WIDTH - 1), 1 << _WIDTH
    while scalar:
        zeros = (scalar & -scalar).bit_length() - 1
        scalar >>= zeros
        at += zeros
        digit = scalar & (full - 1)
        if digit < half:
            waiting[at].append(table[digit >> 1])
        else:
            digit -= full
            x, y = table[-digit >> 1]
            waiting[at].append((x, p - y))
        scalar -= digit


def _run(waiting: list[list[Affine]], p: Number) -> Jacobian:
    """Double from the top bit down, adding what waits; `_double` and `_add_affine` written out."""
    top = len(waiting) - 1
    while top > 0 and not waiting[top]:
        top -= 1
    total: Jacobian = (p - p + 1, p - p + 1, p - p)
    for points in reversed(waiting[: top + 1]):
        x, y, z = total
        if z:
            square, ysquare = z * z % p, y * y % p
            beta = x * ysquare % p
            alpha = 3 * (x - square) * (x + square) % p
            new_x = (alpha * alpha - 8 * beta) % p
            total = (
                new_x,
                (alpha * (4 * beta - new_x) - 8 * ysquare * ysquare) % p,
                2 * y * z % p,
            )
        for point in points:
            total = _add_affine(total, point, p)
    return total


def _double(point: Jacobian, p: Number) -> Jacobian:
    x, y, z = point
    square, ysquare = z * z % p, y * y % p
    beta = x * ysquare % p
    alpha = 3 * (x - square) * (x + square) % p
    new_x = (alpha * alpha - 8 * beta) % p
    return new_x, (alpha * (4 * beta - new_x) - 8 * ysquare * ysquare) % p, 2 * y * z % p


def _add_affine(point: Jacobian, other: Affine, p: Number) -> Jacobian:
    """Add an affine point, whatever the case: identity, equal or opposite."""
    x, y, z = point
    other_x, other_y = other
    if not z:
        return other_x, other_y, z + 1
    square = z * z % p
    h = (other_x * square - x) % p
    r = (other_y * square * z - y) % p
    if not h:
        # Equal points: double; opposite points: the identity. Doubling never meets y = 0, because
        # the group's order is odd.
        return (z, z, z - z) if r else _double(point, p)
    h_square = h * h % p
    h_cube = h * h_square % p
    v = x * h_square % p
    new_x = (r * r - h_cube - 2 * v) % p
    return new_x, (r * (v - new_x) - y * h_cube) % p, z * h % p
