"""Runs and jobs as rows that several processes share: who has one in hand, and until when.

Any number of platforms and workers on one database take runs and jobs from here. Invariants:
- One process at a time has a row in hand. It holds a lease, which it renews; where a lease ended,
  the next process that looks takes the row over.
- Every time a row is taken its fence rises. What a process says of a row counts only under the
  fence it took it with. So a process that was suspended beyond its lease changes nothing.
- A job is a pure function of what its spec names, so one that two processes compute gives the same
  result twice. Leases save work; nothing rests on them.
- A job that took `MAX_DEATHS` processes with it fails its run: it would take all others too.

A lease is measured by the clocks of those who share it. Clocks that differ by more than a lease
make them compute jobs twice, no more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pydantic import TypeAdapter
from sqlalchemy import Engine, func, or_
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import Session, col, delete, select, update

from gridsecure.compute.jobs import JobResult, JobSpec
from gridsecure.compute.tables import JobRow, Leased, RunRow
from gridsecure.errors import GridSecureError
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import find

RUNNING: Final = "running"
OPEN: Final = "open"
DONE: Final = "done"
FAILED: Final = "failed"

LEASE: Final = timedelta(seconds=30)
"""How long a row stays in hand unless its owner renews the lease."""

MAX_DEATHS: Final = 3
"""So many processes may die with a job in hand before its run fails."""


@dataclass(frozen=True, slots=True)
class JobFailure:
    """Why a job failed: a stable code, and a sentence."""

    reason: str
    message: str

    @classmethod
    def of(cls, error: GridSecureError) -> JobFailure:
        """What an error says, with its way out."""
        remedy = f" {error.remedy}" if error.remedy else ""
        return cls(error.reason, error.message + remedy)


def internal_failure() -> JobFailure:
    """That the platform itself is at fault; no detail of it leaves the log."""
    return JobFailure("internal", "The run met an error of the platform's own.")


@dataclass(frozen=True, slots=True)
class Taken:
    """A row that is in hand.

    Args:
        row_id: Which.
        fence: The number it was taken under.
    """

    row_id: int
    fence: int


@dataclass(frozen=True, slots=True)
class TakenJob(Taken):
    """A job in hand.

    Args:
        spec: What it computes.
    """

    spec: JobSpec


@dataclass(frozen=True, slots=True)
class TakenRun(Taken):
    """A run in hand.

    Args:
        run: Its row.
    """

    run: RunRow


_SPEC: Final = TypeAdapter(JobSpec)
_RESULT: Final = TypeAdapter(JobResult)
_FAILURE: Final = TypeAdapter(JobFailure)


# --- taking


def take_runs(engine: Engine, *, owner: str, now: datetime) -> list[TakenRun]:
    """Take the runs at work that nobody has in hand.

    Args:
        engine: The platform's database.
        owner: Who takes them.
        now: The present, aware.
    """
    free = (RunRow.state == RUNNING, _is_free(RunRow, now))
    if not _any(engine, RunRow, *free):  # without the write lock, because it is asked often
        return []
    taken = []
    with write_session(engine) as session:
        for run in session.exec(select(RunRow).where(*free).order_by(col(RunRow.id))).all():
            if run.owner is not None:
                detail: dict[str, evidence.JSON] = {"run": run.run_id, "fence": run.fence + 1}
                evidence.append(
                    session, at=now, actor="platform", action="run.taken-over", detail=detail
                )
            fence = _take(session, RunRow, run, owner=owner, now=now)
            taken.append(TakenRun(run.id or 0, fence, run))
    return taken


def take_jobs(engine: Engine, *, owner: str, now: datetime, limit: int) -> list[TakenJob]:
    """Take open jobs that nobody has in hand, oldest first.

    Args:
        engine: The platform's database.
        owner: Who takes them.
        now: The present, aware.
        limit: At most so many.
    """
    free = (JobRow.state == OPEN, _is_free(JobRow, now))
    if limit <= 0 or not _any(engine, JobRow, *free):
        return []
    taken: list[TakenJob] = []
    with write_session(engine) as session:
        wanted = select(JobRow).where(*free).order_by(col(JobRow.id)).limit(limit)
        for job in session.exec(wanted).all():
            deaths = job.deaths + (job.owner is not None)  # its lease ended in somebody's hand
            if deaths >= MAX_DEATHS:
                _close(session, job, deaths=deaths)
                continue
            fence = _take(session, JobRow, job, owner=owner, now=now, deaths=deaths)
            taken.append(TakenJob(job.id or 0, fence, _SPEC.validate_json(job.spec)))
    return taken


def renew_leases(
    engine: Engine, *, owner: str, runs: Collection[int], jobs: Collection[int], now: datetime
) -> None:
    """Keep in hand what a process still has; what it has lost stays lost."""
    with write_session(engine) as session:
        for table, ids in ((RunRow, runs), (JobRow, jobs)):
            if ids:
                mine = (col(table.owner) == owner, col(table.id).in_(ids))
                session.exec(update(table).where(*mine).values(lease_until=now + LEASE))


def release_leases(engine: Engine, *, owner: str) -> None:
    """Lay down everything a process has in hand, for others to take at once."""
    with write_session(engine) as session:
        for table, at_work in ((RunRow, RUNNING), (JobRow, OPEN)):
            mine = (col(table.state) == at_work, col(table.owner) == owner)
            session.exec(update(table).where(*mine).values(owner=None, lease_until=None))


# --- jobs


def queue_jobs(
    engine: Engine, run: TakenRun, *, owner: str, specs: Sequence[JobSpec], total: int
) -> bool:
    """Put a run's open jobs in the queue; those that are there stay as they are.

    Jobs of the run that are no longer part of it go: its owner before may have planned it when a
    correction was not there yet.

    Args:
        engine: The platform's database.
        run: The run, in hand.
        owner: Whose hand.
        specs: The jobs.
        total: How many jobs the run has, done ones included.

    Returns:
        False where the run is no longer in hand.
    """
    with write_session(engine) as session:
        noted = update(RunRow).where(*_held(RunRow, run, owner)).values(jobs=total)
        if not session.exec(noted).rowcount:
            return False
        here = select(JobRow.name).where(JobRow.run_id == run.run.run_id)
        known = set(session.exec(here))
        for name in known - {spec.name for spec in specs}:
            forget_jobs(session, run.run.run_id, name=name)
        session.add_all(
            JobRow(run_id=run.run.run_id, name=spec.name, spec=_SPEC.dump_json(spec).decode())
            for spec in specs
            if spec.name not in known
        )
    return True


def finish_jobs(
    engine: Engine, outcomes: Sequence[tuple[TakenJob, JobResult | JobFailure]], *, owner: str
) -> None:
    """Keep what came of jobs; of one that is no longer in hand nothing is kept."""
    if not outcomes:
        return
    with write_session(engine) as session:
        for job, outcome in outcomes:
            if isinstance(outcome, JobFailure):
                state, kept = FAILED, _FAILURE.dump_json(outcome)
            else:
                state, kept = DONE, _RESULT.dump_json(outcome)
            mine = update(JobRow).where(*_held(JobRow, job, owner), col(JobRow.state) == OPEN)
            ended = mine.values(state=state, outcome=kept.decode(), owner=None, lease_until=None)
            session.exec(ended)


def lose_jobs(engine: Engine, jobs: Sequence[TakenJob], *, owner: str, deaths: int) -> None:
    """Lay jobs down that did not end.

    Args:
        engine: The platform's database.
        owner: Who had them in hand.
        deaths: 1 where their worker process died, 0 where they never began.
    """
    if not jobs:
        return
    with write_session(engine) as session:
        for job in jobs:
            mine = update(JobRow).where(*_held(JobRow, job, owner), col(JobRow.state) == OPEN)
            died = col(JobRow.deaths) + deaths
            session.exec(mine.values(owner=None, lease_until=None, deaths=died))
            row = find(session, JobRow, id=job.row_id)
            if row is not None and row.state == OPEN and row.deaths >= MAX_DEATHS:
                _close(session, row, deaths=row.deaths)


def list_outcomes(engine: Engine, run_id: str) -> dict[str, JobResult | JobFailure]:
    """What came of those jobs of a run that ended and whose results were not signed yet."""
    with read_session(engine) as session:
        ended = select(JobRow).where(JobRow.run_id == run_id, JobRow.state != OPEN)
        rows = session.exec(ended.order_by(col(JobRow.id))).all()
    return {
        row.name: (_RESULT if row.state == DONE else _FAILURE).validate_json(row.outcome or "")
        for row in rows
    }


def reopen_job(engine: Engine, run_id: str, *, name: str) -> None:
    """Have a job done again whose outputs were swept before they were named."""
    job = update(JobRow).where(col(JobRow.run_id) == run_id, col(JobRow.name) == name)
    with write_session(engine) as session:
        session.exec(job.values(state=OPEN, outcome=None))


def forget_jobs(session: Session, run_id: str, *, name: str | None = None) -> None:
    """Take a run's jobs out of the queue: all of them, or the one whose result was signed."""
    of_run = delete(JobRow).where(col(JobRow.run_id) == run_id)
    session.exec(of_run if name is None else of_run.where(col(JobRow.name) == name))


