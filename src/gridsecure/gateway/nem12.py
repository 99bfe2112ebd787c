"""NEM12, the interval meter data of the Australian market, to readings.

Its definition is AEMO's "Meter Data File Format Specification NEM12 & NEM13": 200 records name a
channel, 300 records hold its day, 400 records the qualities within a day of quality V. Days are
those of market time, UTC+10 the whole year, whatever the local clock does. The suffix of a channel
tells what it counts: E energy taken, B energy fed in, Q reactive energy taken; K, reactive energy
fed in, is billed nowhere and counted. Channels of one kind (E1, E2) are added up.

It is read here and not by a library, because those take the numbers for binary fractions.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.energy_text import EnergyStatus, kwh_to_wh
from gridsecure.billing.readings import MINUTE_US, NO_REGISTER, make_readings, moment_us
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.format_cells import quality_word
from gridsecure.gateway.passed_over import REACTIVE_FED_IN
from gridsecure.gateway.row_faults import merge_refusals, refuse_line
from gridsecure.gateway.table_text import TableText, check_line_lengths, check_reading_count

MARKET_MINUTES: Final = 600
"""How far market time is ahead of UTC."""
_MARKET_TIME: Final = dt.timezone(dt.timedelta(minutes=MARKET_MINUTES))
_LENGTHS: Final = ("5", "15", "30")
_DAY_MINUTES: Final = 1440
_COLUMNS: Final = {"E": "energy_wh", "B": "export_wh", "Q": "reactive_varh"}
_UNITS: Final = {"wh": 1000, "kwh": 1, "mwh": 1}
"""Unit of energy -> parts of a kilo that its numbers are, once those of MWh are written as kWh."""
_REACTIVE: Final = frozenset("QK")
_DECIMAL: Final = re.compile(r"[+-]?(\d{1,12}\.?\d{0,12}|\.\d{1,12})", re.ASCII)
_VARIABLE: Final = "V"
_UPDATE: Final = 3  # fields from the quality to the time of the last update
_RANKS: Final = {"actual": 0, "estimated": 1, "missing": 3}
_UNKNOWN_RANK: Final = 2


@dataclass(frozen=True, slots=True)
class _Channel:
    nmi: str
    suffix: str
    unit: str
    minutes: int


@dataclass(slots=True)
class _Day:
    """One 300 record, and what 400 records say of it as (first, last, quality), from 1."""

    line: int
    channel: _Channel
    begin_us: int
    cells: list[str]
    quality: str
    updated: str
    parts: list[tuple[int, int, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class MeterData:
    """Readings of a file.

    Attributes:
        lines: The line that each stands on.
        passed_over: Values that are not billed, by name.
    """

    readings: pd.DataFrame
    lines: NDArray[np.int64]
    passed_over: Mapping[str, int]


def read_nem12(text: TableText, *, timezone: str, packed: int | None = None) -> MeterData:
    """Read a NEM12 file, or say of every record why it is not as defined.

    Args:
        timezone: Zone that the readings are given in; the file's own times are market time.
        packed: Size of the file before it was decompressed.

    Raises:
        InvalidReadingsError: A record is not as defined (`readings.malformed`), its unit or channel
            not known (`readings.unit`, `readings.format`), a number no energy (`readings.energy`),
            two records of a channel's day disagree (`readings.conflict`), or `readings.empty`.
    """
    # Fields are a few more than readings, and are counted before any is taken.
    check_line_lengths(text)
    check_reading_count(text.data.count(b","), packed=packed)
    records = _read_records(text)
    every, refusals = records.days, records.refusals
    days = _latest([day for day in every if day.channel.suffix[0] in _COLUMNS], refusals)
    lengths = sorted({day.channel.minutes for day in days})
    of_lengths = [[day for day in days if day.channel.minutes == one] for one in lengths]
    energies = [_read_energies(own, refusals) for own in of_lengths]
    if refusals:
        raise merge_refusals(refusals)
    if not days:
        raise InvalidReadingsError(
            "The file holds no readings.",
            reason="readings.empty",
            remedy="A NEM12 file needs 200 records of a channel E, B or Q, each with 300 records.",
        )
    frames = list(map(_read_length, of_lengths, lengths, energies))
    whole = pd.concat(frames, ignore_index=True)
    starts = pd.DatetimeIndex(whole["start"].to_numpy().view("datetime64[us]")).tz_localize("UTC")
    readings = make_readings(
        whole["nmi"].astype("str"),
        start=starts.tz_convert(timezone),
        energy_wh=whole["energy_wh"].to_numpy(np.int64),
        quality=whole["quality"].astype("str"),
        minutes=whole["minutes"],
    )
    suffixes = {day.channel.suffix[0] for day in days}
    for suffix in ("B", "Q"):
        if suffix in suffixes:
            readings[_COLUMNS[suffix]] = whole[_COLUMNS[suffix]].to_numpy(np.int64)
    if "Q" in suffixes:
        metered = {day.channel.nmi for day in days if day.channel.suffix[0] == "Q"}
        lacks = ~readings["meter_point_id"].isin(metered)
        readings.loc[lacks, _COLUMNS["Q"]] = NO_REGISTER
    cells = sum(sum(map(bool, day.cells)) for day in every if day.channel.suffix[0] not in _COLUMNS)
    passed_over = {REACTIVE_FED_IN: cells} if cells else {}
    return MeterData(readings, whole["line"].to_numpy(np.int64), passed_over)


@dataclass(slots=True)
class _Records:
    """The records of a file, line after line.

    Records beneath one that is refused are not looked at: whose they are is not known.

    Attributes:
        days: Of all channels, of which some are billed.
        refusals: Of records that are not as defined.
        channel: That of the last 200 record; None where there is none, or it was refused.
        day: That of the last 300 record, likewise.
    """

    days: list[_Day] = field(default_factory=list)
    refusals: list[InvalidReadingsError] = field(default_factory=list)
    channel: _Channel | None = None
    day: _Day | None = None
    has_channels: bool = False

    def take(self, fields: list[str], number: int) -> None:
        """Take in a record.

        Raises:
            InvalidReadingsError: It is not as defined.
        """
        kind = fields[0]
        if kind == "200":
            self.channel, self.day, self.has_channels = None, None, True
            self.channel = _read_channel(fields, number)
        elif kind == "300":
            self.day = None
            if self.channel is not None:
                self.day = _read_day(fields, number, self.channel)
                self.days.append(self.day)
            elif not self.has_channels:
                raise _malformed(number)
        elif kind == "400" and self.day is not None and self.day.quality[:1] == _VARIABLE:
            self.day.parts.append(_read_part(fields, number, self.day))
        elif kind not in {"", "100", "400", "500", "900"}:
            raise _malformed(number)


def _read_records(text: TableText) -> _Records:
    records = _Records()
    for number, line in enumerate(text.data.decode().split("\n"), start=1):
        fields = [one.strip().strip('"') for one in line.split(",")]
        try:
            records.take(fields, number)
        except InvalidReadingsError as error:
            records.refusals.append(error)
    return records


def _read_channel(fields: list[str], line: int) -> _Channel:
    # 200,NMI,configuration,register,suffix,stream,serial number,unit,interval length,next read
    if len(fields) < 9 or not fields[1] or fields[8] not in _LENGTHS:
        raise _malformed(line)
    suffix, unit = fields[4][:1].upper(), fields[7].lower()
    if suffix not in {*_COLUMNS, "K"}:
        raise refuse_line(
            f"Line {line} begins a channel that is none of E, B, Q and K.",
            line,
            reason="readings.format",
            rule="channel",
            detail="a channel that is none of E, B, Q and K",
            remedy="Send interval energies: E (taken), B (fed in), Q (reactive).",
        )
    # Where unit and suffix contradict each other, nothing tells which of them is true.
    if suffix in _REACTIVE:
        unit = unit.replace("varh", "wh") if unit.endswith("varh") else ""
    if unit not in _UNITS:
        raise refuse_line(
            f"Line {line} begins a channel whose unit is not one of its suffix.",
            line,
            reason="readings.unit",
            rule="unit-mismatch",
            detail="a channel whose unit is not one of its suffix",
            remedy="Channels E and B are in Wh, kWh or MWh, channels Q and K in varh, kvarh or"
            " Mvarh. GridSecure guesses neither a factor nor what was counted.",
        )
    return _Channel(fields[1], suffix + fields[4][1:], unit, int(fields[8]))


def _read_day(fields: list[str], line: int, channel: _Channel) -> _Day:
    count = _DAY_MINUTES // channel.minutes
    try:
        day = dt.datetime.strptime(fields[1], "%Y%m%d").replace(tzinfo=_MARKET_TIME)
        quality = fields[2 + count]
    except (ValueError, IndexError):
        raise _malformed(line) from None
    updated = fields[2 + count + _UPDATE] if len(fields) > 2 + count + _UPDATE else ""
    cells = fields[2 : 2 + count]
    if channel.unit == "mwh":
        cells = list(map(_thousandfold, cells))
    return _Day(line, channel, moment_us(day), cells, quality, updated)


def _thousandfold(cell: str) -> str:
    """A decimal number times a thousand; anything else as it is, to be blank or refused."""
    return format(Decimal(cell).scaleb(3), "f") if _DECIMAL.fullmatch(cell) else cell


def _read_part(fields: list[str], line: int, day: _Day) -> tuple[int, int, str]:
    try:
        first, last, quality = int(fields[1]), int(fields[2]), fields[3]
    except (ValueError, IndexError):
        raise _malformed(line) from None
    if not 1 <= first <= last <= len(day.cells):
        raise _malformed(line)
    return first, last, quality


def _malformed(line: int) -> InvalidReadingsError:
    return refuse_line(
        f"Line {line} is no NEM12 record as it is defined.",
        line,
        reason="readings.malformed",
        rule="record",
        detail="no NEM12 record as it is defined",
        remedy="Send the file as it came: 200 records name NMI, unit and interval length, 300"
        " records hold a day's values and their quality.",
    )


def _latest(days: list[_Day], refusals: list[InvalidReadingsError]) -> list[_Day]:
    """Of several records of a channel's day the one that was updated last.

    Args:
        refusals: Where those are added that disagree and were updated at one time.
    """
    found: dict[tuple[str, str, int], _Day] = {}
    for day in days:
        key = (day.channel.nmi, day.channel.suffix, day.begin_us)
        other = found.get(key)
        if other is None or day.updated > other.updated:
            found[key] = day
        elif day.updated == other.updated and day.cells != other.cells:
            refusal = refuse_line(
                f"Lines {other.line} and {day.line} hold different readings of a channel's day.",
                other.line,
                day.line,
                reason="readings.conflict",
                rule="conflict",
                detail="different readings of a channel's day",
                remedy="Take the wrong one out; of two, the one updated later counts.",
            )
            refusals.append(refusal)
    return list(found.values())


def _read_length(days: list[_Day], minutes: int, energies: NDArray[np.int64]) -> pd.DataFrame:
    """Readings of one interval length: a row for each NMI and interval."""
    count = _DAY_MINUTES // minutes
    values = energies.reshape(-1, count)
    qualities = _read_qualities(days, count)
    ranks = np.full(qualities.shape, _UNKNOWN_RANK)
    for word, rank in _RANKS.items():
        ranks[qualities == word] = rank
    keys = pd.MultiIndex.from_tuples([(day.channel.nmi, day.begin_us) for day in days])
    which, unique = pd.factorize(keys)
    worst = np.zeros((len(unique), count), dtype=np.int64)
    np.maximum.at(worst, which, ranks)
    worst[_incomplete(days, which, size=len(unique))] = _RANKS["missing"]
    # The word of the worst channel of each interval, and the first line of each day.
    quality = np.full(worst.shape, "missing", dtype=object)
    line = np.zeros(len(unique), dtype=np.int64)
    for number in range(len(days) - 1, -1, -1):
        row, own = which[number], ranks[number] == worst[which[number]]
        quality[row, own] = qualities[number, own]
        line[row] = days[number].line
    frame = {
        "nmi": np.repeat(np.array(unique.get_level_values(0), dtype=object), count),
        "start": (
            np.array(unique.get_level_values(1), dtype=np.int64)[:, None]
            + np.arange(count) * minutes * MINUTE_US
        ).ravel(),
        "quality": quality.ravel(),
        "line": np.repeat(line, count),
        "minutes": np.int64(minutes),
    }
    for suffix, column in _COLUMNS.items():
        own = np.array([day.channel.suffix[0] == suffix for day in days])
        sums = np.zeros(worst.shape, dtype=np.int64)
        np.add.at(sums, which[own], values[own])
        frame[column] = np.where(worst == _RANKS["missing"], 0, sums).ravel()
    return pd.DataFrame(frame)


def _incomplete(days: list[_Day], which: NDArray[np.intp], *, size: int) -> NDArray[np.bool_]:
    """Which days of an NMI lack a channel that it has before and after."""
    frame = pd.DataFrame(
        {
            "row": which,
            "nmi": [day.channel.nmi for day in days],
            "suffix": [day.channel.suffix for day in days],
            "begin": [day.begin_us for day in days],
        }
    )
    spans = frame.groupby(["nmi", "suffix"])["begin"].agg(["min", "max"]).reset_index()
    wanted = frame.drop_duplicates("row")[["row", "nmi", "begin"]].merge(spans, on="nmi")
    wanted = wanted[wanted["begin"].between(wanted["min"], wanted["max"])]
    lacking: NDArray[np.bool_] = np.bincount(wanted["row"], minlength=size) > np.bincount(
        frame["row"], minlength=size
    )
    return lacking


def _read_energies(days: list[_Day], refusals: list[InvalidReadingsError]) -> NDArray[np.int64]:
    """The cells of days in Wh or varh; blank ones are zero, and missing by their quality.

    Args:
        refusals: Where days are added with a cell that is no number of whole Wh.
    """
    cells = np.array([day.cells for day in days], dtype=object)
    energy = kwh_to_wh(cells)
    parts = np.repeat([_UNITS[day.channel.unit] for day in days], cells.shape[1])
    # Whole kWh of text stand for whole Wh where the unit is Wh.
    inexact = energy.energy_wh % parts != 0
    allowed = (EnergyStatus.EXACT, EnergyStatus.MISSING)
    wrong = np.flatnonzero(~np.isin(energy.status, allowed) | inexact)
    for number in np.unique(wrong // cells.shape[1]).tolist():
        line = days[number].line
        refusal = refuse_line(
            f"Line {line} holds a value that is no number of whole Wh.",
            line,
            reason="readings.energy",
            rule="energy",
            detail="a value that is no number of whole Wh",
            remedy="Send kWh with up to three decimals, or whole Wh; nothing is rounded here.",
        )
        refusals.append(refusal)
    missing = (energy.status == EnergyStatus.MISSING).reshape(cells.shape)
    for number, place in zip(*np.nonzero(missing), strict=True):
        days[number].parts.append((int(place) + 1, int(place) + 1, "N"))
    energy_wh: NDArray[np.int64] = energy.energy_wh // parts
    return energy_wh


def _read_qualities(days: list[_Day], count: int) -> NDArray[np.object_]:
    """Our words for the qualities of each day's intervals."""
    words = np.empty((len(days), count), dtype=object)
    words[:] = np.array([[quality_word(day.quality)] for day in days], dtype=object)
    for number, day in enumerate(days):
        for first, last, quality in day.parts:
            words[number, first - 1 : last] = quality_word(quality)
    return words
