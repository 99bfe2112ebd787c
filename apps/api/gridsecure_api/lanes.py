"""How much a service has in work: reads and changes apart, and no more than gets done soon.

A change may wait for another change, as the database lets one write at a time. With one lane for
both, waiting changes would hold every thread, and readers would wait with them. So each has turns
of its own; so have strangers, who read a log without a token and must not keep out those who have
one; so have sign-ins with passwords, each of which takes a fair part of a second; and so has the
page that looks at databases. Of the places to wait in a lane, and of the bytes that bodies hold,
one caller has a share at most. Whoever waits for a turn holds no thread and no connection to the
database, and whoever would wait too long is told at once when to come again (503, `service.busy`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from gridsecure_api.errors import busy_error

READS_AT_ONCE: Final = 6
GATHERED_AT_ONCE: Final = 128
"""Changes that are done together: the turn at which that is takes one connection."""
LISTS_AT_ONCE: Final = 128
"""Questions for lists that wait for a look, which one of them takes for all."""
CHANGES_AT_ONCE: Final = 7
LOGS_AT_ONCE: Final = 1
"""Of a log's checkpoints and tiles, which strangers ask for without a token."""
SIGN_INS_AT_ONCE: Final = 2
"""Passwords being stretched; more would only slow each other down."""
FILES_AT_ONCE: Final = 1
"""Of members' files that are tried out: whatever one costs, it costs one processor."""
LOOKS_AT_ONCE: Final = 1
"""Of the page that says what the service lacks: it asks databases, which may not answer."""
PAGES_AT_ONCE: Final = 8
"""Fewer than the threads that answer, and without the pages, which ask no database, no more than
its connections unless a setting lowers those: whoever has a turn waits for neither."""

WAITING: Final = 256
"""How many may wait in a lane."""
LOGS_WAITING: Final = 32
"""How many may wait for a log's checkpoints and tiles, or for what the service lacks."""

SIGN_INS_WAITING: Final = 16
"""How many sign-ins may wait: about what is done in `PATIENCE_S`; and how many files."""

PATIENCE_S: Final = 10.0
"""How long one may wait for a turn [s]."""

OWN_BYTES: Final = 256 * 1024 * 1024
"""What bodies hold at once of requests with a token, at least [bytes]."""
STRANGERS_BYTES: Final = 32 * 1024 * 1024
"""What bodies hold at once of requests without one [bytes]."""
STRANGERS_SHARE: Final = 8
"""One of so many shares is what one address holds of it at most."""

