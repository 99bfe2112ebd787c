"""Runs in the background of the platform's process: started once, watched, stopped with it.

Invariants:
- At most one run of a plan and period is at work; asking for another is a conflict.
- A run's record is written before it starts, and its outcome together with its last state, so a
  platform that was killed finds what it left "running", calls it failed (`run.interrupted`), and
  the same order can be given again: finished jobs are kept.
- Runs take turns: each uses all worker processes. When the service stops, so do the workers, at
  once; no run is told that it failed for another reason.
"""

from __future__ import annotations

import logging
import multiprocessing
import secrets
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict
from threading import Event, Lock
from typing import Final

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, select, update

from gridsecure.compute.jobs import WorkerPool
from gridsecure.compute.key_sets import read_known_keys
from gridsecure.compute.runs import RunOrder, run_plan
from gridsecure.compute.tables import RunRow
from gridsecure.compute.zone import PlatformZone
from gridsecure.errors import ConflictError, GridSecureError
from gridsecure.messages import ReleaseRequest
from gridsecure.plans.key_ring import KnownKeys
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import keep, load_row
from gridsecure.wire.platform import RunStatus
from gridsecure_api.deps import Clock

_log = logging.getLogger(__name__)

RUNNING: Final = "running"
DONE: Final = "done"
FAILED: Final = "failed"
_STOP_POLL_SECONDS: Final = 0.1


