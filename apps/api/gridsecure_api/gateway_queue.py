"""The gateway's reader of waiting batches: a thread that ends when nothing waits.

It reads one body at a time, the longest waiting first. What the disk or the database cannot do now
is tried again after a pause, and so is what nobody expected; meanwhile the source's later batches
wait too, and other sources' do not. How far a body is read is known to this process alone, so after
a kill it waits again, and nothing looks busy that is not.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Final

from gridsecure.errors import GridSecureError
from gridsecure.gateway.ingestion.batch_queue import BatchQueue, is_for_later
from gridsecure.gateway.tables import QueuedBatchRow
from gridsecure.wire.problems import INTERNAL, ReadingsProblem
from gridsecure_api.deps import Clock
from gridsecure_api.errors import problem_body

_log = logging.getLogger(__name__)

PAUSE_S: Final = 30.0
"""From a reading that failed for now to the next one of that source [s]."""


class _StoppedError(Exception):
    """The gateway ends."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How far a body is read.

    Args:
        row: The number of its batch in the queue.
        pieces: Of it, that were read.
        readings: In these.
    """

    row: int
    pieces: int = 0
    readings: int = 0


class BatchReader:
    """Reads waiting batches in a thread of its own."""

    def __init__(self, queue: BatchQueue, clock: Clock, *, pause_s: float = PAUSE_S) -> None:
        self._queue = queue
        self._clock = clock
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wanted = threading.Event()
        self._is_stopped = False
        self._at = Reading(0)
        self._put_off: dict[str, str] = {}

    def wake(self) -> None:
        """Look at once: something waits, or may."""
        with self._lock:
            self._wanted.set()
            if self._thread is None and not self._is_stopped:
                self._thread = threading.Thread(target=self._run, name="batches", daemon=True)
                self._thread.start()

    def start(self) -> None:
        """Begin, with what waited at the last end."""
        self._is_stopped = False
        self.wake()

    def stop(self) -> None:
        """End after the piece at hand; its body waits again."""
        self._is_stopped = True
        self.wait()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until nothing waits, or for so many seconds [s]."""
        self._wanted.set()
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def progress(self, row: QueuedBatchRow) -> Reading | None:
        """How far a batch is read; None while it is not its turn."""
        at = self._at
        return at if at.row == row.id else None

    def put_off(self, source: str) -> str:
        """Reason code of why a source's batches are tried again later; empty where they are not."""
        return self._put_off.get(source, "")

    @property
    def changes(self) -> tuple[object, ...]:
        """Differs whenever this knows something else of what waits."""
        return (self._at, *sorted(self._put_off.items()))

    def _run(self) -> None:
        later: dict[str, float] = {}
        while not self._is_stopped:
            self._wanted.clear()
            now = time.monotonic()
            row = self._next([source for source, due in later.items() if due > now])
            if row is not None:
                if not self._read(row):
                    later[row.source] = time.monotonic() + self._pause_s
                continue
            due = [one for one in later.values() if one > now]
            if due:
                self._wanted.wait(min(due) - now)
            elif self._end():
                return
        self._thread = None

    def _end(self) -> bool:
        """End the thread, unless something was added while it looked."""
        with self._lock:
            if self._wanted.is_set():
                return False
            self._thread = None
            return True

    def _next(self, but: list[str]) -> QueuedBatchRow | None:
        try:
            return self._queue.first(but=but)
        except GridSecureError as error:  # the database, for now
            _log.warning("batches wait: %s", error.reason)
            self._wanted.wait(self._pause_s)
            return None

    def _read(self, row: QueuedBatchRow) -> bool:
        """Read a batch; whether that is over, one way or the other."""
        self._at = Reading(row.id or 0)
        try:
            self._queue.read(row, note=self._note)
        except _StoppedError:
            return False
        except GridSecureError as error:
            if is_for_later(error):
                return self._leave(row, error.reason)
            if not self._refuse(row, error):
                return False
        except Exception as error:  # noqa: BLE001 - the thread's boundary: it looks again
            _log.error("a batch waits: %s", type(error).__name__)
            self._note_put_off(row.source, INTERNAL.reason)
            return False
        finally:
            self._at = Reading(0)
        self._note_put_off(row.source, "")
        return True

    def _leave(self, row: QueuedBatchRow, reason: str) -> bool:
        """Leave a batch for later: whether that is over, which it is not."""
        _log.warning("a batch waits: %s", reason)
        self._note_put_off(row.source, reason)
        return False

    def _note_put_off(self, source: str, reason: str) -> None:
        # Another dictionary each time, because requests look at it meanwhile.
        others = {name: known for name, known in self._put_off.items() if name != source}
        self._put_off = others | ({source: reason} if reason else {})

    def _refuse(self, row: QueuedBatchRow, error: GridSecureError) -> bool:
        refusal = ReadingsProblem(**problem_body(error).model_dump()).model_dump_json()
        try:
            self._queue.refuse(row, refusal, at=self._clock())
        except GridSecureError as failed:
            return self._leave(row, failed.reason)
        return True

    def _note(self, readings: int) -> None:
        if self._is_stopped:
            raise _StoppedError
        self._at = Reading(self._at.row, self._at.pieces + 1, readings)
