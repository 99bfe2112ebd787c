"""The platform over HTTP: an upload as a gateway makes it, runs in the background, and what it is
not able to reach.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlmodel import select, update

from gridsecure import frames
from gridsecure.compute import desk
from gridsecure.compute.job_queue import MAX_DEATHS
from gridsecure.compute.tables import JobRow, RunRow
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.gateway.rosters import Roster
from gridsecure.messages import ReleaseRequest, Signed, Transcript
from gridsecure.store.database import read_session, write_session
from gridsecure.store.evidence import EvidenceRow
from gridsecure.store.log_tree import verify_log
from gridsecure.transparency.checkpoints import open_checkpoint
from gridsecure.transparency.notes import read_key
from gridsecure.wire.problems import Problem
from gridsecure_api.platform import create_platform_app
from gridsecure_api.settings import PlatformSettings
from tests.apps.log_reader import check_log_pages
from tests.apps.zone_apps import GATEWAY, TestClock, bearer, platform_settings
from tests.grid_simulator import NOW, GridSimulator, GridUpload
from tests.held_inputs import hold_inputs, release_inputs

ROOT = Path(__file__).resolve().parents[2]
AUTHORITY = bearer("platform", "authority")
BILLING = bearer("platform", "billing")
OPERATOR = bearer("platform", "operator")
REGULATOR = bearer("platform", "regulator")
FRAMES = {"Content-Type": frames.CONTENT_TYPE}


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[GridSimulator]:
    """Messages to send; its own platform is not used."""
    simulator = GridSimulator(tmp_path / "grid")
    yield simulator
    simulator.close()


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[TestClient]:
    app = create_platform_app(platform_settings(tmp_path / "platform"), clock=TestClock())
    with TestClient(app) as client:
        yield client


def register(platform: TestClient, grid: GridSimulator, roster: Roster) -> httpx.Response:
    envelope = grid.signed_roster(roster).model_dump_json().encode()
    body = frames.join_frames([envelope, grid.keys.seats[roster.manifest.seats]])
    return platform.post("/rosters", content=body, headers=FRAMES, auth=GATEWAY)


def install(platform: TestClient, grid: GridSimulator) -> None:
    for notice in grid.key_notices:
        body = frames.join_frames([notice.model_dump_json().encode(), *grid.key_objects(notice)])
        assert platform.post("/key-sets", content=body, headers=FRAMES, auth=GATEWAY).is_success
    for text in grid.tariff_texts.values():
        answer = platform.post("/tariffs", content=text.encode(), auth=GATEWAY)
        assert answer.json() == {"digest": sm3_hex(text.encode())}
    for roster in grid.rosters:
        answer = register(platform, grid, roster)
        assert answer.json() == {"roster_id": roster.manifest.roster_id}


def send(platform: TestClient, upload: GridUpload) -> None:
    status = platform.post("/uploads", json=upload.message.model_dump(), auth=GATEWAY).json()
    assert status["upload_id"] == upload.upload_id
    path = f"/uploads/{upload.upload_id}"
    objects = [upload.objects[digest] for digest in status["missing"]]
    for half in (objects[::2], objects[1::2]):
        answer = platform.post(
            f"{path}/objects", content=frames.join_frames(half), headers=FRAMES, auth=GATEWAY
        )
        assert answer.json() == {"received": len(half)}
    expected = {"upload_id": upload.upload_id, "state": "committed", "missing": []}
    assert platform.post(f"{path}/commit", auth=GATEWAY).json() == expected
    assert platform.get(path, auth=GATEWAY).json() == expected


def upload_all(platform: TestClient, grid: GridSimulator, *, days: int = 1) -> None:
    install(platform, grid)
    for roster in grid.rosters:
        send(platform, grid.upload(roster, days=days))
    order = grid.order("bill")
    month = {"start": order.start, "end": order.end}
    found = platform.get("/closing-lists", params=month, headers=BILLING).json()
    assert found["uploads"] == found["open"]
    assert set(found["next"].values()) == {"run.not-closed"}
    envelope = grid.closing_list([item["upload"] for item in found["open"]])
    answer = platform.post("/closing-lists", json=envelope.model_dump(), headers=BILLING)
    assert answer.status_code == 201
    assert answer.json()["uploads"] == len(grid.rosters)


def order_of(grid: GridSimulator, plan: str = "bill") -> dict[str, str]:
    order = grid.order(plan)
    purpose = "operations" if plan == "load-curve" else "billing"
    return {"plan": plan, "start": order.start, "end": order.end, "purpose": purpose}


def start(platform: TestClient, grid: GridSimulator, plan: str = "bill") -> str:
    answer = platform.post("/runs", json=order_of(grid, plan), headers=BILLING)
    assert answer.status_code == 202
    return answer.json()["run_id"]


def status(platform: TestClient, run_id: str) -> dict[str, object]:
    return platform.get(f"/runs/{run_id}", headers=BILLING).json()


def finished(platform: TestClient, run_id: str, *, seconds: float = 60) -> dict[str, object]:
    limit = time.monotonic() + seconds
    while (current := status(platform, run_id))["state"] == "running":
        assert time.monotonic() < limit, "the run does not end"
        time.sleep(0.02)
    return current


# --- the way of a month ------------------------------------------------------------------------


def test_a_month_goes_from_upload_to_answered_requests(platform, grid):
    upload_all(platform, grid)
    notices = platform.get("/key-sets", headers=OPERATOR).json()
    assert {notice["key_id"] for notice in notices} == {
        key_set.public.key_id for key_set in grid.keys.secret.values()
    }
    runs = [finished(platform, start(platform, grid, plan)) for plan in ("bill", "load-curve")]
    for run, of in zip(runs, (2, 1), strict=True):
        assert (run["state"], run["done"], run["of"]) == ("done", of, of)
        assert (run["reason"], run["message"]) == (None, None)
    assert platform.get("/runs", headers=BILLING).json() == runs

    waiting = platform.get("/release-requests", headers=AUTHORITY).json()
    for message, run in zip(waiting, runs, strict=True):
        envelope = Signed.parse(Signed(**message).model_dump_json())
        envelope.verify(grid.platform_key.public_key)
        request = ReleaseRequest.parse(envelope.body)
        assert (request.request_id, request.requested_by) == (run["request_id"], "clerk")
    for reader in (AUTHORITY, REGULATOR):
        read_what_is_executed_again(platform, ReleaseRequest.parse(waiting[0]["body"]), reader)

    path = f"/release-requests/{runs[0]['request_id']}/answer"
    for _ in range(2):
        assert platform.post(path, json={"state": "released"}, headers=AUTHORITY).is_success
    assert platform.post(path, json={"state": "refused"}, headers=AUTHORITY).status_code == 409
    left = platform.get("/release-requests", headers=AUTHORITY).json()
    assert left == waiting[1:]


def read_what_is_executed_again(
    platform: TestClient, request: ReleaseRequest, reader: dict[str, str]
) -> None:
    for message in request.transcripts:
        transcript = Transcript.parse(message.body)
        named = {
            "transcript": [message.digest],
            "roster": transcript.rosters,
            "upload": transcript.uploads,
        }
        for kind, (digest,) in named.items():
            found = platform.get(f"/messages/{kind}/{digest}", headers=reader)
            assert Signed(**found.json()).digest == digest
            others = platform.get(f"/messages/{kind}/{digest}", headers=BILLING)
            assert others.status_code == 403
        digests = list(transcript.inputs.values())
        found = platform.post("/objects", headers=reader, json={"digests": digests})
        assert found.headers["content-type"] == frames.CONTENT_TYPE
        assert [sm3_hex(data) for data in frames.split_frames(found.content)] == digests


def test_counts_and_the_log_follow(platform, grid):
    keys = [read_key(text) for text in platform.get("/about").json()["logs"]["/log"]]
    begun = open_checkpoint(platform.get("/log/checkpoint").content, keys)
    assert begun.size == 2, "the policy that it started with, and what confines its workers"
    empty = platform.get("/status", headers=OPERATOR).json()
    assert set(empty.values()) == {0}
    upload_all(platform, grid)
    counts = platform.get("/status", headers=OPERATOR).json()
    columns = [c for roster in grid.rosters for c in grid.packed(roster, days=1)]
    assert counts.pop("stored_bytes") > sum(column.entry.size for column in columns)
    assert counts == {
        "key_sets": 4, "rosters": 2, "uploads": 2, "committed_uploads": 2, "runs": 0,
    }  # fmt: skip
    checkpoint = open_checkpoint(platform.get("/log/checkpoint").content, keys)
    with write_session(platform.app.state.platform.zone.engine) as session:
        assert checkpoint.size == verify_log(session)
    check_log_pages(platform, "/log", checkpoint)


# --- bad input, in the public words ------------------------------------------------------------


def refused(answer, status_code: int, reason: str) -> None:
    assert (answer.status_code, answer.json()["reason"]) == (status_code, reason)
    assert set(answer.json()) == set(Problem.model_fields)


def test_what_is_not_signed_by_the_right_party_is_refused_alike(platform, grid):
    install(platform, grid)
    upload = grid.upload(grid.rosters[0])
    unsigned = upload.message.model_copy(update={"signature": ""})
    foreign = grid.upload(grid.rosters[0], key=grid.keys.stranger).message
    for message in (unsigned, foreign):
        answer = platform.post("/uploads", json=message.model_dump(), auth=GATEWAY)
        refused(answer, 401, "authenticity.refused")
    notice = grid.key_notice(grid.keys.secret["bfv_4096_q109_t60"], key=grid.gateway_key)
    body = frames.join_frames([notice.model_dump_json().encode(), *grid.key_objects(notice)])
    answer = platform.post("/key-sets", content=body, auth=GATEWAY)
    refused(answer, 401, "authenticity.refused")


def test_malformed_bodies_are_refused_with_a_reason(platform, grid):
    install(platform, grid)
    upload = grid.upload(grid.rosters[0])
    platform.post("/uploads", json=upload.message.model_dump(), auth=GATEWAY)
    path = f"/uploads/{upload.upload_id}"
    objects = list(upload.objects.values())[:2]

    def sent(content: bytes):
        return platform.post(f"{path}/objects", content=content, headers=FRAMES, auth=GATEWAY)

    refused(sent(frames.join_frames(objects)[:-1]), 422, "message.frames")
    refused(sent(frames.join_frames([objects[0][:-1]])), 400, "upload.unnamed-object")
    refused(platform.post(f"{path}/commit", auth=GATEWAY), 400, "upload.incomplete")
    refused(platform.get("/uploads/none", auth=GATEWAY), 404, "not-found.upload")
    refused(platform.post("/key-sets", content=b"", auth=GATEWAY), 422, "message.invalid")
    junk = frames.join_frames([b"{}"])
    refused(platform.post("/key-sets", content=junk, auth=GATEWAY), 422, "message.invalid")
    refused(platform.post("/tariffs", content=b"\xff\xfe", auth=GATEWAY), 422, "message.invalid")
    answer = platform.post("/tariffs", content=b"rate = 1", auth=GATEWAY)
    assert answer.status_code == 400
    assert answer.json()["reason"].startswith("tariff.")


@pytest.mark.parametrize(
    ("digest", "status"), [("0" * 64, 404), ("../../zone.db", 422), ("x", 422), ("0" * 65, 422)]
)
def test_objects_are_found_by_digest_and_nothing_else_is(platform, digest, status):
    wanted = {"digests": [digest]}
    assert platform.post("/objects", headers=AUTHORITY, json=wanted).status_code == status


def test_an_object_larger_than_a_request_may_be_is_refused(tmp_path, grid):
    settings = platform_settings(tmp_path / "small", max_body_bytes=100_000)
    with TestClient(create_platform_app(settings, clock=TestClock())) as platform:
        body = frames.join_frames([b"x" * 100_001])
        answer = platform.post("/uploads/x/objects", content=body, auth=GATEWAY)
        refused(answer, 413, "message.too-large")


def test_a_plan_that_is_not_registered_is_refused(platform, grid):
    answer = platform.post("/runs", json=order_of(grid, "decrypt-all"), headers=BILLING)
    refused(answer, 422, "message.invalid")
    assert "decrypt-all" not in answer.text


# --- runs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", ["bill", "rebill"])
def test_a_run_of_an_empty_month_fails_with_its_reason(platform, grid, plan):
    outcome = finished(platform, start(platform, grid, plan))
    assert (outcome["state"], outcome["reason"]) == ("failed", "run.empty")
    assert "Upload" in str(outcome["message"])
    refused(platform.get("/runs/unknown", headers=BILLING), 404, "not-found.run")


def stuck_inputs(folder: Path, grid: GridSimulator) -> dict[str, int]:
    """Bills' inputs are held: jobs that read them never end by themselves."""
    columns = [column.entry for roster in grid.rosters for column in grid.packed(roster, days=1)]
    wanted = ("register:", "total")
    return hold_inputs(folder, [c.digest for c in columns if c.quantity.startswith(wanted)])


