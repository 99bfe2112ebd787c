"""Edits: what a person puts in place of readings, who approves it, which ones a month counts."""

from __future__ import annotations

import dataclasses
import errno
import json
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pandas as pd
import pytest

from gridsecure.billing.register_hours import PlacedRegisters
from gridsecure.errors import (
    ConflictError,
    InputError,
    NotFoundError,
    StorageError,
)
from gridsecure.gateway import edit_changes, edits
from gridsecure.gateway.approvals import Author
from gridsecure.gateway.books.imports import state_contracts
from gridsecure.gateway.books.months import Holding
from gridsecure.gateway.collection import LaterReadings, find_vouched, read_files
from gridsecure.gateway.edits import (
    Meant,
    confirm_readings,
    decide_edit,
    order_estimate,
    replace_readings,
)
from gridsecure.gateway.ingestion import stored_readings
from gridsecure.gateway.month_files import load_files
from gridsecure.gateway.month_plan import find_plan
from gridsecure.gateway.reconciliation import compute_expected_bills
from gridsecure.gateway.rule_sets import keep_rules
from gridsecure.periods import month_period
from gridsecure.store import evidence
from gridsecure.store.database import read_session
from gridsecure.store.log_tree import verify_log
from tests.billing.rule_inputs import book_text
from tests.gateway.gateway_world import MONTH, GatewayWorld, Killed, kill_at
from tests.gateway.reading_tables import long_table

HEADER = "meter_point_id,start,kwh\n"
HOUR = 100
START = "2026-07-05T04:00:00+08:00"  # of hour 100


@pytest.fixture
def world(tmp_path):
    made = GatewayWorld(tmp_path, load_curves=False)
    first, at = date(2026, 7, 1), made.clock()
    contracts = made.contracts()
    others = contracts.head(2).assign(meter_point_id=["A", "B"])
    held = pd.concat([contracts, others], ignore_index=True)
    state_contracts(made.zone, held, valid_from=first, person="op", at=at)
    yield made
    made.close()


def home(world):
    homes = world.simulated.contracts.query("customer_class == 'household'")
    return homes["meter_point_id"].iloc[0]


def replace(world, text, *, person="ann", reason="read on site", month=MONTH):
    author = Author(person, reason)
    try:
        files = load_files(world.zone, month)
    except NotFoundError:
        files = None
    return replace_readings(
        world.zone, month, text.encode(), files=files, author=author, at=world.clock()
    )


def decide(world, number, *, approve=True, person="bob", reason=""):
    decision = Author(person, reason)
    decide_edit(world.zone, number, approve=approve, decision=decision, at=world.clock())


def line(meter, kwh, start=START):
    return f"{HEADER}{meter},{start},{kwh}\n"


def state(world, number):
    return edits.load_edit(world.zone, number).state


def spiked(world) -> bytes:
    """The month with 60 kWh in one hour of a home, which validation sets aside."""
    table = long_table(world)
    row = table.index[table["meter_point_id"] == home(world)][HOUR]
    table.loc[row, "kwh"] = "60.000"
    assert table.loc[row, "start"] == START
    return table.to_csv(index=False).encode()


def bills(world):
    found = compute_expected_bills(world.zone, load_files(world.zone, MONTH))
    return [bill for roster in found.values() for bill in roster.values()]


def energy_of(world, report, kwh):
    """Whether some bill has the energy of the home with that much in the hour."""
    readings = world.simulated.readings()
    own = readings[(readings["meter_point_id"] == home(world)).to_numpy()]["energy_wh"].to_numpy()
    wanted = int(own.sum() - own[HOUR] + kwh * 1000)
    totals = (world.folder / "months" / MONTH / "totals.csv").read_text()
    assert report.billed_meters == 20
    return f"{home(world)},{wanted}" in totals.splitlines()


