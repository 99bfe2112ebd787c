"""MeterReadings of IEC 61968-9 (CIM), as XML or as JSON, to readings or register faces.

The XML is that of the profile schema `MeterReadings.xsd` (namespace
`http://iec.ch/TC57/2011/MeterReadings#`, or a later year), alone or in the payload of a message of
IEC 61968-100. Its JSON has the same names: an element is a member, a repeated one a list, the
attribute `ref` a member `ref` or `@ref`. What a value is says its reading type (`reading_types`);
without one it means nothing, and nothing is guessed.

A reading's `timeStamp` is when its value was last updated: an interval's end, a face's moment.
Whoever hands the document in may say that it is the interval's start.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.meter_serials import SERIAL
from gridsecure.billing.readings import (
    DAY_MINUTES,
    MINUTE_US,
    REGISTER_COLUMNS,
    ReadingProblem,
    make_readings,
    moment_us,
    register_columns,
)
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.bounded_xml import DEEPEST, Take, read_elements
from gridsecure.gateway.channels import stand_side_by_side
from gridsecure.gateway.daily_values import begin_days, divide_days, without_days_beside
from gridsecure.gateway.meanings import Meaning, Stamps
from gridsecure.gateway.passed_over import DAYS
from gridsecure.gateway.reading_types import (
    ReadingType,
    is_code,
    read_type,
    unbilled_name,
)
from gridsecure.gateway.row_faults import refuse_readings
from gridsecure.gateway.table_text import TableText, check_reading_count
from gridsecure.month_texts import is_in_years

_NAMESPACE: Final = re.compile(r"\{http://iec\.ch/TC57/20\d\d/MeterReadings#\}")
_JSON_SPACE: Final = "{http://iec.ch/TC57/2011/MeterReadings#}"
_AROUND: Final = {
    "IntervalReadings": "IntervalBlocks",
    "IntervalBlocks": "MeterReading",
    "Readings": "MeterReading",
    "MeterReading": "MeterReadings",
}
"""What each element with readings stands in."""
_JSON_BYTES: Final = 64 << 20
_DECODER: Final = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
_VALUE: Final = re.compile(r"([-+]?)(\d{1,15})(?:\.(\d{0,9}))?")
_LARGEST: Final = 10**12
_MISSING: Final = "missing"
_QUALITY: Final = re.compile(r"\d{1,3}\.(\d{1,3})\.(\d{1,5})")
# Categories of a quality: valid; of diagnostics, power quality, tampering and data collection,
# which say how a value came and not that it is wrong; edited, estimated, derived.
_QUALITIES: Final = {
    **dict.fromkeys(("0", "1", "2", "3", "4"), "actual"),
    **dict.fromkeys(("7", "8", "11"), "estimated"),
}
_KNOWN_MISSING: Final = ("5", "259")
_UNKNOWN: Final = "questionable"
_RANKS: Final = {"actual": 0, "estimated": 1, _UNKNOWN: 2, _MISSING: 3}
_WHAT: Final = "The MeterReadings document"
_ROW: Final = ["block", "moment", "digits", "decimals", "quality"]


@dataclass(frozen=True, slots=True, eq=False)
class MeterReadings:
    """What a document holds: energies of intervals, or else faces of registers.

    Attributes:
        readings: A readings frame; where they are faces, its `energy_wh` are those of the register
            of energy taken, with `SERIAL`.
        fed_in: Faces of the register of energy fed in; empty where there is none.
        reactive: Those of the register of reactive energy, likewise.
        passed_over: Values that are not billed, by name.
        are_faces: Which of the two it holds.
        problems: Days that were divided because the clock is changed.
    """

    readings: pd.DataFrame
    fed_in: pd.DataFrame
    reactive: pd.DataFrame
    are_faces: bool
    passed_over: Mapping[str, int]
    problems: tuple[ReadingProblem, ...] = ()


@dataclass(slots=True)
class _Document:
    """Readings in their order: each names a block, a block its meter reading and reading type.

    `count` is of them all, and `faulty` are the numbers of those that cannot be read.
    """

    rows: list[tuple[int, int, int, int, str]] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    meters: list[str] = field(default_factory=list)
    serials: list[str] = field(default_factory=list)
    open_blocks: dict[str, int] = field(default_factory=dict)
    waiting: list[tuple[int, int, int, str]] = field(default_factory=list)
    count: int = 0
    faulty: list[int] = field(default_factory=list)

    def take(self, element: ET.Element, around: str) -> bool:
        """Take readings, blocks and meter readings out of the document as they end."""
        space = _NAMESPACE.match(element.tag)
        if space is None:
            return False
        own, name = space[0], element.tag[space.end() :]
        if name in _AROUND and around != own + _AROUND[name]:
            raise ValueError
        if name == "IntervalReadings":
            self.waiting += self._read(element, own)
        elif name == "IntervalBlocks":
            block = self._block(_type_of(element, own))
            self.rows += [(block, *reading) for reading in self.waiting]
            self.waiting.clear()
        elif name == "Readings":
            block = self._block(_type_of(element, own))
            self.rows += [(block, *reading) for reading in self._read(element, own)]
        elif name == "MeterReading":
            self.meters.append(_meter_of(element, own) if self.open_blocks else "")
            self.serials.append(_name_of(element, own, "Meter"))
            self.open_blocks = {}
        else:
            return False
        return True

    def _read(self, element: ET.Element, space: str) -> list[tuple[int, int, int, str]]:
        """A reading, or nothing where it cannot be read."""
        self.count += 1
        try:
            return [_read_reading(element, space)]
        except (ValueError, OverflowError):
            self.faulty.append(self.count)
            return []

    def _block(self, code: str) -> int:
        """The number of the meter reading's block of a type."""
        if code not in self.open_blocks:
            self.open_blocks[code] = len(self.types)
            self.types.append(code)
            self.owners.append(len(self.meters))
        return self.open_blocks[code]


