"""Exports of State Grid and Southern Grid collection systems: 96 points, and what stands beside.

Columns are those that public tools for such exports read; the numbers are invented.
"""

from __future__ import annotations

import pandas as pd
import pytest

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.column_names import name_columns
from gridsecure.gateway.formats import read_readings

ENDS = [f"{minute // 60:02}:{minute % 60:02}" for minute in range(15, 1441, 15)]
POINTS = [f"P{number}" for number in range(1, 97)]
BESIDE = "序号,供电单位,户号,户名,计量点编号,计量点名称,表号,终端地址,日期,数据类型,综合倍率"


def export(kind: str, columns: list[str], value: str) -> str:
    own = f"1,某局,0310,某某,0000123,高压,0099,3301,2025-03-01,{kind},30"
    return f"{BESIDE},{','.join(columns)}\n{own},{','.join([value] * 96)}\n"


@pytest.mark.parametrize("columns", [ENDS, POINTS])
def test_a_day_of_96_points_is_read_with_what_stands_beside(columns):
    lines = export("正向有功电量", columns, "0.25")
    lines += export("反向有功电量", columns, "0.01").partition("\n")[2]
    file = read_readings(lines.encode("gb18030"))
    assert (file.layout, file.encoding) == ("wide", "gb18030")
    assert set(file.readings["meter_point_id"]) == {"0000123"}
    assert file.readings["start"].iloc[0] == pd.Timestamp("2025-03-01", tz="Asia/Shanghai")
    assert set(file.readings["energy_wh"]) == {7500}
    assert set(file.readings["export_wh"]) == {300}


def test_powers_are_no_energies():
    with pytest.raises(InvalidReadingsError) as refused:
        read_readings(export("有功功率", POINTS, "77.31").encode("gb18030"))
    assert refused.value.reason == "readings.power"
    assert "77.31" not in str(refused.value)


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("户号,日期,电量(kWh)", ("meter_point_id", "date", "kwh")),
        ("户号,计量点编号,日期", ("~1", "meter_point_id", "date")),
        ("表号,日期,示值", ("表号", "date", "register_kwh")),
        ("CONS_NO,DATA_DATE,PAP_R,PAP_R1,RAP_R", None),
        ("户号,抄表时间,正向无功总,正向有功费率1,CT", ("meter_point_id", "~2", "~3", "~4", "CT")),
        ("户号,quality,channel,unit", ("meter_point_id", "quality", "channel", "unit")),
    ],
)
def test_only_what_no_bill_is_computed_from_is_passed_over(header, names):
    if names is None:
        names = ("meter_point_id", "date", "register_kwh", "register_kwh_1", "register_export_kwh")
    assert name_columns(header.split(",")).names == names
