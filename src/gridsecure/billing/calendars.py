"""Which time-of-use period an interval lies in.

Invariant: every local minute has exactly one label (the tariff's windows were checked for that),
so every interval that fits inside one label's hours is labelled exactly once. An interval that
holds minutes of two labels is refused: its energy cannot be divided without inventing readings.

Minutes are those of the local clock; on a day when the clock changes they run 23 or 25 hours and
each still gets the label its wall time says.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from gridsecure.billing.interval_periods import Lengths, month_numbers
from gridsecure.billing.readings import DAY_MINUTES
from gridsecure.errors import InvalidReadingsError
from gridsecure.month_texts import CALENDAR
from gridsecure.tariffs.cells import ALL_MONTHS, MINUTES_PER_DAY
from gridsecure.tariffs.header import LAST_DAY
from gridsecure.tariffs.rows import WindowRow
from gridsecure.tariffs.tariff import Tariff

MINUTE = pd.Timedelta(minutes=1)
NANOSECONDS_PER_MINUTE = 60_000_000_000
NANOSECONDS_PER_DAY = NANOSECONDS_PER_MINUTE * MINUTES_PER_DAY
SATURDAY = 5


def label_intervals(
    starts: pd.Series[pd.Timestamp],
    *,
    interval: Lengths,
    tariff: Tariff,
    demand: bool = False,
    cycle_day: int = CALENDAR,
) -> pd.Series[str]:
    """Label each interval with its time-of-use period.

    Args:
        starts: Interval starts, aware, on whole minutes.
        interval: Length of the intervals, whole minutes.
        demand: Whether to take the windows and periods of demand instead of those of energy.
        cycle_day: Day of the month that billing periods begin on; where a tariff prices a period
            by the month of its last day, so are its windows.

    Returns:
        A categorical series on the index of `starts`; categories are `tariff.tou_periods` (or
        `tariff.demand_periods`).

    Raises:
        InvalidReadingsError: Intervals off the whole minute (`calendar.unaligned`) or across
            the border of two periods (`calendar.straddles-window`).
        ValueError: The tariff has no windows.
    """
    windows = tariff.demand_windows if demand else tariff.windows
    periods = tariff.demand_periods if demand else tariff.tou_periods
    if not windows:
        raise ValueError("a tariff without windows has nothing to label")
    # The same start recurs for every meter point, so labels are found once per distinct start.
    positions, distinct = pd.factorize(pd.DatetimeIndex(starts))
    instants = pd.DatetimeIndex(distinct).as_unit("ns").asi8
    odd = isinstance(interval, pd.Timedelta) and bool(interval % MINUTE)
    if odd or bool((instants % NANOSECONDS_PER_MINUTE).any()):
        raise InvalidReadingsError(
            "An interval does not begin and end on a whole minute.",
            reason="calendar.unaligned",
            remedy="Time-of-use tariffs need readings on whole minutes.",
        )
    if isinstance(interval, pd.Timedelta):
        longest = np.full(len(instants), interval // MINUTE, dtype=np.int64)
    else:
        longest = np.zeros(len(instants), dtype=np.int64)
        np.maximum.at(longest, positions, interval)
    codes, straddles = _label_spans(instants, longest, tariff, demand=demand, cycle_day=cycle_day)
    if straddles.any():
        raise straddling_error(distinct[straddles][0], int(longest[straddles][0]))
    labels = pd.Categorical.from_codes(codes[positions], categories=pd.Index(periods))
    return pd.Series(labels, index=starts.index)


def find_straddling(
    starts: pd.DatetimeIndex, *, minutes: int, tariff: Tariff, cycle_day: int = CALENDAR
) -> npt.NDArray[np.bool_]:
    """Which intervals of one length lie in two time-of-use periods, of energy or of demand.

    Args:
        starts: Interval starts, aware, on whole minutes.
        tariff: The tariff; without windows nothing straddles.
        cycle_day: As of `label_intervals`.
    """
    instants = starts.as_unit("ns").asi8
    lengths = np.full(len(instants), minutes, dtype=np.int64)
    found = np.zeros(len(instants), dtype=bool)
    for demand, windows in ((False, tariff.windows), (True, tariff.demand_windows)):
        if windows:
            spans = _label_spans(instants, lengths, tariff, demand=demand, cycle_day=cycle_day)
            found |= spans[1]
    return found


def straddling_error(start: pd.Timestamp, minutes: int, *, whose: str = "") -> InvalidReadingsError:
    """The refusal of an interval whose parts have different prices."""
    if minutes == DAY_MINUTES:
        return InvalidReadingsError(
            f"The energy of {start:%Y-%m-%d}{whose} is known for the whole day only, which has"
            " several time-of-use periods of the tariff.",
            reason="readings.daily",
            remedy="Send intervals of 5, 10, 15, 30 or 60 minutes. Daily energies are billed where"
            " one price applies all day.",
        )
    return InvalidReadingsError(
        f"The {minutes}-minute interval{whose} from {start:%Y-%m-%d %H:%M} crosses the boundary "
        "between two time-of-use periods of the tariff.",
        reason="calendar.straddles-window",
        remedy="Use readings whose intervals end where the tariff's windows end. The energy of "
        "one interval is never divided by guess.",
    )


def _label_spans(
    instants: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    tariff: Tariff,
    *,
    demand: bool,
    cycle_day: int,
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.bool_]]:
    """The label at each instant [ns], and whether it changes within so many minutes."""
    windows = tariff.demand_windows if demand else tariff.windows
    periods = tariff.demand_periods if demand else tariff.tou_periods
    offsets = np.arange(int(lengths.max(initial=1)), dtype=np.int64)
    minutes = instants[:, np.newaxis] + offsets * NANOSECONDS_PER_MINUTE
    table = _label_table(tariff, windows, periods)
    priced_from = cycle_day if tariff.cycle_month == LAST_DAY else CALENDAR
    codes = _label_minutes(minutes.ravel(), tariff, table, priced_from).reshape(minutes.shape)
    inside = offsets < lengths[:, np.newaxis]
    return codes[:, 0], (inside & (codes != codes[:, :1])).any(axis=1)


def _label_minutes(
    instants: npt.NDArray[np.int64], tariff: Tariff, table: npt.NDArray[np.int8], cycle_day: int
) -> npt.NDArray[np.int8]:
    """Look each instant [ns since 1970, UTC] up by its month, type of day and minute."""
    local = pd.DatetimeIndex(pd.to_datetime(instants, utc=True)).tz_convert(tariff.timezone)
    wall = local.tz_localize(None).as_unit("ns").asi8
    days, within_day = np.divmod(wall, NANOSECONDS_PER_DAY)
    day_types = _day_types(days, np.asarray(local.day_of_week), tariff)
    months = month_numbers(local, cycle_day=cycle_day) % len(ALL_MONTHS)
    labels = table[months, day_types, within_day // NANOSECONDS_PER_MINUTE]
    return np.asarray(labels, dtype=np.int8)


def _day_types(
    days: npt.NDArray[np.int64], weekdays: npt.NDArray[np.int32], tariff: Tariff
) -> npt.NDArray[np.int64]:
    """Position in `tariff.day_types` of each day [days since 1970]; listed dates come first."""
    listed = pd.Index(
        [np.datetime64(row.day, "D").astype(np.int64) for row in tariff.days], dtype=np.int64
    )
    special = np.array(
        [tariff.day_types.index(row.day_type) for row in tariff.days] + [0], dtype=np.int64
    )
    found = listed.get_indexer(pd.Index(days))
    ordinary = (weekdays >= SATURDAY).astype(np.int64)
    return np.where(found >= 0, special[found], ordinary)


def _label_table(
    tariff: Tariff, windows: Sequence[WindowRow], periods: Sequence[str]
) -> npt.NDArray[np.int8]:
    """Label codes by month, type of day and minute; complete because the windows are."""
    table = np.full((len(ALL_MONTHS), len(tariff.day_types), MINUTES_PER_DAY), -1, dtype=np.int8)
    for window in windows:
        code = periods.index(window.tou_period)
        day_types = [tariff.day_types.index(day_type) for day_type in window.day_types]
        months = [month - 1 for month in window.months]
        table[np.ix_(months, day_types, range(window.from_minute, window.to_minute))] = code
    return table
