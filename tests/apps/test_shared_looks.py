"""Looks that are taken for all who ask at once: never one that began before a question."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gridsecure_api.shared_looks import SharedLooks


class Book:
    """Something to look at, which changes, and looks at it that end when they are told to."""

    def __init__(self) -> None:
        self.looks: SharedLooks[int] = SharedLooks()
        self.now = 0
        self.begun: list[asyncio.Event] = []
        self.moved: list[str] = []

    async def look(self) -> int:
        end, seen = asyncio.Event(), self.now
        self.begun.append(end)
        await end.wait()
        if seen < 0:
            raise ValueError(f"look {len(self.begun)}")
        return seen

    def move(self, where: str) -> Callable[[], Awaitable[None]]:
        async def moved() -> None:
            self.moved.append(where)

        return moved

    def ask(self, what: str = "book") -> asyncio.Task[int]:
        asked = self.looks.share(what, self.look, wait=self.move("waits"), begin=self.move("looks"))
        return asyncio.create_task(asked)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def run(told: Callable[[Book], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await told(Book())

    asyncio.run(bounded())


def test_who_comes_while_somebody_looks_shares_the_next_look() -> None:
    async def told(book: Book) -> None:
        first = book.ask()
        await settle()
        book.now = 1  # after the first look began
        others = [book.ask() for _ in range(5)]
        another = book.ask("another")
        await settle()
        assert len(book.begun) == 2, "of another thing there is a look at once"
        book.begun[0].set()
        assert await first == 0
        await settle()
        book.now = 2
        latest = book.ask()
        for end in book.begun[1:]:
            end.set()
        assert await asyncio.gather(*others, another) == [1] * 6
        await settle()
        book.begun[-1].set()
        assert await latest == 2
        assert len(book.begun) == 4
        assert (book.moved.count("waits"), book.moved.count("looks")) == (6, 4)
        assert not book.looks._waiting

    run(told)


def test_a_look_that_fails_fails_for_all_it_was_taken_for_and_no_others() -> None:
    async def told(book: Book) -> None:
        first = book.ask()
        await settle()
        book.now = -1
        others = [book.ask() for _ in range(3)]
        await settle()
        book.begun[0].set()
        await settle()
        book.now = 7
        later = book.ask()
        book.begun[1].set()
        failed = await asyncio.gather(*others, return_exceptions=True)
        assert [str(one) for one in failed] == ["look 2"] * 3
        await settle()
        book.begun[2].set()
        assert (await first, await later) == (0, 7)

    run(told)


@pytest.mark.parametrize("is_told", [True, False], ids=["as it is told to look", "as it looks"])
def test_who_goes_away_in_the_middle_leaves_the_look_to_another(is_told: bool) -> None:
    async def told(book: Book) -> None:
        first = book.ask()
        await settle()
        leader, *others = [book.ask() for _ in range(4)]
        await settle()
        book.begun[0].set()
        await first
        if not is_told:
            await settle()
            assert len(book.begun) == 2
        leader.cancel()
        others[0].cancel()
        await settle()
        book.begun[-1].set()
        ended = await asyncio.gather(leader, *others, return_exceptions=True)
        assert [isinstance(one, asyncio.CancelledError) for one in ended] == [1, 1, 0, 0]
        assert ended[2:] == [0, 0]
        assert not book.looks._waiting

    run(told)
