"""Large bodies of readings: read piece by piece as they would be whole, refused or taken in."""

from __future__ import annotations

import gzip
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.ingestion import batches, bodies, body_pieces
from gridsecure.gateway.ingestion.sources import Source
from gridsecure.gateway.ingestion.spooled_bodies import HELD_BYTES, SpooledBody
from gridsecure.gateway.ingestion.stored_readings import ReadingsWriter, count_rows, read_batches
from gridsecure.periods import billing_month
from gridsecure.whole_files import sweep_drafts

CASES = Path(__file__).parents[1] / "data" / "cases"
CODE = "0.0.7.4.1.1.12.0.0.0.0.0.0.0.0.3.72.0"
FACE = "0.0.0.1.1.1.12.0.0.0.0.0.0.0.0.3.72.0"
ZONE = "Asia/Shanghai"
FORMS = ("csv", "csv.gz", "crlf", "json", "list", "ndjson", "parquet")


def source(stamps="start"):
    return Source("headend", "t", ("",), stamps, ZONE, "")


@pytest.fixture
def small_pieces(monkeypatch):
    """Bodies that are large from the first kilobyte on."""
    monkeypatch.setattr(bodies, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(bodies, "_WHOLE_ROWS", 20)
    monkeypatch.setattr(bodies, "_ROWS", 60)
    monkeypatch.setattr(body_pieces, "PIECE_BYTES", 2000)


def table(meters=2, days=25) -> pd.DataFrame:
    """Hourly readings of meter points, over two months."""
    starts = pd.date_range("2026-06-10", periods=24 * days, freq="h", tz=ZONE)
    wh = np.random.default_rng(5).integers(0, 4000, meters * len(starts))
    return pd.DataFrame(
        {
            "meter_point_id": np.repeat([f"MP-{number}" for number in range(meters)], len(starts)),
            "start": np.tile(starts.strftime("%Y-%m-%dT%H:%M:%S+08:00"), meters),
            "kwh": [f"{one // 1000}.{one % 1000:03}" for one in wh],
        }
    )


def written(readings: pd.DataFrame, form: str) -> bytes:
    rows = readings.to_dict("records")
    text = readings.to_csv(index=False)
    objects = [json.dumps(row) for row in rows]
    if form == "parquet":
        out = io.BytesIO()
        start = pa.array(pd.to_datetime(readings["start"], utc=True))
        columns = pa.table(
            {"meter_point_id": readings["meter_point_id"], "start": start, "kwh": readings["kwh"]}
        )
        pq.write_table(columns, out, row_group_size=50)
        return out.getvalue()
    return {
        "csv": text.encode(),
        "csv.gz": gzip.compress(text.encode()),
        "crlf": ("\ufeff" + text.replace("\n", "\r\n")).encode(),
        "json": json.dumps({"readings": rows}, indent=1).encode(),
        "list": f" [{','.join(objects)}]\n".encode(),
        "ndjson": "\n".join(objects).encode(),
    }[form]


def spooled(folder, data: bytes) -> SpooledBody:
    body = SpooledBody(folder)
    if body.add(data):
        body.spill()
    body.finish()
    return body


def read(folder, data: bytes, *, stamps="start") -> list[pd.DataFrame]:
    with spooled(folder, data) as body:
        return list(bodies.read_body(body, source=source(stamps), timezone=ZONE))


@pytest.mark.parametrize("form", FORMS)
def test_pieces_hold_the_readings_of_the_whole(tmp_path, small_pieces, form):
    readings = table()
    parts = read(tmp_path, written(readings, form))
    assert len(parts) > 10
    found = pd.concat(parts, ignore_index=True)
    assert found["meter_point_id"].tolist() == readings["meter_point_id"].tolist()
    assert (found["start"] == pd.to_datetime(readings["start"])).all()
    assert found["energy_wh"].tolist() == [int(one.replace(".", "")) for one in readings["kwh"]]


def test_a_wide_body_is_read_in_pieces_whatever_its_source_declared(tmp_path, small_pieces):
    header = "meter_point_id,date," + ",".join(f"p{n + 1}" for n in range(24)) + "\n"
    days = [f"MP-1,2026-07-{day:02}" + ",0.412" * 24 + "\n" for day in range(1, 31)]
    parts = read(tmp_path, (header + "".join(days)).encode(), stamps="")
    assert len(parts) > 1
    assert sum(len(part) for part in parts) == 720


@pytest.mark.parametrize("packed", [False, True])
def test_a_document_is_a_body_by_what_it_holds_and_by_its_sources_stamps(tmp_path, packed):
    data = (CASES / "cim-meter-readings" / "readings.xml").read_bytes()
    sent = gzip.compress(data) if packed else data
    for stamps, first in (("", "2025-03-01 00:00"), ("start", "2025-03-01 00:30")):
        (found,) = read(tmp_path, sent, stamps=stamps)
        assert (len(found), found["start"].min()) == (192, pd.Timestamp(first, tz=ZONE))


def test_a_document_of_json_is_no_list_of_readings(tmp_path):
    reading = {"timeStamp": "2026-06-10T01:00:00Z", "value": 1.25}
    block = {"IntervalReadings": [reading], "ReadingType": {"ref": CODE}}
    held = {"MeterReading": {"Meter": {"mRID": "M1"}, "IntervalBlocks": block}}
    (found,) = read(tmp_path, json.dumps({"MeterReadings": held}).encode(), stamps="end")
    assert found["energy_wh"].tolist() == [1250]
    assert found["start"].tolist() == [pd.Timestamp("2026-06-10 08:00", tz=ZONE)]


def test_faces_of_a_document_are_kept_as_they_stand(tmp_path):
    own = {"timeStamp": "2026-06-10T01:00:00Z", "value": "6519.5"}
    kinds = {"import": FACE, "export": FACE.replace(".1.1.12", ".19.1.12")}
    held = [{**own, "ReadingType": {"@ref": kind}} for kind in kinds.values()]
    meter = {"UsagePoint": {"mRID": "M1"}, "Readings": held}
    (found,) = read(tmp_path, json.dumps({"MeterReadings": {"MeterReading": [meter]}}).encode())
    assert found["register"].tolist() == list(kinds)
    assert found["energy_wh"].tolist() == [6_519_500] * 2
    assert found["start"].tolist() == [pd.Timestamp("2026-06-10 09:00", tz=ZONE)] * 2


@pytest.mark.parametrize(("form", "word"), [("csv", "line 802"), ("ndjson", "reading 801")])
def test_a_fault_far_inside_is_named_by_its_place_in_the_body(tmp_path, small_pieces, form, word):
    readings = table()
    readings.loc[800, "kwh"] = "much"
    with pytest.raises(InvalidReadingsError) as refused:
        read(tmp_path, written(readings, form))
    assert refused.value.reason == "readings.energy"
    assert any(word in problem.detail for problem in refused.value.problems), refused.value.problems


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (lambda t: written(t, "list").rstrip()[:-1], "readings.body"),
        (lambda t: written(t, "json").rstrip()[:-1], "readings.body"),
        (lambda t: written(t, "ndjson")[:-9], "readings.body"),
        (lambda t: written(t, "csv")[:-9], "readings.malformed"),
        (lambda t: written(t, "csv.gz")[:-9], "readings.malformed"),
        (lambda t: written(t, "csv") + b"\xff\xff,2026-07-01,1\n", "readings.encoding"),
        (lambda t: b"[" + b'{"a":1}' * 20_000, "readings.malformed"),
        (lambda t: written(t.assign(quality="actual"), "ndjson").replace(
            b'"actual"', b'"actual","kvarh":1', 0) + b'\n{"meter_point_id":"M","start":'
            b'"2026-07-01 00:00","kwh":1,"kvarh":1}', "readings.body"),
    ],
)  # fmt: skip
def test_what_is_no_whole_table_is_refused(tmp_path, small_pieces, data, reason):
    with pytest.raises(InvalidReadingsError) as refused:
        read(tmp_path, data(table()))
    assert refused.value.reason == reason


