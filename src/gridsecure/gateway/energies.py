"""Interval energies: every meter point's energy in every interval of a period, as one table.

Validation promises that an accepted meter point has each interval of the period exactly once. Here
that promise is checked and used: the readings become a rectangle [meter points, intervals], and
whatever comes after (admission, rosters, packing) takes rows of it instead of searching a frame of
millions of readings again and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.calendars import label_intervals
from gridsecure.billing.periods import BillingPeriod
from gridsecure.billing.readings import MINUTE_US, moment_us, start_us
from gridsecure.billing.tariffs import Tariff
from gridsecure.errors import InvalidReadingsError


@dataclass(frozen=True, slots=True, eq=False)
class IntervalEnergies:
    """Energies of meter points over a period without a gap.

    Args:
        meter_point_ids: One per row.
        starts: Interval starts, one per column, in order of time.
        step: Interval length.
        energy_wh: Energy [meter points, intervals] in Wh, none negative.
        reactive_varh: Reactive energy of the period [varh], where the readings have it.
        export_wh: Energy fed in over the period [Wh], where the readings have it.
        year_before_wh: Energy since 1 January before the period [Wh], where it is known.
    """

    meter_point_ids: pd.Index[str]
    starts: pd.DatetimeIndex
    step: pd.Timedelta
    energy_wh: NDArray[np.int64]
    reactive_varh: NDArray[np.int64] | None = None
    export_wh: NDArray[np.int64] | None = None
    year_before_wh: NDArray[np.int64] | None = None

    def of(self, meter_point_ids: Sequence[str]) -> IntervalEnergies:
        """The rows of some meter points, in the order given.

        Raises:
            InvalidReadingsError: A meter point is not here (`readings.incomplete`).
        """
        rows = self.meter_point_ids.get_indexer(pd.Index(meter_point_ids))
        if (rows < 0).any():
            raise _incomplete()
        names = self.meter_point_ids.take(rows)
        registers = (self.reactive_varh, self.export_wh, self.year_before_wh)
        own = (None if register is None else register[rows] for register in registers)
        return IntervalEnergies(names, self.starts, self.step, self.energy_wh[rows], *own)

    @property
    def totals_wh(self) -> NDArray[np.int64]:
        """Energy of each meter point over the period [Wh]."""
        totals: NDArray[np.int64] = self.energy_wh.sum(axis=1)
        return totals

    def registers_wh(self, tariff: Tariff) -> dict[str, NDArray[np.int64]]:
        """Energy of each meter point by time-of-use period of a tariff [Wh].

        Raises:
            InvalidReadingsError: An interval lies in two time-of-use periods (`calendar.*`).
        """
        if not tariff.windows:
            return {}
        labels = label_intervals(pd.Series(self.starts), interval=self.step, tariff=tariff)
        codes = labels.cat.codes.to_numpy()
        return {
            tou_period: self.energy_wh[:, codes == number].sum(axis=1)
            for number, tou_period in enumerate(tariff.tou_periods)
        }


def interval_energies(readings: pd.DataFrame, *, period: BillingPeriod) -> IntervalEnergies:
    """Lay readings out by meter point and interval.

    Args:
        readings: Validated readings of the period; none outside it.
        period: The billing period.

    Returns:
        Meter points in the order of their names.

    Raises:
        InvalidReadingsError: A meter point lacks an interval of the period or has one twice, or
            intervals are not all of one length (`readings.incomplete`).
    """
    meters, names = pd.factorize(readings["meter_point_id"], sort=True)
    size = len(readings) // max(len(names), 1)
    if size == 0 or size * len(names) != len(readings):
        raise _incomplete()
    begin = moment_us(period.start)
    step_us, rest = divmod(moment_us(period.end) - begin, size)
    if rest or step_us % MINUTE_US:
        raise _incomplete()
    # Every reading goes straight to its place; each place must be taken exactly once.
    column, off_grid = np.divmod(start_us(readings) - begin, step_us)
    if off_grid.any() or (column < 0).any() or (column >= size).any():
        raise _incomplete()
    places = meters.astype(np.int64) * size + column
    placed = np.full(len(readings), -1, dtype=np.int64)
    placed[places] = readings["energy_wh"].to_numpy(np.int64)
    energy_wh = placed.reshape(len(names), size)
    expected = begin + step_us * np.arange(size, dtype=np.int64)
    if (energy_wh < 0).any():  # as many readings as places: one taken twice leaves one empty
        raise _incomplete()
    starts = pd.DatetimeIndex(expected.view("datetime64[us]")).tz_localize("UTC")
    return IntervalEnergies(
        meter_point_ids=pd.Index(np.asarray(names), dtype=str),
        starts=starts.tz_convert(period.start.tzinfo),
        step=pd.Timedelta(microseconds=step_us),
        energy_wh=energy_wh,
        reactive_varh=_register(readings, "reactive_varh", meters, len(names)),
        export_wh=_register(readings, "export_wh", meters, len(names)),
    )


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