LISTENERS: Final = 64
"""Streams of events at once."""

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods of requests that read."""


class Lane:
    """Requests of one sort.

    Args:
        at_once: How many are in work at once.
        waiting: How many may wait.

    Attributes:
        at_work: How many are in work.
    """

    def __init__(self, at_once: int, *, waiting: int) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._most = waiting
        self._most_of_one = waiting - waiting // 4
        self._waiting: Counter[str] = Counter()
        self.at_work = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._waiting.total()

    async def take(self, caller: str) -> Callable[[], None]:
        """Wait for a turn, and return how to give it back.

        Args:
            caller: Whose request it is: a token's subject, or a stranger's address.

        Raises:
            GridSecureError: Too many wait, or it took too long (`service.busy`).
        """
        is_full = self.waiting >= self._most
        if is_full or self._waiting[caller] >= self._most_of_one:
            raise busy_error()
        self._waiting[caller] += 1
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._turns.acquire()
        except TimeoutError:
            raise busy_error() from None
        finally:
            self._waiting[caller] -= 1
            if not self._waiting[caller]:
                del self._waiting[caller]  # callers come and go
        self.at_work += 1
        return self._give_back

    def _give_back(self) -> None:
        self.at_work -= 1
        self._turns.release()


class Lanes:
    """The lanes of one service.

    Attributes:
        reads: Of those that look at a database.
        lists: Of those that wait for another's look.
        changes: Of those that are done one by one.
        gathered: Of those that are done together.
        sign_ins: Of sign-ins with passwords.
        files: Of files that are tried out.
        own_bytes: What bodies hold of requests with a token.
        strangers_bytes: Of those without.
    """

    def __init__(self, *, body_bytes: int) -> None:
        self._pages = Lane(PAGES_AT_ONCE, waiting=WAITING)
        self._looks = Lane(LOOKS_AT_ONCE, waiting=LOGS_WAITING)
        self._logs = Lane(LOGS_AT_ONCE, waiting=LOGS_WAITING)
        self.reads = Lane(READS_AT_ONCE, waiting=WAITING)
        self.lists = Lane(LISTS_AT_ONCE, waiting=WAITING)
        self.changes = Lane(CHANGES_AT_ONCE, waiting=WAITING)
        self.gathered = Lane(GATHERED_AT_ONCE, waiting=WAITING)
        self.sign_ins = Lane(SIGN_INS_AT_ONCE, waiting=SIGN_INS_WAITING)
        self.files = Lane(FILES_AT_ONCE, waiting=SIGN_INS_WAITING)
        own = max(OWN_BYTES, 2 * body_bytes)
        self.own_bytes = Held(own, of_one=own - own // 4)
        self.strangers_bytes = Held(STRANGERS_BYTES, of_one=STRANGERS_BYTES // STRANGERS_SHARE)

    @property
    def named(self) -> dict[str, Lane]:
        """The lanes, as metrics name them."""
        return {
            "pages": self._pages,
            "looks": self._looks,
            "logs": self._logs,
            "reads": self.reads,
            "lists": self.lists,
            "changes": self.changes,
            "gathered": self.gathered,
            "sign-ins": self.sign_ins,
            "files": self.files,
        }

    def enter(
        self, method: str, *, caller: str, is_page: bool, is_look: bool, is_log: bool
    ) -> Turn:
        """A request's turn, still to be taken.

        Args:
            caller: Where it comes from, until a token says of whom it is.
            is_page: Of the pages that say whether and what the service is.
            is_look: Of the page that says what the service lacks.
            is_log: Of a log that everybody may read.
        """
        if is_look:
            return Turn(self._looks, caller)
        if is_page:
            return Turn(self._pages, caller)
        if is_log:
            return Turn(self._logs, caller)
        return Turn(self.reads if method in READING else self.changes, caller)


class Turn:
    """One request's turn, which is taken once and left once.

    Attributes:
        caller: Whose request it is.
    """

    def __init__(self, lane: Lane, caller: str) -> None:
        self._lane = lane
        self.caller = caller
        self._leave: Callable[[], None] | None = None
        self._is_over = False

    async def take(self) -> None:
        """Wait for it, unless it is or was there already; raises as `Lane.take`."""
        if self._leave is None and not self._is_over:
            self._leave = await self._lane.take(self.caller)

    async def move(self, lane: Lane) -> None:
        """Take it in another lane, now if it was there already; raises as `Lane.take`."""
        self._lane = lane
        if self._leave is not None:
            self._leave()
            self._leave = None
            await self.take()

    def leave(self) -> None:
        """Let another request have its turn."""
        self._is_over = True
        if self._leave is not None:
            self._leave()
            self._leave = None


class Held:
    """Bytes of bodies that were received and not yet answered.

    Args:
        most: Of all requests together [bytes].
        of_one: Of one caller's [bytes].
    """

    def __init__(self, most: int, *, of_one: int) -> None:
        self._most = self._left = most
        self._of_one = of_one
        self._by_caller: Counter[str] = Counter()

    @property
    def held(self) -> int:
        """How much is held [bytes]."""
        return self._most - self._left

    def add(self, size: int, caller: str) -> None:
        """Hold so many more.

        Args:
            caller: Whose; empty where one that speaks for many has no share of its own.

        Raises:
            GridSecureError: There is no room for them (`service.busy`).
        """
        is_full = bool(caller) and self._by_caller[caller] + size > self._of_one
        if size > self._left or is_full:
            raise busy_error()
        self._left -= size
        self._by_caller[caller] += size

    def release(self, size: int, caller: str) -> None:
        """Hold so many less."""
        self._left += size
        self._by_caller[caller] -= size
        if not self._by_caller[caller]:
            del self._by_caller[caller]  # callers come and go


class Listeners:
    """Streams of events, which have no turn: how many there are."""

    def __init__(self) -> None:
        self._count = 0

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Count one for as long as the block lasts.

        Raises:
            GridSecureError: There are too many (`service.busy`).
        """
        if self._count >= LISTENERS:
            raise busy_error()
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1
