"""Frozen faces of registers of hours as the field exports them, through the readers of files."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from gridsecure.billing.settlements import settle
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.cell_tables import check_columns
from gridsecure.gateway.column_names import name_columns, register_of_hours
from gridsecure.gateway.face_energies import MeterBooks
from gridsecure.gateway.formats import read_readings
from gridsecure.gateway.ingestion.stored_readings import read_stored_faces
from gridsecure.gateway.meanings import Meaning, Stamps
from gridsecure.periods import month_period
from gridsecure.tariffs.tariff import catalogue_tariffs, load_tariff
from tests.gateway.register_exports import (
    CHINESE,
    HOURS,
    NUMBERS,
    columns_csv,
    daily_faces,
    half_hours,
    kwh,
    lines_csv,
)
from tests.gateway.stored_batches import batch

SHENZHEN = load_tariff(catalogue_tariffs()["shenzhen-commercial-four-period"])
BY_NUMBER = HOURS
for _name, _number in NUMBERS.items():
    BY_NUMBER = BY_NUMBER.replace(f"{_name}=", f"{_number}=")
INTERVALS = half_hours("A", "B")
FACES = daily_faces(INTERVALS)


def known(hours: str) -> MeterBooks:
    def hours_of(names, _days):
        return pd.Series(hours, index=names.index, dtype=object).to_numpy()

    return MeterBooks(hours_of=hours_of)


def settled(readings: pd.DataFrame) -> pd.DataFrame:
    return settle(readings, tariff=SHENZHEN, interval=pd.Timedelta(0))


def numbered(total: str, of: str) -> dict[str, str]:
    return {"total": total} | {name: of.format(number) for name, number in NUMBERS.items()}


DLT645 = numbered("00010000", "00010{}00")
DLT698 = {"total": "00100201"} | {name: f"0010020{1 + n}" for name, n in NUMBERS.items()}
FROZEN = {"total": "(上1次)日冻结正向有功总电能"} | {
    name: f"(上1次)日冻结正向有功费率{n}电能" for name, n in NUMBERS.items()
}
SHOWN = {"total": "正向有功总示值"} | {
    name: f"{chinese}示值" for name, chinese in CHINESE.items() if name != "total"
}


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        (columns_csv(FACES, headers=CHINESE), HOURS),
        (columns_csv(FACES, headers=SHOWN), HOURS),
        (columns_csv(FACES, headers=numbered("PAP_R", "PAP_R{}")), BY_NUMBER),
        (columns_csv(FACES, headers=DLT645), BY_NUMBER),
        (columns_csv(FACES, headers=DLT698), BY_NUMBER),
        (columns_csv(FACES, headers=FROZEN), BY_NUMBER),
        (columns_csv(FACES, headers=numbered("正向有功总电能", "正向有功费率{}")), BY_NUMBER),
        (lines_csv(FACES), HOURS),
    ],
    ids=["尖峰平谷", "示值", "Q/GDW 376.1", "DL/T 645", "DL/T 698.45", "日冻结", "费率", "lines"],
)
def test_an_export_is_settled_as_the_half_hours_that_it_was_made_of(text, hours):
    file = read_readings(text.encode("gb18030"), books=known(hours))
    assert (file.layout, file.placed) == ("registers", {"A", "B"})
    assert {one.rule for one in file.problems} == {"register-hours"}
    assert set(file.readings["quality"]) == {"estimated"}
    assert set(file.readings["minutes"]) == {60}
    pd.testing.assert_frame_equal(settled(file.readings), settled(INTERVALS))


@pytest.mark.parametrize("text", [columns_csv(FACES, headers=CHINESE), lines_csv(FACES)])
def test_without_hours_the_total_alone_counts_as_before(text):
    file = read_readings(text.encode())
    total = FACES["total"].groupby(level=0).diff().dropna().astype("int64")
    assert file.readings["energy_wh"].tolist() == total.tolist()
    assert (file.placed, set(file.readings["minutes"])) == (frozenset(), {1440})
    with pytest.raises(InvalidReadingsError) as refused:
        settled(file.readings)
    assert refused.value.reason == "readings.daily"


def test_faces_of_a_date_ratios_and_registers_that_were_not_read_on_some_days():
    """Lost faces of whole days lose nothing: what was counted between two faces is known."""
    lost = FACES.drop(index=FACES.index[[5, 6, 40]])
    lines = ["户号,日期,综合倍率,正向有功总,正向有功尖,正向有功峰,正向有功平,正向有功谷,反向有功总"]
    head = lines[0].replace("正向有功总", "正向有功总电能").replace("反向有功总", "RAP_R")
    lines = [head]
    for number, ((name, day), own) in enumerate(lost.iterrows()):
        shown = ",".join(kwh(int(own[column])) for column in CHINESE)
        lines.append(f"{name},{day:%Y%m%d},40,{shown},{number}")
    said = Meaning(stamps=Stamps.START)
    file = read_readings("\n".join(lines).encode(), books=known(HOURS), meaning=said)
    assert not file.is_counted
    wanted = settled(INTERVALS)
    energies = [name for name in wanted if name.endswith("_wh")]
    got = settled(file.readings)[energies]
    pd.testing.assert_frame_equal(got, wanted[energies] * 40)
    fed_in = file.readings.groupby("meter_point_id")["export_wh"].sum()
    assert fed_in.tolist() == [29 * 40_000, 30 * 40_000]


def test_two_faces_a_month_apart_are_enough():
    ends = FACES.groupby(level=0).nth([0, -1])
    file = read_readings(columns_csv(ends, headers=CHINESE).encode(), books=known(HOURS))
    pd.testing.assert_frame_equal(settled(file.readings), settled(INTERVALS))
    assert {one.rule for one in file.problems} == {"register-hours", "register-gap"}


def test_a_register_rolls_over_and_another_one_was_read_wrongly_on_a_day():
    faces = FACES.loc[["A"]].copy()
    faces["peak"] = (faces["peak"] + 999_990_000 - faces["peak"].iloc[9]) % 1_000_000_000
    file = read_readings(columns_csv(faces, headers=CHINESE).encode(), books=known(HOURS))
    own = INTERVALS[INTERVALS["meter_point_id"] == "A"]
    pd.testing.assert_frame_equal(settled(file.readings), settled(own))
    assert {one.rule for one in file.problems} == {"register-hours", "rollover"}
    wrong = FACES.loc[["A"]].copy()
    wrong.iloc[9, wrong.columns.get_loc("flat")] += 500
    file = read_readings(columns_csv(wrong, headers=CHINESE).encode(), books=known(HOURS))
    days = file.readings.loc[file.readings["minutes"] == 1440, "start"]
    # The days before and after the face are not believed; the total of both stands.
    assert days.dt.day.tolist() == [9, 10]
    assert {one.rule for one in file.problems} >= {"register-hours", "register-sum"}


@pytest.mark.parametrize(
    ("written", "register"),
    [
        ("正向有功尖", "sharp"),
        ("正向有功深谷电能", "deep_valley"),
        ("日冻结正向有功峰电能", "peak"),
        ("正向有功电能示值_平", "flat"),
        ("正向有功电能(谷)", "valley"),
        ("(当前)正向有功费率12电能", "12"),
        ("PAP_R4", "4"),
        ("00010A00", "10"),
        ("00100205", "4"),
        ("00010000", ""),
        ("00100201", ""),
        ("正向有功费率64", ""),
        ("正向有功总电能", ""),
        ("反向有功尖", ""),
        ("RAP_R1", ""),
        ("正向无功尖", ""),
    ],
)
def test_names_of_registers(written, register):
    assert register_of_hours(written) == register


def test_registers_without_a_total_are_passed_over_beside_energies():
    names = name_columns(["计量点编号", "日期", "用电量(kWh)", "正向有功尖", "反向有功峰"]).names
    assert names == ("meter_point_id", "date", "kwh", "~4", "~5")
    check_columns(pd.DataFrame(columns=list(names[:3])))


def test_a_line_of_another_channel_is_still_refused():
    text = lines_csv(FACES).replace("正向有功尖", "正向无功尖")
    with pytest.raises(InvalidReadingsError) as refused:
        read_readings(text.encode())
    assert refused.value.reason == "readings.channel"
    # Energies of intervals have no registers of hours.
    energies = "meter_point_id,start,kwh,channel\nA,2026-07-01 00:00,1,import\n"
    energies += "A,2026-07-01 00:00,1,正向有功尖\n"
    with pytest.raises(InvalidReadingsError) as refused:
        read_readings(energies.encode())
    assert refused.value.reason == "readings.channel"


def test_a_body_of_json_has_the_same_names(tmp_path):
    """Faces of all registers of a line are kept as they stand, each under its register."""
    readings = [
        {"meter_point_id": "A", "start": f"2026-07-0{day}T00:00", "register_kwh": f"{day}.5"}
        | {"register_kwh_peak": day, "register_kwh_2": "7.25"}
        for day in (1, 2)
    ]
    kept = batch(tmp_path, json.dumps({"readings": readings}))
    faces = read_stored_faces(kept, period=month_period("2026-07", timezone="Asia/Shanghai"))
    found = faces.sort_values(["register", "start"])
    assert found["register"].tolist() == ["import"] * 2 + ["import/2"] * 2 + ["import/peak"] * 2
    assert found["energy_wh"].tolist() == [1500, 2500, 7250, 7250, 1000, 2000]
    lone = [{"meter_point_id": "A", "start": "2026-07-01T00:00", "kwh": 1, "register_kwh_peak": 1}]
    with pytest.raises(InvalidReadingsError) as refused:
        batch(tmp_path, json.dumps(lone))
    assert refused.value.reason == "readings.body"


@pytest.mark.parametrize("month", ["2026-10", "2026-03", "2026-07"])
@pytest.mark.parametrize("decimals", [0, 3])
def test_faces_of_a_months_ends_count_by_their_hours_across_a_change_of_the_clock(
    tmp_path, month, decimals
):
    """Each register's energy stands in its own hours, to the Wh, however long the days are."""
    hours = "peak=08:00-20:00 valley=00:00-08:00,20:00-24:00"
    first, last = (1000.0, 70.5, 929.5), (1713.457, 570.622, 1142.835)
    rows = [
        ",".join(["A", f"{day} 00:00", *(f"{face:.{decimals}f}" for face in faces)])
        for day, faces in ((f"{month}-02", first), (f"{month}-30", last))
    ]
    header = "meter_point_id,start,register_kwh,register_kwh_peak,register_kwh_valley"
    path = tmp_path / "faces.csv"
    path.write_text("\n".join([header, *rows, ""]))
    books = MeterBooks(hours_of=lambda names, _days: np.array([hours] * len(names), dtype=object))
    found = read_readings(path, timezone="Europe/Berlin", books=books)
    assert found.placed == {"A"}
    local = found.readings["start"].dt.tz_convert("Europe/Berlin").dt.hour
    is_peak = local.between(8, 19).to_numpy(bool)
    counted = [float(row.split(",")[3]) for row in rows]
    energy = found.readings["energy_wh"].to_numpy()
    assert energy[is_peak].sum() == round((counted[1] - counted[0]) * 1000)
    whole = [float(row.split(",")[2]) for row in rows]
    assert abs(energy.sum() - round((whole[1] - whole[0]) * 1000)) <= 1000