def test_a_replaced_reading_counts_and_is_not_judged_again(world):
    world.save(spiked(world))
    number = replace(world, line(home(world), "55.5"))
    assert state(world, number) == "in-force"
    report = world.process()
    assert (report.quarantined, report.estimated, report.problems) == (0, 0, {})
    assert energy_of(world, report, 55.5)
    assert len(find_plan(world.zone, MONTH).edits) == 1
    (file,) = (world.folder / "edits").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_reading_that_was_set_aside_is_confirmed_as_it_came(world):
    world.save(spiked(world))
    with pytest.raises(Killed):
        world.process(progress=kill_at("enrol"))
    number = confirm_readings(
        world.zone,
        MONTH,
        meant=Meant(home(world), START, START),
        author=Author("ann", "a welder"),
        at=world.clock(),
    )
    row = edits.load_edit(world.zone, number)
    assert (row.kind, row.state, row.intervals) == ("confirmation", "in-force", 1)
    report = world.process()
    assert (report.quarantined, report.estimated) == (0, 0)
    assert energy_of(world, report, 60)


def estimated(world, first, last, *, meter=None):
    meant = Meant(meter or home(world), first, last)
    files, author = load_files(world.zone, MONTH), Author("ann", "the meter hung")
    return order_estimate(
        world.zone, MONTH, meant=meant, files=files, author=author, at=world.clock()
    )


def test_readings_that_count_are_estimated_by_order_and_the_same_order_again_is_the_same(world):
    world.save()
    last = "2026-07-05T05:00:00+08:00"
    number = estimated(world, START, last)
    row = edits.load_edit(world.zone, number)
    assert (row.kind, row.state, row.intervals) == ("estimate", "in-force", 2)
    assert estimated(world, START, last) == number
    # Over it lies another edit; the order is another one then.
    over = replace(world, line(home(world), "7"))
    again = estimated(world, START, last)
    assert number < over < again
    report = world.process()
    assert (report.estimated, report.billed_meters) == (2, 20)


@pytest.mark.parametrize(
    ("first", "last", "reason"),
    [
        ("2026-07-05T04:00:00", START, "edit.span"),
        ("2026-07-05T04:10:00+08:00", "2026-07-05T04:50:00+08:00", "edit.estimated"),
        ("2026-09-05T04:00:00+08:00", "2026-09-05T05:00:00+08:00", "edit.estimated"),
    ],
)
def test_what_nothing_came_of_is_estimated_already(world, first, last, reason):
    world.save()
    with pytest.raises(InputError) as refused:
        estimated(world, first, last)
    assert refused.value.reason == reason


def test_a_large_order_of_estimates_waits_for_a_second_person(world):
    world.save()
    days = ("2026-07-01T00:00:00+08:00", "2026-07-03T00:00:00+08:00")
    assert state(world, estimated(world, *days, meter=factory(world))) == "pending"


@pytest.mark.parametrize(
    ("name", "start", "month", "reason"),
    [
        ("NOPE", START, MONTH, "edit.unknown-meter-point"),
        ("NOPE~4403009999", START, MONTH, "edit.unknown-meter-point"),
        ("", "2026-12-05T04:00:00+08:00", "2026-12", "edit.future"),
        ("", "2026-06-05T04:00:00+08:00", MONTH, "edit.month"),
    ],
)
def test_readings_that_no_bill_can_count_are_refused_at_once(world, name, start, month, reason):
    with pytest.raises(InputError) as refused:
        replace(world, line(name or home(world), "1", start=start), month=month)
    assert refused.value.reason == reason
    assert "NOPE" in refused.value.message or not name
    assert not list((world.folder / "edits").glob("*.parquet"))


def test_a_meter_point_that_others_are_compared_with_may_be_nobodys(world):
    one, two = world.simulated.meter_point_ids[:2]
    text = book_text(version="2", sum_check={"children": {"STREET-7": [one, two]}})
    keep_rules(world.zone, text, month=MONTH, person="op", at=world.clock())
    assert state(world, replace(world, line("STREET-7", "1"))) == "in-force"