def wait_for_workers(*, seconds: float = 120) -> list[int]:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        found = [child.pid or 0 for child in multiprocessing.active_children()]
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("no worker process started")


def kill_workers() -> None:
    """Kill the processes that are there now; return when they are gone."""
    killed = wait_for_workers()
    for pid in killed:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    limit = time.monotonic() + 120
    while {child.pid for child in multiprocessing.active_children()} & set(killed):
        assert time.monotonic() < limit, "a killed worker is still there"
        time.sleep(0.01)


def test_one_run_at_a_time_for_a_plan_and_period(tmp_path, platform, grid):
    upload_all(platform, grid)
    lay_in = stuck_inputs(tmp_path / "platform", grid)
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(
                lambda _: platform.post("/runs", json=order_of(grid), headers=BILLING), range(4)
            )
        )
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]
    refused(platform.post("/runs", json=order_of(grid), headers=BILLING), 409, "conflict.run")
    other = start(platform, grid, "load-curve")
    (run_id,) = [a.json()["run_id"] for a in answers if a.is_success]
    assert status(platform, other)["state"] == status(platform, run_id)["state"] == "running"
    kill_workers()
    assert status(platform, run_id)["state"] == "running"
    release_inputs(tmp_path / "platform", lay_in)
    kill_workers()  # those that read what was held
    assert finished(platform, run_id)["state"] == "done"
    assert finished(platform, other)["state"] == "done"


