"""What explains a load curve: regression on public series, and weighted sums.

The normal equations are solved in fractions, so a fit has no rounding but that of what is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

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
    for name, values in regression.series.items():
        check_series(asked, values, field=f"series.{name}")
    names = sorted(regression.series)
    units = [KWH, *(f"{KWH} per unit" for _ in names), ""]
    quantities = ["intercept", *(f"slope of {name}" for name in names), "R²"]
    energies = [Fraction(n, WH_PER_KWH) for n in asked.numbers if n is not None]
    if len(energies) < len(asked.steps):
        for quantity, unit in zip(quantities, units, strict=True):
            yield Line(asked.whole, quantity, None, unit, WITHHELD)
        return
    series = [[Fraction(value) for value in regression.series[name]] for name in names]
    found = fit(series, energies, ridge=Fraction(regression.ridge))
    for quantity, unit, number in zip(quantities, units, found, strict=True):
        if number is None:
            yield Line(asked.whole, quantity, None, unit, UNDEFINED)
        else:
            yield quotient_line(asked.whole, quantity, (number, 1), unit)


def fit(series: Sequence[Vector], values: Vector, *, ridge: Fraction) -> list[Fraction | None]:
    """Intercept, slopes and R² of a fit; None where they are not determined.

    Series and values are taken less their means, which leaves the intercept out of the equations
    and of what the ridge holds small.
    """
    count = len(values)
    means = [sum(one, Fraction(0)) / count for one in series]
    mean = sum(values, Fraction(0)) / count
    centred = [[x - m for x in one] for one, m in zip(series, means, strict=True)]
    rests = [value - mean for value in values]
    table = [
        [_product(one, other) + (ridge if one is other else 0) for other in centred]
        for one in centred
    ]
    slopes = solve(table, [_product(one, rests) for one in centred])
    if slopes is None:
        return [None] * (len(series) + 2)
    intercept = mean - _product(slopes, means)
    spread = _product(rests, rests)
    missed = [
        rest - sum((b * one[step] for b, one in zip(slopes, centred, strict=True)), Fraction(0))
        for step, rest in enumerate(rests)
    ]
    explained = 1 - _product(missed, missed) / spread if spread else None
    return [intercept, *slopes, explained]


def _product(one: Sequence[Fraction], other: Sequence[Fraction]) -> Fraction:
    return sum((a * b for a, b in zip(one, other, strict=True)), Fraction(0))


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
