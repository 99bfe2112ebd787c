"""Exact numbers as decimals: whole numbers in larger units, and quotients rounded once.

Decimals are made from digits and never by decimal arithmetic, whose precision ends at 28 digits.
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Final

PLACES: Final = 6
"""Decimals of a number that is rounded."""


def shift(number: int, *, places: int) -> Decimal:
    """A whole number with some decimals, as Wh in kWh with three.

    >>> shift(1500, places=3), shift(-5, places=2)
    (Decimal('1.500'), Decimal('-0.05'))
    """
    return Decimal(f"{number}E-{places}")


def round_half_up(number: Fraction, *, places: int = PLACES) -> Decimal:
    """A number rounded away from zero where it lies half-way.

    >>> round_half_up(Fraction(2, 3)), round_half_up(Fraction(-1, 2), places=0)
    (Decimal('0.666667'), Decimal('-1'))
    """
    scaled = abs(number) * 10**places
    whole = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    return shift(whole if number >= 0 else -whole, places=places)


def write_exactly(number: Fraction) -> Decimal:
    """A number that ends, with as many decimals as it has.

    Raises:
        ValueError: It has no end.

    >>> write_exactly(Fraction(1, 8))
    Decimal('0.125')
    """
    places, rest = 0, number.denominator
    while rest > 1:
        divisor = math.gcd(rest, 10)
        if divisor == 1:
            raise ValueError("a fraction that has no end")
        rest //= divisor
        places += 1
    return shift(number.numerator * 10**places // number.denominator, places=places)


def round_root(square: Fraction, *, places: int = PLACES) -> Decimal:
    """The square root of a number of 0 or more, rounded half up.

    >>> round_root(Fraction(2)), round_root(Fraction(9, 4))
    (Decimal('1.414214'), Decimal('1.500000'))
    """
    doubled = square * 4 * 10 ** (2 * places)
    # Half steps below the root: the floor of a root is that of the root of the floor.
    halves = math.isqrt(doubled.numerator // doubled.denominator)
    return shift((halves + 1) // 2, places=places)


def round_log_ratio(one: Fraction, other: Fraction, *, places: int = PLACES) -> Decimal:
    """ln(one) / ln(other) of positive numbers, rounded half up; computed with 50 digits.

    >>> round_log_ratio(Fraction(8), Fraction(2))
    Decimal('3.000000')
    """
    with localcontext(prec=50):
        logs = [(Decimal(n.numerator) / Decimal(n.denominator)).ln() for n in (one, other)]
        number = Fraction(logs[0] / logs[1])
    return round_half_up(number, places=places)
