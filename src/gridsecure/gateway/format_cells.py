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
from gridsecure.month_texts import FIRST_YEAR, LAST_YEAR, is_in_years

MAX_PROBLEMS: Final = 20
_CELLS_AT_ONCE: Final = 1 << 18

# Year first, so that day and month cannot be taken for each other; seconds may be 00.000.
_MINUTE = re.compile(
    r"(?P<day>\d{4}[-/]\d{1,2}[-/]\d{1,2})[ T](?P<hour>\d{1,2}):(?P<rest>\d{2}(:\d{2})?)(\.0+)?"
    r"(?P<offset>Z|[+-]\d{2}:\d{2})?"
)
_DAY = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}")
_LAST_HOUR = re.compile(r".*[ T]24:00(:00)?(\.0+)?(Z|[+-]\d{2}:\d{2})?")
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


def writes_last_hour(table: pd.DataFrame) -> bool:
    """Whether the column `start` has 24:00, which only the end of an interval can be."""
    return any(_LAST_HOUR.fullmatch(text.strip()) for text in pd.unique(table["start"]))


def read_days(table: pd.DataFrame, timezone: str) -> pd.DatetimeIndex:
    """Column `date` as the aware start of each local day.

    Raises:
        InvalidReadingsError: `readings.timestamp` for text that is no date.
    """
    which, texts = pd.factorize(table["date"])
    days = [_parse_day(text) for text in texts]
    rules = np.array([_rule_of(day, otherwise=4) for day in days], dtype=np.int64)
    _check_times(table, rules[which])
    local = pd.DatetimeIndex([day for day in days if day]).as_unit("us")
    # Where midnight itself is skipped or shown twice, the day begins with its first instant.
    first = np.ones(len(local), dtype=bool)
    unique = local.tz_localize(timezone, nonexistent="shift_forward", ambiguous=first)
    return unique.take(which)


def _parse_moment(text: Any) -> dt.datetime | None:
    found = _MINUTE.fullmatch(text.strip())
    if found is None:
        return None
    if _LAST_HOUR.fullmatch(text.strip()):
        begin = _parse_moment(text.replace("24:00", "00:00", 1))
        usable = begin is not None and is_in_years(begin)
        return begin + dt.timedelta(days=1) if begin is not None and usable else begin
    day, hour = _iso_day(found["day"]), found["hour"].zfill(2)
    try:
        return dt.datetime.fromisoformat(f"{day}T{hour}:{found['rest']}{found['offset'] or ''}")
    except ValueError:
        return None


def _iso_day(text: str) -> str:
    year, month, day = re.split("[-/]", text)
    return f"{year}-{month.zfill(2)}-{day.zfill(2)}"


def _parse_day(text: Any) -> dt.datetime | None:
    if not _DAY.fullmatch(text.strip()):
        return None
    try:
        return dt.datetime.fromisoformat(_iso_day(text.strip()))
    except ValueError:
        return None


_TIME_RULES = {
    1: ("timestamp-nonexistent", "the local clock skips this time"),
    2: ("timestamp-ambiguous", "the local clock shows this time twice"),
    3: ("timestamp", "the time is not of the form YYYY-MM-DD HH:MM, year first"),
    4: ("timestamp", "the date is not of the form YYYY-MM-DD, year first"),
    5: ("timestamp-year", f"the year is not between {FIRST_YEAR} and {LAST_YEAR}"),
}


def _rule_of(moment: dt.datetime | None, *, otherwise: int) -> int:
    """The rule that a parsed time breaks, or 0."""
    if moment is None:
        return otherwise
    return 0 if is_in_years(moment) else 5


def _localise(
    moments: list[dt.datetime | None], timezone: str
) -> tuple[pd.DatetimeIndex, NDArray[np.int64]]:
    """Aware times in the zone, and per time 0 or a key of `_TIME_RULES`."""
    rules = np.array([_rule_of(moment, otherwise=3) for moment in moments], dtype=np.int64)
    epoch = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - stands in for unusable local times
    moments = [None if rule else one for one, rule in zip(moments, rules, strict=True)]
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
        remedy="Write the days of a wide file as 2026-07-01."
        if rule == "timestamp" and "date" in table
        else "Write local times as 2026-07-01 00:30, or with an offset as "
        "2026-07-01 00:30+08:00 where the clock is changed.",
    )


