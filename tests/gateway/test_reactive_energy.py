"""Reactive energy as lines, columns, registers and documents; what is not billed is counted."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date
from decimal import Decimal

import pandas as pd
import pytest

from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.register_hours import put_back
from gridsecure.billing.settlements import settle
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.batch_readings import meter_books, read_month_batches
from gridsecure.gateway.books.months import MeterDays, MonthContracts
from gridsecure.gateway.formats import read_readings
from gridsecure.gateway.ingestion.bodies import read_body
from gridsecure.gateway.ingestion.sources import Source
from gridsecure.gateway.ingestion.spooled_bodies import SpooledBody
from gridsecure.gateway.meanings import Meaning
from gridsecure.gateway.passed_over import WORDS
from gridsecure.periods import month_period
from gridsecure.statements.wording import PHRASES
from gridsecure.tariffs.tariff import catalogue_tariffs, load_tariff
from tests.gateway.stored_batches import ZONE, batch
from tests.gateway.test_green_button import block, feed, reading_type
from tests.gateway.test_meter_readings import FED_IN, REACTIVE, TAKEN, message, meter, registers
from tests.gateway.test_meter_readings import block as cim_block
from tests.gateway.test_nem12 import channel, day, read

DAY = "2025-03-01"
POINTS = ",".join(f"p{n}" for n in range(1, 25))
FIGURES = ["energy_wh", "export_wh", "reactive_varh"]


def wide(*lines: tuple[str, str, str], unit=False) -> bytes:
    head = f"meter_point_id,date,channel,{POINTS}{',unit' if unit else ''}"
    rows = []
    for name, kind, said in lines:
        value, _, of = said.partition(" ")
        rows.append(f"{name},{DAY},{kind}{f',{value}' * 24}{f',{of}' if unit else ''}")
    return "\n".join([head, *rows, ""]).encode()


def refusal(data: bytes, **how) -> InvalidReadingsError:
    with pytest.raises(InvalidReadingsError) as refused:
        read_readings(data, **how)
    assert refused.value.remedy
    return refused.value


@pytest.mark.parametrize("kind", ["reactive", "正向无功", "3.8.0", "无功", "正向无功电量"])
def test_a_line_of_reactive_energy_stands_beside_its_energy(kind):
    file = read_readings(
        wide(
            ("A", "import", "0.5"), ("A", "export", "0.1"), ("A", kind, "0.2"), ("B", "1.8.0", "1")
        )
    )
    told = file.readings.groupby("meter_point_id")[FIGURES].first()
    # A meter point without a reactive register has an unknown one, and none of zero.
    assert told.to_numpy().tolist() == [[500, 100, 200], [1000, 0, -1]]
    assert (len(file.readings), dict(file.passed_over)) == (48, {})


@pytest.mark.parametrize(
    ("lines", "unit"),
    [
        ((("A", "import", "0.5 kWh"), ("A", "reactive", "200 varh")), ""),
        ((("A", "import", "500 Wh"), ("A", "reactive", "0.0002 Mvarh")), ""),
        ((("A", "import", "0.5 kWh"), ("A", "reactive", "0.2 kvarh")), "kWh"),
    ],
)
def test_each_line_has_a_unit_of_its_own_kind(lines, unit):
    found = read_readings(wide(*lines, unit=True), meaning=Meaning(unit=unit)).readings
    assert found[["energy_wh", "reactive_varh"]].drop_duplicates().to_numpy().tolist() == [
        [500, 200]
    ]


def test_without_units_reactive_energy_has_the_power_of_ten_of_its_source():
    data = wide(("A", "import", "500"), ("A", "reactive", "200"))
    found = read_readings(data, meaning=Meaning(unit="Wh")).readings
    assert found[["energy_wh", "reactive_varh"]].drop_duplicates().to_numpy().tolist() == [
        [500, 200]
    ]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((("A", "import", "0.5 kvarh"), ("A", "reactive", "0.2 kvarh")), "readings.unit"),
        ((("A", "import", "0.5 kWh"), ("A", "reactive", "0.2 kWh")), "readings.unit"),
        ((("A", "import", "0.5 kWh"), ("A", "reactive", "0.2 var")), "readings.power"),
    ],
)
def test_a_line_in_a_unit_of_the_other_kind_is_refused(lines, reason):
    assert refusal(wide(*lines, unit=True)).reason == reason


def test_a_reading_between_two_with_reactive_energy_that_lacks_it_is_missing():
    data = "meter_point_id,start,kwh,channel\n" + "".join(
        f"A,{DAY} {hour:02}:00,{value},{kind}\n"
        for kind, value, hours in (("import", "1", range(6)), ("reactive", "0.2", (1, 2, 4)))
        for hour in hours
    )
    found = read_readings(data.encode()).readings
    assert found["quality"].tolist() == ["actual"] * 3 + ["missing"] + ["actual"] * 2
    assert found["reactive_varh"].tolist() == [0, 200, 200, 0, 200, 0]
    assert found["energy_wh"].tolist() == [1000] * 3 + [0] + [1000] * 2


@pytest.mark.parametrize(
    ("name", "cell", "varh"),
    [
        ("kvarh", "0.2", 200),
        ("varh", "200", 200),
        ("无功电量(kvarh)", "0.2", 200),
        ("reactive_energy_kvarh", "0.2", 200),
        ("Mvarh", "0.0002", 200),
    ],
)
def test_a_column_of_reactive_energy_may_have_the_names_that_say_its_unit(name, cell, varh):
    for head, when in (("start", f"{DAY} 00:00"), ("date", DAY)):
        data = f"meter_point_id,{head},kwh,{name}\nA,{when},1,{cell}\nA,2025-03-02,1,{cell}\n"
        found = read_readings(
            data.replace("2025-03-02,1", f"{when[:-5]}01:00,1").encode()
            if head == "start"
            else data.encode()
        )
        assert found.readings["reactive_varh"].tolist() == [varh] * 2


def test_a_name_that_leaves_the_unit_open_is_read_once_it_is_said_and_counted_else():
    data = f"户号,日期,用电量(kWh),无功电量\nA,{DAY},1,0.2\nA,2025-03-02,1,\n".encode()
    alone = read_readings(data)
    assert "reactive_varh" not in alone.readings
    assert alone.passed_over == {"reactive-part": 1}
    said = read_readings(data, meaning=Meaning(unit="kWh"))
    assert (said.readings["reactive_varh"].tolist(), dict(said.passed_over)) == ([200, 0], {})


HOURS = pd.date_range("2026-07-01", "2026-08-01", freq="h", tz=ZONE)


def faces(name="PRP_R", more="", tail="") -> str:
    rows = (
        f"m,{hour:%Y-%m-%dT%H:%M},{1000 + 0.5 * n:.1f},{77 + 0.2 * n:.1f}{tail}\n"
        for n, hour in enumerate(HOURS)
    )
    return f"meter_point_id,start,PAP_R,{name}{more}\n" + "".join(rows)


@pytest.mark.parametrize(
    "name", ["PRP_R", "正向无功总电能", "register_kvarh", "日冻结正向无功总电能"]
)
def test_faces_of_a_reactive_register_are_differenced_beside_the_others(name):
    found = read_readings(faces(name).encode()).readings
    assert found[["energy_wh", "reactive_varh"]].drop_duplicates().to_numpy().tolist() == [
        [500, 200]
    ]


def test_faces_of_a_reactive_register_come_in_batches_of_any_form(tmp_path):
    text = faces("register_kvarh").replace("PAP_R", "register_kwh")
    head, *rows = text.splitlines()
    objects = [dict(zip(head.split(","), row.split(","), strict=True)) for row in rows]
    lines = [
        {"meter_point_id": "m", "start": one["start"], "channel": kind, "register_kwh": one[name]}
        for one in objects
        for kind, name in (("import", "register_kwh"), ("reactive", "register_kvarh"))
    ]
    books = meter_books(MonthContracts(default_contracts(["m"])), timezone=ZONE)
    for body in (text, json.dumps(objects), json.dumps(lines)):
        told = read_month_batches(
            [batch(tmp_path, body)], period=month_period("2026-07", timezone=ZONE), books=books
        ).readings
        assert len(told) == 744
        figures = told[["energy_wh", "reactive_varh"]].drop_duplicates()
        assert figures.to_numpy().tolist() == [[500, 200]]


def test_registers_of_hours_and_ratios_leave_a_register_that_is_none_alone(tmp_path):
    """Beside one with reactive faces stands a meter point without, with hours of its own."""
    days = pd.date_range("2026-07-01", "2026-08-01", freq="D", tz=ZONE)
    rows = []
    for n, start in enumerate(days):
        at = f"{start:%Y-%m-%dT%H:%M}"
        rows += [f"a,{at},import,{100 + 24 * n}", f"a,{at},import/1,{50 + 8 * n}"]
        rows += [f"a,{at},import/2,{50 + 16 * n}"]
        rows += [f"b,{at},import,{100 + 24 * n}", f"b,{at},reactive,{9 + 12 * n}"]
    body = "\n".join(["meter_point_id,start,channel,register_kwh", *rows, ""])
    hours = "1=00:00-08:00 2=08:00-24:00"
    always = (date(2026, 1, 1), date(2027, 1, 1))
    meters = [
        MeterDays(name, always, 10, -1, -1, hours if name == "a" else "") for name in ("a", "b")
    ]
    contracts = MonthContracts(default_contracts(["a", "b"]), meters=tuple(meters))
    told = read_month_batches(
        [batch(tmp_path, body)],
        period=month_period("2026-07", timezone=ZONE),
        books=meter_books(contracts, timezone=ZONE),
    )
    sums = told.readings.groupby("meter_point_id")[["energy_wh", "reactive_varh"]]
    assert told.placed == {"a"}
    assert sums.sum().loc["b"].tolist() == [7_440_000, 3_720_000]
    assert (sums.sum().loc["a", "energy_wh"], sums.max().loc["a", "reactive_varh"]) == (
        7_440_000,
        -1,
    )
    sent = told.readings.iloc[:1].assign(
        start=pd.Timestamp("2026-07-05 09:00", tz=ZONE), minutes=60
    )
    back = put_back(told, [sent]).readings
    whole = back[(back["meter_point_id"] == "a") & (back["minutes"] == 1440)]
    assert whole[["energy_wh", "reactive_varh"]].to_numpy().tolist() == [[240_000, -1]]


def test_a_document_of_green_button_has_reactive_energy_and_counts_the_rest():
    document = feed(
        reading_type(),
        reading_type("R", uom="73"),
        reading_type("RX", uom="73", flowDirection="19"),
        reading_type("D", uom="38", accumulationBehaviour="6"),
        reading_type("N", flowDirection="4"),
        block("250", "260"),
        block("30", "40", meter="M1/MeterReading/2", kind="R"),
        block("3", "4", meter="M1/MeterReading/3", kind="RX"),
        block("900", meter="M1/MeterReading/4", kind="D"),
        block("250", "260", meter="M1/MeterReading/5", kind="N"),
    )
    file = read_readings(document)
    assert file.readings[["energy_wh", "reactive_varh"]].to_numpy().tolist() == [
        [250, 30],
        [260, 40],
    ]
    assert file.passed_over == {"reactive-fed-in": 2, "other-quantity": 3}
    alone = feed(reading_type("R", uom="73"), block("30", kind="R"))
    assert refusal(alone).reason == "readings.unit"


def test_a_channel_of_nem12_that_is_not_billed_is_counted_and_one_without_q_is_unknown():
    file = read(
        *(channel("E1"), day(value="0.1")),
        *(channel("Q1", unit="kvarh"), day(value="0.007")),
        *(channel("K1", unit="kvarh"), day(value="9")),
        *(channel("E1", nmi="NMI0000002"), day(value="0.1")),
    )
    told = file.readings.groupby("meter_point_id")["reactive_varh"].unique()
    assert [one.tolist() for one in told] == [[7], [-1]]
    assert file.passed_over == {"reactive-fed-in": 48}


def test_a_document_of_iec_61968_counts_what_is_not_billed():
    quadrant = REACTIVE.replace(".1.1.12", ".15.1.12")
    fed_in = REACTIVE.replace(".1.1.12", ".19.1.12")
    voltage = TAKEN.replace(".12.0", ".54.0").replace("3.72", "0.29")
    data = message(
        meter(
            cim_block("0.25", "0.26"),
            cim_block("0.03", "0.04", of=REACTIVE),
            cim_block("1", of=quadrant),
            cim_block("2", "3", of=fed_in),
            cim_block("230", "231", "232", of=voltage),
            cim_block("0.1", "0.1", of=FED_IN),
            registers("100", "101"),
        )
    )
    file = read_readings(data)
    assert file.readings["reactive_varh"].tolist() == [30, 40]
    expected = {"reactive-part": 1, "reactive-fed-in": 2, "other-quantity": 3, "register-faces": 2}
    assert file.passed_over == expected


def test_lines_and_columns_that_are_not_billed_are_counted_in_a_body(tmp_path):
    lines = wide(("A", "import", "0.5"), ("A", "反向无功", "0.2"), ("A", "export", "0.1"))
    columns = faces(more=",RRP_R,反向有功尖,最大需量,户名", tail=",1,2,,x").encode()
    source = Source("headend", "t", ("",), "start", ZONE, "")
    for body, expected in (
        (lines, {"reactive-fed-in": 24}),
        (columns, {"reactive-fed-in": len(HOURS), "by-hours": len(HOURS)}),
    ):
        found = Counter()
        with SpooledBody(tmp_path) as spooled:
            spooled.add(body)
            spooled.finish()
            list(read_body(spooled, source=source, timezone=ZONE, passed_over=found))
        assert found == expected


def test_every_name_has_words_in_both_languages():
    for name, words in WORDS.items():
        chinese, english = PHRASES[f"notice_passed-over-{name}"]
        assert words in english
        assert "{count}" in chinese


def test_a_tariff_with_a_power_factor_refuses_a_meter_point_without_reactive_energy():
    readings = read_readings(
        wide(("A", "import", "0.5"), ("A", "reactive", "0.2"), ("B", "import", "1"))
    ).readings
    path = catalogue_tariffs(date(2025, 3, 1))["shenzhen-commercial-capacity"]
    tariff = load_tariff(path)
    contracts = default_contracts(["A", "B"]).assign(contracted_kva=Decimal(250))
    with pytest.raises(InvalidReadingsError) as refused:
        settle(readings, tariff=tariff, contracts=contracts, interval=pd.Timedelta(hours=1))
    assert refused.value.reason == "settlement.reactive-missing"
