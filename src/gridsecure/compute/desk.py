"""Runs in the background: ordered once, planned and concluded by whoever has them in hand.

Any number of platforms on one database take orders, and each takes up the runs that nobody has in
hand (`job_queue`). Who has a run in hand plans it, puts its jobs in the queue for all crews, signs
a transcript as each job's result comes, and the release request when all are there.

Invariants:
- At most one run of a kind, plan and period is at work; asking for another is a conflict.
- A run's record is written before it starts, and its outcome together with its last state. Killed
  anywhere, a platform loses nothing: when its leases end another one goes on where it was, or it
  does itself once it is started again. One that is stopped lays its runs down at once.
- A run fails for what its data or its jobs say, never because a process ended.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from functools import partial
from typing import Final

from sqlmodel import Session, col, func, select

from gridsecure.compute.crew import Crew
from gridsecure.compute.held_policies import under_policy
from gridsecure.compute.job_queue import (
    DONE,
    FAILED,
    RUNNING,
    JobFailure,
    TakenRun,
    count_open_jobs,
    end_run,
    forget_jobs,
    holds_run,
    internal_failure,
    list_outcomes,
    queue_jobs,
    reopen_job,
    take_runs,
)
from gridsecure.compute.jobs import JobResult, PoolOpener
from gridsecure.compute.runs import (
    SHADOW,
    PlannedRun,
    RunOrder,
    conclude_run,
    find_open_jobs,
    plan_run,
    record_result,
)
from gridsecure.compute.shadows import ORDERED
from gridsecure.compute.tables import RunRow, ShadowRow
from gridsecure.compute.tallies import count
from gridsecure.compute.usage import BOOK, RUN_ORDERED
from gridsecure.compute.zone import PlatformZone
from gridsecure.errors import ConflictError, GridSecureError, StorageError
from gridsecure.messages import ReleaseRequest
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.pages import PageAsked, read_page
from gridsecure.store.rows import find, find_many, keep, load_row
from gridsecure.store.usage import party_of
from gridsecure.wire.platform import RunStatus

_log = logging.getLogger(__name__)

_AT_WORK: Final = (
    select(RunRow.run_id, RunRow.jobs).where(RunRow.state == RUNNING).order_by(col(RunRow.id))
)
_REVISION: Final = select(
    select(func.max(col(RunRow.id))).scalar_subquery(),
    select(func.count()).where(ShadowRow.state == ORDERED).scalar_subquery(),
    select(func.count()).where(RunRow.state == RUNNING).scalar_subquery(),
)


@dataclass(slots=True)
class _Held:
    """A run in hand.

    Args:
        missing: Names of the jobs whose transcripts are not kept yet.
    """

    taken: TakenRun
    plan: PlannedRun
    missing: set[str] = field(default_factory=set)


class RunDesk:
    """Takes orders, sees runs through and says where they stand.

    Args:
        open_pool: Opens what runs the jobs of its own crew.
    """

    def __init__(
        self, zone: PlatformZone, *, open_pool: PoolOpener, clock: Callable[[], datetime]
    ) -> None:
        self._zone = zone
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._crew = Crew(
            zone.engine, zone.objects, open_pool=open_pool, clock=clock, chores=self._see_to_runs
        )

    def go_on_duty(self) -> None:
        """Take up from now on what others left."""
        self._crew.go_on_duty()

    def start(
        self,
        order: RunOrder,
        *,
        run_id: str | None = None,
        within: Callable[[Session], None] = lambda _session: None,
    ) -> str:
        """Take an order and return its run's id.

        Args:
            run_id: Its id; a random one by default. The same order under the same id is one run.
            within: Done in the transaction that records the run, before it.

        Raises:
            ConflictError: A run of this plan and period is at work (`conflict.run`), or the
                service is stopping (`conflict.stopping`).
            GridSecureError: What `within` raises; no run is started then.
        """
        run_id = run_id or secrets.token_hex(16)
        if self._crew.is_stopping:
            raise ConflictError("The service is stopping.", reason="conflict.stopping")
        with write_session(self._zone.engine) as session:
            if find(session, RunRow, run_id=run_id) is None:
                _refuse_second(session, order)
            within(session)
            now = self._clock()
            if keep(session, RunRow(run_id=run_id, **asdict(order), state=RUNNING, at=now)):
                count(session, "run")
                BOOK.enter(
                    session,
                    at=now,
                    actor=order.requested_by,
                    action=RUN_ORDERED,
                    detail={
                        "run": run_id,
                        "party": party_of(order.requested_by, purpose=order.purpose),
                        "kind": order.kind,
                        "plan": order.plan,
                        "start": order.start,
                        "purpose": order.purpose,
                    },
                )
        self._crew.ring()
        return run_id

    def warm_up(self) -> None:
        """Start the workers of the next run, unless they wait or work already."""
        self._crew.warm_up()

    def status(self, run_id: str) -> RunStatus:
        """Where a run stands.

        Raises:
            NotFoundError: No such run (`not-found.run`).
        """
        with read_session(self._zone.engine) as session:
            row = load_row(session, RunRow, run_id=run_id)
            return _statuses(session, [row])[0]

    def stop(self) -> None:
        """End all work now; another platform, or this one once it is started again, goes on."""
        self._crew.stop()

    # --- what the crew's thread does in every round

    def _see_to_runs(self) -> Collection[int]:
        for taken in take_runs(self._zone.engine, owner=self._crew.owner, now=self._clock()):
            self._held.pop(taken.run.run_id, None)
            with self._failing(taken):
                self._plan(taken)
        for held in list(self._held.values()):
            if not holds_run(self._zone.engine, held.taken, owner=self._crew.owner):
                del self._held[held.taken.run.run_id]
                continue
            with self._failing(held.taken):
                self._follow(held)
        return [held.taken.row_id for held in self._held.values()]

    def _plan(self, taken: TakenRun) -> None:
        """Plan a run that was just taken, and put what is still to be computed in the queue."""
        row = taken.run
        order = RunOrder(**{one.name: getattr(row, one.name) for one in fields(RunOrder)})
        now = self._clock()
        plan = plan_run(under_policy(self._zone, now=now), order, at=now)
        waiting = find_open_jobs(self._zone, plan)
        if queue_jobs(
            self._zone.engine,
            taken,
            owner=self._crew.owner,
            specs=waiting,
            total=len(plan.specs),
        ):
            self._held[row.run_id] = _Held(taken, plan, {spec.name for spec in waiting})

    def _follow(self, held: _Held) -> None:
        """Sign what came of a run's jobs, and its request once nothing is missing."""
        run_id = held.taken.run.run_id
        for name, outcome in list_outcomes(self._zone.engine, run_id).items():
            if isinstance(outcome, JobFailure):
                self._end(held.taken, failure=outcome)
                return
            self._record(held, name, outcome)
        if not held.missing:
            envelope = conclude_run(self._zone, held.plan, at=self._clock())
            is_shadow = held.plan.order.kind == SHADOW  # its request is kept with its order
            request_id = None if is_shadow else ReleaseRequest.parse(envelope.body).request_id
            self._end(held.taken, request_id=request_id)

    def _record(self, held: _Held, name: str, result: JobResult) -> None:
        forget = partial(forget_jobs, run_id=held.taken.run.run_id, name=name)
        try:
            record_result(self._zone, held.plan, result, at=self._clock(), within=forget)
        except StorageError as error:
            if error.reason != "storage.swept":
                raise
            reopen_job(self._zone.engine, held.taken.run.run_id, name=name)
        else:
            held.missing.discard(name)

    @contextmanager
    def _failing(self, taken: TakenRun) -> Iterator[None]:
        """Let an error end its own run alone.

        Raises:
            StorageError: A store is out of reach; the run stays in hand for the next round.
        """
        try:
            yield
        except StorageError:
            raise
        except GridSecureError as error:
            self._end(taken, failure=JobFailure.of(error))
        except Exception as error:  # noqa: BLE001 - a run that dies unrecorded would look alive
            _log.error("a run ended by %s", type(error).__name__)
            self._end(taken, failure=internal_failure())

    def _end(
        self,
        taken: TakenRun,
        *,
        request_id: str | None = None,
        failure: JobFailure | None = None,
    ) -> None:
        """Keep a run's outcome and its last state together, and lay it down."""
        held = self._held.pop(taken.run.run_id, None)
        state = DONE if failure is None else FAILED
        reason = None if failure is None else failure.reason
        values = {
            "state": state,
            "jobs_done": 0 if held is None else len(held.plan.specs) - len(held.missing),
            "request_id": request_id,
            "reason": reason,
            "failure": failure and failure.message,
        }
        with write_session(self._zone.engine) as session:
            if end_run(session, taken, owner=self._crew.owner, values=values):
                evidence.append(
                    session,
                    at=self._clock(),
                    actor="platform",
                    action=f"run.{state}",
                    detail={"run": taken.run.run_id, "reason": reason},
                )


