"""One table of readings, whatever it is written as: the same readings, refusals and places."""

from __future__ import annotations

import io
import json
import re
import tempfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.ingestion import batches
from gridsecure.gateway.ingestion.sources import Source
from gridsecure.gateway.ingestion.spooled_bodies import SpooledBody
from gridsecure.gateway.ingestion.stored_readings import ReadingsWriter

ZONE = "Asia/Shanghai"
AT = datetime(2026, 8, 1, tzinfo=UTC)
STARTS = pd.date_range("2026-07-01", periods=24, freq="30min", tz=ZONE)
METERS = ("MP-1", "0012", "12", " MP-1 ", "户号７", "other")
FAULTS = {
    "meter_point_id": ("", "  ", "Total", "x" * 257),
    "start": ("", "01.07.2026", "1850-01-01 00:00", "2026-07-01 24:00", "2026-02-30 00:00Z"),
    "kwh": ("", " 1.5", "1.5 ", "much", "0.1234", "0.1230", "1e2", "1.5e-4", "NaN", "１.５"),
    "quality": ("", "E", " estimated", "n", "bogus", "İ"),
}

rows = st.lists(
    st.tuples(st.sampled_from(METERS), st.integers(0, 23), st.integers(0, 10**10)),
    min_size=1,
    max_size=20,
)
faults = st.lists(
    st.sampled_from([(name, text) for name, texts in FAULTS.items() for text in texts]).flatmap(
        lambda fault: st.tuples(st.just(fault), st.integers(0, 39))
    ),
    max_size=3,
)


def taken_in(body: bytes, stamps: str = "start"):
    """What a receipt would say of a body, or its refusal with readings in place of lines."""
    source = Source("headend", "t", ("MP", "0", "1", "户"), stamps, ZONE, "")
    with tempfile.TemporaryDirectory() as folder:
        zone = SimpleNamespace(folder=Path(folder), timezone=ZONE, cycle_day=1)
        with SpooledBody(Path(folder)) as spooled:
            if spooled.add(body):
                spooled.spill()
            spooled.finish()
            arrival = batches.Arrival(source, batches.BatchName("b", 1), AT)
            try:
                with ReadingsWriter(zone.folder) as writer:
                    counts = batches._write(
                        zone, spooled, writer=writer, arrival=arrival, note=lambda _readings: None
                    )
                    file = writer.keep()
            except InvalidReadingsError as refused:
                said = [refused.message, *map(str, refused.problems)]
                shift = refused.faults and refused.faults[0].place == "line"
                rows = [
                    (f.rule, f.count, [n - bool(shift) for n in f.firsts]) for f in refused.faults
                ]
                return refused.reason, [as_readings(one) for one in said], refused.remedy, rows
    return file, counts.readings, counts.rejected, counts.starts, counts.accepted, counts.months


def as_readings(text: str) -> str:
    text = re.sub(r"\b([\d,]+) line(s?)\b", r"\1 reading\2", text)
    return re.sub(
        r"\b([Ll])ine (\d+)",
        lambda found: f"{'R' if found[1] == 'L' else 'r'}eading {int(found[2]) - 1}",
        text,
    )


def as_csv(columns: dict[str, list[str]]) -> bytes:
    return pd.DataFrame(columns).to_csv(index=False).encode()


def as_json(columns: dict[str, list[str]]) -> bytes:
    lines = zip(*columns.values(), strict=True)
    return json.dumps([dict(zip(columns, line, strict=True)) for line in lines]).encode()


def as_parquet(columns, **written) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, **written)
    return out.getvalue()


def table(rows) -> dict[str, list[str]]:
    """Texts of a long table."""
    meters, places, wh = zip(*rows, strict=True)
    return {
        "meter_point_id": list(meters),
        "start": [STARTS[place].isoformat() for place in places],
        "kwh": [f"{one // 1000}.{one % 1000:03}" for one in wh],
        "quality": ["actual"] * len(rows),
    }


@given(rows=rows, faults=faults, stamps=st.sampled_from(["start", "end", ""]))
@settings(max_examples=20, deadline=None)
def test_texts_are_the_same_in_every_form(rows, faults, stamps):
    columns = table(rows)
    for (name, text), row in faults:
        columns[name][row % len(rows)] = text
    expected = taken_in(as_csv(columns), stamps)
    assert taken_in(as_json(columns), stamps) == expected
    if "x" * 257 in columns["meter_point_id"]:
        assert taken_in(as_parquet(columns), stamps)[0] == "readings.body"
        return
    for written in ({}, {"use_dictionary": False}, {"row_group_size": 7}):
        assert taken_in(as_parquet(columns, **written), stamps) == expected


