"""Meters whose clock is a little off: starts that lie beside the grid are moved onto it.

Every interval length is a whole number of five minutes, so the grid of five minutes on the local
clock holds all of them. A start that is further from it than its class allows stays where it is,
and no interval is expected there.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from gridsecure.billing.interval_lengths import interval_minutes
from gridsecure.billing.readings import DAY_MINUTES, MINUTES_COLUMN, start_us
from gridsecure.billing.rule_policies import ValidationPolicy
from gridsecure.billing.validation_rules import Mask

DETAIL = "the meter's clock is off; the reading is taken as of the nearest whole five minutes"

_GRID_US = 300_000_000
_SECOND_US = 1_000_000


def move_starts(readings: pd.DataFrame, policy: ValidationPolicy) -> tuple[pd.DataFrame, Mask]:
    """Move starts that are beside the grid by as little as the rules allow.

    Lengths of intervals are told anew where anything was moved: a drifting clock hides them.

    Args:
        readings: A readings frame.

    Returns:
        The readings with starts on the grid, and which rows were moved.

    Raises:
        InvalidReadingsError: `readings.interval`, where nothing tells how long intervals are.
    """
    moved = np.zeros(len(readings), dtype=bool)
    if not policy.book.is_applied("time-drift") or readings.empty:
        return readings, moved
    meters, names = pd.factorize(readings["meter_point_id"])
    own = policy.judge(np.asarray(names, dtype=object))
    tolerance_s = np.where(own.applies("time-drift"), own.limits("time-drift", "tolerance_s"), 0)
    starts = pd.DatetimeIndex(readings["start"])
    # Offsets of zones in use are whole quarters of an hour, so the grid is the same in UTC.
    beside = (start_us(readings) + _GRID_US // 2) % _GRID_US - _GRID_US // 2
    moved = (beside != 0) & (np.abs(beside) <= tolerance_s[meters] * _SECOND_US)
    if not moved.any():
        return readings, moved
    shifted = starts - pd.to_timedelta(np.where(moved, beside, 0), unit="us")
    fixed = readings.assign(start=pd.Series(shifted.as_unit(starts.unit), index=readings.index))
    if MINUTES_COLUMN in fixed:
        told = fixed[MINUTES_COLUMN] != DAY_MINUTES
        unstated = fixed.loc[told].drop(columns=MINUTES_COLUMN)
        fixed.loc[told, MINUTES_COLUMN] = interval_minutes(unstated)
    return fixed, moved
