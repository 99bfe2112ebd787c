"""What a bill needs beside energy sums, derived from a month's intervals on the data owner's side.

Maximum demand, use of the intervals in the order of time, and power factor cannot be computed
cheaply from encrypted intervals; meters keep registers for the first and the last. The gateway
derives them here, from readings it has in the clear, and the plaintext oracle uses the same
functions. A line computed from such a column says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from gridsecure.billing.calendars import label_intervals
from gridsecure.billing.charges import Need, list_needs
from gridsecure.billing.limits import tier_limits_wh
from gridsecure.billing.rules import DEMAND, SPLIT, LineRule, interval_length
from gridsecure.billing.settlement_columns import (
    YEAR_BEFORE_COLUMN,
    demand_column,
    interval_column,
    split_column,
)
from gridsecure.errors import InvalidReadingsError
from gridsecure.periods import BillingPeriod
from gridsecure.tariffs.consistency import YEAR
from gridsecure.tariffs.tariff import Tariff

MINUTE = pd.Timedelta(minutes=1)


@dataclass(frozen=True, slots=True, eq=False)
class MonthIntervals:
    """Energies of meter points by interval of one period.

    Args:
        starts: Interval starts, one per column, in order of time.
        minutes: Length of the interval that begins there, [1, 1] where all have one length, else
            [meter points, intervals]; zero where a meter point has no interval of that start.
        energy_wh: Energy [meter points, intervals] in Wh; zero where there is no reading.
    """

    starts: pd.DatetimeIndex
    minutes: npt.NDArray[np.int64]
    energy_wh: npt.NDArray[np.int64]

    @property
    def longest(self) -> npt.NDArray[np.int64]:
        """The longest interval that begins at each start [minutes]."""
        lengths = np.broadcast_to(self.minutes, self.energy_wh.shape)
        longest: npt.NDArray[np.int64] = lengths.max(axis=0, initial=0)
        return longest

    @property
    def power_w(self) -> npt.NDArray[np.int64]:
        """Mean power of each interval over its own length [W]."""
        per_hour = np.where(self.minutes > 0, 60 // np.maximum(self.minutes, 1), 0)
        power: npt.NDArray[np.int64] = self.energy_wh * per_hour
        return power


def uniform_minutes(interval: pd.Timedelta) -> npt.NDArray[np.int64]:
    """One interval length as `MonthIntervals` takes it.

    Raises:
        InvalidReadingsError: Maximum demand and prices by interval need whole minutes
            (`settlement.demand-interval`).
    """
    minutes, rest = divmod(interval, MINUTE)
    if rest or minutes < 1:
        raise _odd_interval()
    return np.full((1, 1), minutes, dtype=np.int64)


def derive_measures(
    intervals: MonthIntervals,
    *,
    rules: Sequence[LineRule],
    tariff: Tariff,
    settled: pd.DataFrame,
    contracts: pd.DataFrame,
    period: BillingPeriod,
) -> dict[str, npt.NDArray[np.int64]]:
    """Derive the settlement columns that a month's rules need from its intervals.

    Args:
        settled: Settlement rows of the same meter points, with energy sums and, under a yearly
            ladder, `year_before_wh`.
        contracts: Contracts in the same order.

    Raises:
        InvalidReadingsError: An interval in two demand periods, an interval that does not divide
            an hour (`settlement.demand-interval`), or one of another length than the tariff prices
            (`settlement.price-interval`).
        InputError: As `tier_limits_wh`.
    """
    columns: dict[str, npt.NDArray[np.int64]] = {}
    needs = list_needs(rules)
    if Need.DEMAND in needs:
        columns |= _demands(intervals, rules, tariff, period)
    if Need.ORDER in needs:
        frame = settled.assign(**columns)
        columns |= _splits(intervals, rules, tariff, frame, contracts, period)
    if Need.PRICES in needs:
        columns |= _placed(intervals, tariff, period)
    return columns


def _demands(
    intervals: MonthIntervals, rules: Sequence[LineRule], tariff: Tariff, period: BillingPeriod
) -> dict[str, npt.NDArray[np.int64]]:
    """Highest mean power of an interval, in the month and in each demand period [W]."""
    if (60 % np.maximum(intervals.minutes, 1)).any():
        raise _odd_interval()
    power_w = intervals.power_w
    demands = {demand_column(None): power_w.max(axis=1, initial=0)}
    if any(rule.basis == DEMAND and rule.tou_period is not None for rule in rules):
        labels = label_intervals(
            pd.Series(intervals.starts),
            interval=intervals.longest,
            tariff=tariff,
            demand=True,
            cycle_day=period.start.day,
        )
        codes = labels.cat.codes.to_numpy()
        for number, name in enumerate(tariff.demand_periods):
            demands[demand_column(name)] = power_w[:, codes == number].max(axis=1, initial=0)
    return demands


def _splits(
    intervals: MonthIntervals,
    rules: Sequence[LineRule],
    tariff: Tariff,
    settled: pd.DataFrame,
    contracts: pd.DataFrame,
    period: BillingPeriod,
) -> dict[str, npt.NDArray[np.int64]]:
    """Fill the tiers interval by interval; an interval across a limit is divided there [Wh]."""
    starts = pd.Series(intervals.starts)
    labels = label_intervals(
        starts, interval=intervals.longest, tariff=tariff, cycle_day=period.start.day
    )
    codes = labels.cat.codes.to_numpy()
    size = len(settled)
    before = np.zeros(size, dtype=np.int64)
    if tariff.tier_reset == YEAR:
        before = settled[YEAR_BEFORE_COLUMN].to_numpy(np.int64)
    filled = np.cumsum(intervals.energy_wh, axis=1) + before[:, np.newaxis]
    edges = np.concatenate([before[:, np.newaxis], filled], axis=1)
    columns: dict[str, npt.NDArray[np.int64]] = {}
    for rule in rules:
        if rule.basis != SPLIT or rule.tou_period is None or rule.tier is None:
            continue
        lower, upper = tier_limits_wh(rule, contracts, period=period, settlements=settled)
        inside = np.clip(edges, lower[:, np.newaxis], upper[:, np.newaxis])
        parts = np.diff(inside, axis=1)
        chosen = codes == tariff.tou_periods.index(rule.tou_period)
        columns[split_column(rule.tou_period, rule.tier)] = parts[:, chosen].sum(axis=1)
    return columns


def _placed(
    intervals: MonthIntervals, tariff: Tariff, period: BillingPeriod
) -> dict[str, npt.NDArray[np.int64]]:
    """Energy by the number of the price in the period; shorter intervals are added up."""
    length = pd.Timedelta(interval_length(tariff) or 0)
    if not length or find_across_prices(intervals.starts, intervals.minutes, length).any():
        raise InvalidReadingsError(
            "The readings have a longer interval than the tariff prices.",
            reason="settlement.price-interval",
            remedy="Send readings at the interval of the price series.",
        )
    count = (period.end - period.start) // length
    numbers = (intervals.starts - pd.Timestamp(period.start)) // length
    placed = np.zeros((len(intervals.energy_wh), count), dtype=np.int64)
    np.add.at(placed.T, numbers, intervals.energy_wh.T)
    return {interval_column(n): placed[:, n] for n in range(count)}


def find_across_prices(
    starts: pd.DatetimeIndex, minutes: npt.NDArray[np.int64], length: pd.Timedelta
) -> npt.NDArray[np.bool_]:
    """Which intervals reach beyond the price they begin in.

    Args:
        starts: Interval starts, one per column.
        minutes: Interval lengths, as `MonthIntervals` has them.
        length: Length of a price of the series, which begin with the hour.
    """
    within = pd.TimedeltaIndex(starts.tz_localize(None) - starts.tz_localize(None).floor("D"))
    offsets = np.asarray(within // MINUTE, dtype=np.int64) % (length // MINUTE)
    across: npt.NDArray[np.bool_] = offsets[np.newaxis, :] + minutes > length // MINUTE
    return across & (minutes > 0)


def _odd_interval() -> InvalidReadingsError:
    return InvalidReadingsError(
        "Maximum demand needs intervals that divide an hour.",
        reason="settlement.demand-interval",
        remedy="Send readings of 5, 10, 15, 30 or 60 minutes.",
    )


def carry_year(
    totals_wh: npt.NDArray[np.int64],
    *,
    meters: npt.NDArray[np.int64],
    years: npt.NDArray[np.int64],
    opening_wh: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Energy since 1 January before each settled month [Wh], rows in order of time.

    Args:
        totals_wh: Energy of each row [Wh].
        meters: Number of the meter point of each row.
        years: Year of each row's period.
        opening_wh: Per meter point, energy of its first year before its first row [Wh].
    """
    before = np.zeros(len(totals_wh), dtype=np.int64)
    running = opening_wh.copy()
    year_of = np.full(len(opening_wh), -1, dtype=np.int64)
    for row in range(len(totals_wh)):
        meter = meters[row]
        if year_of[meter] not in (-1, years[row]):
            running[meter] = 0
        year_of[meter] = years[row]
        before[row] = running[meter]
        running[meter] += totals_wh[row]
    return before


def apply_ratchet(
    own_w: npt.NDArray[np.int64], earlier_w: npt.NDArray[np.int64], *, share_units: int, scale: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Split demand into what is billed as the month's own and as a share of an earlier one [W].

    Args:
        own_w: Demand of the month.
        earlier_w: Highest demand of the months that count.
        share_units: The share, as an integer in 1 / `scale`.
        scale: Units of the share in one.

    Returns:
        The own demand, zero where a share of the earlier one is higher, and the earlier demand
        there, zero elsewhere.
    """
    binds = own_w.astype(object) * scale < earlier_w.astype(object) * share_units
    chosen = binds.astype(bool)
    return np.where(chosen, 0, own_w), np.where(chosen, earlier_w, 0)