def list_statuses(session: Session, asked: PageAsked) -> tuple[list[RunStatus], int | None]:
    """A page of runs, oldest first, and the number it ends at if there are more."""
    page = read_page(session, select(RunRow), key=RunRow.id, asked=asked)
    return _statuses(session, page.rows), page.after


def read_revision(session: Session) -> object:
    """Differs whenever something of a run does: its number, its end, or how far it is."""
    newest_run, unasked, running = session.exec(_REVISION).one()
    if not running:  # as for most of a month: one question to the database
        return newest_run, unasked
    at_work = session.exec(_AT_WORK).all()
    waiting = count_open_jobs(session, [run_id for run_id, _ in at_work])
    return newest_run, unasked, [(*run, waiting.get(run[0], 0)) for run in at_work]


def _refuse_second(session: Session, order: RunOrder) -> None:
    same = select(RunRow.id).where(
        RunRow.state == RUNNING,
        RunRow.kind == order.kind,
        RunRow.plan == order.plan,
        RunRow.start == order.start,
        RunRow.end == order.end,
    )
    if session.exec(same.limit(1)).first() is not None:
        raise ConflictError(
            "A run of this plan and period is in progress.",
            reason="conflict.run",
            remedy="Wait until it is done, then ask again.",
        )


def _statuses(session: Session, rows: Sequence[RunRow]) -> list[RunStatus]:
    waiting = count_open_jobs(session, [row.run_id for row in rows if row.state == RUNNING])
    orders = [row.shadow for row in rows if row.kind == SHADOW]
    shadows = find_many(session, ShadowRow, orders, by="digest")
    requests = {digest: row.request_id for digest, row in shadows.items()}
    return [_status(row, waiting=waiting, shadows=requests) for row in rows]


def _status(
    row: RunRow, *, waiting: Mapping[str, int], shadows: Mapping[str, str | None]
) -> RunStatus:
    is_running = row.state == RUNNING
    return RunStatus(
        run_id=row.run_id,
        kind=row.kind,
        plan=row.plan,
        start=row.start,
        end=row.end,
        state=row.state,
        done=row.jobs - waiting.get(row.run_id, 0) if is_running else row.jobs_done,
        of=row.jobs,
        request_id=row.request_id or shadows.get(row.shadow),
        reason=row.reason,
        message=row.failure,
    )
