"""Two lines of one meter point and day, or of one register's face: taken, and fed in."""

from __future__ import annotations

import pandas as pd
import pytest

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.formats import read_readings

HOURS = ",".join(f"{hour}:00" for hour in range(1, 25))


def refusal(data: bytes, **how: bool) -> InvalidReadingsError:
    with pytest.raises(InvalidReadingsError) as refused:
        read_readings(data, **how)
    assert refused.value.remedy
    return refused.value


def wide(*lines: tuple[str, str, str, str]) -> bytes:
    rows = (f"{m},{day},{kind}{f',{kwh}' * 24}" for m, day, kind, kwh in lines)
    return "\n".join([f"户号,日期,数据类型,{HOURS}", *rows]).encode()


def test_two_lines_of_a_day_are_one_reading_with_feed_in():
    file = read_readings(
        wide(
            ("A", "2025-03-01", "正向有功", "0.5"),
            ("A", "2025-03-01", "反向有功", "0.1"),
            ("B", "2025-03-01", "正向有功", "0.7"),
        )
    )
    totals = file.readings.groupby("meter_point_id")[["energy_wh", "export_wh"]].sum()
    assert totals.to_numpy().tolist() == [[12_000, 2_400], [16_800, 0]]
    assert set(file.readings["quality"]) == {"actual"}
    assert file.lines.tolist() == [2] * 24 + [4] * 24


def test_a_day_without_its_other_half_is_missing_only_between_days_that_have_it():
    days = [f"2025-03-0{number}" for number in range(1, 6)]
    taken = [("A", day, "import", "0.5") for day in days]
    fed_in = [("A", day, "export", "0.1") for day in (days[1], days[3])]
    readings = read_readings(wide(*taken, *fed_in)).readings
    missing = readings[readings["quality"] == "missing"]
    assert set(missing["start"].dt.strftime("%Y-%m-%d")) == {days[2]}
    assert missing["energy_wh"].sum() == missing["export_wh"].sum() == 0
    assert readings["export_wh"].sum() == 4_800


def test_registers_of_both_directions_are_differenced_apart():
    hours = pd.date_range("2025-03-01", periods=30, freq="h").strftime("%Y-%m-%d %H:%M")
    rows = [
        f"A,{hour},{channel},{begin + number * step:.3f}"
        for number, hour in enumerate(hours)
        for channel, begin, step in (("1.8.0", 12345, 0.2), ("2.8.0", 77, 0.05))
    ]
    data = "\n".join(["meter_point_id,start,channel,register_kwh", *rows]).encode()
    readings = read_readings(data).readings
    assert readings[["energy_wh", "export_wh"]].drop_duplicates().to_numpy().tolist() == [[200, 50]]
    assert len(readings) == 29


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((("A", "2025-03-01", "无功", "1"),), "channel"),
        ((("A", "2025-03-01", "export", "1"),), "channel"),
    ],
)
def test_lines_that_are_neither_are_refused(lines, reason):
    assert refusal(wide(*lines)).reason == f"readings.{reason}"


def test_lines_that_disagree_of_feed_in_are_told_apart_in_a_file_and_refused_in_a_batch():
    lines = (("import", "1"), ("export", "1"), ("export", "2"))
    data = wide(*(("A", "2025-03-01", *rest) for rest in lines), ("B", "2025-03-01", "import", "3"))
    file = read_readings(data)
    assert len(file.readings) == len(file.lines) == 3 * 24
    own = file.readings[file.readings["meter_point_id"] == "A"]
    told = own[["energy_wh", "export_wh"]].drop_duplicates().to_numpy().tolist()
    assert told == [[1_000, 1_000], [1_000, 2_000]]
    assert set(file.lines[own.index]) == {2}
    assert refusal(data, differences=False).reason == "readings.conflict"


def test_a_column_of_feed_in_beside_channels_is_refused():
    data = b"meter_point_id,start,kwh,export_kwh,channel\nA,2025-03-01 00:00,1,1,import\n"
    assert refusal(data).reason == "readings.columns"


@pytest.mark.parametrize("column", ["kwh", "export_kwh", "kvarh"])
def test_energies_beside_faces_are_refused_by_their_name(column):
    data = f"meter_point_id,start,register_kwh,{column}\nM,2025-03-01 00:00,1,0\n".encode()
    error = refusal(data)
    assert error.reason == "readings.columns"
    assert error.message.endswith(f"energies of intervals: {column}.")
    assert "register_export_kwh" in error.remedy
