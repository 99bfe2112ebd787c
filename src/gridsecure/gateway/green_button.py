"""Green Button documents (ESPI XML) to readings.

Defined by NAESB REQ.21, "Energy Services Provider Interface"; the codes are those of its schema
`espi.xsd`. An Atom feed holds entries that point at each other: usage points, their meter readings,
the reading type of each, and blocks of interval readings. The type says unit, power of ten and
direction; without one a value means nothing, and nothing is guessed. A reading's cost has a
multiplier of its own and is not read. Reactive energy stands beside energy; other quantities, as
demand or net energy, are passed over and counted. Starts are seconds since 1970, so no clock
changes them.

It is read within the bounds of `bounded_xml`.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.readings import (
    DAY_MINUTES,
    ReadingProblem,
    make_readings,
    register_columns,
)
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway import passed_over
from gridsecure.gateway.bounded_xml import read_elements
from gridsecure.gateway.channels import stand_side_by_side
from gridsecure.gateway.daily_values import begin_days, divide_days, without_days_beside
from gridsecure.gateway.reading_types import REACTIVE_TAKEN
from gridsecure.gateway.row_faults import refuse_readings
from gridsecure.gateway.table_text import TableText, check_reading_count
from gridsecure.gateway.wide_days import day_minutes

_ATOM: Final = "{http://www.w3.org/2005/Atom}"
_ESPI: Final = "{http://naesb.org/espi}"
_WATT_HOURS: Final = "72"
_VAR_HOURS: Final = "73"
_DIRECTIONS: Final = {"": "energy_wh", "0": "energy_wh", "1": "energy_wh", "19": "export_wh"}
"""Forward is energy taken, reverse (19) energy fed in. Net, total and others are not read."""
_REACTIVE: Final = ("", *map(str, REACTIVE_TAKEN))
_ELECTRICITY: Final = ("", "0", "1", "2")
_DELTA: Final = ("", "0", "4")
"""Accumulations whose values are the energies of their own intervals."""
_MINUTES: Final = (5, 10, 15, 30, 60)
_DAY_SECONDS: Final = 86_400
_DAYS: Final = (82_800, _DAY_SECONDS, 90_000)
"""Of 23, 24 and 25 hours [s]."""
_SECOND_US: Final = 1_000_000
_LARGEST: Final = 10**12
_MOST_TENS: Final = 9
# QualityOfReading: valid, raw, validated, verified, revenue; edited, estimated, derived, mixed.
# Questionable, projected and normalised values are left as they are, and refused as unknown.
_QUALITIES: Final = {
    **dict.fromkeys(("", "0", "14", "17", "18", "19"), "actual"),
    **dict.fromkeys(("7", "8", "9", "11", "13"), "estimated"),
}
_ROW: Final = ["entry", "start", "seconds", "value", "quality"]


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where an entry of the feed stands, and what it is related to."""

    own: str
    related: tuple[str, ...]


@dataclass(slots=True)
class _Feed:
    """Entries in their order; reading types, meter readings and their types by their addresses.

    `count` is of interval readings, and `faulty` are the numbers of those that cannot be read.
    """

    entries: list[_Entry] = field(default_factory=list)
    types: dict[str, dict[str, str]] = field(default_factory=dict)
    readings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    kinds: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    rows: list[tuple[int, int, int, int, str]] = field(default_factory=list)
    count: int = 0
    faulty: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class GreenButton:
    """What a document holds.

    Attributes:
        passed_over: Values that are not billed, by name.
        problems: Days that were divided because the clock is changed.
    """

    readings: pd.DataFrame
    passed_over: Mapping[str, int]
    problems: tuple[ReadingProblem, ...] = ()


