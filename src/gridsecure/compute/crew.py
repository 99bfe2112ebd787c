"""A crew: a pool of workers, and the thread that brings them jobs from the queue.

A platform has a crew; so has every further machine that works for it (`gridsecure_api.worker`).
They know nothing of each other: what they share is the queue (`job_queue`) and the object store.

Invariants:
- What is in hand is renewed by a thread of its own, so that a long look at the database costs no
  lease. A crew that stops lays down what it has in hand; one that is killed loses it when its lease
  ends.
- An error of the database ends no thread: the next round tries again. A job that could not reach
  the object store is laid down, and tried again like any other.
"""

from __future__ import annotations

import logging
import multiprocessing
import secrets
from collections import defaultdict
from collections.abc import Callable, Collection
from concurrent.futures import BrokenExecutor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from datetime import datetime
from threading import Event, Lock, Thread, current_thread
from typing import Final

from sqlalchemy import Engine

from gridsecure.compute.containers import PlatformObjects
from gridsecure.compute.job_queue import (
    LEASE,
    JobFailure,
    TakenJob,
    finish_jobs,
    internal_failure,
    lose_jobs,
    release_leases,
    renew_leases,
    take_jobs,
)
from gridsecure.compute.jobs import CrewPool, JobResult, LostWorkers, PoolOpener
from gridsecure.compute.key_sets import read_known_keys
from gridsecure.compute.runs import load_jobs
from gridsecure.errors import GridSecureError
from gridsecure.plans.key_ring import KnownKeys
from gridsecure.store.connections import OUT_OF_REACH

_log = logging.getLogger(__name__)

_BUSY_SECONDS: Final = 0.2  # between two looks while others work on what is ours
_IDLE_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 0.1
_RENEW_SECONDS: Final = LEASE.total_seconds() / 4

_AHEAD: Final = 2
"""Jobs in hand per worker, so that none waits for the next round."""

Chores = Callable[[], Collection[int]]
"""What else a round does; gives the runs that are in hand."""


def no_chores() -> Collection[int]:
    """Nothing else; no runs."""
    return ()


