"""What is asked of every reading of a batch, and what a receipt says of all of them together.

Asked of columns, so that a body of a day and one of a year are judged and counted by the same code:
the one costs no frame, and the other no loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from gridsecure.billing.readings import MINUTE_US, QUALITIES, moment_us
from gridsecure.crypto.sm3 import Sm3
from gridsecure.messages import rejected_line
from gridsecure.periods import billing_month, month_around

OUTSIDE_SCOPE: Final = "outside-scope"
QUALITY_FLAG: Final = "quality-flag"
FUTURE: Final = "future"

RULES: Final = ("", OUTSIDE_SCOPE, QUALITY_FLAG, FUTURE)
"""What rejects a reading: none, or the first of these that does."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

NoteReadings = Callable[[int], None]
"""Told how many readings of a batch were read, after every piece of its body."""


@dataclass(frozen=True, slots=True, eq=False)
class ReadingColumns:
    """Readings of a batch, column by column.

    Args:
        names: Their meter points, each once.
        meters: Which of them each reading is of.
        flags: Their qualities, each once.
        qualities: Which of them each reading has.
        starts: When each interval starts [µs since 1970-01-01 UTC].
        minutes: How long it is; 0 where that is unknown, and for faces.
    """

    names: Sequence[str]
    meters: NDArray[np.int64]
    flags: Sequence[str]
    qualities: NDArray[np.int64]
    starts: NDArray[np.int64]
    minutes: NDArray[np.int64]


def broken_rules(
    readings: ReadingColumns, *, scope: tuple[str, ...], at: datetime
) -> NDArray[np.int8]:
    """Which of `RULES` rejects each reading.

    Args:
        scope: Beginnings of the meter point ids that the source may send.
        at: When the batch came.
    """
    outside = np.array([not name.startswith(scope) for name in readings.names], dtype=bool)
    unknown = np.array([flag not in QUALITIES for flag in readings.flags], dtype=bool)
    ends = readings.starts + readings.minutes * MINUTE_US
    # Written from the last to the first, which stays.
    broken = np.where(ends > moment_us(at), np.int8(RULES.index(FUTURE)), np.int8(0))
    broken[unknown[readings.qualities]] = RULES.index(QUALITY_FLAG)
    broken[outside[readings.meters]] = RULES.index(OUTSIDE_SCOPE)
    return broken


@dataclass(slots=True)
class Counts:
    """What a receipt says of a batch's readings.

    Args:
        timezone: Of the gateway, whose months they are of.
        cycle_day: Day of the month that its billing periods begin on.
        note: Told of them as they are counted.
        starts: First and last start of each part of them [µs since 1970-01-01 UTC].
        accepted: The same of those that no rule rejects.
        months: How many accepted readings lie in each; none in one that faces at its end tell of.
        meter_points: How many accepted readings there are of each.
        has_faces: Whether they are faces of registers.
        passed_over: Values of the body that are not billed, by name.
    """

    timezone: str
    cycle_day: int
    note: NoteReadings = lambda _readings: None
    readings: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    starts: list[int] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)
    months: Counter[str] = field(default_factory=Counter)
    meter_points: Counter[str] = field(default_factory=Counter)
    has_faces: bool = False
    passed_over: Counter[str] = field(default_factory=Counter)
    _list: Sm3 = field(default_factory=Sm3)

    def add(
        self, readings: ReadingColumns, broken: NDArray[np.int8], *, are_faces: bool = False
    ) -> None:
        """Count a part of the readings.

        Args:
            broken: As `broken_rules` gives it.
        """
        starts, meters = readings.starts, readings.meters
        self.starts += [int(starts.min()), int(starts.max())]
        if broken.any():
            self._reject(readings, broken)
            starts, meters = starts[broken == 0], meters[broken == 0]
        self.readings += len(broken)
        if len(starts):
            self.accepted += [int(starts.min()), int(starts.max())]
            self.months.update(self._months_of(starts))
            counts = np.bincount(meters, minlength=len(readings.names)).tolist()
            self.meter_points.update(dict(zip(readings.names, counts, strict=True)))
        if are_faces:
            self.has_faces = True
            # A face also tells of what was used before it; it is counted where it was read.
            self.months.update(dict.fromkeys(self._months_of(starts - 1), 0))
        self.note(self.readings)

    @property
    def rejected_digest(self) -> str:
        """Of the list of rejected readings, as `BatchReceipt` has it."""
        return self._list.hexdigest()

    def _reject(self, readings: ReadingColumns, broken: NDArray[np.int8]) -> None:
        """Count what rules reject, and write it into the list."""
        counts = np.bincount(broken, minlength=len(RULES)).tolist()
        self.rejected.update({name: n for name, n in zip(RULES, counts, strict=True) if name and n})
        places = np.flatnonzero(broken)
        columns = (places, readings.meters[places], readings.starts[places], broken[places])
        lines = (
            rejected_line(
                self.readings + place + 1,
                readings.names[meter],
                start=_EPOCH + timedelta(microseconds=start),
                rule=RULES[rule],
            )
            for place, meter, start, rule in zip(*(one.tolist() for one in columns), strict=True)
        )
        self._list.update("".join(lines).encode())

    def _months_of(self, moments: NDArray[np.int64]) -> dict[str, int]:
        return months_of(moments, timezone=self.timezone, cycle_day=self.cycle_day)


def local_moment(moment: int, *, timezone: str) -> datetime:
    """A moment in local time.

    Args:
        moment: Since 1970-01-01 UTC [µs].
    """
    return (_EPOCH + timedelta(microseconds=moment)).astimezone(ZoneInfo(timezone))


def months_of(moments: NDArray[np.int64], *, timezone: str, cycle_day: int) -> dict[str, int]:
    """Months, YYYY-MM, whose billing periods moments lie in, and how many of them.

    Args:
        moments: Since 1970-01-01 UTC [µs].
        cycle_day: Day of the month that billing periods begin on.
    """
    if not len(moments):
        return {}
    first, last = (
        _month_of(int(edge), timezone, cycle_day) for edge in (moments.min(), moments.max())
    )
    if first == last:
        return {_written(first): len(moments)}
    edges = [_month_start(month, timezone, cycle_day) for month in range(first + 1, last + 1)]
    steps = np.bincount(np.searchsorted(np.array(edges), moments, side="right")).tolist()
    return {_written(first + step): count for step, count in enumerate(steps) if count}


def _month_of(moment: int, timezone: str, cycle_day: int) -> int:
    """The month whose period a moment lies in, counted from January of the year 0."""
    local = local_moment(moment, timezone=timezone)
    year, month = month_around(local, timezone=timezone, cycle_day=cycle_day).month
    return year * 12 + month - 1


@lru_cache(maxsize=4096)
def _month_start(month: int, timezone: str, cycle_day: int) -> int:
    """When a month's period begins [µs since 1970-01-01 UTC]."""
    year, number = month // 12, month % 12 + 1
    start = billing_month(year, number, timezone=timezone, cycle_day=cycle_day).start
    return (start - _EPOCH) // timedelta(microseconds=1)


def _written(month: int) -> str:
    return f"{month // 12}-{month % 12 + 1:02d}"