@given(
    rows=rows,
    unit=st.sampled_from(["s", "ms", "us", "ns"]),
    zone=st.sampled_from([None, "UTC", ZONE, "America/New_York"]),
    decimals=st.integers(2, 5),
    lost=st.sets(st.integers(0, 39), max_size=2),
)
@settings(max_examples=20, deadline=None)
def test_typed_columns_mean_what_their_texts_say(rows, unit, zone, decimals, lost):
    columns = table(rows)
    moments = STARTS[[place for _, place, _ in rows]].tz_convert(zone or ZONE).as_unit(unit)
    moments = moments if zone else moments.tz_localize(None)
    numbers = [Decimal(wh) / 10**decimals for _, _, wh in rows]
    for row in lost:
        numbers[row % len(rows)] = None
    floats = [None if one is None else float(one) for one in numbers]
    whole = [None if one is None else int(one) for one in numbers]
    starts = {"meter_point_id": columns["meter_point_id"], "start": pa.array(moments)}
    for kwh, written in (
        (pa.array(numbers, pa.decimal128(20, decimals)), numbers),
        (pa.array(floats, pa.float64()), floats),
        (pa.array(whole, pa.int64()), whole),
    ):
        texts = ["" if one is None else str(one) for one in written]
        expected = taken_in(as_csv({**columns, "kwh": texts}))
        body = as_parquet({**starts, "kwh": kwh, "quality": columns["quality"]})
        assert taken_in(body) == expected


def test_fractions_of_half_the_width_are_their_shortest_decimals():
    columns = table([("MP-1", place, 0) for place in range(4)])
    kwh = pa.array([0.1, 12.345, 8192.001, 16777.217], pa.float32())
    texts = ["0.1", "12.345", "8192.001", "16777.217"]
    assert taken_in(as_parquet({**columns, "kwh": kwh})) == taken_in(
        as_csv({**columns, "kwh": texts})
    )


def test_numbers_of_meters_keep_their_zeros():
    columns = table([("0012", place, 5) for place in range(4)])
    columns["start"] = [str(start.value // 10**9) for start in STARTS[:4]]
    assert taken_in(as_csv(columns))[1] == 4
    assert taken_in(as_csv(columns)) == taken_in(as_json(columns)) == taken_in(as_parquet(columns))


@pytest.mark.parametrize("write", [as_csv, as_json, as_parquet])
@pytest.mark.parametrize("stamps", ["start", ""])
def test_a_table_of_nothing_but_blanks_is_empty(write, stamps):
    columns = {name: ["", "  "] for name in ("meter_point_id", "start", "kwh")}
    assert taken_in(write(columns), stamps)[0] == "readings.empty"


def test_a_text_that_is_no_unicode_is_refused():
    body = b'[{"meter_point_id":"\\udc80","start":"2026-07-01 00:00","kwh":1}]'
    assert taken_in(body)[:2] == ("readings.body", ["A text of the body is not Unicode."])


def test_a_text_of_the_dictionary_that_no_reading_has_is_not_looked_at():
    columns = table([("MP-1", 0, 5), ("MP-1", 1, 6)])
    names = pa.DictionaryArray.from_arrays(pa.array([0, 0]), pa.array(["MP-1", 'a"b']))
    body = as_parquet({**columns, "meter_point_id": names})
    assert taken_in(body) == taken_in(as_csv(columns))


@pytest.mark.parametrize("text", ['a"b', "a;b", "a\nb", "a\tb"])
def test_a_text_that_no_table_holds_is_refused(text):
    columns = table([("MP-1", 0, 5), ("MP-1", 1, 6)])
    columns["quality"][1] = text
    assert taken_in(as_json(columns))[0] == taken_in(as_parquet(columns))[0] == "readings.body"


def test_a_text_with_a_null_is_in_no_encoding():
    columns = table([("MP-1", 0, 5), ("MP-1", 1, 6)])
    columns["quality"][1] = "a\0b"
    forms = [taken_in(write(columns)) for write in (as_csv, as_json, as_parquet)]
    assert forms[0][0] == "readings.encoding"
    assert forms[0] == forms[1] == forms[2]