def read_meter_readings(
    text: TableText, *, timezone: str, packed: int | None, meaning: Meaning
) -> MeterReadings:
    """Read a MeterReadings document.

    A meter point is the `mRID` of its `UsagePoint`, or else that one's first name, or else those of
    its `Meter`.

    Args:
        timezone: Zone that the readings are given in.
        packed: Size of the file before it was decompressed.

    Raises:
        InvalidReadingsError: `readings.malformed`, `.format`, `.unit`, `.daily`, `.timestamp`,
            `.energy`, `.conflict`, `.stamps`, `.too-large`, `.too-many` or `.empty`.
    """
    check_reading_count(text.data.count(b"timeStamp") // 2, packed=packed)
    rows, types, aside = _energies(_parse(text.data))
    are_faces = all(kind.is_face for kind in types.values())
    rows = rows[rows["code"].map(lambda code: types[code].is_face == are_faces)]
    rows["column"] = rows["code"].map(lambda code: types[code].column)
    rows["minutes"] = rows["code"].map(lambda code: types[code].minutes).astype(np.int64)
    rows["wh"] = _watt_hours(rows, rows["code"].map(lambda code: types[code].tens))
    parts = rows[["meter", "minutes", "column", "wh", "quality"]]
    moments = rows["moment"].to_numpy(np.int64)
    if are_faces:
        kept = parts.assign(start=moments, **{SERIAL: rows[SERIAL]}).drop(columns="minutes")
        kept = kept.rename(columns={"wh": "energy_wh"})
        taken, fed_in, reactive = (
            _frame(kept[kept["column"] == column].drop(columns="column"), timezone)
            for column in ("energy_wh", *REGISTER_COLUMNS[::-1])
        )
        return MeterReadings(taken, fed_in, reactive, are_faces=True, passed_over=aside)
    minutes = rows["minutes"].to_numpy(np.int64)
    at_ends = meaning.stamps is not Stamps.START
    if meaning.stamps is None:
        _refuse_starts(rows["moment"], rows["minutes"], timezone)
    of_days = minutes == DAY_MINUTES
    begun = begin_days(moments[of_days], timezone, at_ends=at_ends)
    moments = moments - minutes * MINUTE_US * at_ends
    moments[of_days] = begun
    joined = stand_side_by_side(parts.assign(start=moments), what=_WHAT)
    readings, beside = without_days_beside(_frame(joined, timezone))
    readings, _, problems = divide_days(readings)
    aside.update({DAYS: beside} if beside else {})
    nothing = readings.iloc[:0]
    return MeterReadings(
        readings, nothing, nothing, are_faces=False, passed_over=aside, problems=problems
    )


def _parse(data: bytes) -> _Document:
    document = _Document()
    try:
        if data.lstrip()[:1] == b"{":
            _read_members(data, document.take)
        else:
            read_elements(data, document.take)
    except (ValueError, OverflowError, RecursionError):
        raise InvalidReadingsError(
            f"{_WHAT} is damaged, not as IEC 61968-9 says, or defines entities.",
            reason="readings.malformed",
            remedy="Send it as it came, each time with its offset from UTC.",
        ) from None
    if document.faulty:
        raise refuse_readings(
            "a reading that is not as IEC 61968-9 says",
            document.faulty,
            reason="readings.malformed",
            rule="meter-reading",
            remedy="Each has a timeStamp with its offset from UTC, and a decimal number as value.",
        )
    return document


def _read_members(data: bytes, take: Take) -> None:
    """Hand the members of a JSON document over as if they were elements.

    Raises:
        ValueError: It is damaged, too deep, or holds no MeterReadings.
    """
    if len(data) > _JSON_BYTES:
        raise InvalidReadingsError(
            f"A JSON document of MeterReadings holds at most {_JSON_BYTES >> 20} MiB.",
            reason="readings.too-large",
            remedy="Divide it by meter point, or send it as XML.",
        )
    # Whatever a value is, a comma or a bracket stands before it.
    check_reading_count(sum(map(data.count, (b",", b"[", b"{"))), packed=None)
    held = _DECODER.decode(data.decode())
    for name in ("Payload", "payload"):
        held = held[name] if isinstance(held, dict) and name in held else held
    if not isinstance(held, dict) or not isinstance(held.get("MeterReadings"), dict):
        raise ValueError
    _as_element("MeterReadings", held["MeterReadings"], take)


def _as_element(
    name: str, value: Any, take: Take, *, around: str = "", depth: int = 1
) -> ET.Element | None:
    """A member as an element, without those of its own that were taken; None if it was taken."""
    if depth > DEEPEST:
        raise ValueError
    element = ET.Element(f"{_JSON_SPACE}{name}")
    for key, said in value.items() if isinstance(value, dict) else ():
        if key.removeprefix("@") == "ref" and isinstance(said, str):
            element.set("ref", said)
            continue
        for one in said if isinstance(said, list) else [said]:
            child = _as_element(key, one, take, around=element.tag, depth=depth + 1)
            if child is not None:
                element.append(child)
    if isinstance(value, list | bool):
        raise ValueError
    element.text = value if isinstance(value, str) else None
    return None if take(element, around) else element


def _type_of(element: ET.Element, space: str) -> str:
    kind = element.find(f"{space}ReadingType")
    return "" if kind is None else (kind.get("ref") or "").strip()


def _meter_of(element: ET.Element, space: str) -> str:
    name = _name_of(element, space, "UsagePoint") or _name_of(element, space, "Meter")
    if not name:
        raise ValueError
    return name


def _name_of(element: ET.Element, space: str, owner: str) -> str:
    """What a meter reading's usage point or meter is called; empty where nothing says it."""
    for place in (f"{space}mRID", f"{space}Names/{space}name"):
        name = (element.findtext(f"{space}{owner}/{place}") or "").strip()
        if name:
            return name
    return ""


def _read_reading(element: ET.Element, space: str) -> tuple[int, int, int, str]:
    """Moment [µs], digits, decimals among them, and quality of a reading."""
    moment = _read_moment((element.findtext(f"{space}timeStamp") or "").strip())
    quality = _read_quality(element, space)
    text = (element.findtext(f"{space}value") or "").strip()
    if not text or quality == _MISSING:
        return moment, 0, 0, _MISSING
    found = _VALUE.fullmatch(text)
    if found is None:
        raise ValueError
    decimals = (found[3] or "").rstrip("0")
    return moment, int(f"{found[1]}{found[2]}{decimals}"), len(decimals), quality


@lru_cache(maxsize=1 << 14)
def _read_moment(written: str) -> int:
    """A time with its offset [µs since 1970]; many meters are read at the same ones."""
    moment = dt.datetime.fromisoformat(written)
    if moment.tzinfo is None or not is_in_years(moment):
        raise ValueError
    return moment_us(moment)


def _read_quality(element: ET.Element, space: str) -> str:
    """The worst quality of a reading in our words; without any, `actual`."""
    worst = "actual"
    for kind in element.iterfind(f"{space}ReadingQualities/{space}ReadingQualityType"):
        found = _QUALITY.fullmatch((kind.get("ref") or "").strip())
        word = _UNKNOWN if found is None else _QUALITIES.get(found[1], _UNKNOWN)
        if found is not None and (found[1], found[2]) == _KNOWN_MISSING:
            word = _MISSING
        worst = max(worst, word, key=_RANKS.__getitem__)
    return worst


def _energies(
    document: _Document,
) -> tuple[pd.DataFrame, dict[str, ReadingType], Counter[str]]:
    """Readings of energies that are billed, their types by code, and how many others there are.

    Where a document holds energies of intervals, its register faces are not read; but nothing of a
    meter point may be left out without being named.
    """
    rows = pd.DataFrame(document.rows, columns=_ROW)
    if rows.empty:
        raise InvalidReadingsError(
            f"{_WHAT} holds no readings.",
            reason="readings.empty",
            remedy="Send IntervalBlocks with IntervalReadings, or Readings of a register.",
        )
    own = rows["block"].to_numpy(np.int64)
    rows["code"] = np.array(document.types, dtype=object)[own]
    owners = np.array(document.owners, dtype=np.int64)[own]
    rows["meter"] = np.array(document.meters, dtype=object)[owners]
    rows[SERIAL] = np.array(document.serials, dtype=object)[owners]
    types: dict[str, ReadingType] = {}
    for code in dict.fromkeys(rows["code"]):
        kind = read_type(code) if is_code(code) else None
        if kind is not None:
            types[code] = kind
    if any(not kind.is_face for kind in types.values()):
        types = {code: kind for code, kind in types.items() if not kind.is_face}
    others = {code for code, kind in types.items() if kind.column == "reactive_varh"}
    # Faces of a register of energy fed in say nothing without those of energy taken.
    others |= {code for code, kind in types.items() if kind.is_face and kind.column == "export_wh"}
    taken = types.keys() - others
    kept = rows[rows["code"].isin(list(types))].copy()
    left_out = rows[~rows["meter"].isin(rows.loc[rows["code"].isin(list(taken)), "meter"])]
    if len(left_out):
        raise _refuse_types(left_out["code"].iloc[0])
    aside = Counter[str]()
    for code, count in rows.loc[~rows["code"].isin(list(types)), "code"].value_counts().items():
        aside[unbilled_name(str(code))] += int(count)
    return kept, types, aside


def _refuse_types(code: str) -> InvalidReadingsError:
    """The refusal of a meter point of which nothing is read, by one of its types."""
    if not is_code(code):
        return InvalidReadingsError(
            f"{_WHAT} has values whose ReadingType is no code of 18 numbers.",
            reason="readings.unit",
            remedy="Name it as ref, such as 0.0.2.4.1.1.12.0.0.0.0.0.0.0.0.3.72.0.",
        )
    return InvalidReadingsError(
        f"{_WHAT} has a meter point with no energy that is billed, but for example reading type"
        f" {code}.",
        reason="readings.format",
        remedy="Send delta energies (accumulation 4) of one interval length, forward (1) and"
        " reverse (19) apart, or register faces alone: accumulation 1, 3 or 9.",
    )


def _watt_hours(rows: pd.DataFrame, tens: pd.Series[int]) -> NDArray[np.int64]:
    """Digits with their decimals and powers of ten as whole Wh."""
    digits = rows["digits"].to_numpy(object)
    shift = (tens - rows["decimals"]).to_numpy(np.int64)
    energies = np.zeros(len(rows), dtype=np.int64)
    for power in np.unique(shift):
        own = shift == power
        parts = 10 ** max(-int(power), 0)
        values = digits[own] * 10 ** max(int(power), 0)
        if (values % parts != 0).any() or (np.abs(values) > _LARGEST * parts).any():
            raise InvalidReadingsError(
                f"{_WHAT} has energies that are no whole Wh, or beyond 1 TWh.",
                reason="readings.energy",
                remedy="Ask for values in whole Wh; nothing is rounded here.",
            )
        energies[own] = (values // parts).astype(np.int64)
    return energies


def _refuse_starts(moments: pd.Series[int], minutes: pd.Series[int], timezone: str) -> None:
    """Refuse times that look like starts of intervals, where nobody says what they are.

    Raises:
        InvalidReadingsError: `readings.stamps`.
    """
    first, last = int(moments.min()), int(moments.max())
    ends = (first, last + int(minutes.iloc[int(moments.to_numpy().argmax())]) * MINUTE_US)
    local = pd.DatetimeIndex(np.array(ends).view("datetime64[us]")).tz_localize("UTC")
    local = local.tz_convert(timezone)
    if (local == local.normalize()).all():
        raise InvalidReadingsError(
            f"{_WHAT} has times from a midnight to just before one, as starts of intervals have,"
            " and IEC 61968-9 stamps intervals at their ends.",
            reason="readings.stamps",
            remedy="Say what they are: the source declares start or end, and `gridsecure bill` has"
            " --stamps start and --stamps end.",
        )


def _frame(rows: pd.DataFrame, timezone: str) -> pd.DataFrame:
    starts = pd.DatetimeIndex(rows["start"].to_numpy(np.int64).view("datetime64[us]"))
    readings = make_readings(
        rows["meter"].astype("str").to_numpy(),
        start=starts.tz_localize("UTC").tz_convert(timezone),
        energy_wh=rows["energy_wh"].to_numpy(np.int64),
        quality=rows["quality"].astype("str").to_numpy(),
        minutes=rows["minutes"].to_numpy(np.int64) if "minutes" in rows else None,
    )
    for column in register_columns(rows):
        readings[column] = rows[column].to_numpy(np.int64)
    if SERIAL in rows:
        readings[SERIAL] = rows[SERIAL].astype("str").to_numpy(object)
    return readings