def count_open_jobs(session: Session, run_ids: Sequence[str]) -> Mapping[str, int]:
    """How many jobs of each of some runs did not end yet."""
    waiting = (
        select(JobRow.run_id, func.count())
        .where(JobRow.state == OPEN, col(JobRow.run_id).in_(run_ids))
        .group_by(JobRow.run_id)
    )
    return dict(session.exec(waiting).all())


# --- runs


def holds_run(engine: Engine, run: TakenRun, *, owner: str) -> bool:
    """Say whether a run is still in the hand that took it."""
    with read_session(engine) as session:
        return session.exec(select(RunRow.id).where(*_held(RunRow, run, owner))).first() is not None


def end_run(session: Session, run: TakenRun, *, owner: str, values: Mapping[str, object]) -> bool:
    """Write a run's last state; False where it is no longer in hand."""
    mine = update(RunRow).where(*_held(RunRow, run, owner), col(RunRow.state) == RUNNING)
    ended = session.exec(mine.values(**values, owner=None, lease_until=None)).rowcount
    if ended:
        forget_jobs(session, run.run.run_id)
    return bool(ended)


def _is_free(table: type[Leased], now: datetime) -> ColumnElement[bool]:
    return or_(col(table.lease_until).is_(None), col(table.lease_until) < now)


