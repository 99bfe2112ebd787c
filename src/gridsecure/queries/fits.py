"""What explains a load curve: regression on public series, and weighted sums.

The normal equations are solved in fractions, so a fit has no rounding but that of what is shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from operator import mul
from typing import NamedTuple

from gridsecure.queries.forms import Regression, Score
from gridsecure.queries.lines import (
    KWH,
    UNDEFINED,
    WH_PER_KWH,
    WITHHELD,
    Asked,
    Line,
    check_series,
    exact_line,
    quotient_line,
)
from gridsecure.queries.totals import add_told

Vector = list[Fraction]


def score_lines(asked: Asked, score: Score) -> Iterator[Line]:
    """Σ w·E over all steps."""
    check_series(asked, score.weights, field="weights")
    total = None
    if add_told(asked.numbers) is not None:
        pairs = zip(score.weights, asked.numbers, strict=True)
        total = sum((Fraction(w) * (n or 0) / WH_PER_KWH for w, n in pairs), Fraction(0))
    yield exact_line(asked.whole, "score", total, KWH)


def regression_lines(asked: Asked, regression: Regression) -> Iterator[Line]:
    """Intercept, slopes and R² of E = a + Σ b·τ; a ridge λ adds λ·Σ b² to what is made least."""
    names = sorted(regression.series)
    given = [check_series(asked, regression.series[n], field=f"series.{n}") for n in names]
    units = [KWH, *(f"{KWH} per unit" for _ in names), ""]
    quantities = ["intercept", *(f"slope of {name}" for name in names), "R²"]
    energies = [n for n in asked.numbers if n is not None]
    if len(energies) < len(asked.steps):
        for quantity, unit in zip(quantities, units, strict=True):
            yield Line(asked.whole, quantity, None, unit, WITHHELD)
        return
    series = [scale([Fraction(value) for value in values]) for values in given]
    found = fit(series, Scaled(energies, WH_PER_KWH), ridge=Fraction(regression.ridge))
    for quantity, unit, number in zip(quantities, units, found, strict=True):
        if number is None:
            yield Line(asked.whole, quantity, None, unit, UNDEFINED)
        else:
            yield quotient_line(asked.whole, quantity, (number, 1), unit)


class Scaled(NamedTuple):
    """Numbers as whole ones: thousands of them are multiplied, and fractions of them are slow.

    Args:
        numbers: Times `by`.
    """

    numbers: Sequence[int]
    by: int

    @property
    def mean(self) -> Fraction:
        """Their mean."""
        return Fraction(sum(self.numbers), self.by * len(self.numbers))

    def spread(self, other: Scaled) -> Fraction:
        """Σ (x - mean x)·(y - mean y) = Σxy - Σx·Σy / n."""
        count = len(self.numbers)
        products = sum(map(mul, self.numbers, other.numbers))
        rest = count * products - sum(self.numbers) * sum(other.numbers)
        return Fraction(rest, count * self.by * other.by)


def scale(numbers: Sequence[Fraction]) -> Scaled:
    """Fractions times the least common multiple of their denominators."""
    by = math.lcm(*(number.denominator for number in numbers))
    return Scaled([int(number * by) for number in numbers], by)


def fit(series: Sequence[Scaled], values: Scaled, *, ridge: Fraction) -> list[Fraction | None]:
    """Intercept, slopes and R² of a fit; None where they are not determined.

    Series and values are taken less their means, which leaves the intercept out of the equations
    and of what the ridge holds small. What is missed is Σ(y - Σb·x)² = Syy - 2·Σb·Sxy + Σb·b'·Sxx'.
    """
    squares = [[one.spread(other) for other in series] for one in series]
    rows = [[n + ridge * (i == j) for j, n in enumerate(row)] for i, row in enumerate(squares)]
    crossed = [one.spread(values) for one in series]
    slopes = solve(rows, crossed)
    if slopes is None:
        return [None] * (len(series) + 2)
    spread = values.spread(values)
    missed = spread - 2 * _product(slopes, crossed)
    missed += _product(slopes, [_product(slopes, row) for row in squares])
    intercept = values.mean - _product(slopes, [one.mean for one in series])
    return [intercept, *slopes, 1 - missed / spread if spread else None]


def _product(one: Sequence[Fraction], other: Sequence[Fraction]) -> Fraction:
    return sum(map(mul, one, other), Fraction(0))


def solve(table: Sequence[Vector], values: Vector) -> Vector | None:
    """The solution of a square system by elimination; None if it has not exactly one."""
    rows = [[*row, value] for row, value in zip(table, values, strict=True)]
    for step in range(len(rows)):
        pivot = next((n for n in range(step, len(rows)) if rows[n][step]), None)
        if pivot is None:
            return None
        rows[step], rows[pivot] = rows[pivot], rows[step]
        top = [value / rows[step][step] for value in rows[step]]
        rows[step] = top
        for number, row in enumerate(rows):
            if number != step and row[step]:
                rows[number] = [a - row[step] * b for a, b in zip(row, top, strict=True)]
    return [row[-1] for row in rows]
