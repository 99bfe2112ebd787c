"""Energies of the registers of a meter's own hours (尖峰平谷, 费率1 …), by day and by price.

A meter with time-of-use registers counts each hour in one of them. Which one is a table in the
meter, its register hours, and somebody has to say it. Then a register's energy of a day is the
energy of all hours of that day that it counts, and is billed exactly where one price applies to
them. Where in these hours it was used is unknown: it stands evenly over them, `estimated`, which
changes no price, and adds up to what the register counted to the Wh.

Nothing is concluded where registers contradict the total. Faces are cut down to what a register
shows, so that a difference of two faces is less than one unit of it away from the energy, up or
down. Registers and total of one day therefore agree where they differ by less than a unit for each
of them; the unit is the greatest common divisor of the meter point's faces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.calendars import label_intervals
from gridsecure.billing.charges import needs_intervals
from gridsecure.billing.readings import (
    DAY_MINUTES,
    INTERVAL_MINUTES,
    MINUTE_US,
    NO_REGISTER,
    ReadingProblem,
    add_registers,
    join_readings,
    register_columns,
    start_us,
)
from gridsecure.billing.registers import REGISTER
from gridsecure.billing.rules import interval_length, line_rules
from gridsecure.errors import InputError, InvalidReadingsError
from gridsecure.periods import BillingPeriod
from gridsecure.tariffs.tariff import Tariff

PLACED: Final = "register-hours"
"""The rule that says of a meter point that its energies stand evenly over hours of a register."""

HoursOf = Callable[[pd.Series, pd.DatetimeIndex], NDArray[np.object_]]
"""Meter points and local days of the same length -> register hours as text, or an empty one."""

Span = tuple[date, date, str]
"""The first day, the day after the last one, and the register hours of these days as text."""

MOST_TEXT: Final = 512
"""Letters of register hours."""

_WORDS: Final = {"尖": "sharp", "峰": "peak", "平": "flat", "谷": "valley", "深谷": "deep_valley"}
_NAMES: Final = (*_WORDS.values(), *map(str, range(1, 64)))
_CLOCK: Final = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)-([01]?\d|2[0-4]):([0-5]\d)")
_LONGEST_DAY: Final = pd.Timedelta(hours=26)
_SHORTEST: Final = INTERVAL_MINUTES[0]
_KEY: Final = ["meter_point_id", "day"]


@dataclass(frozen=True, slots=True, eq=False)
class RegisterHours:
    """Which register counts each minute of a day.

    Args:
        names: The registers: `sharp`, `peak`, `flat`, `valley`, `deep_valley`, or `1` to `63`.
        of_minute: Number of the register of each minute of the local clock.
        step: The longest interval of which each lies in one register [minutes].
    """

    names: tuple[str, ...]
    of_minute: NDArray[np.int64]
    step: int


def register_name(written: str) -> str:
    """The name of a register, or an empty text where it is none.

    >>> register_name("尖"), register_name("02"), register_name("total")
    ('sharp', '2', '')
    """
    name = _WORDS.get(written, written)
    name = name.lstrip("0") if name.isascii() and name.isdigit() else name
    return name if name in _NAMES else ""


@lru_cache(maxsize=256)
def parse_register_hours(text: str) -> RegisterHours:
    """Read register hours: each register with its times, all of a day between them.

    >>> parse_register_hours("valley=00:00-08:00 peak=8:00-24:00").names
    ('valley', 'peak')

    Raises:
        InputError: `register-hours.text`: a register is unknown or named twice, a time cannot be
            read or does not lie on five minutes, or a minute is in no register or in two.
    """
    if not 0 < len(text) <= MOST_TEXT:
        raise _unreadable(f"They have 1 to {MOST_TEXT} letters")
    names: list[str] = []
    of_minute = np.full(DAY_MINUTES, -1, dtype=np.int64)
    edges: list[int] = []
    for part in text.split():
        written, _, times = part.partition("=")
        name = register_name(written)
        if not name or name in names:
            raise _unreadable("A register is unknown, or is named twice")
        for first, end in map(_times, times.split(",")):
            if (of_minute[first:end] >= 0).any():
                raise _unreadable("Two times overlap")
            of_minute[first:end] = len(names)
            edges += [first, end]
        names.append(name)
    if (of_minute < 0).any():
        raise _unreadable("Some time of the day is in no register")
    step = max(n for n in INTERVAL_MINUTES if not any(edge % n for edge in edges))
    return RegisterHours(tuple(names), of_minute, step)


def _times(text: str) -> tuple[int, int]:
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise _unreadable("A time is not written as 08:00-12:00")
    hour, minute, end_hour, end_minute = (int(part) for part in found.groups())
    first, end = hour * 60 + minute, end_hour * 60 + end_minute
    if not first < end <= DAY_MINUTES or first % _SHORTEST or end % _SHORTEST:
        raise _unreadable("A time does not end after it begins, or not on five minutes")
    return first, end


def _unreadable(why: str) -> InputError:
    return InputError(
        f"The register hours cannot be read. {why}.",
        reason="register-hours.text",
        remedy="Write every register with its times, the whole day between them, as"
        " 'peak=08:00-12:00,14:00-19:00 flat=12:00-14:00,19:00-24:00 valley=00:00-08:00'. Registers"
        " are sharp, peak, flat, valley, deep_valley (尖 峰 平 谷 深谷) or numbers, as the readings"
        " name them.",
    )


def prices_apart(tariff: Tariff, period: BillingPeriod, *, spans: Sequence[Span]) -> bool:
    """Whether a tariff cannot bill energies of registers, because it needs to know more.

    It needs more where it prices two intervals apart that one register counts on one day, and where
    it has a charge that depends on more than sums of energy: demand, an hour's own price, tiers in
    the order of time.

    Args:
        spans: The register hours of the days in question; none of a day is an obstacle of none.

    Raises:
        InputError: The tariff does not cover the period (`tariff.not-valid` and the like), or
            register hours cannot be read.
    """
    if interval_length(tariff) is not None or needs_intervals(line_rules(tariff, period)):
        return True
    if not tariff.windows:
        return False
    step = pd.Timedelta(minutes=_SHORTEST)
    starts = pd.date_range(period.start, period.end, freq=step, inclusive="left")
    try:
        labels = label_intervals(
            pd.Series(starts), interval=step, tariff=tariff, cycle_day=period.start.day
        )
    except InvalidReadingsError:
        return True  # a price that changes within five minutes
    codes = labels.cat.codes.to_numpy()
    local = starts.tz_convert(tariff.timezone).tz_localize(None)
    minutes = (local.hour * 60 + local.minute).to_numpy()
    for first, end, text in spans:
        since = pd.Timestamp(max(first, period.start.date()))
        until = pd.Timestamp(min(end, period.end.date()))
        inside = np.asarray((local >= since) & (local < until))
        of_minute = parse_register_hours(text).of_minute
        days = local.normalize()[inside]
        priced = pd.Series(codes[inside]).groupby([days, of_minute[minutes[inside]]])
        if (priced.nunique() > 1).any():
            return True
    return False


@dataclass(frozen=True, slots=True, eq=False)
class PlacedRegisters:
    """Readings of which some are energies of registers.

    Attributes:
        readings: A readings frame with `minutes`.
        problems: What was placed and what contradicts itself, one a meter point and rule.
        placed: Meter points of which energies of registers are among the readings.
    """

    readings: pd.DataFrame
    problems: tuple[ReadingProblem, ...]
    placed: frozenset[str]

    def parts_of_days(self) -> NDArray[np.bool_]:
        """Which readings are parts of what registers counted on a day."""
        is_part = (self.readings["minutes"] != DAY_MINUTES).to_numpy(bool)
        own: NDArray[np.bool_] = is_part & self.readings["meter_point_id"].isin(self.placed)
        return own


def place_registers(
    totals: pd.DataFrame,
    registers: pd.DataFrame,
    *,
    hours_of: HoursOf,
    units_wh: Mapping[str, int],
    at_midnights: Collection[str] = (),
) -> PlacedRegisters:
    """Put energies of registers in place of the energies of days that the total counted.

    A day whose registers are not all known, or do not add up to the total, stays as it is.

    Args:
        totals: Energies that the total register counted, with `minutes`; what was fed in may stand
            beside them.
        registers: Energies of the other registers, with `REGISTER`, the name of each.
        hours_of: The register hours.
        units_wh: What a face of each meter point is a multiple of [Wh].
        at_midnights: Meter points that are read at midnights alone. Where the clock is changed
            between two faces, their energies come by the hour, and their days are whole still.
    """
    days = _whole_days(totals, [])
    daily = {*_daily(totals), *at_midnights}
    days = days[days["meter_point_id"].isin(daily)].reset_index(drop=True)
    text = hours_of(days["meter_point_id"], pd.DatetimeIndex(days["day"]))
    days = days.assign(text=text)[text != ""].reset_index(drop=True)
    if days.empty:
        return PlacedRegisters(totals, (), frozenset())
    counted = _whole_days(registers, [REGISTER]).set_index([*_KEY, REGISTER])["energy_wh"]
    own = counted.unstack(REGISTER).reindex(pd.MultiIndex.from_frame(days[_KEY]))
    found: list[ReadingProblem] = []
    parts: list[pd.DataFrame] = []
    for hours_text, rows in days.groupby("text", sort=True):
        hours = parse_register_hours(str(hours_text))
        energies = own.iloc[rows.index].reindex(columns=list(hours.names)).reset_index(drop=True)
        others = own.iloc[rows.index].drop(columns=list(hours.names), errors="ignore")
        day = rows.reset_index(drop=True)
        whole = energies.notna().all(axis=1) & (energies >= 0).all(axis=1)
        whole &= ~(others.fillna(0) != 0).any(axis=1).to_numpy()
        unit = day["meter_point_id"].map(units_wh).fillna(1)
        off = (energies.sum(axis=1) - day["energy_wh"]).abs() >= unit * (len(hours.names) + 1)
        whole &= _are_counted(day, energies, hours)
        found += _told(day[~whole], "register-names", _INCOMPLETE)
        found += _told(day[whole & off], "register-sum", _OFF)
        good = (whole & ~off).to_numpy()
        part = _blocks(day[good], energies[good], hours, totals)
        parts.append(part)
        found += _told(day[good], PLACED, _EVENLY)
    return _in_place(totals, parts, found)


_INCOMPLETE: Final = (
    "the registers of its hours are not those that it is said to have, or lack faces"
)
_OFF: Final = "the registers of its hours do not add up to the total"
_EVENLY: Final = "energies of registers stand evenly over the hours that each of them counts"


def _daily(totals: pd.DataFrame) -> NDArray[np.object_]:
    """Meter points whose total is read once a day."""
    is_day = totals["minutes"].to_numpy(np.int64) == DAY_MINUTES
    names: NDArray[np.object_] = totals.loc[is_day, "meter_point_id"].astype("str").unique()
    return names


def _whole_days(readings: pd.DataFrame, more: list[str]) -> pd.DataFrame:
    """Sums of local days that readings fill: `_KEY`, `energy_wh`, other registers, `more`."""
    usable = readings[readings["quality"] != "missing"]
    table = usable.assign(
        meter_point_id=usable["meter_point_id"].astype("str"), day=usable["start"].dt.normalize()
    )
    days = add_registers(table, [*_KEY, *more])
    length = (days["day"] + _LONGEST_DAY).dt.normalize() - days["day"]
    whole = length == pd.to_timedelta(days["minutes"], unit="min")
    filled: pd.DataFrame = days[whole].drop(columns="minutes")
    return filled.reset_index(drop=True)


def _are_counted(
    days: pd.DataFrame, energies: pd.DataFrame, hours: RegisterHours
) -> NDArray[np.bool_]:
    """Whether each day has hours of every register that counted something.

    A day may lack the only hour of a register where the clock is put forward.
    """
    found = np.ones(len(days), dtype=bool)
    lengths = (days["day"] + _LONGEST_DAY).dt.normalize() - days["day"]
    for row in np.flatnonzero(lengths != pd.Timedelta(minutes=DAY_MINUTES)):
        step = pd.Timedelta(minutes=hours.step)
        local = pd.date_range(days["day"].iloc[row], periods=lengths.iloc[row] // step, freq=step)
        there = np.unique(hours.of_minute[(local.hour * 60 + local.minute).to_numpy()])
        found[row] = energies.iloc[row].drop(energies.columns[there]).fillna(0).sum() == 0
    return found


def _told(days: pd.DataFrame, rule: str, detail: str) -> list[ReadingProblem]:
    """One problem for each meter point."""
    grouped = days.groupby("meter_point_id")["day"].agg(["min", "size"])
    return [
        ReadingProblem(str(name), first, rule, f"{detail} ({count} day{'s' if count > 1 else ''})")
        for name, first, count in zip(grouped.index, grouped["min"], grouped["size"], strict=True)
    ]


def _blocks(
    days: pd.DataFrame, energies: pd.DataFrame, hours: RegisterHours, like: pd.DataFrame
) -> pd.DataFrame:
    """Readings of days, each register's energy divided over the intervals that it counts.

    Length: the columns of a reading one after the other.
    """
    zone = pd.DatetimeIndex(like["start"]).tz
    begun = start_us(days.assign(start=days["day"]))
    ended = start_us(days.assign(start=(days["day"] + _LONGEST_DAY).dt.normalize()))
    counts = (ended - begun) // (hours.step * MINUTE_US)
    rows = np.repeat(np.arange(len(days)), counts)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    moments = pd.DatetimeIndex((begun[rows] + place * hours.step * MINUTE_US).view("M8[us]"))
    local = moments.tz_localize("UTC").tz_convert(zone)
    register = hours.of_minute[(local.hour * 60 + local.minute).to_numpy()]
    cell = rows * len(hours.names) + register
    readings = {
        "meter_point_id": days["meter_point_id"].to_numpy(object)[rows],
        "start": local.as_unit(pd.DatetimeIndex(like["start"]).unit),
        "energy_wh": _divided(energies.to_numpy(np.int64).ravel(), cell),
        "quality": "estimated",
        "minutes": np.int64(hours.step),
    }
    for name in register_columns(like):
        told = days[name].to_numpy(np.int64)
        readings[name] = np.where(
            told[rows] == NO_REGISTER, NO_REGISTER, _divided(np.maximum(told, 0), rows)
        )
    frame = pd.DataFrame(readings)
    return frame[list(like)].astype({"meter_point_id": "str", "quality": "str"})


def _divided(energies: NDArray[np.int64], cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each energy divided over the rows of its cell, the first ones one Wh more."""
    counts = np.bincount(cells, minlength=len(energies))
    whole, rest = np.divmod(energies, np.maximum(counts, 1))
    place = pd.Series(cells).groupby(cells).cumcount().to_numpy()
    divided: NDArray[np.int64] = whole[cells] + (place < rest[cells])
    return divided


