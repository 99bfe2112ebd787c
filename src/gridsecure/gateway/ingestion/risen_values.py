"""Whether the readings of a large body rise like the faces of a register, asked of all at once.

A few bytes are kept of each reading, and meter points are looked at some at a time.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.readings import register_columns, start_us
from gridsecure.gateway.value_kinds import refuse_cumulative

_AT_ONCE: Final = 1 << 19
_SECOND_US: Final = 1_000_000

_Numbers = NDArray[np.signedinteger[Any]]


class RisenValues:
    """What is kept of a body's readings until all of them came."""

    def __init__(self) -> None:
        """Begin with none."""
        self._codes: dict[str, int] = {}
        self._kept: dict[str, list[_Numbers]] = {}

    def add(self, readings: pd.DataFrame) -> None:
        """Keep what the question needs of a readings frame; all have the same columns."""
        own, names = pd.factorize(readings["meter_point_id"])
        known = [self._codes.setdefault(str(name), len(self._codes)) for name in names]
        there = (readings["quality"] != "missing").to_numpy(bool)
        columns = {
            "meter": np.array(known, dtype=np.int64)[own],
            "start": start_us(readings) // _SECOND_US,
        } | {
            name: np.where(there, readings[name].to_numpy(np.int64), 0)
            for name in ("energy_wh", *register_columns(readings))
        }
        for name, column in columns.items():
            self._kept.setdefault(name, []).append(_narrowed(column))

    def check(self) -> None:
        """Refuse energies that look like faces of a register.

        Raises:
            InvalidReadingsError: `readings.cumulative`, naming meter points.
        """
        columns: dict[str, _Numbers] = {}
        for name in list(self._kept):
            columns[name] = np.concatenate(self._kept.pop(name))
        if not columns:
            return
        meters = columns.pop("meter")
        names = np.array(list(self._codes), dtype=object)
        ends = np.cumsum(np.bincount(meters, minlength=len(names)))
        first = 0
        while first < len(names):
            before = ends[first - 1] if first else 0
            last = max(first + 1, int(np.searchsorted(ends, before + _AT_ONCE, side="right")))
            rows = np.flatnonzero((meters >= first) & (meters < last))
            refuse_cumulative(_frame(names[meters[rows]], {n: c[rows] for n, c in columns.items()}))
            first = last


def _frame(names: NDArray[np.object_], rows: dict[str, _Numbers]) -> pd.DataFrame:
    starts = rows.pop("start").astype(np.int64) * _SECOND_US
    return pd.DataFrame(
        {
            "meter_point_id": names,
            "start": pd.DatetimeIndex(starts.view("M8[us]"), tz="UTC"),
            "quality": "actual",
        }
        | {name: column.astype(np.int64) for name, column in rows.items()}
    )


def _narrowed(numbers: NDArray[np.int64]) -> _Numbers:
    """The same numbers in half the bytes, where they fit."""
    limits = np.iinfo(np.int32)
    if len(numbers) and (numbers.min() < limits.min or numbers.max() > limits.max):
        return numbers
    return numbers.astype(np.int32)
