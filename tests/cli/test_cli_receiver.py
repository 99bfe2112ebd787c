"""`gridsecure receiver` against a real gateway: registered, told, given up, sent again, removed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gridsecure.cli.main import app as command
from gridsecure.client.events import read_event
from gridsecure.gateway.event_receivers import receivers_of
from gridsecure.gateway.exceptions import Change, change_exception, record_found
from gridsecure.gateway.findings import Found
from gridsecure.store.notices import PAUSES
from tests.cli.gateway_desk import ADDRESSES, open_desk

EVENTS = ("--event", "exception.opened", "--event", "cycle.done")


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(command, ["receiver", *arguments])


def test_a_receiver_is_told_of_exceptions_and_what_it_did_not_take_is_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = open_desk(tmp_path, monkeypatch)
    clock, zone = services.world.clock, services.app.state.service.zone
    operator = ("--key", str(tmp_path / "operator.key"), *ADDRESSES)
    wanted = ("--address", "https://desk.example/events", *EVENTS)
    told = run("register", "desk", *operator, *wanted)
    assert "Registered desk, told of cycle.done, exception.opened." in told.output
    key = re.search(r"signed with: (04[0-9a-f]{128})", told.output)
    assert "receiver.event" in run("register", "desk", *operator, *wanted, "--event", "x").output
    both = (*operator, "--authority", "http://authority")
    assert "receiver.service" in run("list", *both).output
    assert "https://desk.example/events" in run("list", *operator).output

    found = [Found("MP-1", "spike", 2), Found("MP-2", "gap", 1)]
    record_found(zone, "2026-07", found, at=clock(), is_final=False)
    record_found(zone, "2026-07", found, at=clock(), is_final=False)  # nothing is new
    change_exception(zone, 1, Change(state="resolved", note="read again"), person="op", at=clock())
    again = [Found("MP-1", "spike", 3), found[1]]
    record_found(zone, "2026-07", again, at=clock(), is_final=False)
    receivers, taken = receivers_of(zone), []
    receivers.announce(at=clock())
    for _ in range(len(PAUSES) + 1):
        due = receivers.deliver(post=lambda *_: False, now=clock())
        services.world.now = due or clock()
    given_up = run("notices", "desk", *operator, "--given-up", "--format", "json")
    assert [(one["subject"], one["count"]) for one in json.loads(given_up.stdout)["notices"]] == [
        ("2026-07", 2),
        ("2026-07", 1),
    ]
    assert "given-up" in run("notices", "desk", *operator).output
    assert "again within a minute: 2." in run("retry", "desk", *operator).output
    receivers.deliver(post=lambda _to, body, _h: not taken.append(body), now=clock())
    events = [
        read_event(one, receiver="desk", service_key=key[1], not_before=services.world.now)
        for one in taken
    ]
    assert [(one.event, one.count) for one in events] == [
        ("exception.opened", 2),
        ("exception.opened", 1),
    ]
    assert "Removed desk." in run("remove", "desk", *operator).output
    assert "conflict.no-address" in run("retry", "desk", *operator).output
    assert "not-found.receiver" in run("notices", "nobody", *operator).output
    services.close()
