"""Revenue under rates that the asker names: totals times rates, which nobody else sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Final

from gridsecure.errors import InputError
from gridsecure.queries.forms import Rate, WhatIf
from gridsecure.queries.language import BILL_WHAT_IF
from gridsecure.queries.lines import WH_PER_KWH, YUAN, Asked, Line, Span, exact_line, times
from gridsecure.queries.spans import clock_minutes

_FEN: Final = 100


def revenue_lines(asked: Asked, what_if: WhatIf) -> Iterator[Line]:
    """R = Σ p·E over all steps, by name of rate and in all, and beside that of other rates."""
    if what_if.rates is None:
        for span, fen in zip(asked.spans, asked.own.numbers[BILL_WHAT_IF], strict=True):
            yield exact_line(span, "revenue", times(fen, Fraction(1, _FEN)), YUAN)
        return
    by_name, revenue = _sum_up(asked, what_if.rates)
    for name, amount in by_name.items():
        yield exact_line(asked.whole, f"revenue at {name}", amount, YUAN)
    yield exact_line(asked.whole, "revenue", revenue, YUAN)
    if what_if.against is not None:
        _, before = _sum_up(asked, what_if.against)
        gain = None if revenue is None or before is None else revenue - before
        yield exact_line(asked.whole, "revenue of those before", before, YUAN)
        yield exact_line(asked.whole, "difference in revenue", gain, YUAN)


def _sum_up(
    asked: Asked, rates: Sequence[Rate]
) -> tuple[dict[str, Fraction | None], Fraction | None]:
    """Revenue by name of rate, and in all [yuan]."""
    parts: dict[str, list[Fraction | None]] = {rate.name: [] for rate in rates if rate.name}
    whole: list[Fraction | None] = []
    for span, number in zip(asked.spans, asked.numbers, strict=True):
        rate = find_rate(rates, span)
        whole.append(times(number, Fraction(rate.yuan_per_kwh) / WH_PER_KWH))
        if rate.name:
            parts[rate.name].append(whole[-1])
    return {name: _sum(found) for name, found in parts.items()}, _sum(whole)


def _sum(amounts: Sequence[Fraction | None]) -> Fraction | None:
    told = [amount for amount in amounts if amount is not None]
    return sum(told, Fraction(0)) if len(told) == len(amounts) else None


def find_rate(rates: Sequence[Rate], span: Span) -> Rate:
    """The rate that holds all of a step long.

    Raises:
        InputError: Rates change within it (`query.interval`).
    """
    if len(rates) == 1:
        return rates[0]
    start, end = map(datetime.fromisoformat, span)
    low = clock_minutes(start)
    high = low + (end - start) // timedelta(minutes=1)
    for rate in rates:
        if rate.when is None or not rate.when.has_day(start.date()):
            continue
        # What lies within a day's windows that follow each other is one window for a whole day.
        if rate.when.clock is None or any(a <= low and high <= b for a, b in rate.when.windows):
            return rate
    raise InputError(
        "A rate changes within a step.",
        reason="query.interval",
        remedy="Ask for times that the meters' intervals begin and end at.",
    )
