"""A month validated before it is processed, by the rules in force and by others."""

from __future__ import annotations

from datetime import date

import pytest

from gridsecure.billing.rule_books import default_text
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.gateway import rule_trials
from gridsecure.gateway.books.imports import state_contracts
from gridsecure.gateway.month_plan import find_plan
from tests.apps.gateway_services import Services
from tests.apps.test_api_readings import Sources, written
from tests.billing.rule_inputs import book_text
from tests.gateway.gateway_world import MONTH
from tests.gateway.reading_tables import long_table
from tests.grid_simulator import NOW

TRIALS = "/v1/rule-trials"
HOLDING = book_text(version="2", spike={"action": "hold"})


@pytest.fixture
def services(tmp_path):
    """A month with a spike in it is handed in."""
    made = Services(tmp_path)
    table = long_table(made.world)
    homes = made.world.simulated.contracts.query("customer_class == 'household'")
    row = table.index[table["meter_point_id"] == homes["meter_point_id"].iloc[0]][100]
    table.loc[row, "kwh"] = "60.000"
    assert made.put_files(readings=[table.to_csv(index=False).encode()]).status_code == 200
    yield made
    made.close()


def ask(services, method, path=TRIALS, *, role="operator", month=MONTH, **content):
    headers = services.token(role, subject="op")
    return services.client.request(
        method, path, params={"month": month}, headers=headers, **content
    )


def tried(services, text):
    started = ask(services, "POST", content=text.encode())
    assert started.status_code == 202, started.text
    services.worker.wait(300)
    return ask(services, "GET").json()


def test_other_rules_are_compared_before_they_are_kept(services):
    found = tried(services, HOLDING)
    assert (found["rules_before"], found["rules_after"]) == (
        sm3_hex(default_text().encode()),
        sm3_hex(HOLDING.encode()),
    )
    assert (found["billed_before"], found["billed_after"]) == (20, 19)
    assert (found["estimated_before"], found["estimated_after"]) == (1, 0)
    assert (found["quarantined_before"], found["quarantined_after"]) == (1, 0)
    counts = {one["rule"]: (one["before"], one["after"]) for one in found["problems"]}
    assert counts == {"gap": (1, 0), "spike": (1, 1)}
    # Nothing of the trial is in force: neither its files, nor its exceptions, nor a plan.
    zone = services.app.state.service.zone
    assert find_plan(zone, MONTH) is None
    assert not (services.months / MONTH / "trial").exists()
    (listed,) = ask(services, "GET", "/v1/exceptions").json()
    assert (listed["rule"], listed["unbilled"]) == ("spike", False)
    ask(services, "PUT", "/v1/validation-rules", content=HOLDING.encode())
    again = tried(services, "")
    assert (again["billed_before"], again["billed_after"]) == (19, 19)
    (held,) = ask(services, "GET", "/v1/exceptions").json()
    assert (held["id"], held["unbilled"]) == (listed["id"], True)


def test_what_cannot_be_tried_is_refused(services, monkeypatch):
    assert ask(services, "GET").status_code == 404
    assert ask(services, "POST", content=b"version = 1").json()["reason"] == "rules.syntax"
    assert ask(services, "POST", content=b"\xff").json()["reason"] == "rules.syntax"
    assert ask(services, "POST", month="2026-06").json()["reason"] == "month.unknown"
    assert ask(services, "POST", role="billing").status_code == 403
    with monkeypatch.context() as patched:
        patched.setattr(rule_trials, "find_plan", lambda *_: object())
        fixed = ask(services, "POST")
    assert (fixed.status_code, fixed.json()["reason"]) == (409, "conflict.month-rules")


def test_rules_are_tried_on_a_month_that_only_batches_filled(tmp_path):
    made = Sources(tmp_path)
    try:
        zone, contracts = made.app.state.service.zone, made.world.contracts()
        state_contracts(zone, contracts, valid_from=date(2026, 7, 1), person="op", at=NOW)
        assert made.send(written(long_table(made.world), "csv")).status_code == 200
        found = tried(made, HOLDING)
        assert (found["billed_before"], found["billed_after"]) == (20, 20)
        assert made.call("GET", "").json()["state"] == "waiting"  # done, and nothing is fixed
    finally:
        made.close()
