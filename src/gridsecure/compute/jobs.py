"""Jobs: one roster × one plan (or one day of all rosters), run in worker processes.

A worker process opens public key sets when it first needs them and else only reads and writes
objects. A job is a
pure function of objects named by digest, so a killed job is simply run again: it writes the same
files under the same names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from pydantic import TypeAdapter, ValidationError

from gridsecure.errors import GridSecureError, InputError
from gridsecure.messages import ColumnEntry, KeyNotice, RosterManifest, UploadManifest
from gridsecure.plans.cells import NOTHING, Minima
from gridsecure.plans.execution import (
    RosterData,
    compile_bill,
    execute_bill,
    execute_load_curve,
    roster_data,
)
from gridsecure.plans.key_ring import KeyRing, KnownKeys
from gridsecure.plans.load_curve import CellLayout, lay_out_cells
from gridsecure.sandbox import Confinement, SandboxWish
from gridsecure.store.objects import (
    MEMORY,
    Extent,
    ObjectStore,
    folder_of,
    open_objects,
    store_as_made,
)
from gridsecure.tariffs.tariff import parse_tariff
from gridsecure.worker_environment import credential_files, store_environment, token_folders
from gridsecure.worker_processes import WorkerProcesses


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What a job is to compute, by the digests of what it reads.

    Args:
        name: Its name, which follows from what it computes.
        uploads: The uploads; a bill is of one.
        quantities: The columns of a load curve; none for a bill.
        tariff: The tariff to bill by instead of the roster's, in a shadow run.
        policy: Names what the release policy permits that a load curve's cells are laid out by.
        minima: What it permits of them.
    """

    name: str
    uploads: tuple[str, ...]
    quantities: tuple[str, ...] = ()
    tariff: str = ""
    policy: str = ""
    minima: Minima = NOTHING


@dataclass(frozen=True, slots=True)
class BillJob:
    """Bill one roster for one period.

    `extents` says where inputs lie that are in containers: a worker has no database. `tariff` is
    as in `JobSpec`.
    """

    name: str
    roster: str
    upload: str
    extents: tuple[Extent, ...] = ()
    tariff: str = ""


@dataclass(frozen=True, slots=True)
class LoadCurveJob:
    """Total the named days of all rosters by cell and interval.

    `minima` says how few customers a cell with a total may have.
    """

    name: str
    rosters: tuple[str, ...]
    uploads: tuple[str, ...]
    quantities: tuple[str, ...]
    minima: Minima
    seed: bytes = field(repr=False)
    extents: tuple[Extent, ...] = ()


Job = BillJob | LoadCurveJob


@dataclass(frozen=True, slots=True)
class JobResult:
    """What a job consumed and produced; the files are in the object store, where `extents` says.

    Args:
        steps: As a transcript has them.
    """

    name: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, ColumnEntry]
    extents: tuple[Extent, ...]
    steps: Mapping[str, str] = field(default_factory=dict)


_OF_ZONES: Final = (".key", ".db")
_RESULTS: Final = TypeAdapter(JobResult)

_LaidOut = tuple[tuple[tuple[str, ...], Minima], list[RosterManifest], CellLayout]