class RunDesk:
    """Takes orders, runs them one after the other, and says where they stand.

    Its worker processes are the only child processes of a platform, so `stop` ends all children.
    They stay from one run to the next as long as the same keys are in force: to start them and have
    them load the keys takes longer than a small run.
    """

    def __init__(self, zone: PlatformZone, *, workers: int, clock: Clock) -> None:
        self._zone = zone
        self._workers = workers
        self._clock = clock
        self._progress: dict[str, tuple[int, int]] = {}
        self._futures: list[Future[None]] = []
        self._lock = Lock()
        self._stopping = Event()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="run")
        self._pool: WorkerPool | None = None
        self._pool_keys = KnownKeys(())
        for left in self._find_runs(RunRow.state == RUNNING):
            self._finish(left.run_id, failure=_interrupted())

    def start(
        self,
        order: RunOrder,
        *,
        run_id: str | None = None,
        within: Callable[[Session], None] = lambda _session: None,
    ) -> str:
        """Take an order and return its run's id.

        Args:
            run_id: Its id; a random one by default.
            within: Done in the transaction that records the run, before it.

        Raises:
            ConflictError: A run of this plan and period is at work (`conflict.run`), or the
                service is stopping (`conflict.stopping`).
            GridSecureError: What `within` raises; no run is started then.
        """
        run_id = run_id or secrets.token_hex(16)
        with self._lock:
            if self._stopping.is_set():
                raise ConflictError("The service is stopping.", reason="conflict.stopping")
            self._refuse_second(order)
            with write_session(self._zone.engine) as session:
                within(session)
                now = self._clock()
                keep(session, RunRow(run_id=run_id, **asdict(order), state=RUNNING, at=now))
                evidence.append(
                    session,
                    at=now,
                    actor=order.requested_by,
                    action="run.ordered",
                    detail={
                        "run": run_id,
                        "plan": order.plan,
                        "start": order.start,
                        "purpose": order.purpose,
                    },
                )
            self._futures = [future for future in self._futures if not future.done()]
            self._futures.append(self._executor.submit(self._run, run_id, order))
        return run_id

    def warm_up(self) -> None:
        """Start the workers of the next run, unless they wait or work already."""
        with self._lock:
            if not self._stopping.is_set():
                self._futures.append(self._executor.submit(self._warm))

    def _warm(self) -> None:
        self._pool_for(read_known_keys(self._zone)).warm()

    def status(self, run_id: str) -> RunStatus:
        """Where a run stands.

        Raises:
            NotFoundError: No such run (`not-found.run`).
        """
        with read_session(self._zone.engine) as session:
            return self._status(load_row(session, RunRow, run_id=run_id))

    def all(self) -> list[RunStatus]:
        """All runs, oldest first."""
        return self._find_runs()

    def stop(self) -> None:
        """End all runs and their worker processes now; the runs can be ordered again."""
        with self._lock:
            self._stopping.set()
        # A worker may just be starting, so ask again until every run has noticed.
        while wait(self._futures, timeout=_STOP_POLL_SECONDS).not_done:
            for child in multiprocessing.active_children():
                child.kill()
        self._executor.shutdown(wait=True)
        if self._pool is not None:
            self._pool.close()

    def _run(self, run_id: str, order: RunOrder) -> None:
        request_id: str | None = None
        failure: GridSecureError | None = None
        try:
            request_id = self._run_in_workers(run_id, order)
        except GridSecureError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - a run that dies unrecorded would look alive
            _log.error("a run ended by %s", type(error).__name__)
            failure = GridSecureError(
                "The run met an error of the platform's own.", reason="internal"
            )
        if failure is not None and self._stopping.is_set():
            failure = _interrupted()
        with suppress(GridSecureError):  # disk full: the next start calls it interrupted
            self._finish(run_id, request_id=request_id, failure=failure)
        self._progress.pop(run_id, None)

    def _run_in_workers(self, run_id: str, order: RunOrder) -> str:
        def note(done: int, of: int) -> None:
            self._progress[run_id] = (done, of)
            if self._stopping.is_set():
                raise _interrupted()

        pool = self._pool_for(read_known_keys(self._zone))
        pool.warm()
        envelope = run_plan(self._zone, order, pool=pool, clock=self._clock, progress=note)
        return ReleaseRequest.parse(envelope.body).request_id

    def _pool_for(self, keys: KnownKeys) -> WorkerPool:
        """The workers of the run before, or new ones where other keys are in force."""
        if self._pool is None or keys != self._pool_keys:
            if self._pool is not None:
                self._pool.close()
            self._pool = WorkerPool(self._zone.objects.store, keys, workers=self._workers)
            self._pool_keys = keys
        return self._pool

    def _finish(
        self, run_id: str, *, request_id: str | None = None, failure: GridSecureError | None
    ) -> None:
        """Keep a run's outcome and its last state together."""
        state = DONE if failure is None else FAILED
        reason = None if failure is None else failure.reason
        done, of = self._progress.get(run_id, (0, 0))
        ended = (
            update(RunRow)
            .where(col(RunRow.run_id) == run_id, col(RunRow.state) == RUNNING)
            .values(
                state=state,
                jobs_done=done,
                jobs=of,
                request_id=request_id,
                reason=reason,
                failure=failure and " ".join(filter(None, (failure.message, failure.remedy))),
            )
        )
        with write_session(self._zone.engine) as session:
            if not session.exec(ended).rowcount:
                return
            evidence.append(
                session,
                at=self._clock(),
                actor="platform",
                action=f"run.{state}",
                detail={"run": run_id, "reason": reason},
            )

    def _refuse_second(self, order: RunOrder) -> None:
        same = (RunRow.plan == order.plan, RunRow.start == order.start, RunRow.end == order.end)
        if self._find_runs(RunRow.state == RUNNING, *same):
            raise ConflictError(
                "A run of this plan and period is in progress.",
                reason="conflict.run",
                remedy="Wait until it is done, then ask again.",
            )

    def _find_runs(self, *wanted: bool | ColumnElement[bool]) -> list[RunStatus]:
        with read_session(self._zone.engine) as session:
            found = session.exec(select(RunRow).where(*wanted).order_by(col(RunRow.id)))
            return [self._status(row) for row in found]

    def _status(self, row: RunRow) -> RunStatus:
        is_running = row.state == RUNNING
        done, of = (
            self._progress.get(row.run_id, (0, 0)) if is_running else (row.jobs_done, row.jobs)
        )
        return RunStatus(
            run_id=row.run_id,
            plan=row.plan,
            start=row.start,
            end=row.end,
            state=row.state,
            done=done,
            of=of,
            request_id=row.request_id,
            reason=row.reason,
            message=row.failure,
        )


def _interrupted() -> GridSecureError:
    return GridSecureError(
        "The platform stopped during this run.",
        reason="run.interrupted",
        remedy="Start it again: finished jobs are kept.",
    )
