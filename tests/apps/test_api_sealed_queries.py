"""Sealed questions through the three services: from a file to a table, and nobody learns what."""

from __future__ import annotations

import json
import re

import httpx
import pandas as pd
import pytest
from sqlmodel import col, select
from typer.testing import CliRunner

from gridsecure.cli import query_ask
from gridsecure.cli.main import app as command
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.store.database import read_session
from gridsecure.store.evidence import EvidenceRow, read_row
from tests.apps.test_api_queries import (
    LIMIT,
    URLS,
    World,
    _payload,
    assert_anonymous,
    authority_of,
    cli,
    enrol_arguments,
    vault,
    world,
)
from tests.apps.zone_apps import bearer, point
from tests.cli.in_process import InProcess
from tests.grid_simulator import grid_keys
from tests.key_authority.asked_queries import question_of

__all__ = ["authority_of", "cli", "vault", "world"]
DAYS = {"when": {"days": ["2026-07-01", "2026-07-02"]}}
FUTIAN = {"customer_class": ["household"], "zone": ["futian"]}


@pytest.fixture
def ask(world, monkeypatch):
    """The command `gridsecure query`, its connections carried to the services."""
    monkeypatch.setattr(query_ask, "patience", lambda _seconds: world.pause)

    def run(
        question: str,
        *more: str,
        status: int | None = 0,
        name: str = "wallet.json",
        word: str = "ask",
    ):
        path = world.folder / "question.json"
        path.write_text(question, encoding="utf-8")
        platform = ["--platform-url", URLS["platform"]] if word == "ask" else []
        arguments = [
            "query", word, str(path), "--identity-url", URLS["identity"],
            *platform, "--authority-url", URLS["authority"],
            "--authority-key", point(grid_keys().authority),
            "--wallet", str(world.folder / name), *more,
        ]  # fmt: skip
        result = CliRunner().invoke(command, arguments)
        assert status in (None, result.exit_code), result.output
        return result

    return run


def expected_days(world: World) -> dict[str, int]:
    contracts = world.grid.contracts.set_index("meter_point_id")
    rows = world.grid.readings.join(contracts[["zone", "customer_class"]], on="meter_point_id")
    rows = rows[(rows["zone"] == "futian") & (rows["customer_class"] == "household")]
    rows = rows[rows["start"].dt.day <= 2]
    sums = rows.groupby(rows["start"].dt.normalize())["energy_wh"].sum()
    return {day.isoformat(): int(wh) for day, wh in sums.items()}


def test_from_a_file_to_exact_numbers_and_nobody_learns_who_or_what(world, cli, ask):
    cli(*enrol_arguments(world))
    named = len(world.services.sent)
    question = question_of(where=FUTIAN, every="day", **DAYS)
    out = world.folder / "numbers.csv"
    shown = ask(question, "--format", "json", "--csv", str(out))
    assert f"{LIMIT - 1} of {LIMIT} grants are left" in shown.output
    told = {row["start"]: row["value"] for row in json.loads(shown.stdout)["rows"]}
    wanted = {day: wh / 1000 for day, wh in expected_days(world).items()}
    assert {start: float(value) for start, value in told.items()} == wanted
    table = pd.read_csv(out)
    assert list(table["value"]) == list(wanted.values())
    sent = world.services.sent[named:]
    assert_anonymous([one for one in sent if one.url.path != "/query-key"])
    to_platform = b"".join(one.content for one in sent if one.url.host == "platform")
    for word in (b"futian", b"household", b"2026-07-02", b"every"):
        assert word not in to_platform


def test_a_second_wallet_reads_the_same_without_another_release(world, cli, ask):
    cli(*enrol_arguments(world))
    question = question_of(where=FUTIAN, every="day", **DAYS)
    first = ask(question, "--format", "json")
    cli(*(a.replace("wallet.json", "second.json") for a in enrol_arguments(world, "wei")))
    second = ask(question, "--format", "json", name="second.json")
    assert second.stdout == first.stdout
    listed = world.authority.get("/releases", headers=bearer("authority", "billing")).json()
    assert [one["plan"] for one in listed] == ["query"]
    assert (listed[0]["cells"], listed[0]["suppressed"]) == (0, 0)