def _any(engine: Engine, table: type[RunRow | JobRow], *wanted: ColumnElement[bool] | bool) -> bool:
    with read_session(engine) as session:
        return session.exec(select(table.id).where(*wanted).limit(1)).first() is not None


def _take(
    session: Session,
    table: type[RunRow | JobRow],
    row: RunRow | JobRow,
    *,
    owner: str,
    now: datetime,
    **more: object,
) -> int:
    fence = row.fence + 1
    lease = {"owner": owner, "fence": fence, "lease_until": now + LEASE}
    session.exec(update(table).where(col(table.id) == row.id).values(**lease, **more))
    return fence


def _held(
    table: type[RunRow | JobRow], taken: Taken, owner: str
) -> tuple[ColumnElement[bool], ...]:
    """That a row is still in the hand that took it."""
    return (
        col(table.id) == taken.row_id,
        col(table.owner) == owner,
        col(table.fence) == taken.fence,
    )


def _close(session: Session, job: JobRow, *, deaths: int) -> None:
    """Fail a job that processes die of."""
    failure = JobFailure(
        "job.killed",
        f"A job ended {deaths} worker processes unexpectedly. "
        "Look at the machines' memory, then run the plan again: finished jobs are kept.",
    )
    outcome = _FAILURE.dump_json(failure).decode()
    values = {"state": FAILED, "outcome": outcome, "deaths": deaths, "owner": None}
    session.exec(update(JobRow).where(col(JobRow.id) == job.id).values(**values, lease_until=None))
