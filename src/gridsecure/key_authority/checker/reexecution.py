"""Executing plans again, in worker processes of the checker's own.

A worker is told what to execute and where its columns lie; it answers with digests, as text that is
read as strictly as what comes from outside, and leaves its outputs in that folder, where they stay
until the vault takes them one after the other. It is given
public key sets, and no signing key, no token, no setting of the service and no way to the vault:
what the platform sent is decoded where none of them is. The kernel keeps from it the network, other
programs and all files but the folder of the checks (`sandbox`): the keys that it needs are copied
there, so that no worker opens the authority's objects. Nothing rests on that folder either: a
worker verifies every column by its digest before anything is computed, and the vault verifies every
output by the digest that the checker compared.

A worker that dies takes its request with it and nothing else: nothing is released, the request
waits at the platform, and asked again it finds new workers.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import mkdtemp
from threading import Lock
from typing import ClassVar, Final, NamedTuple
from weakref import finalize

from gridsecure.crypto.sm3 import hkdf_sm3, sm3_hex
from gridsecure.errors import EnvelopeError, GridSecureError, InvalidMessageError, StorageError
from gridsecure.homomorphic.blinding import SEED_SIZE
from gridsecure.messages import ColumnEntry, Digest, KeyNotice, Message
from gridsecure.plans.bills import BillPlan
from gridsecure.plans.execution import (
    Executed,
    Load,
    RosterData,
    execute_bill,
    execute_load_curve,
)
from gridsecure.plans.key_ring import KeyRing, KnownKeys
from gridsecure.plans.load_curve import CellLayout
from gridsecure.plans.query_measures import MonthLayout
from gridsecure.plans.query_parts import execute_parts
from gridsecure.plans.query_totals import TotalsLayout, execute_totals
from gridsecure.plans.transcript_inputs import PlatformView
from gridsecure.sandbox import Confinement, SandboxWish
from gridsecure.store.objects import ObjectStore, folder_url, open_objects
from gridsecure.worker_processes import WorkerProcesses

_KEYS: Final = "keys"
"""Where the key sets of the checks lie, within their folder."""


@dataclass(frozen=True, slots=True, eq=False)
class BillCheck:
    """A roster's bill plan."""

    data: RosterData
    plan: BillPlan

    @property
    def columns(self) -> list[tuple[RosterData, ColumnEntry]]:
        """What is read, and of which roster."""
        return [(self.data, self.data.entry(need.quantity)) for need in self.plan.needs]

    def execute(self, *, load: Load, keys: KeyRing, steps: dict[str, Digest]) -> Executed:
        """As `execute_bill`."""
        return execute_bill(self.data, plan=self.plan, load=load, keys=keys, steps=steps)