def test_a_job_that_every_worker_dies_of_fails_its_run_and_keeps_nobody_else_waiting(
    tmp_path, platform, grid
):
    upload_all(platform, grid)
    lay_in = stuck_inputs(tmp_path / "platform", grid)
    run_id = start(platform, grid)
    for _ in range(MAX_DEATHS):
        kill_workers()
    outcome = finished(platform, run_id)
    assert (outcome["state"], outcome["reason"]) == ("failed", "job.killed")
    release_inputs(tmp_path / "platform", lay_in)
    assert finished(platform, start(platform, grid))["state"] == "done"


def test_stopping_the_service_ends_its_workers_and_the_run_goes_on_with_the_next_start(
    tmp_path, grid
):
    settings = platform_settings(tmp_path / "platform")
    with TestClient(create_platform_app(settings, clock=TestClock())) as platform:
        upload_all(platform, grid)
        lay_in = stuck_inputs(settings.folder, grid)
        run_id = start(platform, grid)
        wait_for_workers()
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 60
    assert multiprocessing.active_children() == []
    assert [t.name for t in threading.enumerate() if t.name.startswith("run_")] == []
    release_inputs(settings.folder, lay_in)
    with TestClient(create_platform_app(settings, clock=TestClock())) as restarted:
        again = finished(restarted, run_id)
        assert (again["state"], again["done"], again["of"]) == ("done", 2, 2)


