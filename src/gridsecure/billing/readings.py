"""The readings frame: what every later step may assume about a meter's energy per interval.

Invariants of a frame that passed `check_readings`:

- `meter_point_id` is text and never blank,
- `start` is the aware start of the half-open interval [start, end), in the zone of the tariff,
- `energy_wh` is exact: an int64 count of Wh, 0 where `quality` says `missing`,
- `reactive_varh` and `export_wh`, where a file has those registers, are int64 beside it [varh, Wh],
- `minutes`, where it stands, is the int64 length of the reading's own interval, one of
  `INTERVAL_MINUTES`, `DAY_MINUTES` where only the energy of the whole day is known, or 0 where it
  cannot be told; elsewhere `interval_lengths` tells it, and never a day,
- `quality` is text; flags other than `QUALITIES` are kept for validation to quarantine.

Text becomes such energies in `energy_text`. Whether a reading is plausible is decided in
`validation`, not here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.errors import InvalidReadingsError

COLUMNS: Final = ("meter_point_id", "start", "energy_wh", "quality")
REGISTER_COLUMNS: Final = ("reactive_varh", "export_wh")
MINUTES_COLUMN: Final = "minutes"
NO_REGISTER: Final = -1
"""In a register column, says that the meter point's file has no such register."""
QUALITIES: Final = ("actual", "estimated", "missing")

# The lengths that divide an hour and that meters are in fact set to [minutes].
INTERVAL_MINUTES: Final = (5, 10, 15, 30, 60)

DAY_MINUTES: Final = 1440
"""Length of a daily value, which has to be stated: midnights alone may be what is left of hours."""

MINUTE_US: Final = 60_000_000

_LONG_RUN: Final = 10_000
"""Rows that are worth a frame of their own."""

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class ReadingProblem:
    """One thing found wrong with one meter point's readings; never holds the reading itself.

    Attributes:
        meter_point_id: The meter point, or "" when the file as a whole is meant.
        start: Start of the (first) interval concerned, or None when no interval is.
        rule: Stable name of the rule, such as `gap` or `duplicate-conflict`.
        detail: What was found, in words and counts, without any energy value.
        intervals: How many intervals are concerned; 0 where they are not counted.
    """

    meter_point_id: str
    start: pd.Timestamp | None
    rule: str
    detail: str
    intervals: int = 0

    def __str__(self) -> str:
        """The problem in words, as people read it: where, what, and the rule's name.

        >>> str(ReadingProblem("M1", None, "kwh-decimals", "line 3: more than three decimals"))
        'Meter point M1: line 3: more than three decimals (kwh-decimals)'
        """
        named = f"Meter point {self.meter_point_id}" if self.meter_point_id else "The file"
        when = "" if self.start is None else f", {self.start.isoformat(' ', 'minutes')}"
        return f"{named}{when}: {self.detail} ({self.rule})"


def check_readings(readings: pd.DataFrame) -> None:
    """Check that a frame has the columns and types of a readings frame.

    Args:
        readings: The frame to check; unknown columns are refused, row order is free.

    Raises:
        InvalidReadingsError: `readings.schema`, naming the column that is wrong.
    """
    optional = set(readings.columns) & {*REGISTER_COLUMNS, MINUTES_COLUMN}
    if set(readings.columns) - optional != set(COLUMNS):
        raise _schema_error(f"The columns must be exactly {', '.join(COLUMNS)}.")
    if not isinstance(readings["start"].dtype, pd.DatetimeTZDtype):
        raise _schema_error("Column start must be aware datetimes in the tariff's zone.")
    for column in ("energy_wh", *sorted(optional)):
        if readings[column].dtype != np.int64:
            unit = "minutes" if column == MINUTES_COLUMN else "Wh"
            raise _schema_error(f"Column {column} must be int64 {unit}.")
    for column in ("meter_point_id", "quality"):
        dtype = readings[column].dtype
        if not (isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_string_dtype(dtype)):
            raise _schema_error(f"Column {column} must be text.")
    if readings.isna().to_numpy().any():
        raise _schema_error("No cell may be null; a missing reading has quality missing.")
    if "" in pd.unique(readings["meter_point_id"]):
        raise _schema_error("No meter_point_id may be blank.")


def _schema_error(message: str) -> InvalidReadingsError:
    return InvalidReadingsError(
        message,
        reason="readings.schema",
        remedy="Build the frame with gridsecure.gateway.formats or make_readings.",
    )


def make_readings(
    meter_point_id: Any, *, start: Any, energy_wh: Any, quality: Any = "actual", minutes: Any = None
) -> pd.DataFrame:
    """Build a checked readings frame from columns.

    Args:
        meter_point_id: Text per row, or one text for all.
        start: Aware interval starts.
        energy_wh: Whole Wh per row.
        quality: Quality per row, or one for all.
        minutes: Length of each interval, where it is known [minutes].

    Returns:
        A frame with `COLUMNS` in that order, `minutes` where given, and a fresh index.

    Raises:
        InvalidReadingsError: `readings.schema` when a column has the wrong type.
    """
    starts = pd.DatetimeIndex(start)
    readings = pd.DataFrame(
        {
            "meter_point_id": meter_point_id,
            "start": starts,
            "energy_wh": energy_wh,
            "quality": quality,
        },
        index=pd.RangeIndex(len(starts)),
    )
    if readings.empty:
        readings = readings.astype({"meter_point_id": "str", "energy_wh": "int64"})
        readings = readings.astype({"quality": "str"})
    if minutes is not None:
        readings[MINUTES_COLUMN] = np.asarray(minutes, dtype=np.int64)
    check_readings(readings)
    return readings


