"""Work that many threads want done, and that costs little more for many than for one.

A commit waits for the disk. While one thread has it done, others come; the next turn does it for
all of them at once. Nobody waits for a clock: whoever comes to an idle turn takes it alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from gridsecure.errors import StorageError

ItemT = TypeVar("ItemT")
OutcomeT = TypeVar("OutcomeT")

_Work = Callable[[Sequence[ItemT]], Sequence[OutcomeT | Exception]]
"""Does it for items; what becomes of each, in their order."""


class _Wanted(Generic[ItemT, OutcomeT]):
    """One thread's item, and what became of it."""

    def __init__(self, item: ItemT) -> None:
        self.item = item
        self.outcome: list[OutcomeT | Exception] = []


class SharedTurns(Generic[ItemT, OutcomeT]):
    """Turns at a piece of work, each for everything that waits when it begins."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._waiting: list[_Wanted[ItemT, OutcomeT]] = []

    def do(self, item: ItemT, *, work: _Work[ItemT, OutcomeT]) -> OutcomeT:
        """Have it done for an item, and return what became of it.

        Args:
            work: Does it for several items, the same for all of them.

        Raises:
            Exception: What became of it, or of the whole turn.
        """
        own = _Wanted[ItemT, OutcomeT](item)
        with self._lock:
            self._waiting.append(own)
        with self._turn:
            if not own.outcome:
                with self._lock:
                    group, self._waiting = self._waiting, []
                self._do_all(group, work)
        (outcome,) = own.outcome
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _do_all(
        self, group: Sequence[_Wanted[ItemT, OutcomeT]], work: _Work[ItemT, OutcomeT]
    ) -> None:
        outcomes: Sequence[OutcomeT | Exception] = ()
        try:
            outcomes = work([one.item for one in group])
        except StorageError as failed:
            outcomes = [failed] * len(group)
        finally:
            # Whatever else ends this thread is its own; the others did nothing and may try again.
            for one, outcome in zip(group, outcomes or [_broken_off()] * len(group), strict=True):
                one.outcome.append(outcome)


def _broken_off() -> StorageError:
    return StorageError(
        "The commit that this change shared with others broke off; nothing of it was kept.",
        reason="storage.busy",
        remedy="Try again.",
    )
