"""Billing periods: half-open local months, and the month every interval belongs to.

Invariants: both ends are aware; `start < end`; an interval belongs to exactly one period, the one
that holds all of it. A period spans local calendar months, so its length in hours changes where
the clock changes, and its length in days is counted on the local calendar.

Not handled here: tariffs that change mid-month. Who moves in or out within a month is billed over
the month, with the readings of its own days (`gateway.books.months`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from gridsecure.errors import InputError, InvalidReadingsError
from gridsecure.month_texts import check_year

Lengths = pd.Timedelta | npt.NDArray[np.int64]
"""One length for all intervals, or each one's own [minutes]."""

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NANOSECONDS_PER_MINUTE = 60_000_000_000


@dataclass(frozen=True, slots=True, order=True)
class BillingPeriod:
    """The half-open time `[start, end)` that one bill covers.

    Args:
        start: First instant of the period, aware, in the tariff's local time.
        end: First instant after the period, aware, in the same zone.

    Raises:
        ValueError: An end without a zone, or an end that is not after the start.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("a billing period needs aware datetimes")
        if self.end <= self.start:
            raise ValueError("a billing period ends after it starts")

    @property
    def days(self) -> int:
        """Local calendar days in the period [days]."""
        return (self.end.date() - self.start.date()).days


def billing_month(year: int, month: int, *, timezone: str) -> BillingPeriod:
    """Return the local calendar month as a billing period.

    Args:
        month: Calendar month, 1 to 12.
        timezone: IANA name of the local time, as `Asia/Shanghai`.

    Raises:
        InputError: A year without electricity bills (`month.year`).

    >>> billing_month(2025, 12, timezone="Asia/Shanghai").end.isoformat()
    '2026-01-01T00:00:00+08:00'
    """
    check_year(year)
    tzinfo = ZoneInfo(timezone)
    following = (year + month // 12, month % 12 + 1)
    return BillingPeriod(
        start=datetime(year, month, 1, tzinfo=tzinfo),
        end=datetime(*following, 1, tzinfo=tzinfo),
    )


def local_day(text: str, *, timezone: str) -> BillingPeriod:
    """Return a local calendar day as a period.

    Args:
        text: YYYY-MM-DD.
        timezone: IANA name of the local time.

    Raises:
        InputError: Not a day (`day.format`), or a year without electricity bills (`month.year`).

    >>> local_day("2025-12-31", timezone="Asia/Shanghai").end.isoformat()
    '2026-01-01T00:00:00+08:00'
    """
    if _DAY.fullmatch(text) is None:
        raise _no_day()
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise _no_day() from error
    check_year(day.year)
    tzinfo, following = ZoneInfo(timezone), day + timedelta(days=1)
    return BillingPeriod(
        *(datetime(d.year, d.month, d.day, tzinfo=tzinfo) for d in (day, following))
    )


def month_around(moment: datetime, *, timezone: str) -> BillingPeriod:
    """The local calendar month that a moment lies in.

    Args:
        moment: Aware.
        timezone: IANA name of the local time.
    """
    local = moment.astimezone(ZoneInfo(timezone))
    return billing_month(local.year, local.month, timezone=timezone)


def _no_day() -> InputError:
    return InputError(
        "This is not a day.",
        reason="day.format",
        remedy="Write year, month and day as in 2026-07-31.",
    )


def assign_periods(
    starts: pd.Series[pd.Timestamp], *, interval: Lengths, timezone: str
) -> tuple[npt.NDArray[np.int64], tuple[BillingPeriod, ...]]:
    """Find the local month that each interval lies in.

    Args:
        starts: Interval starts, aware.
        interval: Length of the intervals, one for all or each one's own [minutes].
        timezone: IANA name of the local time that months are counted in.

    Returns:
        For each interval the position of its period, and the periods in order of time.

    Raises:
        InvalidReadingsError: An interval lies in two months (`period.straddles-month`).
        ValueError: Starts without a zone, or an interval that is not positive.
    """
    if isinstance(interval, pd.Timedelta):
        length_ns = np.array(interval.as_unit("ns").value, dtype=np.int64)
    else:
        length_ns = interval * _NANOSECONDS_PER_MINUTE
    if bool((length_ns <= 0).any()):
        raise ValueError("an interval is longer than nothing")
    instants = pd.DatetimeIndex(starts)
    if instants.tz is None:
        raise ValueError("interval starts must be aware")
    # The same start recurs for every meter point, so months are found once per distinct start.
    positions, distinct = pd.factorize(instants, use_na_sentinel=False)
    local = pd.DatetimeIndex(distinct).tz_convert(timezone)
    month_numbers = (local.year * 12 + local.month - 1).to_numpy(np.int64)
    codes, months = pd.factorize(month_numbers, sort=True)
    periods = tuple(
        billing_month(int(number) // 12, int(number) % 12 + 1, timezone=timezone)
        for number in months
    )
    period_ends = np.array([_nanoseconds(period.end) for period in periods], dtype=np.int64)
    room_ns = period_ends[codes] - local.as_unit("ns").asi8
    beyond = length_ns > room_ns[positions]
    if bool(beyond.any()):
        first = local[positions[beyond]][0]
        raise InvalidReadingsError(
            f"The interval from {first:%Y-%m-%d %H:%M:%S} begins in one local month and"
            " ends in the next.",
            reason="period.straddles-month",
            remedy="Align the readings to local midnight at the turn of the month.",
        )
    return codes.astype(np.int64)[positions], periods


def _nanoseconds(moment: datetime) -> int:
    return int(pd.Timestamp(moment).as_unit("ns").value)
