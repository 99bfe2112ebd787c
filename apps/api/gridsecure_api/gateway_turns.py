"""Turns at which small batches are taken in: in worker processes, and in the service without any.

The interpreter runs one thread at a time, and what a batch costs is computing: a turn in the
service takes the interpreter from all requests, and they from it, at every call that lets it go. So
turns go to processes of the same zone. They are started once there is a source, as to start them
takes seconds that batches would wait for; until they are there, the service takes turns itself, one
at a time.

A process reads what others sent, so it is handed what a turn takes and nothing else: the gateway's
key, which signs receipts, and a connection to its database, both opened before it confines itself
(`sandbox`). It then writes the folder of the batches, opens no other file and connects nowhere, and
answers in text. It has neither the seed that the holders follow from, nor months, nor columns. One
whose connection breaks cannot make another, and ends.

A turn whose process ended is taken again by other processes, in halves, and never in the service:
else a batch would only have to end its process to be read where everything is. Whatever of it was
kept has its receipt, which is answered as to every batch that is repeated. Where a sandbox is
required, the service takes no turn at all, and waits for its processes.

What is not of the plainest form is read by its route, in the service, as larger bodies are.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from gridsecure import errors
from gridsecure.errors import GridSecureError, InvalidMessageError
from gridsecure.gateway.ingestion.batch_groups import Outcome, SmallBatch, take_in_together
from gridsecure.gateway.ingestion.batch_queue import BatchQueue
from gridsecure.gateway.ingestion.batches import TakenIn, batch_folder
from gridsecure.gateway.ingestion.sources import Source, find_sources
from gridsecure.gateway.zone import GatewayZone, IntakeZone
from gridsecure.sandbox import Confinement, SandboxWish
from gridsecure.store.connections import OUT_OF_REACH
from gridsecure.store.database import open_database
from gridsecure.worker_processes import WorkerProcesses
from gridsecure.zone_keys import load_signing_key
from gridsecure_api.errors import busy_error
from gridsecure_api.settings import GatewaySettings

_log = logging.getLogger(__name__)

_TURNS_PER_PROCESS: Final = 4096
"""No library here keeps what it took, so processes last, but not for ever."""

_PAUSE_S: Final = 60.0
"""Until processes that could not be started are tried again."""

_START_S: Final = 30.0
"""How long a turn waits for processes."""

_LOOK_S: Final = 0.02
_TRIES: Final = 3
"""How often a batch is read once more of which a process ended while it read that alone."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """What a worker is given of one.

    Args:
        waiting: Sources of which batches wait.
    """

    sent: Sequence[SmallBatch]
    waiting: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Refused:
    """An error as a worker answers it.

    Args:
        kind: Name of its class.
    """

    kind: str
    message: str
    reason: str
    remedy: str


_ANSWERS: Final = TypeAdapter(list[TakenIn | Source | _Refused])


class TurnProcesses(WorkerProcesses[_Turn, list[Outcome]]):
    """The processes of a gateway.

    Args:
        url: Of its database.
        processes: How many.
        sandbox: Whether they are confined.
    """

    jobs_per_worker = _TURNS_PER_PROCESS

    def __init__(self, zone: IntakeZone, url: str, *, processes: int, sandbox: SandboxWish) -> None:
        opened = partial(
            _open_zone, url, zone.folder, timezone=zone.timezone, cycle_day=zone.cycle_day
        )
        super().__init__(
            _run,
            start=_do_nothing,
            hand_over=opened,
            workers=processes,
            confinement=Confinement(sandbox, writes=(str(batch_folder(zone)),)),
            read=_read_outcomes,
        )


class BatchTurns:
    """Turns of one gateway.

    Args:
        settings: What a worker process opens the zone by.

    Attributes:
        at_once: How many are there at once: one of each process, and one that waits for the next.
    """

    def __init__(self, zone: GatewayZone, queue: BatchQueue, settings: GatewaySettings) -> None:
        self.at_once = 1 + settings.batch_processes
        self._zone = zone
        self._queue = queue
        self._here = threading.Lock()
        self._asking = threading.Lock()
        self._lock = threading.Lock()
        self._workers = TurnProcesses(
            zone,
            settings.database_url,
            processes=settings.batch_processes,
            sandbox=settings.sandbox,
        )
        self._is_asked_for = settings.batch_processes == 0
        self._are_there = False
        self._is_closed = False
        self._is_held = settings.sandbox == "required"
        self._started = 0
        self._next_try = 0.0

    def take_in(self, sent: Sequence[SmallBatch]) -> Sequence[Outcome]:
        """Take in batches in one turn, as `take_in_together`.

        Raises:
            GridSecureError: No process is there, and the service may not read batches itself
                (`service.busy`).
        """
        turn = _Turn(sent, self._queue.waiting_sources())
        if self._are_there or self._is_held:
            return self._take_beside(turn)
        self.prepare()
        with self._here:
            return take_in_together(self._zone, sent, waiting=turn.waiting)

    def _take_beside(self, turn: _Turn, *, tried: int = 0) -> list[Outcome]:
        """Have a process take a turn; where it ends, others take its batches by halves.

        What ended a process may have done so to be read by the service, which is in no sandbox. So
        it never is; and what ends one again by itself is refused.
        """
        self._await_processes()
        started = self._started
        try:
            return self._submit(turn).result()
        # Its process ended; or all are being replaced, and it had not begun.
        except (BrokenProcessPool, CancelledError):
            self._lose(started)
        sent, middle = turn.sent, len(turn.sent) // 2
        if middle:
            halves = (replace(turn, sent=part) for part in (sent[:middle], sent[middle:]))
            return [outcome for half in halves for outcome in self._take_beside(half)]
        # Another's batch may have ended it, so once is not enough.
        return [_ends_readers()] if tried == _TRIES else self._take_beside(turn, tried=tried + 1)

    def _await_processes(self) -> None:
        until = time.monotonic() + _START_S
        while not self._are_there:
            self.prepare()
            if time.monotonic() > until or self._is_closed:
                raise busy_error()
            time.sleep(_LOOK_S)

    def _lose(self, started: int) -> None:
        """Have processes started anew, once for all whose turns were theirs."""
        with self._asking:
            if started == self._started and not self._is_closed:
                self._are_there = self._is_asked_for = False
                self._started += 1

    def prepare(self) -> None:
        """Have the processes started, unless they were asked for; nobody waits for them."""
        with self._asking:
            if self._is_asked_for or time.monotonic() < self._next_try:
                return
            self._is_asked_for = True
        threading.Thread(target=self._start_workers, name="batch-processes", daemon=True).start()

    def close(self) -> None:
        """End the processes once they are done with their turns."""
        with self._asking:
            self._are_there, self._is_asked_for = False, True
            self._is_closed = True
        with self._lock:
            self._workers.close()

    def _submit(self, turn: _Turn) -> Future[list[Outcome]]:
        with self._lock:
            (future,) = self._workers.submit([turn])
        return future

    def _start_workers(self) -> None:
        try:
            with self._lock:
                self._workers.close()  # those of which one ended
            nothing = _Turn((), frozenset())
            for one in [self._submit(nothing) for _ in range(self._workers.workers)]:
                one.result()
        except (BrokenProcessPool, CancelledError, OSError):
            _log.warning("no process takes in batches beside the service, which does it alone")
            self._next_try = time.monotonic() + _PAUSE_S
            with self._asking:
                self._is_asked_for = self._is_closed
        else:
            self._are_there = True


_opened: list[IntakeZone] = []
"""What a worker process was handed."""


def _open_zone(url: str, folder: Path, *, timezone: str, cycle_day: int) -> None:
    zone = IntakeZone(
        engine=open_database(url, connections=1, opens_files=False),
        folder=folder,
        signing_key=load_signing_key(folder),
        timezone=timezone,
        cycle_day=cycle_day,
    )
    find_sources(zone, ())  # SQLite opens the rest of its files with the first query
    _opened.append(zone)


def _do_nothing() -> None:
    """All that a worker needs was handed over."""


def _run(turn: _Turn) -> str:
    try:
        outcomes = take_in_together(_opened[0], turn.sent, waiting=turn.waiting)
    except GridSecureError as failed:
        if failed.reason == OUT_OF_REACH:
            os._exit(1)
        raise
    return _ANSWERS.dump_json(list(map(_as_answer, outcomes))).decode()


def _as_answer(outcome: Outcome) -> TakenIn | Source | _Refused:
    if isinstance(outcome, GridSecureError):
        kind = type(outcome).__name__
        return _Refused(kind, outcome.message, outcome.reason, outcome.remedy)
    return outcome


def _read_outcomes(text: str) -> list[Outcome]:
    try:
        return list(map(_as_outcome, _ANSWERS.validate_json(text)))
    except ValidationError as error:
        raise _no_answer() from error


def _as_outcome(answer: TakenIn | Source | _Refused) -> Outcome:
    if not isinstance(answer, _Refused):
        return answer
    kind = getattr(errors, answer.kind, None)
    if not (isinstance(kind, type) and issubclass(kind, GridSecureError)):
        raise _no_answer()
    return kind(answer.message, reason=answer.reason, remedy=answer.remedy)


def _ends_readers() -> GridSecureError:
    return InvalidMessageError(
        "The process that reads this batch ended each time.",
        reason="batch.reader",
        remedy="Send it once more. If it happens again, tell the gateway's operator, and send its "
        "readings in another form.",
    )


def _no_answer() -> GridSecureError:
    return GridSecureError(
        "A process that takes in batches answered with what is no result.",
        reason="batch.answer",
        remedy="Send the batches again. If it happens again, tell the security officer before "
        "anything else.",
    )
