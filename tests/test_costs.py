"""Costs are found wherever a test's code leads, and nothing else is taken for one."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.costs import QUICK, RINGS, RINGS_PER_MODULE, costs_of, mark_costs
from tests.grid_simulator import grid_keys


class Helper:
    """Starts a process two steps from the test."""

    def __init__(self) -> None:
        self.start = _started


def _started() -> None:
    subprocess.run(["true"], check=True)


def plain() -> None:
    assert Helper is not None


def with_keys() -> None:
    assert grid_keys()


def with_process() -> None:
    def inner() -> object:
        return Helper()

    inner()


def with_kill() -> None:
    assert signal.SIGKILL


def with_command() -> None:
    CliRunner().invoke(None, ["bill", "--help"])  # type: ignore[arg-type]


def with_harmless_command() -> None:
    CliRunner().invoke(None, ["tariff", "bill-of-fare"])  # type: ignore[arg-type]


class Item(pytest.Function):
    """A test without a session."""

    nodeid = ""
    function = None  # type: ignore[assignment]

    def add_marker(self, marker: Any, append: bool = True) -> None:
        self.marks.add(marker)

    def get_closest_marker(self, name: str, default: Any = None) -> Any:
        return default


def item(function: Any, nodeid: str = "tests/room/test_it.py::test", **fixtures: Any) -> Any:
    made = Item.__new__(Item)
    made.function, made.nodeid, made.marks = function, nodeid, set()
    found = {name: [SimpleNamespace(func=one)] for name, one in fixtures.items()}
    made._fixtureinfo = SimpleNamespace(name2fixturedefs=found)  # type: ignore[assignment]
    return made


@pytest.mark.parametrize(
    ("function", "kinds"),
    [
        (with_keys, {RINGS}),
        (with_process, {"processes"}),
        (with_kill, {"kills"}),
        (with_command, {"months"}),
        (with_harmless_command, set()),
    ],
)
def test_costs_are_those_of_the_code(function: Callable[[], None], kinds: set[str]) -> None:
    assert costs_of(item(function)) == kinds


def test_costs_are_those_of_the_fixtures_too() -> None:
    assert costs_of(item(with_harmless_command, grid=with_keys, postgres_url=with_kill)) == {
        *(RINGS, "kills", "postgres")
    }


def test_a_fixture_of_two_kinds_costs_by_its_kind(
    request: pytest.FixtureRequest, database_url: str
) -> None:
    is_server = database_url.startswith("postgresql")
    assert ("postgres" in costs_of(request.node)) is is_server


def test_this_very_test_is_marked(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker(QUICK)
    assert costs_of(request.node) == frozenset()


def test_every_room_is_touched_and_key_sets_are_sampled() -> None:
    dear = [item(with_process, f"tests/vaults/test_it.py::test_{n}") for n in range(3)]
    rings = [item(with_keys, f"tests/rings/test_it.py::test_{n}") for n in range(5)]
    mixed = [
        item(with_harmless_command, "tests/mixed/test_a.py::test_a"),
        item(with_kill, "tests/mixed/test_b.py::test_b"),
    ]
    mark_costs([*reversed(dear + rings), *mixed])
    assert [QUICK in one.marks for one in dear] == [True, False, False]
    assert sum(QUICK in one.marks for one in rings) == RINGS_PER_MODULE
    assert QUICK in rings[0].marks
    assert [QUICK in one.marks for one in mixed] == [True, False]
