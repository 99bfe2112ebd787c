"""Daily values: matrices, lines of days and daily faces, and what is billed from them."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest

from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.rule_policies import ValidationPolicy
from gridsecure.billing.settlements import settle
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.admission import SeenMeters, admit
from gridsecure.gateway.collection import collect
from gridsecure.gateway.energies import lay_out_energies
from gridsecure.gateway.formats import read_readings
from gridsecure.gateway.meanings import Meaning, Stamps, Values
from gridsecure.gateway.packing import settle_energies
from gridsecure.periods import billing_month
from gridsecure.tariffs.tariff import parse_tariff

MONTH = billing_month(2025, 3, timezone="Asia/Shanghai")
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
HEAD = """
tariff_id = "t"
version = "1"
name_en = "T"
name_zh = "测"
city = "Test"
currency = "CNY"
timezone = "Asia/Shanghai"
valid_from = 2010-01-01
sources = [{ id = "s", title = "Invented", confidence = "unconfirmed" }]
"""
PRICE = 'charge = "energy", rate = "0.5", unit = "CNY/kWh", source = "s"'
ONE_PRICE = f"{HEAD}rates = [{{ {PRICE} }}]"
DEMAND = f"""{HEAD}rates = [{{ {PRICE} }},
    {{ charge = "demand", rate = "40", unit = "CNY/kW-month", source = "s" }}]"""
HOURS = f"""{HEAD}rates = [
    {{ {PRICE}, tou_period = "valley" }}, {{ {PRICE}, tou_period = "peak" }}]
windows = [{{ from = "00:00", to = "08:00", tou_period = "valley" }},
    {{ from = "08:00", to = "24:00", tou_period = "peak" }}]