@pytest.mark.parametrize("form", ["csv", "list", "parquet"])
def test_a_large_body_whose_stamps_nobody_declared_is_refused(tmp_path, small_pieces, form):
    with pytest.raises(InvalidReadingsError, match="cannot be") as refused:
        read(tmp_path, written(table(), form), stamps="")
    assert refused.value.reason == "readings.too-large"


def test_a_packed_body_that_unfolds_too_far_is_never_cut_off(tmp_path, monkeypatch):
    text = written(table(), "csv")
    monkeypatch.setattr(bodies, "WHOLE_BYTES", len(gzip.compress(text)))
    monkeypatch.setattr(bodies, "_MOST_WHOLE_TEXT", len(text))
    (whole,) = read(tmp_path, gzip.compress(text), stamps="")
    assert len(whole) == len(table())
    monkeypatch.setattr(bodies, "_MOST_WHOLE_TEXT", len(text) - len(text.splitlines()[-1]) - 1)
    with pytest.raises(InvalidReadingsError) as refused:
        read(tmp_path, gzip.compress(text), stamps="")
    assert refused.value.reason == "readings.too-large"


def test_values_that_rise_through_all_pieces_are_faces_of_a_register(tmp_path, small_pieces):
    readings = table(meters=2)
    readings["kwh"] = [f"{number}.000" for number in range(len(readings))]
    by_time = readings.sort_values("start", kind="stable")
    with pytest.raises(InvalidReadingsError) as refused:
        read(tmp_path, written(by_time, "csv"))
    assert refused.value.reason == "readings.cumulative"
    assert read(tmp_path, written(by_time.assign(values="interval"), "csv"))


