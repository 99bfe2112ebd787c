"""Looks at a database that are the same for all who ask at once, taken once for all of them.

Whoever asks for what nobody looks at looks at once. Whoever comes meanwhile waits for the next
look, as the one under way may have seen what was before; one of those who wait takes it for all.
So nobody is told what is older than the own question, nobody waits for a clock, and whoever waits
holds no thread, no connection and no turn of those who read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

SeenT = TypeVar("SeenT")

Move = Callable[[], Awaitable[None]]
"""Takes a request's turn elsewhere."""


@dataclass(frozen=True, slots=True, eq=False)
class _Lead:
    """What somebody who waits is told who is to look: for whom else."""

    others: list[asyncio.Future[Any]]


class SharedLooks(Generic[SeenT]):
    """The looks of one service."""

    def __init__(self) -> None:
        # Of each that is being looked at, those who wait for the next look. By event loop, too:
        # one thread alone may touch what waits in its own.
        self._waiting: dict[Hashable, list[asyncio.Future[Any]]] = {}

    async def share(
        self, what: Hashable, look: Callable[[], Awaitable[SeenT]], *, wait: Move, begin: Move
    ) -> SeenT:
        """What a look shows that begins after this question.

        Args:
            what: Names all that is seen; who asks for another is never answered with this.
            look: Takes the look.
            wait: Told before this question waits for another's look.
            begin: Told when it then looks itself.

        Raises:
            Exception: What the look ended with, for all it was taken for.
        """
        place = (asyncio.get_running_loop(), what)
        others: list[asyncio.Future[Any]] = []
        if place in self._waiting:
            await wait()
        if place not in self._waiting:  # nobody looks, or none any more
            self._waiting[place] = []
            return await self._look(place, look, others, begin=begin)
        told = asyncio.get_running_loop().create_future()
        self._waiting[place].append(told)
        try:
            seen = await told
        except asyncio.CancelledError:
            if told.done() and not told.cancelled() and isinstance(told.result(), _Lead):
                self._pass_on(place, told.result().others)
            raise
        if not isinstance(seen, _Lead):
            return cast("SeenT", seen)
        return await self._look(place, look, seen.others, begin=begin)

    async def _look(
        self,
        place: Hashable,
        look: Callable[[], Awaitable[SeenT]],
        others: list[asyncio.Future[Any]],
        *,
        begin: Move,
    ) -> SeenT:
        try:
            await begin()
            seen = await look()
        except Exception as failed:
            for one in others:
                if not one.done():
                    one.set_exception(failed)
            others = []
            raise
        else:
            for one in others:
                if not one.done():
                    one.set_result(seen)
            others = []
            return seen
        finally:
            self._pass_on(place, others)  # with those whom a request that was ended looked for

    def _pass_on(self, place: Hashable, others: list[asyncio.Future[Any]]) -> None:
        """Have one of those who wait take the next look, if there is one."""
        waiting = [one for one in (*others, *self._waiting[place]) if not one.done()]
        if not waiting:
            del self._waiting[place]
            return
        self._waiting[place] = []
        lead, *rest = waiting
        lead.set_result(_Lead(rest))