"""
DAYS = [f"2025/3/{day}" for day in range(1, 32)]
SECRET = "77.31"


def refusal(text: str, **options: object) -> InvalidReadingsError:
    with pytest.raises(InvalidReadingsError) as refused:
        read_readings(text.encode(), **options)
    assert refused.value.remedy
    assert SECRET not in f"{refused.value!s}{refused.value.problems!r}"
    return refused.value


def matrix(**energies: list[str]) -> str:
    lines = [f"{name},0,{','.join(own)}" for name, own in energies.items()]
    return "\n".join([f"CONS_NO,FLAG,{','.join(DAYS)}", *lines])


def test_a_column_for_each_day_is_a_day_of_its_meter_point():
    text = "CONS_NO,FLAG,2014/1/1,2014/1/10,2014/1/2\nA1,1,1.1,2.2,3.3\nA2,0,1.0,,2.0\n"
    text += "合计,,2.1,2.2,5.3\n"
    file = read_readings(text.encode("gb18030"))
    readings = file.readings
    assert (file.layout, file.encoding, file.interval) == ("daily", "gb18030", pd.Timedelta(days=1))
    assert readings["meter_point_id"].tolist() == ["A1"] * 3 + ["A2"] * 3
    assert readings["energy_wh"].tolist() == [1100, 2200, 3300, 1000, 0, 2000]
    assert readings["quality"].tolist() == ["actual"] * 4 + ["missing", "actual"]
    assert readings["start"].dt.day.tolist() == [1, 10, 2, 1, 10, 2]
    assert (readings["minutes"] == 1440).all()
    assert file.lines.tolist() == [2, 2, 2, 3, 3, 3]


def test_lines_of_days_are_read_with_what_stands_beside():
    text = (
        "户号,用户名称,计量点编号,日期,电量(kWh),export_kwh,综合倍率,quality\n"
        "0310,某某,0000123,2025-03-01,1.5,0.25,30,E\n0310,某某,0000123,2025年3月2日,2,,30,\n"
    )
    readings = read_readings(text.encode()).readings
    assert readings["meter_point_id"].tolist() == ["0000123"] * 2
    assert readings[["energy_wh", "export_wh"]].to_numpy().tolist() == [[45_000, 7500], [60_000, 0]]
    assert readings["quality"].tolist() == ["estimated", "actual"]


def test_a_day_of_25_hours_is_divided_over_them_to_the_wh():
    text = "meter_point_id,date,kwh\nM,2025-10-26,10.007\nM,2025-10-27,1\nM,2025-03-30,2.3\n"
    file = read_readings(text.encode(), timezone="Europe/Berlin")
    long = file.readings[file.readings["start"].dt.strftime("%m-%d") == "10-26"]
    assert (len(long), long["energy_wh"].sum(), long["energy_wh"].max()) == (25, 10_007, 401)
    assert set(long["quality"]), set(long["minutes"]) == ({"estimated"}, {60})
    assert file.readings["energy_wh"].sum() == 13_307
    assert [one.rule for one in file.problems].count("clock-change") == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a,2014/1/1,2014/1/2\nA1,77.31,2\n", "columns"),
        ("CONS_NO,FLAG,AREA,2014/1/1,2014/1/2\nA1,0,5,77.31,2\n", "columns"),
        ("CONS_NO,2014/1/1,2014/1/1\nA1,77.31,2\n", "columns"),
        ("CONS_NO,1/2/2014,2/2/2014\nA1,77.31,2\n", "timestamp"),
        ("CONS_NO,2014/1/1,2014/1/32\nA1,77.31,2\n", "timestamp"),
        ("CONS_NO,2014/1/1,2014/1/2\nA1,77.31kWh,2\n", "energy"),
        ("CONS_NO,2014/1/1,2014/1/2,unit\nA1,77.31,2,GJ\n", "unit"),
        ("meter_point_id,date,kwh,register_kwh\nA1,2014-01-01,77.31,2\n", "columns"),
        ("meter_point_id,date,register_kwh\nA1,2014-01-01,77.31\n", "stamps"),
        (matrix(A=[str(100 + day) for day in range(31)]), "cumulative"),
    ],
)
def test_what_is_no_table_of_days_is_refused(text, reason):
    assert refusal(text).reason == f"readings.{reason}"


@pytest.mark.parametrize(("stamps", "first"), [("start", "2025-03-01"), ("end", "2025-03-02")])
def test_faces_of_days_are_differenced_where_they_stand(stamps, first):
    text = (
        "用户编号,表号,数据日期,正向有功总示值,正向有功尖示值,正向有功峰示值,反向有功总示值\n"
        "1,9,20250301,100.00,1,2,7\n1,9,20250302,101.25,1,2,7.5\n1,9,20250304,104,1,2,8\n"
    )
    file = read_readings(text.encode(), meaning=Meaning(stamps=Stamps(stamps)))
    readings = file.readings
    assert file.is_counted
    assert readings["start"].iloc[0] == pd.Timestamp(first, tz="Asia/Shanghai")
    assert readings["energy_wh"].tolist() == [1250, 1375, 1375]
    assert readings["export_wh"].tolist() == [500, 250, 250]
    assert readings["quality"].tolist() == ["actual", "estimated", "estimated"]
    assert set(readings["minutes"]) == {1440}


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("计量点编号,通信地址,冻结时间,(上1次)日冻结正向有功总电能", "DL/T 645-2007"),
        ("计量点编号,通信地址,数据冻结时间,00100201", "DL/T 698.45"),
    ],
)
def test_frozen_faces_with_their_moments_are_daily(header, name):
    lines = ["7,1,2025-03-01 00:00:00,5.00", "7,1,2025-03-02 00:00:00,6.50"]
    file = read_readings("\n".join([header, *lines]).encode("gb18030"))
    assert file.readings["energy_wh"].tolist() == [1500], name
    assert file.readings["minutes"].tolist() == [1440]


def test_daily_faces_in_a_column_of_energies_are_faces_when_it_is_said():
    text = "meter_point_id,date,kwh\nA,2025-03-01,5\nA,2025-03-02,6\n"
    said = Meaning(Values.REGISTER, Stamps.START)
    assert read_readings(text.encode(), meaning=said).readings["energy_wh"].tolist() == [1000]


def test_a_day_is_billed_where_one_price_applies_and_refused_where_several_do():
    file = read_readings(matrix(A=["1.5"] * 31, B=["2", *["0.25"] * 30]).encode())
    interval = pd.Timedelta(0)
    settled = settle(file.readings, tariff=parse_tariff(ONE_PRICE), interval=interval)
    assert settled["total_wh"].tolist() == [46_500, 9500]
    with pytest.raises(InvalidReadingsError) as refused:
        settle(file.readings, tariff=parse_tariff(HOURS), interval=interval)
    assert refused.value.reason == "readings.daily"
    assert "2025-03-01" in refused.value.message


def month_of(text: str):
    policy = ValidationPolicy(contracts=default_contracts(["A", "demand", "hours", "one"]))
    found = collect([read_readings(text.encode())], policy=policy, period=MONTH, now=NOW)
    return found, lay_out_energies(found.readings, period=MONTH)


def test_a_gateway_bills_a_daily_meter_point_by_one_price_and_names_it_under_several():
    tariffs = {"one": ONE_PRICE, "hours": HOURS, "demand": DEMAND}
    _, energies = month_of(matrix(**{name: ["24"] * 31 for name in tariffs}))
    contracts = default_contracts(sorted(tariffs))
    admission = admit(
        energies,
        seen=SeenMeters(sorted(tariffs)),
        contracts=contracts.assign(tariff_id=contracts["meter_point_id"]),
        tariffs={name: parse_tariff(text) for name, text in tariffs.items()},
        period=MONTH,
    )
    assert admission.billed["meter_point_id"].tolist() == ["one"]
    assert admission.counts() == {"interval-length": 2}
    one = energies.of(["one"])
    settled = settle_energies(
        one, tariff=parse_tariff(ONE_PRICE), period=MONTH, contracts=admission.billed
    )
    assert settled["total_wh"].tolist() == [744_000]
    hourly = energies.on_grid(energies.grid)
    assert (hourly.step, hourly.energy_wh.shape) == (pd.Timedelta(hours=1), (3, 744))
    assert set(hourly.energy_wh[1]) == {1000}


def test_a_missing_day_is_estimated_from_the_meter_points_own_days():
    found, energies = month_of(matrix(A=["24"] * 14 + [""] + ["24"] * 16))
    assert found.estimated_rows == 1
    assert energies.totals_wh.tolist() == [31 * 24_000]


def test_a_day_is_laid_out_to_the_wh_beside_intervals():
    rows = matrix(D=["0.025", *["1"] * 30])
    days = read_readings(rows.encode()).readings
    starts = pd.date_range("2025-03-01", periods=1488, freq="30min", tz="Asia/Shanghai")
    halves = pd.DataFrame({"meter_point_id": "H", "start": starts.as_unit("us"), "energy_wh": 100})
    halves = halves.assign(quality="actual", minutes=30)
    both = pd.concat([days, halves], ignore_index=True)
    energies = lay_out_energies(both, period=MONTH)
    grid = energies.on_grid(energies.grid)
    assert grid.step == pd.Timedelta(minutes=30)
    assert grid.energy_wh[0][:48].tolist() == [1] * 25 + [0] * 23
    assert grid.energy_wh.sum(axis=1).tolist() == energies.totals_wh.tolist() == [30_025, 148_800]
