"""The unit of JSON and Parquet bodies: said once, by names, by readings or by the source."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.ingestion import bodies, body_pieces
from gridsecure.gateway.ingestion.sources import Source
from gridsecure.gateway.ingestion.spooled_bodies import SpooledBody

ZONE = "Asia/Shanghai"
WH = (412, 398)
STARTS = ("2026-07-01T00:00+08:00", "2026-07-01T00:30+08:00")


def readings(values, name="energy", **also):
    return [
        {"meter_point_id": "A", "start": start, name: value, **also}
        for start, value in zip(STARTS, values, strict=True)
    ]


def parquet(values, name="energy", *, kind=None, field=None, file=None, **also) -> bytes:
    metadata = None if field is None else {"unit": field}
    fields = [pa.field("meter_point_id", pa.string()), pa.field("start", pa.string())]
    fields += [pa.field(name, kind or pa.array(values).type, metadata=metadata)]
    fields += [pa.field(one, pa.array(cells).type) for one, cells in also.items()]
    schema = pa.schema(fields, metadata=None if file is None else {"unit": file})
    columns = [["A", "A"], list(STARTS), pa.array(values).cast(fields[2].type), *also.values()]
    out = io.BytesIO()
    pq.write_table(pa.table(columns, schema=schema), out)
    return out.getvalue()


def said(unit, held) -> bytes:
    return json.dumps({"unit": unit, "readings": held}).encode()


def taken_in(folder, body: bytes, *, unit="", column="energy_wh") -> list[int]:
    source = Source("headend", "t", ("",), "start", ZONE, "", unit=unit)
    with SpooledBody(folder) as spooled:
        if spooled.add(body):
            spooled.spill()
        spooled.finish()
        parts = list(bodies.read_body(spooled, source=source, timezone=ZONE))
    return [one for part in parts for one in part[column].tolist()]


def refusal(folder, body: bytes, *, unit="") -> InvalidReadingsError:
    with pytest.raises(InvalidReadingsError) as refused:
        taken_in(folder, body, unit=unit)
    return refused.value


@pytest.mark.parametrize(
    ("body", "unit"),
    [
        (said("Wh", readings(WH)), ""),
        (said(" mwh ", readings(("0.000412", 0.000398))), ""),
        (said("Wh", readings(WH, "usage")), "Wh"),
        (said("Wh", readings(WH, "wh")), ""),
        (said("Wh", readings(WH, unit="Wh")), ""),
        (json.dumps(readings(WH, "wh")).encode(), ""),
        (json.dumps(readings(WH)).encode(), "Wh"),
        (json.dumps(readings(WH, unit="Wh")).encode(), ""),
        (b"\n".join(json.dumps(one).encode() for one in readings(WH, "WH")), ""),
        (parquet(WH, field="Wh"), ""),
        (parquet(WH, file="Wh"), ""),
        (parquet(WH, "wh"), ""),
        (parquet(WH), "Wh"),
        (parquet(WH, unit=["Wh", "Wh"]), ""),
        (parquet([0.412, 0.398], "kwh", field="kWh", file="kWh"), ""),
        (parquet(["0.000412", "0.000398"], kind=pa.decimal128(9, 6), field="MWh"), ""),
        (parquet([0.000412, 0.000398], file="MWh"), ""),
    ],
)
def test_energies_are_exact_in_the_unit_that_is_said(tmp_path, body, unit):
    assert taken_in(tmp_path, body, unit=unit) == list(WH)


def test_each_column_has_the_unit_that_its_own_name_says(tmp_path):
    body = json.dumps(readings(WH, "wh", export_kwh=0.007, kvarh=0.1)).encode()
    assert taken_in(tmp_path, body, column="export_wh") == [7, 7]
    assert taken_in(tmp_path, body, column="reactive_varh") == [100, 100]
    faces = readings((1000412, 1000810), "register_wh", register_wh_peak=500)
    assert taken_in(tmp_path, said("Wh", faces)) == [1000412, 1000810, 500, 500]


@pytest.mark.parametrize(
    ("body", "unit", "says"),
    [
        (said("Wh", readings(WH)), "kWh", "The body says Wh, and the source declared kWh"),
        (said("GJ", readings(WH)), "", "says a unit of its readings that is not read"),
        (said(1, readings(WH)), "", "says a unit of its readings that is not read"),
        (said("Wh", readings(WH, "kwh")), "", "kWh for kwh"),
        (said("Wh", readings(WH, unit="kWh")), "", "eading 1 says kWh"),
        (json.dumps(readings(WH, "kwh", unit="Wh")).encode(), "", "kWh for kwh, and reading 1"),
        (parquet(WH, field="Wh"), "kWh", "Wh for kwh"),
        (parquet(WH, file="Wh"), "kWh", "The body says Wh, and the source declared kWh"),
        (parquet(WH, "kwh", field="Wh"), "", "column 'kwh'"),
        (parquet(WH, field="Wh", export=[1, 2]), "", "column 'export'"),
        (parquet(WH, field="J"), "", "column 'energy'"),
        (parquet(WH, file="x" * 10**6), "", "not read"),
    ],
)
def test_what_contradicts_itself_or_its_source_is_refused(tmp_path, body, unit, says):
    error = refusal(tmp_path, body, unit=unit)
    assert error.reason == "readings.unit"
    assert says in str(error)
    assert error.remedy
    assert "412" not in f"{error}{error.problems}"


def test_open_names_and_two_names_of_one_energy_are_refused(tmp_path):
    for body in (
        json.dumps(readings(WH)).encode(),
        parquet(WH),
        json.dumps([*readings(WH, "wh"), *readings(WH, "kwh")]).encode(),
        said("Wh", [1, 2]),
        json.dumps({"unit": "Wh", "lists": readings(WH)}).encode(),
    ):
        assert refusal(tmp_path, body).reason == "readings.body"


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(bodies, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(bodies, "_WHOLE_ROWS", 20)
    monkeypatch.setattr(bodies, "_ROWS", 30)
    monkeypatch.setattr(body_pieces, "PIECE_BYTES", 2000)


def many(name="energy"):
    return [
        {"meter_point_id": "A", "start": f"2026-07-{n // 24 + 1:02}T{n % 24:02}:00+08:00", name: wh}
        for n, wh in enumerate([412, 398] * 60)
    ]


def test_a_large_body_says_its_unit_before_its_readings(tmp_path, small_pieces):
    held = many()
    assert taken_in(tmp_path, said("Wh", held)) == [412, 398] * 60
    assert taken_in(tmp_path, json.dumps(held).encode(), unit="Wh") == [412, 398] * 60
    lines = "\n".join(map(json.dumps, many("wh"))).encode()
    assert taken_in(tmp_path, lines) == [412, 398] * 60
    assert refusal(tmp_path, said("Wh", held), unit="MWh").reason == "readings.unit"
    behind = json.dumps({"readings": held, "unit": "Wh"}).encode()
    assert refusal(tmp_path, behind, unit="Wh").reason == "readings.body"


def test_a_large_table_is_in_the_unit_that_its_source_declared(tmp_path, small_pieces):
    header = "meter_point_id,date," + ",".join(f"p{n + 1}" for n in range(24)) + "\n"
    days = "".join(f"A,2026-07-{day:02}" + ",412,398" * 12 + "\n" for day in range(1, 31))
    assert taken_in(tmp_path, (header + days).encode(), unit="Wh") == [412, 398] * 360