def read_green_button(text: TableText, *, timezone: str, packed: int | None) -> GreenButton:
    """Read a Green Button document; a meter point is the last part of a usage point's address.

    Args:
        timezone: Zone that the readings are given in.
        packed: Size of the file before it was decompressed.

    Raises:
        InvalidReadingsError: `readings.malformed`, `.format`, `.unit`, `.daily`, `.interval`,
            `.energy`, `.conflict`, `.too-many` or `.empty`.
    """
    check_reading_count(text.data.count(b"IntervalReading") // 2, packed=packed)
    feed = _parse(text.data)
    rows = pd.DataFrame(feed.rows, columns=_ROW)
    if rows.empty:
        raise InvalidReadingsError(
            "The Green Button document holds no interval readings.",
            reason="readings.empty",
            remedy="Download it again with interval data; bills alone hold none.",
        )
    rows, aside = _energies(rows, feed)
    _check_days(rows, timezone)
    rows["quality"] = rows["quality"].map(lambda code: _QUALITIES.get(code, "questionable"))
    rows = rows.drop(columns=["entry", "seconds", "value"])
    joined = stand_side_by_side(rows, what="The Green Button document")
    starts = pd.to_datetime(joined["start"], unit="s", utc=True).dt.as_unit("us")
    readings = make_readings(
        joined["meter"].astype("str"),
        start=starts.dt.tz_convert(timezone),
        energy_wh=joined["energy_wh"].to_numpy(np.int64),
        quality=joined["quality"].astype("str"),
        minutes=joined["minutes"],
    )
    for column in register_columns(joined):
        readings[column] = joined[column].to_numpy(np.int64)
    readings, beside = without_days_beside(readings)
    readings, _, problems = divide_days(readings)
    aside.update({passed_over.DAYS: beside} if beside else {})
    return GreenButton(readings, aside, problems)


def _energies(rows: pd.DataFrame, feed: _Feed) -> tuple[pd.DataFrame, Counter[str]]:
    """Readings with `meter`, `column`, `wh` and `minutes`, and how many others there are.

    No usage point may be left without energy taken: that is refused, and named by what it has.
    """
    kinds = {int(entry): _kind_of(feed, int(entry)) for entry in rows["entry"].unique()}
    billed = {kind.point for kind in kinds.values() if kind.column in ("energy_wh", "export_wh")}
    for kind in kinds.values():
        if kind.point not in billed:
            raise _nothing_billed(kind)
    aside = Counter[str]()
    entries = rows["entry"].to_numpy(np.int64)
    for entry, count in zip(*np.unique(entries, return_counts=True), strict=True):
        if not kinds[int(entry)].column:
            aside[kinds[int(entry)].unbilled] += int(count)
    rows = rows[np.isin(entries, [n for n, kind in kinds.items() if kind.column])].copy()
    rows["seconds"] = _seconds(rows, feed)
    rows["minutes"] = np.where(
        rows["seconds"].isin(_DAYS), DAY_MINUTES, rows["seconds"].to_numpy(np.int64) // 60
    )
    values = rows["value"].to_numpy(np.int64)
    energies = np.zeros_like(values)
    meters, columns = np.empty((2, len(rows)), dtype=object)
    for entry, own in rows.groupby("entry").indices.items():
        kind = kinds[int(str(entry))]
        meters[own], columns[own] = kind.point, kind.column
        energies[own] = _watt_hours(values[own], kind.tens)
    return rows.assign(meter=meters, column=columns, wh=energies), aside


def _parse(data: bytes) -> _Feed:
    feed = _Feed()
    try:
        read_elements(data, partial(_take, feed))
    except (ValueError, OverflowError):
        raise _malformed() from None
    if feed.faulty:
        raise refuse_readings(
            "an interval reading that is not as the schema of Green Button says",
            feed.faulty,
            reason="readings.malformed",
            rule="interval-reading",
            remedy="Download it again: each has a start and a value in whole numbers.",
        )
    # Once each, however many blocks a meter reading has.
    feed.kinds = {
        address: [feed.types[one] for one in related if one in feed.types]
        for address, related in feed.readings.items()
    }
    return feed


def _take(feed: _Feed, element: ET.Element, _around: str) -> bool:
    """Take readings and entries out of the tree while it grows."""
    if element.tag == f"{_ESPI}IntervalReading":
        feed.count += 1
        try:
            feed.rows.append((len(feed.entries), *_read_interval(element)))
        except (ValueError, OverflowError):
            feed.faulty.append(feed.count)
    elif element.tag == f"{_ATOM}entry":
        _keep_entry(feed, element)
    else:
        return False
    return True


def _read_interval(element: ET.Element) -> tuple[int, int, int, str]:
    period = f"{_ESPI}timePeriod/{_ESPI}"
    start, seconds = element.findtext(f"{period}start"), element.findtext(f"{period}duration")
    value = int(element.findtext(f"{_ESPI}value") or "")
    moment = int(start or "")
    if abs(value) > _LARGEST or not 0 <= moment < _LARGEST:
        raise ValueError
    quality = element.findtext(f"{_ESPI}ReadingQuality/{_ESPI}quality") or ""
    return moment, int(seconds or 0), value, quality.strip()


def _keep_entry(feed: _Feed, entry: ET.Element) -> None:
    links = [(link.get("rel"), link.get("href") or "") for link in entry.iter(f"{_ATOM}link")]
    own = next((href for rel, href in links if rel == "self"), "")
    up = next((href for rel, href in links if rel == "up"), "")
    related = tuple(href.rstrip("/") for rel, href in links if rel == "related")
    feed.entries.append(_Entry((own or up).rstrip("/"), related))
    kind = entry.find(f"{_ATOM}content/{_ESPI}ReadingType")
    if kind is not None:
        feed.types[own.rstrip("/")] = {
            part.tag.removeprefix(_ESPI): (part.text or "").strip() for part in kind
        }
    if entry.find(f"{_ATOM}content/{_ESPI}MeterReading") is not None:
        feed.readings[own.rstrip("/")] = related


def _type_of(feed: _Feed, entry: int) -> dict[str, str]:
    """The reading type of a block: its meter reading's, or the only one that the feed has."""
    own = feed.entries[entry].own if entry < len(feed.entries) else ""
    found = feed.kinds.get(re.sub(r"/IntervalBlock(/.*)?$", "", own))
    kinds = found or list(feed.types.values())
    if len(kinds) != 1:
        raise InvalidReadingsError(
            "The Green Button document does not say in what unit its values are: its reading type"
            " is missing.",
            reason="readings.unit",
            remedy="Download the whole feed, with the entries of UsagePoint, MeterReading and"
            " ReadingType.",
        )
    return kinds[0]


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a block's values are.

    Args:
        point: Its usage point.
        column: The column that they count for; empty where they are not billed.
        tens: Power of ten of their unit.
        unbilled: The name that they are counted under where they are not.
        is_energy: Whether they are Wh of electricity at all.
    """

    point: str
    column: str
    tens: int = 0
    unbilled: str = ""
    is_energy: bool = True


def _kind_of(feed: _Feed, entry: int) -> _Kind:
    """What a block's values are, by its reading type."""
    kind = _type_of(feed, entry)
    own = feed.entries[entry].own if entry < len(feed.entries) else ""
    found = re.search(r"UsagePoint/([^/]+)", own)
    point = found[1] if found else ""
    unit, flow = kind.get("uom", ""), kind.get("flowDirection", "")
    column, unbilled = "", passed_over.OTHER
    is_electric = kind.get("commodity", "") in _ELECTRICITY
    if is_electric and unit == _WATT_HOURS:
        column = _DIRECTIONS.get(flow, "")
    elif is_electric and unit == _VAR_HOURS:
        column = "reactive_varh" if flow in _REACTIVE else ""
        unbilled = passed_over.REACTIVE_FED_IN if flow == "19" else passed_over.REACTIVE_PART
    if kind.get("accumulationBehaviour", "") not in _DELTA or not point:
        column, unbilled = "", passed_over.FACES if column else unbilled
    tens = kind.get("powerOfTenMultiplier") or "0"
    if not re.fullmatch(r"[-+]?\d{1,2}", tens) or abs(int(tens)) > _MOST_TENS:
        raise _malformed()
    return _Kind(point, column, int(tens), unbilled, is_electric and unit == _WATT_HOURS)


def _nothing_billed(kind: _Kind) -> InvalidReadingsError:
    """The refusal of a usage point without energy taken."""
    if not kind.is_energy:
        return InvalidReadingsError(
            "The Green Button document holds values that are no Wh of electricity.",
            reason="readings.unit",
            remedy="Download the electricity usage as well; its unit (uom) is 72.",
        )
    return InvalidReadingsError(
        "The Green Button document holds net or cumulative values, or names no usage point.",
        reason="readings.format",
        remedy="Download energies of intervals, delivered (flow direction 1) and received (19)"
        " apart, with the addresses of their usage points.",
    )


def _seconds(rows: pd.DataFrame, feed: _Feed) -> NDArray[np.int64]:
    """How long each interval is, as it says or its reading type does."""
    seconds = rows["seconds"].copy()
    for _, own in rows[seconds == 0].groupby("entry"):
        length = _type_of(feed, int(own["entry"].iloc[0])).get("intervalLength", "")
        seconds[own.index] = int(length) if re.fullmatch(r"\d{1,6}", length) else 0
    if (seconds > max(_DAYS)).any():
        raise InvalidReadingsError(
            "The Green Button document holds energies of more than a day.",
            reason="readings.daily",
            remedy="Download intervals of 5, 10, 15, 30 or 60 minutes, or of days.",
        )
    if (~seconds.isin([*_DAYS, *(60 * minutes for minutes in _MINUTES)])).any():
        raise InvalidReadingsError(
            "The Green Button document has intervals that are not 5, 10, 15, 30 or 60 minutes, or"
            " days.",
            reason="readings.interval",
            remedy="Download intervals of one of these lengths.",
        )
    return seconds.to_numpy(np.int64)


def _check_days(rows: pd.DataFrame, timezone: str) -> None:
    """Refuse energies of days that are no local days.

    Some systems write 86,400 seconds on every day, others those that it has.
    """
    days = rows[rows["minutes"] == DAY_MINUTES]
    begins = days["start"].to_numpy(np.int64) * _SECOND_US
    begin_days(begins, timezone, at_ends=False)
    local = pd.DatetimeIndex(begins.view("datetime64[us]")).tz_localize("UTC").tz_convert(timezone)
    seconds = days["seconds"].to_numpy(np.int64)
    if ((seconds != _DAY_SECONDS) & (seconds != 60 * day_minutes(local))).any():
        raise InvalidReadingsError(
            "The Green Button document has days of 23 or 25 hours on which no clock is changed.",
            reason="readings.interval",
            remedy="Name the zone of its days, or download intervals of 5, 10, 15, 30 or 60"
            " minutes.",
        )


def _watt_hours(values: NDArray[np.int64], tens: int) -> NDArray[np.int64]:
    parts = 10 ** max(-tens, 0)
    if (values % parts != 0).any() or int(np.abs(values).max()) * 10 ** max(tens, 0) > _LARGEST:
        raise InvalidReadingsError(
            "The Green Button document has energies that are no whole Wh, or beyond 1 TWh.",
            reason="readings.energy",
            remedy="Ask for values in whole Wh; nothing is rounded here.",
        )
    energy_wh: NDArray[np.int64] = values // parts * 10 ** max(tens, 0)
    return energy_wh


def _malformed() -> InvalidReadingsError:
    return InvalidReadingsError(
        "The Green Button document is damaged, not as its schema says, or defines entities.",
        reason="readings.malformed",
        remedy="Download it again, and send it as it came.",
    )
