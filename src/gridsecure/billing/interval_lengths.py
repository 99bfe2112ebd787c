"""How long each reading's interval is: a fact of the meter point and the time, never of the file.

A file of readings states starts alone, so the length is told from the distances between a meter
point's own neighbouring readings. A meter that is set to another length leaves a run of distances
of the new length behind; a lost reading leaves one distance that is a multiple of the old. The two
are told apart by cost: a lost reading costs 1, a change of the length `CHANGE_COST`, and the
cheapest account of a meter point's month is taken. So what other meter points of the file do, and
the order of its lines, changes nothing.

A day's half-hourly readings of which exactly every second one is lost cannot be told from hourly
ones; after `CHANGE_COST` lost in a row they are taken for hourly, and the change is reported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.readings import (
    DAY_MINUTES,
    INTERVAL_MINUTES,
    MINUTE_US,
    ReadingProblem,
    make_readings,
    neighbour_steps,
    start_us,
)
from gridsecure.errors import InvalidReadingsError

CHANGE_COST: Final = 3
"""What a change of the interval length costs, in lost readings."""

UNKNOWN_MINUTES: Final = 0
"""In place of a length that cannot be told."""

UNKNOWN: Final = pd.Timedelta(0)
"""Given as a known length, leaves a length that cannot be told unknown."""

Numbers = NDArray[np.int64]

_LENGTHS: Final = np.array(INTERVAL_MINUTES, dtype=np.int64)
_SHORTEST_US: Final = INTERVAL_MINUTES[0] * MINUTE_US
_OFF_COST: Final = 3


def interval_minutes(
    readings: pd.DataFrame, *, known: pd.Timedelta | None = None
) -> NDArray[np.int64]:
    """The length of each reading's interval [minutes].

    Args:
        readings: A readings frame, in any row order. What its column `minutes` says is taken.
        known: Length of the meter points that have too few readings to tell it. Without it, a
            meter point with a single reading has the length most frequent in the frame, and one
            whose readings are never neighbours has `UNKNOWN_MINUTES`.

    Raises:
        InvalidReadingsError: `readings.interval` when no meter point's length can be told.
    """
    if "minutes" in readings:
        return readings["minutes"].to_numpy(np.int64)
    codes, _ = pd.factorize(readings["meter_point_id"])

    def local() -> NDArray[np.int64]:
        return pd.DatetimeIndex(readings["start"]).tz_localize(None).as_unit("us").asi8

    return tell_lengths(codes.astype(np.int64), start_us(readings), local=local, known=known)


def tell_lengths(
    meters: NDArray[np.int64],
    starts: NDArray[np.int64],
    *,
    local: Callable[[], NDArray[np.int64]],
    known: pd.Timedelta | None,
) -> NDArray[np.int64]:
    """As `interval_minutes`, of columns.

    Args:
        meters: Meter point number per row, from 0.
        starts: Interval start per row [µs since 1970-01-01 UTC].
        local: Gives the same in local time; asked only where a meter point has several lengths.
    """
    order, steps = neighbour_steps(meters, starts)
    # The last of several rows of one start carries the distance to the next start.
    distinct = np.flatnonzero(steps != 0)
    rows = order[distinct]
    lengths = _by_meter(meters[rows], steps[distinct], local=lambda: local()[rows])
    single = np.bincount(meters[rows], minlength=int(meters.max(initial=-1)) + 1) == 1
    told = lengths[lengths != UNKNOWN_MINUTES]
    if known is not None:
        lengths[lengths == UNKNOWN_MINUTES] = known // pd.Timedelta(minutes=1)
    elif len(told):
        lengths[(lengths == UNKNOWN_MINUTES) & single[meters[rows]]] = _most_frequent(told)
    else:
        raise InvalidReadingsError(
            "These readings do not show their interval length.",
            reason="readings.interval",
            remedy="Neighbouring readings of a meter point must be 5, 10, 15, 30 or 60 min apart.",
        )
    if len(distinct) < len(order):
        lengths = lengths[np.searchsorted(distinct, np.arange(len(order)))]
    found = np.empty(len(meters), dtype=np.int64)
    found[order] = lengths
    return found


def usual_interval(minutes: NDArray[np.int64]) -> pd.Timedelta:
    """The most frequent length of a frame, the shorter one where two are."""
    told = minutes[minutes != UNKNOWN_MINUTES]
    return pd.Timedelta(minutes=_most_frequent(told)) if len(told) else UNKNOWN


def find_length_changes(readings: pd.DataFrame) -> tuple[ReadingProblem, ...]:
    """One `interval-change` problem wherever a meter point goes over to another length."""
    codes, names = pd.factorize(readings["meter_point_id"], sort=True)
    meters, minutes = codes.astype(np.int64), interval_minutes(readings)
    order, _ = neighbour_steps(meters, start_us(readings))
    if (minutes == DAY_MINUTES).any():
        order = order[~find_day_totals(meters, start_us(readings), minutes)[order]]
    meters, minutes = meters[order], minutes[order]
    changed = np.flatnonzero((meters[1:] == meters[:-1]) & (minutes[1:] != minutes[:-1])) + 1
    starts = readings["start"].iloc[order[changed]]
    return tuple(
        ReadingProblem(
            str(names[meters[row]]),
            start,
            "interval-change",
            f"its readings are of {minutes[row - 1]} minutes before and {minutes[row]} from here",
        )
        for row, start in zip(changed, starts, strict=True)
    )


def find_overlapping(
    meters: NDArray[np.int64], starts_us: NDArray[np.int64], minutes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Rows whose interval reaches into the next one of their meter point, in order of time."""
    order, steps = neighbour_steps(meters, starts_us)
    rows: NDArray[np.int64] = order[(steps > 0) & (steps < minutes[order] * MINUTE_US)]
    return rows