def test_why_it_was_refused_is_printed_for_the_asker(world, cli, ask):
    cli(*enrol_arguments(world))
    few = question_of(where=FUTIAN | {"zone": ["luohu"]}, every="day", **DAYS)
    shown = ask(few, status=1).output
    assert "query.small" in shown
    (outcome,) = [one for one in world.outcomes if one["state"] == "refused"]
    assert outcome["reason"] == "release.query"


def test_a_refused_question_gives_its_grant_back_and_nothing_links_what_it_is_used_for(
    world, cli, ask
):
    """Identity service and authority together: what came back is in no body of its first life."""
    cli(*enrol_arguments(world))
    few = question_of(where=FUTIAN | {"zone": ["luohu"]}, every="day", **DAYS)
    for _ in range(2):  # asked again, it is refused again, and nothing more comes back
        ask(few, status=1)
    kept = json.loads((world.folder / "wallet.json").read_text())
    assert (kept["next_nonce"], len(kept["returned"])) == (1, 1)
    for number in range(1, LIMIT):  # its own come first
        ask(question_of(where=FUTIAN | {"zone": [str(number)]}, every="day", **DAYS), status=1)
    first = b"".join(one.content for one in world.services.sent)
    begun = len(world.services.sent)
    shown = ask(question_of(where=FUTIAN, every="day", **DAYS), "--format", "json")
    assert f"1 of {LIMIT} grants are left" in shown.output
    sent = world.services.sent[begun:]
    used = [one for one in sent if one.url.path in ("/returned-grants", "/grants/returned")]
    assert [one.url.host for one in used] == ["authority", "identity"]
    assert_anonymous(used)
    assert not [one for one in sent if one.url.path == "/grants"]
    (asked,) = [one for one in sent if one.url.path == "/queries"]
    query = sm3_hex(json.loads(asked.content)["query"].encode())
    assert [query in one.content.decode() for one in used] == [False, True], "under a salt"
    values = [value for one in used for value in json.loads(one.content).values()]
    pieces = {
        text[at : at + 32].encode()
        for text in map(str, values)
        for at in range(0, len(text) - 31, 32)
        if "body_kind" not in text
    }
    assert len(pieces) > 30
    assert not [piece for piece in pieces if piece in first]


def test_a_question_is_tried_for_nothing_and_the_platform_learns_its_period_alone(
    world, cli, ask, at_platform
):
    cli(*enrol_arguments(world))
    question = question_of(where=FUTIAN, every="day", **DAYS)
    begun = len(world.services.sent)
    shown = ask(question, "--format", "json", word="try")
    (answer,) = json.loads(shown.stdout)["trials"]
    assert (answer["is_allowed"], answer["told"][0]["values"]) == (True, [])
    assert answer["cost"]["bytes"] > 0
    few = question_of(where=FUTIAN | {"zone": ["luohu"]}, every="day", **DAYS)
    assert "query.small" in ask(few, status=1, word="try").output
    sent = world.services.sent[begun:]
    passes = [one.url.path for one in sent if one.url.host == "identity"]
    assert passes == ["/grants/terms", "/grants/trials"], "one pass for both"
    assert [one for one in sent if one.url.host == "platform"] == []
    kept = json.loads((world.folder / "wallet.json").read_text())
    assert (kept["next_nonce"], kept["passes_used"], kept["trial_pass"]["left"]) == (0, 1, 18)
    paths = [path for _, path, *_ in at_platform]
    assert paths[0] == "/queried-uploads"
    assert set(paths[1:]) <= {"/messages/roster/*", "/messages/upload/*", "/objects"}
    tried = [one for one in sent if one.url.path == "/query-trials"]
    assert len({len(one.content) for one in tried}) == 1
    for request in tried:
        payload = _payload(request.headers["authorization"].partition(" ")[2])
        assert payload["roles"] == ["query-trial"]
        assert b"futian" not in request.content