class Crew:
    """Takes jobs from the queue as long as it is on duty, or as long as there are any.

    Worker processes are the only child processes of their service, so `stop` ends all children.
    They stay from one run to the next as long as the same keys are in force: to start them and have
    them load the keys takes longer than a small run.

    Args:
        engine: The platform's database.
        objects: Its object store.
        open_pool: Opens what runs the jobs.
        clock: Tells the time, aware.
        chores: What else a round does.
    """

    def __init__(
        self,
        engine: Engine,
        objects: PlatformObjects,
        *,
        open_pool: PoolOpener,
        clock: Callable[[], datetime],
        chores: Chores = no_chores,
    ) -> None:
        self.owner = secrets.token_hex(16)
        self._engine = engine
        self._objects = objects
        self._open_pool = open_pool
        self._clock = clock
        self._chores = chores
        self._pool: CrewPool | None = None
        self._pool_keys = KnownKeys(())
        self._in_hand: dict[Future[JobResult], TakenJob] = {}
        self._leases: tuple[Collection[int], Collection[int]] = ((), ())
        self._on_duty = self._is_warming = False
        self._lock = Lock()
        self._bell = Event()
        self._stopping = Event()
        self._threads: list[Thread] = []

    def go_on_duty(self) -> None:
        """Look for work from now on, also for what others left."""
        self._on_duty = True
        self.ring()

    def ring(self) -> None:
        """Say that there is work; a crew that has gone home comes back for it."""
        with self._lock:
            self._bell.set()
            if self._stopping.is_set() or any(thread.is_alive() for thread in self._threads):
                return
            self._threads = [
                Thread(target=target, name=f"run_{target.__name__}", daemon=True)
                for target in (self._work, self._renew)
            ]
            for thread in self._threads:
                thread.start()

    def warm_up(self) -> None:
        """Start the worker processes before there are jobs."""
        self._is_warming = True
        self.ring()

    @property
    def is_stopping(self) -> bool:
        """Whether it takes no more work."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """End all jobs and worker processes now, and lay down what is in hand for others."""
        with self._lock:
            self._stopping.set()
            self._bell.set()
        while any(thread.is_alive() for thread in self._threads):
            # A worker may just be starting, so ask again until the threads have ended.
            for child in multiprocessing.active_children():
                child.kill()
            for thread in self._threads:
                thread.join(_STOP_SECONDS)
        if self._pool is not None:
            self._pool.close()
        with suppress(GridSecureError):  # then the leases end by themselves
            release_leases(self._engine, owner=self.owner)

    # --- the rounds

    def _work(self) -> None:
        while True:
            is_busy = self._round()
            with self._lock:
                is_rung = self._bell.is_set()
                if self._stopping.is_set() or not (is_busy or is_rung or self._on_duty):
                    self._threads = []
                    return
            self._bell.wait(_BUSY_SECONDS if is_busy else _IDLE_SECONDS)
            self._bell.clear()

    def _round(self) -> bool:
        """Do once whatever there is to do; say whether something is in hand."""
        try:
            runs = self._chores()
            self._leases = (runs, self._leases[1])  # also where the rest of the round fails
            if self._is_warming:
                self._is_warming = False
                self._pool_for(read_known_keys(self._engine)).warm()
            self._gather()
            self._take()
        except GridSecureError as error:
            _log.warning("a round of jobs ended by %s", error.reason)
            self._stopping.wait(_IDLE_SECONDS)
            return True
        except Exception as error:  # noqa: BLE001 - with this thread every run would stand still
            _log.error("a round of jobs ended by %s", type(error).__name__)
            self._stopping.wait(_IDLE_SECONDS)
            return True
        self._leases = (runs, [job.row_id for job in self._in_hand.values()])
        return bool(runs or self._in_hand)

    def _gather(self) -> None:
        """Keep what came of jobs that ended."""
        ended = {future: job for future, job in self._in_hand.items() if future.done()}
        if not ended:
            return
        if self._pool is not None and any(map(_is_broken, ended)):
            self._pool.close()  # a broken executor takes no more jobs
        lost: dict[int, list[TakenJob]] = defaultdict(list)
        outcomes = []
        for future, job in ended.items():
            deaths = _count_deaths(future)
            if deaths is None:
                outcomes.append((job, _outcome(future)))
            else:  # what a stop kills is no death
                lost[0 if self._stopping.is_set() else deaths].append(job)
        for deaths, jobs in lost.items():
            lose_jobs(self._engine, jobs, owner=self.owner, deaths=deaths)
        finish_jobs(self._engine, outcomes, owner=self.owner)
        for future in ended:
            del self._in_hand[future]
        self._bell.set()  # chores look at the outcomes, and there is room for more jobs
        if any(map(_is_cut_off, ended)):
            self._stopping.wait(_IDLE_SECONDS)  # the store may need a while

    def _take(self) -> None:
        """Take as many jobs as there is room for."""
        limit = self._room()
        if self._stopping.is_set() or limit <= 0:
            return
        taken = take_jobs(self._engine, owner=self.owner, now=self._clock(), limit=limit)
        if not taken:
            return
        pool = self._pool_for(read_known_keys(self._engine))
        try:
            futures = pool.submit(
                load_jobs(self._engine, self._objects, [job.spec for job in taken])
            )
        except BrokenExecutor:
            pool.close()
            deaths = 0 if self._stopping.is_set() else 1
            lose_jobs(self._engine, taken, owner=self.owner, deaths=deaths)
            return
        except GridSecureError as error:
            if error.reason == OUT_OF_REACH:
                lose_jobs(self._engine, taken, owner=self.owner, deaths=0)
                raise  # the next round tries again
            failed = [(job, JobFailure.of(error)) for job in taken]
            finish_jobs(self._engine, failed, owner=self.owner)
            return
        for future, job in zip(futures, taken, strict=True):
            self._in_hand[future] = job
            future.add_done_callback(lambda _future: self._bell.set())

    def _room(self) -> int:
        """How many jobs the workers take now; they are replaced when they rest."""
        if self._pool is not None and not self._in_hand and self._pool.room <= 0:
            self._pool.close()
            self._pool = None
        pool = self._pool or self._pool_for(read_known_keys(self._engine))
        return min(pool.workers * _AHEAD - len(self._in_hand), pool.room)

    def _pool_for(self, keys: KnownKeys) -> CrewPool:
        """The workers of the jobs before, or new ones where other keys are in force."""
        if self._pool is None or keys != self._pool_keys:
            if self._pool is not None:
                self._pool.close()
            self._pool = self._open_pool(keys)
            self._pool_keys = keys
        return self._pool

    def _renew(self) -> None:
        while not self._stopping.wait(_RENEW_SECONDS):
            if current_thread() not in self._threads:  # the crew has gone home since
                return
            runs, jobs = self._leases
            if runs or jobs:
                with suppress(GridSecureError):  # the next time may still be early enough
                    renew_leases(
                        self._engine, owner=self.owner, runs=runs, jobs=jobs, now=self._clock()
                    )


def _is_cut_off(future: Future[JobResult]) -> bool:
    """Whether a job ended because a store was out of reach, which is not its fault."""
    error = None if future.cancelled() else future.exception()
    return isinstance(error, GridSecureError) and error.reason == OUT_OF_REACH


def _is_broken(future: Future[JobResult]) -> bool:
    """Whether a worker process died with a job, or with another one beside it."""
    return not future.cancelled() and isinstance(future.exception(), BrokenProcessPool)


def _count_deaths(future: Future[JobResult]) -> int | None:
    """How many processes died with a job that is to be run again; None where it ended."""
    if future.cancelled() or _is_cut_off(future):
        return 0
    error = future.exception()
    if isinstance(error, LostWorkers):
        return error.deaths
    return 1 if isinstance(error, BrokenExecutor) else None


def _outcome(future: Future[JobResult]) -> JobResult | JobFailure:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, GridSecureError):
        return JobFailure.of(error)
    _log.error("a job ended by %s", type(error).__name__)
    return internal_failure()
