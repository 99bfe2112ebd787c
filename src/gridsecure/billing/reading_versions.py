"""Versions of readings: a later file lies over an earlier one, interval by interval.

A corrected or late reading takes the place of the one for the same meter point and interval, and
everything else stays as it was read before. Neither file is changed: a version is the list of files
it was made from. Whether the result may be billed is for validation to say, once more.
"""

from __future__ import annotations

import pandas as pd

from gridsecure.billing.readings import (
    NO_REGISTER,
    REGISTER_COLUMNS,
    joined_readings,
    start_us,
)
from gridsecure.errors import InvalidReadingsError

_KEY = ["meter_point_id", "period_start"]


def overlaid(
    readings: pd.DataFrame, *, later: pd.DataFrame, interval: pd.Timedelta
) -> pd.DataFrame:
    """Lay later readings over earlier ones.

    Args:
        readings: A readings frame.
        later: Another one. Rows of it that contradict each other all stay, for validation to find.
        interval: Interval length of both.

    Returns:
        A readings frame with what `later` says of its intervals, and `readings` of the others.

    Raises:
        InvalidReadingsError: A later reading lies between the intervals of the earlier ones, so
            it would be counted beside what it corrects (`correction.interval`); or only one of the
            two has a meter point's reactive or export register (`correction.register`).
    """
    begins, starts = start_us(later), start_us(readings)
    step_us = interval // pd.Timedelta(microseconds=1)
    if len(readings) and ((begins - starts[0]) % step_us).any():
        raise other_interval()
    for column in REGISTER_COLUMNS:
        _check_register(readings, later, column=column)
    taken = pd.MultiIndex.from_arrays([later["meter_point_id"], begins])
    own = pd.MultiIndex.from_arrays([readings["meter_point_id"], starts])
    return joined_readings([readings[~own.isin(taken)], later])


def _check_register(readings: pd.DataFrame, later: pd.DataFrame, *, column: str) -> None:
    """A register that stands in one version only would be billed for part of the month."""
    below = set(readings["meter_point_id"].unique())
    above = set(later["meter_point_id"].unique()) & below
    if _metered(readings, column) & above != _metered(later, column) & above:
        raise InvalidReadingsError(
            "The corrected readings have other registers than those they correct.",
            reason="correction.register",
            remedy="Hand them in with the same columns of reactive and exported energy.",
        )


def _metered(readings: pd.DataFrame, column: str) -> set[str]:
    if column not in readings:
        return set()
    has_one = readings[column] != NO_REGISTER
    return set(readings.loc[has_one, "meter_point_id"].unique())


def other_interval() -> InvalidReadingsError:
    """The refusal of later readings that do not fit the intervals of the earlier ones."""
    return InvalidReadingsError(
        "The corrected readings have other intervals than those they correct.",
        reason="correction.interval",
        remedy="Hand them in with the interval length of the readings as first billed; where it "
        "cannot be told from a few readings, add the neighbouring ones.",
    )


def changed_settlements(before: pd.DataFrame, after: pd.DataFrame) -> set[tuple[str, pd.Timestamp]]:
    """Meter points and periods of both settlement frames that are settled otherwise in the second.

    Args:
        before: A settlement frame.
        after: Another one, settled under the same tariff.

    Returns:
        Pairs of meter point and period start. What is in one frame only is not among them: who was
        never billed cannot be corrected, and who has no readings any more cannot be billed.
    """
    old, new = before.set_index(_KEY), after.set_index(_KEY)
    both = old.index.intersection(new.index)
    old, new = old.loc[both], new.loc[both, old.columns]
    differs = (old.ne(new) & ~(old.isna() & new.isna())).any(axis=1)
    return {(str(name), start) for name, start in both[differs.to_numpy()]}
