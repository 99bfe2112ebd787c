"""`gridsecure edits` against real services: replace, confirm, approve by another person, reject."""

from __future__ import annotations

import json
from datetime import date

import pytest
from typer.testing import CliRunner

from gridsecure.cli.main import app as command
from gridsecure.gateway.books.imports import state_contracts
from tests.cli.gateway_desk import ADDRESSES, open_desk
from tests.gateway.gateway_world import MONTH

WHY = ("--month", MONTH, "--reason", "read on site")


@pytest.fixture
def desk(tmp_path, monkeypatch):
    services = open_desk(tmp_path, monkeypatch, people=("ann", "bob"))
    zone, contracts = services.app.state.service.zone, services.world.contracts().head(2)
    contracts["meter_point_id"] = ["MP-1", "MP-2"]
    first, at = date(2026, 7, 1), services.world.clock()
    state_contracts(zone, contracts, valid_from=first, person="op", at=at)
    yield tmp_path
    services.close()


def run(*arguments):
    return CliRunner(env={"COLUMNS": "240"}).invoke(command, ["edits", *arguments])


def test_an_edit_is_approved_by_another_operator(desk):
    ann, bob = (("--key", str(desk / f"{name}.key"), *ADDRESSES) for name in ("ann", "bob"))
    file = desk / "edit.csv"
    file.write_text("meter_point_id,start,kwh\nMP-1,2026-07-01 00:00,150\n")
    made = run("replace", str(file), *ann, *WHY)
    assert made.exit_code == 0, made.output
    assert "pending" in made.output
    own = run("approve", "1", *ann)
    assert (own.exit_code, "approval.same-person" in own.output) == (1, True)
    assert "in-force" in run("approve", "1", *bob, "--reason", "seen").output
    assert "rejected" in run("reject", "1", *ann, "--reason", "wrong meter").output
    listed = json.loads(run("list", *ann, "--month", MONTH, "--format", "json").stdout)
    assert [row["state"] for row in listed["edits"]] == ["rejected"]


def test_what_was_set_aside_is_confirmed(desk):
    aside = desk / "service" / "months" / MONTH / "quarantine.csv"
    aside.parent.mkdir(parents=True)
    aside.write_text("row,meter_point_id,start,kwh\n3,MP-1,2026-07-01 00:00:00+0800,60.000\n")
    given = ("--key", str(desk / "ann.key"), *ADDRESSES, *WHY)
    first = ("--first", "2026-07-01T00:00+08:00")
    confirmed = run("confirm", "MP-1", *given, *first)
    assert "confirmation" in confirmed.output, confirmed.output
    # The moment is shown as it has to be written.
    assert first[1] in run("list", "--key", str(desk / "ann.key"), *ADDRESSES).output
    nothing = run("confirm", "MP-2", *given, *first)
    assert (nothing.exit_code, "edit.nothing" in nothing.output) == (1, True)
    unread = run("estimate", "MP-2", *given, *first)
    assert (unread.exit_code, "edit.estimated" in unread.output) == (1, True)
    missing = run("replace", str(desk / "none.csv"), *given)
    assert (missing.exit_code, "edit.file" in missing.output) == (1, True)
