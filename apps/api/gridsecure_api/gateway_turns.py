"""Turns at which small batches are taken in: in worker processes, and in the service without any.

The interpreter runs one thread at a time, and what a batch costs is computing: a turn in the
service takes the interpreter from all requests, and they from it, at every call that lets it go. So
turns go to processes of the same zone: each has its folder and key, and connections of its own to
its database. They are started once there is a source, as to start them takes seconds that batches
would wait for; until they are there, the service takes turns itself, one at a time.

A turn whose process ended is taken again here. Whatever of it was kept then has its receipt, which
is answered as to every batch that is repeated.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from typing import Final

from gridsecure.gateway.ingestion.batch_groups import Outcome, SmallBatch, take_in_together
from gridsecure.gateway.ingestion.batch_queue import BatchQueue
from gridsecure.gateway.zone import GatewayZone
from gridsecure.sandbox import Confinement
from gridsecure.worker_environment import store_environment
from gridsecure.worker_processes import WorkerProcesses
from gridsecure_api.gateway_peers import open_zone_beside
from gridsecure_api.settings import GatewaySettings

_log = logging.getLogger(__name__)

_TURNS_PER_PROCESS: Final = 4096
"""No library here keeps what it took, so processes last, but not for ever."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """What a worker is given of one.

    Args:
        waiting: Sources of which batches wait.
    """

    sent: Sequence[SmallBatch]
    waiting: frozenset[str]


class _TurnProcesses(WorkerProcesses[_Turn, list[Outcome]]):
    jobs_per_worker = _TURNS_PER_PROCESS


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
        self._workers = _TurnProcesses(
            _run,
            start=partial(_open_zone, settings),
            workers=settings.batch_processes,
            confinement=Confinement("off", variables=store_environment()),
        )
        self._is_asked_for = settings.batch_processes == 0
        self._are_there = False

    def take_in(self, sent: Sequence[SmallBatch]) -> Sequence[Outcome]:
        """Take in batches in one turn, as `take_in_together`."""
        turn = _Turn(sent, self._queue.waiting_sources())
        if self._are_there:
            try:
                return self._submit(turn).result()
            # Its process ended; or all are being replaced, and it had not begun.
            except (BrokenProcessPool, CancelledError):
                self._are_there = self._is_asked_for = False
        self.prepare()
        with self._here:
            return take_in_together(self._zone, sent, waiting=turn.waiting)

    def prepare(self) -> None:
        """Have the processes started, unless they were asked for; nobody waits for them."""
        with self._asking:
            if self._is_asked_for:
                return
            self._is_asked_for = True
        threading.Thread(target=self._start_workers, name="batch-processes", daemon=True).start()

    def close(self) -> None:
        """End the processes once they are done with their turns."""
        with self._asking:
            self._are_there, self._is_asked_for = False, True
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
        else:
            self._are_there = True


_opened: list[GatewayZone] = []
"""The zone of a worker process."""


def _open_zone(settings: GatewaySettings) -> None:
    _opened.append(open_zone_beside(settings))


def _run(turn: _Turn) -> list[Outcome]:
    return take_in_together(_opened[0], turn.sent, waiting=turn.waiting)
