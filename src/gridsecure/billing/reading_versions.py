"""Versions of readings: a later file lies over an earlier one, interval by interval.

A corrected or late reading takes the place of the one for the same meter point and interval, and
everything else stays as it was read before. Neither file is changed: a version is the list of files
it was made from. Whether the result may be billed is for validation to say, once more.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from gridsecure.billing.readings import start_us

_KEY = ["meter_point_id", "period_start"]


def overlaid(readings: pd.DataFrame, *, later: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Lay later readings over earlier ones.

    Args:
        readings: A readings frame.
        later: Readings frames of the same interval length, oldest first. Rows that contradict each
            other within one frame all stay, for validation to find.

    Returns:
        A readings frame with what each interval's latest frame says of it.
    """
    for frame in later:
        taken = pd.MultiIndex.from_arrays([frame["meter_point_id"], start_us(frame)])
        own = pd.MultiIndex.from_arrays([readings["meter_point_id"], start_us(readings)])
        readings = pd.concat([readings[~own.isin(taken)], frame], ignore_index=True)
    return readings


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
