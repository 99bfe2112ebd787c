"""Work that costs little more for many requests than for one, done for all that wait for it.

A few threads do it, each a turn for many of those that wait when it begins. While they are busy,
requests that come wait, and hold no thread. Nobody waits for a clock: whoever comes to an idle
thread is served at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")
OutcomeT = TypeVar("OutcomeT")


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted(Generic[ItemT, OutcomeT]):
    """One request's item, and where its outcome is waited for."""

    item: ItemT
    outcome: asyncio.Future[OutcomeT]

    def settle(self, outcome: OutcomeT | None, failed: BaseException | None) -> None:
        """Tell what became of it, unless nobody waits any more."""
        if self.outcome.done():
            return
        if failed is not None:
            self.outcome.set_exception(failed)
        else:
            self.outcome.set_result(outcome)  # type: ignore[arg-type]


class Gathered(Generic[ItemT, OutcomeT]):
    """One sort of work.

    Args:
        work: Does it for several items; what becomes of each, in their order.
        turns: That are done at once.
        most: Items of one turn, so that those behind do not wait for a long one.
    """

    def __init__(
        self, work: Callable[[Sequence[ItemT]], Sequence[OutcomeT]], *, turns: int, most: int
    ) -> None:
        self._work = work
        self._most = most
        self._lock = threading.Lock()
        self._waiting: list[_Wanted[ItemT, OutcomeT]] = []
        self._threads = ThreadPoolExecutor(turns, thread_name_prefix="gathered")

    async def do(self, item: ItemT) -> OutcomeT:
        """Have it done for an item, and return what became of it.

        Raises:
            Exception: What the whole turn ended with.
        """
        outcome: asyncio.Future[OutcomeT] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._waiting.append(_Wanted(item, outcome))
            is_first = len(self._waiting) == 1
        if is_first:  # a turn is due already for whoever comes behind it
            self._threads.submit(self._turn)
        return await outcome

    def _turn(self) -> None:
        with self._lock:
            group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            if self._waiting:
                self._threads.submit(self._turn)
        outcomes: Sequence[OutcomeT | None] = [None] * len(group)
        failed: BaseException | None = None
        try:
            # Whoever went away meanwhile is served, too: what it sent may have a receipt by now.
            outcomes = self._work([one.item for one in group])
        except BaseException as error:  # noqa: BLE001 - it ends the requests, and not the thread
            failed = error
        for one, outcome in zip(group, outcomes, strict=True):
            with suppress(RuntimeError):  # its event loop ended, and with it whoever waited
                one.outcome.get_loop().call_soon_threadsafe(one.settle, outcome, failed)
