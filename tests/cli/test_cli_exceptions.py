"""`gridsecure exceptions` against real services: from a finding to a closed exception."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from gridsecure.cli.main import app as command
from gridsecure.gateway.exceptions import record_found
from gridsecure.gateway.findings import Found
from tests.cli.gateway_desk import ADDRESSES, open_desk
from tests.gateway.gateway_world import MONTH


@pytest.fixture
def desk(tmp_path, monkeypatch):
    services = open_desk(tmp_path, monkeypatch)
    found = [Found("MP-1", "gap", 3, FIRST), Found("MP-2", "no-readings", is_unbilled=True)]
    zone = services.app.state.service.zone
    record_found(zone, MONTH, found, at=services.world.clock(), is_final=True)
    yield ("--key", str(tmp_path / "operator.key"), *ADDRESSES)
    services.close()


FIRST = datetime(2026, 9, 2, 18, tzinfo=UTC)


def run(*arguments):
    return CliRunner(env={"COLUMNS": "200"}).invoke(command, ["exceptions", *arguments])


def test_an_exception_goes_from_open_to_waived_and_back(desk):
    listed = run("list", *desk, "--month", MONTH)
    assert listed.exit_code == 0, listed.output
    assert "2026-09-03T02:00+08:00" in listed.output  # local time, and with its offset
    assert "no-readings" in listed.output
    assigned = run("assign", "1", *desk, "--owner", "ann", "--due", "2026-08-05")
    assert "state: open → assigned; owner: – → ann; due: – → 2026-08-05" in assigned.output
    run("note", "1", "rang [the customer]", *desk)
    waived = run("waive", "1", *desk, "--note", "a welder")
    assert "rang [the customer]" in waived.output
    own = ("list", *desk, "--owner", "ann", "--state", "waived", "--format", "json")
    (found,) = json.loads(run(*own).stdout)["exceptions"]
    assert (found["meter_point_id"], found["state"]) == ("MP-1", "waived")
    reopened = run("reopen", "1", *desk)
    assert "state: waived → open; owner: ann → –" in reopened.output
    resolved = run("resolve", "1", *desk, "--note", "meter exchanged")
    assert "state: open → resolved" in resolved.output
    shown = json.loads(run("show", "1", *desk, "--format", "json").stdout)
    assert len(shown["notes"]) == 5


def test_what_cannot_be_done_is_explained(desk):
    waived = run("waive", "2", *desk, "--note", "a summer house")
    assert (waived.exit_code, "exception.waive" in waived.output) == (1, True)
    unknown = run("show", "99", *desk)
    assert (unknown.exit_code, "not-found.exception" in unknown.output) == (1, True)
    late = run("assign", "2", *desk, "--owner", "ann", "--due", "2026-02-30")
    assert (late.exit_code, "exception.due" in late.output) == (1, True)