def test_feed_in_makes_an_edit_large_as_energy_does(world):
    header = "meter_point_id,start,kwh,export_kwh\n"
    much = replace(world, f"{header}{home(world)},{START},50,50.001\n")
    little = replace(world, f"{header}{home(world)},{START},50,50\n")
    assert [state(world, number) for number in (much, little)] == ["pending", "in-force"]


def factory(world):
    return world.simulated.contracts.query("customer_class == 'factory'")["meter_point_id"].iloc[0]


def hours(meter, first, count, kwh):
    return HEADER + "".join(
        f"{meter},2026-07-{1 + hour // 24:02d}T{hour % 24:02d}:00:00+08:00,{kwh}\n"
        for hour in range(first, first + count)
    )


def test_energy_that_is_taken_away_counts_as_energy_that_is_added(world):
    world.save()
    assert state(world, replace(world, hours(factory(world), 0, 48, "0"))) == "pending"
    own = replace(world, hours(home(world), 0, 48, "0"))  # a home uses little
    assert state(world, own) == "in-force"


@pytest.mark.parametrize("twice", [False, True])
def test_readings_said_again_so_that_none_counts_are_a_change_of_all_of_them(world, twice):
    world.save()
    table = long_table(world).query("meter_point_id == @name", local_dict={"name": factory(world)})
    own = table.iloc[12:60][["meter_point_id", "start", "kwh"]]
    assert own["kwh"].astype(float).sum() > 100
    assert state(world, replace(world, own.to_csv(index=False))) == "in-force"
    flags = ["actual", "actual"] if twice else ["missing"]
    parts = [own.assign(quality=flag) for flag in flags]
    parts[:-1] = [one.assign(kwh="1.000") for one in parts[:-1]]
    number = replace(world, pd.concat(parts).to_csv(index=False))
    assert state(world, number) == "pending"


def test_energy_that_batches_hold_is_known_before_any_file_came(world, monkeypatch):
    told = PlacedRegisters(world.simulated.readings(), (), frozenset())
    monkeypatch.setattr(edit_changes, "newest_batch", lambda _zone: 1)
    monkeypatch.setattr(edit_changes, "find_batches", lambda *_given, **_more: ("one",))
    monkeypatch.setattr(edit_changes, "read_month_batches", lambda *_given, **_more: told)
    assert state(world, replace(world, hours(factory(world), 0, 48, "0"))) == "pending"


def test_many_small_edits_are_as_large_as_one(world):
    first = replace(world, hours(home(world), 0, 60, "0.5"))
    again = replace(world, hours(home(world), 0, 60, "0.4"))  # the same intervals once more
    second = replace(world, hours(home(world), 60, 60, "0.5"))
    assert [state(world, n) for n in (first, again, second)] == ["in-force", "in-force", "pending"]
    much = [replace(world, line("B", "60", f"2026-07-05T0{n}:00:00+08:00")) for n in (1, 2)]
    assert [state(world, number) for number in much] == ["in-force", "pending"]


def test_edits_that_come_at_one_time_count_together(world, monkeypatch):
    all_counted, mine, count = threading.Barrier(4), threading.local(), edits.measure_lone

    def count_at_once(*given, **more):
        found = count(*given, **more)
        if not hasattr(mine, "counted"):
            mine.counted = True
            all_counted.wait(30)
        return found

    monkeypatch.setattr(edits, "measure_lone", count_at_once)
    much = [line("B", "90", f"2026-07-05T0{n}:00:00+08:00") for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(lambda text: replace(world, text), much))
    states = sorted(state(world, number) for number in numbers)
    assert states == ["in-force", "pending", "pending", "pending"]


def test_what_comes_later_over_an_edit_is_judged_again(world):
    world.save(spiked(world))
    replace(world, line(home(world), "55.5"))
    files = load_files(world.zone, MONTH)
    own = (world.zone.timezone, world.zone.period(MONTH))
    for text, vouched in ((line(home(world), "70"), 0), (line(home(world), "55.5"), 1)):
        path = world.folder / "later.csv"
        path.write_text(text)
        later = dataclasses.replace(files, later=(LaterReadings((path,)),))
        read = read_files(later, timezone=own[0], period=own[1])
        assert len(find_vouched(later, read, timezone=own[0], period=own[1])) == vouched


