"""Times and dates of a meter data table, column by column.

The year stands first, so that day and month cannot be taken for each other. Times are local to the
zone given, or carry an offset of their own; seconds since 1970 carry UTC.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.readings import moment_us
from gridsecure.gateway.format_cells import refuse_lines
from gridsecure.gateway.row_faults import merge_refusals
from gridsecure.month_texts import FIRST_YEAR, LAST_YEAR, is_in_years

_DAY_TEXT: Final = (
    r"(?P<year>\d{4})(?:(?P<mark>[-/.])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})"
    r"|年(?P<month_zh>\d{1,2})月(?P<day_zh>\d{1,2})日|(?P<both>\d{4}))"
)
_OFFSET: Final = r" ?(?P<offset>Z|[+-]\d{2}(:?\d{2})?)?"
_NUMERIC_OFFSET: Final = re.compile(r":\d{2}[\d.:]* ?[+-][\d:]+$|\d{4} ?[+-][\d:]+$")
# Seconds may be 00.000, as interfaces write them.
_MINUTE: Final = re.compile(
    _DAY_TEXT + r"[ T](?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}))?(?:\.0+)?" + _OFFSET
)
_COMPACT: Final = re.compile(
    r"(?P<year>\d{4})(?P<both>\d{4})[ T]?(?P<hour>\d{2})(?P<minute>\d{2})(?P<second>\d{2})?"
    + _OFFSET
)
# Spreadsheets write a date as the midnight that it begins with.
_DAY: Final = re.compile(_DAY_TEXT + r"(?:[ T]0?0:00(?::00)?(?:\.0+)?)?")
_CLOCK: Final = r"[ T]{}:?00(?::?00)?(?:\.0+)?(?:\D|$)"
# Seconds or milliseconds, 2001 to 2030. 2025030100 is an hour without marks, which is refused.
_EPOCH: Final = re.compile(r"1[0-8]\d{8}(000)?")


def read_starts(table: pd.DataFrame, timezone: str) -> pd.DatetimeIndex:
    """Column `start` as aware datetimes.

    Raises:
        InvalidReadingsError: `readings.timestamp` for text that is not a time, or a local time
            that the zone's clock skips or shows twice.
    """
    which, texts = pd.factorize(table["start"])
    moments = [_parse_moment(text) for text in texts]
    unique, rules = _localise(moments, timezone)
    starts, rules = unique.take(which), rules[which]
    if (rules == _SHOWN_TWICE).any():
        clock = pd.DatetimeIndex([moments[one] for one in which[rules == _SHOWN_TWICE]])
        starts = _tell_by_order(table, starts, clock=clock, rules=rules)
    _check_times(table, rules)
    return starts


def _tell_by_order(
    table: pd.DataFrame,
    starts: pd.DatetimeIndex,
    *,
    clock: pd.DatetimeIndex,
    rules: NDArray[np.int64],
) -> pd.DatetimeIndex:
    """Starts with the hour that the clock shows twice, where the file's order tells which is which.

    It does where a meter point's lines run through that hour and then through it again. Their
    `rules` are taken back.
    """
    doubled = np.flatnonzero(rules == _SHOWN_TWICE)
    meters = pd.factorize(table["meter_point_id"])[0]
    order = np.argsort(meters, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    frame = pd.DataFrame({"row": doubled, "clock": clock, "place": place[doubled]})
    frame = frame.sort_values("place", ignore_index=True)
    # Lines of a meter point and day that follow each other.
    own = [meters[frame["row"]], frame["clock"].dt.date]
    run = (frame["place"].diff() != 1).cumsum()
    starts_us = starts.as_unit("us").asi8.copy()
    zone = str(starts.tz)
    for _, lines in frame.groupby([*own, run], sort=False):
        half, rest = divmod(len(lines), 2)
        first, second = lines["clock"].iloc[:half], lines["clock"].iloc[half:]
        if rest or list(first) != list(second) or not first.is_monotonic_increasing:
            continue
        if not first.is_unique:
            continue
        which = np.arange(len(lines)) < half
        told = pd.DatetimeIndex(lines["clock"]).tz_localize(zone, ambiguous=which)
        starts_us[lines["row"]] = told.as_unit("us").asi8
        rules[lines["row"]] = 0
    utc = pd.DatetimeIndex(starts_us.view("datetime64[us]")).tz_localize("UTC")
    return utc.tz_convert(zone)


def stated_offsets(table: pd.DataFrame) -> frozenset[int | None]:
    """Offsets from UTC that the column `start` is written with [min]; None for a local time."""
    found: set[int | None] = set()
    for text in pd.unique(table["start"]):
        moment = _parse_moment(text)
        offset = None if moment is None else moment.utcoffset()
        found.add(None if offset is None else offset // dt.timedelta(minutes=1))
    return frozenset(found)


def refuse_other_offsets(table: pd.DataFrame, zone: str) -> None:
    """Refuse times whose offset is not the one of a zone, or the fixed offset, at that moment.

    `Z` and seconds since 1970 name a moment and say nothing of the clock that it was read from (RFC
    9557, section 2), so they contradict no zone. `+00:00` says that the clock shows UTC.

    Raises:
        InvalidReadingsError: `readings.offset`.
    """
    if "start" not in table:
        return
    which, texts = pd.factorize(table["start"])
    of_zone = pd.Timestamp(0, tz=zone).tz
    wrong = np.array([_has_other_offset(text, of_zone) for text in texts], dtype=bool)
    rows = np.flatnonzero(wrong[which])
    if len(rows):
        raise refuse_lines(
            table,
            rows,
            reason="readings.offset",
            rule="offset",
            detail=f"the time has another offset than {zone}, which was declared, has then",
            remedy="Declare the zone or the fixed offset that the times are written in, or send"
            " them with its offset, without any, or in UTC with a Z.",
        )


def _has_other_offset(written: Any, zone: dt.tzinfo | None) -> bool:
    if not _NUMERIC_OFFSET.search(unicodedata.normalize("NFKC", written).strip()):
        return False
    moment = _parse_moment(written)
    if moment is None or moment.tzinfo is None or not is_in_years(moment):
        return False
    return moment.utcoffset() != moment.astimezone(zone).utcoffset()


def writes_last_hour(table: pd.DataFrame) -> bool:
    """Whether the column `start` has 24:00, which only the end of an interval can be."""
    return _shows(table, _CLOCK.format("24"))


def writes_first_hour(table: pd.DataFrame) -> bool:
    """Whether the column `start` has 00:00, which a clock that writes 24:00 never shows."""
    return _shows(table, _CLOCK.format("0?0"))


def _shows(table: pd.DataFrame, pattern: str) -> bool:
    return bool(table["start"].drop_duplicates().str.contains(pattern).any())


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


def _parse_moment(written: Any) -> dt.datetime | None:
    text = unicodedata.normalize("NFKC", written).strip()
    if _EPOCH.fullmatch(text):
        return dt.datetime.fromtimestamp(int(text[:10]), tz=dt.UTC)
    found = _COMPACT.fullmatch(text) or _MINUTE.fullmatch(text)
    if found is None:
        return None
    hour, minute, second = found["hour"].zfill(2), found["minute"], found["second"] or "00"
    last = (hour, minute, second) == ("24", "00", "00")
    clock = f"{'00' if last else hour}:{minute}:{second}{found['offset'] or ''}"
    try:
        moment = dt.datetime.fromisoformat(f"{_iso_day(found)}T{clock}")
    except ValueError:
        return None
    return moment + dt.timedelta(days=1) if last and is_in_years(moment) else moment


def _iso_day(found: re.Match[str]) -> str:
    parts = found.groupdict()
    both = parts["both"] or ""
    month = both[:2] or parts["month"] or parts["month_zh"]
    day = both[2:] or parts["day"] or parts["day_zh"]
    return f"{found['year']}-{month.zfill(2)}-{day.zfill(2)}"


def _parse_day(written: Any) -> dt.datetime | None:
    found = _DAY.fullmatch(unicodedata.normalize("NFKC", written).strip())
    try:
        return None if found is None else dt.datetime.fromisoformat(_iso_day(found))
    except ValueError:
        return None


_SHOWN_TWICE: Final = 2
_TIME_RULES: Final = {
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
    refusals = []
    for broken in sorted(set(rules[rules > 0].tolist()), reverse=True):
        rule, detail = _TIME_RULES[broken]
        refusal = refuse_lines(
            table,
            np.flatnonzero(rules == broken),
            reason="readings.timestamp",
            rule=rule,
            detail=detail,
            remedy="Write the days of a wide file as 2026-07-01."
            if rule == "timestamp" and "date" in table
            else "Write local times as 2026-07-01 00:30, or with an offset as "
            "2026-07-01 00:30+08:00 where the clock is changed. If their clock is never changed,"
            " name its fixed offset as the zone, such as +08:00.",
        )
        refusals.append(refusal)
    raise merge_refusals(refusals)
