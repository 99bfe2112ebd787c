"""Turns that are shared: everybody's work is done once, and everybody learns what became of it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from gridsecure.errors import ConflictError, StorageError
from gridsecure.store.shared_turns import SharedTurns


class Slow:
    """Work that begins when it is let, and notes what it was given."""

    def __init__(self) -> None:
        self.begun, self.let = threading.Event(), threading.Event()
        self.groups: list[list[int]] = []

    def __call__(self, items):
        self.groups.append(list(items))
        self.begun.set()
        assert self.let.wait(30)
        return [ConflictError("odd") if item % 2 else item * 10 for item in items]


def test_who_comes_while_a_turn_is_taken_shares_the_next_one():
    turns, slow = SharedTurns(), Slow()
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(turns.do, 0, work=slow)
        assert slow.begun.wait(30)
        others = [pool.submit(turns.do, item, work=slow) for item in range(1, 9)]
        while len(turns._waiting) < 8:
            pass
        slow.let.set()
        assert first.result() == 0
        for item, one in enumerate(others, start=1):
            if item % 2:
                with pytest.raises(ConflictError):
                    one.result()
            else:
                assert one.result() == item * 10
    assert [sorted(group) for group in slow.groups] == [[0], list(range(1, 9))]


def test_a_turn_that_fails_fails_for_all_that_share_it_and_the_next_one_goes_on():
    turns, held = SharedTurns(), threading.Event()

    def failing(items):
        held.wait(30)
        raise StorageError("full", reason="storage.failed")

    with ThreadPoolExecutor(3) as pool:
        failed = [pool.submit(turns.do, item, work=failing) for item in range(3)]
        held.set()
        for one in failed:
            with pytest.raises(StorageError):
                one.result()
    assert turns.do(5, work=lambda items: [item + 1 for item in items]) == 6


def test_who_is_ended_in_a_turn_leaves_nobody_waiting():
    turns, begun, let = SharedTurns(), threading.Event(), threading.Event()

    class Ended(BaseException):
        """As if the thread had gone."""

    def first(items):
        begun.set()
        let.wait(30)
        return items

    def ended(items):
        assert len(items) == 2
        raise Ended

    with ThreadPoolExecutor(3) as pool:
        one = pool.submit(turns.do, 1, work=first)
        assert begun.wait(30)
        both = [pool.submit(turns.do, item, work=ended) for item in (2, 3)]
        while len(turns._waiting) < 2:
            pass
        let.set()
        assert one.result() == 1
        told = [future.exception() for future in both]
    assert sorted(type(error).__name__ for error in told) == ["Ended", "StorageError"]
    (busy,) = [error for error in told if isinstance(error, StorageError)]
    assert busy.reason == "storage.busy"
