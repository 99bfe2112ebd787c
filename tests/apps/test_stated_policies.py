"""What a service says of its policy at `/about`, while its database does not answer."""

from __future__ import annotations

from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

from gridsecure_api.policies import state_policy
from tests.apps.zone_apps import TestClock
from tests.held_policy import POLICY


def test_a_policy_that_was_read_is_told_for_a_minute_while_none_can_be() -> None:
    going, asked, answers = Event(), Event(), Event()
    answers.set()

    def stand(**_when: object) -> Any:
        asked.set()
        assert answers.wait(30)
        return SimpleNamespace(in_force=SimpleNamespace(policy=POLICY))

    shelf: Any = SimpleNamespace(stand=stand)
    clock = TestClock()
    state = state_policy(shelf, clock)
    answers.clear()
    asked.clear()

    def ask() -> None:
        state()
        going.set()

    Thread(target=ask, daemon=True).start()
    assert asked.wait(30), "one reads"
    for seconds in (59, 1):
        clock.advance(seconds=seconds)
        said = state()
        assert said is not None
        assert said.digest == POLICY.digest
    clock.advance(seconds=1)
    assert state() is None
    answers.set()
    assert going.wait(30)
    assert state() is not None
