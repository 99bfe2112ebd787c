"""Day-ahead forecasts from load curves, with the error that they would have had.

A day is forecast, step by step, as the mean of the last days of its kind: Monday to Friday, or
Saturday and Sunday. The error is that of the same rule for every day of the period that has as many
days of its kind before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta, tzinfo
from fractions import Fraction
from typing import Final

from gridsecure.queries.forms import Forecast
from gridsecure.queries.lines import (
    KWH,
    PERCENT,
    UNDEFINED,
    WH_PER_KWH,
    WITHHELD,
    Asked,
    Line,
    Span,
    quotient_line,
)

_SATURDAY: Final = 5
_DAY: Final = timedelta(days=1)
Curve = dict[str, int]
"""Energy of a day's steps by clock time [Wh]."""


def forecast_lines(asked: Asked, forecast: Forecast) -> Iterator[Line]:
    """The steps of the day after the last one, then the mean error and its share of energy."""
    if None in asked.numbers:
        yield Line(asked.whole, "forecast", None, KWH, WITHHELD)
        return
    curves = _by_day(asked)
    last = max(curves)
    zone = asked.question.period.span.start.tzinfo
    found = predict(curves, last + _DAY, days=forecast.days)
    for span in asked.spans:
        if date.fromisoformat(span[0][:10]) == last:
            value = None if found is None else found[span[0][11:16]] / WH_PER_KWH
            yield _line(_next_day(span, zone=zone), "forecast", value, KWH)
    missed, used, steps = _test(curves, days=forecast.days)
    error = Fraction(missed, WH_PER_KWH * steps) if steps else None
    yield _line(asked.whole, "mean absolute error", error, KWH)
    share = 100 * missed / used if used else None
    yield _line(asked.whole, "absolute error per energy", share, PERCENT)


def _line(span: Span, quantity: str, number: Fraction | None, unit: str) -> Line:
    if number is None:
        return Line(span, quantity, None, unit, UNDEFINED)
    return quotient_line(span, quantity, (number, 1), unit)


def _by_day(asked: Asked) -> dict[date, Curve]:
    """The curves of days with the last day's clock times, of which none lacks or is there twice."""
    days: dict[date, list[tuple[str, int]]] = {}
    for (start, _), number in zip(asked.spans, asked.numbers, strict=True):
        days.setdefault(date.fromisoformat(start[:10]), []).append((start[11:16], number or 0))
    clocks = [clock for clock, _ in days[max(days)]]
    return {day: dict(steps) for day, steps in days.items() if [c for c, _ in steps] == clocks}


def predict(curves: dict[date, Curve], day: date, *, days: int) -> dict[str, Fraction] | None:
    """The mean curve of the last days of a day's kind [Wh]; None if there are not as many.

    Args:
        curves: Those of earlier and later days, of which the later ones are not looked at.
        days: How many the mean is of.
    """
    kind = day.weekday() >= _SATURDAY
    before = [d for d in sorted(curves) if d < day and (d.weekday() >= _SATURDAY) == kind][-days:]
    if len(before) < days:
        return None
    return {
        clock: Fraction(sum(curves[d][clock] for d in before), days) for clock in curves[before[0]]
    }


def _test(curves: dict[date, Curve], *, days: int) -> tuple[Fraction, int, int]:
    """The sum of absolute errors [Wh], the energy of what was forecast [Wh], and its steps."""
    missed, used, steps = Fraction(0), 0, 0
    for day, curve in curves.items():
        found = predict(curves, day, days=days)
        if found is not None:
            missed += sum((abs(found[clock] - wh) for clock, wh in curve.items()), Fraction(0))
            used += sum(curve.values())
            steps += len(curve)
    return missed, used, steps


def _next_day(span: Sequence[str], *, zone: tzinfo | None) -> Span:
    start, end = (datetime.fromisoformat(text).astimezone(zone) + _DAY for text in span)
    return start.isoformat(), end.isoformat()
