"""The columns of a wide line in time, also on the days on which the clock is changed.

On most days column n is the n-th interval after local midnight. On a day of 23 or 25 hours two
layouts are in use, told apart line by line by the cells that are filled:

- **elapsed**: column n is the n-th interval that passes, so a day of 23 hours leaves the last
  columns empty and a day of 25 hours fills an hour more of them (p49 and p50 of half-hours);
- **clock**: column n is the n-th interval that the clock shows. The skipped hour is empty or zero.
  The doubled hour has one column for two hours: its energy is both together. When in the two hours
  it was used is not known; it is divided equally and `estimated`, and prices by the clock do not
  depend on it.

A line that fits neither (a reading in the skipped hour and at the day's end) is taken out whole, as
missing, with a note; so is one that fills columns which its day does not have.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

POINT_MINUTES: Final = {
    **{count: 60 for count in (23, 24, 25)},
    **{count: 30 for count in (46, 48, 50)},
    **{count: 15 for count in (92, 96, 100)},
}
"""Columns of a wide file -> minutes of a column."""

_MINUTE_US = 60_000_000
_DAY_MINUTES = 1440


@dataclass(frozen=True, slots=True, eq=False)
class WidePoints:
    """The cells of a wide file, one row a line.

    Args:
        energy_wh: Energy [lines, columns] in Wh, zero where a cell is empty.
        missing: Which cells are empty.
        are_faces: Whether the cells are faces of a register, which are not divided: that of a
            doubled hour is taken for its first time.
        are_powers: Whether they come from average powers, of which a doubled hour's is that of
            both.
    """

    minutes: int
    energy_wh: NDArray[np.int64]
    missing: NDArray[np.bool_]
    are_faces: bool = False
    are_powers: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class LaidOut:
    """Readings in the order of the lines.

    Args:
        lines: Line of each reading, from 0.
        energy_wh: Energies [Wh].
        missing: Which of them hold no reading.
        notes: Line and what was concluded about its day, where the clock was changed.
    """

    lines: NDArray[np.intp]
    starts: pd.DatetimeIndex
    energy_wh: NDArray[np.int64]
    missing: NDArray[np.bool_]
    divided: NDArray[np.bool_]
    notes: tuple[tuple[int, str], ...]


def day_minutes(begins: pd.DatetimeIndex) -> NDArray[np.int64]:
    """How long each local day is [minutes].

    Args:
        begins: Starts of local days, aware.
    """
    ends = (begins.tz_localize(None).floor("D") + pd.Timedelta(days=1)).tz_localize(
        begins.tz, nonexistent="shift_forward", ambiguous=np.ones(len(begins), dtype=bool)
    )
    minutes: NDArray[np.int64] = (ends.as_unit("us").asi8 - begins.as_unit("us").asi8) // _MINUTE_US
    return minutes


def lay_out_days(points: WidePoints, *, days: pd.DatetimeIndex) -> LaidOut:
    """Give every cell its interval.

    Args:
        days: Start of each line's local day, aware.
    """
    zone, count = days.tz, points.energy_wh.shape[1]
    unique, which = np.unique(days.as_unit("us").asi8, return_inverse=True)
    begins = pd.DatetimeIndex(unique.view("datetime64[us]")).tz_localize("UTC").tz_convert(zone)
    length_minutes = day_minutes(begins)
    parts = [
        _whole_days(points, days, np.flatnonzero(length_minutes[which] == _DAY_MINUTES), count)
    ]
    for line in np.flatnonzero(length_minutes[which] != _DAY_MINUTES):
        intervals = _Day(begins[which[line]], int(length_minutes[which[line]]), points.minutes)
        parts.append(intervals.lay_out(points, int(line)))
    if len(parts) == 1:
        return replace(parts[0], starts=parts[0].starts.tz_convert(zone))
    lines = np.concatenate([part.lines for part in parts])
    order = np.argsort(lines, kind="stable")
    starts_us = np.concatenate([part.starts.as_unit("us").asi8 for part in parts])[order]
    starts = pd.DatetimeIndex(starts_us.view("datetime64[us]")).tz_localize("UTC")
    return LaidOut(
        lines=lines[order],
        starts=starts.tz_convert(zone),
        energy_wh=np.concatenate([part.energy_wh for part in parts])[order],
        missing=np.concatenate([part.missing for part in parts])[order],
        divided=np.concatenate([part.divided for part in parts])[order],
        notes=tuple(sorted(note for part in parts for note in part.notes)),
    )


def _whole_days(
    points: WidePoints, days: pd.DatetimeIndex, lines: NDArray[np.intp], count: int
) -> LaidOut:
    """Lines of days of 24 hours; columns beyond them have to be empty, and are left out."""
    usual = _DAY_MINUTES // points.minutes
    missing, energy_wh = points.missing[lines], points.energy_wh[lines]
    if count < usual:  # a file of a 23-hour day: no other day fits it
        short = ((0, 0), (0, usual - count))
        missing = np.pad(missing, short, constant_values=True)
        energy_wh = np.pad(energy_wh, short)
        bad = np.full(len(lines), fill_value=True)
    else:
        bad = np.asarray((~missing[:, usual:]).any(axis=1))
    taken = energy_wh[:, :usual].copy()
    gone = missing[:, :usual] | bad[:, None]
    taken[gone] = 0
    detail = f"this day has {usual} intervals, and the line has not; it is left out whole"
    offsets = np.arange(usual, dtype=np.int64) * points.minutes * _MINUTE_US
    starts_us = (days[lines].as_unit("us").asi8[:, None] + offsets).ravel()
    return LaidOut(
        lines=np.repeat(lines, usual),
        starts=pd.DatetimeIndex(starts_us.view("datetime64[us]")).tz_localize("UTC"),
        energy_wh=taken.ravel(),
        missing=gone.ravel(),
        divided=np.zeros(taken.size, dtype=bool),
        notes=tuple((int(line), detail) for line in lines[bad]),
    )


@dataclass(slots=True, eq=False)
class _Day:
    """The intervals of one day on which the clock is changed."""

    begin: pd.Timestamp
    length_minutes: int
    minutes: int
    notes: list[tuple[int, str]] = field(default_factory=list)

    def lay_out(self, points: WidePoints, line: int) -> LaidOut:
        """One line in this day.

        Length: the layouts of a day in the order in which they are tried.
        """
        energy_wh, missing = points.energy_wh[line], points.missing[line]
        count, rest = divmod(self.length_minutes, self.minutes)
        filled = np.flatnonzero(~missing)
        last = int(filled.max(initial=-1)) + 1
        usual = _DAY_MINUTES // self.minutes
        offsets = np.arange(count, dtype=np.int64) * self.minutes
        starts = self.begin + pd.TimedeltaIndex(offsets * 60_000_000_000)
        shown = starts.tz_localize(None)
        columns = ((shown - shown[0].floor("D")) // pd.Timedelta(minutes=self.minutes)).to_numpy()
        skipped = np.setdiff1d(np.arange(usual), columns)
        doubled = np.bincount(columns, minlength=usual)[columns] > 1
        hours = f"a day of {self.length_minutes / 60:g} hours"
        skipped = skipped[skipped < len(energy_wh)]
        in_skipped = bool((energy_wh[skipped] != 0).any())
        # Zeros there belong to the clock's layout, unless the line ends where the day does.
        in_skipped |= bool((~missing[skipped]).any()) and last <= count < usual
        divided = np.zeros(count, dtype=bool)
        if not rest and last <= usual and not in_skipped and columns.max() < len(energy_wh):
            values, gone = energy_wh[columns].copy(), missing[columns].copy()
            divided = doubled & ~gone & (not points.are_faces)
            first = ~pd.Series(columns).duplicated().to_numpy()
            if not points.are_powers:
                values[divided] //= 2
                # The first hour takes the odd Wh, so that both are what the column says.
                odd = divided & first
                values[odd] = energy_wh[columns[odd]] - energy_wh[columns[odd]] // 2
            gone |= points.are_faces & ~first
            values[gone] = 0
            what = "its empty hour is the one that the clock skips"
            if doubled.any() and points.are_faces:
                what = "the faces of the hour that the clock shows twice are taken for its first"
            elif doubled.any() and points.are_powers:
                what = (
                    "the hour that the clock shows twice stands once; its columns are taken for the"
                    " averages of both hours"
                )
            elif doubled.any():
                what = (
                    "the hour that the clock shows twice stands once; its columns are taken for "
                    "both hours together, and divided equally"
                )
        elif not rest and last <= count <= len(energy_wh):
            values, gone = energy_wh[:count].copy(), missing[:count].copy()
            what = f"its first {count} columns are taken one after the other"
        else:
            values, gone = np.zeros(count, dtype=np.int64), np.ones(count, dtype=bool)
            what = (
                "the line fills columns that this day does not have, and is left out whole; leave "
                "the skipped hour empty, or hand the day in as start and kwh with offsets"
            )
        return LaidOut(
            lines=np.full(count, line, dtype=np.intp),
            starts=starts,
            energy_wh=values,
            missing=gone,
            divided=divided,
            notes=((line, f"{hours}: {what}"),),
        )
