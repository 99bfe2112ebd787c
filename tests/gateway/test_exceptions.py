"""The work list: what is put on it, what a person does to it, what validating again changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pandas as pd
import pytest

from gridsecure.billing.readings import ReadingProblem
from gridsecure.errors import ConflictError, InputError, NotFoundError, StorageError
from gridsecure.gateway import exceptions
from gridsecure.gateway.books.imports import state_contracts
from gridsecure.gateway.exceptions import Change, Wanted, change_exception, record_found
from gridsecure.gateway.findings import Found, list_found
from gridsecure.gateway.month_files import load_files
from gridsecure.gateway.month_plan import find_plan
from gridsecure.gateway.rule_sets import keep_rules
from gridsecure.store.database import read_session
from gridsecure.store.pages import PageAsked
from tests.billing.rule_inputs import book_text
from tests.gateway.gateway_world import MONTH, GatewayWorld, Killed, kill_at
from tests.gateway.reading_tables import long_table

AT = datetime(2026, 8, 1, 8, tzinfo=UTC)
NOBODY = pd.DataFrame({"meter_point_id": [], "reason": []}, dtype=str)
SPIKE = Found("A", "spike", 3, AT)
HOLDING = book_text(spike={"action": "hold"})


@pytest.fixture
def world(tmp_path):
    made = GatewayWorld(tmp_path, load_curves=False)
    yield made
    made.close()


def record(world, *found, month=MONTH, is_final=True):
    record_found(world.zone, month, found, at=world.clock(), is_final=is_final)


def listed(world, **wanted):
    with read_session(world.zone.engine) as session:
        rows, _ = exceptions.list_exceptions(session, PageAsked(), wanted=Wanted(**wanted))
        session.expunge_all()
    return rows


def states(world, **wanted):
    return {(row.meter_point_id, row.rule): row.state for row in listed(world, **wanted)}


def change(world, row, person="op", **what):
    change_exception(world.zone, row.id, Change(**what), person=person, at=world.clock())


def notes(world, row):
    return [(one.person, one.text) for one in exceptions.load_exception(world.zone, row.id)[1]]


# --- what is found


def problem(meter, rule, intervals=1, day=1):
    start = pd.Timestamp(f"2026-07-{day:02d}", tz="Asia/Shanghai")
    return ReadingProblem(meter, start, rule, "words", intervals)


def test_findings_are_one_for_each_meter_point_and_rule_without_what_is_no_work():
    problems = [
        problem("A", "spike", 2, day=9),
        problem("A", "spike", 1, day=4),
        problem("A", "superseded"),
        problem("A", "gap", 5),
        problem("B", "gap", 7, day=3),
        problem("B", "gap", 8, day=2),
        problem("C", "incomplete", 300),
        problem("D", "negative", 1),
        problem("D", "net-metered", 700),
    ]
    excluded = pd.DataFrame(
        [("B", "held"), ("C", "quarantined"), ("D", "net-metered"), ("E", "tariff-unknown")],
        columns=["meter_point_id", "reason"],
    )
    found = list_found(problems, held={"B": "gap"}, excluded=excluded)
    told = {(one.meter_point_id, one.rule): (one.intervals, one.is_unbilled) for one in found}
    assert told == {
        ("A", "spike"): (3, False),
        ("B", "gap"): (15, True),
        ("C", "incomplete"): (300, True),
        ("D", "negative"): (1, True),
        ("E", "tariff-unknown"): (0, True),
    }
    firsts = {one.meter_point_id: one.first_at for one in found}
    assert (firsts["A"].day, firsts["B"].day) == (4, 2)
    assert list_found([], held={}, excluded=NOBODY) == []


# --- validating again


def test_the_same_again_changes_nothing(world):
    record(world, SPIKE, Found("B", "height", 1))
    before = listed(world)
    record(world, Found("B", "height", 1), SPIKE)
    assert [row.model_dump() for row in listed(world)] == [row.model_dump() for row in before]
    assert notes(world, before[0]) == []


def test_what_is_found_no_more_is_resolved_and_what_comes_back_is_opened(world):
    record(world, SPIKE)
    (row,) = listed(world)
    record(world)
    assert states(world) == {("A", "spike"): "resolved"}
    record(world, SPIKE)
    assert states(world) == {("A", "spike"): "resolved"}, "of the same intervals"
    record(world, replace(SPIKE, intervals=4))
    assert states(world) == {("A", "spike"): "open"}
    assert [person for person, _ in notes(world, row)] == ["gateway"] * 2


@pytest.mark.parametrize(
    "found",
    [
        SPIKE,  # set aside, and estimated
        Found("A", "misaligned", 1),
        Found("A", "duplicate-conflict", 2),
        Found("A", "tier-energy", is_unbilled=True),
        Found("A", "identity.unknown-account", is_unbilled=True),
    ],
)
def test_a_waiver_that_would_do_nothing_is_refused(world, found):
    record(world, found)
    (row,) = listed(world)
    with pytest.raises(InputError) as refused:
        change(world, row, state="waived", note="a welder")
    assert refused.value.reason == "exception.waive"
    assert ("edits confirm" in refused.value.remedy) != found.is_unbilled
    assert states(world) == {("A", found.rule): "open"}


def test_a_waiver_follows_the_action_for_the_class(world):
    contracts = world.contracts()
    first, at = date(2026, 7, 1), world.clock()
    state_contracts(world.zone, contracts, valid_from=first, person="op", at=at)
    book = book_text(version="2", spike={"household": {"action": "hold"}})
    keep_rules(world.zone, book, person="op", at=at)
    names = contracts.groupby("customer_class")["meter_point_id"].first()
    home, other = names["household"], names.drop("household").iloc[0]
    record(world, replace(SPIKE, meter_point_id=home), replace(SPIKE, meter_point_id=other))
    row, kept = sorted(listed(world), key=lambda one: one.meter_point_id != home)
    change(world, row, state="waived", note="a welder")
    with pytest.raises(InputError):
        change(world, kept, state="waived", note="a welder")


def test_what_a_person_waived_stays_waived(world):
    keep_rules(world.zone, HOLDING, person="op", at=world.clock())
    record(world, SPIKE)
    (row,) = listed(world)
    change(world, row, state="waived", note="a new heat pump")
    record(world, replace(SPIKE, intervals=9))
    record(world)
    assert states(world) == {("A", "spike"): "waived"}
    assert exceptions.find_waived(world.zone, MONTH) == {("A", "spike")}
    assert exceptions.find_waived(world.zone, "2026-08") == frozenset()


def test_what_the_identity_authority_said_stays_until_it_is_asked_again(world):
    record(world, Found("A", "identity.revoked", is_unbilled=True))
    record(world, is_final=False)
    assert states(world) == {("A", "identity.revoked"): "open"}
    record(world)
    assert states(world) == {("A", "identity.revoked"): "resolved"}


def test_months_do_not_touch_each_other(world):
    record(world, SPIKE)
    record(world, month="2026-08")
    assert states(world) == {("A", "spike"): "open"}


def test_a_full_disk_leaves_the_list_as_it_was(world, monkeypatch):
    record(world, SPIKE)

    def full(*_args, **_more):
        raise StorageError("The database could not take it.")

    with monkeypatch.context() as patched:
        patched.setattr(exceptions, "_opened", full)
        with pytest.raises(StorageError):
            record(world, Found("B", "height", 1))
    assert states(world) == {("A", "spike"): "open"}


# --- what a person does


def test_an_exception_is_assigned_noted_closed_and_opened_again(world):
    record(world, SPIKE)
    (row,) = listed(world)
    change(world, row, owner="ann", due="2026-08-05")
    assert states(world, owner="ann") == {("A", "spike"): "assigned"}
    change(world, row, person="ann", note="rang the customer")
    change(world, row, person="ann", state="resolved", note="meter exchanged")
    change(world, row, state="open", note="not yet")
    (row,) = listed(world)
    assert (row.state, row.owner, row.due) == ("open", "", "2026-08-05")
    assert notes(world, row) == [
        ("op", "state: open → assigned; owner: – → ann; due: – → 2026-08-05"),
        ("ann", "rang the customer"),
        ("ann", "state: assigned → resolved\nmeter exchanged"),
        ("op", "state: resolved → open; owner: ann → –\nnot yet"),
    ]


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ({}, "exception.change"),
        ({"state": "assigned"}, "exception.change"),
        ({"state": "waived"}, "exception.note"),
        ({"state": "resolved"}, "exception.note"),
        ({"note": "x" * 2001}, "exception.note"),
        ({"owner": "x" * 201}, "exception.note"),
        ({"due": "2026-02-30"}, "exception.due"),
    ],
)
def test_a_change_that_cannot_be_meant_is_refused(world, what, reason):
    record(world, SPIKE)
    (row,) = listed(world)
    with pytest.raises(InputError) as refused:
        change(world, row, **what)
    assert refused.value.reason == reason
    assert listed(world)[0].revision == row.revision


def test_who_saw_an_earlier_state_decides_anew(world):
    record(world, SPIKE)
    (row,) = listed(world)
    change(world, row, owner="ann", revision=row.revision)
    with pytest.raises(ConflictError) as refused:
        change(world, row, owner="bob", revision=row.revision)
    assert refused.value.reason == "conflict.exception"
    with pytest.raises(NotFoundError):
        exceptions.load_exception(world.zone, 999)


# --- with a month


def spiked(world) -> bytes:
    table = long_table(world)
    homes = world.simulated.contracts.query("customer_class == 'household'")
    row = table.index[table["meter_point_id"] == homes["meter_point_id"].iloc[0]][100]
    table.loc[row, "kwh"] = "60.000"
    return table.to_csv(index=False).encode()


def test_a_held_bill_is_let_go_by_a_waiver_and_stays_let_go(world):
    world.save(spiked(world))
    keep_rules(world.zone, HOLDING, person="op", at=world.clock())
    with pytest.raises(Killed):
        world.process(progress=kill_at("enrol"))
    (row,) = listed(world, month=MONTH)
    assert (row.rule, row.intervals, row.is_unbilled) == ("spike", 1, True)
    change(world, row, state="waived", note="a welder, seen on site")
    with pytest.raises(Killed):
        world.process(progress=kill_at("encrypt"))
    assert find_plan(world.zone, MONTH).waived == ((row.meter_point_id, "spike"),)
    # Whoever opens it again after the plan is fixed changes nothing of this month.
    change(world, row, state="open", note="too late")
    world.restart()
    assert load_files(world.zone, MONTH).waived == {(row.meter_point_id, "spike")}
    report = world.process()
    assert (report.billed_meters, report.excluded) == (20, {})


def test_a_month_of_which_nobody_is_billed_says_so_on_the_list(world):
    contracts = world.contracts_csv().decode().replace("flat", "no-such").encode()
    other = contracts.replace(b",shenzhen-", b",none-")
    world.save(contracts=other)
    with pytest.raises(InputError) as refused:
        world.process()
    found = {(row.rule, row.is_unbilled) for row in listed(world)}
    assert refused.value.reason == "month.nothing-billed"
    assert found == {("tariff-unknown", True)}
