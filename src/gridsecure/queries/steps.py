"""Steps: which interval of a day a question counts when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gridsecure.errors import InputError
from gridsecure.queries.language import Question
from gridsecure.queries.spans import DAY_MINUTES, EVERY_HOUR, clock_minutes

LEFT_OUT: Final = -1
_MINUTE: Final = timedelta(minutes=1)


def find_steps(
    question: Question, times: Sequence[str]
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The step that each interval of a local day counts in.

    Days of one month all have the step "month", which begins with the period: steps of different
    days that begin at the same time are one.

    Args:
        times: Where the day's intervals begin, and the last one ends, as
            `plans.load_curve.interval_times` gives them.

    Returns:
        Per interval the number of its step, -1 where it is left out, and where the day's steps
        begin; nothing, of a day that is not asked about.

    Raises:
        InputError: A step or a window of the clock begins within an interval (`query.interval`).
    """
    moments = [datetime.fromisoformat(text) for text in times]
    numbers = np.full(len(moments) - 1, LEFT_OUT, dtype=np.int64)
    day, span = moments[0].date(), question.period.span
    if not question.has_day(day) or not span.start <= moments[0] < span.end:
        return numbers, ()
    windows = question.when.windows if question.when else EVERY_HOUR
    starts: dict[str, int] = {}
    for number, (begin, end) in enumerate(pairwise(moments)):
        if _is_inside(begin, end, windows=windows):
            start = _step_start(question, begin, end, day=moments[0])
            numbers[number] = starts.setdefault(start, len(starts))
    return numbers, tuple(starts)


def step_end(question: Question, start: str) -> str:
    """Where an hour, day or month ends that begins at a time; intervals end as meters have them.

    Args:
        start: ISO 8601 with the local offset.

    Raises:
        ValueError: The steps are intervals.
    """
    if question.every == "month":
        return question.period.span.end.isoformat()
    begin = datetime.fromisoformat(start)
    zone = question.period.span.start.tzinfo
    if question.every == "hour":
        return (begin + timedelta(hours=1)).astimezone(zone).isoformat()
    if question.every == "interval":
        raise ValueError("intervals are as long as those of the meters")
    following = begin.date() + timedelta(days=1)
    return datetime(following.year, following.month, following.day, tzinfo=zone).isoformat()


def step_minutes(question: Question, start: str, end: str) -> int:
    """How much time of a step is asked about [min].

    Args:
        start: Its start, ISO 8601 with the local offset.
        end: Its end, exclusive.
    """
    first, last = datetime.fromisoformat(start), datetime.fromisoformat(end)
    if question.when is None and question.has_day(first.date()) and first.date() == last.date():
        return (last - first) // _MINUTE
    windows = question.when.windows if question.when else EVERY_HOUR
    return sum(
        _overlap(first, last, begin=begin, end=end)
        for day in _days_between(first.date(), last.date())
        if question.has_day(day)
        for begin, end in _moments(question, day, windows=windows)
    )


def _is_inside(begin: datetime, end: datetime, *, windows: Sequence[tuple[int, int]]) -> bool:
    low = clock_minutes(begin)
    high = low + (end - begin) // _MINUTE  # the clock may be set at its very end
    for first, last in windows:
        if first <= low and high <= last:
            return True
        if max(first, low) < min(last, high):
            raise _cut("A window of the clock begins or ends within an interval.")
    return False


def _step_start(question: Question, begin: datetime, end: datetime, *, day: datetime) -> str:
    if question.every == "interval":
        return begin.isoformat()
    if question.every == "day":
        return day.isoformat()
    if question.every == "month":
        return question.period.span.start.isoformat()
    hour = begin.replace(minute=0, second=0)
    if end - hour > timedelta(hours=1):
        raise _cut("An hour ends within an interval.")
    return hour.isoformat()


def _cut(message: str) -> InputError:
    return InputError(
        message,
        reason="query.interval",
        remedy="Ask for times that the meters' intervals begin and end at.",
    )


def _days_between(first: date, last: date) -> Iterator[date]:
    while first <= last:
        yield first
        first += timedelta(days=1)


def _moments(
    question: Question, day: date, *, windows: Sequence[tuple[int, int]]
) -> Iterator[tuple[datetime, datetime]]:
    """Windows of a local day as moments."""
    zone = question.period.span.start.tzinfo
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    for window in windows:
        first, last = (
            midnight + timedelta(days=minutes // DAY_MINUTES, minutes=minutes % DAY_MINUTES)
            for minutes in window
        )
        yield first, last


def _overlap(first: datetime, last: datetime, *, begin: datetime, end: datetime) -> int:
    low, high = max(first, begin), min(last, end)
    # Moments of one ZoneInfo are subtracted on the wall clock; in UTC they are not.
    return max(0, int((high.timestamp() - low.timestamp()) // 60))
