"""A refusal names every faulty row, by kind of fault, in every format that goes on after one."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway import row_faults
from gridsecure.gateway.formats import read_readings
from gridsecure.gateway.ingestion import bodies, body_pieces
from gridsecure.gateway.ingestion.bodies import read_body
from gridsecure.gateway.ingestion.sources import Source
from gridsecure.gateway.ingestion.spooled_bodies import SpooledBody
from tests.gateway import test_green_button as green
from tests.gateway import test_meter_readings as iec
from tests.gateway import test_nem12 as nem12
from tests.gateway import test_nem13 as nem13
from tests.gateway.test_workbooks import cell, workbook

SOURCE = Source("headend", "t", ("",), "start", "Asia/Shanghai", "")
STARTS = pd.date_range("2026-07-01", periods=48, freq="30min").strftime("%Y-%m-%d %H:%M").tolist()
WRONG = {
    "no-id": ("", None, None),
    "timestamp": (None, "01.07.2026", None),
    "timestamp-year": (None, "1850-01-01 00:00", None),
    "kwh-not-a-number": (None, None, "much"),
    "kwh-decimals": (None, None, "0.1234"),
    "kwh-scientific": (None, None, "1.2e5"),
    "kwh-unit": (None, None, "0.4 kWh"),
}
"""Rule -> what stands in place of id, time and energy."""

damages = st.dictionaries(st.integers(0, 47), st.sampled_from(sorted(WRONG)), min_size=1)


def rows(damage: dict[int, str]) -> list[list[str]]:
    """A day of half-hours, of which some are damaged; never the first of all, which shows names."""
    found = []
    for number, start in enumerate(STARTS):
        good = ("MP-1", start, f"0.{400 + number}")
        own = WRONG.get(damage.get(number, ""), (None, None, None))
        found.append([one if bad is None else bad for one, bad in zip(good, own, strict=True)])
    return found


def named(error: InvalidReadingsError) -> dict[int, str]:
    """Row -> the rule that it is named with, each row once."""
    found: dict[int, str] = {}
    for fault in error.faults:
        own = row_faults.rows_of([fault]).tolist()
        assert len(own) == fault.count
        assert not found.keys() & own
        found |= dict.fromkeys(own, fault.rule)
    return found


def refused(read, data) -> InvalidReadingsError:
    with pytest.raises(InvalidReadingsError) as refusal:
        read(data)
    assert refusal.value.faults
    assert refusal.value.reason == refusal.value.faults[0].reason
    return refusal.value


def batch(body: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, SpooledBody(Path(folder)) as spooled:
        if spooled.add(body):
            spooled.spill()
        spooled.finish()
        for _ in read_body(spooled, source=SOURCE, timezone=SOURCE.timezone):
            pass


NAMES = ("meter_point_id", "start", "kwh")


def as_csv(lines: list[list[str]]) -> bytes:
    return "\n".join(",".join(one) for one in [NAMES, *lines]).encode()


def as_json(lines: list[list[str]]) -> bytes:
    return json.dumps([dict(zip(NAMES, one, strict=True)) for one in lines]).encode()


def as_lines(lines: list[list[str]]) -> bytes:
    return "\n".join(json.dumps(dict(zip(NAMES, one, strict=True))) for one in lines).encode()


def as_parquet(lines: list[list[str]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(dict(zip(NAMES, zip(*lines, strict=True), strict=True))), out)
    return out.getvalue()


@given(damages)
@settings(max_examples=15, deadline=None)
def test_every_damaged_row_is_named_with_its_fault_and_no_other(damage):
    lines = rows(damage)
    for write, before in ((as_csv, 1), (as_json, 0), (as_lines, 0), (as_parquet, 0)):
        error = refused(batch, write(lines))
        assert named(error) == {row + 1 + before: rule for row, rule in damage.items()}
        assert {one.place for one in error.faults} == {"line" if before else "reading"}
    # A file that is handed in is refused as a batch is.
    assert named(refused(read_readings, as_csv(lines))) == named(refused(batch, as_csv(lines)))


def test_lines_without_their_fields_are_named_beside_what_is_wrong_in_others():
    lines = rows({4: "timestamp", 9: "kwh-decimals"})
    lines[2], lines[20] = lines[2][:2], [*lines[20], "9"]
    error = refused(batch, as_csv(lines))
    assert named(error) == {
        4: "malformed", 22: "malformed", 6: "timestamp", 11: "kwh-decimals",
    }  # fmt: skip
    assert error.reason == "readings.malformed"
    assert error.message == (
        "2 lines refused (malformed), first line 4: not as many fields as the header. Also refused:"
        " 1 line (timestamp) from line 6, 1 line (kwh-decimals) from line 11."
    )
    kinds = {one.rule: one for one in error.faults}
    assert kinds["timestamp"].reason == "readings.timestamp"
    assert "2026-07-01 00:30" in kinds["timestamp"].remedy


def test_objects_and_lines_that_are_none_are_named_too():
    lines = as_lines(rows({7: "kwh-unit"})).split(b"\n")
    lines[3], lines[12] = b'{"meter_point_id": ', b'{"meter_point_id": "MP-1"}'
    expected = {4: "json", 8: "kwh-unit", 13: "reading-shape"}
    assert named(refused(batch, b"\n".join(lines))) == expected
    lines[3] = b"7"
    expected[4] = "reading-shape"
    assert named(refused(batch, b"[" + b",".join(lines) + b"]")) == expected


def test_days_of_wide_tables_and_their_units_channels_and_ratios():
    head = "meter_point_id,date,channel,unit,ratio," + ",".join(f"p{n}" for n in range(1, 25))
    good = ["MP-1", "2026-07-01", "import", "kWh", "10"]
    wrong = {3: (1, "1.7."), 5: (2, "heat"), 6: (4, "0"), 9: (5, "much")}
    lines = [",".join([*good, *["1"] * 24]).split(",") for _ in range(12)]
    for row, (place, text) in wrong.items():
        lines[row - 2][place] = text
    data = "\n".join([head, *map(",".join, lines)]).encode()
    found = named(refused(read_readings, data))
    assert found == {3: "timestamp", 5: "channel", 6: "ratio", 9: "kwh-not-a-number"}
    lines[8][3] = lines[9][3] = "therm"
    found = named(refused(read_readings, "\n".join([head, *map(",".join, lines)]).encode()))
    assert found == {
        10: "unit-mismatch", 11: "unit-mismatch", 3: "timestamp", 5: "channel", 6: "ratio",
        9: "kwh-not-a-number",
    }  # fmt: skip


def test_rows_of_a_workbook_are_named_by_their_numbers():
    lines = rows({2: "kwh-unit", 5: "timestamp"})
    book = workbook([[cell(text) for text in one] for one in [NAMES, *lines]])
    assert named(refused(read_readings, book)) == {4: "kwh-unit", 7: "timestamp"}


def test_thousands_are_a_count_with_the_runs_that_they_form():
    lines = [
        line for _ in range(100) for line in rows(dict.fromkeys(range(24, 48), "kwh-decimals"))
    ]
    error = refused(batch, as_csv(lines))
    (fault,) = error.faults
    assert (fault.count, len(fault.firsts), len(error.problems)) == (2400, 100, 20)
    assert (fault.firsts[0], fault.lasts[0]) == (26, 49)


def test_pieces_of_a_large_body_are_looked_at_behind_the_first_fault(monkeypatch):
    monkeypatch.setattr(bodies, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(body_pieces, "PIECE_BYTES", 500)
    damage = {3: "timestamp", 30: "kwh-decimals", 31: "kwh-decimals", 45: "timestamp"}
    for write, before in ((as_csv, 1), (as_lines, 0), (as_json, 0)):
        error = refused(batch, write(rows(damage)))
        assert named(error) == {row + 1 + before: rule for row, rule in damage.items()}
        assert "far behind" not in error.message
    monkeypatch.setattr(bodies, "_MOST_LATER", 0)
    error = refused(batch, as_csv(rows(damage)))
    assert named(error) == {5: "timestamp"}
    assert error.message.endswith("Readings far behind the first of these were not looked at.")


def test_a_quoted_cell_over_two_lines_is_no_reason_to_name_good_lines():
    data = as_csv(rows({5: "timestamp", 9: "kwh-decimals"})).replace(b"MP-1", b'"MP\n1"', 1)
    error = refused(read_readings, data)
    assert [one.rule for one in error.faults] == ["timestamp"]


def test_nem12_goes_on_after_a_record_and_says_nothing_of_those_beneath_it():
    records = [
        nem12.channel(),
        nem12.day(),
        nem12.day("20250230"),
        "400,1,60,A,,",
        nem12.day("20250303", quality="V"),
        "400,1,60,A,,",
        nem12.day("20250304", value="0.12345"),
        "310,what",
        nem12.channel("N1", nmi="NMI0000002"),
        nem12.day(),
        nem12.channel(unit="GWh", nmi="NMI0000003"),
        nem12.channel(minutes=15, nmi="NMI0000004"),
        nem12.day(count=96, value="1"),
        nem12.day(count=96, value="2"),
        nem12.day("20250302", count=96, value="0.0001"),
    ]
    with pytest.raises(InvalidReadingsError) as refusal:
        nem12.read(*records)
    assert named(refusal.value) == {
        4: "record", 7: "record", 8: "energy", 9: "record", 10: "channel", 12: "unit-mismatch",
        14: "conflict", 15: "conflict", 16: "energy",
    }  # fmt: skip


def test_nem13_goes_on_after_a_record():
    with pytest.raises(InvalidReadingsError) as refusal:
        nem13.read(
            nem13.record("100.0", "200.0"),
            nem13.record("much", "200.0", nmi="2"),
            nem13.record("100.0", "200.0", nmi="3", unit="GWh"),
            nem13.record("100.0", "200.0", nmi="4", way="X"),
            nem13.record("100.0", "200.0", nmi="5", quantity="77"),
            nem13.record("100.0", "300.0"),
        )
    assert named(refusal.value) == {
        3: "record", 4: "unit-mismatch", 5: "direction", 6: "quantity", 2: "conflict",
        7: "conflict",
    }  # fmt: skip


def test_documents_name_the_readings_that_cannot_be_read():
    feed = green.feed(green.reading_type(), green.block("250", "x", "1", "2.5", "3"))
    error = refused(read_readings, feed)
    assert (named(error), error.faults[0].place) == (
        {2: "interval-reading", 4: "interval-reading"},
        "reading",
    )
    parts = iec.meter(iec.block("0.25", "x", "1")), iec.meter(iec.block("1", "much"), name="M2")
    for written in (iec.message(*parts), iec.as_json(*parts)):
        assert named(refused(read_readings, written)) == {2: "meter-reading", 5: "meter-reading"}


def test_an_export_without_a_line_is_refused_as_one():
    with pytest.raises(InvalidReadingsError) as refusal:
        read_readings(b"entity_id,state,last_changed\n,,\n")
    assert refusal.value.reason == "readings.empty"
