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

from gridsecure.billing.readings import DAY_MINUTES, MINUTE_US, ReadingProblem
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
            " moment in a column start. `gridsecure bill --stamps start` and `--stamps end` say"
            " the same.",
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
    minutes = day_minutes(days)
    counts = np.where(minutes == DAY_MINUTES, 1, minutes // _HOUR)
    rows = np.repeat(np.arange(len(table)), counts)
    hour = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    divided = counts[rows] > 1
    starts = days.as_unit("us").asi8[rows] + hour * _HOUR * MINUTE_US
    found: dict[str, NDArray[np.int64]] = {}
    missing = np.zeros(len(table), dtype=bool)
    for name, column in _COUNTED.items():
        if name not in table:
            continue
        energy_wh, blank = cells.read_energy(table, [name])
        if "ratio" in table:
            energy_wh = cells.apply_ratio(table, energy_wh, points=1)
        missing |= blank & (name == "kwh")
        whole, rest = np.divmod(energy_wh, counts)
        found[column] = whole[rows] + (hour < rest[rows])
    quality = cells.read_quality(table, missing, repeat=1).take(rows).reset_index(drop=True)
    quality[divided & (quality == "actual").to_numpy()] = "estimated"
    meters = table["meter_point_id"]
    local = pd.DatetimeIndex(starts.view("datetime64[us]")).tz_localize("UTC").tz_convert(timezone)
    readings = cells.build_readings(
        pd.Series(meters.array.take(rows)),
        start=local,
        energy_wh=found.pop("energy_wh"),
        quality=quality,
    )
    readings["minutes"] = np.where(divided, _HOUR, DAY_MINUTES)
    lines = table.index.to_numpy(np.int64)[rows]
    return readings.assign(**found), lines, _tell_divided(meters, days, counts)


def _tell_divided(
    meters: pd.Series[str], days: pd.DatetimeIndex, counts: NDArray[np.int64]
) -> tuple[ReadingProblem, ...]:
    """Each day that was divided over so many hours."""
    return tuple(
        ReadingProblem(
            str(meters.iloc[row]),
            days[row],
            "clock-change",
            f"line {meters.index[row]}: a day of {counts[row]} hours, over which its energy is"
            " divided equally",
        )
        for row in np.flatnonzero(counts > 1).tolist()
    )
