"""The BDEW standard load profiles as exact integers.

The profiles are averages of measured German customers (BDEW/VDEW, 1999), as published in the
package demandlib. Its data table is read directly, not through its classes, which normalise a year
with floating-point sums: only integers give the same bytes on every machine. The table's values
have five decimals; they are used as they are, in units of 1e-5.
"""

from __future__ import annotations

import csv
import datetime as dt
import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

# Customer class -> BDEW profile: H0 household, G4 shop, G3 continuous industry.
PROFILE_OF_CLASS: Final = {"household": "h0", "shop": "g4", "factory": "g3"}

# First and last (month, day) of the seasons of the BDEW profiles; what is neither is transition.
_SUMMER = ((5, 15), (9, 14))
_WINTER_UNTIL, _WINTER_FROM = (3, 20), (11, 1)


def season_of(day: dt.date) -> str:
    """The BDEW season of a date: summer, winter or transition."""
    date = (day.month, day.day)
    if _SUMMER[0] <= date <= _SUMMER[1]:
        return "summer"
    return "winter" if date <= _WINTER_UNTIL or date >= _WINTER_FROM else "transition"


def day_shapes(customer_class: str, days: Sequence[dt.date], *, points: int) -> NDArray[np.int64]:
    """The profile of a class over given days.

    Args:
        customer_class: household, shop or factory.
        days: The dates; weekday and season choose the profile day.
        points: Intervals per day, a divisor of 96.

    Returns:
        One row per day, one column per interval; relative energy in the table's unit.
    """
    tables = _load_profile(PROFILE_OF_CLASS[customer_class])
    quarters = np.stack([tables[season_of(day), day.isoweekday()] for day in days])
    shapes: NDArray[np.int64] = quarters.reshape(len(days), points, -1).sum(axis=2)
    return shapes


@cache
def _load_profile(profile: str) -> dict[tuple[str, int], NDArray[np.int64]]:
    days: dict[tuple[str, int], list[int]] = {}
    with _table_path().open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            whole, decimals = row[profile].split(".")
            value = int(whole) * 100_000 + int(decimals[:5].ljust(5, "0"))
            days.setdefault((row["period"], int(row["weekday"])), []).append(value)
    return {key: np.array(values, dtype=np.int64) for key, values in days.items()}


def _table_path() -> Path:
    # Found without importing the package, which would load pandas machinery that is not used.
    spec = importlib.util.find_spec("demandlib")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("demandlib is not installed; run make dev")
    return Path(spec.origin).parent / "bdew" / "bdew_data" / "selp_series.csv"
