"""The cells of a meter data table: times, energies, ratios and quality flags, column by column.

A cell that cannot be read refuses the file: the caller gets an `InvalidReadingsError` that names
lines and rules and repeats no value. Line numbers count the header as line 1.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.energy_text import EnergyStatus, kwh_to_wh
from gridsecure.billing.readings import ReadingProblem, make_readings, moment_us
from gridsecure.errors import InvalidReadingsError

MAX_PROBLEMS: Final = 20

_MINUTE = re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2})?")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_RULES = {
    EnergyStatus.NOT_A_NUMBER: ("kwh-not-a-number", "the energy is not a decimal number"),
    EnergyStatus.TOO_MANY_DECIMALS: ("kwh-decimals", "more than three decimals of a kWh"),
    EnergyStatus.TOO_LARGE: ("kwh-too-large", "more than nine digits before the point"),
}


def line_problems(
    table: pd.DataFrame, rows: NDArray[np.intp], *, rule: str, detail: str
) -> tuple[ReadingProblem, ...]:
    """Problems for the first rows of a list, naming meter point and line."""
    meters = table["meter_point_id"].iloc[rows[:MAX_PROBLEMS]]
    return tuple(
        ReadingProblem(str(meter), None, rule, f"line {row + 2}: {detail}")
        for row, meter in zip(rows[:MAX_PROBLEMS], meters, strict=True)
    )


def _refuse(
    table: pd.DataFrame, rows: NDArray[np.intp], *, reason: str, rule: str, detail: str, remedy: str
) -> InvalidReadingsError:
    count = len(rows)
    return InvalidReadingsError(
        f"{count} line{'s' if count > 1 else ''} refused ({rule}), first line {rows[0] + 2}: "
        f"{detail}.",
        reason=reason,
        remedy=remedy,
        problems=line_problems(table, rows, rule=rule, detail=detail),
    )


def read_starts(table: pd.DataFrame, timezone: str) -> pd.DatetimeIndex:
    """Column `start` as aware datetimes.

    Raises:
        InvalidReadingsError: `readings.timestamp` for text that is not a time, or a local time
            that the zone's clock skips or shows twice.
    """
    which, texts = pd.factorize(table["start"])
    unique, rules = _localise([_parse_moment(text) for text in texts], timezone)
    _check_times(table, rules[which])
    return unique.take(which)


def stated_offsets(table: pd.DataFrame) -> frozenset[int | None]:
    """Offsets from UTC that the column `start` is written with [min]; None for a local time."""
    found: set[int | None] = set()
    for text in pd.unique(table["start"]):
        moment = _parse_moment(text)
        offset = None if moment is None else moment.utcoffset()
        found.add(None if offset is None else offset // dt.timedelta(minutes=1))
    return frozenset(found)


def read_days(table: pd.DataFrame, timezone: str, *, points: int) -> pd.DatetimeIndex:
    """Column `date` as the aware starts of `points` equal intervals of each local day.

    Raises:
        InvalidReadingsError: `readings.timestamp` as for `read_starts`; a day on which the clock
            is changed does not fit the layout and is refused.
    """
    which, texts = pd.factorize(table["date"])
    days = [_parse_day(text) for text in texts]
    step = dt.timedelta(days=1) / points
    moments = [day + step * point if day else None for day in days for point in range(points)]
    unique, rules = _localise(moments, timezone)
    _check_times(table, rules.reshape(-1, points).max(axis=1)[which])
    return unique.take((which[:, None] * points + np.arange(points)).ravel())


def _parse_moment(text: Any) -> dt.datetime | None:
    if not _MINUTE.fullmatch(text.strip()):
        return None
    try:
        return dt.datetime.fromisoformat(text.strip())
    except ValueError:
        return None


def _parse_day(text: Any) -> dt.datetime | None:
    if not _DAY.fullmatch(text.strip()):
        return None
    try:
        return dt.datetime.fromisoformat(text.strip())
    except ValueError:
        return None


_TIME_RULES = {
    1: ("timestamp-nonexistent", "the local clock skips this time"),
    2: ("timestamp-ambiguous", "the local clock shows this time twice"),
    3: ("timestamp", "the time is not of the form YYYY-MM-DD HH:MM"),
}


def _localise(
    moments: list[dt.datetime | None], timezone: str
) -> tuple[pd.DatetimeIndex, NDArray[np.int64]]:
    """Aware times in the zone, and per time 0 or a key of `_TIME_RULES`."""
    rules = np.array([3 if moment is None else 0 for moment in moments], dtype=np.int64)
    epoch = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - stands in for unusable local times
    local = pd.DatetimeIndex(
        [epoch if moment is None or moment.tzinfo else moment for moment in moments]
    ).as_unit("us")
    aware = local.tz_localize(timezone, nonexistent="NaT", ambiguous="NaT")
    lost = np.flatnonzero(aware.isna())
    if len(lost):
        # A time is skipped, rather than shown twice, when shifting it forward moves it.
        shifted = local[lost].tz_localize(timezone, nonexistent="shift_forward", ambiguous=False)
        rules[lost] = np.where(shifted.tz_localize(None) == local[lost], 2, 1)
    starts_us = aware.asi8.copy()
    for position, moment in enumerate(moments):
        if moment is not None and moment.tzinfo:
            starts_us[position] = moment_us(moment)
    utc = pd.DatetimeIndex(starts_us.view("datetime64[us]")).tz_localize("UTC")
    return utc.tz_convert(timezone), rules


def _check_times(table: pd.DataFrame, rules: NDArray[np.int64]) -> None:
    if not rules.any():
        return
    worst = int(rules.max())
    rule, detail = _TIME_RULES[worst]
    raise _refuse(
        table,
        np.flatnonzero(rules == worst),
        reason="readings.timestamp",
        rule=rule,
        detail=detail,
        remedy="Write local times as 2026-07-01 00:30, or with an offset as "
        "2026-07-01 00:30+08:00 where the clock is changed.",
    )


def read_energy(
    table: pd.DataFrame, columns: list[str]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Energy columns as Wh, row by row, and which cells hold no reading.

    Raises:
        InvalidReadingsError: `readings.energy` for the first kind of unreadable cell.
    """
    energy = kwh_to_wh(table[columns].to_numpy(dtype=object))
    for status, (rule, detail) in _RULES.items():
        wrong = np.flatnonzero(energy.status == status)
        if len(wrong):
            raise _refuse(
                table,
                np.unique(wrong // len(columns)),
                reason="readings.energy",
                rule=rule,
                detail=detail,
                remedy="Write kWh with up to three decimals, such as 12.345; "
                "nothing is rounded here.",
            )
    return energy.energy_wh, energy.status == EnergyStatus.MISSING


def apply_ratio(
    table: pd.DataFrame, energy_wh: NDArray[np.int64], *, points: int
) -> NDArray[np.int64]:
    """Multiply each line's energies by its transformer ratio, exactly.

    Raises:
        InvalidReadingsError: `readings.ratio` for a ratio that is not a positive number with up
            to three decimals, or that leaves a fraction of a Wh or more than 1 TWh.
    """
    ratio = kwh_to_wh(table["ratio"].to_numpy(dtype=object))
    thousandths = ratio.energy_wh
    per_line = energy_wh.reshape(-1, points)
    # Floating point only to see whether the integer product stays far inside int64.
    size = np.abs(per_line.astype(np.float64)).max(axis=1) * thousandths
    unusable = (ratio.status != EnergyStatus.EXACT) | (thousandths <= 0) | (size > 1e15)
    products = per_line * np.where(unusable, 0, thousandths)[:, None]
    inexact = (products % 1000 != 0).any(axis=1)
    wrong = np.flatnonzero(unusable | inexact)
    if len(wrong):
        raise _refuse(
            table,
            wrong,
            reason="readings.ratio",
            rule="ratio",
            detail="the ratio is not a positive number that gives whole Wh",
            remedy="Give current x voltage transformer ratio, such as 30 or 1000.",
        )
    energies: NDArray[np.int64] = (products // 1000).ravel()
    return energies


def read_quality(table: pd.DataFrame, missing: NDArray[np.bool_], *, repeat: int) -> pd.Series[str]:
    """Quality per reading: the file's flag, `actual` where it is blank, `missing` without energy.

    Flags are passed on as they are, so that validation can quarantine unknown ones.
    """
    if "quality" in table.columns:
        flags, names = pd.factorize(table["quality"].str.strip().str.lower())
        texts = [str(name) or "actual" for name in names]
    else:
        flags, texts = np.zeros(len(table), dtype=np.int64), ["actual"]
    which = np.where(missing, len(texts), np.repeat(flags, repeat))
    return pd.Series(pd.array([*texts, "missing"], dtype="str").take(which))


def build_readings(
    meters: pd.Series[str],
    *,
    start: pd.DatetimeIndex,
    energy_wh: NDArray[np.int64],
    quality: pd.Series[str],
) -> pd.DataFrame:
    """Put the columns together as a checked readings frame."""
    if (meters == "").any():
        raise InvalidReadingsError(
            "A line has no meter_point_id.",
            reason="readings.malformed",
            remedy="Every line needs the id of its meter point.",
        )
    return make_readings(meters, start=start, energy_wh=energy_wh, quality=quality)
