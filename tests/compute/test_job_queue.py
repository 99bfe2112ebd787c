"""The queue that platforms and workers share: leases, fences, take-over, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from gridsecure.compute.job_queue import (
    LEASE,
    MAX_DEATHS,
    JobFailure,
    TakenRun,
    count_open_jobs,
    end_run,
    finish_jobs,
    holds_run,
    list_outcomes,
    lose_jobs,
    queue_jobs,
    release_leases,
    renew_leases,
    reopen_job,
    take_jobs,
    take_runs,
)
from gridsecure.compute.jobs import JobResult, JobSpec
from gridsecure.compute.tables import SCHEMA, JobRow, RunRow
from gridsecure.store.database import open_database, read_session, write_session
from gridsecure.store.evidence import EvidenceRow
from gridsecure.store.rows import keep
from gridsecure.store.schema import migrate

NOW = datetime(2026, 8, 1, 9, tzinfo=UTC)
LATER = NOW + LEASE + timedelta(seconds=1)
SPECS = [JobSpec(f"bill/1/{number}", (f"{number:064x}",)) for number in range(4)]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_database(database_url)
    migrate(made, SCHEMA)
    with write_session(made) as session:
        keep(
            session,
            RunRow(
                run_id="run",
                plan="bill",
                start="2026-07-01",
                end="2026-08-01",
                purpose="billing",
                requested_by="clerk",
                query="",
                grant="",
                state="running",
                at=NOW,
            ),
        )
    yield made
    made.dispose()


def take_run(engine: Engine, owner: str, *, now: datetime = NOW) -> TakenRun:
    (taken,) = take_runs(engine, owner=owner, now=now)
    return taken


def queued(engine: Engine, owner: str = "one") -> TakenRun:
    run = take_run(engine, owner)
    assert queue_jobs(engine, run, owner=owner, specs=SPECS, total=len(SPECS))
    return run


def result(name: str) -> JobResult:
    return JobResult(name, {"total": "a" * 64}, {}, ())


def names(jobs: list) -> list[str]:
    return [job.spec.name for job in jobs]


def test_what_one_has_in_hand_no_other_takes_until_its_lease_ends(engine):
    queued(engine)
    assert take_runs(engine, owner="two", now=NOW + LEASE) == []
    mine = take_jobs(engine, owner="one", now=NOW, limit=2)
    assert names(mine) == [spec.name for spec in SPECS[:2]]
    assert [job.spec for job in mine] == SPECS[:2]
    others = take_jobs(engine, owner="two", now=NOW, limit=9)
    assert names(others) == [spec.name for spec in SPECS[2:]]
    assert take_jobs(engine, owner="three", now=NOW + LEASE, limit=9) == []
    renew_leases(engine, owner="two", runs=[], jobs=[job.row_id for job in others], now=LATER)
    assert names(take_jobs(engine, owner="three", now=LATER, limit=9)) == names(mine)
    taken = take_run(engine, "two", now=LATER)
    assert taken.fence == 2
    with read_session(engine) as session:
        actions = list(session.exec(select(EvidenceRow.action)))
    assert actions == ["run.taken-over"]


def test_a_process_that_slept_beyond_its_lease_changes_nothing(engine):
    run = queued(engine)
    (job,) = take_jobs(engine, owner="one", now=NOW, limit=1)
    (again,) = take_jobs(engine, owner="two", now=LATER, limit=1)
    taken = take_run(engine, "two", now=LATER)
    assert again.spec == job.spec
    finish_jobs(engine, [(job, JobFailure("internal", "late"))], owner="one")
    lose_jobs(engine, [job], owner="one", deaths=1)
    renew_leases(engine, owner="one", runs=[run.row_id], jobs=[job.row_id], now=LATER)
    assert list_outcomes(engine, "run") == {}
    assert not holds_run(engine, run, owner="one")
    assert not queue_jobs(engine, run, owner="one", specs=SPECS, total=4)
    with write_session(engine) as session:
        assert not end_run(session, run, owner="one", values={"state": "failed"})
    finish_jobs(engine, [(again, result(again.spec.name))], owner="two")
    assert list_outcomes(engine, "run") == {again.spec.name: result(again.spec.name)}
    assert holds_run(engine, taken, owner="two")


def test_the_same_process_under_an_earlier_fence_is_another(engine):
    queued(engine)
    (job,) = take_jobs(engine, owner="one", now=NOW, limit=1)
    (again,) = take_jobs(engine, owner="one", now=LATER, limit=1)
    assert (again.row_id, again.fence) == (job.row_id, job.fence + 1)
    finish_jobs(engine, [(job, result(job.spec.name))], owner="one")
    assert list_outcomes(engine, "run") == {}


def test_what_is_laid_down_is_taken_at_once_and_is_no_death(engine):
    queued(engine)
    for _ in range(MAX_DEATHS + 1):
        taken = take_jobs(engine, owner="one", now=NOW, limit=9)
        assert len(taken) == len(SPECS)
        lose_jobs(engine, taken[:2], owner="one", deaths=0)
        release_leases(engine, owner="one")
    assert take_run(engine, "two").fence == 2
    with read_session(engine) as session:
        assert {row.deaths for row in session.exec(select(JobRow))} == {0}


@pytest.mark.parametrize("way", ["lost", "lapsed"])
def test_a_job_that_processes_die_of_fails_with_its_reason(engine, way):
    queued(engine)
    now = NOW
    for _ in range(MAX_DEATHS):
        taken = take_jobs(engine, owner="one", now=now, limit=1)
        assert names(taken) == [SPECS[0].name]
        if way == "lost":
            lose_jobs(engine, taken, owner="one", deaths=1)
        now += LEASE * 2
    assert names(take_jobs(engine, owner="two", now=now, limit=1)) != [SPECS[0].name]
    (failure,) = list_outcomes(engine, "run").values()
    assert isinstance(failure, JobFailure)
    assert failure.reason == "job.killed"


def test_a_run_that_is_planned_anew_keeps_its_jobs_and_drops_what_is_no_part_of_it(engine):
    queued(engine)
    (done, open_job) = take_jobs(engine, owner="one", now=NOW, limit=2)
    finish_jobs(engine, [(done, result(done.spec.name))], owner="one")
    taken = take_run(engine, "two", now=LATER)
    fewer = SPECS[:3]
    assert queue_jobs(engine, taken, owner="two", specs=fewer, total=3)
    assert list_outcomes(engine, "run") == {done.spec.name: result(done.spec.name)}
    with read_session(engine) as session:
        assert count_open_jobs(session, ["run"]) == {"run": 2}
    reopen_job(engine, "run", name=done.spec.name)
    again = take_jobs(engine, owner="two", now=LATER, limit=9)
    assert sorted(names(again)) == [spec.name for spec in fewer]
    assert open_job.spec.name in names(again)


def test_a_run_that_ended_leaves_no_jobs_and_ends_once(engine):
    run = queued(engine)
    values = {"state": "done", "jobs_done": 4}
    with write_session(engine) as session:
        assert end_run(session, run, owner="one", values=values)
    with write_session(engine) as session:
        assert not end_run(session, run, owner="one", values={"state": "failed"})
    with read_session(engine) as session:
        (row,) = session.exec(select(RunRow))
        assert (row.state, row.owner, row.jobs, row.jobs_done) == ("done", None, 4, 4)
        assert list(session.exec(select(JobRow))) == []
    assert take_runs(engine, owner="two", now=LATER) == []


def test_many_that_take_at_once_take_each_job_once(engine):
    run = take_run(engine, "one")
    specs = [JobSpec(f"bill/1/{number}", ("a" * 64,)) for number in range(40)]
    queue_jobs(engine, run, owner="one", specs=specs, total=40)

    def take_all(owner: str) -> list[str]:
        found: list[str] = []
        while jobs := take_jobs(engine, owner=owner, now=NOW, limit=3):
            found += names(jobs)
        return found

    with ThreadPoolExecutor(4) as pool:
        shares = list(pool.map(take_all, ["one", "two", "three", "four"]))
    assert sorted(name for share in shares for name in share) == sorted(s.name for s in specs)
