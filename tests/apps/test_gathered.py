"""Work done for all requests that wait: each gets its own outcome, and a fault of a turn is its."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gridsecure_api.gathered import Gathered


class Held:
    """Work that waits until it is let go, and remembers what each turn was for."""

    def __init__(self) -> None:
        self.turns: list[list[int]] = []
        self.begun, self.let = threading.Event(), threading.Event()

    def __call__(self, items):
        self.turns.append(list(items))
        self.begun.set()
        assert self.let.wait(30)
        if 13 in items:
            raise ValueError("thirteen")
        return [10 * item for item in items]


async def send(gathered, held, first, *others):
    """The first begins a turn; the others come while it lasts."""
    tasks = [asyncio.create_task(gathered.do(first))]
    await asyncio.to_thread(held.begun.wait, 30)
    tasks += [asyncio.create_task(gathered.do(one)) for one in others]
    await asyncio.sleep(0.05)
    return tasks


def test_what_comes_while_a_turn_lasts_is_done_in_the_next_one():
    held = Held()
    gathered = Gathered(held, turns=1, most=10)

    async def ask():
        tasks = await send(gathered, held, 1, 2, 3, 4)
        held.let.set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(ask()) == [10, 20, 30, 40]
    assert held.turns == [[1], [2, 3, 4]]


def test_a_fault_ends_its_turn_and_not_the_next_one():
    held = Held()
    gathered = Gathered(held, turns=1, most=10)

    async def ask():
        tasks = await send(gathered, held, 1, 13, 3)
        held.let.set()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        return ended, await gathered.do(4)

    ended, later = asyncio.run(ask())
    assert (ended[0], later) == (10, 40)
    assert [str(one) for one in ended[1:]] == ["thirteen"] * 2


def test_who_goes_away_takes_nobody_with_them():
    held = Held()
    gathered = Gathered(held, turns=1, most=10)

    async def ask():
        tasks = await send(gathered, held, 1, 2, 3)
        tasks[0].cancel()
        tasks[1].cancel()
        await asyncio.sleep(0)
        held.let.set()
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        return await tasks[2], await gathered.do(4)

    assert asyncio.run(ask()) == (30, 40)
    assert [item for turn in held.turns for item in turn] == [1, 2, 3, 4]


def test_a_second_turn_begins_while_the_first_one_waits():
    held = Held()
    gathered = Gathered(held, turns=2, most=10)

    async def ask():
        tasks = await send(gathered, held, 1, 2, 3, 4)
        begun = [list(turn) for turn in held.turns]
        held.let.set()
        return begun, await asyncio.gather(*tasks)

    begun, outcomes = asyncio.run(ask())
    assert (len(begun), outcomes) == (2, [10, 20, 30, 40])
    assert sorted(item for turn in held.turns for item in turn) == [1, 2, 3, 4]
