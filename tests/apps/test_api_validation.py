"""Whoever looks after readings at the gateway: rules, the list of exceptions, edits."""

from __future__ import annotations

from datetime import date

import pytest

from gridsecure.billing.rule_books import default_text
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.gateway.books.imports import state_contracts
from gridsecure.gateway.exceptions import record_found
from gridsecure.gateway.findings import Found
from tests.apps.gateway_services import Services
from tests.billing.rule_inputs import book_text

RULES = "/v1/validation-rules"


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    made = Services(tmp_path_factory.mktemp("validation"))
    contracts = made.world.contracts().head(1).assign(meter_point_id="MP-1")
    zone, first = made.app.state.service.zone, date(2025, 1, 1)
    state_contracts(zone, contracts, valid_from=first, person="op", at=made.world.clock())
    yield made
    made.close()


def ask(services, method, path, *, role="operator", subject="op", **content):
    headers = services.token(role, subject=subject) | content.pop("headers", {})
    return services.client.request(method, path, headers=headers, **content)


def test_an_operator_hands_in_rules_and_reads_them_back(services):
    held = ask(services, "GET", RULES, params={"month": "2026-03"}).json()
    assert held == {
        "digest": sm3_hex(default_text().encode()),
        "version": "1",
        "text": default_text(),
    }
    text = book_text(version="2026.1", height={"percent": 120})
    put = ask(services, "PUT", RULES, params={"month": "2026-03"}, content=text.encode())
    assert (put.status_code, put.json()["version"]) == (200, "2026.1")
    assert ask(services, "GET", RULES, params={"month": "2026-03"}).json() == put.json()
    assert ask(services, "GET", RULES).json()["version"] == "1"


