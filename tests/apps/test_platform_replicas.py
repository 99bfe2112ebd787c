"""Two platforms and two workers on one database and one store, killed at any moment."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from signal import SIGKILL

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from sqlmodel import select

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
from tests.apps.killed_platforms import (
    Point,
    Relay,
    Work,
    be_platform,
    be_worker,
    close,
    serve,
    take_in,
)
from tests.apps.test_api_platform import environment, install, upload_all
from tests.apps.zone_apps import TestClock, platform_settings
from tests.grid_simulator import NOW, GridSimulator
from tests.processes_beside import BESIDE

DAYS = 20
"""Enough jobs that all who are killed find some."""
STORES = ("a file and a folder", "PostgreSQL and a bucket")
SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 10))]


@dataclass
class Hall:
    """Where platforms and workers run beside a test, on one database and one store.

    Args:
        told: The environment of all of them.
        cut: Has their store and their database be out of reach for a while.
    """

    settings: PlatformSettings
    told: Mapping[str, str]
    cut: Callable[[], None]
    started: list[BaseProcess] = field(default_factory=list)

    def begin(self, work: Work, *, until: Point | None = None) -> BaseProcess:
        """Start a process that ends by itself at a point, if it comes to that."""
        forkserver.ensure_running()
        process = BESIDE.Process(
            target=serve,
            args=(work,),
            kwargs={
                "told": self.told,
                "point": until,
                "server": forkserver._forkserver._forkserver_address,
            },
        )
        process.start()
        self.started.append(process)
        return process

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.join()


@pytest.fixture(params=STORES)
def hall(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hall]:
    with ExitStack() as stack:
        stores, told, cut = {}, {}, lambda: None
        if request.param != STORES[0]:
            stores = {name: request.getfixturevalue(f"{name}_url") for name in ("postgres", "s3")}
            stores = {"database": stores["postgres"], "objects": stores["s3"]}
            server = request.getfixturevalue("postgres_server")
            relay = stack.enter_context(closing(Relay(request.getfixturevalue("s3_server").port)))
            told = {"AWS_ENDPOINT": f"http://127.0.0.1:{relay.port}"}

            def cut() -> None:
                with relay.cut():
                    server.stop(mode="immediate")
                    server.start()

        settings = platform_settings(tmp_path / "platform", **stores)
        for prefix in ("PLATFORM", "WORKER"):
            told[f"GRIDSECURE_{prefix}_DATABASE"] = settings.database_url
            told[f"GRIDSECURE_{prefix}_OBJECTS"] = settings.objects_url
            told[f"GRIDSECURE_{prefix}_WORKERS"] = "1"
            # A worker at its point takes its service along, which a confined one cannot.
            told[f"GRIDSECURE_{prefix}_SANDBOX"] = "off"
        made = Hall(settings, environment(settings) | told, cut)
        stack.callback(made.close)
        yield made


def wait_for(what: Callable[[], bool], *, seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < limit, "it does not come to that"
        time.sleep(0.02)


@contextmanager
def opened(
    settings: PlatformSettings, tmp_path: Path
) -> Iterator[tuple[GridSimulator, TestClient]]:
    """A platform whose own crew has nothing to do."""
    with ExitStack() as stack:
        grid = GridSimulator(tmp_path / "grid")
        stack.callback(grid.close)
        app = create_platform_app(settings, clock=TestClock())
        platform = TestClient(app)  # not entered: its crew stays at home
        stack.callback(app.state.platform.zone.engine.dispose)
        yield grid, platform


@contextmanager
def uploaded(
    settings: PlatformSettings, tmp_path: Path
) -> Iterator[tuple[GridSimulator, TestClient]]:
    """One that holds a closed month."""
    with opened(settings, tmp_path) as (grid, platform):
        upload_all(platform, grid)
        yield grid, platform


def list_owners(engine: Engine, *tables: type[RunRow | JobRow]) -> set[str | None]:
    """Who has a row in hand, or had when it was killed."""
    with read_session(engine) as session:
        owners = [session.exec(select(table.owner)).all() for table in tables or (RunRow, JobRow)]
    return {owner for found in owners for owner in found} - {None}


def ended(engine: Engine) -> Counter[str]:
    with read_session(engine) as session:
        return Counter(session.exec(select(RunRow.state)))


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_killed_at_any_moment_nothing_is_lost_and_nothing_made_twice(
    hall: Hall, tmp_path: Path, seed: int
) -> None:
    random = Random(seed)  # noqa: S311 - it only says where to kill
    with opened(hall.settings, tmp_path) as (grid, platform):
        engine = platform.app.state.platform.zone.engine
        deliver_with_kills(hall, random, grid, platform)
        replica = partial(be_platform, grid.order("bill"), grid.order("load-curve"))
        die(hall, replica, Point("commit", random.randint(1, 5), pick_moment(random)))
        for _ in range(2):
            planner = hall.begin(partial(replica, computes=False))
            moment = pick_moment(random, within=True)
            die(hall, be_worker, Point("object", random.randint(1, 2), moment))
            planner.kill()
            planner.join()
            die(hall, replica, Point("commit", random.randint(3, 8), pick_moment(random)))
        gone = list_owners(engine)
        hall.begin(partial(replica, computes=False))
        hands = hall.begin(be_worker)
        wait_for(
            lambda: (
                all(list_owners(engine, one) - gone for one in (RunRow, JobRow))
                or not ended(engine)["running"]
            )
        )
        hall.cut()
        wait_for(lambda: not ended(engine)["running"])
        assert ended(engine) == {"done": 2}, list_failures(engine)
        hands.terminate()
        hands.join(30)
        assert hands.exitcode == 0
        assert check_runs(grid, platform)["run.taken-over"] >= 1


def list_failures(engine: Engine) -> list[object]:
    """What runs ended with."""
    with read_session(engine) as session:
        return list(session.exec(select(RunRow.plan, RunRow.state, RunRow.reason)))


def pick_moment(random: Random, *, within: bool = False) -> str:
    return random.choice(["before", "after", *(["within"] if within else [])])


def deliver_with_kills(
    hall: Hall, random: Random, grid: GridSimulator, platform: TestClient
) -> None:
    """Uploads and the closing, each begun by a process that is killed and then sent again."""
    install(platform, grid)
    zone = platform.app.state.platform.zone
    uploads = [grid.upload(roster, days=DAYS) for roster in grid.rosters]
    steps = [("commit", random.randint(1, 4), "after"), ("object", 1, "within")]
    for upload, step in zip(uploads, steps, strict=True):
        die(hall, partial(take_in, upload), Point(*step))
        take_in(upload, zone)
    envelope = grid.closing_list([upload.upload_id for upload in uploads])
    die(hall, partial(close, envelope), Point("commit", 1, pick_moment(random)))
    close(envelope, zone)


def die(hall: Hall, work: Work, point: Point) -> None:
    """Begin a process and wait until it comes to its point."""
    process = hall.begin(work, until=point)
    process.join(60)
    assert process.exitcode == -SIGKILL, f"{point} does not come"


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
