"""Whole days of times that are not what their source declared are refused, however written."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.ingestion import bodies
from gridsecure.gateway.ingestion.bodies import read_body
from gridsecure.gateway.ingestion.plain_lines import read_plain_lines
from gridsecure.gateway.ingestion.sources import Source
from gridsecure.gateway.ingestion.spooled_bodies import SpooledBody

ZONE = "Asia/Shanghai"
STARTS, ENDS = "2026-07-01 00:00", "2026-07-01 00:30"


def declared(stamps: str) -> Source:
    return Source("headend", "t", ("",), stamps, ZONE, "")


def written(first: str, *, count: int = 96, step: str = "30min") -> list[str]:
    times = pd.date_range(first, periods=count, freq=step, tz=ZONE)
    return [moment.isoformat() for moment in times]


def as_csv(times: list[str], **more: str) -> bytes:
    head = ",".join(["meter_point_id", "start", "kwh", *more])
    lines = [",".join(["MP-1", time, f"0.{n % 7}", *more.values()]) for n, time in enumerate(times)]
    return "\n".join([head, *lines, ""]).encode()


def as_json(times: list[str], **more: str) -> bytes:
    rows = [
        {"meter_point_id": "MP-1", "start": time, "kwh": f"0.{n % 7}", **more}
        for n, time in enumerate(times)
    ]
    return json.dumps(rows).encode()


def as_parquet(times: list[str], **more: str) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(json.loads(as_json(times, **more))), sink)
    return sink.getvalue().to_pybytes()


def read(data: bytes, stamps: str, folder: Path) -> list[pd.Timestamp]:
    with SpooledBody(folder) as spooled:
        if spooled.add(data):
            spooled.spill()
        spooled.finish()
        frames = list(read_body(spooled, source=declared(stamps), timezone=ZONE))
    starts = pd.concat(frames)["start"]
    return [starts.min(), starts.max()]


FORMS = pytest.mark.parametrize("write", [as_csv, as_json, as_parquet])


@FORMS
@pytest.mark.parametrize(("stamps", "first"), [("start", ENDS), ("end", STARTS)])
def test_whole_days_of_the_other_kind_are_refused(write, stamps, first, tmp_path):
    with pytest.raises(InvalidReadingsError, match=f"the source declared {stamps}s") as refused:
        read(write(written(first)), stamps, tmp_path)
    assert refused.value.reason == "readings.stamps"
    assert f"column stamps that holds {stamps}" in refused.value.remedy


@FORMS
@pytest.mark.parametrize(("stamps", "first"), [("start", STARTS), ("end", ENDS)])
def test_days_as_declared_are_taken_in(write, stamps, first, tmp_path):
    starts = pd.DatetimeIndex(written(STARTS)).tz_convert(ZONE)
    assert read(write(written(first)), stamps, tmp_path) == [starts[0], starts[-1]]


@FORMS
@pytest.mark.parametrize(("stamps", "first"), [("start", ENDS), ("end", STARTS)])
def test_a_batch_that_says_what_its_times_are_is_believed(write, stamps, first, tmp_path):
    assert read(write(written(first), stamps=stamps), stamps, tmp_path)


@pytest.mark.parametrize(
    ("stamps", "times"),
    [
        pytest.param("start", written(ENDS, count=20), id="half a day"),
        pytest.param("start", written(ENDS, count=95), id="to no midnight"),
        pytest.param("start", written("2026-07-01 08:30", count=96), id="from a morning"),
        pytest.param("start", written("2026-07-01", count=9, step="D"), id="days"),
        pytest.param("start", [written(ENDS)[0], written(ENDS)[47]], id="two of them"),
    ],
)
def test_anything_else_contradicts_nothing(stamps, times, tmp_path):
    assert read(as_csv(times), stamps, tmp_path)


def test_plain_lines_are_held_to_it_as_well():
    with pytest.raises(InvalidReadingsError, match="look like the ends"):
        read_plain_lines(as_csv(written(ENDS)), declared("start"))
    assert read_plain_lines(as_csv(written(STARTS)), declared("start")) is not None


def test_what_all_pieces_of_a_large_body_together_say_is_asked_at_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(bodies, "WHOLE_BYTES", 1 << 10)
    monkeypatch.setattr("gridsecure.gateway.ingestion.body_pieces.PIECE_BYTES", 512)
    with pytest.raises(InvalidReadingsError, match="look like the ends"):
        read(as_csv(written(ENDS)), "start", tmp_path)
    assert read(as_csv(written(STARTS)), "start", tmp_path)