@dataclass(frozen=True, slots=True, eq=False)
class LoadCurveCheck:
    """A day of some rosters."""

    datas: tuple[RosterData, ...]
    quantities: tuple[str, ...]
    layout: CellLayout
    seed: bytes = field(repr=False)

    @property
    def columns(self) -> list[tuple[RosterData, ColumnEntry]]:
        """What is read, and of which roster."""
        return [(data, data.entry(name)) for name in self.quantities for data in self.datas]

    def execute(
        self,
        *,
        load: Load,
        keys: KeyRing,
        steps: dict[str, Digest],  # noqa: ARG002 - blinding is one step
    ) -> Executed:
        """As `execute_load_curve`."""
        return execute_load_curve(
            self.datas,
            quantities=self.quantities,
            layout=self.layout,
            seed=self.seed,
            load=load,
            keys=keys,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _AskedCheck:
    """What is computed for a question here for the first time: the platform ran nothing.

    Args:
        datas: All rosters, with the columns that the question needs.
        fetched: All columns of the period that are of the rosters worked off here. Which of them
            the question needs, the platform is not told.
        only: The ids of those rosters.
    """

    datas: tuple[RosterData, ...]
    fetched: tuple[tuple[RosterData, ColumnEntry], ...]
    only: frozenset[str]
    seed: bytes = field(repr=False)

    @property
    def columns(self) -> list[tuple[RosterData, ColumnEntry]]:
        """What is read, and of which roster."""
        return list(self.fetched)


@dataclass(frozen=True, slots=True, eq=False)
class QueryCheck(_AskedCheck):
    """Totals of intervals, blinded."""

    layout: TotalsLayout

    def execute(
        self,
        *,
        load: Load,
        keys: KeyRing,
        steps: dict[str, Digest],  # noqa: ARG002 - blinding is one step
    ) -> Executed:
        """As `execute_totals`."""
        return execute_totals(
            self.datas, layout=self.layout, seed=self.seed, load=load, keys=keys, only=self.only
        )


@dataclass(frozen=True, slots=True, eq=False)
class MonthCheck(_AskedCheck):
    """Measures of a month, computed and blinded."""

    layout: MonthLayout

    def execute(
        self,
        *,
        load: Load,
        keys: KeyRing,
        steps: dict[str, Digest],  # noqa: ARG002 - blinding is one step
    ) -> Executed:
        """As `execute_parts`, of both layouts, each under a seed of its own."""
        made = [
            execute_parts(
                self.datas,
                layout=layout,
                seed=hkdf_sm3(self.seed, info=b"gridsecure month %d" % number, length=SEED_SIZE),
                load=load,
                keys=keys,
                only=self.only,
            )
            for number, layout in enumerate(self.layout.both)
        ]
        inputs = {name: digest for read, _ in made for name, digest in read.items()}
        return inputs, chain.from_iterable(outputs for _, outputs in made)


Check = BillCheck | LoadCurveCheck | QueryCheck | MonthCheck


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """A check, and the files that hold its columns, by digest: no digest is used as a path."""

    check: Check
    room: Path
    files: Mapping[str, str]

    def load(self, digest: str) -> bytes:
        data = (self.room / self.files[digest]).read_bytes()
        # Here and nowhere before: the checker's own process does not look at what it fetched.
        if sm3_hex(data) != digest:
            raise EnvelopeError("The platform sent the wrong object.")
        return data


class Room:
    """The folder of one check, which goes when nobody looks into it any more."""

    def __init__(self, within: Path | None) -> None:
        self.path = Path(mkdtemp(dir=within)).absolute()
        self.drop = finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass(frozen=True, slots=True, eq=False)
class Derived:
    """An output that was derived again: its entry, and its file, which stays on disk."""

    entry: ColumnEntry
    _room: Room
    _file: str

    @property
    def data(self) -> bytes:
        """The file.

        Raises:
            StorageError: The disk refuses (`check.disk`).
        """
        try:
            return (self._room.path / self._file).read_bytes()
        except OSError as error:
            raise _disk_error() from error


class _Answer(Message):
    """What a worker says: digests of the inputs and steps, and the outputs, by name."""

    kind: ClassVar[str] = "worker's"
    inputs: dict[str, Digest]
    outputs: dict[str, ColumnEntry]
    steps: dict[str, Digest]


class Rerun(NamedTuple):
    """What a plan gave: digests of inputs and of steps, and the outputs, by name."""

    inputs: dict[str, Digest]
    outputs: dict[str, Derived]
    steps: dict[str, Digest]


@dataclass(frozen=True, slots=True, eq=False)
class Running:
    """A check at work."""

    _room: Room
    _future: Future[str]

    def result(self) -> Rerun:
        """What it gave, once it is done.

        Raises:
            GridSecureError: As `execute_bill` and `execute_load_curve`; a worker process died
                (`check.killed`), or what it answered is no answer (`check.answer`).
            StorageError: The disk refuses (`check.disk`).
        """
        answer = None
        try:
            answer = _parse(self._future.result())
        except OSError as error:
            raise _disk_error() from error
        except BrokenProcessPool as error:
            raise GridSecureError(
                "A worker process of the checker ended unexpectedly.",
                reason="check.killed",
                remedy="Start another release round: nothing was released, and the request waits. "
                "If it happens again, give the machine more memory or the checker fewer workers.",
            ) from error
        finally:
            if answer is None:  # an error holds whoever waited for it, and so the folder
                self._room.drop()
        outputs = {
            name: Derived(entry, self._room, _output(number))
            for number, (name, entry) in enumerate(answer.outputs.items())
        }
        return Rerun(answer.inputs, outputs, answer.steps)

    def drop(self) -> None:
        """Take its folder away; a worker that still writes there fails, and nobody asks why."""
        self._future.cancel()
        self._room.drop()


class Checks:
    """What executes plans again.

    Workers stay from one request to the next as long as the same key sets are published.

    Args:
        objects: The authority's own objects, with the published keys.
        folder: Where columns lie while they are at work, for workers; what a killed service left
            there goes.
        workers: Worker processes; with none, plans are executed in this process.
        sandbox: Whether they are confined.
    """

    def __init__(
        self,
        objects: ObjectStore,
        *,
        folder: Path | None = None,
        workers: int = 0,
        sandbox: SandboxWish = "available",
    ) -> None:
        self.workers = workers
        self._objects = objects
        self._folder = folder
        self._sandbox = sandbox
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
        self._pool: WorkerProcesses[_Job, str] | None = None
        self._known = KnownKeys(())
        self._waiting: list[Future[str]] = []
        self._lock = Lock()

    def begin(self, check: Check, *, view: PlatformView, keys: KeyRing) -> Running:
        """Fetch the columns of a check and have it executed.

        Raises:
            KeyMismatchError: A column is under no usable key set of its gateway; nothing was
                fetched then.
            GridSecureError: The platform cannot be reached, or lacks a column.
            StorageError: The disk refuses (`check.disk`).
        """
        for data, entry in check.columns:
            keys.check([entry], gateway=data.roster.gateway_id)
        digests = list(dict.fromkeys(entry.digest for _, entry in check.columns))
        files = {digest: str(number) for number, digest in enumerate(digests)}
        try:
            room = Room(self._folder)
            for name, column in zip(files.values(), view.objects(digests), strict=True):
                (room.path / name).write_bytes(column)
            return Running(room, self._submit(_Job(check, room.path, files), keys))
        except OSError as error:
            raise _disk_error() from error

    def close(self) -> None:
        """End the workers; the next check starts new ones."""
        if self._pool is not None:
            self._pool.close()
        self._pool = None
        if self._folder is not None:
            shutil.rmtree(self._folder / _KEYS, ignore_errors=True)

    def _submit(self, job: _Job, keys: KeyRing) -> Future[str]:
        if not self.workers or self._folder is None:
            done: Future[str] = Future()
            done.set_result(_execute(job, keys))
            return done
        with self._lock:
            pool = self._pool_for(keys.known, self._folder)
            wanted = {entry.key_id for _, entry in job.check.columns}
            self._hand_over(
                [one for one in keys.known.notices if one.key_id in wanted], self._folder
            )
            if not pool.room:
                wait(self._waiting)  # it replaces its workers now, and drops what waits
            try:
                (future,) = pool.submit([job])
            except BrokenProcessPool:  # a worker died before; whoever waits for it is told
                pool.close()
                (future,) = pool.submit([job])
            self._waiting = [one for one in self._waiting if not one.done()] + [future]
        return future

    def _hand_over(self, notices: Iterable[KeyNotice], folder: Path) -> None:
        """Copy key sets to where workers find them, unless they are there."""
        there = open_objects(folder_url(folder / _KEYS))
        for notice in notices:
            for digest in filter(None, (notice.public_key, notice.relinearisation_keys)):
                if not there.has(digest):
                    there.put(self._objects.get(digest), digest=digest)

    def _pool_for(self, known: KnownKeys, folder: Path) -> WorkerProcesses[_Job, str]:
        if self._pool is None or known != self._known:
            self.close()
            notices = [notice.model_dump_json() for notice in known.notices]
            place = folder_url(folder / _KEYS)
            self._pool = WorkerProcesses(
                _run_in_worker,
                start=partial(_start_worker, place, notices, sorted(known.revoked)),
                workers=self.workers,
                confinement=Confinement(self._sandbox, writes=(str(folder),)),
                read=str,  # whoever waits for it parses it
            )
            self._known = known
        return self._pool


def _output(number: int) -> str:
    return f"output-{number}"


def _parse(text: str) -> _Answer:
    try:
        return _Answer.parse(text)
    except InvalidMessageError as error:  # a fault of this zone, so that the request waits
        raise GridSecureError(
            "A worker process of the checker answered with what is no answer.",
            reason="check.answer",
            remedy="Start another release round: nothing was released, and the request waits. "
            "If it happens again, tell the security officer before anything else.",
        ) from error


def _disk_error() -> StorageError:
    return StorageError(
        "The columns of a check could not be kept or read.",
        reason="check.disk",
        remedy="Free disk space, then start another release round: the request waits.",
    )


def _execute(job: _Job, keys: KeyRing) -> str:
    steps: dict[str, Digest] = {}
    inputs, outputs = job.check.execute(load=job.load, keys=keys, steps=steps)
    entries: dict[str, ColumnEntry] = {}
    for number, (name, output) in enumerate(outputs):
        (job.room / _output(number)).write_bytes(output.data)
        entries[name] = output.entry
    for name in job.files.values():  # a month of bills waits on the disk, without what it was of
        (job.room / name).unlink()
    return _Answer(inputs=inputs, outputs=entries, steps=steps).model_dump_json()


_worker: dict[str, KeyRing] = {}


def _start_worker(url: str, notices: Sequence[str], revoked: Sequence[str]) -> None:
    known = KnownKeys(tuple(map(KeyNotice.parse, notices)), frozenset(revoked))
    _worker["only"] = KeyRing(known, open_objects(url).get)


def _run_in_worker(job: _Job) -> str:
    return _execute(job, _worker["only"])