def zone_in(folder):
    return SimpleNamespace(folder=folder, timezone=ZONE, cycle_day=1)


def write(zone, body):
    """Write a body's readings as `take_in` does; what was counted, and the file's digest."""
    name = batches.BatchName("b", 1)
    arrival = batches.Arrival(source(), name, datetime(2026, 8, 1, tzinfo=UTC))
    with ReadingsWriter(batches.batch_folder(zone)) as writer:
        counts = batches._write(
            zone, body, writer=writer, arrival=arrival, note=lambda _readings: None
        )
        return counts, writer.keep()


def store(tmp_path, data: bytes, name: str):
    zone = zone_in(tmp_path / name)
    with spooled(tmp_path, data) as body:
        _, digest = write(zone, body)
    return batches.batch_folder(zone) / f"{digest}.parquet"


def test_daily_values_stay_days_beside_batches_of_intervals(tmp_path):
    days = pd.date_range("2026-07-01", periods=31).strftime("%Y/%m/%d").tolist()
    matrix = f"CONS_NO,FLAG,{','.join(days)}\nDAILY,0{',2.5' * 31}\n".encode()
    hours = table(meters=1).assign(start=pd.date_range("2026-07-01", periods=600, freq="h"))
    paths = [
        store(tmp_path, matrix, "days"),
        store(tmp_path, hours.to_csv(index=False).encode(), "hours"),
    ]
    july = billing_month(2026, 7, timezone=ZONE)
    for order in (paths, paths[::-1]):
        found = read_batches(order, period=july).set_index("meter_point_id")
        assert set(found.loc["DAILY", "minutes"]) == {1440}
        assert set(found.loc["MP-0", "minutes"]) == {60}
        assert found.loc["DAILY", "energy_wh"].sum() == 77_500


def test_a_large_matrix_of_days_is_read_whole(tmp_path, small_pieces):
    days = pd.date_range("2026-07-01", periods=31).strftime("%Y/%m/%d").tolist()
    lines = "".join(f"M{number},0{',2.5' * 31}\n" for number in range(3))
    (found,) = read(tmp_path, gzip.compress(f"CONS_NO,FLAG,{','.join(days)}\n{lines}".encode()))
    assert len(found) == 93


def test_a_month_is_read_from_the_groups_that_have_some_of_it(tmp_path, small_pieces):
    readings = table().sort_values("start", kind="stable")
    zone = zone_in(tmp_path)
    with spooled(tmp_path, written(readings, "csv")) as body:
        counts, digest = write(zone, body)
    assert (counts.readings, counts.months) == (len(readings), {"2026-06": 1008, "2026-07": 192})
    path = batches.batch_folder(zone) / f"{digest}.parquet"
    july = billing_month(2026, 7, timezone=ZONE)
    found = read_batches([path], period=july)
    assert len(found) == (readings["start"] >= "2026-07").sum()
    assert len(found) <= count_rows([path], period=july) < len(readings) * 0.6


def test_a_refused_or_killed_body_leaves_nothing(tmp_path, small_pieces):
    readings = table()
    readings.loc[1100, "kwh"] = "much"
    zone = zone_in(tmp_path)
    data = written(readings, "csv") + b"\n" * HELD_BYTES
    body = spooled(batches.batch_folder(zone), data)
    with pytest.raises(InvalidReadingsError):
        write(zone, body)
    (kept,) = batches.batch_folder(zone).iterdir()
    assert (kept.read_bytes(), kept.stat().st_mode & 0o777) == (data, 0o600)
    assert sweep_drafts(tmp_path) == 1  # as the start after a kill does
    body.close()
    assert not list(batches.batch_folder(zone).iterdir())
