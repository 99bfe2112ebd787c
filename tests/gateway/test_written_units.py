"""Energies in Wh, kWh and MWh: as lines, header and source say it, exactly, and never by guess."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.check_files import read_checks
from gridsecure.gateway.formats import read_readings
from gridsecure.gateway.meanings import Meaning
from gridsecure.gateway.written_units import move_point

START = "2026-07-01 {:02}:00"


def table(head, *cells):
    """Hours of a meter point, a line for each text."""
    lines = (f"A,{START.format(hour)},{cell}" for hour, cell in enumerate(cells))
    return "\n".join([f"meter_point_id,start,{head}", *lines, ""]).encode()


def energies(data, *, unit="", column="energy_wh"):
    return read_readings(data, meaning=Meaning(unit=unit)).readings[column].tolist()


def refusal(data, *, unit=""):
    with pytest.raises(InvalidReadingsError) as refused:
        energies(data, unit=unit)
    return refused.value


@pytest.mark.parametrize(
    ("head", "cells", "unit"),
    [
        ("energy,unit", ("412,Wh", "398,wh"), ""),
        ("energy,unit", ("0.000412,MWh", "0.398,kWh"), ""),
        ("energy,unit", ("412.000,Wh", "398, Wh"), "Wh"),
        ("energy,unit", ("412,", "398,Wh"), "Wh"),
        ("wh", ("412", "398"), ""),
        ("mwh", ("0.000412", ".000398"), ""),
        ("kwh,unit", ("0.412,kWh", "0.398,kWh"), "kWh"),
        ("Usage (Wh)", ("412", "398"), ""),
        ("用电量(兆瓦时)", ("0.000412", "0.000398"), ""),
        ("电量", ("412", "398"), "Wh"),
        ("电量,unit", ("0.412,kWh", "0.398,kWh"), ""),
    ],
)
def test_units_are_read_by_line_header_and_source(head, cells, unit):
    assert energies(table(head, *cells), unit=unit) == [412, 398]


def test_other_columns_of_a_line_are_of_its_unit_and_reactive_energy_stays_kvarh():
    data = table("energy,export,kvarh,unit", "412,7,0.1,Wh", "398,0,0.2,Wh")
    assert energies(data, column="export_wh") == [7, 0]
    assert energies(data, column="reactive_varh") == [100, 200]
    apart = table("wh,export_kwh", "412,0.007", "398,0")
    assert (energies(apart), energies(apart, column="export_wh")) == ([412, 398], [7, 0])


def test_a_day_of_points_and_faces_of_registers_are_of_their_lines_unit():
    points = ",".join(f"p{n}" for n in range(1, 25))
    day = f"meter_point_id,date,{points},unit\nA,2026-07-01,{','.join(['250'] * 24)},Wh\n"
    assert energies(day.encode()) == [250] * 24
    assert (
        energies(day.replace(",unit", "").replace(",Wh", "").encode(), unit="MWh")[0] == 250_000_000
    )
    faces = table("register_wh", "1000500", "1000912", "1001310")
    assert energies(faces) == [412, 398]


def test_numbers_in_other_styles_keep_their_style_in_another_unit():
    data = "meter_point_id;start;energy;unit\nA;2026-07-01 00:00;0,5;kWh\n"
    data += "A;2026-07-01 01:00;1.234,0;Wh\nA;2026-07-01 02:00;;Wh\n"
    found = read_readings(data.encode()).readings
    assert found["energy_wh"].tolist() == [500, 1234, 0]
    assert found["quality"].tolist() == ["actual", "actual", "missing"]
    # What may be 1.234 or 1,234 stays open, whatever its unit is.
    doubt = (
        "meter_point_id;start;energy;unit\nA;2026-07-01 00:00;1,234;Wh\nA;2026-07-01 01:00;1;MWh\n"
    )
    assert refusal(doubt.encode()).reason == "readings.energy"


@pytest.mark.parametrize(
    ("head", "cells", "unit", "says"),
    [
        ("kwh,unit", ("0.412,kWh", "0.398,MWh"), "", "line 3 says another unit"),
        ("wh,unit", ("412,Wh", "398,kWh"), "", "Wh for kwh, and line 3"),
        ("energy,unit", ("412,Wh", "398,Wh"), "kWh", "says Wh, and the source declared kWh"),
        ("kwh", ("0.412", "0.398"), "MWh", "the source declared MWh"),
        ("energy,unit", ("412,Wh", "398,"), "", "Line 3 says no unit"),
        ("energy,unit", ("412,Wh", "398,GJ"), "", "Line 3 says no unit"),
    ],
)
def test_what_contradicts_itself_or_says_nothing_is_refused(head, cells, unit, says):
    error = refusal(table(head, *cells), unit=unit)
    assert error.reason == "readings.unit"
    assert says in str(error)
    assert "412" not in f"{error}{error.problems}"


@pytest.mark.parametrize(
    ("head", "cell"), [("register_wh", "1000500"), ("register_mwh", "1.0005"), ("示值", "1000.5")]
)
def test_a_file_to_compare_with_is_in_the_unit_of_its_header(tmp_path, head, cell):
    path = tmp_path / "faces.csv"
    path.write_bytes(table(head, cell))
    assert read_checks(path, timezone="Asia/Shanghai")["energy_wh"].tolist() == [1000500]


def test_a_fraction_of_a_watt_hour_is_refused_and_an_open_name_stays_open():
    assert refusal(table("energy,unit", "412.5,Wh", "398,Wh")).reason == "readings.energy"
    assert refusal(table("mwh", "0.0004125", "1")).reason == "readings.energy"
    assert refusal(table("energy", "412", "398")).reason == "readings.columns"
    assert refusal(table("energy,电量,unit", "412,1,Wh", "398,1,Wh")).reason == "readings.columns"


@given(
    number=st.decimals(min_value=-(10**40), max_value=10**40, places=20),
    places=st.sampled_from([-3, 0, 3]),
)
def test_moving_the_point_is_exact(number, places):
    sign, digits, exponent = number.as_tuple()
    assert Decimal(move_point(f"{number:f}", places)) == Decimal((sign, digits, exponent + places))