def test_an_edit_of_who_moved_in_is_of_its_days_alone(world):
    world.save()
    replace(world, hours(f"{home(world)}~B", 0, 48, "2.001"))
    files = load_files(world.zone, MONTH)
    days = (date(2026, 7, 2), date(2026, 8, 1))
    moved = (
        Holding(home(world), home(world), (date(2026, 7, 1), days[0])),
        Holding(f"{home(world)}~B", home(world), days),
    )
    books = dataclasses.replace(files.contracts(), moved=moved)
    files = dataclasses.replace(files, contracts=lambda: books)
    zone = world.zone.timezone
    period = month_period(MONTH, timezone=zone)
    (read,) = read_files(files, timezone=zone, period=period)
    named = dataclasses.replace(read, readings=books.name_holders(read.readings, timezone=zone))
    counts = named.readings.groupby(["meter_point_id", "start"], observed=True).size()
    assert set(counts) == {1}  # nothing stands beside what it replaced
    own = named.readings[named.readings["energy_wh"] == 2001]["meter_point_id"].astype(str)
    assert own[own.str.startswith(home(world))].tolist() == [f"{home(world)}~B"] * 24
    vouched = find_vouched(files, [named], timezone=zone, period=period)
    assert len(vouched) == 24


def test_a_large_edit_counts_once_another_person_approved_it(world):
    text = HEADER + "".join(
        f"{home(world)},2026-07-{day:02d}T{hour:02d}:00:00+08:00,0.5\n"
        for day in range(1, 6)
        for hour in range(24)
    )
    many = replace(world, text)
    much = replace(world, line(home(world), "100.001"))
    little = replace(world, line(home(world), "100"))
    assert [state(world, number) for number in (many, much, little)] == [
        "pending", "pending", "in-force",
    ]  # fmt: skip
    assert len(edits.find_edits(world.zone, MONTH)) == 1
    with pytest.raises(ConflictError) as refused:
        decide(world, many, person="ann")
    assert refused.value.reason == "approval.same-person"
    decide(world, many, reason="seen on site")
    assert len(edits.find_edits(world.zone, MONTH)) == 2
    row = edits.load_edit(world.zone, many)
    assert (row.state, row.person, row.approver, row.decision) == (
        "in-force", "ann", "bob", "seen on site",
    )  # fmt: skip
    with pytest.raises(ConflictError) as decided:
        decide(world, many)
    assert decided.value.reason == "conflict.approval"
    # Who made an edit may take it back, with a reason.
    with pytest.raises(InputError):
        decide(world, much, approve=False, person="ann")
    decide(world, much, approve=False, person="ann", reason="a typing error")
    assert state(world, much) == "rejected"


def test_limits_are_those_of_the_rule_book(world):
    book = book_text(edits={"alone_intervals": 0})
    keep_rules(world.zone, book, person="op", at=world.clock())
    assert state(world, replace(world, line("A", "1"))) == "pending"


def test_a_later_edit_lies_over_an_earlier_one(world):
    world.save()
    replace(world, line(home(world), "7"))
    replace(world, line(home(world), "8"))
    gone = replace(world, line(home(world), "9"))
    decide(world, gone, approve=False, person="ann", reason="wrong meter")
    assert energy_of(world, world.process(), 8)


