"""The measured meter points of `data/real/`, in the month they are to be billed for.

The measurements are from 2010 to 2014. To stand in one roster with other meter points they are
moved onto the month of the run, whole local days at a time: the first day taken is the earliest of
the extract (or, for the industrial year, of the same month of 2010) that falls on the weekday of
the month's first day, and the following days follow. Times of day, weekdays, gaps and repeated
lines stay as they were measured; only the dates change.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Final

import pandas as pd

from gridsecure.billing.interval_lengths import resample_readings
from gridsecure.gateway.formats import read_readings
from gridsecure.simulator.extract_real import FACTORIES, HOMES
from gridsecure.simulator.synthetic_meters import month_days

DATA: Final = Path(__file__).parents[3] / "data" / "real"

_YEAR: Final = 2010


def real_readings(month: str, *, interval_minutes: int = 30, folder: Path = DATA) -> pd.DataFrame:
    """The real meter points' readings, moved onto a month.

    Args:
        month: YYYY-MM.
        interval_minutes: 30 or 60. The industrial quarter-hours are added up to half-hours, the
            homes are measured in half-hours; 60 adds up only the industrial ones and leaves out the
            homes, whose repeated lines cannot be added up before validation.
        folder: Where the extracts are.

    Returns:
        A readings frame in Asia/Shanghai with the genuine gaps and repeated lines.

    Raises:
        ValueError: Another interval length.
        InvalidReadingsError: An extract is missing or damaged.
    """
    if interval_minutes not in (30, 60):
        raise ValueError("real readings are available in intervals of 30 or 60 minutes")
    days = month_days(month)
    industry = read_readings(folder / "industry-2010.csv").readings
    moved = []
    for meter_point_id in FACTORIES:
        own = industry[industry["meter_point_id"] == meter_point_id]
        moved.append(_move(own, earliest=_same_month(days[0], len(days)), days=days))
    factories = resample_readings(
        pd.concat(moved, ignore_index=True), interval=pd.Timedelta(minutes=interval_minutes)
    )
    if interval_minutes == 60:
        return factories
    homes = read_readings(folder / "uk-homes.csv").readings
    parts = [
        _move(homes[homes["meter_point_id"] == meter_point_id], earliest=first, days=days)
        for meter_point_id, (_, first) in HOMES.items()
    ]
    return pd.concat([*parts, factories], ignore_index=True)


def real_contracts(folder: Path = DATA) -> pd.DataFrame:
    """The real meter points' contracts, in the columns of a contract file."""
    table = pd.read_csv(folder / "contracts.csv", dtype=str, keep_default_na=False)
    return table.astype({"household_quota_kwh": "int64", "contracted_kva": "int64"})


def _same_month(first: dt.date, length: int) -> dt.date:
    # December would run past the end of the year once it is shifted to the right weekday.
    latest = dt.date(_YEAR, 12, 31) - dt.timedelta(days=length + 5)
    return min(dt.date(_YEAR, first.month, 1), latest)


def _move(readings: pd.DataFrame, *, earliest: dt.date, days: tuple[dt.date, ...]) -> pd.DataFrame:
    """Cut as many days as the month has, from the first right weekday on, and change the dates."""
    source = earliest + dt.timedelta(days=(days[0].weekday() - earliest.weekday()) % 7)
    shift = pd.Timedelta(days=(days[0] - source).days)
    # The extracts were read as Asia/Shanghai, which has not changed its clock since 1991, so
    # shifting by whole days keeps local times.
    start = readings["start"] + shift
    zone = readings["start"].dt.tz
    end = pd.Timestamp(days[-1], tz=zone) + pd.Timedelta(days=1)
    chosen = (start >= pd.Timestamp(days[0], tz=zone)) & (start < end)
    return readings.assign(start=start)[chosen].reset_index(drop=True)
