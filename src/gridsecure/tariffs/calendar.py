"""A tariff's calendar as people read it: what holds in which months, hour by hour.

A file may write the same hours as few windows or as many; here they are told in one way, so that
two files can be compared and a month can be shown.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import date
from typing import TypeVar

from gridsecure.periods import BillingPeriod, billing_month
from gridsecure.tariffs.cells import ALL_MONTHS
from gridsecure.tariffs.rows import WindowRow
from gridsecure.tariffs.tariff import Tariff

MONTHS_PER_YEAR = 12
Key = TypeVar("Key", bound=Hashable)

Segment = tuple[int, int, str]
"""From a minute of the day to before another, and the label of the hours between."""


def day_segments(windows: Sequence[WindowRow], *, month: int, day_type: str) -> tuple[Segment, ...]:
    """Return the periods of a day in order of time, neighbours of one label joined."""
    segments: list[Segment] = []
    own = [row for row in windows if month in row.months and day_type in row.day_types]
    for row in sorted(own, key=lambda row: row.from_minute):
        if segments and segments[-1][2] == row.tou_period:
            segments[-1] = (segments[-1][0], row.to_minute, row.tou_period)
        else:
            segments.append((row.from_minute, row.to_minute, row.tou_period))
    return tuple(segments)


def clock(minute: int) -> str:
    """Write a minute of the day as a clock time.

    >>> clock(510), clock(1440)
    ('08:30', '24:00')
    """
    return f"{minute // 60:02d}:{minute % 60:02d}"


def months_text(months: Iterable[int]) -> str:
    """Write months as ranges, across the new year where they run on; empty for all of them.

    >>> months_text([1, 2, 3, 4, 11, 12]), months_text([7]), months_text(range(1, 13))
    ('11-4', '7', '')
    >>> months_text([1, 3, 4, 12])
    '12-1, 3-4'
    """
    held = set(months)
    if held == set(ALL_MONTHS):
        return ""
    runs = []
    for month in ALL_MONTHS:
        if month in held and (month - 2) % MONTHS_PER_YEAR + 1 not in held:
            last = month
            while last % MONTHS_PER_YEAR + 1 in held:
                last = last % MONTHS_PER_YEAR + 1
            runs.append((month, last))
    # A run that begins late in the year and goes on in the next one is told first.
    runs.sort(key=lambda run: (run[0] <= run[1], run[0]))
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)


def group_months(values: Mapping[int, Key]) -> dict[Key, tuple[int, ...]]:
    """Group months by what holds in them, in the order of their first month.

    >>> grouped_months({1: "a", 2: "b", 3: "a"})
    {'a': (1, 3), 'b': (2,)}
    """
    groups: dict[Key, tuple[int, ...]] = {}
    for month, value in sorted(values.items()):
        groups[value] = (*groups.get(value, ()), month)
    return groups


def whole_months(tariff: Tariff, *, most: int) -> list[BillingPeriod]:
    """Return the first whole months of a tariff's validity, in order of time.

    Args:
        most: How many at most.
    """
    begin = tariff.valid_from
    first = begin.year * MONTHS_PER_YEAR + begin.month - 1 + (begin.day > 1)
    months = []
    for number in range(first, first + most):
        year, month = divmod(number, MONTHS_PER_YEAR)
        following = divmod(number + 1, MONTHS_PER_YEAR)
        if (
            tariff.valid_to is not None
            and date(following[0], following[1] + 1, 1) > tariff.valid_to
        ):
            break
        months.append(billing_month(year, month + 1, timezone=tariff.timezone))
    return months
