"""Whether a service can do its work, apart from whether it runs.

`/health` says that the process answers; whoever restarts processes asks that. `/ready` says whether
it is of use to send it requests: its database answers, its disk has room, its vault is unlocked.
Nothing is mended by a restart, so nobody should restart it for that.

Strangers may ask, so what was found holds for `KEPT_S`, and one looks while the others wait.
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
LEAST_FREE: Final = 256 * 1024 * 1024
"""Less free space than this is none [bytes]."""


@dataclass(frozen=True, slots=True)
class ReadyCheck:
    """Something that a service needs.

    Args:
        name: What it is, as `/ready` and the metrics name it.
        look: Raises a `GridSecureError` where it is not there.
    """

    name: str
    look: Callable[[], None]


class Readiness:
    """What a service needs, looked at from time to time.

    Args:
        ticks: A clock that never goes back [s].
    """

    def __init__(
        self, checks: Sequence[ReadyCheck], *, ticks: Callable[[], float] = time.monotonic
    ) -> None:
        self._checks = tuple(checks)
        self._ticks = ticks
        self._lock = threading.Lock()
        self._found: tuple[str, ...] = ()
        self._until = float("-inf")

    @property
    def names(self) -> tuple[str, ...]:
        """What is looked at."""
        return tuple(one.name for one in self._checks)

    def failing(self) -> tuple[str, ...]:
        """What is not there; empty when the service is ready.

        While somebody looks, which may take long, others are told what was found before.
        """
        if self._lock.acquire(blocking=self._until == float("-inf")):
            try:
                if self._ticks() >= self._until:
                    self._found = tuple(one.name for one in self._checks if not _holds(one))
                    self._until = self._ticks() + KEPT_S
            finally:
                self._lock.release()
        return self._found


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
