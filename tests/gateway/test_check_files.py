"""Check files of a month: faces of registers and totals of days beside its intervals."""

from __future__ import annotations

from datetime import date
from io import BytesIO

import pandas as pd
import pytest

from gridsecure.billing.contracts import default_contracts
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.books.months import MeterDays, MonthContracts
from gridsecure.gateway.check_files import tell_totals
from gridsecure.gateway.exceptions import Change, Wanted, change_exception, list_exceptions
from gridsecure.gateway.month_files import HandedIn, load_files, save_files
from gridsecure.gateway.rule_sets import keep_rules
from gridsecure.gateway.rule_trials import Trial, find_trial, try_rules
from gridsecure.periods import month_period
from gridsecure.store.database import read_session
from gridsecure.store.pages import PageAsked
from tests.billing.rule_inputs import book_text
from tests.gateway.gateway_world import MONTH, GatewayWorld, Killed, kill_at
from tests.gateway.reading_tables import long_table

ZONE = "Asia/Shanghai"
JULY = month_period(MONTH, timezone=ZONE)


@pytest.fixture
def world(tmp_path):
    made = GatewayWorld(tmp_path, load_curves=False)
    yield made
    made.close()


def save(world, *checks: str, readings: bytes | None = None) -> None:
    contracts = world.contracts_csv()
    world.list_contracts(world.read_contracts(contracts))
    files = HandedIn(
        [BytesIO(readings or world.simulated.wide_csv())],
        contracts=BytesIO(contracts),
        checks=[BytesIO(text.encode()) for text in checks],
    )
    save_files(world.zone, MONTH, files=files, person="op", at=world.clock())


def admit(world) -> None:
    """Bring the work list up to date, and end before anything is sent."""
    with pytest.raises(Killed):
        world.process(progress=kill_at("encrypt"))


def listed(world) -> dict[tuple[str, str], tuple[int, bool]]:
    with read_session(world.zone.engine) as session:
        rows, _ = list_exceptions(session, PageAsked(), wanted=Wanted(month=MONTH))
        return {(row.meter_point_id, row.rule): (row.intervals, row.is_unbilled) for row in rows}


def month_wh(world, meter: str) -> int:
    readings = world.simulated.readings()
    return int(readings.loc[readings["meter_point_id"] == meter, "energy_wh"].sum())


def faces(**ends_wh: tuple[int, int]) -> str:
    """A face at the month's start and end of each meter point."""
    lines = ["meter_point_id,start,register_kwh"]
    for meter, shown in ends_wh.items():
        for moment, wh in zip(("2026-07-01 00:00", "2026-08-01 00:00"), shown, strict=True):
            lines.append(f"{meter},{moment},{wh // 1000}.{wh % 1000:03d}")
    return "\n".join(lines) + "\n"


def test_a_register_that_counted_otherwise_is_on_the_work_list(world):
    first, second = world.simulated.meter_point_ids[:2]
    right, wrong = month_wh(world, first), month_wh(world, second) * 11 // 10
    save(world, faces(**{first: (5_000, 5_000 + right), second: (7_000, 7_000 + wrong)}))
    admit(world)
    assert listed(world) == {(second, "register"): (744, False)}


def test_a_day_that_does_not_add_up_is_found_in_its_hours(world):
    meter = world.simulated.meter_point_ids[0]
    readings = world.simulated.readings()
    own = readings[readings["meter_point_id"] == meter].set_index("start")["energy_wh"]
    days = own.groupby(own.index.strftime("%Y-%m-%d")).sum()
    days["2026-07-09"] += 50_000
    lines = [f"{meter},{day},{wh // 1000}.{wh % 1000:03d}" for day, wh in days.items()]
    save(world, "\n".join(["meter_point_id,date,kwh", *lines]) + "\n")
    admit(world)
    assert listed(world) == {(meter, "daily-total"): (24, False)}


def test_a_rule_that_holds_leaves_the_bill_until_somebody_waives_it(world):
    meter = world.simulated.meter_point_ids[0]
    save(world, faces(**{meter: (5_000, 6_000)}))
    keep_rules(world.zone, book_text(register={"action": "hold"}), person="op", at=world.clock())
    with pytest.raises(Killed):
        world.process(progress=kill_at("enrol"))
    assert listed(world) == {(meter, "register"): (744, True)}
    with read_session(world.zone.engine) as session:
        (row,), _ = list_exceptions(session, PageAsked(), wanted=Wanted(month=MONTH))
        number = row.id
    let_go = Change(state="waived", note="the display was read wrongly")
    change_exception(world.zone, number, let_go, person="op", at=world.clock())
    report = world.process()
    assert (report.billed_meters, report.problems["register"]) == (20, 1)


