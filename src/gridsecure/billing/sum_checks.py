"""Readings against what else is known of their sum.

Three things may be known beside a meter point's intervals: what its register counted between two
faces, what somebody sent as its total of a day, and what the meters behind it measured. What counts
is compared, estimates included, because bills are made of it. No rule here can tell which of the
intervals is wrong: it names the meter point, and where the intervals lie that do not add up.

Two totals disagree where they differ by more than both tolerances of the rule: so many Wh, and so
many hundredths of the total. A total is compared only with intervals that fill its time exactly.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.readings import MINUTE_US, ReadingProblem, start_us
from gridsecure.billing.rule_books import DAILY_TOTAL, REGISTER, SUM_CHECK
from gridsecure.billing.rule_policies import MeterRules, ValidationPolicy

NOT_COMPARED = "not-compared"
"""Totals whose time the intervals that count do not fill."""

DETAILS = {
    REGISTER: "the intervals do not add up to what the register counted",
    DAILY_TOTAL: "the intervals do not add up to the day's total",
    SUM_CHECK: "the meter points behind it do not add up to it",
    NOT_COMPARED: "the intervals that count do not fill the time of a total",
}
_LONGEST_DAY = pd.Timedelta(hours=26)


@dataclass(frozen=True, slots=True, eq=False)
class Counting:
    """The readings that count, by meter point and start.

    Attributes:
        names: Holder of each meter point's part, as bills name it; index into by `holders`.
        points: Meter point ids, sorted.
        first: Row of each meter point's first reading, and one more at the end.
    """

    names: NDArray[np.object_]
    holders: NDArray[np.int64]
    points: tuple[str, ...]
    first: NDArray[np.int64]
    starts_us: NDArray[np.int64]
    ends_us: NDArray[np.int64]
    energy_wh: NDArray[np.int64]
    zone: dt.tzinfo


def lay_side_by_side(
    readings: pd.DataFrame, *, meter_points: Mapping[str, str], zone: dt.tzinfo
) -> Counting:
    """Put the readings in order.

    Args:
        readings: A readings frame with `minutes`, one reading an interval.
        meter_points: Name -> meter point, where a reading's name is not its meter point's.
        zone: Local time of days.
    """
    ids = readings["meter_point_id"].astype("category").cat
    names = ids.categories.to_numpy(object)
    points, point_of_name = np.unique(
        np.array([meter_points.get(str(name), str(name)) for name in names], dtype=object),
        return_inverse=True,
    )
    holders = ids.codes.to_numpy(np.int64)
    starts_us = start_us(readings)
    order = np.lexsort((starts_us, point_of_name[holders]))
    lengths_us = readings["minutes"].to_numpy(np.int64)[order] * MINUTE_US
    starts_us = starts_us[order]
    return Counting(
        names=names,
        holders=np.asarray(holders[order], dtype=np.int64),
        points=tuple(map(str, points)),
        first=np.searchsorted(point_of_name[holders[order]], np.arange(len(points) + 1)),
        starts_us=starts_us,
        ends_us=starts_us + lengths_us,
        energy_wh=readings["energy_wh"].to_numpy(np.int64)[order],
        zone=zone,
    )


def compare_totals(
    counting: Counting, totals: pd.DataFrame, *, policy: ValidationPolicy
) -> list[ReadingProblem]:
    """Compare what registers counted, and totals of days, with the intervals.

    Args:
        totals: `meter_point_id`, `start` and `end` (aware), `energy_wh`, and `rule`, which is
            `REGISTER` or `DAILY_TOTAL`.

    Returns:
        One problem for each name and rule, at the first interval of those that do not add up.
    """
    found = _Found(counting, policy.judge(counting.names))
    numbers = {point: number for number, point in enumerate(counting.points)}
    for point, own in totals.groupby("meter_point_id", observed=True):
        number = numbers.get(str(point))
        if number is None:
            found.uncompared[str(point)] += len(own)
            continue
        begin, end = counting.first[number : number + 2]
        starts_us, ends_us = counting.starts_us[begin:end], counting.ends_us[begin:end]
        energies = np.append(0, np.cumsum(counting.energy_wh[begin:end]))
        lengths = np.append(0, np.cumsum(ends_us - starts_us))
        from_us, to_us = start_us(own), start_us(own.assign(start=own["end"]))
        lows, highs = np.searchsorted(starts_us, from_us), np.searchsorted(starts_us, to_us)
        fills = (highs > lows) & (lengths[highs] - lengths[lows] == to_us - from_us)
        fills &= ends_us[np.maximum(highs, 1) - 1] <= to_us
        found.uncompared[str(point)] += int((~fills).sum())
        sums = energies[highs] - energies[lows]
        stated = own["energy_wh"].to_numpy(np.int64)
        kinds = own["rule"].to_numpy(object)
        for row in np.flatnonzero(fills & (sums != stated)):
            found.add(
                str(kinds[row]),
                slice(begin + lows[row], begin + highs[row]),
                (int(sums[row]), int(stated[row])),
            )
    return found.problems()


def compare_sums(counting: Counting, *, policy: ValidationPolicy) -> list[ReadingProblem]:
    """Compare meter points with those behind them, day by day, as the rule book relates them.

    Returns:
        One problem for each name of a meter point that is related to others.
    """
    found = _Found(counting, policy.judge(counting.names))
    numbers = {point: number for number, point in enumerate(counting.points)}
    days: dict[str, pd.DataFrame] = {}
    for parent, children in policy.book.children.items():
        members = (parent, *children)
        if not numbers.keys() >= set(members):
            found.uncompared[parent] += 1
            continue
        for name in members:
            if name not in days:
                days[name] = _whole_days(counting, numbers[name])
        own = days[parent]
        behind = [days[name]["energy_wh"].reindex(own.index) for name in children]
        sums = pd.concat(behind, axis=1).sum(axis=1, skipna=False)
        compared = sums.notna()
        found.uncompared[parent] += int((~compared).sum())
        for row in np.flatnonzero(compared.to_numpy()):
            day = own.iloc[row]
            found.add(
                SUM_CHECK,
                slice(int(day["begin"]), int(day["end"])),
                (int(sums.iloc[row]), int(day["energy_wh"])),
            )
    return found.problems()


def _whole_days(counting: Counting, number: int) -> pd.DataFrame:
    """`energy_wh`, `begin` and `end` rows of each local day that a meter point's readings fill."""
    begin, end = counting.first[number : number + 2]
    starts = pd.DatetimeIndex(counting.starts_us[begin:end].view("datetime64[us]"))
    local = starts.tz_localize("UTC").tz_convert(counting.zone).normalize()
    lengths_us = counting.ends_us[begin:end] - counting.starts_us[begin:end]
    table = pd.DataFrame(
        {
            "energy_wh": counting.energy_wh[begin:end],
            "length_us": lengths_us,
            "row": np.arange(begin, end),
        }
    )
    days = table.groupby(local).agg(
        energy_wh=("energy_wh", "sum"),
        length_us=("length_us", "sum"),
        begin=("row", "min"),
        end=("row", "max"),
    )
    first = pd.DatetimeIndex(days.index)
    length = (first + _LONGEST_DAY).normalize() - first
    days["end"] += 1
    whole = days["length_us"].to_numpy() == length.as_unit("us").asi8
    filled: pd.DataFrame = days[whole]
    return filled


