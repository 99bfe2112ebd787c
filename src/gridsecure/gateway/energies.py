"""Interval energies: every meter point's energy in every interval of a period, as one table.

Validation promises that an accepted meter point covers the period exactly once, with intervals that
may have another length by meter point and by day. Here that promise is checked and used: the
readings become a rectangle [meter points, starts], and whatever comes after (admission, rosters,
packing) takes rows of it instead of searching a frame of millions of readings again and again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.calendars import label_intervals
from gridsecure.billing.interval_lengths import interval_minutes
from gridsecure.billing.measures import MINUTE, uniform_minutes
from gridsecure.billing.readings import DAY_MINUTES, MINUTE_US, moment_us, start_us
from gridsecure.errors import InvalidReadingsError
from gridsecure.month_texts import CALENDAR
from gridsecure.periods import BillingPeriod
from gridsecure.tariffs.tariff import Tariff

_HOUR: Final = 60
_BLOCK: Final = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class IntervalEnergies:
    """Energies of meter points over a period without a gap.

    Args:
        meter_point_ids: One per row.
        starts: Starts of the finest grid that every interval fits, one per column, in order of
            time.
        step: Distance between two starts.
        energy_wh: Energy [meter points, starts] in Wh, none negative; that of a longer interval
            stands where it begins, and nothing in the columns that it covers besides.
        reactive_varh: Reactive energy of the period [varh], where the readings have it.
        export_wh: Energy fed in over the period [Wh], where the readings have it.
        year_before_wh: Energy since 1 January before the period [Wh], where it is known.
        minutes: Length of the interval that begins at each start, zero where none does; None
            where every interval is one `step` long.
    """

    meter_point_ids: pd.Index[str]
    starts: pd.DatetimeIndex
    step: pd.Timedelta
    energy_wh: NDArray[np.int64]
    reactive_varh: NDArray[np.int64] | None = None
    export_wh: NDArray[np.int64] | None = None
    year_before_wh: NDArray[np.int64] | None = None
    minutes: NDArray[np.int16] | None = None

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Interval lengths as `MonthIntervals` has them [minutes]."""
        if self.minutes is None:
            return uniform_minutes(self.step)
        return self.minutes.astype(np.int64)

    @property
    def grid(self) -> pd.Timedelta:
        """The shortest grid that every interval of every meter point lies within, but for days."""
        lengths = np.unique(self.lengths)
        within = lengths[(lengths > 0) & (lengths != DAY_MINUTES)]
        return pd.Timedelta(minutes=int(np.lcm.reduce(within)) if len(within) else _HOUR)

    def on_grid(self, step: pd.Timedelta) -> IntervalEnergies:
        """The same energies added up to a coarser grid, exactly; those of days divided equally.

        Args:
            step: A multiple of every interval's length that divides the period; of days a part.

        Raises:
            InvalidReadingsError: An interval reaches across the grid (`readings.incomplete`).
        """
        if (self.lengths == DAY_MINUTES).any():
            return self._with_days_divided(step).on_grid(step)
        if step == self.step and self.minutes is None:
            return self
        parts, rest = divmod(step, self.step)
        if rest or len(self.starts) % parts:
            raise _incomplete()
        within = np.arange(len(self.starts)) % parts * (self.step // MINUTE)
        if (within + self.lengths > step // MINUTE).any():
            raise _incomplete()
        energy_wh = self.energy_wh.reshape(len(self.energy_wh), -1, parts).sum(axis=2)
        starts = self.starts[::parts]
        return replace(self, starts=starts, step=step, energy_wh=energy_wh, minutes=None)

    def _with_days_divided(self, step: pd.Timedelta) -> IntervalEnergies:
        """The same with the energy of each whole day laid out evenly over its intervals [Wh]."""
        fine = int(min(self.step, step) // MINUTE)
        parts, own = int(self.step // MINUTE) // fine, DAY_MINUTES // fine
        size = len(self.starts) * parts
        energy_wh = np.zeros((len(self.energy_wh), size), dtype=np.int64)
        energy_wh[:, ::parts] = self.energy_wh
        lengths = np.zeros((len(self.energy_wh), size), dtype=np.int16)
        lengths[:, ::parts] = self.lengths
        rows, days = np.nonzero(lengths == DAY_MINUTES)
        whole, rest = np.divmod(energy_wh[rows, days], own)
        places = days[:, np.newaxis] + np.arange(own)
        energy_wh[rows[:, np.newaxis], places] = whole[:, np.newaxis] + (
            np.arange(own) < rest[:, np.newaxis]
        )
        lengths[rows[:, np.newaxis], places] = fine
        starts = self.starts.repeat(parts)
        if parts > 1:
            starts += pd.to_timedelta(
                np.tile(np.arange(parts), len(self.starts)) * fine, unit="min"
            )
        given = None if (lengths == fine).all() else lengths
        step = pd.Timedelta(minutes=fine)
        return replace(self, starts=starts, step=step, energy_wh=energy_wh, minutes=given)

    def of(self, meter_point_ids: Sequence[str]) -> IntervalEnergies:
        """The rows of some meter points, in the order given.

        Raises:
            InvalidReadingsError: A meter point is not here (`readings.incomplete`).
        """
        rows = self.meter_point_ids.get_indexer(pd.Index(meter_point_ids))
        if (rows < 0).any():
            raise _incomplete()
        if np.array_equal(rows, np.arange(len(self.meter_point_ids))):
            return self
        names = self.meter_point_ids.take(rows)
        columns = ("reactive_varh", "export_wh", "year_before_wh", "minutes")
        given = {column: getattr(self, column) for column in columns}
        own = {column: values[rows] for column, values in given.items() if values is not None}
        return replace(self, meter_point_ids=names, energy_wh=self.energy_wh[rows], **own)

    @property
    def totals_wh(self) -> NDArray[np.int64]:
        """Energy of each meter point over the period [Wh]."""
        totals: NDArray[np.int64] = self.energy_wh.sum(axis=1)
        return totals

    def registers_wh(
        self, tariff: Tariff, *, cycle_day: int = CALENDAR
    ) -> dict[str, NDArray[np.int64]]:
        """Energy of each meter point by time-of-use period of a tariff [Wh].

        Raises:
            InvalidReadingsError: An interval lies in two time-of-use periods (`calendar.*`).
        """
        if not tariff.windows:
            return {}
        longest = np.broadcast_to(self.lengths, self.energy_wh.shape).max(axis=0, initial=0)
        labels = label_intervals(
            pd.Series(self.starts), interval=longest, tariff=tariff, cycle_day=cycle_day
        )
        codes = labels.cat.codes.to_numpy()
        return {
            tou_period: self.energy_wh[:, codes == number].sum(axis=1)
            for number, tou_period in enumerate(tariff.tou_periods)
        }


def lay_out_energies(
    readings: pd.DataFrame,
    *,
    period: BillingPeriod,
    parts: Mapping[str, tuple[datetime, datetime]] | None = None,
) -> IntervalEnergies:
    """Lay readings out by meter point and interval.

    Length: one table after the other, each a line of the next one's index.

    Args:
        readings: Validated readings of the period; none outside it. Without a column `minutes`
            all have one length.
        parts: The time that some meter points have of the period; there is nothing of theirs
            outside it, which is no energy.

    Returns:
        Meter points in the order of their names.

    Raises:
        InvalidReadingsError: A meter point lacks part of the period or has some of it twice
            (`readings.incomplete`).
    """
    meters, names = pd.factorize(readings["meter_point_id"], sort=True)
    if readings.empty:
        raise _incomplete()
    minutes = interval_minutes(readings)
    is_even = bool((minutes == minutes[0]).all())
    step = int(minutes[0] if is_even else np.gcd.reduce(minutes))
    begin, step_us = moment_us(period.start), step * MINUTE_US
    size, rest = divmod(moment_us(period.end) - begin, max(step_us, 1))
    if rest or step < 1:
        raise _incomplete()
    # Every reading goes straight to its place, rows one after the other; it must have that alone.
    places = _places(meters, start_us(readings), begin=begin, step=step_us, size=size)
    ids = pd.Index(np.asarray(names), dtype=str)
    away = np.zeros((len(names), size), dtype=np.bool_)
    for name in ids.intersection(list(parts or ())):
        row, window = ids.get_loc(name), (parts or {})[name]
        inside = [(moment_us(moment) - begin) // step_us for moment in window]
        away[row, : inside[0]] = away[row, inside[1] :] = True
    if not _is_filled(away, places, None if is_even else minutes // step):
        raise _incomplete()
    energy_wh = np.zeros((len(names), size), dtype=np.int64)
    energy_wh.ravel()[places] = readings["energy_wh"].to_numpy(np.int64)
    lengths: NDArray[np.int16] | None = None
    if not is_even:
        lengths = np.zeros((len(names), size), dtype=np.int16)
        lengths.ravel()[places] = minutes
    expected = begin + step_us * np.arange(size, dtype=np.int64)
    starts = pd.DatetimeIndex(expected.view("datetime64[us]")).tz_localize("UTC")
    return IntervalEnergies(
        meter_point_ids=ids,
        starts=starts.tz_convert(period.start.tzinfo),
        step=pd.Timedelta(minutes=step),
        energy_wh=energy_wh,
        reactive_varh=_register(readings, "reactive_varh", meters, len(names)),
        export_wh=_register(readings, "export_wh", meters, len(names)),
        minutes=lengths,
    )


def _places(
    meters: NDArray[np.intp], starts: NDArray[np.int64], *, begin: int, step: int, size: int
) -> NDArray[np.int64]:
    """Where each reading begins in a grid of rows of `size` columns, one after the other.

    Some readings at a time: what is between them and their places stays in the caches.

    Args:
        meters: The row of each reading.
        starts: When it starts [µs], as `begin` and `step`.

    Raises:
        InvalidReadingsError: One does not start where a column does (`readings.incomplete`).
    """
    places = np.multiply(meters, size, dtype=np.int64)
    for first in range(0, len(places), _BLOCK):
        since = starts[first : first + _BLOCK] - begin
        columns = since // step
        if (columns * step != since).any() or columns.min() < 0 or columns.max() >= size:
            raise _incomplete()
        places[first : first + _BLOCK] += columns
    return places


def _is_filled(
    away: NDArray[np.bool_], places: NDArray[np.int64], lengths: NDArray[np.int64] | None
) -> bool:
    """Whether readings have every place that nobody is away from, once, and no other.

    Args:
        away: By row and column, whether the meter point has no energy then.
        places: As `_places` has them.
        lengths: How many columns each reading has; None where each has one.
    """
    if lengths is None:
        taken = away.copy()
        taken.ravel()[places] = True
        # As many as there are places, and none empty: so none has two.
        return len(places) + np.count_nonzero(away) == taken.size and bool(taken.all())
    size = away.shape[1]
    if (places % size + lengths > size).any():
        return False
    begun, ended = (np.bincount(p, minlength=away.size + 1) for p in (places, places + lengths))
    covered = (begun - ended).cumsum()[:-1]
    return bool((covered + away.ravel() == 1).all())


def _register(
    readings: pd.DataFrame, column: str, meters: NDArray[np.intp], count: int
) -> NDArray[np.int64] | None:
    """A register's sum by meter point, or None where the readings have no such register.

    Below zero where only the files of other meter points have it.
    """
    if column not in readings:
        return None
    sums = np.zeros(count, dtype=np.int64)
    np.add.at(sums, meters, readings[column].to_numpy(np.int64))
    return sums


def _incomplete() -> InvalidReadingsError:
    return InvalidReadingsError(
        "A meter point lacks readings in the billing period, or has some twice.",
        reason="readings.incomplete",
        remedy="Validate with estimation, or leave incomplete meter points out of the roster.",
    )
