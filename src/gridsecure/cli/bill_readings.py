"""The readings of a file that a bill may count, and where the file contradicts itself.

A line without energy is a missing reading, as is a line that is not there; a reading of better
quality replaces a worse one; a repeated line counts once. Everything that nobody can decide here
(two different energies for one interval, energy below zero, a quality nobody knows) is refused with
the meter point, the line and the time, so that it can be put right in the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.readings import (
    MINUTE_US,
    NO_REGISTER,
    QUALITIES,
    ReadingProblem,
    register_columns,
    start_us,
)
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.formats import ReadingsFile

_MOST_PROBLEMS = 20
GRID_US = 5 * MINUTE_US
_QUOTABLE_FLAG = re.compile(r"[A-Za-z]{1,20}")


@dataclass(frozen=True, slots=True, eq=False)
class BillableReadings:
    """What may be billed.

    Args:
        readings: A readings frame with at most one reading of each meter point and interval.
        superseded: Meter point and start of the readings that a better one replaced.
    """

    readings: pd.DataFrame
    superseded: pd.DataFrame


def select_billable(
    file: ReadingsFile, *, chosen: NDArray[np.bool_], report: Callable[[str], None]
) -> BillableReadings:
    """Take the readings that count.

    Args:
        file: The file as read.

    Raises:
        InvalidReadingsError: `readings.quality`, `readings.negative`, `readings.misaligned`,
            `readings.conflict`, or `readings.nothing` where no reading is left.
    """
    lines = file.lines if file.lines is not None else np.zeros(len(file.readings), dtype=np.int64)
    rows = file.readings.assign(line=lines)[chosen]
    _refuse_unknown_quality(rows)
    missing = rows["quality"] == "missing"
    if missing.any():
        report(f"{int(missing.sum())} lines or cells hold no reading; counted as missing")
    rows = rows[~missing]
    if rows.empty:
        raise InvalidReadingsError(
            "The file holds no reading that can be billed.",
            reason="readings.nothing",
            remedy="Every line marks its reading as missing; send the readings.",
        )
    _refuse_negative(rows)
    _refuse_misaligned(rows)
    rows, superseded = _best(rows, report)
    kept = rows.drop(columns="line").reset_index(drop=True)
    return BillableReadings(kept, superseded)


def _refuse_unknown_quality(rows: pd.DataFrame) -> None:
    unknown = rows[~rows["quality"].isin(QUALITIES)]
    if unknown.empty:
        return
    flags = [str(flag) for flag in pd.unique(unknown["quality"])]
    shown = ", ".join(repr(flag) for flag in flags if _QUOTABLE_FLAG.fullmatch(flag)) or "a number"
    raise _refusal(
        unknown,
        f"of a quality that is not known ({shown})",
        reason="readings.quality",
        remedy="Use actual, estimated or missing, or the letters A (actual), E (estimated), S"
        " (substituted), F (final estimate) and N (null).",
        problem=("quality-flag", "the quality is not known"),
    )


def _refuse_negative(rows: pd.DataFrame) -> None:
    is_below = rows["energy_wh"] < 0
    for name in register_columns(rows):
        # Whoever has no such register has it on no line.
        highest = rows.groupby("meter_point_id", observed=True)[name].transform("max")
        is_below |= (rows[name] < 0) & (highest != NO_REGISTER)
    below = rows[is_below]
    if below.empty:
        return
    raise _refusal(
        below,
        "below zero",
        reason="readings.negative",
        remedy="Energy fed in goes into a column export_kwh of its own, and kwh holds what was"
        " taken, from zero; where a meter was exchanged or a register corrected, correct the "
        "lines.",
        problem=("negative", "the energy is below zero"),
    )


def _refuse_misaligned(rows: pd.DataFrame) -> None:
    """Intervals begin on the clock's five minutes, as meters are set to."""
    beside = rows[(start_us(rows) % GRID_US != 0)]
    if beside.empty:
        return
    raise _refusal(
        beside,
        "not on the grid of intervals, which begin on whole five minutes",
        reason="readings.misaligned",
        remedy="Write the start of each interval: 2025-03-01 01:00 instead of 01:00:13.",
        problem=("misaligned", "the start is not on the interval grid"),
    )


def _best(rows: pd.DataFrame, report: Callable[[str], None]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The best reading of each meter point and interval, and the places of those it replaces."""
    key = ["meter_point_id", "start"]
    if not rows.duplicated(key).any():
        return rows, rows.iloc[:0][key]
    rank = rows["quality"].map({quality: rank for rank, quality in enumerate(QUALITIES)})
    best = rank.to_numpy(np.int64) == rank.groupby([rows[name] for name in key]).transform("min")
    worse = rows[~best]
    if len(worse):
        report(f"{len(worse)} readings superseded by readings of better quality")
    rows = rows[best]
    facts = [name for name in rows.columns if name != "line"]
    once = rows.drop_duplicates(facts)
    if len(once) < len(rows):
        report(f"{len(rows) - len(once)} repeated lines taken once")
    clash = once[once.duplicated(key, keep=False)]
    if len(clash):
        raise _refusal(
            clash,
            "in conflict with another reading of the same interval",
            reason="readings.conflict",
            remedy="A line is one channel of one meter point; take the wrong line out, or say in a"
            " column channel which lines are import and which export. A local time that the clock"
            " shows twice needs its offset, as 2026-10-25 01:00+02:00, and a rate of the URDB then"
            " needs --timezone.",
            problem=("duplicate-conflict", "readings for one interval disagree"),
        )
    return once, worse[key]


def _refusal(
    rows: pd.DataFrame, what: str, *, reason: str, remedy: str, problem: tuple[str, str]
) -> InvalidReadingsError:
    """Refuse readings, saying how many and where the first one is."""
    first = rows.iloc[0]
    line = f"line {first['line']}, " if first["line"] else ""
    where = f"meter point {first['meter_point_id']!r}, {line}{first['start']:%Y-%m-%d %H:%M}"
    count = f"{len(rows)} readings" if len(rows) > 1 else "1 reading"
    return InvalidReadingsError(
        f"{count} {what}; the first is of {where}.",
        reason=reason,
        remedy=remedy,
        problems=_problems(rows, *problem),
    )


def _problems(rows: pd.DataFrame, rule: str, detail: str) -> tuple[ReadingProblem, ...]:
    return tuple(
        ReadingProblem(str(meter), start, rule, f"line {line}: {detail}" if line else detail)
        for meter, start, line in zip(
            rows["meter_point_id"].iloc[:_MOST_PROBLEMS],
            rows["start"],
            rows["line"],
            strict=False,
        )
    )
