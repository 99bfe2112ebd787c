"""What is kept in this process alone, for a quarter of an hour: shares, openings, running searches.

Nothing here reaches a disk. It is gone after a restart, and after `LIMIT` nobody can read it again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from threading import Lock
from typing import Final, Generic, TypeVar

LIMIT: Final = timedelta(minutes=15)

ValueT = TypeVar("ValueT")


class ShortMemory(Generic[ValueT]):
    """Values by name, each until `LIMIT` after it was kept."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[datetime, ValueT]] = {}
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"  # values may be secret

    def keep(self, name: str, value: ValueT, *, now: datetime) -> None:
        """Keep a value, in place of an earlier one.

        Args:
            now: The present, aware.
        """
        with self._lock:
            self._forget_old(now)
            self._kept[name] = (now + LIMIT, value)

    def find(self, name: str, *, now: datetime) -> ValueT | None:
        """The value of a name, None when there is none any more.

        Args:
            now: The present, aware.
        """
        with self._lock:
            self._forget_old(now)
            found = self._kept.get(name)
        return None if found is None else found[1]

    def values(self, *, now: datetime) -> list[ValueT]:
        """All values that are there.

        Args:
            now: The present, aware.
        """
        with self._lock:
            self._forget_old(now)
            return [value for _, value in self._kept.values()]

    def forget(self, name: str) -> None:
        """Forget a value now, if it is there."""
        with self._lock:
            self._kept.pop(name, None)

    def _forget_old(self, now: datetime) -> None:
        for name in [name for name, (end, _) in self._kept.items() if end <= now]:
            del self._kept[name]
