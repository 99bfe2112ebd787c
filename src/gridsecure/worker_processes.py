"""Worker processes of a service: they keep what they were started with, and end with their service.

The homomorphic library holds Python's global lock, so workers are processes, and they are replaced
every so often because its memory pools never shrink. What a job is to do, and what came of it,
crosses between processes as Python pickles it: nobody else may write there. Workers inherit no
settings and no credentials (`worker_environment`); what they need of them is given to them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.context import BaseContext
from threading import Thread
from typing import Final, Generic, TypeVar

from gridsecure.worker_environment import add_to_environment

JOBS_PER_WORKER: Final = 64

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")


class WorkerProcesses(Generic[JobT, ResultT]):
    """Worker processes, started when first needed and replaced in turn.

    All workers are replaced together, after so many jobs each on average. The executor's
    own way (`max_tasks_per_child`) is not used: with jobs queued ahead it counts workers that ended
    as idle, starts no others and waits for ever (CPython issue 115634).

    Args:
        run: Runs a job in a worker; a function of a module, which workers load once for them all.
        start: Called in every worker before its first job.
        workers: Number of processes.
        environment: Variables that workers need besides what is nobody's secret.
        jobs_per_worker: Jobs until it is replaced; `JOBS_PER_WORKER` of the homomorphic library.
    """

    def __init__(
        self,
        run: Callable[[JobT], ResultT],
        *,
        start: Callable[[], None],
        workers: int,
        environment: Mapping[str, str],
        jobs_per_worker: int | None = None,
    ) -> None:
        self.workers = workers
        self._jobs_per_worker = jobs_per_worker
        self._run = run
        self._start = start
        self._environment = environment
        self._executor: ProcessPoolExecutor | None = None
        self._jobs = 0

    @property
    def portion(self) -> int:
        """Jobs between two replacements of all workers."""
        return self.workers * (self._jobs_per_worker or JOBS_PER_WORKER)

    @property
    def room(self) -> int:
        """How many more jobs these workers take before they are replaced."""
        return self.portion - self._jobs

    def submit(self, jobs: Sequence[JobT]) -> list[Future[ResultT]]:
        """Queue at most a portion of jobs, replacing the workers first when their turn is over.

        Raises:
            BrokenProcessPool: A worker process ended unexpectedly.
        """
        if self._jobs + len(jobs) > self.portion:
            self.close()
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                self.workers,
                mp_context=_workers(self._run.__module__),
                initializer=_start_worker,
                initargs=(self._start, self._environment),
            )
        self._jobs += len(jobs)
        return [self._executor.submit(self._run, job) for job in jobs]

    def warm(self) -> None:
        """Start the workers before there are jobs; new ones where one has died meanwhile."""
        try:
            self._wake()
        except BrokenProcessPool:
            self.close()
            self._wake()

    def _wake(self) -> None:
        self.submit([])
        for _ in range(self.workers):
            if self._executor is not None:
                self._executor.submit(_do_nothing)

    def close(self) -> None:
        """Drop queued jobs, let running ones finish and end the workers.

        The next job starts new ones.
        """
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
        self._executor, self._jobs = None, 0


def _workers(module: str) -> BaseContext:
    """Workers fork off a process that has loaded a module and done nothing else.

    They do not fork off the service: SEAL's pools and threads do not survive that. And none of them
    loads the libraries again, which takes a worker more than a second.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(["gridsecure.worker_environment", module])
    return context


def _start_worker(start: Callable[[], None], environment: Mapping[str, str]) -> None:
    add_to_environment(environment)
    # Ctrl-C reaches every process of a terminal at once; what to end is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    start()


def _end_with_parent() -> None:
    """End this worker when its parent is gone, however that died; otherwise it would wait on."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do_nothing() -> None:
    """What a worker that is only to be there does."""
