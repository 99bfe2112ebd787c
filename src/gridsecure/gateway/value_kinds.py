"""What the numbers and times of a file mean, where the layout alone does not say.

A register's face under the name of an energy, and a time that is the end of an interval under the
name of a start, both make a table that reads well and a bill that is wrong. Both leave a mark:

- faces only rise, from the first reading of a meter point to the last, which energies of intervals
  do not do over a day, let alone a month;
- ends of intervals begin after a midnight and reach the next one, 00:30 … 00:00 or 24:00, where
  starts begin with the midnight and never reach the last.

Such a file is refused until it is said what is meant: by the columns `values` and `stamps`, or by
options of the command that reads it. The choice is public and changes no number by guess. What a
source declared once is held against each of its batches (`WrittenTimes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.readings import (
    MINUTE_US,
    ReadingProblem,
    is_sorted,
    neighbour_steps,
    register_columns,
    start_us,
)
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.meanings import Meaning, Stamps, Values

_FEWEST_RISES: Final = 20
"""Of a day of 24 readings, faces rise 23 times; energies of a day do not rise 20 times on end."""
_RISES_PER_FALL: Final = 200
"""A register may start again or be exchanged, and a zero face may stand among the others."""
_DAY: Final = pd.Timedelta(days=1)
_SPARSE: Final = pd.Timedelta(hours=2)
RUN: Final = np.dtype(
    [
        (name, np.int64)
        for name in ("rises", "falls", "low", "high", "first", "last", "opening", "closing")
    ]
)
"""A meter point's readings other than zero in order of time: how often the value rises and falls
from one to the next; its least and its greatest; when the first and the last interval start [µs
since 1970-01-01 UTC]; and the values there [Wh, varh]."""
_SHOWN: Final = 3


def find_meaning(table: pd.DataFrame, asked: Meaning) -> Meaning:
    """What is asked for, or else what the file's columns `values` and `stamps` say.

    Raises:
        InvalidReadingsError: `readings.values` or `readings.stamps`: a column says several things,
            or none that is known, or another than is asked for.
    """
    values = _stated(table, "values", Values, asked.values)
    stamps = _stated(table, "stamps", Stamps, asked.stamps)
    return Meaning(
        None if values is None else Values(values), None if stamps is None else Stamps(stamps)
    )


def meaning_of_intervals(asked: Meaning) -> Meaning:
    """The meaning of a format whose numbers are energies and whose times are starts.

    Raises:
        InvalidReadingsError: `readings.values` or `readings.stamps`: another one is asked for.
    """
    for name, said, own in (
        ("values", asked.values, Values.INTERVAL),
        ("stamps", asked.stamps, Stamps.START),
    ):
        if said not in (None, own):
            raise InvalidReadingsError(
                f"The file is of a format that fixes its {name} as {own}, and {said} is asked for.",
                reason=f"readings.{name}",
                remedy=f"Leave out the option --{name}, or declare no other of the source.",
            )
    return Meaning(Values.INTERVAL, Stamps.START)


def _stated(
    table: pd.DataFrame, column: str, kinds: type[StrEnum], asked: StrEnum | None
) -> str | None:
    if column not in table:
        return asked
    said = set(table[column].str.strip().str.lower())
    known = [kind.value for kind in kinds]
    if len(said) > 1 or not said <= set(known):
        raise InvalidReadingsError(
            f"The column {column} has different values within the file.",
            reason=f"readings.{column}",
            remedy=f"Write {' or '.join(known)} on every line, or split the file.",
        )
    (one,) = said
    if asked is not None and asked != one:
        raise InvalidReadingsError(
            f"The column {column} says {one}, and the option says {asked}.",
            reason=f"readings.{column}",
            remedy=f"Leave out the option --{column}, or correct the column.",
        )
    return one


def refuse_cumulative(readings: pd.DataFrame) -> None:
    """Refuse energies that look like the faces of a register.

    Args:
        readings: A readings frame.

    Raises:
        InvalidReadingsError: `readings.cumulative`, naming the meter points.
    """
    codes, names = pd.factorize(readings["meter_point_id"])
    there = (readings["quality"] != "missing").to_numpy()
    columns = ("energy_wh", *register_columns(readings))
    refuse_rising(
        [np.where(there, readings[name].to_numpy(np.int64), 0) for name in columns],
        meters=codes.astype(np.int64),
        names=names,
        starts=start_us(readings),
    )


def refuse_rising(
    energies: Sequence[NDArray[np.int64]],
    *,
    meters: NDArray[np.int64],
    names: Sequence[str] | pd.Index[Any],
    starts: NDArray[np.int64],
) -> None:
    """As `refuse_cumulative`, of columns.

    Args:
        energies: One for each register; 0 where there is no reading [Wh, varh].
        meters: Meter point number per row: its place among the names.
        starts: Interval start per row [µs since 1970-01-01 UTC].
    """
    if len(starts) <= _FEWEST_RISES:
        return
    # Most files are in this order as they stand, and nothing of theirs has to be copied.
    order = None if is_sorted(meters, starts) else neighbour_steps(meters, starts)[0]
    if order is not None:
        meters, starts = meters[order], starts[order]
    for energy in energies:
        values = energy if order is None else energy[order]
        rows = _could_rise(meters, values)
        if not len(rows):
            continue
        refuse_rising_runs(*runs_of(meters[rows], starts[rows], values[rows]), names=names)


def _could_rise(meters: NDArray[np.int64], energy: NDArray[np.int64]) -> NDArray[np.intp]:
    """The rows of meter points whose readings do not fall too often for the faces of a register.

    Falls between readings that stand side by side are fewer than all, and every other step may be
    a rise: who is left out here is no run of `refuse_rising_runs`, and of energies of intervals
    that is nearly everybody, seen in one pass.

    Args:
        meters: Meter point number per row; rows are sorted by meter point and start.
        energy: Of one register, as `refuse_rising` has them.
    """
    begins = np.flatnonzero(np.append(True, meters[1:] != meters[:-1]))
    falls = np.zeros(len(meters), dtype=np.int8)
    falls[1:] = (energy[1:] < energy[:-1]) & (energy[1:] > 0)
    falls[begins] = 0
    fallen = np.add.reduceat(falls, begins, dtype=np.int64)
    rows = np.diff(np.append(begins, len(meters)))
    left = rows - 1 - fallen >= np.maximum(_FEWEST_RISES, fallen * _RISES_PER_FALL)
    return np.flatnonzero(np.repeat(left, rows))


def runs_of(
    meters: NDArray[np.int64], starts: NDArray[np.int64], energy: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.void]]:
    """The meter points that have readings other than zero, in order, and a `RUN` of each.

    Args:
        meters: Meter point number per row; rows are sorted by meter point and start.
        starts: As `refuse_rising` has them.
        energy: Of one register, as there.
    """
    rows = np.flatnonzero(energy > 0)
    meters, starts, energy = meters[rows], starts[rows], energy[rows]
    same = meters[1:] == meters[:-1]
    begins = np.flatnonzero(np.append(np.ones(min(len(rows), 1), dtype=bool), ~same))
    runs = np.zeros(len(begins), dtype=RUN)
    if len(begins):
        ends = np.append(begins[1:], len(rows)) - 1
        for name, steps in (
            ("rises", same & (energy[1:] > energy[:-1])),
            ("falls", same & (energy[1:] < energy[:-1])),
        ):
            before = np.append(0, np.cumsum(steps))
            runs[name] = before[ends] - before[begins]
        runs["low"] = np.minimum.reduceat(energy, begins)
        runs["high"] = np.maximum.reduceat(energy, begins)
        runs["first"], runs["last"] = starts[begins], starts[ends]
        runs["opening"], runs["closing"] = energy[begins], energy[ends]
    return meters[begins], runs


def refuse_rising_runs(
    meters: NDArray[np.int64], runs: NDArray[np.void], *, names: Sequence[str] | pd.Index[Any]
) -> None:
    """Refuse runs whose values rise from reading to reading, but for a few falls.

    Within a single day the load itself may rise; then a face is told by what it counted before.

    Args:
        meters: Place of each run's meter point among the names.
        runs: A `RUN` of each.

    Raises:
        InvalidReadingsError: `readings.cumulative`, naming the meter points.
    """
    is_rising = runs["rises"] >= np.maximum(_FEWEST_RISES, runs["falls"] * _RISES_PER_FALL)
    is_longer = runs["last"] - runs["first"] > _DAY // pd.Timedelta(microseconds=1)
    found = meters[is_rising & (is_longer | (runs["low"] > runs["high"] - runs["low"]))]
    if not len(found):
        return
    shown = ", ".join(repr(str(names[meter])) for meter in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise InvalidReadingsError(
        f"The values of meter point {shown}{more} only rise, as the faces of a cumulative register"
        " do, and the file says that they are the energies of intervals.",
        reason="readings.cumulative",
        remedy="If they are faces, name the column register_kwh, or say so with a column values"
        " that holds register on every line; if they are energies, let it hold interval. A batch"
        " says it in the column; for a file of its own, `gridsecure bill` has --values, too.",
        problems=tuple(
            ReadingProblem(str(names[meter]), None, "cumulative", "its values only rise")
            for meter in found[:20]
        ),
    )


def refuse_ends(starts: pd.DatetimeIndex, *, last_hour: bool) -> None:
    """Refuse starts that look like the ends of intervals.

    Args:
        starts: Starts as the file gives them, in the zone of its local times.
        last_hour: Whether the file writes 24:00, which begins no interval.

    Raises:
        InvalidReadingsError: `readings.stamps`.
    """
    first, last = starts.min(), starts.max()
    from_midnight, to_midnight = first == first.normalize(), last == last.normalize()
    # A few corrected readings begin and end anywhere; only a run of them shows a pattern.
    marked = to_midnight and not from_midnight and last - first >= _DAY
    marked = marked and len(starts.unique()) > (last - first) / _SPARSE
    if not last_hour and not marked:
        return
    how = "24:00 among them" if last_hour else f"from {first:%H:%M} to a midnight"
    raise InvalidReadingsError(
        f"The times of the readings ({how}) look like the ends of their intervals, and nobody says"
        " so: they would be taken for starts.",
        reason="readings.stamps",
        remedy="If they are ends, say so with a column stamps that holds end on every line; if they"
        " are starts, let it hold start. A source can declare it once for all its batches"
        " (stamps); for a file of its own, `gridsecure bill` has --stamps.",
    )


class WrittenTimes:
    """The times of a body so far, for whether they contradict what its source declared of them.

    Times of whole days say what they are: starts begin with a midnight and end a step before one,
    ends begin a step after a midnight and end with one. Anything else contradicts nothing.
    """

    def __init__(self, stamps: Stamps, timezone: str) -> None:
        """Nothing seen yet.

        Args:
            stamps: What the source declared.
            timezone: Its local time, whose midnights count.
        """
        self._stamps, self._timezone = stamps, timezone
        self._seen = np.empty(0, dtype=np.int64)
        self._step = 0

    def add(self, starts: NDArray[np.int64], minutes: NDArray[np.int64]) -> None:
        """Look at some readings of which the body does not say what their times are.

        Args:
            starts: By what was declared [µs since 1970-01-01 UTC].
            minutes: Length of each interval; 0 where it is unknown.
        """
        known = minutes > 0
        if not known.any():
            return
        lengths = minutes[known] * MINUTE_US
        written = starts[known] + (lengths if self._stamps is Stamps.END else 0)
        self._step = max(self._step, int(lengths.max()))
        self._seen = np.union1d(self._seen, pd.unique(written))

    def check(self) -> None:
        """Refuse times of whole days that are the others.

        Raises:
            InvalidReadingsError: `readings.stamps`.
        """
        day = _DAY // pd.Timedelta(microseconds=1)
        if not len(self._seen) or self._step >= day:
            return  # intervals of a day begin and end with a midnight
        first, last = int(self._seen[0]), int(self._seen[-1])
        # As starts: from a midnight, to a step before one. As ends: both a step later.
        step = 0 if self._stamps is Stamps.END else self._step
        is_long = last - first >= day - self._step
        is_dense = len(self._seen) > (last - first) / (_SPARSE // pd.Timedelta(microseconds=1))
        edges = (first - step, last + self._step - step)
        if not (is_long and is_dense and all(map(self._is_midnight, edges))):
            return
        other = Stamps.START if self._stamps is Stamps.END else Stamps.END
        written = [self._local(moment).strftime("%H:%M") for moment in (first, last)]
        raise InvalidReadingsError(
            f"The times of the batch (whole days from {written[0]} to {written[1]}) look like the"
            f" {other.value}s of intervals, and the source declared {self._stamps.value}s.",
            reason="readings.stamps",
            remedy=f"Have an operator declare {other.value}s of the source. If they are"
            f" {self._stamps.value}s, say so in the batch: a column stamps that holds"
            f" {self._stamps.value} on every line.",
        )

    def _is_midnight(self, moment: int) -> bool:
        local = self._local(moment)
        return local == local.normalize()

    def _local(self, moment: int) -> pd.Timestamp:
        return pd.Timestamp(moment, unit="us", tz="UTC").tz_convert(self._timezone)


def move_to_starts(readings: pd.DataFrame, *, interval: pd.Timedelta) -> pd.DataFrame:
    """Readings stamped at the end of their intervals, moved to the start.

    Args:
        readings: A readings frame whose `start` holds ends; `minutes`, where it stands, holds the
            distance from each reading to the next of its meter point.
        interval: Length of the intervals where there are no `minutes`.

    Returns:
        The frame with starts. An interval that ends is as long as the distance from the reading
        before, so `minutes` move on by one reading.
    """
    if "minutes" not in readings:
        return readings.assign(start=readings["start"] - interval)
    codes, _ = pd.factorize(readings["meter_point_id"])
    order, _ = neighbour_steps(codes.astype(np.int64), start_us(readings))
    meters, minutes = codes[order], readings["minutes"].to_numpy(np.int64)[order]
    before = minutes.copy()
    before[1:] = np.where(meters[1:] == meters[:-1], minutes[:-1], minutes[1:])
    lengths = np.empty_like(before)
    lengths[order] = before
    starts = readings["start"] - pd.Series(pd.to_timedelta(lengths, unit="min"), readings.index)
    return readings.assign(start=starts.astype(readings["start"].dtype), minutes=lengths)
