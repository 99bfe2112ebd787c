"""Proving that a committed number lies below a limit, without saying which it is.

The number is written in bases that reach exactly 0..limit-1 (powers of two and a remainder); each
digit is committed to as D_i = b_i·G + s_i·H and shown to be 0 or 1 by a second equation for the
same point, D_i = b_i·D_i + s2_i·H: with both, b_i·(1 - b_i) = 0. The number's commitment is not
sent but summed from the digits, so no check that they belong together can be forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gridsecure.credentials.curves import Point
from gridsecure.credentials.sigma import Relation
from gridsecure.credentials.suites import Suite


@dataclass(frozen=True, slots=True)
class Digits:
    """A number's digits, hidden.

    Args:
        commitments: A point for each digit.
        bits: 0 or 1 each.
        blindings: The multiples of H in the commitments.
    """

    commitments: tuple[Point, ...]
    bits: tuple[int, ...] = field(repr=False)
    blindings: tuple[int, ...] = field(repr=False)

    def witness(self, order: int) -> list[int]:
        """The scalars `claim_digits` adds: bits, blindings, and the blindings of zero bits."""
        second = [
            (1 - bit) * blinding % order
            for bit, blinding in zip(self.bits, self.blindings, strict=True)
        ]
        return [*self.bits, *self.blindings, *second]


def digit_bases(limit: int) -> list[int]:
    """The value of each digit, largest first, so that their sums are exactly 0..limit-1.

    Raises:
        ValueError: A limit below 2.
    """
    if limit < 2:
        raise ValueError("a range has at least two numbers")
    # Plain bits would reach the next power of two; the last base is cut so that all ones are
    # limit-1.
    powers = [2**bit for bit in range((limit - 1).bit_length() - 1)]
    return sorted([*powers, limit - 1 - sum(powers)], reverse=True)


def commit_digits(
    number: int, *, limit: int, blinding: int, draw: Callable[[], int], suite: Suite
) -> Digits:
    """Commit to a number's digits so that the commitments add up to number·G + blinding·H.

    Args:
        number: 0..limit-1.
        limit: The first number not allowed.
        draw: Where the digits' blindings come from.

    Raises:
        ValueError: The number is out of range.
    """
    bases, group = digit_bases(limit), suite.group
    bits, rest = [], number
    for base in bases:
        bits.append(int(rest >= base))
        rest -= bits[-1] * base
    if number < 0 or rest:
        raise ValueError("the number is out of range")
    blindings = [draw() for _ in bases[1:]]
    partial = sum(base * one for base, one in zip(bases, blindings, strict=False))
    # The last blinding is what is missing, so that the digits add up to the commitment given.
    blindings.append((blinding - partial) * pow(bases[-1], -1, group.order) % group.order)
    commitments = group.sums(
        [
            [*group.blind(bit, suite.g), *group.blind(one, suite.h)]
            for bit, one in zip(bits, blindings, strict=True)
        ]
    )
    return Digits(tuple(commitments), tuple(bits), tuple(blindings))


def committed_number(commitments: tuple[Point, ...], *, limit: int, suite: Suite) -> Point:
    """The commitment to the number whose digits are committed to."""
    return suite.group.sum(*zip(digit_bases(limit), commitments, strict=True))


def claim_digits(statement: Relation, commitments: tuple[Point, ...], *, suite: Suite) -> None:
    """Add to a statement that every digit is 0 or 1.

    Args:
        commitments: The digits'.
    """
    count = len(commitments)
    bits, blindings, seconds = (statement.scalars(count) for _ in range(3))
    g, h = statement.element(suite.g), statement.element(suite.h)
    digits = [statement.element(commitment) for commitment in commitments]
    for digit, bit, blinding, second in zip(digits, bits, blindings, seconds, strict=True):
        statement.equate(digit, (bit, g), (blinding, h))
        # C = bit·C + s·H can only be opened where bit·(1 - bit) = 0, so the bit is 0 or 1.
        statement.equate(digit, (bit, digit), (second, h))
