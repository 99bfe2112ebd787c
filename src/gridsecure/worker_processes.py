"""Worker processes of a service: they keep what they were started with, and end with their service.

The homomorphic library holds Python's global lock, so workers are processes, and they are replaced
every so often because its memory pools never shrink. What a job is to do crosses to them as Python
pickles it. Workers inherit no settings and no credentials (`worker_environment`); what they need of
them is given to them. Those that decode what others sent confine themselves first (`sandbox`), and
what they answer is text: a service that unpickled it would run whatever a worker says that was
taken over. Only workers that are no less trusted than their service answer as Python pickles.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool, _ResultItem
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext, ForkServerContext
from multiprocessing.forkserver import ensure_running
from multiprocessing.queues import SimpleQueue
from threading import Thread
from types import ModuleType
from typing import Any, ClassVar, Final, Generic, TypeVar

from gridsecure.errors import GridSecureError
from gridsecure.garbage import search_seldom
from gridsecure.sandbox import Confinement, confine
from gridsecure.worker_environment import add_to_environment

JOBS_PER_WORKER: Final = 64

_FRAME: Final = {
    ("concurrent.futures.process", "_ResultItem"),
    ("concurrent.futures.process", "_rebuild_exc"),
}

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")


class _AnswerUnpickler(pickle.Unpickler):
    """Reads the frame that Python's executor puts round an answer, and errors; nothing else.

    Whatever else an answer names is not looked up, so it runs nothing here.
    """

    def find_class(self, module: str, name: str, /) -> Any:
        if (module, name) in _FRAME:
            return super().find_class(module, name)
        if module in ("builtins", "gridsecure.errors"):
            found = super().find_class(module, name)
            if isinstance(found, type) and issubclass(found, Exception):
                return found
        raise _no_answer()


def _no_answer() -> pickle.UnpicklingError:
    return pickle.UnpicklingError("an answer of a worker is no text")


class _AnswerReader:
    """The service's end of the line on which workers answer.

    What is no answer of the expected form ends the workers, as if one had died.
    """

    def __init__(self, line: Connection, read: Callable[[str], Any]) -> None:
        self._line = line
        self._read = read
        self.fileno, self.close = line.fileno, line.close

    def recv(self) -> Any:
        """The next answer; the executor asks for it."""
        item = _AnswerUnpickler(io.BytesIO(self._line.recv_bytes())).load()
        if isinstance(item, int):  # a worker that ends says so by its number
            return item
        if not isinstance(item, _ResultItem) or not isinstance(item.work_id, int):
            raise _no_answer()
        if item.exception is None and item.result is not None:
            try:
                item.result = self._read_text(item.result)
            except (pickle.UnpicklingError, GridSecureError) as error:
                item.exception = error
        return item

    def _read_text(self, answer: object) -> Any:
        if not isinstance(answer, str):
            raise _no_answer()
        return self._read(answer)


class _AnswerQueue(SimpleQueue[Any]):
    """A queue that its maker reads text from, and workers write to as ever."""

    def __init__(self, *, ctx: BaseContext, read: Callable[[str], Any]) -> None:
        super().__init__(ctx=ctx)
        self._line: Connection = self._reader
        self._reader: Any = _AnswerReader(self._line, read)

    def __getstate__(self) -> Any:
        self._reader, reader = self._line, self._reader
        try:
            return super().__getstate__()
        finally:
            self._reader = reader


class _TextContext(ForkServerContext):
    """Processes that answer text: Python's executor makes their queue by this context."""

    def __init__(self, read: Callable[[str], Any]) -> None:
        super().__init__()
        self._read = read

    def SimpleQueue(self) -> Any:  # noqa: N802 - the executor's name for it
        return _AnswerQueue(ctx=self.get_context(), read=self._read)


class WorkerProcesses(Generic[JobT, ResultT]):
    """Worker processes, started when first needed and replaced in turn.

    All workers are replaced together, after so many jobs each on average. The executor's
    own way (`max_tasks_per_child`) is not used: with jobs queued ahead it counts workers that ended
    as idle, starts no others and waits for ever (CPython issue 115634).

    Args:
        run: Runs a job in a worker; a function of a module, which workers load once for them all.
        start: Called in every worker before its first job.
        hand_over: Called before that, while a worker is not confined yet: what it opens stays open.
        workers: Number of processes.
        confinement: What they keep of files and network, and get of the environment.
        read: Reads a result from the text that `run` answers with; None where `run` answers with
            any object, from workers that are trusted like their service.

    Attributes:
        jobs_per_worker: Jobs until it is replaced; `JOBS_PER_WORKER` of the homomorphic library.
    """

    jobs_per_worker: ClassVar[int | None] = None

    def __init__(
        self,
        run: Callable[[JobT], Any],
        *,
        start: Callable[[], None],
        workers: int,
        confinement: Confinement,
        read: Callable[[str], ResultT] | None = None,
        hand_over: Callable[[], None] | None = None,
    ) -> None:
        self.workers = workers
        self._read = read
        self._run = run
        self._start = start
        self._hand_over = hand_over or _do_nothing
        self._confinement = confinement
        self._executor: ProcessPoolExecutor | None = None
        self._jobs = 0

    @property
    def portion(self) -> int:
        """Jobs between two replacements of all workers."""
        return self.workers * (self.jobs_per_worker or JOBS_PER_WORKER)

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
                mp_context=_workers(self._run.__module__, self._read),
                initializer=_start_worker,
                initargs=(self._hand_over, self._start, self._confinement),
            )
        self._jobs += len(jobs)
        return [self._executor.submit(_answer, self._run, job) for job in jobs]

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


def _workers(module: str, read: Callable[[str], Any] | None) -> BaseContext:
    """Workers fork off a process that has loaded a module and done nothing else.

    They do not fork off the service: SEAL's pools and threads do not survive that. And none of them
    loads the libraries again, which takes a worker more than a second.
    """
    context = get_context("forkserver") if read is None else _TextContext(read)
    context.set_forkserver_preload(["gridsecure.worker_environment", module])
    return context


def load_ahead(module: ModuleType) -> None:
    """Start the process that workers fork off, which loads what they need; nobody waits for it.

    A service does so as it starts, or its first job would wait for the libraries.

    Args:
        module: Which has the function that the workers run.
    """
    _workers(module.__name__, None)
    ensure_running()


def _start_worker(
    hand_over: Callable[[], None], start: Callable[[], None], confinement: Confinement
) -> None:
    add_to_environment(confinement.variables)
    hand_over()
    confine(confinement)  # before the thread below: none may be without
    # Ctrl-C reaches every process of a terminal at once; what to end is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    search_seldom()
    start()


def _answer(run: Callable[[JobT], ResultT], job: JobT) -> ResultT:
    """Run a job; an error that only a library knows crosses as one that everybody knows."""
    try:
        return run(job)
    except (GridSecureError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - the process's boundary: its text may hold values
        raise RuntimeError(f"a job ended by {type(error).__name__}") from None


def _end_with_parent() -> None:
    """End this worker when its parent is gone, however that died; otherwise it would wait on."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do_nothing() -> None:
    """What a worker that is only to be there does."""
