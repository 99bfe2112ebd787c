"""Months and corrections that a gateway begins by itself: when they are due, and not before."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from itertools import islice

import pytest

from gridsecure.gateway import outbox, preparation
from gridsecure.gateway.books.imports import state_contracts
from gridsecure_api.gateway_timetable import Due, Timetable
from tests.apps.test_api_corrections import late, line, meter, months_of
from tests.apps.test_api_readings import REAL_PACKING, Sources, written
from tests.gateway.gateway_world import MONTH, Killed
from tests.gateway.reading_tables import long_table

END = datetime(2026, 7, 31, 16, tzinfo=UTC)
"""The end of July in Shenzhen."""


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """Services that nothing was handed in to."""
    monkeypatch.setattr(
        preparation, "pack_energies", lambda *a, **k: islice(REAL_PACKING(*a, **k), 3)
    )
    made = Sources(tmp_path)
    yield made
    made.close()


@pytest.fixture
def services(bare):
    bare.put_files()
    return bare


def timetable(services, now: datetime, *, cut_off=None, gathered=None) -> Timetable:
    own = services.app.state.service
    return Timetable(own.zone, own.worker, lambda: now, Due(cut_off, gathered, None))


def begun(services, now: datetime, **days) -> dict:
    """What a look at a moment begins; where the month stands when that is done."""
    timetable(services, now, **days).begin_due()
    services.worker.wait(300)
    return services.call("GET", "").json()


def test_a_month_is_billed_at_its_cut_off_and_not_before(services):
    assert begun(services, END + timedelta(days=30))["state"] == "waiting"  # nobody set a day
    early = begun(services, END + timedelta(days=3, seconds=-1), cut_off=3)
    assert early["state"] == "waiting"
    (shown,) = timetable(services, END, cut_off=3).board()
    assert datetime.fromisoformat(shown.due_at) == END + timedelta(days=3)
    assert begun(services, END + timedelta(days=3), cut_off=3)["state"] == "done"
    (shown,) = timetable(services, END + timedelta(days=9), cut_off=3).board()
    assert (shown.state, shown.late_readings, shown.due_at) == ("done", False, None)


def test_a_month_of_batches_and_books_is_billed_without_a_file(bare):
    zone = bare.app.state.service.zone
    assert bare.call("GET", "").json()["reason"] == "month.unknown"
    answer = bare.send(written(long_table(bare.world), "csv"))
    assert bare.receipt(answer).months == {MONTH: "waiting"}
    assert bare.call("POST", "/process").json()["reason"] == "month.unknown"
    (shown,) = timetable(bare, END + timedelta(days=3), cut_off=3).board()
    assert (shown.month, shown.state, shown.reason) == (MONTH, "waiting", "month.no-contracts")
    assert shown.due_at is None
    contracts = bare.world.contracts()
    state_contracts(zone, contracts, valid_from=date(2026, 7, 1), person="operator", at=END)
    assert begun(bare, END + timedelta(days=3), cut_off=3)["state"] == "done"
    assert months_of(bare, "b1") == {MONTH: "done"}


def test_late_readings_are_gathered_and_then_corrected(services):
    assert services.processed()["state"] == "done"
    receipt = late(services, line(meter(services), "9.000"), batch="late", sequence=1)
    came = datetime.fromisoformat(receipt.taken_in_at)
    late(services, line(meter(services, 1), "9.000"), batch="more", sequence=2)
    (shown,) = services.client.get("/months", headers=services.token("billing")).json()
    assert (shown["month"], shown["late_readings"], shown["due_at"]) == (MONTH, True, None)
    begun(services, came + timedelta(days=7, seconds=-1), gathered=7)
    assert months_of(services, "late") == {MONTH: "late"}
    begun(services, came + timedelta(days=7), gathered=7)
    assert months_of(services, "late") == months_of(services, "more") == {MONTH: "corrected"}
    (made,) = services.call("GET", "/corrections").json()
    assert (made["state"], made["report"]["corrected"]) == ("done", 2)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_interrupted_correction_is_finished_by_itself(services, monkeypatch):
    assert services.processed()["state"] == "done"
    late(services, line(meter(services), "9.000"), batch="late", sequence=1)

    def kill(*_given: object, **_more: object) -> int:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(outbox, "send", kill)
        begun(services, END + timedelta(days=60), gathered=7)
    assert [one["state"] for one in services.call("GET", "/corrections").json()] == ["interrupted"]
    services.start()
    begun(services, END + timedelta(days=60), gathered=7)
    assert [one["state"] for one in services.call("GET", "/corrections").json()] == ["done"]


def test_what_failed_is_tried_again_after_an_hour(services):
    services.platform_is_down = True
    now = datetime.now(UTC)
    assert begun(services, now, cut_off=3)["state"] == "failed"
    services.platform_is_down = False
    assert begun(services, now + timedelta(minutes=50), cut_off=3)["state"] == "failed"
    path = services.months / MONTH / "failure.json"
    hour_ago = (datetime.now(UTC) - timedelta(minutes=61)).timestamp()
    os.utime(path, (hour_ago, hour_ago))
    assert begun(services, datetime.now(UTC), cut_off=3)["state"] == "done"
