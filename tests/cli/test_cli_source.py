"""`gridsecure source` against real services: a key, a declaration, a batch, what was sent."""

from __future__ import annotations

import json
import re
import stat

import pytest
from typer.testing import CliRunner

from gridsecure.cli import source
from gridsecure.cli.main import app as command
from gridsecure.cli.output import OutputFormat
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.head_end.sender import Became
from gridsecure.messages import BatchReceipt, ReadingCounts
from tests.apps.zone_apps import point
from tests.cli.gateway_desk import ADDRESSES, open_desk

READINGS = "meter_point_id,start,kwh\nMP-1,2026-07-01 00:00,0.412\nMP-2,2026-07-01 00:00,0.5\n"


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """The services, an operator's key and a source's, and a way to give commands."""
    public = run("key", str(tmp_path / "source.key")).stdout.strip()
    services = open_desk(tmp_path, monkeypatch)
    yield tmp_path, public
    services.close()


def run(name, *arguments):
    return CliRunner(env={"COLUMNS": "200"}).invoke(command, ["source", name, *arguments])


def test_a_source_is_registered_sends_and_is_listed(desk):
    folder, public = desk
    key = folder / "source.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert run("key", str(key)).stdout.strip() == public  # the same again, and not a new one
    operator = ("--key", str(folder / "operator.key"), *ADDRESSES)
    registered = run(
        "register", "headend", *operator, "--public-key", public, "--meter-points", "MP-1"
    )
    assert "Source headend is registered" in registered.output
    (folder / "day.csv").write_text(READINGS)
    receipts = re.search(r"key (04[0-9a-f]{128})", registered.output)
    given = ("--key", str(key), *ADDRESSES, "--gateway-key", receipts[1])
    sent = ("send", "headend", str(folder / "day.csv"), *given)
    shown = run(*sent, "--sequence", "3", "--batch", "day")
    assert shown.exit_code == 0, shown.output
    assert "Batch day is taken in: 2 readings." in shown.output
    assert "1 will not be billed: outside-scope" in shown.output
    assert "2026-07: waiting" in shown.output
    again = run(*sent, "--sequence", "3", "--batch", "day", "--format", "json")
    assert json.loads(again.stdout)["receipt"]["rejected"] == {"outside-scope": 1}
    told = run("batch", "headend", "day", *given, "--format", "json")
    assert json.loads(told.stdout) == json.loads(again.stdout)
    assert json.loads(told.stdout)["counts"] == {}
    assert "not-found.batch" in run("batch", "headend", "other", *given).output
    rejected = run("rejected", "headend", "day", *given)
    assert re.search(r"2 +│ MP-2 +│ 2026-07-01T00:00:00\+08:00 +│ outside-scope", rejected.output)
    checked = run("verify", "headend", "day", str(folder / "day.csv"), *given)
    assert checked.exit_code == 0, checked.output
    assert "the file and the list of 1 rejected readings agree with it" in checked.output
    assert "1 wait for the bills of their month" in checked.output
    assert "1 of these are of meter points without a contract" in checked.output
    other = run("verify", "headend", "day", str(folder / "source.key"), *given)
    assert (other.exit_code, "source.other-file" in other.output) == (1, True)
    refused = run(*sent, "--sequence", "4", "--batch", "day")
    assert (refused.exit_code, "conflict.batch" in refused.output) == (1, True)

    listed = run("show", "headend", *operator)
    assert "Never came: 1 to 2" in listed.output
    document = json.loads(run("show", "headend", *operator, "--format", "json").stdout)
    assert [batch["batch_id"] for batch in document["batches"]] == ["day"]
    assert document["gaps"] == [{"first": 1, "last": 2}]


def test_what_became_of_a_batch_is_shown_by_state_and_reason(capsys):
    receipt = BatchReceipt(
        source="headend", batch_id="day", sequence=1, body_digest="ab" * 32,
        readings_digest="cd" * 32, readings=96, rejected={}, first="", last="",
        months={"2026-07": "waiting"}, taken_in_at="",
    )  # fmt: skip
    counts = ReadingCounts(
        came_in=96, billed=90, estimated=2, quarantined=4, waiting=0,
        reasons={"estimated": {"spike": 2}, "quarantined": {"missing": 1, "superseded": 3}},
    )  # fmt: skip
    became = Became(receipt, {"2026-07": "done"}, {"2026-07": counts})
    source._print_became(became, OutputFormat.TABLE)
    shown = capsys.readouterr().out.splitlines()
    assert shown[1:] == [  # a receipt of an earlier release says nothing of what happens next
        "  2026-07: done",
        "    billed: 90",
        "    estimated: 2 (spike 2)",
        "    quarantined: 4 (missing 1, superseded 3)",
    ]


