"""Exact decimals and how they are written: by the digits, never through a binary float.

Numbers of a bill are decimal texts. They are held as `Decimal`, multiplied and added in a context
that refuses to round, and written by grouping digits in their text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from fractions import Fraction
from typing import Final

MINUS: Final = "\N{MINUS SIGN}"
_NUMBER: Final = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,20})?")
# Two factors of 50 digits, or sums of thousands of their products, fit; what would not is refused.
_EXACT: Final = Context(prec=120, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])


def is_decimal_text(text: str) -> bool:
    """Return whether a text is a plain decimal of at most 30 digits before and 20 after the point.

    >>> is_decimal_text("-0.66286875"), is_decimal_text("1e5"), is_decimal_text("NaN")
    (True, False, False)
    """
    return _NUMBER.fullmatch(text) is not None


def product(left: Decimal, right: Decimal) -> Decimal:
    """Return the product, exactly."""
    return _EXACT.multiply(left, right)


def add_up(values: Iterable[Decimal]) -> Decimal:
    """Return the sum, exactly."""
    total = Decimal(0)
    for value in values:
        total = _EXACT.add(total, value)
    return total


def minus(left: Decimal, right: Decimal) -> Decimal:
    """Return the difference, exactly."""
    return _EXACT.subtract(left, right)


def half_up(value: Decimal | Fraction) -> Decimal:
    """Round to two decimals, halves away from zero, as every bill line is rounded.

    >>> half_up(Decimal("0.005")), half_up(Decimal("-0.005")), half_up(Fraction(1, 3))
    (Decimal('0.01'), Decimal('-0.01'), Decimal('0.33'))
    """
    exact = Fraction(value)
    hundredths = int(abs(exact) * 100 + Fraction(1, 2))
    return Decimal(-hundredths if exact < 0 else hundredths).scaleb(-2, _EXACT)


def net_of(total: Decimal, vat_rate: Decimal) -> Decimal:
    """Return the part of a total without the value-added tax inside it, half-up.

    >>> net_of(Decimal("113.00"), Decimal("0.13"))
    Decimal('100.00')
    """
    return half_up(Fraction(total) / (1 + Fraction(vat_rate)))


def figure_text(value: Decimal) -> str:
    """Write a number in full with thousands separators and no trailing zeros.

    >>> figure_text(Decimal("-1234567.8900")), figure_text(Decimal("-0.00"))
    ('−1,234,567.89', '0')
    """
    whole, _, part = format(value.copy_abs(), "f").partition(".")
    part = part.rstrip("0")
    digits = _grouped(whole) + (f".{part}" if part else "")
    return f"{MINUS}{digits}" if value < 0 else digits


def money_text(value: Decimal) -> str:
    """Write money with its two decimals and thousands separators.

    >>> money_text(Decimal("1234.5")), money_text(Decimal("-0.05"))
    ('1,234.50', '−0.05')

    Raises:
        ValueError: The value has more than two decimals; showing fewer would hide something.
    """
    whole, _, part = format(value.copy_abs(), "f").partition(".")
    if part[2:].strip("0"):
        raise ValueError("money is written once it is rounded")
    digits = f"{_grouped(whole)}.{part[:2]:0<2}"
    return f"{MINUS}{digits}" if value < 0 else digits


def exact_money_text(value: Decimal) -> str:
    """Write an unrounded amount in full, with at least two decimals.

    >>> exact_money_text(Decimal("818.350")), exact_money_text(Decimal("818.35164"))
    ('818.35', '818.35164')
    """
    text = figure_text(value)
    whole, _, part = text.partition(".")
    return f"{whole}.{part:0<2}"


def _grouped(digits: str) -> str:
    digits = digits.lstrip("0") or "0"
    head = len(digits) % 3
    groups = [digits[:head]] if head else []
    groups += [digits[at : at + 3] for at in range(head, len(digits), 3)]
    return ",".join(groups)
