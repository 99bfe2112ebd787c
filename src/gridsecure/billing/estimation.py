"""Gaps and what fills them.

A billing period has one interval after the other for every meter point. What is not there after
the rules ran is a gap. By policy a gap is either filled with the meter point's own mean for that
time of day, flagged `estimated`, or the meter point is left out of the period; it is never billed
as if nothing had been used. The mean is taken over accepted `actual` readings only, so estimates
never feed estimates, and it is an integer: round half up of sum / count [Wh].
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.readings import ReadingProblem, moment_us
from gridsecure.billing.validation_rules import Batch, Mask

DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Span:
    """The grid of intervals that each meter point should have; arrays have one element per meter.

    Attributes:
        first_us: Start of the first expected interval [µs since 1970 UTC].
        expected: Number of expected intervals; 0 when the meter point has nothing to go by.
    """

    first_us: NDArray[np.int64]
    expected: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Missing:
    """Intervals without an accepted reading, sorted by meter point and start.

    Attributes:
        meters: Index into the batch's names.
        starts_us: Interval start [µs since 1970 UTC].
    """

    meters: NDArray[np.int64]
    starts_us: NDArray[np.int64]


def own_span(batch: Batch, usable: Mask) -> Span:
    """From each meter point's first to its last usable row, for runs without a billing period."""
    size = len(batch.names)
    limits = pd.Series(batch.starts_us[usable]).groupby(batch.meters[usable]).agg(["min", "max"])
    first_us = np.zeros(size, dtype=np.int64)
    expected = np.zeros(size, dtype=np.int64)
    meters = limits.index.to_numpy()
    first_us[meters] = limits["min"]
    expected[meters] = (limits["max"] - limits["min"]) // batch.interval_us + 1
    return Span(first_us, expected)


def period_span(batch: Batch, first: dt.datetime, end: dt.datetime) -> Span:
    """The whole half-open billing period for every meter point."""
    first_us = moment_us(first)
    expected = (moment_us(end) - first_us) // batch.interval_us
    size = len(batch.names)
    return Span(np.full(size, first_us), np.full(size, expected))


def find_missing(batch: Batch, accepted: Mask, span: Span, *, within: Mask) -> Missing:
    """List the expected intervals that no accepted row covers.

    Args:
        batch: The batch.
        accepted: Accepted rows, at most one per meter point and interval, on the grid.
        span: The expected grid.
        within: Meter points to look at (one element per meter point).
    """
    expected = np.where(within, span.expected, 0)
    base = np.concatenate(([0], np.cumsum(expected)))
    rows = np.flatnonzero(accepted & within[batch.meters])
    meters = batch.meters[rows]
    offsets = (batch.starts_us[rows] - span.first_us[meters]) // batch.interval_us
    covered = np.zeros(int(base[-1]), dtype=bool)
    covered[base[meters] + offsets] = True
    cells = np.flatnonzero(~covered)
    owners = np.searchsorted(base, cells, side="right") - 1
    starts_us = span.first_us[owners] + (cells - base[owners]) * batch.interval_us
    return Missing(owners.astype(np.int64), starts_us.astype(np.int64))


def gap_problems(batch: Batch, missing: Missing) -> list[ReadingProblem]:
    """One `gap` problem per unbroken run of missing intervals."""
    if not len(missing.meters):
        return []
    new_run = np.ones(len(missing.meters), dtype=bool)
    new_run[1:] = (missing.meters[1:] != missing.meters[:-1]) | (
        np.diff(missing.starts_us) != batch.interval_us
    )
    firsts = np.flatnonzero(new_run)
    lengths = np.diff(np.append(firsts, len(new_run)))
    starts = _local(batch, missing.starts_us[firsts])
    names = batch.names[missing.meters[firsts]]
    return [
        ReadingProblem(str(name), start, "gap", f"{length} intervals without a usable reading")
        for name, start, length in zip(names, starts, lengths, strict=True)
    ]


def estimate(batch: Batch, accepted: Mask, missing: Missing) -> NDArray[np.int64]:
    """Energy for each missing interval [Wh]: the meter point's mean for that time of day.

    Where that time of day was never read, the meter point's mean over all its actual readings.
    Every meter point concerned must have at least one accepted actual reading.

    Returns:
        One integer per missing interval, in the order of `missing`.
    """
    slots = DAY_US // batch.interval_us
    concerned = np.zeros(len(batch.names), dtype=bool)
    concerned[missing.meters] = True
    history = accepted & (batch.rank == 0) & concerned[batch.meters]
    slot = batch.local_us[history] % DAY_US // batch.interval_us
    meters = batch.meters[history]
    energy_wh = pd.Series(batch.energy_wh[history])
    by_slot = _half_up_mean(energy_wh, meters * slots + slot)
    by_meter = _half_up_mean(energy_wh, meters)
    local_us = _local(batch, missing.starts_us).tz_localize(None).as_unit("us").asi8
    wanted = missing.meters * slots + local_us % DAY_US // batch.interval_us
    estimated = by_slot.reindex(wanted, fill_value=-1).to_numpy(np.int64)
    fallback = by_meter.reindex(missing.meters).to_numpy(np.int64)
    return np.where(estimated < 0, fallback, estimated)


def _half_up_mean(energy_wh: pd.Series[int], key: NDArray[np.int64]) -> pd.Series[int]:
    sums = energy_wh.groupby(key).agg(["sum", "size"])
    return (2 * sums["sum"] + sums["size"]) // (2 * sums["size"])


def _local(batch: Batch, starts_us: NDArray[np.int64]) -> pd.DatetimeIndex:
    utc = pd.DatetimeIndex(starts_us.view("datetime64[us]")).tz_localize("UTC")
    return utc.tz_convert(batch.zone)
