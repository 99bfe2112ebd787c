"""Corrections by files through the gateway's service: ordered, approved by another, rejected."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest

from gridsecure.gateway import correction_run, outbox, preparation
from gridsecure.gateway.correction_plan import list_corrections
from gridsecure.store import evidence
from gridsecure.store.database import read_session
from tests.apps.test_api_corrections import HEADER, late, line, zone_of
from tests.apps.test_api_readings import REAL_PACKING
from tests.apps.test_api_reconciliation import Reconciled
from tests.apps.test_api_timetable import END, begun
from tests.gateway.gateway_world import MONTH, Killed

ORDERS = "/v1/correction-orders"
WHY = "read on site"


@pytest.fixture(scope="module")
def billed(tmp_path_factory):
    """A gateway whose month is done, from files; each test orders for a meter point of its own."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            preparation, "pack_energies", lambda *a, **k: islice(REAL_PACKING(*a, **k), 3)
        )
        made = Reconciled(tmp_path_factory.mktemp("orders"))
        made.put_files()
        assert made.processed()["state"] == "done"
        yield made
        made.close()


def order(services, *lines: str, by: str = "ann", reason: str = WHY, tariffs: tuple = ()):
    parts = [("readings", ("r.csv", (HEADER + "".join(lines)).encode()))] if lines else []
    parts += [("tariffs", ("t.toml", text)) for text in tariffs]
    headers = services.token("operator", subject=by)
    path, why = f"/months/{MONTH}/corrections", {"reason": reason}
    answer = services.client.post(path, files=parts, params=why, headers=headers)
    services.worker.wait(300)
    return answer


def ordered(services, *lines: str, **more) -> dict:
    """Where a correction stands that was ordered, once nothing is being worked on."""
    answer = order(services, *lines, **more)
    assert answer.status_code == 202, answer.text
    return stands(services, answer.json()["name"])


def stands(services, name: str) -> dict | None:
    found = services.call("GET", "/corrections").json()
    return next((one for one in found if one["name"] == name), None)


def decide(services, number: int, *, by: str = "bob", approve: bool = True, reason: str = "seen"):
    headers = services.token("operator", subject=by)
    wanted = {"approve": approve, "reason": reason}
    answer = services.client.post(f"{ORDERS}/{number}/decision", json=wanted, headers=headers)
    services.worker.wait(300)
    return answer


def told(services, number: int) -> dict:
    headers = services.token("operator")
    return services.client.get(f"{ORDERS}/{number}", headers=headers).json()


def much(services, place: int = 0) -> str:
    """One interval with more energy than one person may bring in."""
    return line(services.meter(place), "150.000")


def refusal(answer) -> tuple[int, str]:
    return answer.status_code, answer.json()["reason"]


def reconciled(services, number: int) -> dict:
    """What became of the readings of an order that no correction fixed."""
    named = ("order", str(number))
    return next(
        one["reasons"] for one in services.told()["sources"] if (one["kind"], one["name"]) == named
    )


def fixed(services, number: int) -> bool:
    return any(one.files.order == number for one in list_corrections(zone_of(services), MONTH))


def kill(*_given: object, **_more: object) -> int:
    raise Killed


def test_a_small_order_is_carried_out_at_once_and_says_who_and_why(billed):
    done = ordered(billed, line(billed.meter(0), "9.000"))
    assert (done["state"], done["report"]["corrected"]) == ("done", 1)
    found = told(billed, done["order"])
    assert (found["state"], found["person"], found["reason"]) == ("applied", "ann", WHY)
    assert (found["meter_points"], found["approver"]) == (1, "")
    assert found["correction"] == done["name"]
    again = ordered(billed, line(billed.meter(0), "9.000"))
    assert (again["name"], again["number"]) == (done["name"], done["number"]), "one order"


def test_a_large_order_waits_for_another_person_and_counts_for_nothing_before(billed):
    waits = ordered(billed, much(billed, 1))
    assert (waits["state"], waits["number"]) == ("pending", None)
    assert ordered(billed, much(billed, 1))["order"] == waits["order"]
    assert reconciled(billed, waits["order"]) == {"waiting": {"order-pending": 1}}
    assert refusal(decide(billed, waits["order"], by="ann")) == (409, "approval.same-person")
    begun(billed, END, gathered=7)
    assert not fixed(billed, waits["order"])

    approved = decide(billed, waits["order"])
    assert (approved.status_code, approved.json()["approver"]) == (200, "bob")
    done = stands(billed, waits["name"])
    assert (done["state"], done["report"]["corrected"]) == ("done", 1)
    assert told(billed, waits["order"])["state"] == "applied"
    assert billed.told()
    for again, reason in ((True, "conflict.approval"), (False, "correction.fixed")):
        refused = decide(billed, waits["order"], by="eve", approve=again)
        assert refusal(refused) == (409, reason)


def test_a_rejected_order_changes_nothing_and_can_be_made_again(billed):
    waits = ordered(billed, much(billed, 2))
    unsaid = decide(billed, waits["order"], approve=False, reason=" ")
    assert refusal(unsaid) == (400, "approval.reason")
    rejected = decide(billed, waits["order"], approve=False, reason="wrong meter").json()
    assert (rejected["state"], rejected["decision"]) == ("rejected", "wrong meter")
    assert stands(billed, waits["name"]) is None
    assert refusal(decide(billed, waits["order"], by="eve")) == (409, "conflict.approval")
    begun(billed, END, gathered=7)
    assert not fixed(billed, waits["order"])
    assert reconciled(billed, waits["order"]) == {"quarantined": {"order-rejected": 1}}
    other = ordered(billed, much(billed, 2))
    assert other["state"] == "pending"
    assert other["order"] != waits["order"]