def test_what_comes_when_the_month_is_fixed_is_refused_or_said_to_be_late(world):
    world.save()
    counted = replace(world, line(home(world), "7"))
    waiting = replace(world, line(home(world), "101"))
    files = load_files(world.zone, MONTH)
    with pytest.raises(Killed):
        world.process(progress=kill_at("encrypt"))
    assert (state(world, counted), state(world, waiting)) == ("in-force", "late")
    for attempt in (
        lambda: replace(world, line(home(world), "9")),
        lambda: decide(world, counted, approve=False, reason="too late"),
        lambda: decide(world, waiting),
    ):
        with pytest.raises(ConflictError) as refused:
            attempt()
        assert refused.value.reason == "conflict.month-edits"
    world.restart()
    assert load_files(world.zone, MONTH).edits == files.edits
    report = world.process()
    assert energy_of(world, report, 7)
    assert len(bills(world)) == 20


@pytest.mark.parametrize(
    ("text", "more", "reason"),
    [
        (line("A", "1"), {"reason": " "}, "approval.reason"),
        (line("A", "1"), {"reason": "x" * 2001}, "approval.reason"),
        (line("A", "1") + f"B,{START},1\n", {}, "edit.meter-point"),
        (line("A", "1", "2026-08-01T00:00:00+08:00"), {}, "edit.month"),
        (line("A", "1", "2026-06-30T23:00:00+08:00"), {}, "edit.month"),
        (line("A", "1.2345"), {}, "readings.energy"),
        ("nothing", {}, "readings.empty"),
        (line("A", "1").replace("kwh", "register_kwh"), {}, "readings.registers"),
        (line("A", "1"), {"month": "2026-13"}, "month.format"),
    ],
)
def test_an_edit_that_cannot_be_meant_is_refused_and_nothing_kept(world, text, more, reason):
    with pytest.raises(InputError) as refused:
        replace(world, text, **more)
    assert refused.value.reason == reason
    assert not (world.folder / "edits").exists()
    with pytest.raises(NotFoundError):
        edits.load_edit(world.zone, 1)


@pytest.mark.parametrize(
    ("span", "reason"),
    [
        (("2026-07-05T05:00:00+08:00", "2026-07-05T06:00:00+08:00"), "edit.nothing"),
        (("2026-07-05T04:00:00", "2026-07-05T04:00:00"), "edit.span"),
        (("soon", "later"), "edit.span"),
        (("2026-07-05T04:00:00+08:00", "2026-07-05T04:00:00+08:00"), "edit.ambiguous"),
    ],
)
def test_what_was_not_set_aside_cannot_be_confirmed(world, span, reason):
    folder = world.folder / "months" / MONTH
    folder.mkdir(parents=True)
    rows = "0,A,2026-07-05 04:00:00+0800,1.000\n1,A,2026-07-05 04:00:00+0800,2.000\n"
    (folder / "quarantine.csv").write_text("row,meter_point_id,start,kwh\n" + rows)
    with pytest.raises(InputError) as refused:
        confirm_readings(
            world.zone,
            MONTH,
            meant=Meant("A", *span),
            author=Author("ann", "why"),
            at=world.clock(),
        )
    assert refused.value.reason == reason


def test_a_full_disk_keeps_no_edit(world, monkeypatch):
    def full(*_args, **_more):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(stored_readings.os, "fsync", full)
        with pytest.raises(StorageError):
            replace(world, line("A", "1"))
    with pytest.raises(NotFoundError):
        edits.load_edit(world.zone, 1)
    assert not list((world.zone.folder / "edits").iterdir())


def test_an_edit_that_was_altered_on_disk_stops_the_month(world):
    world.save()
    replace(world, line(home(world), "7"))
    (file,) = (world.folder / "edits").iterdir()
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(StorageError) as refused:
        world.process()
    assert refused.value.reason == "storage.read"
    assert find_plan(world.zone, MONTH) is None


def test_the_evidence_log_names_who_and_no_reading(world):
    number = replace(world, line("A", "101"))
    decide(world, number)
    with read_session(world.zone.engine) as session:
        head = evidence.find_head(session)
        verify_log(session)
    assert head.action == "reading.edited"
    detail = json.loads(head.detail)
    assert (detail.pop("person"), detail.pop("state")) == ("bob", "in-force")
    assert set(detail) == {"edit", "month", "readings"}