def find_day_totals(meters: Numbers, starts_us: Numbers, minutes: Numbers) -> NDArray[np.bool_]:
    """Values of whole days in which shorter readings of their meter point begin.

    Args:
        meters: Meter point number of each reading.
        starts_us: Its start [µs].
        minutes: Its length [minutes].
    """
    found: NDArray[np.bool_] = minutes == DAY_MINUTES
    (days,) = np.nonzero(found)
    # The others of meter points that have both are few or none.
    has_days = np.bincount(meters[days], minlength=int(meters.max(initial=-1)) + 1) > 0
    (others,) = np.nonzero(~found & has_days[meters])
    first_us, own = starts_us[days], meters[days]
    _, low, high = find_starts_within(
        (own, first_us, first_us + DAY_MINUTES * MINUTE_US), of=(meters[others], starts_us[others])
    )
    found[days] = high > low
    return found


def find_starts_within(
    intervals: tuple[Numbers, Numbers, Numbers], *, of: tuple[Numbers, Numbers]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Which readings of its meter point begin in each half-open interval.

    Args:
        intervals: Meter point number, start and end of each [µs].
        of: Meter point number and start of each reading [µs].

    Returns:
        An order of the readings, and for each interval the bounds of its own in that order.
    """
    meters, starts_us, ends_us = intervals
    # Moments by their order, so that meter point and moment are one number whatever the dates.
    moments = np.unique(np.concatenate([starts_us, ends_us, of[1]]))
    keys = of[0] * len(moments) + np.searchsorted(moments, of[1])
    order = np.argsort(keys, kind="stable")
    low, high = (
        np.searchsorted(keys[order], meters * len(moments) + np.searchsorted(moments, edge_us))
        for edge_us in (starts_us, ends_us)
    )
    return order, low, high


def _most_frequent(numbers: NDArray[np.int64]) -> int:
    values, counts = np.unique(numbers, return_counts=True)
    return int(values[counts.argmax()])


def _by_meter(
    meters: NDArray[np.int64],
    steps_us: NDArray[np.int64],
    *,
    local: Callable[[], NDArray[np.int64]],
) -> NDArray[np.int64]:
    """Lengths of rows sorted by meter point and start [minutes]."""
    size = int(meters.max(initial=-1)) + 1
    counts = np.zeros((size, len(_LENGTHS)), dtype=np.int64)
    for column, minutes in enumerate(INTERVAL_MINUTES):
        counts[:, column] = np.bincount(meters[steps_us == minutes * MINUTE_US], minlength=size)
    usual = counts.argmax(axis=1)
    lengths = np.where(counts.max(axis=1) > 0, _LENGTHS[usual], UNKNOWN_MINUTES)[meters]
    # Fewer other distances than a change costs: no account with a change can be cheaper.
    others = np.bincount(meters[(steps_us > 0) & (steps_us != lengths * MINUTE_US)], minlength=size)
    mixed = np.flatnonzero((others > CHANGE_COST) & (counts.max(axis=1) > 0))
    bounds = np.searchsorted(meters, [mixed, mixed + 1])
    local_us = local() if len(mixed) else steps_us
    for meter, first, end in zip(mixed, *bounds, strict=True):
        lengths[first:end] = _cheapest(
            steps_us[first:end], local_us[first:end], lengths=_LENGTHS[counts[meter] > 0]
        )
    return lengths


def _cheapest(
    steps_us: NDArray[np.int64], local_us: NDArray[np.int64], *, lengths: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The cheapest account of one meter point's distances, by dynamic programming over runs."""
    step, length_us = steps_us[:, None], lengths * MINUTE_US
    # A clock that is some seconds off is off for every length; it is for validation to find.
    local_us = local_us - _most_frequent(local_us % _SHORTEST_US)
    off = (step % length_us != 0) | (local_us[:, None] % length_us != 0)
    costs = np.where(off, _OFF_COST, (step != length_us).astype(np.int64))
    costs[steps_us < 0] = 0
    begins = np.flatnonzero(np.append(True, (costs[1:] != costs[:-1]).any(axis=1)))
    runs = np.diff(np.append(begins, len(costs)))
    totals, came_from = np.zeros(len(lengths), dtype=np.int64), []
    for begin, run in zip(begins, runs, strict=True):
        best = int(totals.argmin())
        stays = totals <= totals[best] + CHANGE_COST
        came_from.append(np.where(stays, np.arange(len(lengths)), best))
        totals = np.where(stays, totals, totals[best] + CHANGE_COST) + costs[begin] * run
    chosen = np.empty(len(begins), dtype=np.int64)
    state = int(totals.argmin())
    for run in range(len(begins) - 1, -1, -1):
        chosen[run] = lengths[state]
        state = int(came_from[run][state])
    return np.repeat(chosen, runs)


def resample_readings(readings: pd.DataFrame, *, interval: pd.Timedelta) -> pd.DataFrame:
    """Add readings up to longer intervals, exactly.

    An interval appears only when every part of it is there, so a gap stays a gap; it is
    `estimated` when any part is. Rows must be unique per meter point and start and none may be
    `missing`, as after validation.

    Args:
        readings: A readings frame with intervals that divide `interval`.

    Returns:
        A readings frame sorted by meter point and start.

    Raises:
        InvalidReadingsError: `readings.interval` when the lengths do not divide each other.
    """
    wanted, own = interval // pd.Timedelta(minutes=1), interval_minutes(readings)
    if (own == UNKNOWN_MINUTES).any() or (wanted % np.maximum(own, 1)).any():
        raise InvalidReadingsError(
            "Readings can only be added up to a multiple of their own interval.",
            reason="readings.interval",
            remedy="Choose an interval that the readings divide, such as 30 or 60 minutes.",
        )
    whole = readings.assign(
        start=readings["start"].dt.floor(interval),
        estimated=readings["quality"] != "actual",
        covered=own,
    )
    grouped = whole.groupby(["meter_point_id", "start"], sort=True, observed=True)
    table = grouped.agg(
        energy_wh=("energy_wh", "sum"), covered=("covered", "sum"), estimated=("estimated", "any")
    )
    table = table[table["covered"] == wanted].reset_index()
    return make_readings(
        table["meter_point_id"],
        start=table["start"],
        energy_wh=table["energy_wh"],
        quality=np.where(table["estimated"], "estimated", "actual"),
        minutes=np.full(len(table), wanted, dtype=np.int64),
    )
