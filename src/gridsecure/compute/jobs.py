"""Jobs: one roster × one plan (or one day of all rosters), run in worker processes.

A worker process loads the public key sets once and then only reads and writes objects. A job is a
pure function of objects named by digest, so a killed job is simply run again: it writes the same
files under the same names. The library holds Python's global lock, so workers are processes, and
they are replaced every so often because its memory pools never shrink.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from gridsecure.billing.tariffs import parse_tariff
from gridsecure.crypto.columns import Evaluation
from gridsecure.crypto.keys import PublicKeySet
from gridsecure.crypto.parameters import parameters_named
from gridsecure.errors import GridSecureError, KeyMismatchError
from gridsecure.messages import ColumnEntry, KeyNotice, RosterManifest, UploadManifest
from gridsecure.plans.execution import (
    Output,
    RosterData,
    compile_bill,
    execute_bill,
    execute_load_curve,
    roster_data,
)
from gridsecure.plans.load_curve import cell_layout
from gridsecure.store.objects import ObjectStore

JOBS_PER_WORKER: Final = 64


@dataclass(frozen=True, slots=True)
class BillJob:
    """Bill one roster for one period."""

    name: str
    roster: str
    upload: str


@dataclass(frozen=True, slots=True)
class LoadCurveJob:
    """Total the named intervals of all rosters by cell."""

    name: str
    rosters: tuple[str, ...]
    uploads: tuple[str, ...]
    quantities: tuple[str, ...]
    seed: bytes = field(repr=False)


Job = BillJob | LoadCurveJob


@dataclass(frozen=True, slots=True)
class JobResult:
    """What a job consumed and produced; the files are in the object store."""

    name: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, ColumnEntry]


class Worker:
    """What a worker process keeps between jobs.

    Args:
        objects: The zone's object store.
        notices: The key sets in force.
    """

    def __init__(self, objects: ObjectStore, notices: Iterable[KeyNotice]) -> None:
        self._objects = objects
        self._evaluations = {n.parameters: load_key_set(n, objects).evaluation for n in notices}

    @property
    def evaluations(self) -> Mapping[str, Evaluation]:
        """Evaluation by parameter set name."""
        return self._evaluations

    def run(self, job: Job) -> JobResult:
        """Run one job and store its outputs.

        Raises:
            GridSecureError: The job's inputs are missing, foreign or malformed.
        """
        if isinstance(job, BillJob):
            data = self._data(job.roster, job.upload)
            tariff = parse_tariff(self._objects.get(data.roster.tariff).decode())
            inputs, outputs = execute_bill(
                data,
                plan=compile_bill(data, tariff=tariff),
                load=self._objects.get,
                evaluations=self._evaluations,
            )
        else:
            datas = [self._data(r, u) for r, u in zip(job.rosters, job.uploads, strict=True)]
            inputs, outputs = execute_load_curve(
                datas,
                quantities=job.quantities,
                layout=cell_layout([data.roster for data in datas]),
                seed=job.seed,
                load=self._objects.get,
                evaluations=self._evaluations,
            )
        return JobResult(job.name, inputs, self._stored(outputs))

    def _data(self, roster: str, upload: str) -> RosterData:
        return roster_data(RosterManifest.parsed(roster), UploadManifest.parsed(upload))

    def _stored(self, outputs: Mapping[str, Output]) -> dict[str, ColumnEntry]:
        for output in outputs.values():
            self._objects.put(output.data)
        return {name: output.entry for name, output in outputs.items()}


def load_key_set(notice: KeyNotice, objects: ObjectStore) -> PublicKeySet:
    """The public key set of a verified notice.

    Raises:
        KeyMismatchError: The objects are not the keys the notice names.
    """
    parameters = parameters_named(notice.parameters, digest=notice.parameters_digest)
    relinearisation = notice.relinearisation_keys
    key_set = PublicKeySet(
        parameters,
        objects.get(notice.public_key),
        objects.get(relinearisation) if relinearisation else b"",
    )
    if key_set.key_id != notice.key_id:
        raise KeyMismatchError("A key set is not the one its notice names.", reason="keys.id")
    return key_set


@contextmanager
def worker_pool(
    objects: ObjectStore, notices: Iterable[KeyNotice], *, workers: int
) -> Iterator[ProcessPoolExecutor]:
    """A pool of worker processes with the key sets loaded."""
    texts = [notice.model_dump_json() for notice in notices]
    with ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),  # SEAL's pools and threads do not survive a fork
        initializer=_start_worker,
        initargs=(objects.root, texts),
        max_tasks_per_child=JOBS_PER_WORKER,
    ) as pool:
        yield pool


def run_jobs(pool: ProcessPoolExecutor, jobs: Iterable[Job]) -> Iterator[JobResult]:
    """Run jobs, yielding results as they finish.

    Raises:
        GridSecureError: A job failed; `job.killed` when a worker process died. Results already
            yielded stand, and running the rest again is safe.
    """
    futures = [pool.submit(_run_in_worker, job) for job in jobs]
    try:
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        raise GridSecureError(
            "A worker process died.",
            reason="job.killed",
            remedy="Run the plan again: finished jobs are kept, the others start over.",
        ) from error
    finally:
        for future in futures:
            future.cancel()


_worker: dict[str, Worker] = {}


def _start_worker(root: Path, notices: list[str]) -> None:
    _worker["only"] = Worker(ObjectStore(root), [KeyNotice.parsed(text) for text in notices])


def _run_in_worker(job: Job) -> JobResult:
    return _worker["only"].run(job)