def register_columns(readings: pd.DataFrame) -> list[str]:
    """The register columns a readings frame has."""
    return [column for column in REGISTER_COLUMNS if column in readings]


def add_registers(readings: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Energies and registers added up by some columns; a register that is none stays none.

    Args:
        readings: A readings frame with `minutes` and the columns to group by.

    Returns:
        The keys, `energy_wh`, registers and `minutes`, sorted by the keys.
    """
    registers = register_columns(readings)
    columns = ["energy_wh", *registers, MINUTES_COLUMN]
    grouped = readings.groupby(keys, sort=True)
    sums = grouped[columns].sum()
    if registers:
        least = grouped[registers].min()
        sums[registers] = sums[registers].where(least != NO_REGISTER, NO_REGISTER)
    return sums.reset_index()


def join_readings(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put readings frames together; a register that only some have is `NO_REGISTER` in the others.

    Args:
        parts: One or more readings frames, all with `minutes` or none.

    Raises:
        ValueError: Only some have `minutes`.
    """
    if len(parts) == 1:
        return parts[0]
    if len({MINUTES_COLUMN in part for part in parts}) > 1:
        raise ValueError("the length of some readings' intervals is not stated")
    present = [c for c in REGISTER_COLUMNS if any(c in part for part in parts)]
    filled = [
        part.assign(**{c: np.int64(NO_REGISTER) for c in present if c not in part})
        for part in parts
    ]
    return pd.concat(filled, ignore_index=True)


def take_rows(parts: Sequence[pd.DataFrame], order: NDArray[np.int64]) -> pd.DataFrame:
    """Rows of readings frames in an order, as `pd.concat(parts).iloc[order]` gives them.

    Files are mostly in order, so most of an order is a few long runs. Those are put one behind the
    other as they lie, several times as fast as row by row.

    Args:
        parts: One or more frames of the same columns and types.
        order: Places of rows, counted through all parts.
    """
    begins = np.append(0, np.flatnonzero(order[1:] != order[:-1] + 1) + 1)
    is_long = np.diff(np.append(begins, len(order))) >= _LONG_RUN
    # Short runs that follow each other are one stretch.
    is_first = np.append(True, is_long[1:] | is_long[:-1])
    edges = np.append(begins[is_first], len(order))
    bounds, taken = [0, *accumulate(map(len, parts))], []
    for at, end, whole in zip(edges, edges[1:], is_long[is_first], strict=False):
        rows, found = order[at:end], []
        for part, begin in zip(parts, bounds, strict=False):
            if whole:
                found.append(part.iloc[max(rows[0] - begin, 0) : max(rows[-1] + 1 - begin, 0)])
            else:
                found.append(part.iloc[rows[(rows >= begin) & (rows < begin + len(part))] - begin])
        stretch = pd.concat([one for one in found if len(one)] or found[:1])
        if not whole and len(parts) > 1:
            owners = np.searchsorted(bounds, rows, side="right")
            stretch = stretch.iloc[np.argsort(np.argsort(owners, kind="stable"))]
        taken.append(stretch)
    return pd.concat(taken)


def as_categories(readings: pd.DataFrame) -> pd.DataFrame:
    """The same readings with text as numbers of categories: text is slow to move and compare."""
    texts = {name: readings[name].astype("category") for name in ("meter_point_id", "quality")}
    known = texts["quality"].cat.categories
    texts["quality"] = texts["quality"].cat.add_categories([q for q in QUALITIES if q not in known])
    return readings.assign(**texts)


def start_us(readings: pd.DataFrame) -> NDArray[np.int64]:
    """Interval starts as whole microseconds since 1970-01-01 UTC."""
    return pd.DatetimeIndex(readings["start"]).as_unit("us").asi8


def moment_us(moment: dt.datetime) -> int:
    """An aware moment as whole microseconds since 1970-01-01 UTC."""
    return (moment - _EPOCH) // _MICROSECOND


def is_sorted(meters: NDArray[np.int64], starts_us: NDArray[np.int64]) -> bool:
    """Whether rows stand by meter point and time.

    Args:
        meters: Meter point number per row.
        starts_us: Interval start per row [µs].
    """
    later = starts_us[1:] >= starts_us[:-1]
    later &= meters[1:] == meters[:-1]
    later |= meters[1:] > meters[:-1]
    return bool(later.all())


def neighbour_steps(
    meters: NDArray[np.int64], starts_us: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sort rows by meter point and time and take the distance from each row to the next.

    Args:
        meters: Meter point number per row.
        starts_us: Interval start per row [µs].

    Returns:
        The stable sorting order, and the step after each sorted row [µs]; -1 after the last row
        of a meter point. Both as long as the input.
    """
    if is_sorted(meters, starts_us):
        order = np.arange(len(meters), dtype=np.int64)
    else:
        order = _stable_order(meters, starts_us)
        meters, starts_us = meters[order], starts_us[order]
    steps = np.full(len(meters), -1, dtype=np.int64)
    np.subtract(starts_us[1:], starts_us[:-1], out=steps[:-1], where=meters[1:] == meters[:-1])
    return order, steps


def _stable_order(meters: NDArray[np.int64], starts_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """The stable order by meter point and time of one row at least."""
    first = int(starts_us.min())
    width = int(starts_us.max()) - first + 1
    if not 0 <= (int(meters.max()) + 1) * width < 2**63 or int(meters.min()) < 0:
        return np.lexsort((starts_us, meters)).astype(np.int64)
    # One number a row, because what is sorted in parts, as files are, is then merged and not
    # sorted: three to six times as fast.
    keys = meters * width + (starts_us - first)
    return np.argsort(keys, kind="stable").astype(np.int64, copy=False)