def _in_place(
    totals: pd.DataFrame, parts: list[pd.DataFrame], found: list[ReadingProblem]
) -> PlacedRegisters:
    """The totals with parts in place of their days."""
    placed = pd.concat(parts, ignore_index=True)
    if placed.empty:
        return PlacedRegisters(totals, tuple(found), frozenset())
    of_day = placed.assign(day=placed["start"].dt.normalize())[_KEY].drop_duplicates()
    own = totals.assign(
        meter_point_id=totals["meter_point_id"].astype("str"), day=totals["start"].dt.normalize()
    )
    gone = pd.MultiIndex.from_frame(own[_KEY]).isin(pd.MultiIndex.from_frame(of_day))
    readings = join_readings([totals[~gone], placed])
    readings = readings.sort_values(["meter_point_id", "start"], ignore_index=True)
    return PlacedRegisters(readings, tuple(found), frozenset(placed["meter_point_id"].unique()))


def put_back(told: PlacedRegisters, sent: Sequence[pd.DataFrame]) -> PlacedRegisters:
    """The same with values of days where other readings say what was used in a part of the day.

    The parts of a day are right together alone. Beside an interval that somebody sent, the day's
    value is a total to compare with, as any other is.

    Args:
        sent: Readings frames with `minutes`, from elsewhere.
    """
    if not told.placed:
        return told
    zone = pd.DatetimeIndex(told.readings["start"]).tz
    parts = [told.readings[_KEY[:1]].iloc[:0].assign(day=told.readings["start"].iloc[:0])]
    for one in sent:
        own = one[one["meter_point_id"].isin(told.placed) & (one["quality"] != "missing")]
        own = own[own["minutes"] != DAY_MINUTES]
        names, days = own["meter_point_id"].astype("str"), own["start"].dt.tz_convert(zone)
        parts.append(pd.DataFrame({"meter_point_id": names, "day": days.dt.normalize()}))
    of_sent = pd.MultiIndex.from_frame(pd.concat(parts).drop_duplicates())
    keyed = told.readings.assign(
        meter_point_id=told.readings["meter_point_id"].astype("str"),
        day=told.readings["start"].dt.normalize(),
    )
    are_parts = told.parts_of_days()
    back = are_parts & pd.MultiIndex.from_frame(keyed[_KEY]).isin(of_sent)
    if not back.any():
        return told
    first = keyed[back].groupby(_KEY, sort=True).first().reset_index()
    added = add_registers(keyed[back], _KEY)
    days = first.assign(**{str(name): added[name] for name in added if name not in _KEY})
    days = days.assign(minutes=np.int64(DAY_MINUTES))[list(told.readings)]
    readings = pd.concat([told.readings[~back], days], ignore_index=True)
    still = told.readings.loc[are_parts & ~back, "meter_point_id"].astype("str").unique()
    return PlacedRegisters(readings, told.problems, frozenset(still))
