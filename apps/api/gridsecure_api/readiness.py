"""Whether a service can do its work, apart from whether it runs.

`/health` says that the process answers; whoever restarts processes asks that. `/ready` says whether
it is of use to send it requests: its database answers, its disk has room. Nothing is mended by a
restart, so nobody should restart it for that.

Strangers may ask, so they are not told what it lacks, and nothing at all of the vault: while
custodians have it unlocked is when it is worth an attack. The metrics have every check by name.
What was found holds for `KEPT_S`. It is looked at in a thread of its own: a database that hangs
must not hang who asks for it, which is when it matters most.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, text

from gridsecure.errors import GridSecureError, StorageError
from gridsecure.store.database import read_session

KEPT_S: Final = 2.0
"""How long what was found holds [s]."""
WAIT_S: Final = 4.0
"""Who has something looked at waits so long for it [s]; a scrape, which Prometheus ends after ten
seconds, waits twice."""
LEAST_FREE: Final = 256 * 1024 * 1024
"""Less free space than this is none [bytes]."""


@dataclass(frozen=True, slots=True)
class ReadyCheck:
    """Something that a service needs.

    Args:
        name: What it is, as the metrics name it.
        look: Raises a `GridSecureError` where it is not there.
        is_told: Whether `/ready` tells strangers that something is not there.
    """

    name: str
    look: Callable[[], None]
    is_told: bool = True


class LookedAt:
    """Something that is looked at from time to time, in a thread of its own.

    Args:
        look: Looks, and keeps what it finds.
        ticks: A clock that never goes back [s].
    """

    def __init__(
        self, look: Callable[[], None], *, ticks: Callable[[], float] = time.monotonic
    ) -> None:
        self._look = look
        self._ticks = ticks
        self._lock = threading.Lock()
        self._done: threading.Event | None = None
        self._began = self._until = float("-inf")

    def is_late(self) -> bool:
        """Have it looked at where what was found is old; whether that takes too long.

        While somebody looks, others are told at once what was found before, if anything was.
        """
        with self._lock:
            is_mine = self._done is None and self._ticks() >= self._until
            if is_mine:
                done = threading.Event()
                threading.Thread(target=self._look_once, args=(done,), daemon=True).start()
                self._done, self._began = done, self._ticks()
            under_way = self._done
        if under_way is None:
            return False
        if is_mine or self._until == float("-inf"):
            return not under_way.wait(WAIT_S)
        return self._ticks() - self._began >= WAIT_S

    def _look_once(self, done: threading.Event) -> None:
        try:
            self._look()
        finally:
            with self._lock:
                self._done, self._until = None, self._ticks() + KEPT_S
            done.set()


class Readiness:
    """What a service needs, looked at from time to time.

    Args:
        ticks: A clock that never goes back [s].
    """

    def __init__(
        self, checks: Sequence[ReadyCheck], *, ticks: Callable[[], float] = time.monotonic
    ) -> None:
        self._checks = tuple(checks)
        self._looked_at = LookedAt(self._look, ticks=ticks)
        self._lacking = frozenset(self.names)
        self._at = ""

    @property
    def names(self) -> tuple[str, ...]:
        """What is looked at."""
        return tuple(one.name for one in self._checks)

    def failing(self) -> tuple[str, ...]:
        """What is not there, or takes too long to answer; empty when the service is ready."""
        late = self._at if self._looked_at.is_late() else ""
        return tuple(one for one in self.names if one in self._lacking or one == late)

    def _look(self) -> None:
        for one in self._checks:
            self._at = one.name
            lacks = set(self._lacking) - {one.name} if _holds(one) else {*self._lacking, one.name}
            self._lacking = frozenset(lacks)
        self._at = ""


def _holds(check: ReadyCheck) -> bool:
    try:
        check.look()
    except GridSecureError:
        return False
    return True


def database_check(engine: Engine, *, name: str = "database") -> ReadyCheck:
    """A database that answers."""

    def look() -> None:
        with read_session(engine) as session:
            session.connection().execute(text("SELECT 1"))

    return ReadyCheck(name, look)


def disk_check(folder: Path) -> ReadyCheck:
    """A folder that can be written, on a disk with room."""

    def look() -> None:
        try:
            is_full = shutil.disk_usage(folder).free < LEAST_FREE
            is_fixed = bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
        except OSError as error:
            raise _no_disk() from error
        if is_full or is_fixed:
            raise _no_disk()

    return ReadyCheck("disk", look)


def _no_disk() -> StorageError:
    return StorageError("The disk is full, or cannot be written.", reason="storage.disk")