def test_as_many_come_back_in_a_month_as_half_of_all_grants(world, cli, ask):
    """So being refused is no way to ask on end: LIMIT, and two more."""
    cli(*enrol_arguments(world))
    outputs = [
        ask(question_of(where=FUTIAN | {"zone": [name]}, every="day", **DAYS), status=1).output
        for name in map(str, range(LIMIT + 3))
    ]
    assert all("query.small" in one for one in outputs[: LIMIT + 2])
    assert "grants.none-left" in outputs[LIMIT + 2]


def test_staff_read_the_certificate_and_no_value(world, cli, ask):
    cli(*enrol_arguments(world))
    question = question_of(where=FUTIAN, every="day", **DAYS)
    ask(question)
    listed = world.authority.get("/releases", headers=bearer("authority", "billing")).json()
    name = listed[0]["release_id"]
    for role in ("billing", "analyst", "regulator"):
        read = world.authority.get(f"/releases/{name}", headers=bearer("authority", role))
        assert read.status_code == 200, read.text
        assert not read.json().get("values")
        assert "futian" not in json.dumps(json.loads(read.json()["body"])["cells"])


def test_officers_alone_read_the_question(world, cli, ask, monkeypatch):
    cli(*enrol_arguments(world))
    question = question_of(where=FUTIAN, every="day", **DAYS)
    ask(question)
    listed = world.authority.get("/approvals", headers=bearer("authority", "billing")).json()
    path = f"/approvals/{listed[0]['subject']}/question"
    shown = world.authority.get(path, headers=bearer("authority", "privacy-officer"))
    assert shown.json()["question"] == question
    for role in ("billing", "regulator", "custodian", "operator", "authority"):
        assert world.authority.get(path, headers=bearer("authority", role)).status_code == 403


@pytest.fixture
def at_platform(world, monkeypatch) -> list[tuple]:
    """Whatever reaches the platform, from whomever: what it could tell two questions by."""
    seen: list[tuple] = []
    real = InProcess.handle_request

    def watched(own: InProcess, request: httpx.Request) -> httpx.Response:
        content = request.read()
        answer = real(own, request)
        if own._app is world.platform.app:
            path = _DIGITS.sub("*", request.url.path)
            named = _DIGITS.sub("*", content.decode()) if path != "/queries" else ""
            objects = tuple(json.loads(content)["digests"]) if path == "/objects" else ()
            shape = (request.method, path, len(content), named, len(answer.content), objects)
            seen.append(shape if path != "/objects" else (*shape[:3], objects))
        return answer

    monkeypatch.setattr(InProcess, "handle_request", watched)
    return seen


_DIGITS = re.compile(r"[0-9a-f]{32,64}")


def platform_entries(world: World) -> list[str]:
    """The platform's log, but for names and hashes, which are random."""
    with read_session(world.grid.platform_zone.engine) as session:
        rows = session.exec(select(EvidenceRow).order_by(col(EvidenceRow.index))).all()
    said = [read_row(row) for row in rows]
    return [_DIGITS.sub("*", f"{one.actor} {one.action} {one.detail}") for one in said]


def test_two_questions_look_alike_to_the_platform(world, cli, ask, at_platform):
    """Bodies, answers, rows, log entries and objects fetched: byte for byte of one shape."""
    cli(*enrol_arguments(world))
    wide = question_of(every="interval", group_by=["customer_class"])
    small = question_of(where=FUTIAN, every="day", when={"days": ["2026-07-02"]})
    seen, logged = [], []
    # What is remembered of rosters, whoever asked, is fetched once: so there is one before both.
    for question in (question_of(), wide, small):
        before = len(platform_entries(world))
        at_platform.clear()
        ask(question, status=None)  # told or withheld: the platform cannot say
        seen.append(sorted(set(at_platform)))
        logged.append(platform_entries(world)[before:])
    assert seen[1] == seen[2]
    assert logged[1] == logged[2]
    paths = {path for _, path, *_ in seen[0]}
    assert {"/queries", "/objects", "/messages/roster/*", "/messages/upload/*"} <= paths
    columns = {
        column.digest
        for upload in world.grid.uploads
        for column in upload.manifest.columns
        if column.quantity.startswith("intervals:")
    }
    fetched = {name for shape in seen[2] if shape[1] == "/objects" for name in shape[-1]}
    assert columns <= fetched, "also the day that the small question leaves out"
