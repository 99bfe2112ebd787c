"""The rules a reading must pass, each a pure function from a batch to the rows it objects to.

Contract shared by all rules: a rule looks at a `CheckedReadings`, changes nothing, and returns a
`Finding` with one boolean per row of the batch. Rules that compare rows with each other
(duplicates, spikes) also take `alive`, the rows that no earlier rule objected to, so that one bad
reading cannot condemn a good one. The order in which rules run, and what happens to the rows, is
`validation`'s business.

The set follows the base validation rules of meter-data management systems (consecutive interval,
duplicate, interval size, negative consumption, spike, unit of measure, zero consumption).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.interval_lengths import find_day_totals, interval_minutes
from gridsecure.billing.readings import (
    DAY_MINUTES,
    INTERVAL_MINUTES,
    MINUTE_US,
    QUALITIES,
    ReadingProblem,
    moment_us,
    neighbour_steps,
    register_columns,
    start_us,
)

Mask = NDArray[np.bool_]

_HOUR_MINUTES: Final = 60

NEGATIVE = "negative"
NET_METERED = "net-metered"
INCOMPLETE = "incomplete"
TWO_INTERVALS = "two-intervals"
COMPARED = "compared"


@dataclass(frozen=True, slots=True)
class CheckedReadings:
    """A readings frame as plain arrays, one element per row unless said otherwise.

    Attributes:
        names: Meter point ids, sorted; one element per meter point.
        meters: Index into `names`.
        starts_us: Interval start [µs since 1970 UTC].
        local_us: Interval start on the local clock [µs].
        energy_wh: Energy [Wh].
        rank: Index into `QUALITIES`, so lower is better; -1 for an unknown flag.
        length_us: Interval length [µs]; 0 where it cannot be told.
        registers: What registers beside it counted [Wh, varh]; below zero where nothing is said.
        zone: Zone name of the starts.
    """

    names: NDArray[np.object_]
    meters: NDArray[np.int64]
    starts_us: NDArray[np.int64]
    local_us: NDArray[np.int64]
    energy_wh: NDArray[np.int64]
    rank: NDArray[np.int64]
    length_us: NDArray[np.int64]
    registers: Mapping[str, NDArray[np.int64]]
    zone: dt.tzinfo


@dataclass(frozen=True, slots=True)
class Finding:
    """The rows that one rule objects to.

    Attributes:
        rule: Stable name of the rule.
        rows: True where the rule objects.
        detail: What the objection is, without values.
    """

    rule: str
    rows: Mask
    detail: str


def make_batch(readings: pd.DataFrame) -> CheckedReadings:
    """Turn a checked readings frame into arrays.

    Raises:
        InvalidReadingsError: `readings.interval` when no interval length can be told.
    """
    meters, names = pd.factorize(readings["meter_point_id"], sort=True)
    flags, found = pd.factorize(readings["quality"])
    ranks = np.array([QUALITIES.index(q) if q in QUALITIES else -1 for q in found], dtype=np.int64)
    starts = pd.DatetimeIndex(readings["start"]).as_unit("us")
    zone = starts.tz
    if zone is None:
        raise ValueError("a checked readings frame has aware starts")
    return CheckedReadings(
        names=np.asarray(names, dtype=object),
        meters=meters.astype(np.int64),
        starts_us=start_us(readings),
        local_us=starts.tz_localize(None).asi8,
        energy_wh=readings["energy_wh"].to_numpy(np.int64),
        rank=ranks[flags],
        length_us=interval_minutes(readings) * MINUTE_US,
        registers={name: readings[name].to_numpy(np.int64) for name in register_columns(readings)},
        zone=zone,
    )


def unknown_meter_point(batch: CheckedReadings, known: Collection[str] | None) -> Finding:
    """Meter points that nobody enrolled; none when `known` is None."""
    strange = np.zeros(len(batch.names), dtype=bool)
    if known is not None:
        strange = ~np.isin(batch.names.astype(str), np.array(sorted(known), dtype=str))
    return Finding("unknown-meter-point", strange[batch.meters], "the meter point is not enrolled")


def unknown_quality(batch: CheckedReadings) -> Finding:
    """Quality flags other than actual, estimated and missing."""
    return Finding("quality-flag", batch.rank < 0, f"quality must be one of {', '.join(QUALITIES)}")


def missing_reading(batch: CheckedReadings) -> Finding:
    """Rows that say themselves that there is no reading (blank, NaN, quality missing)."""
    rows = batch.rank == QUALITIES.index("missing")
    return Finding("missing", rows, "the row holds no reading")


def future_reading(batch: CheckedReadings, now: dt.datetime) -> Finding:
    """Intervals that have not ended yet at `now`."""
    rows = batch.starts_us + batch.length_us > moment_us(now)
    return Finding("future", rows, "the interval ends after the time of validation")


def outside_period(
    batch: CheckedReadings, period: tuple[dt.datetime, dt.datetime] | None
) -> Finding:
    """Intervals that do not start inside the half-open billing period; none without a period."""
    rows = np.zeros(len(batch.meters), dtype=bool)
    if period is not None:
        first, end = (moment_us(moment) for moment in period)
        rows = (batch.starts_us < first) | (batch.starts_us >= end)
    return Finding("outside-period", rows, "the interval lies outside the billing period")


def misaligned(batch: CheckedReadings) -> Finding:
    """Starts that are not a whole number of intervals after local midnight."""
    rows = (batch.length_us > 0) & (batch.local_us % np.maximum(batch.length_us, 1) != 0)
    return Finding("misaligned", rows, "the start is not on the interval grid")


def negative_energy(batch: CheckedReadings, alive: Mask, *, whole: Mask) -> tuple[Finding, Finding]:
    """Negative energy, and every other reading of a meter point that has some.

    A reading below zero is feed-in on a net meter, or a register that ran backwards. It is not a
    lost reading: an estimate in its place would be consumption that never was, and the meter
    point's other readings are net energies too. So none of them is used.

    Args:
        whole: Meter points of which that holds; of the others only what is below zero is taken out.
    """
    rows = alive & (batch.energy_wh < 0)
    net = np.zeros(len(batch.names), dtype=bool)
    net[batch.meters[rows]] = True
    net &= whole
    others = alive & net[batch.meters] & ~rows
    return (
        Finding(NEGATIVE, rows, "the energy is negative; energy fed in goes to export_kwh"),
        Finding(NET_METERED, others, "other readings of the meter point are negative"),
    )


def unknown_length(batch: CheckedReadings) -> Finding:
    """Readings whose interval length cannot be told: none of their meter point are neighbours."""
    lengths = ", ".join(str(minutes) for minutes in INTERVAL_MINUTES)
    detail = f"the meter point's readings are not {lengths} minutes apart"
    return Finding("interval-size", batch.length_us == 0, detail)


def day_totals(batch: CheckedReadings, alive: Mask) -> Finding:
    """Values of whole days in which shorter readings of the meter point begin.

    The shorter ones say when it was used, so they count, and the day is their total.
    """
    mask = np.zeros(len(batch.meters), dtype=bool)
    rows = np.flatnonzero(alive)
    minutes = batch.length_us[rows] // MINUTE_US
    if (minutes == DAY_MINUTES).any():
        mask[rows] = find_day_totals(batch.meters[rows], batch.starts_us[rows], minutes)
    return Finding(COMPARED, mask, "a day's value beside shorter readings, which count")


def two_intervals(batch: CheckedReadings, alive: Mask) -> Finding:
    """Meter points with readings of two lengths for one time: two answers, so neither is taken.

    A meter that went over to another length has no such time and is not meant.
    """
    rows = np.flatnonzero(alive)
    order, steps = neighbour_steps(batch.meters[rows], batch.starts_us[rows])
    rows = rows[order]
    length_us = batch.length_us[rows]
    clash = (steps > 0) & (steps < length_us)
    clash[:-1] |= (steps[:-1] == 0) & (length_us[:-1] != length_us[1:])
    twice = np.zeros(len(batch.names), dtype=bool)
    twice[batch.meters[rows[clash]]] = True
    detail = "the meter point has readings of two interval lengths for one time"
    return Finding(TWO_INTERVALS, alive & twice[batch.meters], detail)


def duplicates(batch: CheckedReadings, alive: Mask) -> tuple[Finding, Finding, Finding]:
    """Several readings of one meter point for one interval.

    A better quality replaces a worse one (`superseded`). Among equals, the first of identical rows
    is kept and the others are `duplicate`; rows that disagree are all `duplicate-conflict`,
    because nothing in them says which one is right. So are rows that agree in energy and disagree
    in what was fed in beside it, which is paid for, or in reactive energy.
    """
    masks = {name: np.zeros(len(batch.meters), dtype=bool) for name in ("worse", "same", "clash")}
    rows = np.flatnonzero(alive)
    order, steps = neighbour_steps(batch.meters[rows], batch.starts_us[rows])
    repeated = steps == 0
    repeated[1:] |= steps[:-1] == 0
    rows = np.sort(rows[order[repeated]])
    if len(rows):
        groups = pd.DataFrame(
            {
                "meter": batch.meters[rows],
                "start": batch.starts_us[rows],
                "rank": batch.rank[rows],
                "energy_wh": batch.energy_wh[rows],
            }
            | {name: values[rows] for name, values in batch.registers.items()},
            index=rows,
        )
        key = ["meter", "start"]
        worse = groups["rank"] > groups.groupby(key)["rank"].transform("min")
        best = groups[~worse]
        clash = best.groupby(key)["energy_wh"].transform("nunique") > 1
        for name in batch.registers:
            said = best[name].where(best[name] >= 0)  # what a row does not say contradicts nothing
            clash |= said.groupby([best[one] for one in key]).transform("nunique") > 1
        same = best.duplicated(key, keep="first") & ~clash
        masks["worse"][rows[worse.to_numpy()]] = True
        masks["clash"][best.index[clash.to_numpy()]] = True
        masks["same"][best.index[same.to_numpy()]] = True
    return (
        Finding("superseded", masks["worse"], "a reading of better quality replaces it"),
        Finding("duplicate", masks["same"], "it repeats a reading already taken"),
        Finding("duplicate-conflict", masks["clash"], "readings for one interval disagree"),
    )


def find_uncounted(readings: pd.DataFrame) -> Mask:
    """Rows that no bill counts, by whatever rule book: they say nothing, or are one of several.

    Args:
        readings: A readings frame with `minutes`.
    """
    batch = make_batch(readings)
    found: Mask = unknown_quality(batch).rows | missing_reading(batch).rows
    found |= day_totals(batch, ~found).rows
    for finding in duplicates(batch, ~found):
        found |= finding.rows
    return found


def spike(
    batch: CheckedReadings, alive: Mask, *, factor: NDArray[np.int64], floor_w: NDArray[np.int64]
) -> Finding:
    """Readings far above the meter point's own history in the batch.

    A row is a spike when its mean power exceeds `factor` times the mean of the meter point's
    *other* live rows, and `floor_w` [W]. The floor keeps a kettle in an empty home
    from being called a spike. Compared by cross-multiplication in integers.

    Args:
        batch: Sorted by meter point.
        factor: By meter point.
        floor_w: By meter point [W].
    """
    mask = np.zeros(len(batch.meters), dtype=bool)
    rows = np.flatnonzero(alive)
    power_w, own = _power_w(batch, rows), batch.meters[rows]
    high = np.flatnonzero(power_w > floor_w[own])
    if len(high):
        sums_w = np.zeros(len(batch.names), dtype=np.int64)
        begins = np.flatnonzero(np.append(True, own[1:] != own[:-1]))
        sums_w[own[begins]] = np.add.reduceat(power_w, begins)
        counts = np.bincount(own, minlength=len(batch.names))
        power_w, own = power_w[high], own[high]
        is_spike = power_w * (counts[own] - 1) > factor[own] * (sums_w[own] - power_w)
        mask[rows[high]] = is_spike
    return Finding("spike", mask, "far more than the meter point's own mean")


def height(
    batch: CheckedReadings,
    alive: Mask,
    *,
    capacity_va: NDArray[np.int64],
    percent: NDArray[np.int64],
) -> Finding:
    """Readings above what the meter point's contract lets it draw.

    Args:
        capacity_va: Contracted capacity by meter point [VA]; 0 where none is known, which nothing
            is above.
        percent: Share of it that a mean power may reach, by meter point.
    """
    mask = np.zeros(len(batch.meters), dtype=bool)
    rows = np.flatnonzero(alive & (capacity_va > 0)[batch.meters])
    own = batch.meters[rows]
    mask[rows] = _power_w(batch, rows) * 100 > (capacity_va * percent)[own]
    return Finding("height", mask, "more than the contracted capacity allows")


def zero_run(batch: CheckedReadings, alive: Mask, *, minutes: NDArray[np.int64]) -> Finding:
    """Long runs of nothing in a meter point that used energy before or after.

    Args:
        minutes: The shortest run that is meant, by meter point [minutes].
    """
    mask = np.zeros(len(batch.meters), dtype=bool)
    rows = np.flatnonzero(alive)
    used = np.zeros(len(batch.names), dtype=bool)
    used[batch.meters[rows[batch.energy_wh[rows] != 0]]] = True
    is_zero = (batch.energy_wh[rows] == 0) & used[batch.meters[rows]]
    zeros = np.flatnonzero(is_zero)
    if len(zeros):
        own = batch.meters[rows[zeros]]
        begins = np.flatnonzero(np.append(True, (np.diff(zeros) != 1) | (own[1:] != own[:-1])))
        lasted = np.add.reduceat(batch.length_us[rows[zeros]] // MINUTE_US, begins)
        counts = np.diff(np.append(begins, len(zeros)))
        mask[rows[zeros]] = np.repeat(lasted >= minutes[own[begins]], counts)
    return Finding("zero-run", mask, "no energy for a long time, and some before or after")


def _power_w(batch: CheckedReadings, rows: NDArray[np.intp]) -> NDArray[np.int64]:
    """Mean power over each interval's own length, rounded down [W]."""
    minutes = batch.length_us[rows] // MINUTE_US
    if len(minutes) and minutes.min() == minutes.max() <= _HOUR_MINUTES:
        return batch.energy_wh[rows] * (_HOUR_MINUTES // int(minutes[0]))
    return batch.energy_wh[rows] * _HOUR_MINUTES // minutes


def zero_consumption(batch: CheckedReadings, alive: Mask) -> Finding:
    """Meter points without a single Wh: legal, but worth a look, so their rows stay accepted."""
    size = len(batch.names)
    used = np.bincount(batch.meters[alive & (batch.energy_wh != 0)], minlength=size) > 0
    return Finding(
        "zero-consumption", alive & ~used[batch.meters], "the meter point shows no energy at all"
    )


def report_problems(batch: CheckedReadings, finding: Finding) -> list[ReadingProblem]:
    """One problem per meter point that a finding concerns, at its earliest interval."""
    rows = np.flatnonzero(finding.rows)
    if not len(rows):
        return []
    per_meter = pd.Series(batch.starts_us[rows]).groupby(batch.meters[rows]).agg(["min", "size"])
    starts = pd.to_datetime(per_meter["min"], unit="us", utc=True).dt.tz_convert(batch.zone)
    return [
        ReadingProblem(
            meter_point_id=str(batch.names[meter]),
            start=start,
            rule=finding.rule,
            detail=f"{finding.detail} ({count} interval{'s' if count > 1 else ''})",
            intervals=int(count),
        )
        for meter, start, count in zip(per_meter.index, starts, per_meter["size"], strict=True)
    ]
