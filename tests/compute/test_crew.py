"""A crew and a desk in one process: what a store that is out of reach, and keys, do to a run."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

import pytest
from sqlmodel import select

from gridsecure.compute import crew
from gridsecure.compute.crew import OUT_OF_REACH
from gridsecure.compute.desk import RunDesk
from gridsecure.compute.jobs import WorkerPool
from gridsecure.compute.tables import JobRow
from gridsecure.errors import StorageError
from gridsecure.store.database import read_session
from gridsecure.wire.platform import RunStatus
from tests.grid_simulator import NOW, GridSimulator, delivered_grid


@pytest.fixture
def delivered(tmp_path: Path) -> Iterator[GridSimulator]:
    with delivered_grid(tmp_path / "grid") as grid:
        yield grid


@pytest.fixture
def desk(delivered: GridSimulator) -> Iterator[RunDesk]:
    zone = delivered.platform_zone
    made = RunDesk(
        zone, open_pool=partial(WorkerPool, zone.objects.store, workers=1), clock=lambda: NOW
    )
    yield made
    made.stop()


def finished(desk: RunDesk, run_id: str, *, seconds: float = 60) -> RunStatus:
    limit = time.monotonic() + seconds
    while (status := desk.status(run_id)).state == "running":
        assert time.monotonic() < limit, "the run does not end"
        time.sleep(0.02)
    return status


def test_a_run_waits_for_a_store_that_is_out_of_reach(
    delivered: GridSimulator, desk: RunDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    load_jobs, renew_leases = crew.load_jobs, crew.renew_leases

    def unwell(*arguments: object) -> object:
        nonlocal asked
        asked += 1
        if asked <= 2:
            raise StorageError("The store is away.", reason=OUT_OF_REACH)
        return load_jobs(*arguments)

    renewed = []

    def renew(*arguments: object, runs: Collection[int], **named: object) -> None:
        renewed.append((asked, len(runs)))
        renew_leases(*arguments, runs=runs, **named)

    monkeypatch.setattr(crew, "load_jobs", unwell)
    monkeypatch.setattr(crew, "renew_leases", renew)
    monkeypatch.setattr(crew, "_RENEW_SECONDS", 0.1)
    status = finished(desk, desk.start(delivered.order("bill")))
    assert (status.state, status.done, status.of) == ("done", 2, 2)
    assert asked > 2
    assert (1, 1) in renewed, "the run's lease is kept while the store is away"


def test_any_other_error_of_a_store_fails_the_run_with_its_reason(
    delivered: GridSimulator, desk: RunDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> object:
        raise StorageError("It cannot be read.", reason="storage.read", remedy="Look at the disk.")

    monkeypatch.setattr(crew, "load_jobs", full)
    status = finished(desk, desk.start(delivered.order("bill")))
    assert (status.state, status.reason) == ("failed", "storage.read")
    assert status.message == "It cannot be read. Look at the disk."
    with read_session(delivered.platform_zone.engine) as session:
        assert session.exec(select(JobRow.id)).all() == []


def test_a_crew_that_has_nothing_to_do_goes_home_and_comes_back(
    delivered: GridSimulator, desk: RunDesk
) -> None:
    first = finished(desk, desk.start(delivered.order("bill")))
    limit = time.monotonic() + 120
    while desk._crew._threads:
        assert time.monotonic() < limit, "the crew stays"
        time.sleep(0.02)
    second = finished(desk, desk.start(delivered.order("load-curve")))
    assert (first.state, second.state) == ("done", "done")
