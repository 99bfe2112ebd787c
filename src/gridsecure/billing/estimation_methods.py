"""What fills a gap: named methods, in the order that the rule book declares.

Each interval takes the first method that can tell its energy, and carries that method's name. All
of them start from accepted `actual` readings, so estimates never feed estimates, and all are exact:
integers, round half up.

- `interpolation`: a straight line between the readings on both sides of a short gap;
- `like-day`: the same time on the nearest day of the same name, up to four weeks away;
- `profile`: the meter point's mean for that time of day in the period;
- `previous-month`, `last-year`: its mean for that time of day, of working days and of weekends, in
  the month before, or in the same month a year before;
- `mean`: its mean power in the period, which every meter point with an actual reading has.

Utilities estimate by the same means: AEMO's substitution types (like day, average like day, linear
interpolation; Metrology Procedure Part B) and ESPI's qualities 8 and 9 (by reference day, by linear
interpolation).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.estimation import Missing, first_of_runs, local_starts
from gridsecure.billing.readings import MINUTE_US
from gridsecure.billing.rule_books import PAST_METHODS, Estimation
from gridsecure.billing.validation_rules import CheckedReadings, Mask

NONE: Final = -1
"""In place of an energy that a method cannot tell."""

_DAY_US: Final = 86_400_000_000
_DAY: Final = _DAY_US // MINUTE_US
_MONDAY: Final = 4  # days from 1970-01-01, a Thursday, to the first Monday
_SATURDAY: Final = 5
_LIKE_DAYS: Final = (-7, 7, -14, 14, -21, 21, -28, 28)

PROFILE_COLUMNS: Final = ("meter_point_id", "key", "energy_wh")
"""Of a profile: `key` is one number for weekend or not, interval length and minute of the day."""


@dataclass(frozen=True, slots=True, eq=False)
class Filled:
    """What fills missing intervals, in their order.

    Attributes:
        values: Energy [Wh], or what a register counted.
        methods: Index into the declared order; `NONE` where no method could tell it.
    """

    values: NDArray[np.int64]
    methods: NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """Accepted actual readings of the meter points that lack some, sorted as the batch is."""

    meters: NDArray[np.int64]
    starts_us: NDArray[np.int64]
    local_us: NDArray[np.int64]
    length_us: NDArray[np.int64]
    values: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Gaps:
    """What is missing, and where an estimate may look.

    Args:
        batch: The batch.
        accepted: Its rows that count.
        missing: Intervals without one.
        past: Method of `PAST_METHODS` -> profile of that month, as `make_profile` makes it.
    """

    batch: CheckedReadings
    accepted: Mask
    missing: Missing
    past: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    def fill(self, values: NDArray[np.int64], rules: Estimation) -> Filled:
        """Estimate every missing interval.

        Args:
            values: Energy by row of the batch [Wh], or what a register counted; below zero where
                there is no such register.
        """
        missing = self.missing
        known = self._known(values)
        found = np.full(len(missing.meters), NONE, dtype=np.int64)
        methods = np.full(len(missing.meters), NONE, dtype=np.int8)
        for number, method in enumerate(rules.order):
            is_open = found == NONE
            if not is_open.any():
                break
            told = self._tell(method, known, rules)
            takes = is_open & (told != NONE)
            found[takes], methods[takes] = told[takes], number
        return Filled(found, methods)

    def _known(self, values: NDArray[np.int64]) -> _Known:
        batch = self.batch
        concerned = np.zeros(len(batch.names), dtype=bool)
        concerned[self.missing.meters] = True
        rows = np.flatnonzero(
            self.accepted & (batch.rank == 0) & concerned[batch.meters] & (values >= 0)
        )
        return _Known(
            batch.meters[rows],
            batch.starts_us[rows],
            batch.local_us[rows],
            batch.length_us[rows],
            values[rows],
        )

    def _tell(self, method: str, known: _Known, rules: Estimation) -> NDArray[np.int64]:
        if method == "interpolation":
            return _interpolate(known, self.missing, minutes=rules.interpolation_hours * 60)
        if method == "mean":
            return _mean_power(known, self.missing, size=len(self.batch.names))
        local_us = _local_us(self.batch, self.missing)
        if method == "like-day":
            return _like_day(known, self.missing, local_us)
        if method in PAST_METHODS:
            return self._past(self.past.get(method), local_us)
        return _own_profile(known, self.missing, local_us)

    def _past(self, profile: pd.DataFrame | None, local_us: NDArray[np.int64]) -> NDArray[np.int64]:
        """The mean of another month, where the meter point was read in it."""
        if profile is None or profile.empty:
            return np.full(len(self.missing.meters), NONE, dtype=np.int64)
        names = pd.Index(self.batch.names, dtype=str)
        meters = names.get_indexer(pd.Index(profile["meter_point_id"], dtype=str))
        width = 2 * 61 * _DAY
        own = meters >= 0
        keys = meters[own] * width + profile["key"].to_numpy(np.int64)[own]
        means = pd.Series(profile["energy_wh"].to_numpy(np.int64)[own], index=keys)
        wanted = self.missing.meters * width + _day_key(self.missing.step_us, local_us)
        return _look_up(means, wanted)


def make_profile(readings: pd.DataFrame) -> pd.DataFrame:
    """Means by meter point, working day or weekend, interval length and time of day.

    Args:
        readings: Accepted readings with `minutes`; estimates among them count for nothing.

    Returns:
        A frame of `PROFILE_COLUMNS` [Wh].
    """
    actual = readings[(readings["quality"] == "actual").to_numpy(bool)]
    meters, names = pd.factorize(actual["meter_point_id"])
    local_us = pd.DatetimeIndex(actual["start"]).as_unit("us").tz_localize(None).asi8
    width = 2 * 61 * _DAY
    keys = meters * width + _day_key(actual["minutes"].to_numpy(np.int64) * MINUTE_US, local_us)
    means = _half_up_mean(pd.Series(actual["energy_wh"].to_numpy(np.int64)), keys)
    found = means.index.to_numpy(np.int64)
    ids = np.asarray(names, dtype=object)[found // width]
    columns = dict(zip(PROFILE_COLUMNS, (ids, found % width, means.to_numpy()), strict=True))
    return pd.DataFrame(columns)


def _interpolate(known: _Known, missing: Missing, *, minutes: int) -> NDArray[np.int64]:
    """Energies on the line from the reading before a run to the one after it."""
    found = np.full(len(missing.meters), NONE, dtype=np.int64)
    if not len(known.meters) or not len(missing.meters):
        return found
    firsts = first_of_runs(missing)
    counts = np.diff(np.append(firsts, len(missing.meters))).astype(np.int64)
    step_us = missing.step_us[firsts]
    begin_us = missing.starts_us[firsts]
    meters = missing.meters[firsts]
    before = _at(known, meters, begin_us - step_us, step_us)
    after = _at(known, meters, begin_us + counts * step_us, step_us)
    is_even = np.maximum.reduceat(missing.step_us, firsts) == step_us
    is_even &= np.minimum.reduceat(missing.step_us, firsts) == step_us
    takes = is_even & (before >= 0) & (after >= 0) & (counts * step_us <= minutes * MINUTE_US)
    run = np.repeat(np.arange(len(firsts)), counts)
    place = np.arange(len(run)) - firsts[run] + 1
    parts = counts[run] + 1
    first, last = known.values[before][run], known.values[after][run]
    on_line = (2 * (first * (parts - place) + last * place) + parts) // (2 * parts)
    found[takes[run]] = on_line[takes[run]]
    return found


def _like_day(known: _Known, missing: Missing, local_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """What was read at that time on the nearest day of the same name."""
    order = np.lexsort((known.local_us, known.meters))
    by_clock = _Known(
        known.meters[order],
        known.local_us[order],
        known.local_us[order],
        known.length_us[order],
        known.values[order],
    )
    found = np.full(len(missing.meters), NONE, dtype=np.int64)
    for days in _LIKE_DAYS:
        at = _at(by_clock, missing.meters, local_us + days * _DAY_US, missing.step_us)
        takes = (found == NONE) & (at >= 0)
        found[takes] = by_clock.values[at[takes]]
    return found


def _own_profile(known: _Known, missing: Missing, local_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """The mean of that time of day, over intervals of the same length."""
    means = _half_up_mean(
        pd.Series(known.values), _time_key(known.meters, known.length_us, known.local_us)
    )
    wanted = _time_key(missing.meters, missing.step_us, local_us)
    return _look_up(means, wanted)


def _mean_power(known: _Known, missing: Missing, *, size: int) -> NDArray[np.int64]:
    """The mean power over all readings, for the length of the interval."""
    totals, lasted = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    np.add.at(totals, known.meters, known.values)
    np.add.at(lasted, known.meters, known.length_us // MINUTE_US)
    total, total_minutes = totals[missing.meters], lasted[missing.meters]
    minutes = missing.step_us // MINUTE_US
    mean: NDArray[np.int64] = (2 * total * minutes + total_minutes) // (
        2 * np.maximum(total_minutes, 1)
    )
    mean[total_minutes == 0] = NONE
    return mean


def _at(
    known: _Known,
    meters: NDArray[np.int64],
    starts_us: NDArray[np.int64],
    step_us: NDArray[np.int64],
) -> NDArray[np.intp]:
    """The known reading of a meter point that begins at a moment and has that length; -1: none."""
    if not len(known.meters) or not len(meters):
        return np.full(len(meters), -1, dtype=np.intp)
    # Meter point and minute as one sorted number: accepted readings begin on whole minutes.
    origin = min(int(known.starts_us.min()), int(starts_us.min()))
    own, wanted = ((moments - origin) // MINUTE_US for moments in (known.starts_us, starts_us))
    width = 1 + max(int(own.max()), int(wanted.max()))
    keys = known.meters * width + own
    at = np.minimum(np.searchsorted(keys, meters * width + wanted), len(keys) - 1)
    fits = (keys[at] == meters * width + wanted) & (known.length_us[at] == step_us)
    return np.where(fits, at, -1)


def _local_us(batch: CheckedReadings, missing: Missing) -> NDArray[np.int64]:
    local = local_starts(batch, missing.starts_us).tz_localize(None).as_unit("us")
    return np.asarray(local.asi8, dtype=np.int64)


def _time_key(
    meters: NDArray[np.int64], length_us: NDArray[np.int64], local_us: NDArray[np.int64]
) -> NDArray[np.int64]:
    """One number for meter point, interval length and minute of the day."""
    minute = local_us % _DAY_US // MINUTE_US
    return (meters * 61 + _length_key(length_us)) * _DAY + minute


def _length_key(length_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """Interval length as a number below 61; that of a day is 0, which no interval has."""
    return length_us // MINUTE_US % _DAY


def _day_key(length_us: NDArray[np.int64], local_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number for weekend or not, interval length and minute of the day."""
    day, since_midnight_us = np.divmod(local_us, _DAY_US)
    is_weekend = ((day - _MONDAY) % 7 >= _SATURDAY).astype(np.int64)
    key = (is_weekend * 61 + _length_key(length_us)) * _DAY + since_midnight_us // MINUTE_US
    return np.asarray(key, dtype=np.int64)


def _half_up_mean(values: pd.Series[int], key: NDArray[np.int64]) -> pd.Series[int]:
    sums = values.groupby(key).agg(["sum", "size"])
    return (2 * sums["sum"] + sums["size"]) // (2 * sums["size"])


def _look_up(means: pd.Series[int], keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """The mean under each key; `NONE` where there is none."""
    found = means.reindex(keys, fill_value=NONE)
    return np.asarray(found.to_numpy(np.int64), dtype=np.int64)
