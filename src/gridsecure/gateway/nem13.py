"""NEM13, the accumulated meter data of the Australian market, to faces of registers.

Its definition is AEMO's "Meter Data File Format Specification NEM12 & NEM13": a 250 record has two
reads of a register, what each is worth, and the quantity of energy between them. Times are of
market time, UTC+10 the whole year. The direction indicator tells what a register counts: E energy
taken, I energy fed in; with a unit of reactive energy, E reactive energy taken. 550 records hold
whose order a read was.

Two reads tell of the energy between them, whatever the time of day that somebody came by, so a
register's face at each midnight in between stands on the straight line from one read to the other,
and is `estimated`. A read at a midnight is a face as it is. So the faces are those of a register
that is read daily. Neighbouring records, also of other files, fit together to the Wh. What needs
intervals is refused as it is for daily values.

The quantity is what is owed. It has to be the difference of the reads, after a rollover of the
digits that they are written with, times a whole number: the ratio of the register. Otherwise the
reads do not tell the energy between them, and the file is refused.

A record names its meter. At a gateway, faces of two meters are not differenced (`meter_serials`).
Where a record begins at the very moment at which the one of another meter ended, both faces of the
exchange are there: so at the next midnight stands, beside the new meter's face, what the old one
would show if it had gone on, and no energy is lost. Anything else about an exchange is for the
books to say.

Data streams of one direction are added up. It is read here and not by a library, because those take
the numbers for binary fractions, and the quantity for the difference.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.meter_serials import SERIAL
from gridsecure.billing.readings import make_readings, moment_us
from gridsecure.billing.registers import FED_IN, REACTIVE, REGISTER, TAKEN
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.format_cells import quality_word
from gridsecure.gateway.nem12 import MARKET_MINUTES
from gridsecure.gateway.passed_over import REACTIVE_FED_IN
from gridsecure.gateway.row_faults import merge_refusals, refuse_line
from gridsecure.gateway.table_text import TableText, check_line_lengths, check_reading_count
from gridsecure.month_texts import is_in_years

_MARKET_TIME: Final = dt.timezone(dt.timedelta(minutes=MARKET_MINUTES))
_UNITS: Final = {"wh": 0, "kwh": 3, "mwh": 6}
"""Unit -> powers of ten of a Wh."""
_NUMBER: Final = re.compile(r"(\d{1,12})(?:\.(\d{0,6}))?", re.ASCII)
_FIELDS: Final = 20
"""As many as a record has at least, to its unit."""
_LONGEST_DAYS: Final = 400
_LARGEST: Final = 10**11
_LARGEST_RATIO: Final = 100_000
_SECOND_US: Final = 1_000_000
_DAY_US: Final = 86_400 * _SECOND_US
_WORDS: Final = ("actual", "estimated", "questionable")
"""Qualities of faces, each better than the next."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A register's face.

    Args:
        moment_us: When [µs since 1970-01-01 UTC].
        face: As it is written [Wh or varh].
        modulus: The first number that its digits do not show [Wh or varh].
        quality: In our words.
    """

    moment_us: int
    face: int
    modulus: int
    quality: str


@dataclass(frozen=True, slots=True)
class _Record:
    """Two reads of a register, and its energy between them.

    Args:
        series: NMI, what the register counts for, and its data stream (NMI suffix).
        meter: Its serial number.
        ratio: Of the quantity to the difference of the reads; 0 where nothing tells it.
        updated: When it was updated last.
    """

    line: int
    series: tuple[str, str, str]
    meter: str
    first: _Read
    last: _Read
    ratio: int
    has_quantity: bool
    updated: str

    @property
    def gain(self) -> int:
        """What the register counted, after a rollover of its digits."""
        gain = self.last.face - self.first.face
        return gain if gain >= 0 else gain + self.first.modulus


@dataclass(frozen=True, slots=True, eq=False)
class AccumulatedData:
    """What a file holds.

    Attributes:
        faces: A readings frame with `REGISTER` and, unless records were chained, `SERIAL`: faces
            at midnights.
        is_counted: Whether they are as registers show them, without a ratio.
        passed_over: Reads that are not billed, by name.
    """

    faces: pd.DataFrame
    is_counted: bool
    passed_over: Mapping[str, int]


def read_nem13(
    text: TableText, *, timezone: str, chains: bool, packed: int | None = None
) -> AccumulatedData:
    """Read a NEM13 file.

    Args:
        timezone: Zone of the midnights that faces are given at; the file's own times are market
            time.
        chains: Whether a record goes on where the one before it ended, whatever its meter showed,
            because nobody else knows of exchanges.
        packed: Size of the file before it was decompressed.

    Raises:
        InvalidReadingsError: A record is not as defined (`readings.malformed`), its unit or its
            direction not known (`readings.unit`, `readings.format`), a read no energy
            (`readings.energy`), its quantity not that of its reads or two records of one time
            disagree (`readings.conflict`), or `readings.empty`.
    """
    check_line_lengths(text)
    every, refusals = _read_records(text)
    days = sum((one.last.moment_us - one.first.moment_us) // _DAY_US + 2 for one in every)
    check_reading_count(days, packed=packed)
    billed = _latest([one for one in every if one.series[1]], refusals)
    if refusals:
        raise merge_refusals(refusals)
    if not billed:
        raise InvalidReadingsError(
            "The file holds no reads of energy taken.",
            reason="readings.empty",
            remedy="A NEM13 file needs 250 records of direction E in Wh, kWh or MWh.",
        )
    unbilled = 2 * sum(not one.series[1] for one in every)
    return AccumulatedData(
        _add_registers(billed, timezone, chains=chains),
        not any(one.has_quantity for one in billed),
        {REACTIVE_FED_IN: unbilled} if unbilled else {},
    )


def _read_records(text: TableText) -> tuple[list[_Record], list[InvalidReadingsError]]:
    """The records of a file, and the refusals of those that are not as defined."""
    records: list[_Record] = []
    refusals: list[InvalidReadingsError] = []
    for number, line in enumerate(text.data.decode().split("\n"), start=1):
        fields = [one.strip().strip('"') for one in line.split(",")]
        try:
            if fields[0] == "250":
                record = _read_record(fields, number)
                if record is not None:
                    records.append(record)
            elif fields[0] not in {"", "100", "550", "900"}:
                raise _malformed(number)
        except InvalidReadingsError as error:
            refusals.append(error)
    return records, refusals


def _read_record(fields: list[str], line: int) -> _Record | None:
    """A 250 record; None where one of its reads is none."""
    if len(fields) < _FIELDS or not fields[1]:
        raise _malformed(line)
    unit, direction = fields[19].lower(), fields[7].upper()
    is_reactive = unit.endswith("varh")
    tens = _UNITS.get(unit.replace("varh", "wh") if is_reactive else unit)
    if tens is None:
        raise refuse_line(
            f"Line {line} has a unit that is not read.",
            line,
            reason="readings.unit",
            rule="unit-mismatch",
            detail="a unit that is not read",
            remedy="Energy is in Wh, kWh or MWh, reactive energy in varh, kvarh or Mvarh.",
        )
    if direction not in {"E", "I"}:
        raise refuse_line(
            f"Line {line} has a direction that is neither E nor I.",
            line,
            reason="readings.format",
            rule="direction",
            detail="a direction that is neither E nor I",
            remedy="E is energy that was taken from the grid, I energy that was fed in.",
        )
    counts_for = {("E", False): TAKEN, ("I", False): FED_IN, ("E", True): REACTIVE}
    first, last = (_read_face(fields[at : at + 3], line, tens) for at in (8, 13))
    span = last.moment_us - first.moment_us
    if not 0 < span <= _LONGEST_DAYS * _DAY_US:
        raise _malformed(line)
    if "missing" in (first.quality, last.quality):
        return None
    series = (fields[1], counts_for.get((direction, is_reactive), ""), fields[4])
    updated = fields[21] if len(fields) > 21 else ""
    record = _Record(line, series, fields[6], first, last, 0, bool(fields[18]), updated)
    return replace(record, ratio=_ratio(record, fields[18], tens))


def _read_face(fields: Sequence[str], line: int, tens: int) -> _Read:
    """A read, its moment and its quality."""
    written, when, quality = fields
    found = _NUMBER.fullmatch(written)
    try:
        moment = dt.datetime.strptime(when, "%Y%m%d%H%M%S").replace(tzinfo=_MARKET_TIME)
    except ValueError:
        raise _malformed(line) from None
    if found is None or not is_in_years(moment):
        raise _malformed(line)
    face = _whole(written, line, tens)
    return _Read(moment_us(moment), face, 10 ** (len(found[1]) + tens), quality_word(quality))


def _whole(written: str, line: int, tens: int) -> int:
    """A number in whole Wh or varh."""
    value = Decimal(written).scaleb(tens)
    if value != int(value) or value > _LARGEST:
        raise refuse_line(
            f"Line {line} holds a number that is no whole Wh, or beyond 100 GWh.",
            line,
            reason="readings.energy",
            rule="energy",
            detail="a number that is no whole Wh, or beyond 100 GWh",
            remedy="Send kWh with up to three decimals; nothing is rounded here.",
        )
    return int(value)


def _ratio(record: _Record, written: str, tens: int) -> int:
    """By what the difference of the reads is multiplied; 0 where they tell nothing of it."""
    if not written:
        return 1
    if _NUMBER.fullmatch(written) is None:
        raise _malformed(record.line)
    quantity = Decimal(written).scaleb(tens)
    if not quantity and not record.gain:
        return 0
    ratio = round(quantity / record.gain) if record.gain else 0
    # The quantity may have fewer decimals than the reads.
    exponent = Decimal(written).as_tuple().exponent
    step = Decimal(1).scaleb(tens + min(int(exponent), 0))
    if not 1 <= ratio <= _LARGEST_RATIO or abs(quantity - ratio * record.gain) > step:
        raise refuse_line(
            f"Line {record.line} has a quantity that is no multiple of what its reads differ by.",
            record.line,
            reason="readings.conflict",
            rule="quantity",
            detail="a quantity that is no multiple of what its reads differ by",
            remedy="Where the meter was exchanged, send the reads of each meter in a record of its"
            " own, or daily values or intervals (NEM12) of that time.",
        )
    return ratio


def _malformed(line: int) -> InvalidReadingsError:
    return refuse_line(
        f"Line {line} is no NEM13 record as it is defined.",
        line,
        reason="readings.malformed",
        rule="record",
        detail="no NEM13 record as it is defined",
        remedy="Send the file as it came: 250 records with two reads of a register, their times as"
        " YYYYMMDDhhmmss and at most 400 days apart, their qualities, quantity and unit.",
    )


def _latest(records: list[_Record], refusals: list[InvalidReadingsError]) -> list[_Record]:
    """Of several records of a register and time the one that was updated last.

    Args:
        refusals: Where those are added that disagree and were updated at one time.
    """
    found: dict[tuple[tuple[str, str, str], int], _Record] = {}
    for one in records:
        key = (one.series, one.first.moment_us)
        other = found.get(key)
        if other is None or one.updated > other.updated:
            found[key] = one
        elif one.updated == other.updated and (one.first, one.last) != (other.first, other.last):
            refusal = refuse_line(
                f"Lines {other.line} and {one.line} hold different reads of a register's time.",
                other.line,
                one.line,
                reason="readings.conflict",
                rule="conflict",
                detail="different reads of a register's time",
                remedy="Take the wrong one out; of two, the one updated later counts.",
            )
            refusals.append(refusal)
    return sorted(found.values(), key=lambda one: (one.series, one.first.moment_us))


def _add_registers(records: Sequence[_Record], timezone: str, *, chains: bool) -> pd.DataFrame:
    """The faces of all data streams of one direction of an NMI together, at midnights.

    A midnight of which one of them lacks its face has none.
    """
    series: dict[tuple[str, str, str], list[_Record]] = {}
    for one in records:
        series.setdefault(one.series, []).append(one)
    streams = Counter(name[:2] for name in series)
    parts = []
    for (nmi, register, own), found in series.items():
        ratio = _one_ratio(found)
        # What stands alone is shown as it stands; a rollover of one of several is no fall of a sum.
        wraps = not chains and ratio == 1 and streams[nmi, register] == 1
        faces = _faces(found, timezone, chains=chains, wraps=wraps)
        faces = faces.assign(energy_wh=faces["energy_wh"] * ratio, own=own)
        parts.append(faces.assign(meter_point_id=nmi, **{REGISTER: register}))
    every = pd.concat(parts, ignore_index=True).sort_values("rank", kind="stable")
    key = ["meter_point_id", REGISTER, "start"]
    face = [*key, "own", SERIAL]
    every = every.drop_duplicates([*face, "energy_wh"])
    if every.duplicated(face).any() and chains:
        raise InvalidReadingsError(
            "Records of one register tell different faces of one time.",
            reason="readings.conflict",
            remedy="Records of one register follow each other: each begins with the read that the"
            " one before it ends with. Take the wrong ones out.",
        )
    every = every.drop_duplicates(face, keep="last")
    added = _added(every, key, streams)
    starts = pd.DatetimeIndex(added["start"].to_numpy().view("datetime64[us]")).tz_localize("UTC")
    faces = make_readings(
        added["meter_point_id"].astype("str"),
        start=starts.tz_convert(timezone),
        energy_wh=added["energy_wh"].to_numpy(np.int64),
        quality=added["rank"].map(dict(enumerate(_WORDS))).astype("str"),
    )
    named = faces.assign(**{REGISTER: added[REGISTER].astype("str")})
    return named if chains else named.assign(**{SERIAL: added[SERIAL].astype("str")})


def _added(every: pd.DataFrame, key: list[str], streams: Counter[tuple[str, str]]) -> pd.DataFrame:
    """Faces of all data streams of one direction together, of every moment that all of them have.

    Where a meter of one was exchanged, the others' faces stand beside both of its own.
    """
    every = every.sort_values("turn", kind="stable")
    every = every.assign(place=every.groupby([*key, "own"]).cumcount())
    places = every.groupby(key)["place"].transform("max")
    lone = every.groupby([*key, "own"])["place"].transform("max") == 0
    every = pd.concat([every, every[lone & (places > 0)].assign(place=1)])
    grouped = every.groupby([*key, "place"], sort=True)
    added = grouped.agg(energy_wh=("energy_wh", "sum"), rank=("rank", "max"), count=("own", "size"))
    own = every.sort_values(SERIAL, kind="stable").drop_duplicates([*key, "place", SERIAL])
    if len(own) == len(added):
        serials = own.set_index([*key, "place"])[SERIAL]
    else:  # data streams of several meters
        serials = own.groupby([*key, "place"])[SERIAL].agg("+".join)
    added = added.assign(**{SERIAL: serials}).reset_index()
    wanted = [streams[pair] for pair in zip(added["meter_point_id"], added[REGISTER], strict=True)]
    whole: pd.DataFrame = added[added["count"] == wanted].reset_index(drop=True)
    return whole


def _one_ratio(records: Sequence[_Record]) -> int:
    """The ratio of a data stream, which is one."""
    known = [one for one in records if one.ratio]
    for one in known:
        if one.ratio != known[0].ratio:
            raise InvalidReadingsError(
                f"Lines {known[0].line} and {one.line} have quantities of different ratios to the"
                " reads of one register.",
                reason="readings.conflict",
                remedy="Send them in files of their own.",
            )
    return known[0].ratio if known else 1


def _faces(records: Sequence[_Record], timezone: str, *, chains: bool, wraps: bool) -> pd.DataFrame:
    """`start` [µs], `energy_wh`, `rank` and `SERIAL` of a register at midnights that reads tell of.

    `turn` counts the records, so that of two meters the old one stands first.
    """
    parts = []
    beyond, end = 0, records[0].first.face
    # What the meter before would show by now; None where nothing tells it.
    before: tuple[int, _Record] | None = None
    for number, one in enumerate(records):
        last = records[number - 1] if number else one
        follows = number > 0 and one.first.moment_us == last.last.moment_us
        is_other = not chains and "" not in (one.meter, last.meter) and one.meter != last.meter
        if is_other:
            before, beyond = ((end, last) if follows else None), 0
        elif not follows:
            before = None
        if chains and follows:
            beyond = end - one.first.face
        moments = _midnights(one, timezone)
        span_s = (one.last.moment_us - one.first.moment_us) // _SECOND_US
        # Seconds, so that the product stays far inside 63 bits.
        part = one.gain * ((moments - one.first.moment_us) // _SECOND_US) // span_s
        shown, modulus = one.first.face + part, one.first.modulus
        faces = shown % modulus if wraps else shown + beyond
        table = pd.DataFrame({"start": moments, "energy_wh": faces, "rank": _ranks(one, moments)})
        parts.append(table.assign(turn=number, **{SERIAL: "" if chains else one.meter}))
        if before is not None and len(moments):
            face, old = before[0] + int(part[0]), before[1]
            face = face % old.first.modulus if wraps else face
            went_on = parts[-1].iloc[:1].assign(energy_wh=face, turn=number - 1)
            parts.append(went_on.assign(**{SERIAL: old.meter}))
            before = None
        elif before is not None:
            before = before[0] + one.gain, before[1]
        end = one.first.face + one.gain + beyond
        if not chains and one.last.face < one.first.face:
            beyond += one.first.modulus
    return pd.concat(parts, ignore_index=True)


def _ranks(record: _Record, moments: NDArray[np.int64]) -> NDArray[np.int64]:
    """The quality of the faces at moments between two reads: estimated, but for the reads."""
    rank = np.full(len(moments), _WORDS.index("estimated"))
    rank[moments == record.first.moment_us] = _rank(record.first.quality)
    rank[moments == record.last.moment_us] = _rank(record.last.quality)
    worst = max(_rank(record.first.quality), _rank(record.last.quality))
    ranks: NDArray[np.int64] = np.maximum(rank, worst if worst == len(_WORDS) - 1 else 0)
    return ranks


def _rank(quality: str) -> int:
    return _WORDS.index(quality) if quality in _WORDS else len(_WORDS) - 1


def _midnights(record: _Record, timezone: str) -> NDArray[np.int64]:
    """The local midnights from one read to the other [µs since 1970-01-01 UTC]."""
    ends = pd.DatetimeIndex(
        np.array([record.first.moment_us, record.last.moment_us]).view("datetime64[us]")
    )
    local = ends.tz_localize("UTC").tz_convert(timezone)
    days = pd.date_range(local[0].normalize(), local[1].normalize(), freq="D").as_unit("us").asi8
    inside: NDArray[np.int64] = days[days >= record.first.moment_us]
    return inside
