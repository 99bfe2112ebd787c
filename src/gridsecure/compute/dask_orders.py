"""Orders of a Dask worker's jobs, and the process beside it that computes them.

A Dask worker has threads, connections and a port before it loads anything of ours, so it cannot
confine itself, and it decodes nothing. Each has one process of its own that does, confined as a
platform's own workers are: it sees the objects and no other file, connects nowhere unless they are
in a bucket, and answers in text.

This module loads nothing of Dask, whose threads would keep that process from closing its files.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from pydantic import TypeAdapter

from gridsecure.compute.jobs import (
    Job,
    JobResult,
    LoadCurveJob,
    Worker,
    check_shared,
    confine_jobs,
    read_result,
    write_result,
)
from gridsecure.errors import InputError, NotFoundError
from gridsecure.plans.key_ring import KnownKeys
from gridsecure.sandbox import SandboxWish
from gridsecure.store.objects import ObjectStore, open_objects
from gridsecure.worker_processes import WorkerProcesses


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is told of a job; `nonce` makes it an object of this submission alone."""

    job: Job
    known: KnownKeys
    nonce: str


ORDERS: Final = TypeAdapter(Order)


class OrderWorker:
    """What computes orders, and keeps key sets between them.

    Args:
        objects: The platform's objects.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._worker = Worker(objects, KnownKeys(()))

    def run(self, order: str, seed: bytes) -> JobResult:
        """Run one job.

        Args:
            order: The object that says what to compute.
            seed: What must not lie in a store.

        Raises:
            InputError: The order is not in this worker's store (`engine.objects`).
            GridSecureError: As `Worker.run`.
        """
        try:
            asked = ORDERS.validate_json(self._objects.get(order))
        except NotFoundError as missing:
            raise InputError(
                "A Dask worker does not find its job in its object store.",
                reason="engine.objects",
                remedy="Start the Dask workers with the URL of the platform's objects.",
            ) from missing
        job = asked.job
        if isinstance(job, LoadCurveJob):
            job = replace(job, seed=seed)
        self._worker.learn(asked.known)
        return self._worker.run(job)


class OrderProcess(WorkerProcesses[tuple[str, bytes], JobResult]):
    """The process beside a Dask worker.

    Args:
        sandbox: Whether it is confined.

    Raises:
        InputError: The objects are in this process's memory (`objects.url`), or as `confine_jobs`.
    """

    def __init__(self, objects: ObjectStore, *, sandbox: SandboxWish) -> None:
        check_shared(objects)
        super().__init__(
            _run,
            start=partial(_open, objects.url),
            workers=1,
            confinement=confine_jobs(objects.url, sandbox=sandbox),
            read=read_result,
        )


_opened: list[OrderWorker] = []


def _open(url: str) -> None:
    _opened.append(OrderWorker(open_objects(url)))


def _run(order: tuple[str, bytes]) -> str:
    return write_result(_opened[0].run(*order))
