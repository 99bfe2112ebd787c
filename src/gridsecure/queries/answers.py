"""Answers: tidy frames of what a question's totals come to, one row a number, with its unit.

Invariants: totals are whole numbers and are computed with as fractions; a quotient is rounded once,
half up, to 6 decimals, and everything else is exact. No float is computed with. A number of which
any part is withheld is withheld: no sum is of less than it says. Nothing here knows where totals
come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Final

import pandas as pd

from gridsecure.errors import InputError
from gridsecure.queries import curves, fits, forecasts, revenue, spreads
from gridsecure.queries.forms import (
    CoincidentPeak,
    Concentration,
    Difference,
    Forecast,
    Form,
    Histogram,
    Index,
    LoadFactor,
    Loss,
    Mean,
    Quantiles,
    Ratio,
    Regression,
    Saving,
    Score,
    Share,
    Shift,
    Sum,
    Variance,
    Variation,
    WhatIf,
)
from gridsecure.queries.language import Question
from gridsecure.queries.lines import (
    NOT_GIVEN,
    PERCENT,
    Asked,
    Line,
    Lines,
    lack_values,
    less,
    quotient_line,
    times,
    total_line,
)
from gridsecure.queries.totals import Totals, list_crowds, list_minutes

_COLUMNS: Final = ("start", "end", "quantity", "value", "unit", "meter_points", "state")
UNCERTAINTY: Final = "uncertainty"
"""The column of how near to the exact number one with noise is."""


def answer_question(question: Question, legs: Sequence[Totals]) -> pd.DataFrame:
    """What a question's totals come to.

    Args:
        legs: The totals of each of `question.legs`.

    Returns:
        Frame with a column for each name in `group_by`, then `start`, `end`, `quantity`, `value`
        (Decimal, None unless it is told), `unit`, `meter_points` and `state`; of a question with
        noise also `uncertainty` (Decimal): the exact number is so near in 95 of 100 cases, and None
        stands where that is not known. Rows are in the order of groups and steps.

    Raises:
        InputError: Series do not fit the steps (`query.steps`), rates cut one (`query.interval`),
            or there is no step (`query.no-steps`).
        ValueError: The totals are those of another question.
    """
    if [set(leg.totals) for leg in question.legs] != [set(totals.values) for totals in legs]:
        raise ValueError("the totals are those of another question")
    if not all(totals.steps for totals in legs):
        raise InputError(
            "Nothing of what the question asks about was told.",
            reason="query.no-steps",
            remedy="Compare its days and hours with those that there are readings of.",
        )
    own, *bases = [list_asked(*leg) for leg in zip(question.legs, legs, strict=True)]
    rows = []
    for values, asked in own.items():
        lines = (
            _compare_periods(question, asked, bases[0].get(values))
            if bases
            else _LINES[type(question.statistic)](asked, question.statistic)
        )
        points = asked.own.points
        rows += [
            (
                *(*values, *line.span, line.quantity, line.value, line.unit, points, line.state),
                *((line.uncertainty,) if question.private else ()),
            )
            for line in lines
        ]
    columns = [*question.group_by, *_COLUMNS, *((UNCERTAINTY,) if question.private else ())]
    return pd.DataFrame(rows, columns=columns, dtype=object)


def list_asked(question: Question, totals: Totals) -> dict[tuple[str, ...], Asked]:
    """What a statistic is computed of, by group."""
    minutes = list_minutes(question, totals)
    return {
        own.values: Asked(question, own, second, totals.steps, minutes)
        for own, second in list_crowds(question, totals)
    }


def _sums(asked: Asked, _statistic: Sum) -> Iterator[Line]:
    for span, number in zip(asked.spans, asked.numbers, strict=True):
        line = total_line(asked, span, asked.quantity, number)
        yield line.with_noise(asked.own.noise, worth=asked.worth)


def _means(asked: Asked, mean: Mean) -> Iterator[Line]:
    many = asked.own.customers if mean.per == "customer" else asked.own.points
    for span, number in zip(asked.spans, asked.numbers, strict=True):
        numbers = times(number, asked.worth), many
        name = mean.per.replace("_", " ")
        line = quotient_line(span, f"mean {asked.quantity}", numbers, f"{asked.unit} per {name}")
        yield line.with_noise(asked.own.noise, worth=asked.worth / max(many, 1))


def _shares(asked: Asked, _statistic: Share) -> Iterator[Line]:
    pairs = zip(asked.numbers, asked.numbers_of(asked.second), strict=True)
    for span, (own, whole) in zip(asked.spans, pairs, strict=True):
        yield quotient_line(span, f"share of {asked.quantity}", (times(own, 100), whole), PERCENT)


def _differences(asked: Asked, _statistic: Difference) -> Iterator[Line]:
    pairs = zip(asked.numbers, asked.numbers_of(asked.second), strict=True)
    # What both cohorts have in common falls out of the difference, and is counted as if it did not.
    noise = (*asked.own.noise, *asked.second.noise)
    for span, (own, other) in zip(asked.spans, pairs, strict=True):
        line = total_line(asked, span, f"difference in {asked.quantity}", less(own, other))
        yield line.with_noise(noise, worth=asked.worth)


def _ratios(asked: Asked, ratio: Ratio) -> Iterator[Line]:
    """What meter points used per what the asker knows of them, or the other way round."""
    if isinstance(ratio.given, str):
        raise lack_values("given")
    amounts = {tuple(given.group): Fraction(given.amount) for given in ratio.given}
    amount = amounts.get(asked.own.values)
    unit = PERCENT if ratio.is_share else f"{asked.unit} per {ratio.unit}"
    for span, number in zip(asked.spans, asked.numbers, strict=True):
        total = times(number, asked.worth)
        if amount is None:
            yield Line(span, f"ratio of {asked.quantity}", None, unit, NOT_GIVEN)
        elif ratio.is_share:
            yield quotient_line(span, f"share of {asked.quantity}", (100 * amount, total), unit)
        else:
            yield quotient_line(span, f"ratio of {asked.quantity}", (total, amount), unit)


def _compare_periods(question: Question, asked: Asked, base: Asked | None) -> Iterator[Line]:
    """A group's numbers beside those that it had in the base period."""
    numbers = asked.numbers if base is None else base.numbers
    known = [None] * len(numbers) if base is None else numbers
    if isinstance(question.statistic, Shift):
        yield from curves.shift_lines(asked, question.statistic, base=base)
        return
    if isinstance(question.statistic, Index):
        minutes = asked.minutes if base is None else base.minutes
        yield from curves.index_lines(asked, base=known, minutes=minutes)
        return
    if len(known) != len(asked.steps):
        raise InputError(
            f"The period has {len(asked.steps)} steps, and its base has {len(known)}.",
            reason="query.steps",
            remedy='Ask every "month", or compare periods of one length.',
        )
    noise = (*asked.own.noise, *(base.own.noise if base else ()))
    for span, own, before in zip(asked.spans, asked.numbers, known, strict=True):
        line = total_line(asked, span, f"difference in {asked.quantity}", less(own, before))
        yield line.with_noise(noise, worth=asked.worth)


_LINES: Final[dict[type[Form], Lines]] = {
    Sum: _sums,
    Mean: _means,
    Share: _shares,
    Difference: _differences,
    Ratio: _ratios,
    LoadFactor: curves.load_factor_lines,
    CoincidentPeak: curves.coincident_peak_lines,
    Saving: curves.saving_lines,
    Loss: curves.loss_lines,
    Forecast: forecasts.forecast_lines,
    WhatIf: revenue.revenue_lines,
    Histogram: spreads.histogram_lines,
    Quantiles: spreads.quantile_lines,
    Variance: spreads.variance_lines,
    Variation: spreads.variation_lines,
    Concentration: spreads.concentration_lines,
    Regression: fits.regression_lines,
    Score: fits.score_lines,
}
_COMPARING: Final[dict[type[Form], str]] = {
    Index: curves.index_lines.__module__,
    Shift: curves.shift_lines.__module__,
}
"""Those that compare periods by a function of their own."""


def computing_module(form: type[Form]) -> str:
    """The module that computes a statistic, by its dotted name."""
    return _COMPARING.get(form) or _LINES[form].__module__