class _Found:
    """What does not add up, by name and rule."""

    def __init__(self, counting: Counting, rules: MeterRules) -> None:
        self._counting = counting
        self._rules = rules
        self._rows: dict[tuple[int, str], list[NDArray[np.int64]]] = {}
        self._limits = {
            rule: (
                rules.applies(rule),
                rules.limits(rule, "tolerance_wh"),
                rules.limits(rule, "tolerance_percent"),
            )
            for rule in (REGISTER, DAILY_TOTAL, SUM_CHECK)
        }
        self.uncompared: Counter[str] = Counter()

    def add(self, rule: str, rows: slice, sums_wh: tuple[int, int]) -> None:
        """Note two sums of the same time, unless they agree.

        Args:
            rows: Of the readings.
            sums_wh: What was added up, and what it should be [Wh].
        """
        added, stated = sums_wh
        difference = abs(added - stated)
        holders = self._counting.holders[rows]
        for holder in np.unique(holders):
            applies, tolerance_wh, percent = (limit[holder] for limit in self._limits[rule])
            # Python's integers: a hundredfold sum of a year may be beyond 64 bits.
            is_far = difference > int(tolerance_wh)
            if applies and is_far and difference * 100 > int(percent) * abs(stated):
                own = np.arange(rows.start, rows.stop)[holders == holder]
                self._rows.setdefault((int(holder), rule), []).append(own)

    def problems(self) -> list[ReadingProblem]:
        """One problem for each name and rule."""
        return [*self._disagreeing(), *self._not_compared()]

    def _disagreeing(self) -> Iterator[ReadingProblem]:
        counting = self._counting
        for (holder, rule), parts in self._rows.items():
            rows = np.unique(np.concatenate(parts))
            first = pd.Timestamp(int(counting.starts_us[rows[0]]) * 1000, tz="UTC")
            count = len(rows)
            yield ReadingProblem(
                str(counting.names[holder]),
                first.tz_convert(counting.zone),
                rule,
                f"{DETAILS[rule]} ({count} interval{'s' if count > 1 else ''})",
                count,
            )

    def _not_compared(self) -> Iterator[ReadingProblem]:
        for point, count in self.uncompared.items():
            if count:
                detail = f"{DETAILS[NOT_COMPARED]} ({count} of them)"
                yield ReadingProblem(point, None, NOT_COMPARED, detail)
