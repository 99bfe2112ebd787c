"""Two platforms and two workers on one database and one store, killed at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from sqlmodel import col, select

from gridsecure.compute.jobs import JobResult, Worker
from gridsecure.compute.key_sets import read_known_keys
from gridsecure.compute.runs import load_jobs, plan_run
from gridsecure.compute.tables import JobRow, ReleaseRequestRow, RunRow, TranscriptRow
from gridsecure.messages import Transcript
from gridsecure.store.database import read_session
from gridsecure.store.evidence import EvidenceRow
from gridsecure.store.log_tree import verify_log
from gridsecure_api.platform import create_platform_app
from gridsecure_api.settings import PlatformSettings
from tests.apps.test_api_platform import ROOT, environment, upload_all
from tests.apps.zone_apps import TestClock, platform_settings
from tests.grid_simulator import NOW, GridSimulator

# As the programs are, but with leases that a test can wait for.
PROGRAM = """
import sys, time
from datetime import timedelta
from gridsecure.compute import crew, job_queue

job_queue.LEASE, crew._RENEW_SECONDS = timedelta(seconds=2), 0.5
if __name__ == "__main__":
    if sys.argv[1] == "worker":
        from gridsecure_api.worker import main
        main()
    else:
        from gridsecure_api.platform import main_app
        from gridsecure.compute.runs import RunOrder
        desk = main_app().state.platform.runs
        for plan, start, end in zip(*[iter(sys.argv[2:])] * 3):
            desk.start(RunOrder(plan, start, end, "billing", "clerk"))
        desk.go_on_duty()
        while True:
            time.sleep(60)
"""


@pytest.fixture(params=["a file and a folder", "PostgreSQL and a bucket"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> PlatformSettings:
    stores = {}
    if request.param != "a file and a folder":
        stores = {
            "database": request.getfixturevalue("postgres_url"),
            "objects": request.getfixturevalue("s3_url"),
        }
    return platform_settings(tmp_path / "platform", **stores)


@pytest.fixture
def begin(
    settings: PlatformSettings, tmp_path: Path
) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts platforms and workers; what still runs at the end is killed."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    variables = {
        **environment(settings),
        "GRIDSECURE_PLATFORM_DATABASE": settings.database_url,
        "GRIDSECURE_PLATFORM_OBJECTS": settings.objects_url,
        "GRIDSECURE_PLATFORM_WORKERS": "1",
    }
    hands = {name: value for name, value in os.environ.items() if "GRIDSECURE" not in name} | {
        "GRIDSECURE_WORKER_DATABASE": settings.database_url,
        "GRIDSECURE_WORKER_OBJECTS": settings.objects_url,
        "GRIDSECURE_WORKER_WORKERS": "1",
    }
    started: list[subprocess.Popen[bytes]] = []

    def start(kind: str, *orders: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, str(script), kind, *orders],
            env=hands if kind == "worker" else variables,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for(what: Callable[[], bool], *, seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < limit, "it does not come to that"
        time.sleep(0.02)


@contextmanager
def uploaded(
    settings: PlatformSettings, tmp_path: Path
) -> Iterator[tuple[GridSimulator, TestClient]]:
    """A platform that holds a closed month and whose own crew has nothing to do."""
    with ExitStack() as stack:
        grid = GridSimulator(tmp_path / "grid")
        stack.callback(grid.close)
        app = create_platform_app(settings, clock=TestClock())
        platform = TestClient(app)  # not entered: its crew stays at home
        stack.callback(app.state.platform.zone.engine.dispose)
        upload_all(platform, grid)
        yield grid, platform


def in_hand(engine: Engine, table: type[RunRow | JobRow]) -> bool:
    with read_session(engine) as session:
        return (
            session.exec(select(table.id).where(col(table.owner).is_not(None))).first() is not None
        )


def ended(engine: Engine) -> Counter[str]:
    with read_session(engine) as session:
        return Counter(session.exec(select(RunRow.state)))


def test_whoever_is_killed_no_bill_is_lost_and_none_made_twice(
    settings: PlatformSettings, begin: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    with uploaded(settings, tmp_path) as (grid, platform):
        zone = platform.app.state.platform.zone
        orders = [grid.order("bill"), grid.order("load-curve")]
        wanted = [text for one in orders for text in (one.plan, one.start, one.end)]
        first, hands = begin("platform", *wanted), begin("worker")
        wait_for(lambda: in_hand(zone.engine, JobRow))
        first.send_signal(signal.SIGKILL)
        hands.send_signal(signal.SIGKILL)
        first.wait()
        hands.wait()
        begin("platform")
        second = begin("worker")
        wait_for(lambda: in_hand(zone.engine, RunRow))
        second.send_signal(signal.SIGKILL)
        second.wait()
        last = begin("worker")
        wait_for(lambda: ended(zone.engine)["running"] == 0)
        assert ended(zone.engine) == {"done": 2}
        last.send_signal(signal.SIGTERM)
        assert last.wait(30) == 0

        actions = check_runs(grid, platform)
        assert actions["run.taken-over"] >= 1


def check_runs(grid: GridSimulator, platform: TestClient) -> Counter[str]:
    """A month was billed and totalled once, with the files that one process writes alone."""
    zone = platform.app.state.platform.zone
    with read_session(zone.engine) as session:
        kept = {
            row.job: Transcript.parse(row.envelope.body)
            for row in session.exec(select(TranscriptRow))
        }
        requests = Counter(session.exec(select(ReleaseRequestRow.plan)))
        actions = Counter(session.exec(select(EvidenceRow.action)))
        assert session.exec(select(JobRow.id)).all() == []
        verify_log(session)
    assert requests == {"bill": 1, "load-curve": 1}
    assert actions["plan.run"] == len(kept)
    assert actions["run.ordered"] == actions["run.done"] == 2
    for plan in requests:
        for name, result in results_alone(grid, platform, grid.order(plan)).items():
            assert dict(kept.pop(name).outputs) == dict(result.outputs)
    assert kept == {}
    return actions


def results_alone(grid: GridSimulator, platform: TestClient, order: object) -> dict[str, JobResult]:
    """What the same jobs give in this process, one after the other."""
    zone = platform.app.state.platform.zone
    worker = Worker(zone.objects.store, read_known_keys(zone.engine))
    specs = list(plan_run(zone, order, at=NOW).specs.values())
    return {job.name: worker.run(job) for job in load_jobs(zone.engine, zone.objects, specs)}
