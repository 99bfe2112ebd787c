"""How fine the numbers of a question are, by what it counts when: policy permits by that.

Whoever may leave an interval out of a longer step can subtract, and so learns of that interval. So
what counts is not how long steps are, but what they divide: a question is as fine as the finest
time that two of its kind can differ by.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from gridsecure.month_texts import read_moment
from gridsecure.periods import is_day
from gridsecure.policy.decisions import Spanned
from gridsecure.policy.language import Resolution


def question_resolution(
    steps: Mapping[str, Sequence[int]], columns: Mapping[str, Spanned], *, start: str, end: str
) -> Resolution:
    """How fine a question is: "monthly" where it counts all of a month as one.

    Args:
        steps: By quantity, the step of each interval, negative where it is in none.
        columns: The column of each quantity, of any roster.
        start: Of the period that was asked about.
        end: Its end, exclusive.
    """
    days = [is_day(columns[name].start, columns[name].end) for name in steps]
    if not all(days) or any(len(set(own)) > 1 for own in steps.values()):
        return "interval"
    is_one = {step for own in steps.values() for step in own} == {0}
    spans = sorted((columns[name].start, columns[name].end) for name in steps)
    ends = [*(begin for begin, _ in spans[1:]), end]
    is_whole = spans[0][0] == start and all(
        _is_same(own, following) for (_, own), following in zip(spans, ends, strict=True)
    )
    return "monthly" if is_one and is_whole and is_month(start, end) else "daily"


def is_of_month(columns: Iterable[Spanned], *, start: str, end: str) -> bool:
    """Whether columns are each of one whole billing month: such numbers are "monthly".

    Args:
        start: Of the period that was asked about.
        end: Its end, exclusive.
    """
    return is_month(start, end) and all(
        _is_same(one.start, start) and _is_same(one.end, end) and one.intervals == 1
        for one in columns
    )


def _is_same(one: str, other: str) -> bool:
    """Whether two texts are one moment; the clock may be set between them."""
    first, second = read_moment(one), read_moment(other)
    return first is not None and first == second


def is_month(start: str, end: str) -> bool:
    """Whether a period is a billing month: from one day of a month to the same of the next."""
    first, last = map(datetime.fromisoformat, (start, end))
    months = (last.year - first.year) * 12 + last.month - first.month
    return months == 1 and (first.day, first.time()) == (last.day, last.time())