class Worker:
    """What a worker process keeps between jobs."""

    def __init__(self, objects: ObjectStore, known: KnownKeys) -> None:
        self._objects = objects
        self._extents: dict[str, Extent] = {}
        self._keys = KeyRing(known, objects.get)
        self._laid_out: _LaidOut | None = None

    def learn(self, known: KnownKeys) -> None:
        """Hold to these key sets from now on."""
        self._keys.learn(known)

    def run(self, job: Job) -> JobResult:
        """Run one job and store its outputs.

        Raises:
            GridSecureError: The job's inputs are missing, foreign or malformed.
        """
        self._extents = {extent.digest: extent for extent in job.extents}
        steps: dict[str, str] = {}
        if isinstance(job, BillJob):
            data = roster_data(RosterManifest.parse(job.roster), UploadManifest.parse(job.upload))
            text = self._objects.get(job.tariff or data.roster.tariff).decode()
            inputs, outputs = execute_bill(
                data,
                plan=compile_bill(data, tariff=parse_tariff(text)),
                load=self._load,
                keys=self._keys,
                steps=steps,
            )
        else:
            datas, layout = self._lay_out(job)
            inputs, outputs = execute_load_curve(
                datas,
                quantities=job.quantities,
                layout=layout,
                seed=job.seed,
                load=self._load,
                keys=self._keys,
            )
        entries: dict[str, ColumnEntry] = {}

        def noted() -> Iterator[tuple[str, bytes]]:
            for name, output in outputs:
                entries[name] = output.entry
                yield output.entry.digest, output.data

        extents = store_as_made(self._objects, noted())
        return JobResult(job.name, inputs, entries, extents, steps)

    def _lay_out(self, job: LoadCurveJob) -> tuple[list[RosterData], CellLayout]:
        """The uploads of a load curve, and the cells of rosters that the days before had too."""
        wanted = (job.rosters, job.minima)
        if self._laid_out is None or self._laid_out[0] != wanted:
            parsed = list(map(RosterManifest.parse, job.rosters))
            self._laid_out = wanted, parsed, lay_out_cells(parsed, minima=job.minima)
        _, rosters, layout = self._laid_out
        pairs = zip(rosters, map(UploadManifest.parse, job.uploads), strict=True)
        return [roster_data(roster, upload) for roster, upload in pairs], layout

    def _load(self, digest: str) -> bytes:
        extent = self._extents.get(digest)
        return self._objects.get(digest) if extent is None else self._objects.get_extent(extent)


class JobPool(Protocol):
    """What runs jobs."""

    @property
    def portion(self) -> int:
        """How many jobs it takes at once."""
        ...

    def submit(self, jobs: Sequence[Job]) -> list[Future[JobResult]]:
        """Queue at most a portion of jobs."""
        ...

    def close(self) -> None:
        """End what runs them."""
        ...


class CrewPool(Protocol):
    """What a crew gives its jobs to: processes of this machine, or a cluster."""

    @property
    def workers(self) -> int:
        """How many jobs it runs at once; 0 while it is out of reach."""
        ...

    @property
    def room(self) -> int:
        """How many more jobs it takes before its workers are replaced."""
        ...

    def submit(self, jobs: Sequence[Job]) -> list[Future[JobResult]]:
        """Queue jobs.

        A future that was cancelled is of a job that did not begin or whose cluster is gone.

        Raises:
            BrokenExecutor: Its processes are dead.
        """
        ...

    def warm(self) -> None:
        """Be ready before there are jobs."""
        ...

    def close(self) -> None:
        """Let go of all jobs and of what runs them."""
        ...


PoolOpener = Callable[[KnownKeys], CrewPool]
"""Opens a pool whose workers hold to these key sets."""


class LostWorkers(BrokenExecutor):
    """A job took workers of a cluster with it.

    Args:
        deaths: How many.
    """

    def __init__(self, deaths: int) -> None:
        super().__init__(deaths)  # by which it is made again where it crosses to another process
        self.deaths = deaths


class LocalPool:
    """Runs jobs in this process, one after the other: a few need no workers."""

    portion: Final = 1

    def __init__(self, objects: ObjectStore, known: KnownKeys) -> None:
        self._worker = Worker(objects, known)

    def submit(self, jobs: Sequence[Job]) -> list[Future[JobResult]]:
        """Run the jobs; their results are there when this returns."""
        done = []
        for job in jobs:
            future: Future[JobResult] = Future()
            future.set_result(self._worker.run(job))
            done.append(future)
        return done

    def close(self) -> None:
        """Nothing is to be ended."""