def read_energy(
    table: pd.DataFrame, columns: list[str]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Energy columns as Wh, row by row, and which cells hold no reading.

    Raises:
        InvalidReadingsError: `readings.energy` for the first kind of unreadable cell.
    """
    energy_wh = np.empty(len(table) * len(columns), dtype=np.int64)
    found = np.empty(len(energy_wh), dtype=np.uint8)
    rows = max(1, _CELLS_AT_ONCE // len(columns))
    for first in range(0, len(table), rows):
        # As objects, cells take ten times their text: a few lines at a time.
        texts = table[columns].iloc[first : first + rows].to_numpy(dtype=object).ravel()
        part = slice(first * len(columns), first * len(columns) + len(texts))
        energy_wh[part], found[part] = _read_texts(texts)
    for status in _RULES:
        wrong = np.flatnonzero(found == status)
        if len(wrong):
            line, column = divmod(int(wrong[0]), len(columns))
            rule, detail, remedy = _why_refused(status, str(table[columns[column]].iloc[line]))
            where = f" in column {columns[column]}" if len(columns) > 1 else ""
            raise _refuse(
                table,
                np.unique(wrong // len(columns)),
                reason="readings.energy",
                rule=rule,
                detail=f"{detail}{where}",
                remedy=remedy,
            )
    return energy_wh, found == EnergyStatus.MISSING


def _read_texts(texts: NDArray[np.object_]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    energy = kwh_to_wh(texts)
    odd = np.flatnonzero(energy.status == EnergyStatus.NOT_A_NUMBER)
    if len(odd):
        # Exports of fixed width pad their cells; blanks around a number change nothing.
        stripped = np.array([str(text).strip() for text in texts[odd]], dtype=object)
        again = kwh_to_wh(stripped)
        energy.energy_wh[odd], energy.status[odd] = again.energy_wh, again.status
    return energy.energy_wh, energy.status


# How text that is no decimal number looks, most telling first; the text itself is not repeated.
_NO_NUMBERS = (
    (
        re.compile(r"[-+]?\d+,\d+"),
        ("kwh-decimal-comma", "the energy is written with a decimal comma"),
        "Write the decimal point, 0.250 instead of 0,250; a spreadsheet does so when its language"
        " for numbers is English.",
    ),
    (
        re.compile(r"[-+]?\d{1,3}([,'. \u00a0]\d{3})+([.,]\d+)?"),
        ("kwh-thousands", "the energy is written with marks between thousands"),
        "Write the digits without marks, 1234.5 instead of 1,234.5.",
    ),
    (
        re.compile(r"[-+]?\d+(\.\d+)?[eE][-+]?\d+"),
        ("kwh-scientific", "the energy is in scientific notation, which may have lost digits"),
        "Format the column as a number with three decimals before saving it as CSV.",
    ),
    (
        re.compile(r"[-+]?[\d.,]+\s*[kMm]?[Ww][Hh]"),
        ("kwh-unit", "the energy has its unit in the same cell"),
        "Write the number alone, in kWh.",
    ),
    (
        re.compile(r".*[\uff10-\uff19].*"),
        ("kwh-full-width", "the energy is written in full-width digits"),
        "Write it with the digits 0 to 9 and a point.",
    ),
)


def _why_refused(status: EnergyStatus, text: str) -> tuple[str, str, str]:
    """Rule, detail and remedy for a cell that is no energy."""
    if status is EnergyStatus.NOT_A_NUMBER:
        for pattern, (rule, detail), remedy in _NO_NUMBERS:
            if pattern.fullmatch(text.strip()):
                return rule, detail, remedy
    remedy = "Write kWh with up to three decimals, such as 12.345; nothing is rounded here."
    return (*_RULES[status], remedy)


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
            remedy="Give the current ratio times the voltage ratio of the transformers, such as "
            "30 or 1000.",
        )
    energies: NDArray[np.int64] = (products // 1000).ravel()
    return energies


def read_quality(table: pd.DataFrame, missing: NDArray[np.bool_], *, repeat: int) -> pd.Series[str]:
    """Quality per reading: the file's flag, `actual` where it is blank, `missing` without energy.

    The letters of meter data files stand for our words, with or without the two digits of a
    method after them. Other flags are passed on as they are, so that validation can quarantine
    them.
    """
    if "quality" in table.columns:
        flags, names = pd.factorize(table["quality"].str.strip().str.lower())
        texts = [_quality_of(str(name)) for name in names]
    else:
        flags, texts = np.zeros(len(table), dtype=np.int64), ["actual"]
    which = np.where(missing, len(texts), np.repeat(flags, repeat))
    return pd.Series(pd.array([*texts, "missing"], dtype="str").take(which))


# Actual, estimated, substituted, final estimate, null: the letters of NEM12 and of MDM exports.
_QUALITY_LETTERS = {
    "a": "actual",
    "e": "estimated",
    "s": "estimated",
    "f": "estimated",
    "n": "missing",
    "substituted": "estimated",
    "final": "estimated",
    "null": "missing",
    "": "actual",
}
_WITH_METHOD = re.compile(r"([aesfn])[0-9]{2}")


def _quality_of(flag: str) -> str:
    method = _WITH_METHOD.fullmatch(flag)
    letter = method[1] if method else flag
    return _QUALITY_LETTERS.get(letter, flag)


def build_readings(
    meters: pd.Series[str],
    *,
    start: pd.DatetimeIndex,
    energy_wh: NDArray[np.int64],
    quality: pd.Series[str],
) -> pd.DataFrame:
    """Put the columns together as a checked readings frame."""
    return make_readings(meters, start=start, energy_wh=energy_wh, quality=quality)
