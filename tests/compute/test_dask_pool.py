"""Engines by URL, and what passes between a platform, a Dask scheduler and its workers."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from distributed import KilledWorker

from gridsecure.compute import dask_pool, dask_tickets, job_engines
from gridsecure.compute.crew import _count_deaths
from gridsecure.compute.dask_orders import OrderWorker
from gridsecure.compute.dask_pool import DaskPool, JobPlugin, _hand_over
from gridsecure.compute.dask_tickets import Ticket, run_ticket
from gridsecure.compute.job_engines import choose_engine
from gridsecure.compute.job_queue import MAX_DEATHS
from gridsecure.compute.jobs import (
    Job,
    JobResult,
    LoadCurveJob,
    LostWorkers,
    Worker,
    WorkerPool,
)
from gridsecure.compute.key_sets import read_known_keys
from gridsecure.compute.runs import load_jobs, plan_run
from gridsecure.errors import GridSecureError, InputError, KeyMismatchError
from gridsecure.plans.key_ring import KnownKeys
from gridsecure.sandbox import SandboxWish
from gridsecure.store.objects import ObjectStore, open_objects
from tests.grid_simulator import NOW, GridSimulator, delivered_grid

NO_TLS = {"ca": None, "certificate": None, "key": None}
SCHEDULER = "tcp://127.0.0.1:8786"


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GridSimulator]:
    with delivered_grid(tmp_path_factory.mktemp("dask") / "grid") as made:
        yield made


class CountingStore(ObjectStore):
    """Counts what is read."""

    def __init__(self, store: ObjectStore) -> None:
        super().__init__(store.url, store._backend)
        self.reads: Counter[str] = Counter()

    def get(self, digest: str) -> bytes:
        self.reads[digest] += 1
        return super().get(digest)


def jobs_of(grid: GridSimulator, plan: str) -> list[Job]:
    zone = grid.platform_zone
    specs = list(plan_run(zone, grid.order(plan), at=NOW).specs.values())
    return load_jobs(zone.engine, zone.objects, specs)


def pool_of(grid: GridSimulator, known: KnownKeys | None = None) -> DaskPool:
    zone = grid.platform_zone
    known = known or read_known_keys(zone.engine)
    return DaskPool(zone.objects.store, known, address=SCHEDULER, security=None)


def test_a_ticket_is_small_tells_no_seed_and_gives_the_same_files(grid: GridSimulator) -> None:
    zone = grid.platform_zone
    store = CountingStore(zone.objects.store)
    worker, keys = OrderWorker(store), read_known_keys(zone.engine)
    for plan in ("bill", "load-curve"):
        for job in jobs_of(grid, plan):
            ticket = pool_of(grid)._ticket(job)  # a pool of its own, as another platform has
            sent = pickle.dumps(ticket)
            received = pickle.loads(sent)  # noqa: S301 - as Dask does
            result = worker.run(received.order, received.seed)
            assert result == Worker(zone.objects.store, keys).run(job)
            files = [zone.objects.store.get_extent(extent) for extent in result.extents]
            assert len(sent) < 300
            assert len(pickle.dumps(result)) < 4096 < min(map(len, files))
            if isinstance(job, LoadCurveJob):
                order = zone.objects.store.get(ticket.order)
                assert ticket.seed == job.seed
                assert repr(job.seed) not in repr(ticket)
                assert b'"seed":""' in order
            store.discard(ticket.order)
            assert not store.has(ticket.order)
    named = {notice.public_key for notice in keys.notices}
    named |= {notice.relinearisation_keys or "" for notice in keys.notices}
    assert {store.reads[digest] for digest in named} == {0, 1}, "a key set is opened twice"


@contextmanager
def plugin_of(objects: ObjectStore, sandbox: SandboxWish = "available") -> Iterator[JobPlugin]:
    made = JobPlugin(objects, sandbox=sandbox)
    try:
        yield made
    finally:
        made.teardown(None)


def test_a_dask_worker_has_a_process_compute_and_tells_of_its_death(grid: GridSimulator) -> None:
    """It heeds what was revoked since the process opened a key set."""
    zone = grid.platform_zone
    keys, job = read_known_keys(zone.engine), jobs_of(grid, "bill")[0]
    revoked = KnownKeys(keys.notices, frozenset(notice.key_id for notice in keys.notices))
    with plugin_of(zone.objects.store) as plugin:
        done = plugin.run(pool_of(grid)._ticket(job))
        assert done == Worker(zone.objects.store, keys).run(job)
        with pytest.raises(KeyMismatchError) as refused:
            plugin.run(pool_of(grid, revoked)._ticket(job))
        assert refused.value.reason == "keys.revoked"
        (process,) = plugin._process._executor._processes.values()
        process.kill()
        process.join()
        with pytest.raises(LostWorkers) as lost:
            plugin.run(pool_of(grid)._ticket(job))
        assert pickle.loads(pickle.dumps(lost.value)).deaths == 1  # noqa: S301 - as Dask does
        assert plugin.run(pool_of(grid)._ticket(job)) == done


def test_workers_that_are_not_a_platforms_say_so(
    grid: GridSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = pool_of(grid)._ticket(jobs_of(grid, "bill")[0])
    with (
        plugin_of(open_objects((tmp_path / "other").as_uri())) as plugin,
        pytest.raises(InputError) as elsewhere,
    ):
        plugin.run(ticket)
    assert elsewhere.value.reason == "engine.objects"
    monkeypatch.setattr(dask_tickets, "get_worker", lambda: SimpleNamespace(plugins={}))
    with pytest.raises(InputError) as plain:
        run_ticket(Ticket("0" * 64, b""))
    assert plain.value.reason == "engine.worker"


def test_a_platform_that_requires_a_sandbox_gives_no_job_to_a_worker_without(
    grid: GridSimulator,
) -> None:
    zone, ticket = grid.platform_zone, Ticket("0" * 64, b"", must_confine=True)
    with plugin_of(zone.objects.store, "off") as open_, pytest.raises(InputError) as refused:
        open_.run(ticket)
    assert refused.value.reason == "engine.sandbox"
    with plugin_of(zone.objects.store) as confined, pytest.raises(InputError) as absent:
        confined.run(ticket)
    assert absent.value.reason == "engine.objects", "it was looked for"


def test_a_dask_worker_with_a_nanny_is_refused(
    grid: GridSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python gives a daemon no processes of its own."""
    monkeypatch.setattr(dask_pool, "current_process", lambda: SimpleNamespace(daemon=True))
    with pytest.raises(InputError) as refused:
        JobPlugin(grid.platform_zone.objects.store, sandbox="available")
    assert refused.value.reason == "engine.nanny"