@pytest.mark.parametrize(
    ("content", "month", "reason"),
    [
        (b"\xff\xfe", "", "rules.syntax"),
        (b"version = 1", "", "rules.syntax"),
        (default_text().replace("factor = 30", "factor = 0").encode(), "", "rules.limit"),
        (default_text().encode(), "2026-00", "message.invalid"),
    ],
)
def test_rules_that_cannot_be_used_are_refused(services, content, month, reason):
    refused = ask(services, "PUT", RULES, params={"month": month}, content=content)
    assert (refused.status_code // 100, refused.json()["reason"]) == (4, reason)


def test_nobody_but_an_operator_sees_or_changes_rules(services):
    for role in ("billing", "meter-data"):
        assert ask(services, "GET", RULES, role=role).status_code == 403
        assert ask(services, "PUT", RULES, role=role, content=b"").status_code == 403


# --- the work list

LIST = "/v1/exceptions"


def found(services, month, *rules, meter="MP-1"):
    """Put exceptions on the list, as validation does; each test has a month of its own."""
    made = [Found(meter, rule, 2, services.world.clock()) for rule in rules]
    zone = services.app.state.service.zone
    record_found(zone, month, made, at=services.world.clock(), is_final=True)
    return ask(services, "GET", LIST, params={"month": month}).json()


def change(services, row, *, subject="op", **what):
    return ask(services, "POST", f"{LIST}/{row['id']}/changes", subject=subject, json=what)


def test_an_exception_is_worked_on_by_route(services):
    (row,) = found(services, "2025-01", "gap")
    assert (row["rule"], row["intervals"], row["state"], row["unbilled"]) == (
        "gap", 2, "open", False,
    )  # fmt: skip
    taken = change(services, row, state="assigned", owner="ann", due="2026-08-05")
    assert (taken.status_code, taken.json()["exception"]["owner"]) == (200, "ann")
    change(services, row, subject="ann", note="rang the customer")
    done = change(services, row, subject="ann", state="waived", note="a welder").json()
    assert ask(services, "GET", f"{LIST}/{row['id']}").json() == done
    assert [note["person"] for note in done["notes"]] == ["op", "ann", "ann"]
    assert done["exception"]["state"] == "waived"


def test_the_list_is_filtered_and_paged_and_has_a_tag(services):
    rows = found(services, "2025-02", "spike", "height", "zero-run")
    change(services, rows[1], owner="bob")
    own = ask(services, "GET", LIST, params={"owner": "bob"}).json()
    assert [row["rule"] for row in own] == ["height"]
    waiting = {"month": "2025-02", "state": "open"}
    assert len(ask(services, "GET", LIST, params=waiting).json()) == 2
    assert ask(services, "GET", LIST, params={"meter_point_id": "none"}).json() == []
    page = ask(services, "GET", LIST, params={"month": "2025-02", "limit": 2})
    following = page.headers["link"].partition("?")[2].partition(">")[0]
    rest = ask(services, "GET", f"{LIST}?{following}").json()
    assert [row["id"] for row in page.json() + rest] == [row["id"] for row in rows]
    tag = {"If-None-Match": page.headers["etag"]}
    again = {"params": {"month": "2025-02", "limit": 2}, "headers": tag}
    assert ask(services, "GET", LIST, **again).status_code == 304
    change(services, rows[0], note="looked at")
    assert ask(services, "GET", LIST, **again).status_code == 200


@pytest.mark.parametrize(
    ("what", "status", "reason"),
    [
        ({"state": "waived"}, 400, "exception.note"),
        ({}, 400, "exception.change"),
        ({"due": "2026-02-30"}, 400, "exception.due"),
        ({"due": "soon"}, 422, "message.invalid"),
        ({"state": "gone"}, 422, "message.invalid"),
        ({"note": "x", "revision": 0}, 409, "conflict.exception"),
    ],
)
def test_a_change_that_cannot_be_made_is_refused(services, what, status, reason):
    (row,) = found(services, "2025-03", "spike")
    refused = change(services, row, **what)
    assert (refused.status_code, refused.json()["reason"]) == (status, reason)


def test_nobody_but_an_operator_sees_the_list(services):
    (row,) = found(services, "2025-04", "spike")
    for method, path in (("GET", LIST), ("GET", f"{LIST}/{row['id']}")):
        assert ask(services, method, path, role="billing").status_code == 403
    path = f"{LIST}/{row['id']}/changes"
    assert ask(services, "POST", path, role="billing", json={"note": "x"}).status_code == 403
    assert ask(services, "GET", f"{LIST}/999999").status_code == 404


# --- edits

EDITS = "/v1/edits"
READING = "meter_point_id,start,kwh\nMP-1,2025-0{month}-01 00:00,{kwh}\n"


def edit(services, month, kwh, *, subject="ann", reason="read on site"):
    text = READING.format(month=month, kwh=kwh).encode()
    asked = {"month": f"2025-0{month}", "reason": reason}
    return ask(services, "POST", EDITS, subject=subject, params=asked, content=text)


def decide(services, row, *, subject="bob", approve=True, reason=""):
    wanted = {"approve": approve, "reason": reason}
    return ask(services, "POST", f"{EDITS}/{row['id']}/decision", subject=subject, json=wanted)


def test_an_edit_is_made_approved_by_another_and_listed_without_readings(services):
    small, large = (edit(services, 5, kwh).json() for kwh in ("9.876", "123.456"))
    assert (small["state"], large["state"]) == ("in-force", "pending")
    refused = decide(services, large, subject="ann")
    assert (refused.status_code, refused.json()["reason"]) == (409, "approval.same-person")
    assert decide(services, large).json()["approver"] == "bob"
    page = ask(services, "GET", EDITS, params={"month": "2025-05", "state": "in-force"})
    assert [row["id"] for row in page.json()] == [small["id"], large["id"]]
    for value in ("9876", "9.876", "123456", "123.456"):
        assert value not in page.text
    assert ask(services, "GET", f"{EDITS}/{small['id']}").json()["person"] == "ann"
    tag = {"If-None-Match": page.headers["etag"]}
    same = {"params": {"month": "2025-05", "state": "in-force"}, "headers": tag}
    assert ask(services, "GET", EDITS, **same).status_code == 304
    decide(services, small, subject="ann", approve=False, reason="wrong meter")
    assert ask(services, "GET", EDITS, **same).status_code == 200


def test_an_edit_that_cannot_be_made_is_refused(services):
    assert edit(services, 6, "1", reason=" ").json()["reason"] == "approval.reason"
    assert edit(services, 6, "x").json()["reason"] == "readings.energy"
    wanted = {"month": "2025-06", "meter_point_id": "MP-1", "reason": "a welder"}
    wanted |= dict.fromkeys(("first", "last"), "2025-06-01T00:00+08:00")
    refused = ask(services, "POST", f"{EDITS}/confirmations", json=wanted)
    assert (refused.status_code, refused.json()["reason"]) == (400, "edit.nothing")
    ordered = ask(services, "POST", f"{EDITS}/estimates", json=wanted)
    assert (ordered.status_code, ordered.json()["reason"]) == (400, "edit.estimated")
    assert ask(services, "POST", f"{EDITS}/estimates", role="billing", json={}).status_code == 403
    assert ask(services, "GET", f"{EDITS}/99999").status_code == 404
    assert ask(services, "POST", EDITS, role="billing", content=b"").status_code == 403