def test_a_meter_of_a_street_without_a_contract_is_compared_with_the_homes_behind_it(world):
    homes = list(world.simulated.meter_point_ids[:3])
    table = long_table(world)
    street = table[table["meter_point_id"].isin(homes)].copy()
    street["kwh"] = (street["kwh"].astype(float) * 1000).round().astype(int)
    street = street.groupby("start", as_index=False, sort=False)["kwh"].sum()
    street.loc[50, "kwh"] += 300_000  # in the third day's first hours
    street["kwh"] = [f"{wh // 1000}.{wh % 1000:03d}" for wh in street["kwh"]]
    street["meter_point_id"] = "STREET"
    both = pd.concat([table, street[table.columns]])
    save(world, readings=both.to_csv(index=False).encode())
    relations = {"children": {"STREET": homes, "nobody": homes}, "action": "hold"}
    keep_rules(world.zone, book_text(sum_check=relations), person="op", at=world.clock())
    admit(world)
    # Nobody is billed for the street, so nothing of it can be held.
    assert listed(world)["STREET", "sum-check"] == (24, False)
    assert not any(rule == "not-compared" for _, rule in listed(world))


def test_a_trial_tells_what_another_tolerance_would_find(world):
    meter = world.simulated.meter_point_ids[0]
    save(world, faces(**{meter: (1_000, month_wh(world, meter) + 1_001)}))
    exact = book_text(version="exact", register={"tolerance_wh": 0, "tolerance_percent": 0})
    try_rules(
        world.zone,
        load_files(world.zone, MONTH),
        Trial(exact, "op"),
        clock=world.clock,
        progress=lambda *_: None,
    )
    _, counts = find_trial(world.zone, MONTH)
    assert {row.rule: (row.before, row.after) for row in counts}["register"] == (0, 1)
    assert listed(world) == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("meter_point_id,start,kwh\nA,2026-07-01 00:00,1\n", "readings.columns"),
        ("meter_point_id,date,register_kwh\nA,2026-07-01,1\n", "readings.columns"),
        ("meter_point_id,date,kwh\nA,2026-07-41,1\n", "readings.timestamp"),
        ("meter_point_id,start,register_kwh\nA,2026-07-01 00:00,x\n", "readings.energy"),
        ("meter_point_id,start,register_kwh\nA,2026-07-01 00:00,1,2\n", "readings.malformed"),
        ("", "readings.empty"),
    ],
)
def test_a_check_file_that_cannot_be_read_is_refused_and_changes_nothing(world, text, reason):
    save(world, faces(A=(0, 1)))
    before = load_files(world.zone, MONTH).checks
    with pytest.raises(InvalidReadingsError) as refused:
        save(world, faces(A=(0, 1)), text)
    assert refused.value.reason == reason
    assert load_files(world.zone, MONTH).checks == before
    assert all(path.exists() for path in before)


def test_an_exchanged_meter_is_counted_on_and_another_multiplier_is_not_guessed(tmp_path):
    path = tmp_path / "faces.csv"
    path.write_text(
        "meter_point_id,start,register_kwh\n"
        "A,2026-07-01 00:00,100\nA,2026-07-11 00:00,110\nA,2026-08-01 00:00,7\n"
        "B,2026-07-01 00:00,100\nB,2026-07-11 00:00,110\nB,2026-08-01 00:00,120\n"
    )
    july, change, august = date(2026, 7, 1), date(2026, 7, 16), date(2026, 8, 1)
    books = MonthContracts(
        default_contracts(["A", "B"]),
        meters=(
            MeterDays("A", (july, change), 1, -1, 115_000),
            MeterDays("A", (change, august), 1, 2_000, -1),
            MeterDays("B", (july, change), 30, -1, 115_000),
            MeterDays("B", (change, august), 40, 115_000, -1),
        ),
    )
    totals, problems = tell_totals([path], books, period=JULY, timezone=ZONE)
    assert problems == ()
    named = totals.groupby("meter_point_id")["energy_wh"].agg(list).to_dict()
    assert named == {"A": [10_000, 10_000], "B": [300_000]}


def test_a_month_handed_in_before_there_were_check_files_has_none(world):
    save(world)
    pointer = world.folder / "months" / MONTH / "input.json"
    pointer.write_text(pointer.read_text().replace('"checks": [], ', ""))
    assert load_files(world.zone, MONTH).checks == ()


def test_what_registers_are_concluded_from_is_counted(world):
    meter = world.simulated.meter_point_ids[0]
    days = [f"{meter},2026-07-{day:02d} 00:00,{500 + day}" for day in range(1, 30)]
    days[9] = f"{meter},2026-07-10 00:00,0"
    save(world, "\n".join(["meter_point_id,start,register_kwh", *days]) + "\n")
    assert world.process().problems["zero-face"] == 1
