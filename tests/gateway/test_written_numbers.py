"""Energies, times and tables as people and spreadsheets write them, and what stays open."""

from __future__ import annotations

import pandas as pd
import pytest

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.formats import read_readings

HEADER = "meter_point_id;start;kwh\n"


def read(*texts: str) -> list[int]:
    rows = (f"A;2026-07-01 {hour:02d}:00;{text}\n" for hour, text in enumerate((*texts, "1")))
    return read_readings((HEADER + "".join(rows)).encode()).readings["energy_wh"].tolist()[:-1]


def refusal(data: bytes) -> InvalidReadingsError:
    with pytest.raises(InvalidReadingsError) as refused:
        read_readings(data)
    assert refused.value.remedy
    return refused.value


@pytest.mark.parametrize(
    ("texts", "energies_wh"),
    [
        (("0,25", "1,234", "-0,5"), [250, 1_234, -500]),
        (("1.234,5", "1,234"), [1_234_500, 1_234]),
        (("1.234.567", "0,1"), [1_234_567_000, 100]),
        (("1,234.5", "1,234,567"), [1_234_500, 1_234_567_000]),
        (("1 234,5", "1'234.5", "12 345"), [1_234_500, 1_234_500, 12_345_000]),
        (("1.25E-01", "1.25000e+2", "0E+00"), [125, 125_000, 0]),
        (("０．２５", "１２", "\u22120.5"), [250, 12_000, -500]),
        (("0,2500", "0,1"), [250, 100]),
    ],
)
def test_a_number_is_read_however_it_is_written(texts, energies_wh):
    assert read(*texts) == energies_wh


@pytest.mark.parametrize(
    ("texts", "rule"),
    [
        (("1,234",), "kwh-decimal-comma"),
        (("0.37", "0,37"), "kwh-decimal-comma"),
        (("0.37", "1,234"), "kwh-decimal-comma"),
        (("0,25", "12.345"), "kwh-thousands"),
        (("1.2E+05",), "kwh-scientific"),
        (("1,25E-01",), "kwh-not-a-number"),
        (("1,2345",), "kwh-decimals"),
        (("1.5 kWh",), "kwh-unit"),
    ],
)
def test_what_could_be_two_numbers_is_refused(texts, rule):
    with pytest.raises(InvalidReadingsError) as refused:
        read(*texts)
    assert {problem.rule for problem in refused.value.problems} == {rule}
    assert not any(text in str(refused.value) for text in texts)


@pytest.mark.parametrize(
    "written",
    [
        "2026/7/1 0:30",
        "20260701 0030",
        "202607010030",
        "20260701T003000Z",
        "2026-07-01T00:30:00.000+0000",
        "2026-07-01 08:30 +08",
        "1782865800",
        "1782865800000",
        "2026年7月1日 0:30",
        "2026.7.1 00：30",
    ],
)
def test_a_time_is_read_however_it_is_written(written):
    data = f"meter_point_id,start,kwh\nA,{written},1\nA,2026-07-01T01:30Z,2\n".encode()
    first = read_readings(data, timezone="Etc/UTC").readings["start"].iloc[0]
    assert first == pd.Timestamp("2026-07-01 00:30", tz="UTC")


@pytest.mark.parametrize("written", ["2026070100", "01/07/2026 00:30", "26-07-01 00:30", "46204.5"])
def test_a_time_that_could_be_another_is_refused(written):
    data = f"meter_point_id,start,kwh\nA,{written},1\nA,2026-07-01 01:30,2\n".encode()
    assert refusal(data).reason == "readings.timestamp"


@pytest.mark.parametrize("day", ["20260701", "2026/7/1", "2026-07-01 00:00:00", "2026年7月1日"])
@pytest.mark.parametrize("first", [0, 1])
def test_columns_named_by_the_clock_are_the_points_of_a_day(day, first):
    clock = [f"{(n + first) // 4:02d}:{(n + first) % 4 * 15:02d}" for n in range(96)]
    header = ",".join(["户号", "数据日期", *clock, "综合倍率"])
    data = f"{header}\n031,{day}{',0.1' * 96},30\n合计,{',0.1' * 96},\n".encode("gb18030")
    readings = read_readings(data).readings
    assert readings["energy_wh"].tolist() == [3_000] * 96
    assert set(readings["meter_point_id"]) == {"031"}
    assert readings["start"].iloc[0] == pd.Timestamp("2026-07-01", tz="Asia/Shanghai")


def test_faces_stand_at_the_times_that_name_their_columns():
    hours = [f"{hour}:00" for hour in range(1, 25)]
    faces = [f"{100 + hour}.5" for hour in range(1, 25)]
    data = f"户号,日期,{','.join(hours)},values\nA,2026-07-01,{','.join(faces)},register\n".encode()
    readings = read_readings(data).readings
    assert readings["start"].iloc[0] == pd.Timestamp("2026-07-01 01:00", tz="Asia/Shanghai")
    assert readings["energy_wh"].tolist() == [1_000] * 23


@pytest.mark.parametrize("hours", [["00:10", "00:25"], ["01:00", "03:00"], ["00:15"]])
def test_other_columns_named_by_the_clock_are_refused(hours):
    assert refusal(f"户号,日期,{','.join(hours)}\nA,2026-07-01{',1' * len(hours)}\n".encode())


def test_lines_keep_their_numbers_beside_blank_ones_and_before_the_header():
    lines = ["Site: north", ",,", "户号,开始时间,kwh", "A,2026-07-01 00:00,1", "", ",,", "A,now,2"]
    assert "line 7" in str(refusal("\n".join(lines).encode()))
    lines[-1] = "A,2026-07-01 01:00,2"
    file = read_readings("\n".join(lines).encode())
    assert file.lines.tolist() == [4, 7]
    lines[0] = "Unit: MWh"
    assert refusal("\n".join(lines).encode()).reason == "readings.preamble"


CLOCK = ("01:30", "02:00", "02:30", "02:00", "02:30", "03:00")
DOUBLED = [f"2026-10-25 {time}" for time in CLOCK]


def test_the_order_of_lines_tells_the_hour_that_the_clock_shows_twice():
    rows = [f"{meter},{start},1" for start in DOUBLED for meter in "AB"]
    data = "\n".join(["meter_point_id,start,kwh", *rows]).encode()
    readings = read_readings(data, timezone="Europe/Berlin").readings
    for _, own in readings.groupby("meter_point_id"):
        assert set(own["start"].diff().dropna()) == {pd.Timedelta(minutes=30)}


@pytest.mark.parametrize("order", [[0, 1, 2, 5], [0, 1, 3, 2, 4, 5], [0, 2, 1, 4, 3, 5]])
def test_another_order_of_that_hour_is_refused(order):
    rows = [f"A,{DOUBLED[number]},1" for number in order]
    data = "\n".join(["meter_point_id,start,kwh", *rows]).encode()
    with pytest.raises(InvalidReadingsError, match="timestamp-ambiguous"):
        read_readings(data, timezone="Europe/Berlin")