def test_of_two_who_approve_at_once_one_is_told_that_it_is_decided(billed):
    waits = ordered(billed, much(billed, 3))

    def approve(by: str) -> int:
        headers = billed.token("operator", subject=by)
        path, wanted = f"{ORDERS}/{waits['order']}/decision", {"approve": True}
        return billed.client.post(path, json=wanted, headers=headers).status_code

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(approve, ("bob", "eve"))) == [200, 409]
    billed.worker.wait(300)
    assert stands(billed, waits["name"])["state"] == "done"


def test_an_approval_survives_a_kill_before_anything_is_begun(billed, monkeypatch):
    waits = ordered(billed, much(billed, 4))
    with monkeypatch.context() as patched:
        patched.setattr(billed.worker, "correct", lambda *_: None)
        decide(billed, waits["order"])
    billed.start()
    assert stands(billed, waits["name"])["state"] == "approved"
    assert reconciled(billed, waits["order"]) == {"waiting": {"order-approved": 1}}
    begun(billed, END)  # nobody set a day, and it is carried out all the same
    done = stands(billed, waits["name"])
    assert (done["state"], done["report"]["corrected"]) == ("done", 1)
    begun(billed, END)
    assert stands(billed, waits["name"]) == done


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_order_that_is_killed_once_fixed_is_finished_and_not_rejected(billed, monkeypatch):
    waits = ordered(billed, much(billed, 5))
    with monkeypatch.context() as patched:
        patched.setattr(outbox, "send", kill)
        decide(billed, waits["order"])
    assert stands(billed, waits["name"])["state"] == "interrupted"
    billed.start()
    refused = decide(billed, waits["order"], approve=False)
    assert refusal(refused) == (409, "correction.fixed")
    late(billed, line(billed.meter(6), "9.000"), batch="late", sequence=1)
    begun(billed, END)
    done = stands(billed, waits["name"])
    assert (done["state"], done["report"]["corrected"]) == ("done", 1), "as it was fixed"
    # What came late is corrected, too, and not left for whichever test comes next.
    path, operator = f"/months/{MONTH}/corrections", billed.token("operator", subject="ann")
    answer = billed.client.post(path, headers=operator)
    assert answer.status_code == 202, answer.text
    billed.worker.wait(300)
    assert stands(billed, answer.json()["name"])["report"]["corrected"] == 1


def test_an_order_that_is_rejected_while_it_is_computed_is_not_fixed(billed, monkeypatch):
    fix = correction_run.fix_correction

    def reject_first(*given: object, **more: object) -> None:
        headers = billed.token("operator", subject="bob")
        path = f"{ORDERS}/{given[1].files.order}/decision"
        wanted = {"approve": False, "reason": "wrong meter"}
        answer = billed.client.post(path, json=wanted, headers=headers)
        assert answer.status_code == 200, answer.text
        fix(*given, **more)

    monkeypatch.setattr(correction_run, "fix_correction", reject_first)
    name = order(billed, line(billed.meter(7), "9.000")).json()
    assert told(billed, name["order"])["state"] == "rejected"
    assert stands(billed, name["name"]) is None
    assert not fixed(billed, name["order"])


def test_a_file_that_was_altered_is_not_approved(billed):
    waits = ordered(billed, much(billed, 8))
    (digest,) = told(billed, waits["order"])["readings"]
    path = billed.months / MONTH / "versions" / digest
    kept = path.read_bytes()
    path.write_bytes(kept.replace(b"150", b"950"))
    assert decide(billed, waits["order"]).json()["reason"] == "audit.version"
    assert told(billed, waits["order"])["state"] == "pending"
    path.write_bytes(kept)


def test_an_order_that_fails_is_finished_before_the_next(billed):
    first = ordered(billed, much(billed, 9))
    billed.platform_is_down = True
    decide(billed, first["order"])
    billed.platform_is_down = False
    assert stands(billed, first["name"])["state"] == "failed"
    assert ordered(billed, line(billed.meter(10), "9.000"))["state"] == "done"
    assert stands(billed, first["name"])["state"] == "done"


def test_the_log_and_the_lists_name_who_and_no_reading(billed):
    waits = ordered(billed, much(billed, 11))
    decide(billed, waits["order"])
    with read_session(zone_of(billed).engine) as session:
        entries = evidence.list_entries_of(session, "correction.ordered")
    said = [json.loads(entry.detail) for entry in entries]
    own = [(one["person"], one["state"]) for one in said if one["order"] == waits["order"]]
    assert own == [("ann", "pending"), ("bob", "approved")]
    asked = {"params": {"month": MONTH, "state": "applied"}, "headers": billed.token("billing")}
    listed = billed.client.get(ORDERS, **asked)
    assert waits["order"] in [one["id"] for one in listed.json()]
    assert not {"150000", "150.0"} & set(re.findall(r"[\d.]+", listed.text))
    asked["headers"] |= {"If-None-Match": listed.headers["etag"]}
    assert billed.client.get(ORDERS, **asked).status_code == 304
    assert refusal(decide(billed, 999)) == (404, "not-found.correction-order")
    by_office = billed.client.post(
        f"{ORDERS}/{waits['order']}/decision",
        json={"approve": False, "reason": "no"},
        headers=billed.token("billing"),
    )
    assert by_office.status_code == 403


def test_the_files_of_a_billed_month_are_not_replaced_beside_its_corrections(billed):
    assert refusal(billed.put_files()) == (409, "conflict.month-files")
