"""Gaps: the intervals that a meter point should have, and those that are not there.

A billing period has one interval after the other for every meter point, of a length that may change
within it. What is not there after the rules ran is a gap. It is filled (`estimation_methods`) and
flagged `estimated`, or the meter point is left out of the period; it is never billed as if nothing
had been used.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.readings import MINUTE_US, ReadingProblem, moment_us
from gridsecure.billing.validation_rules import CheckedReadings, Mask

_BLOCK: Final = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """The intervals that each meter point should have: stretches of one length, one per element.

    Attributes:
        meters: Index into the batch's names; sorted, and by time within a meter point.
        first_us: Start of the stretch [µs since 1970 UTC].
        step_us: Its interval length [µs].
        counts: Its number of intervals.
        size: Meter points of the batch.
    """

    meters: NDArray[np.int64]
    first_us: NDArray[np.int64]
    step_us: NDArray[np.int64]
    counts: NDArray[np.int64]
    size: int

    @property
    def minutes(self) -> NDArray[np.int64]:
        """Expected time per meter point [minutes]; 0 when it has nothing to go by."""
        minutes = np.zeros(self.size, dtype=np.int64)
        np.add.at(minutes, self.meters, self.counts * self.step_us // MINUTE_US)
        return minutes

    def cells(self, batch: CheckedReadings, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of the expected interval that each row is, over all meter points; -1 for none."""
        found = np.full(len(rows), -1, dtype=np.int64)
        if len(self.meters):
            # Some rows at a time: what is between them and their numbers stays in the caches.
            for first in range(0, len(rows), _BLOCK):
                part = slice(first, first + _BLOCK)
                found[part] = self._cells(batch, rows[part])
        return found

    def _cells(self, batch: CheckedReadings, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        stretch = _last_at_or_before(self, batch.meters[rows], batch.starts_us[rows])
        own = np.maximum(stretch, 0)
        after_us = batch.starts_us[rows] - self.first_us[own]
        step_us: NDArray[np.int64] | int = self.step_us[own]
        if self.step_us.min() == self.step_us.max():
            step_us = int(self.step_us[0])  # numpy divides by one number twice as fast
        offset = after_us // step_us
        fits = (stretch >= 0) & (offset * step_us == after_us) & (offset < self.counts[own])
        fits &= batch.length_us[rows] == step_us
        base = np.concatenate(([0], np.cumsum(self.counts)))
        return np.where(fits, base[own] + offset, -1)


def _last_at_or_before(
    span: Span, meters: NDArray[np.int64], starts_us: NDArray[np.int64]
) -> NDArray[np.intp]:
    """The stretch of each row's meter point that begins at or before it; -1 for none.

    There is a stretch at least, and a row.
    """
    if np.array_equal(span.meters, np.arange(span.size)):  # one stretch each
        return np.where(starts_us >= span.first_us[meters], meters, -1)
    # Meter point and minute as one sorted number: stretches begin on whole minutes.
    origin = min(int(span.first_us.min()), int(starts_us.min()))
    stretch_minutes, row_minutes = (
        (moments - origin) // MINUTE_US for moments in (span.first_us, starts_us)
    )
    width = 1 + max(int(stretch_minutes.max()), int(row_minutes.max()))
    keys, wanted = span.meters * width + stretch_minutes, meters * width + row_minutes
    found = np.searchsorted(keys, wanted, side="right") - 1
    own = (found >= 0) & (span.meters[np.maximum(found, 0)] == meters)
    return np.where(own, found, -1)


@dataclass(frozen=True, slots=True, eq=False)
class Missing:
    """Intervals without an accepted reading, sorted by meter point and start.

    Attributes:
        meters: Index into the batch's names.
        starts_us: Interval start [µs since 1970 UTC].
        step_us: Interval length [µs].
    """

    meters: NDArray[np.int64]
    starts_us: NDArray[np.int64]
    step_us: NDArray[np.int64]


def make_span(
    batch: CheckedReadings, usable: Mask, *, period: tuple[dt.datetime, dt.datetime] | None
) -> Span:
    """The intervals expected of each meter point, from the lengths of its usable rows.

    A meter point that goes over to another length has a stretch of each; where readings are missing
    at the change, the first length holds up to the grid of both.

    Args:
        batch: The batch, sorted by meter point and start.
        usable: Rows that say when, and how long, their meter point was read.
        period: The half-open billing period that all should cover; without one, each meter point
            covers the time from its first to its last usable row.
    """
    # Where all are usable, as nearly always, their columns are taken as they are.
    rows = slice(None) if usable.all() else np.flatnonzero(usable)
    meters, length_us = batch.meters[rows], batch.length_us[rows]
    starts_us, local_us = batch.starts_us[rows], batch.local_us[rows]
    new_meter = np.append(True, meters[1:] != meters[:-1])[: len(meters)]
    begins = new_meter | np.append(True, length_us[1:] != length_us[:-1])[: len(meters)]
    at = np.flatnonzero(begins)
    ends = np.append(at[1:], len(meters))[: len(at)] - 1
    ended_us = starts_us[ends] + length_us[ends]
    step_us = length_us[at]
    # Where lengths change: back to the grid of both, but not into what was read before.
    common_us = np.lcm(step_us, np.append(step_us[:1], step_us[:-1]))
    first_us = starts_us[at] - local_us[at] % np.maximum(common_us, 1)
    before = np.append(0, ended_us)[: len(at)]
    first_us = np.maximum(first_us, np.where(new_meter[at], 0, before))
    first_us = np.where(new_meter[at], starts_us[at], first_us)
    last_of_meter = np.append(new_meter[at][1:], True)[: len(at)]
    end_us = np.where(last_of_meter, ended_us, np.append(first_us[1:], 0)[: len(at)])
    if period is not None:
        first_us = np.where(new_meter[at], moment_us(period[0]), first_us)
        end_us = np.where(last_of_meter, moment_us(period[1]), end_us)
    counts = np.maximum(end_us - first_us, 0) // np.maximum(step_us, 1)
    return Span(meters[at], first_us, step_us, counts, len(batch.names))


def find_missing(span: Span, accepted: NDArray[np.int64], *, within: Mask) -> Missing:
    """List the expected intervals that no accepted row covers.

    Args:
        accepted: The intervals of accepted rows, from `Span.cells`.
        within: Meter points to look at (one element per meter point).
    """
    base = np.concatenate(([0], np.cumsum(span.counts)))
    covered = np.zeros(int(base[-1]), dtype=bool)
    covered[accepted] = True
    covered |= np.repeat(~within[span.meters], span.counts)
    cells = np.flatnonzero(~covered)
    owners = np.searchsorted(base, cells, side="right") - 1
    step_us = span.step_us[owners]
    starts_us = span.first_us[owners] + (cells - base[owners]) * step_us
    return Missing(span.meters[owners], starts_us, step_us)


def gap_problems(batch: CheckedReadings, missing: Missing) -> list[ReadingProblem]:
    """One `gap` problem per unbroken run of missing intervals."""
    if not len(missing.meters):
        return []
    firsts = first_of_runs(missing)
    lengths = np.diff(np.append(firsts, len(missing.meters)))
    starts = local_starts(batch, missing.starts_us[firsts])
    names = batch.names[missing.meters[firsts]]
    return [
        ReadingProblem(
            str(name), start, "gap", f"{length} intervals without a usable reading", int(length)
        )
        for name, start, length in zip(names, starts, lengths, strict=True)
    ]


def find_long_gaps(missing: Missing, longest_minutes: NDArray[np.int64]) -> Mask:
    """Meter points with an unbroken run of missing intervals that is longer than they may have.

    Args:
        longest_minutes: The longest run that may be filled, by meter point [minutes].
    """
    found = np.zeros(len(longest_minutes), dtype=bool)
    if len(missing.meters):
        firsts = first_of_runs(missing)
        minutes = np.add.reduceat(missing.step_us // MINUTE_US, firsts)
        owners = missing.meters[firsts]
        found[owners[minutes > longest_minutes[owners]]] = True
    return found


def first_of_runs(missing: Missing) -> NDArray[np.intp]:
    """Where each unbroken run of missing intervals begins."""
    new_run = np.ones(len(missing.meters), dtype=bool)
    new_run[1:] = (missing.meters[1:] != missing.meters[:-1]) | (
        np.diff(missing.starts_us) != missing.step_us[:-1]
    )
    return np.flatnonzero(new_run)


def local_starts(batch: CheckedReadings, starts_us: NDArray[np.int64]) -> pd.DatetimeIndex:
    """Moments on the clock of a batch."""
    utc = pd.DatetimeIndex(starts_us.view("datetime64[us]")).tz_localize("UTC")
    return utc.tz_convert(batch.zone)
