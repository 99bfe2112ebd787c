"""The billing period that every interval belongs to: exactly one, the one that holds all of it."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from gridsecure.errors import InvalidReadingsError
from gridsecure.month_texts import CALENDAR
from gridsecure.periods import BillingPeriod, billing_month

Lengths = pd.Timedelta | npt.NDArray[np.int64]
"""One length for all intervals, or each one's own [minutes]."""

_NANOSECONDS_PER_MINUTE = 60_000_000_000


def month_numbers(local: pd.DatetimeIndex, *, cycle_day: int) -> npt.NDArray[np.int64]:
    """The month that names the period each local moment lies in, counted from year 0.

    >>> moments = pd.DatetimeIndex(["2026-07-15 23:45", "2026-07-16"])
    >>> (month_numbers(moments, cycle_day=16) % 12 + 1).tolist()
    [7, 8]
    """
    numbers = local.year.to_numpy(np.int64) * 12 + local.month.to_numpy(np.int64) - 1
    if cycle_day > CALENDAR:
        numbers += local.day.to_numpy() >= cycle_day
    return numbers


def assign_periods(
    starts: pd.Series[pd.Timestamp],
    *,
    interval: Lengths,
    timezone: str,
    cycle_day: int = CALENDAR,
) -> tuple[npt.NDArray[np.int64], tuple[BillingPeriod, ...]]:
    """Find the billing period that each interval lies in.

    Args:
        starts: Interval starts, aware.
        interval: Length of the intervals, one for all or each one's own [minutes].
        timezone: IANA name of the local time that months are counted in.
        cycle_day: Day of the month that periods begin on.

    Returns:
        For each interval the position of its period, and the periods in order of time.

    Raises:
        InvalidReadingsError: An interval lies in two periods (`period.straddles-month`).
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
    codes, months = pd.factorize(month_numbers(local, cycle_day=cycle_day), sort=True)
    periods = tuple(
        billing_month(
            int(number) // 12, int(number) % 12 + 1, timezone=timezone, cycle_day=cycle_day
        )
        for number in months
    )
    period_ends = np.array([_nanoseconds(period.end) for period in periods], dtype=np.int64)
    room_ns = period_ends[codes] - local.as_unit("ns").asi8
    beyond = length_ns > room_ns[positions]
    if bool(beyond.any()):
        first = local[positions[beyond]][0]
        raise InvalidReadingsError(
            f"The interval from {first:%Y-%m-%d %H:%M:%S} begins in one billing period and"
            " ends in the next.",
            reason="period.straddles-month",
            remedy="Align the readings to local midnight at the turn of the period.",
        )
    return codes.astype(np.int64)[positions], periods


def _nanoseconds(moment: datetime) -> int:
    return int(pd.Timestamp(moment).as_unit("ns").value)
