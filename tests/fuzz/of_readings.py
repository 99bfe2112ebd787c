"""Readings, contracts, books and check files: what meter-data systems and people hand in."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from gridsecure.analyst.losses import decode_supply, read_supply
from gridsecure.billing.contracts import load_contracts
from gridsecure.billing.register_hours import parse_register_hours
from gridsecure.gateway.books.lines import read_lines
from gridsecure.gateway.check_files import read_checks
from gridsecure.gateway.formats import read_offsets, read_readings
from gridsecure.gateway.ingestion.bodies import read_body
from gridsecure.gateway.ingestion.plain_lines import read_plain_lines
from gridsecure.gateway.ingestion.sources import Source
from gridsecure.gateway.ingestion.spooled_bodies import SpooledBody
from gridsecure.gateway.meanings import Meaning, Stamps
from tests.fuzz.parsers import Parser, text_of

ZONE = "Asia/Shanghai"
STARTS = Source("head-end", "t", ("",), "start", ZONE, "")
OPEN = Source("head-end", "t", ("",), "", ZONE, "", declares_zone=True, interval_minutes=30)
STARTS_MEANT = Meaning(stamps=Stamps.START)

PLAIN = (
    b"meter_point_id,start,kwh\n"
    b"MP-1,2026-07-01T00:00+08:00,0.4\nMP-1,2026-07-01T00:30+08:00,12.345\n"
    b"MP-2,2026-07-01T00:00+08:00,0\nMP-2,2026-07-01T00:30+08:00,1.5\n"
)
LONG = (
    b"meter_point_id,start,kwh,quality\n"
    b"MP-1,2026-07-01 00:00,0.4,actual\nMP-1,2026-07-01 00:30,1.5,estimated\n"
    b"MP-1,2026-07-01 01:00,,missing\n0012,2026-07-01 00:00,7,actual\n0012,2026-07-01 00:30,8,\n"
)
WIDE = (
    ("meter_point_id,date," + ",".join(f"p{n}" for n in range(1, 25)) + ",quality,ratio,unit\n")
    + "".join(
        f"MP-{n},2026-07-0{n}," + ",".join(f"{n}.{h}" for h in range(24)) + ",actual,1,kWh\n"
        for n in (1, 2)
    )
).encode()
FACES = (
    b"meter_point_id,start,register_kwh\nMP-1,2026-07-01 00:00,100.5\nMP-1,2026-07-01 00:30,101\n"
    b"MP-1,2026-07-01 01:00,102.25\n"
)
CHINESE = "meter_point_id\tstart\tkwh\n户号7\t2026/7/1 0:00\t1.5\n户号7\t2026/7/1 0:30\t2\n".encode(
    "gb18030"
)
NEM12 = (
    "100,NEM12,202503010000,MDP1,RET1\n200,NMI0000001,E1B1,1,E1,N1,METER1,kWh,30,\n"
    f"300,20250301{',0.25' * 48},V,,,20250401000000,\n400,1,20,A,,\n400,21,48,S14,32,\n"
    "200,NMI0000001,E1B1,1,B1,N1,METER1,kWh,30,\n"
    f"300,20250301{',0.5' * 48},A,,,20250401000000,\n900\n"
).encode()
NEM13 = (
    b"100,NEM13,202507010000,MDP1,RET1\n"
    b"250,1234567890,1141,01,11,11,METSER66,E,000100.0,20250401000000,A,,,000976.0,20250701000000,"
    b"A,,,876,kWh,20251001,20250702125010,20250703000130\n550,N,,A,\n900\n"
)
_SPACE = "http://iec.ch/TC57/2011/MeterReadings#"
_TYPE = "0.0.2.4.1.1.12.0.0.0.0.0.0.0.0.3.72.0"
_FACE = "0.0.0.1.1.1.12.0.0.0.0.0.0.0.0.3.72.0"
_INTERVALS = "".join(
    f"<IntervalReadings><timeStamp>2026-03-01T00:{15 * n:02d}:00+08:00</timeStamp><value>{n}.5"
    '</value><ReadingQualities><ReadingQualityType ref="1.0.0"/></ReadingQualities>'
    "</IntervalReadings>"
    for n in (1, 2, 3)
)
_READS = "".join(
    f"<Readings><timeStamp>2026-03-0{n}T00:00:00+08:00</timeStamp><value>{n}00</value>"
    f'<ReadingType ref="{_FACE}"/></Readings>'
    for n in (1, 2, 3)
)
_POINT = "<UsagePoint><mRID>M1</mRID></UsagePoint>"


def _iec(parts: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?><EventMessage '
        'xmlns="http://iec.ch/TC57/2011/schema/message"><Header><Verb>created</Verb>'
        f'<Noun>MeterReadings</Noun></Header><Payload><MeterReadings xmlns="{_SPACE}">'
        f"<MeterReading>{parts}{_POINT}</MeterReading></MeterReadings></Payload></EventMessage>"
    ).encode()


IEC = _iec(f'<IntervalBlocks>{_INTERVALS}<ReadingType ref="{_TYPE}"/></IntervalBlocks>')
IEC_FACES = _iec(_READS)
_BLOCK = {
    "IntervalReadings": [
        {"timeStamp": f"2026-03-01T00:{15 * n:02d}:00+08:00", "value": f"{n}.5"} for n in (1, 2, 3)
    ],
    "ReadingType": {"ref": _TYPE},
}
_OF_A_METER = {"IntervalBlocks": _BLOCK, "UsagePoint": {"mRID": "M1"}}
IEC_JSON = json.dumps({"MeterReadings": {"MeterReading": _OF_A_METER}}).encode()
_ESPI = 'xmlns="http://naesb.org/espi"'
_ROOT = "https://example.org/espi/1_1/resource/UsagePoint"


def _entry(own: str, body: str, *, up: str = "", related: str = "") -> str:
    links = f'<link rel="self" href="{_ROOT}/{own}"/><link rel="up" href="{_ROOT}/{up}"/>'
    links += f'<link rel="related" href="{_ROOT}/{related}"/>' if related else ""
    return f"<entry>{links}<content>{body}</content></entry>"


GREEN_BUTTON = (
    '<?xml version="1.0" encoding="UTF-8"?><feed xmlns="http://www.w3.org/2005/Atom">'
    + _entry(
        "types/T1",
        f"<ReadingType {_ESPI}><accumulationBehaviour>4</accumulationBehaviour><commodity>1"
        "</commodity><flowDirection>1</flowDirection><intervalLength>900</intervalLength>"
        "<powerOfTenMultiplier>0</powerOfTenMultiplier><uom>72</uom></ReadingType>",
    )
    + _entry("M1/MeterReading/1", f"<MeterReading {_ESPI}/>", related="types/T1")
    + _entry(
        "M1/MeterReading/1/IntervalBlock/1",
        f"<IntervalBlock {_ESPI}>"
        + "".join(
            "<IntervalReading><ReadingQuality><quality>0</quality></ReadingQuality><timePeriod>"
            f"<duration>900</duration><start>{1_740_758_400 + 900 * n}</start></timePeriod>"
            f"<value>{n}50</value></IntervalReading>"
            for n in range(3)
        )
        + "</IntervalBlock>",
        up="M1/MeterReading/1/IntervalBlock",
    )
    + "</feed>"
).encode()
_OBJECTS = [
    {"meter_point_id": "MP-1", "start": f"2026-07-01T00:{m}+08:00", "kwh": kwh, "quality": "actual"}
    for m, kwh in (("00", 0.4), ("30", "12.345"))
]
JSON_LIST = json.dumps(_OBJECTS).encode()
JSON_OBJECT = json.dumps({"unit": "kWh", "readings": _OBJECTS}).encode()
JSON_LINES = "\n".join(map(json.dumps, _OBJECTS)).encode()


def _parquet() -> bytes:
    table = pa.table(
        {
            "meter_point_id": ["MP-1", "MP-1", "MP-2"],
            "start": ["2026-07-01T00:00+08:00", "2026-07-01T00:30+08:00", "2026-07-01T00:00+08:00"],
            "kwh": [0.5, 1.25, 2.0],
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def _workbook() -> bytes:
    sink = io.BytesIO()
    frame = pd.read_csv(io.BytesIO(LONG), dtype=str)
    with pd.ExcelWriter(sink, engine="xlsxwriter") as writer:
        frame.to_excel(writer, index=False)
    return sink.getvalue()


def _texts() -> list[bytes]:
    tables = [PLAIN, LONG, WIDE, FACES, CHINESE, LONG.replace(b",", b";")]
    return [*tables, NEM12, NEM13, IEC, IEC_FACES, IEC_JSON, GREEN_BUTTON]


def _packed() -> list[bytes]:
    book = _workbook()
    others = [_packed_by(book, how) for how in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)]
    return [gzip.compress(PLAIN, mtime=0), gzip.compress(NEM12, mtime=0), book, *others]


def _packed_by(book: bytes, how: int) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book)) as old, zipfile.ZipFile(sink, "w", how) as new:
        for member in old.namelist():
            new.writestr(member, old.read(member))
    return sink.getvalue()


def _bodies() -> list[bytes]:
    packed = [gzip.compress(JSON_LIST, mtime=0), zstandard.compress(PLAIN)]
    return [*_texts(), JSON_LIST, JSON_OBJECT, JSON_LINES, _parquet(), *packed]


def _read_file(data: bytes) -> object:
    return read_readings(data, timezone=ZONE, meaning=STARTS_MEANT)


def _read_unsaid(data: bytes) -> object:
    return read_readings(data, timezone="Europe/London", differences=False)


def _read_body(source: Source) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        # Small bodies stay in memory, so the folder is never made.
        with SpooledBody(Path(tempfile.gettempdir()) / "no-such-folder") as body:
            body.add(data)
            body.finish()
            return list(read_body(body, source=source, timezone=ZONE))

    return read


def _from_file(read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def from_bytes(data: bytes) -> object:
        with tempfile.NamedTemporaryFile(suffix=".csv") as file:
            file.write(data)
            file.flush()
            return read(Path(file.name))

    return from_bytes


CHECKS = (
    b"meter_point_id,start,register_kwh\nMP-1,2026-07-01 00:00,100.5\nMP-1,2026-08-01 00:00,101\n"
)
DAY_TOTALS = b"meter_point_id,date,kwh\nMP-1,2026-07-01,10.5\nMP-1,2026-07-02,11\n"
CONTRACTS = (
    b"meter_point_id,zone,customer_class,tariff_id,service_from,large,household_quota_kwh,"
    b"contracted_kva\nMP-1,north,residential,flat,2020-01,no,50,0\nMP-2,,shop,,,yes,,315.5\n"
)
BOOKS = b"meter_point_id,zone,tariff_id,valid_from\nMP-1,north,flat,2026-01-01\nMP-2,,,2026-02-01\n"
BOOK_LINES = b'{"meter_point_id": "MP-1", "tariff_id": "flat", "valid_from": "2026-01-01"}\n'
HOURS = (
    b"sharp=11:00-12:00 peak=10:00-11:00,14:00-19:00 flat=8:00-10:00,12:00-14:00,19:00-24:00"
    b" valley=00:00-08:00"
)
SUPPLY = (
    b"zone,energy_kwh,start,end\nnorth,12.5,2026-07-01T00:00+08:00,2026-07-02T00:00+08:00\n"
    b"south,3,,\n"
)


def _supply(data: bytes) -> object:
    start, end = datetime(2026, 6, 30, 16, tzinfo=UTC), datetime(2026, 7, 31, 16, tzinfo=UTC)
    return read_supply(
        decode_supply(data), start=start, end=end, names={"north": "N", "south": "S"}
    )


PARSERS = (
    Parser("readings.file", _read_file, lambda: [*_texts(), *_packed()]),
    Parser("readings.faces", _read_unsaid, lambda: [*_texts(), *_packed()]),
    Parser("readings.body", _read_body(STARTS), _bodies),
    Parser("readings.body-of-open-source", _read_body(OPEN), _bodies),
    Parser("readings.plain", lambda data: read_plain_lines(data, STARTS), lambda: [PLAIN]),
    Parser("readings.offsets", read_offsets, _texts),
    Parser(
        "readings.checks",
        _from_file(lambda path: read_checks(path, timezone=ZONE)),
        lambda: [CHECKS, DAY_TOTALS],
    ),
    Parser("contracts", _from_file(load_contracts), lambda: [CONTRACTS]),
    Parser("books", lambda data: list(read_lines(data)), lambda: [BOOKS, BOOK_LINES]),
    Parser(
        "books.dated",
        lambda data: list(read_lines(data, valid_from=date(2026, 7, 1))),
        lambda: [BOOKS, BOOK_LINES],
    ),
    Parser("register-hours", lambda data: parse_register_hours(text_of(data)), lambda: [HOURS]),
    Parser("losses", _supply, lambda: [SUPPLY]),
)