def test_what_cannot_be_sent_is_explained(desk):
    folder, _ = desk
    own = point(generate_private_key())
    signed = ("--key", str(folder / "source.key"), *ADDRESSES)
    given = (*signed, "--sequence", "1", "--gateway-key", own)
    missing = run("send", "headend", str(folder / "nothing.csv"), *given)
    assert (missing.exit_code, "source.file" in missing.output) == (1, True)
    (folder / "day.csv").write_text(READINGS)
    stranger = run("send", "headend", str(folder / "day.csv"), *given)
    assert (stranger.exit_code, "login-refused" in stranger.output) == (1, True)
    no_key = run("send", "headend", str(folder / "day.csv"), *given[:-1], "04" + "0" * 128)
    assert "source.gateway-key" in no_key.output
    lost = run("token", "--key", str(folder / "nothing.key"), "--identity", "http://identity")
    assert "keys.missing" in lost.output


def test_a_refused_batch_says_where_it_is_wrong_and_another_gateways_receipt_is_no_receipt(desk):
    folder, public = desk
    operator = ("--key", str(folder / "operator.key"), *ADDRESSES)
    assert run("register", "headend", *operator, "--public-key", public).exit_code == 0
    given = ("--key", str(folder / "source.key"), *ADDRESSES, "--sequence", "1")
    given += ("--gateway-key", point(generate_private_key()))
    (folder / "day.csv").write_text(READINGS + "MP-1,2026-07-01 00:30,eleven\n")
    wrong = run("send", "headend", str(folder / "day.csv"), *given)
    assert "line 4" in wrong.output
    (folder / "day.csv").write_text(READINGS)
    forged = run("send", "headend", str(folder / "day.csv"), *given)
    assert (forged.exit_code, "source.receipt" in forged.output) == (1, True)


def test_a_source_is_suspended_resumed_rotated_and_removed(desk):
    folder, public = desk
    operator = ("--key", str(folder / "operator.key"), *ADDRESSES)
    (folder / "day.csv").write_text(READINGS)
    registered = run("register", "headend", *operator, "--public-key", public)
    theirs = re.search(r"key (04[0-9a-f]{128})", registered.output)[1]

    def send(sequence, *, key="source.key"):
        given = ("--key", str(folder / key), *ADDRESSES, "--gateway-key", theirs)
        named = ("--sequence", str(sequence), "--batch", f"day-{sequence}")
        return run("send", "headend", str(folder / "day.csv"), *given, *named)

    def listed():
        document = json.loads(run("list", *operator, "--format", "json").stdout)
        return [(one["name"], one["state"], one["signs_in"]) for one in document["sources"]]

    assert send(1).exit_code == 0
    assert "conflict.no-webhook" in run("retry", "headend", *operator).output
    assert run("suspend", "headend", *operator).exit_code == 0
    refused = send(2)
    assert (refused.exit_code, "conflict.source-suspended" in refused.output) == (1, True)
    assert listed() == [("headend", "suspended", True)]
    assert "day-1" in run("show", "headend", *operator).output
    assert run("resume", "headend", *operator).exit_code == 0
    assert send(2).exit_code == 0

    new = run("key", str(folder / "new.key")).stdout.strip()
    rotated = run("rotate", "headend", *operator, "--public-key", new)
    assert (rotated.exit_code, "new key" in rotated.output) == (0, True)
    assert run("rotate", "headend", *operator, "--public-key", new).exit_code == 0  # as after a cut
    stolen = send(3)
    assert (stolen.exit_code, "login-refused" in stolen.output) == (1, True)
    assert send(3, key="new.key").exit_code == 0
    back = run("rotate", "headend", *operator, "--public-key", public)
    assert (back.exit_code, "conflict.source-key" in back.output) == (1, True)
    assert send(4, key="new.key").exit_code == 0

    assert "is removed" in run("remove", "headend", *operator).output
    assert run("remove", "headend", *operator).exit_code == 0
    assert "login-refused" in send(5, key="new.key").output
    assert listed() == [("headend", "removed", False)]
    assert "removed" in run("list", *operator).output
    assert "day-4" in run("show", "headend", *operator).output
    for name in ("headend", "nobody"):
        gone = run("rotate", name, *operator, "--public-key", public)
        assert (gone.exit_code, "not-found.source" in gone.output) == (1, True)
    again = run("register", "headend", *operator, "--public-key", public)
    assert (again.exit_code, "conflict.source-removed" in again.output) == (1, True)
