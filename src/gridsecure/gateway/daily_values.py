"""Daily values: one energy of a meter point's whole day, as lines of days or as a column each.

Research data and daily exports hold no more than that. Such an energy is exact, and when in the day
it was used is unknown: it is billed where one price applies all day, and never divided by guess. On
a day of 23 or 25 hours it is divided equally over them, `estimated`, so that every day but these
has one length.

A column for each day is the layout of the State Grid (SGCC) data set: `CONS_NO`, `FLAG`, then the
days in any order. `FLAG` is the data set's label of theft, and no quality.

A face of a register that is read once a day has a moment, and is read as one. With a date alone it
stands at the beginning or at the end of that day, which has to be said: meters that freeze by DL/T
645 stamp the midnight, collection systems the day that it closes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.readings import (
    DAY_MINUTES,
    MINUTE_US,
    NO_REGISTER,
    ReadingProblem,
    register_columns,
)
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway import format_cells as cells
from gridsecure.gateway import format_times
from gridsecure.gateway.column_names import is_day
from gridsecure.gateway.meanings import Stamps
from gridsecure.gateway.wide_days import day_minutes

_HOUR: Final = 60
_LABEL: Final = "flag"
_FEWEST_DAYS: Final = 2
_BEFORE_TIME: Final = re.compile(r"[ T].*")
_COUNTED: Final = {"kwh": "energy_wh", "kvarh": "reactive_varh", "export_kwh": "export_wh"}


def is_matrix(names: Sequence[str]) -> bool:
    """Whether columns are a column for each day."""
    return "meter_point_id" in names and sum(map(is_day, names)) >= _FEWEST_DAYS


def is_daily(names: Iterable[Any]) -> bool:
    """Whether lines are of days that have one value each."""
    known = set(names)
    return {"meter_point_id", "date"} <= known and "p1" not in known


def lines_of_days(table: pd.DataFrame, *, totals: Collection[str]) -> pd.DataFrame:
    """A matrix as lines of days, under the lines of the file.

    Args:
        totals: Words in place of a meter point, whose lines add up others.

    Raises:
        InvalidReadingsError: There are other columns (`readings.columns`).
    """
    days = [name for name in table.columns if is_day(name)]
    kept = [name for name in table.columns if name in ("meter_point_id", "unit")]
    if len(days) + len(kept) + sum(str(name).lower() == _LABEL for name in table) < table.shape[1]:
        raise InvalidReadingsError(
            "Beside a column for each day the file has others than meter_point_id, unit and FLAG.",
            reason="readings.columns",
            remedy="Remove them, or write meter_point_id,date,kwh with a line for each day.",
        )
    own = ~table["meter_point_id"].str.strip().str.lower().isin(list(totals))
    lines = table.loc[own].reset_index(names="line")
    long = lines.melt(id_vars=["line", *kept], value_vars=days, var_name="date", value_name="kwh")
    long = long.sort_values("line", kind="stable").set_index("line").rename_axis(None)
    return long.astype({name: "category" for name in (*kept, "date")})


def moments_of_faces(table: pd.DataFrame, stamps: Stamps | None) -> pd.DataFrame:
    """Faces of days with the moment at which each stands, in a column `start`.

    Raises:
        InvalidReadingsError: Nobody says whether that is the day's beginning or its end
            (`readings.stamps`).
    """
    if stamps is None:
        raise InvalidReadingsError(
            "The file has a face of the register for each date, and does not say whether it stood"
            " at the beginning of that day or at its end.",
            reason="readings.stamps",
            remedy="Say so with a column stamps that holds start or end on every line, or give the"
            " moment in a column start. A source can declare it once for all its batches (stamps);"
            " for a file of its own, `gridsecure bill` has --stamps.",
        )
    clock = " 24:00" if stamps is Stamps.END else " 00:00"
    day = table["date"].astype("str").str.strip().str.replace(_BEFORE_TIME, "", regex=True)
    return table.drop(columns="date").assign(start=(day + clock).astype("category"))


def read_energies(
    table: pd.DataFrame, timezone: str
) -> tuple[pd.DataFrame, NDArray[np.int64], tuple[ReadingProblem, ...]]:
    """Energies of days as a readings frame with `minutes`, their lines, and what was divided.

    Raises:
        InvalidReadingsError: As the readers of cells and dates.
    """
    days = format_times.read_days(table, timezone)
    found: dict[str, NDArray[np.int64]] = {}
    missing = np.zeros(len(table), dtype=bool)
    for name, column in _COUNTED.items():
        if name not in table:
            continue
        energy_wh, blank = cells.read_energy(table, [name])
        if "ratio" in table:
            energy_wh = cells.apply_ratio(table, energy_wh, points=1)
        missing |= blank & (name == "kwh")
        found[column] = energy_wh
    readings = cells.build_readings(
        pd.Series(table["meter_point_id"].array),
        start=days,
        energy_wh=found.pop("energy_wh"),
        quality=cells.read_quality(table, missing, repeat=1).reset_index(drop=True),
    )
    readings = readings.assign(minutes=np.int64(DAY_MINUTES), **found)
    lines = table.index.to_numpy(np.int64)
    readings, rows, problems = divide_days(readings, lines=lines)
    return readings, lines[rows], problems


def divide_days(
    readings: pd.DataFrame, *, lines: NDArray[np.int64] | None = None
) -> tuple[pd.DataFrame, NDArray[np.intp], tuple[ReadingProblem, ...]]:
    """Energies of days of 23 or 25 hours divided over these; all others as they are.

    Args:
        readings: A readings frame with `minutes`; those of a day start at a local midnight.
        lines: The line of the file that each stands on, if they stand on lines.

    Returns:
        The readings, the row that each came from, and what was divided.
    """
    days = pd.DatetimeIndex(readings["start"])
    is_day = readings["minutes"].to_numpy(np.int64) == DAY_MINUTES
    minutes = np.full(len(readings), DAY_MINUTES, dtype=np.int64)
    minutes[is_day] = day_minutes(days[is_day])
    counts = np.where(minutes == DAY_MINUTES, 1, minutes // _HOUR)
    if (counts == 1).all():
        return readings, np.arange(len(readings)), ()
    rows = np.repeat(np.arange(len(readings)), counts)
    hour = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    divided = counts[rows] > 1
    starts = days.as_unit("us").asi8[rows] + hour * _HOUR * MINUTE_US
    local = pd.DatetimeIndex(starts.view("datetime64[us]")).tz_localize("UTC").tz_convert(days.tz)
    laid = readings.take(rows).reset_index(drop=True)
    for column in ("energy_wh", *register_columns(readings)):
        values = readings[column].to_numpy(np.int64)
        whole, rest = np.divmod(values, counts)
        laid[column] = np.where(
            divided & (values[rows] != NO_REGISTER), whole[rows] + (hour < rest[rows]), values[rows]
        )
    quality = laid["quality"].mask(divided & (laid["quality"] == "actual"), "estimated")
    laid = laid.assign(
        start=local.as_unit(days.unit),
        quality=quality.astype("str"),
        minutes=np.where(divided, _HOUR, laid["minutes"].to_numpy(np.int64)),
    )
    return laid, rows, _tell_divided(readings["meter_point_id"], days, counts, lines)


def begin_days(moments: NDArray[np.int64], timezone: str, *, at_ends: bool) -> NDArray[np.int64]:
    """When the days of daily values begin [µs since 1970-01-01 UTC].

    Args:
        moments: Their beginnings or their ends, likewise.

    Raises:
        InvalidReadingsError: One is no local midnight (`readings.daily`).
    """
    local = pd.DatetimeIndex(moments.view("datetime64[us]")).tz_localize("UTC").tz_convert(timezone)
    if (local != local.normalize()).any():
        raise InvalidReadingsError(
            f"The file holds energies of days that do not begin at midnights of {timezone}.",
            reason="readings.daily",
            remedy="Name the zone of its days, which the source declares and `gridsecure bill"
            " --timezone` says where its tariff has none; or send intervals of 5, 10, 15, 30 or 60"
            " minutes.",
        )
    if not at_ends:
        return moments
    before = (local.tz_localize(None) - pd.Timedelta(days=1)).tz_localize(
        local.tz, nonexistent="shift_forward", ambiguous=np.ones(len(local), dtype=bool)
    )
    begun: NDArray[np.int64] = before.as_unit("us").asi8
    return begun


def without_days_beside(readings: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Readings without the daily values of meter points that have shorter intervals, and how many.

    Where both are told in one document, the intervals are what the days were added up from.
    """
    is_day = readings["minutes"] == DAY_MINUTES
    finer = readings.loc[~is_day, "meter_point_id"].unique()
    beside = is_day & readings["meter_point_id"].isin(finer)
    if not beside.any():
        return readings, 0
    return readings[~beside].reset_index(drop=True), int(beside.sum())


def _tell_divided(
    meters: pd.Series[str],
    days: pd.DatetimeIndex,
    counts: NDArray[np.int64],
    lines: NDArray[np.int64] | None,
) -> tuple[ReadingProblem, ...]:
    """Each day that was divided over so many hours."""
    return tuple(
        ReadingProblem(
            str(meters.iloc[row]),
            days[row],
            "clock-change",
            ("" if lines is None else f"line {lines[row]}: ")
            + f"a day of {counts[row]} hours, over which its energy is divided equally",
        )
        for row in np.flatnonzero(counts > 1).tolist()
    )
