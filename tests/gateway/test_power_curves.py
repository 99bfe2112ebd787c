"""Curves of average powers: energies where somebody says what they are, exactly, or refused."""

from __future__ import annotations

import pandas as pd
import pytest

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.formats import read_readings
from gridsecure.gateway.ingestion import bodies, body_pieces
from gridsecure.gateway.ingestion.sources import Source
from gridsecure.gateway.ingestion.spooled_bodies import SpooledBody
from gridsecure.gateway.meanings import Meaning, Values

DAY = "2025-03-01"
POWER = Meaning(values=Values.POWER)


def wide(cell, *, points=96, more="", tail="", name="p{}", day=DAY) -> str:
    columns = ",".join(name.format(n + 1) for n in range(points))
    return f"meter_point_id,date,{columns}{more}\nA,{day}{f',{cell}' * points}{tail}\n"


def told(text: str, **how) -> list[int]:
    found = read_readings(text.encode(), **how)
    return sorted(set(found.readings["energy_wh"].tolist()))


def refusal(text: str, **how) -> InvalidReadingsError:
    with pytest.raises(InvalidReadingsError) as refused:
        read_readings(text.encode(), **how)
    assert refused.value.remedy
    assert "7.732" not in f"{refused.value}{refused.value.problems}"
    return refused.value


@pytest.mark.parametrize(
    ("text", "how"),
    [
        (wide("7.732"), {"meaning": POWER}),
        (wide("7.732", more=",values", tail=",power"), {}),
        (wide("7.732", more=",values,unit", tail=",power,kW"), {}),
        (wide("7732", more=",values,unit", tail=",power,W"), {}),
        (wide("0.007732", more=",unit", tail=",MW"), {"meaning": POWER}),
        (wide("7.732"), {"meaning": Meaning(unit="kW")}),
        (wide("7.732", more=",unit", tail=",kW"), {"meaning": Meaning(unit="kW")}),
    ],
)
def test_an_average_power_times_its_interval_is_an_energy(text, how):
    assert told(text, **how) == [1933]


@pytest.mark.parametrize(("points", "energy_wh"), [(24, 7732), (48, 3866), (96, 1933)])
def test_the_columns_say_how_long_a_power_lasts(points, energy_wh):
    assert told(wide("7.732", points=points), meaning=POWER) == [energy_wh]


def test_a_power_that_gives_no_whole_watt_hour_is_refused_and_never_rounded():
    error = refusal(wide("7.732").replace("7.732,7.732", "7.733,7.732", 1), meaning=POWER)
    assert (error.reason, "multiples of 4 W" in error.remedy) == ("readings.energy", True)
    ratio = wide("7.733", more=",ratio", tail=",4")
    assert told(ratio, meaning=POWER) == [7733]


@pytest.mark.parametrize(
    ("text", "how", "reason"),
    [
        (wide("7.732", more=",unit", tail=",kW"), {}, "power"),
        (wide("7.732", more=",channel", tail=",正向有功功率"), {}, "power"),
        ("meter_point_id,start,kw\nA,2025-03-01 00:00,7.732\n", {}, "power"),
        ("户号,开始时间,有功功率(kW)\nA,2025-03-01 00:00,7.732\n", {}, "power"),
        ("meter_point_id,start,kwh\nA,2025-03-01 00:00,7.732\n", {"meaning": POWER}, "power"),
        ("meter_point_id,date,kwh\nA,2025-03-01,7.732\n", {"meaning": Meaning(unit="kW")}, "power"),
        (wide("7.732", more=",unit", tail=",kWh"), {"meaning": POWER}, "unit"),
        (wide("7.732", more=",unit", tail=",kWh"), {"meaning": Meaning(unit="kW")}, "unit"),
        (wide("7.732", more=",values", tail=",interval"),
         {"meaning": Meaning(unit="kW")}, "values"),
        (wide("7.732", more=",values", tail=",interval"), {"meaning": POWER}, "values"),
        ("statistic_id,unit,start,state,sum\ns,kWh,2025-03-01 00:00,7.732,0\n",
         {"meaning": Meaning(unit="kW")}, "power"),
    ],
)  # fmt: skip
def test_powers_of_which_nobody_says_what_they_are_are_refused_by_name(text, how, reason):
    assert refusal(text, **how).reason == f"readings.{reason}"


def test_lines_of_powers_are_channels_of_energies():
    lines = wide("7.732", points=24, more=",channel", tail=",有功功率")
    lines += f"A,{DAY}{',0.5' * 24},反向有功功率\nA,{DAY}{',2' * 24},无功功率\n"
    found = read_readings(lines.encode(), meaning=POWER).readings
    figures = found[["energy_wh", "export_wh", "reactive_varh"]].drop_duplicates()
    assert figures.to_numpy().tolist() == [[7732, 500, 2000]]
    in_units = wide("7732", points=24, more=",channel,unit", tail=",有功功率,W")
    in_units += f"A,{DAY}{',2' * 24},无功功率,kvar\n"
    found = read_readings(in_units.encode(), meaning=POWER).readings
    assert found["reactive_varh"].unique().tolist() == [2000]
    mixed = lines.replace("反向有功功率", "反向有功")
    assert refusal(mixed, meaning=POWER).reason == "readings.channel"


@pytest.mark.parametrize(("day", "points"), [("2025-11-02", 25), ("2025-03-09", 23)])
def test_an_hour_that_the_clock_shows_twice_has_the_average_of_both(day, points):
    text = wide("7.732", points=24, day=day)
    if points == 23:
        text = text.replace(",7.732", ",", 3).replace(",,,", ",7.732,7.732,", 1)
    found = read_readings(text.encode(), meaning=POWER, timezone="America/New_York")
    assert found.readings["energy_wh"].tolist() == [7732] * points
    if points == 25:
        assert (found.readings["quality"] == "estimated").sum() == 2
        assert "averages of both hours" in found.problems[0].detail


def test_a_source_declares_that_it_sends_powers_in_small_bodies_and_in_large_ones(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(bodies, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(body_pieces, "PIECE_BYTES", 2000)
    source = Source("headend", "t", ("",), "start", "Asia/Shanghai", "", unit="kW")
    days = [f"A,{day:%Y-%m-%d}{',7.732' * 24}" for day in pd.date_range(DAY, periods=20)]
    head = wide("", points=24).splitlines()[0]
    for count in (1, 20):
        with SpooledBody(tmp_path) as spooled:
            if spooled.add("\n".join([head, *days[:count], ""]).encode()):
                spooled.spill()
            spooled.finish()
            parts = list(bodies.read_body(spooled, source=source, timezone="Asia/Shanghai"))
        energies = [one for part in parts for one in part["energy_wh"].tolist()]
        assert energies == [7732] * 24 * count