@pytest.mark.parametrize(
    ("remote", "deaths"),
    [
        (
            SimpleNamespace(status="error", exception=lambda: KilledWorker("job", None, 3)),
            MAX_DEATHS + 1,
        ),
        (SimpleNamespace(status="cancelled"), 0),
        (SimpleNamespace(status="finished", result=lambda: 1 / 0), 0),
        (SimpleNamespace(status="error", exception=lambda: GridSecureError("No.")), None),
        (SimpleNamespace(status="finished", result=lambda: "a result"), None),
    ],
    ids=["killed", "scheduler lost", "answer lost", "failed", "done"],
)
def test_what_became_of_a_task_is_told_to_the_crew(
    remote: SimpleNamespace, deaths: int | None
) -> None:
    future: Future[JobResult] = Future()
    _hand_over(future, remote)
    assert _count_deaths(future) == deaths


def test_without_a_scheduler_a_pool_has_no_workers_and_pauses_longer_each_time(
    grid: GridSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gridsecure.compute.dask_pool._CONNECT_SECONDS", 0.1)
    pool = DaskPool(
        grid.platform_zone.objects.store,
        KnownKeys(()),
        address="tcp://127.0.0.1:1",
        security=None,
    )
    pauses = []
    for _ in range(7):
        assert pool.workers == 0
        pauses.append(pool._pause)
        pool._try_at = 0.0
    assert pauses == [1, 2, 4, 8, 10, 10, 10]
    (lost,) = pool.submit(jobs_of(grid, "load-curve"))
    assert lost.cancelled()
    pool.close()


@pytest.mark.parametrize(
    "url",
    [
        *("", "processes", "processes:2", "dask://host:8786", "tls://host", "tls://:8786"),
        *("tcp://10.0.0.7:8786", "tcp://dask.example:8786", "tls://user@host:8786"),
        *("tls://host:8786/path", "tls://host:eight", "tls://[::1:8786"),
    ],
)
def test_engines_that_are_none_are_refused(url: str, tmp_path: Path) -> None:
    objects = open_objects(tmp_path.as_uri())
    with pytest.raises(InputError) as refused:
        choose_engine(url, objects=objects, workers=1, tls=NO_TLS)
    assert refused.value.reason == "engine.url"


def test_engines_are_opened_by_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = open_objects(tmp_path.as_uri())

    def opened(url: str) -> object:
        return choose_engine(url, objects=objects, workers=3, tls=NO_TLS)(KnownKeys(()))

    processes = opened("processes:")
    assert isinstance(processes, WorkerPool)
    assert processes.workers == 3
    for url in (SCHEDULER, "tcp://localhost:8786", "tcp://[::1]:8786"):
        assert isinstance(opened(url), DaskPool)
    strict = choose_engine(SCHEDULER, objects=objects, workers=1, tls=NO_TLS, sandbox="required")
    assert [opened(SCHEDULER)._must_confine, strict(KnownKeys(()))._must_confine] == [False, True]
    empty = tmp_path / "empty.pem"
    empty.touch()
    for path in (None, tmp_path / "none.pem", empty):
        with pytest.raises(InputError) as bare:
            choose_engine(
                "tls://dask.example:8786",
                objects=objects,
                workers=1,
                tls=dict.fromkeys(NO_TLS, path),
            )
        assert bare.value.reason == "engine.certificate"
    monkeypatch.setattr(job_engines, "find_spec", lambda _name: None)
    with pytest.raises(InputError) as missing:
        opened(SCHEDULER)
    assert missing.value.reason == "engine.extra"
    for url in ("processes:", SCHEDULER):
        with pytest.raises(InputError) as alone:
            choose_engine(url, objects=open_objects("memory://"), workers=1, tls=NO_TLS)
        assert alone.value.reason == "objects.url"