def environment(settings: PlatformSettings) -> dict[str, str]:
    """What a process of the platform is told."""
    return {
        **os.environ,
        "GRIDSECURE_PLATFORM_FOLDER": str(settings.folder),
        "GRIDSECURE_PLATFORM_IDENTITY_PUBLIC_KEY": settings.identity_public_key,
        "GRIDSECURE_PLATFORM_AUTHORITY_PUBLIC_KEY": settings.authority_public_key,
        "GRIDSECURE_PLATFORM_BILLING_OFFICE_PUBLIC_KEY": settings.billing_office_public_key,
        "GRIDSECURE_PLATFORM_POLICY": settings.policy,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
    }


def test_a_run_that_meets_an_error_of_our_own_is_recorded_without_detail(
    platform, grid, monkeypatch, caplog
):
    def broken(*_arguments: object, **_named: object) -> None:
        raise ValueError("31415926 Wh")

    monkeypatch.setattr(desk, "plan_run", broken)
    outcome = finished(platform, start(platform, grid))
    assert (outcome["state"], outcome["reason"]) == ("failed", "internal")
    assert "31415926" not in json.dumps(outcome)
    assert "ValueError" in caplog.text
    assert "31415926" not in caplog.text


def test_a_stopping_service_takes_no_order(platform, grid):
    platform.app.state.platform.runs.stop()
    answer = platform.post("/runs", json=order_of(grid), headers=BILLING)
    refused(answer, 409, "conflict.stopping")
    assert platform.get("/runs", headers=BILLING).json() == []


