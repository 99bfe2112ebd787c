"""How the meter points of a group differ: bins, quantiles, variance.

Bins come from numbers of meter points at or above an edge, A(e). With n meter points, as many as
n - A(e) are below it.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import Final

from gridsecure.queries.forms import Concentration, Histogram, Quantiles, Variance, Variation
from gridsecure.queries.language import AT_LEAST, SQUARED
from gridsecure.queries.lines import (
    KWH,
    OPEN,
    PERCENT,
    POINTS,
    TOLD,
    UNDEFINED,
    WH_PER_KWH,
    WITHHELD,
    Asked,
    Line,
    Span,
    less,
    quotient_line,
    times,
)
from gridsecure.queries.numbers import round_half_up, round_root, shift
from gridsecure.queries.totals import Told

_SQUARED: Final = Fraction(1, WH_PER_KWH**2)


def histogram_lines(asked: Asked, histogram: Histogram) -> Iterator[Line]:
    """The meter points of each bin: less than the first edge, …, at least the last one."""
    edges, points = histogram.edges_kwh, asked.own.points
    names = [f"below {edges[0]} kWh", *(f"{a} to {b} kWh" for a, b in pairwise(edges)),
             f"{edges[-1]} kWh and more"]  # fmt: skip
    for span, above in _list_above(asked, edges):
        for name, (low, high) in zip(names, pairwise([points, *above, 0]), strict=True):
            number = less(low, high)
            if histogram.shown == "share":
                yield quotient_line(span, name, (times(number, 100), points), PERCENT)
            elif number is None:
                yield Line(span, name, None, POINTS, WITHHELD)
            else:
                yield Line(span, name, shift(number, places=0), POINTS)


def quantile_lines(asked: Asked, quantiles: Quantiles) -> Iterator[Line]:
    """Quantiles, by a straight line between the edges that they lie between.

    Between edges a and b with F(a) < p·n <= F(b), where F(e) = n - A(e), F(0) = 0:
    a + (b - a)·(p·n - F(a)) / (F(b) - F(a)).
    """
    edges, points = [0, *quantiles.edges_kwh], asked.own.points
    for span, above in _list_above(asked, quantiles.edges_kwh):
        below = [0, *(less(points, number) for number in above)]
        for text in quantiles.points:
            name = f"quantile {text}"
            told = [number for number in below if number is not None]
            if len(told) < len(below):
                yield Line(span, name, None, KWH, WITHHELD)
                continue
            value = _between(edges, told, wanted=Fraction(text) * points) if points else None
            state = TOLD if value is not None else OPEN if points else UNDEFINED
            yield Line(span, name, None if value is None else round_half_up(value), KWH, state)


def _list_above(asked: Asked, edges: list[int]) -> Iterator[tuple[Span, list[Told]]]:
    columns = [asked.own.numbers[f"{AT_LEAST}{edge}"] for edge in edges]
    for step, span in enumerate(asked.spans):
        yield span, [column[step] for column in columns]


def _between(edges: list[int], below: list[int], *, wanted: Fraction) -> Fraction | None:
    for (low, high), (before, until) in zip(pairwise(edges), pairwise(below), strict=True):
        if before < wanted <= until:
            return low + (high - low) * (wanted - before) / (until - before)
    return None


def variance_lines(asked: Asked, _statistic: Variance) -> Iterator[Line]:
    """The variance of all n meter points, Σx²/n - (Σx/n)²."""
    for span, number in _spread(asked):
        quotient = times(number, _SQUARED), asked.own.points**2
        yield quotient_line(span, "variance of energy", quotient, f"{KWH}²")


def variation_lines(asked: Asked, _statistic: Variation) -> Iterator[Line]:
    """Standard deviation over mean: √(n·Σx² - (Σx)²) / Σx."""
    for (span, number), total in zip(_spread(asked), asked.numbers, strict=True):
        if number is None or total is None:
            yield Line(span, "variation of energy", None, "", WITHHELD)
        elif total == 0:
            yield Line(span, "variation of energy", None, "", UNDEFINED)
        else:
            yield Line(span, "variation of energy", round_root(Fraction(number, total**2)), "")


def concentration_lines(asked: Asked, _statistic: Concentration) -> Iterator[Line]:
    """The sum of squared shares, Σx²/(Σx)²: 1/n where all are alike, 1 where one has everything."""
    squares = asked.own.numbers[asked.name + SQUARED]
    for span, total, square in zip(asked.spans, asked.numbers, squares, strict=True):
        numbers = square, None if total is None else total**2
        yield quotient_line(span, "concentration of energy", numbers, "")


def _spread(asked: Asked) -> Iterator[tuple[Span, Told]]:
    """n·Σx² - (Σx)² of each step [Wh²]."""
    squares = asked.own.numbers[asked.name + SQUARED]
    for span, total, square in zip(asked.spans, asked.numbers, squares, strict=True):
        if total is None or square is None:
            yield span, None
        else:
            yield span, asked.own.points * square - total**2
