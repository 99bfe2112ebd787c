"""Exports of suppliers and home systems, as they are written; the numbers are invented."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pandas as pd
import pytest

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.formats import SYSTEM_NAMES, read_offsets, read_readings
from gridsecure.gateway.meanings import Meaning, Stamps

LONDON, AMSTERDAM = "Europe/London", "Europe/Amsterdam"
OWN = Meaning(meter_point_id="1900000000001")


def refusal(text: str, *, meaning: Meaning = OWN, timezone: str = LONDON) -> InvalidReadingsError:
    with pytest.raises(InvalidReadingsError) as refused:
        read_readings(text.encode(), timezone=timezone, meaning=meaning)
    assert refused.value.remedy
    return refused.value


# --- Octopus Energy -----------------------------------------------------------------------------

OCTOPUS = """\
 Consumption (kwh), Start, End
0.579000, 2025-10-26T00:30:00+01:00, 2025-10-26T01:00:00+01:00
0.028000, 2025-10-26T01:00:00+01:00, 2025-10-26T01:30:00+01:00
0E-20, 2025-10-26T01:30:00+01:00, 2025-10-26T01:00:00Z
0.311000, 2025-10-26T01:00:00Z, 2025-10-26T01:30:00Z
0.250000, 2025-10-26T02:30:00Z, 2025-10-26T03:00:00Z
"""


def test_octopus_half_hours_are_read_through_the_autumn_change():
    file = read_readings(OCTOPUS.encode(), timezone=LONDON, meaning=OWN)
    readings = file.readings
    assert readings["energy_wh"].tolist() == [579, 28, 0, 311, 250]
    utc = readings["start"].dt.tz_convert("UTC").dt.strftime("%d %H:%M").tolist()
    assert utc == ["25 23:30", "26 00:00", "26 00:30", "26 01:00", "26 02:30"]
    # Half-hours that are left out are missing, and change the length of no other.
    assert set(readings["minutes"]) == {30}
    assert set(readings["meter_point_id"]) == {"1900000000001"}
    assert file.problems == ()


def test_octopus_files_with_costs_are_the_same_readings():
    lines = [line.split(",") for line in OCTOPUS.splitlines()]
    costs = [" Estimated Cost Inc. Tax (p), Standing Charge Inc. Tax (p)", *(["1.71, 2.1"] * 5)]
    text = "\n".join(
        ",".join([line[0], cost, *line[1:]]) for line, cost in zip(lines, costs, strict=True)
    )
    plain = read_readings(OCTOPUS.encode(), timezone=LONDON, meaning=OWN).readings
    pd.testing.assert_frame_equal(
        read_readings(text.encode(), timezone=LONDON, meaning=OWN).readings, plain
    )
    named = "MPAN," + text.replace("\n", "\nA,")
    assert set(read_readings(named.encode(), timezone=LONDON).readings["meter_point_id"]) == {"A"}


def test_an_octopus_file_of_nobody_or_of_other_intervals_is_refused():
    nobody = refusal(OCTOPUS, meaning=Meaning())
    assert (nobody.reason, "--meter-point" in str(nobody.remedy)) == ("readings.meter-point", True)
    hour = OCTOPUS.replace("01:30:00Z\n0.25", "02:00:00Z\n0.25")
    assert (refusal(hour).reason, "line 5" in refusal(hour).message) == ("readings.interval", True)
    ends = Meaning(stamps=Stamps.END, meter_point_id="A")
    assert refusal(OCTOPUS, meaning=ends).reason == "readings.stamps"
    other = OCTOPUS.replace("(kwh), Start", "(kwh), Carbon, Start").replace("000,", "000,1,")
    assert refusal(other).reason in ("readings.columns", "readings.malformed")


# --- P1 meters ----------------------------------------------------------------------------------

P1 = "time,Import T1 kWh,Import T2 kWh,Export T1 kWh,Export T2 kWh,L1 max W,L2 max W,L3 max W"
REGISTERS = [
    (8293.146, 7210.113, 1916.077, 4181.422),
    (8293.146, 7210.236, 1916.077, 4181.422),
    (8293.147, 7210.276, 1916.080, 4181.500),
    (8293.400, 7210.276, 1916.080, 4181.600),
    (8293.500, 7210.376, 1916.080, 4181.600),
]


def p1_file(*, head: str = P1, tail: str = ",173,1212,67", registers=REGISTERS):
    at = pd.date_range("2025-06-02 20:30", periods=len(registers), freq="15min")
    rows = [
        f"{moment:%Y-%m-%d %H:%M}," + ",".join(f"{one:.3f}" for one in row) + tail
        for moment, row in zip(at, registers, strict=True)
    ]
    return "\n".join([head, *rows, ""]).encode()


def sums(registers, *columns: int) -> list[int]:
    total = [sum(round(1000 * row[column]) for column in columns) for row in registers]
    return [end - begin for begin, end in pairwise(total)]


TELEGRAMS = (
    "timestamp,electricity_delivered_1,electricity_delivered_2,electricity_returned_1,"
    "electricity_returned_2"
)


@pytest.mark.parametrize(
    ("head", "tail"), [(P1, ",173,1212,67"), (P1.partition(",L1")[0], ""), (TELEGRAMS, "")]
)
def test_two_registers_of_each_direction_are_one_of_each(head, tail):
    file = read_readings(p1_file(head=head, tail=tail), timezone=AMSTERDAM, meaning=OWN)
    assert file.layout == "registers"
    assert file.readings["energy_wh"].tolist() == sums(REGISTERS, 0, 1)
    assert file.readings["export_wh"].tolist() == sums(REGISTERS, 2, 3)
    assert set(file.readings["minutes"]) == {15}
    assert file.readings["start"].iloc[0] == pd.Timestamp("2025-06-02 20:30", tz=AMSTERDAM)


def test_faces_of_p1_registers_are_given_as_they_stand_for_batches():
    file = read_readings(p1_file(), timezone=AMSTERDAM, meaning=OWN, differences=False)
    faces = file.readings
    assert faces["register"].value_counts().to_dict() == {"import": 5, "export": 5}
    assert faces["energy_wh"].iloc[0] == 15_503_259


def test_an_empty_register_is_a_missing_face_and_a_negative_one_is_refused():
    data = p1_file().replace(b"7210.236", b"")
    file = read_readings(data, timezone=AMSTERDAM, meaning=OWN)
    assert file.readings["energy_wh"].sum() == sum(sums(REGISTERS, 0, 1))
    assert {one.rule for one in file.problems} == {"register-gap"}
    assert (file.readings["quality"] == "estimated").sum() == 2
    negative = p1_file().replace(b"8293.147", b"-999999999").decode()
    assert refusal(negative, timezone=AMSTERDAM).reason == "readings.energy"


HOURS = (
    "Hour Start,Electricity 1 (Dutch Users: Low Tariff),Electricity 2 (Dutch Users: Normal Tariff),"
    "Electricity 1 Returned (Dutch Users: Low Tariff),"
    "Electricity 2 Returned (Dutch Users: Normal Tariff),Gas"
)


@pytest.mark.parametrize(
    "head",
    [HOURS, "hour_start,electricity1,electricity2,electricity1_returned,electricity2_returned,gas"],
)
def test_hour_totals_of_dsmr_reader_are_energies(head):
    rows = [
        "2024-03-31T01:00:00+01:00,0.196,0,0,0,0.032",
        "2024-03-31T03:00:00+02:00,0.001,0.281,0,0.006,0.056",
        "2024-03-31T06:00:00+02:00,0.2,0.1,0.012,0.5,0",
    ]
    text = "\n".join([head, *rows]).encode()
    readings = read_readings(text, timezone=AMSTERDAM, meaning=OWN).readings
    assert readings["energy_wh"].tolist() == [196, 282, 300]
    assert readings["export_wh"].tolist() == [0, 6, 512]
    assert set(readings["minutes"]) == {60}


# --- Home Assistant -----------------------------------------------------------------------------

STATISTICS = """\
statistic_id,unit,start,state,sum
sensor.p1_import,kWh,2025-03-01 06:00,6912.294,912.294
sensor.p1_import,kWh,2025-03-01 07:00,6913.045,913.045
sensor.p1_import,kWh,2025-03-01 08:00,6913.845,913.845
"""


@pytest.mark.parametrize("mark", [",", "\t", ";"])
def test_a_statistic_is_the_face_as_its_hour_ends(mark):
    text = STATISTICS.replace(",", mark)
    file = read_readings(text.encode(), timezone=AMSTERDAM, meaning=Meaning())
    assert file.readings["energy_wh"].tolist() == [751, 800]
    # What was counted from 7 to 8 is the statistic of 7 less that of 6.
    local = file.readings["start"].dt.strftime("%H:%M").tolist()
    assert local == ["07:00", "08:00"]
    assert set(file.readings["meter_point_id"]) == {"sensor.p1_import"}


def test_statistics_of_an_unknown_unit_or_of_none_are_refused():
    for unit in ("GJ", "", "m³"):
        assert refusal(STATISTICS.replace("kWh", unit), meaning=Meaning()).reason == "readings.unit"
    bare = "\n".join(",".join(line.split(",")[2:]) for line in STATISTICS.splitlines())
    assert refusal(bare).reason == "readings.unit"
    assert refusal(bare, meaning=Meaning()).reason == "readings.meter-point"


def test_a_declared_unit_is_of_values_without_one_and_of_no_others():
    said = Meaning(meter_point_id="A", unit="kWh")
    bare = "\n".join(",".join(line.split(",")[2:]) for line in STATISTICS.splitlines())
    assert read_readings(bare.encode(), meaning=said).readings["energy_wh"].tolist() == [751, 800]
    blank = STATISTICS.replace("kWh", "")
    assert len(read_readings(blank.encode(), meaning=said).readings) == 2
    history = "\n".join(line.rpartition(",")[0] for line in HISTORY.splitlines())
    assert len(read_readings(history.encode(), timezone="UTC", meaning=said).readings) == 3
    for text in (STATISTICS, HISTORY):  # that contradict it
        assert refusal(text.replace("kWh", "Wh"), meaning=said).reason == "readings.unit"


HISTORY = """\
entity_id,state,last_changed,unit
sensor.p1,100.000,2025-03-01T00:00:00.000Z,kWh
sensor.p1,100.210,2025-03-01T00:12:07.123Z,kWh
sensor.p1,100.400,2025-03-01T00:48:59.000Z,kWh
sensor.p1,unavailable,2025-03-01T01:20:00.000Z,kWh
sensor.p1,100.900,2025-03-01T02:40:00.000Z,kWh
sensor.p1,101.100,2025-03-01T03:10:00.500Z,kWh
"""


def test_a_state_holds_until_the_next_one():
    file = read_readings(HISTORY.encode(), timezone="UTC", meaning=Meaning())
    readings = file.readings
    # Faces at 0, 1 and 3 o'clock: 100.000, 100.400 and 100.900; nobody knows the one of 2.
    assert readings["start"].dt.hour.tolist() == [0, 1, 2]
    assert readings["energy_wh"].tolist() == [400, 250, 250]
    assert readings["quality"].tolist() == ["actual", "estimated", "estimated"]
    assert {one.rule for one in file.problems} == {"register-gap"}
    nameless = "\n".join(line.partition(",")[2] for line in HISTORY.splitlines())
    assert set(read_readings(nameless.encode(), meaning=OWN).readings["meter_point_id"]) == {
        OWN.meter_point_id
    }


def test_a_history_without_a_unit_or_with_another_time_is_refused():
    without = "\n".join(line.rpartition(",")[0] for line in HISTORY.splitlines())
    found = refusal(without, meaning=Meaning())
    assert (found.reason, "unit" in str(found.remedy)) == ("readings.unit", True)
    for time in ("01.03.2025 00:48", "2025-03-01T00:48:59", "2525-03-01T00:48:59Z"):
        found = refusal(HISTORY.replace("2025-03-01T00:48:59.000Z", time), meaning=Meaning())
        assert (found.reason, "line 4" in found.message) == ("readings.timestamp", True)
    assert (
        refusal(HISTORY.replace("100.210", "open"), meaning=Meaning()).reason == "readings.energy"
    )


def test_statistics_within_a_history_are_asked_about():
    rows = [f"sensor.p1,{100 + hour}.5,2025-03-01T0{hour}:00:00.000Z,kWh" for hour in range(5)]
    text = "\n".join([HISTORY.splitlines()[0], *rows, ""])
    assert refusal(text, meaning=Meaning()).reason == "readings.stamps"
    found = {
        stamps: read_readings(text.encode(), timezone="UTC", meaning=Meaning(stamps=stamps))
        for stamps in Stamps
    }
    hours = {stamps: file.readings["start"].dt.hour.tolist() for stamps, file in found.items()}
    assert hours == {Stamps.START: [1, 2, 3, 4], Stamps.END: [0, 1, 2, 3]}
    assert set(found[Stamps.END].readings["energy_wh"]) == {1000}


def test_many_hours_between_two_states_are_bounded():
    rows = [
        f"sensor.p{number},{state},{year}-01-01T00:30:00Z,kWh"
        for number in range(40)
        for state, year in ((1, 1970), (2, 2199))
    ]
    text = "\n".join([HISTORY.splitlines()[0], *rows, ""])
    assert refusal(text, meaning=Meaning()).reason == "readings.too-many"


def test_offsets_of_exports_are_told():
    assert read_offsets(OCTOPUS.encode()) == {60, 0}
    assert read_offsets(p1_file()) == {None}


@pytest.mark.parametrize(
    ("text", "reason", "what"),
    [
        (
            HOURS.replace("Hour Start", "Day") + "\n2024-01-01,5,6,0,0,2\n",
            "readings.daily",
            "day totals",
        ),
        (
            "MPRN,Meter Serial Number,Read Value,Read Type,Read Date and End Time\n"
            "1,2,0.4,Active Import Interval (kW),31-03-2025 00:00\n",
            "readings.format",
            "ESB Networks",
        ),
        ("HDR,ICPCONS,1.0,OCTO\nDET,0001,A,1,2\n", "readings.format", "New Zealand"),
    ],
)
def test_exports_that_are_not_read_are_refused_by_their_names(text, reason, what):
    found = refusal(text)
    assert (found.reason, what in found.message) == (reason, True)


@pytest.mark.parametrize(
    ("text", "layout", "system"),
    [
        (OCTOPUS, "long", "octopus"),
        (STATISTICS, "registers", "home-assistant"),
        (HISTORY, "registers", "home-assistant"),
        (p1_file(), "registers", "homewizard"),
        (p1_file(head=TELEGRAMS, tail=""), "registers", "dsmr"),
        (f"{HOURS}\n2024-03-31T01:00:00+01:00,0.196,0,0,0,0.032\n", "long", "dsmr-reader"),
    ],
)
def test_an_export_is_told_by_its_name_beside_its_layout(text, layout, system):
    for differences in (True, False):
        data = text if isinstance(text, bytes) else text.encode()
        found = read_readings(data, meaning=replace(OWN, unit="kWh"), differences=differences)
        assert (found.layout, found.system) == (layout, system)
        assert system in SYSTEM_NAMES