KILLED_PLATFORM = """
import os, signal, sys, time
from gridsecure_api.platform import main_app
from gridsecure.compute.runs import RunOrder

if __name__ == "__main__":
    app = main_app()
    order = RunOrder("bill", {start!r}, {end!r}, "p", "clerk")
    run_id = app.state.platform.runs.start(order)
    open({started!r}, "w").write(run_id)
    time.sleep(600)
"""


def test_a_platform_that_was_killed_goes_on_where_it_was(tmp_path, grid):
    settings = platform_settings(tmp_path / "platform")
    with TestClient(create_platform_app(settings, clock=TestClock())) as platform:
        upload_all(platform, grid)
    lay_in = stuck_inputs(settings.folder, grid)
    order, started = order_of(grid), tmp_path / "started"
    script = tmp_path / "service.py"
    script.write_text(
        KILLED_PLATFORM.format(start=order["start"], end=order["end"], started=str(started))
    )
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env=environment(settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        limit = time.monotonic() + 120
        while not (started.exists() and started.read_text()) and time.monotonic() < limit:
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    run_id = started.read_text()
    release_inputs(settings.folder, lay_in)
    with TestClient(create_platform_app(settings, clock=TestClock())) as restarted:
        assert status(restarted, run_id)["state"] == "running"
        refused(restarted.post("/runs", json=order, headers=BILLING), 409, "conflict.run")
        with write_session(restarted.app.state.platform.zone.engine) as session:
            for table in (RunRow, JobRow):  # as if the time had passed; nobody renews them
                session.exec(update(table).values(lease_until=NOW - timedelta(seconds=1)))
        assert finished(restarted, run_id)["state"] == "done"
        with read_session(restarted.app.state.platform.zone.engine) as session:
            actions = Counter(session.exec(select(EvidenceRow.action)))
        assert (actions["run.ordered"], actions["run.taken-over"], actions["run.done"]) == (1, 1, 1)
        assert actions["plan.run"] == len(grid.rosters)


# --- what the platform cannot reach ------------------------------------------------------------

WALK = """
import gc, json, sys
from gridsecure_api.platform import main_app

if __name__ == "__main__":
    app = main_app()
    {more}
    gc.unfreeze()  # what was there at the start is set aside from collections
    kinds = sorted({{type(thing).__name__ for thing in gc.get_objects()}})
    print(json.dumps({{"modules": sorted(sys.modules), "kinds": kinds}}))
"""
HOLD_A_KEY = (
    "from gridsecure.homomorphic.secret_key import generate_key_set as g; "
    "from gridsecure.homomorphic.parameters import INTERVAL; key = g(INTERVAL)"
)
FORBIDDEN_MODULES = (
    "gridsecure.homomorphic.secret_key",
    "gridsecure.key_authority",
    "gridsecure.gateway",
)
FORBIDDEN_KINDS = {"SecretKeySet", "Vault"}


def walked(tmp_path: Path, *, more: str = "") -> dict[str, list[str]]:
    """Modules and kinds of objects in a fresh process that opened the platform's service."""
    settings = platform_settings(tmp_path / "platform")
    script = tmp_path / "walk.py"
    script.write_text(WALK.format(more=more))
    answer = subprocess.run(
        [sys.executable, str(script)],
        env=environment(settings),
        capture_output=True,
        text=True,
        check=True,
    )
    seen: dict[str, list[str]] = json.loads(answer.stdout)
    assert "gridsecure.compute.jobs" in seen["modules"]
    assert "PlatformZone" in seen["kinds"]
    return seen


def test_no_secret_key_is_imported_or_held_by_the_platforms_process(tmp_path):
    seen = walked(tmp_path)
    assert [name for name in seen["modules"] if name.startswith(FORBIDDEN_MODULES)] == []
    assert FORBIDDEN_KINDS & set(seen["kinds"]) == set()


def test_the_walk_would_see_a_secret_key(tmp_path):
    seen = walked(tmp_path, more=HOLD_A_KEY)
    assert [name for name in seen["modules"] if name.startswith(FORBIDDEN_MODULES)] != []
    assert set(seen["kinds"]) & FORBIDDEN_KINDS == {"SecretKeySet"}