class WorkerPool(WorkerProcesses[Job, JobResult]):
    """Worker processes that know the key sets.

    They see the objects and no other file. Where these are in a bucket they keep the network, and
    what it takes to open the bucket; else they have neither.

    Args:
        sandbox: Whether they are confined.

    Raises:
        InputError: The objects are in this process's memory (`objects.url`), or as `confine_jobs`.
    """

    def __init__(
        self,
        objects: ObjectStore,
        known: KnownKeys,
        *,
        workers: int,
        sandbox: SandboxWish = "available",
    ) -> None:
        check_shared(objects)
        notices = [notice.model_dump_json() for notice in known.notices]
        start = partial(_start_worker, objects.url, notices, sorted(known.revoked))
        super().__init__(
            _run_in_worker,
            start=start,
            workers=workers,
            confinement=confine_jobs(objects.url, sandbox=sandbox),
            read=read_result,
        )


def check_shared(objects: ObjectStore) -> None:
    """Refuse a store that other processes cannot read.

    Raises:
        InputError: The objects are in this process's memory (`objects.url`).
    """
    if objects.url.startswith(f"{MEMORY}:"):
        raise InputError(
            "Worker processes cannot see objects in this process's memory.",
            reason="objects.url",
            remedy="Keep the objects in a folder or a bucket.",
        )


def confine_jobs(url: str, *, sandbox: SandboxWish) -> Confinement:
    """What workers keep that compute on objects: a folder, or the network and what opens a bucket.

    Of a credential they see its file. Of a token they see the folder, since it is renewed by
    another file in its place.

    Args:
        url: URL of the objects.

    Raises:
        InputError: A token lies in a folder with a zone's keys or databases
            (`sandbox.credentials`).
    """
    folder = folder_of(url)
    if folder is not None:
        return Confinement(sandbox, writes=(str(folder),))
    variables = store_environment()
    tokens = token_folders(variables)
    if sandbox != "off" and any(map(_holds_a_zone, tokens)):
        raise InputError(
            "The token of the bucket lies in a folder with keys or databases, and workers would "
            "see all of it.",
            reason="sandbox.credentials",
            remedy="Have the token written to a folder of its own, and name it there in the "
            "variable that ends in _TOKEN_FILE (docs/deployment.md).",
        )
    reads = (*credential_files(variables), *tokens)
    return Confinement(sandbox, reads=reads, network=True, variables=variables)


def _holds_a_zone(folder: str) -> bool:
    """Whether there are files in it, or beneath, that are named as those of zones are."""
    return any(path.suffix in _OF_ZONES for path in Path(folder).rglob("*"))


def run_jobs(pool: JobPool, jobs: Iterable[Job]) -> Iterator[JobResult]:
    """Run jobs, yielding results as they finish.

    Raises:
        GridSecureError: A job failed; `job.killed` when a worker process died. Results already
            yielded stand, and running the rest again is safe, also on the same pool.
    """
    waiting = list(jobs)
    for start in range(0, len(waiting), pool.portion):
        yield from _run_portion(pool, waiting[start : start + pool.portion])


def _run_portion(pool: JobPool, jobs: Sequence[Job]) -> Iterator[JobResult]:
    futures: list[Future[JobResult]] = []
    try:
        futures = pool.submit(jobs)
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        pool.close()  # a broken executor takes no more jobs
        raise GridSecureError(
            "A worker process ended unexpectedly.",
            reason="job.killed",
            remedy="Run the plan again: finished jobs are kept, the others start over.",
        ) from error
    finally:
        for future in futures:
            future.cancel()


_worker: dict[str, Worker] = {}


def _start_worker(url: str, notices: list[str], revoked: list[str]) -> None:
    known = KnownKeys(tuple(KeyNotice.parse(text) for text in notices), frozenset(revoked))
    _worker["only"] = Worker(open_objects(url), known)


def write_result(result: JobResult) -> str:
    """A result as a worker process answers it."""
    return _RESULTS.dump_json(result).decode()


def read_result(text: str) -> JobResult:
    """A result from a worker process's answer.

    Raises:
        GridSecureError: It is none (`job.answer`).
    """
    try:
        return _RESULTS.validate_json(text)
    except ValidationError as error:
        raise GridSecureError(
            "A worker process answered with what is no result.",
            reason="job.answer",
            remedy="Run the plan again. If it happens again, tell the security officer before "
            "anything else.",
        ) from error


def _run_in_worker(job: Job) -> str:
    return write_result(_worker["only"].run(job))
