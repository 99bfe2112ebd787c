"""Costs are found wherever a test's code leads, and nothing else is taken for one."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.costs import (
    CASES,
    DEAR_PER_MODULE,
    FEW_PER_MODULE,
    LONG_SECONDS,
    LONGEST_SECONDS,
    MEASURED,
    QUICK,
    QUICK_SECONDS,
    REST,
    RINGS,
    SAMPLED,
    Sampled,
    begin_with_long,
    costs_of,
    mark_costs,
)
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
    CliRunner().invoke(None, ["bill", "--help"])


def with_harmless_command() -> None:
    CliRunner().invoke(None, ["tariff", "bill-of-fare"])


class Item(pytest.Function):
    """A test without a session."""

    nodeid = ""
    function = None

    def add_marker(self, marker: Any, append: bool = True) -> None:
        self.marks.add(marker)

    def get_closest_marker(self, name: str, default: Any = None) -> Any:
        return name if name in self.marks else default


def item(function: Any, nodeid: str = "tests/room/test_it.py::test", **fixtures: Any) -> Any:
    made = Item.__new__(Item)
    made.function, made.nodeid, made.marks = function, nodeid, set()
    found = {name: [SimpleNamespace(func=one)] for name, one in fixtures.items()}
    made._fixtureinfo = SimpleNamespace(name2fixturedefs=found)
    made.fixturenames = list(fixtures)
    made.originalname = nodeid.rpartition("::")[2].partition("[")[0]
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


def test_what_takes_long_is_not_quick_whatever_it_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"tests/room/test_it.py::test_{n}" for n in "abc"]
    taken = dict(zip(names, (QUICK_SECONDS, LONGEST_SECONDS - 0.1, 0.0), strict=True))
    monkeypatch.setattr("tests.costs._measured", lambda: taken)
    tests = [item(with_harmless_command, f"{name}[case]") for name in names]
    mark_costs(tests)
    assert [QUICK in one.marks for one in tests] == [True, False, True]
    mark_costs(alone := [item(with_harmless_command, names[1])])
    assert QUICK in alone[0].marks


def test_what_takes_too_long_is_for_the_gate_but_every_module_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = {"tests/a/test_it.py::test_b": 9.0, "tests/a/test_it.py::test_c": 4.0}
    monkeypatch.setattr("tests.costs._measured", lambda: taken)
    tests = [item(plain, f"tests/a/test_it.py::test_{n}") for n in "abc"]
    mark_costs(tests)
    assert [REST in one.marks for one in tests] == [False, True, True]
    mark_costs(alone := [item(plain, name) for name in taken])
    assert [REST in one.marks for one in alone] == [True, False]


def test_modules_that_take_long_begin_and_all_stay_in_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [f"tests/room/test_{c}.py::test_{n}" for c in "abcd" for n in "12"]
    half = LONG_SECONDS / 2
    taken = dict(zip(names, (0, 0, half, half, 0, LONG_SECONDS - 0.1, 0, 99.0), strict=True))
    monkeypatch.setattr("tests.costs._measured", lambda: taken)
    tests = [item(plain, name) for name in names]
    begin_with_long(tests)
    order = [one.nodeid.removeprefix("tests/room/test_").replace(".py::test_", "") for one in tests]
    assert order == ["d1", "d2", "b1", "b2", "a1", "a2", "c1", "c2"]


def is_there(name: str) -> bool:
    path, _, function = name.partition("::")
    file = MEASURED.parents[1] / path
    return file.is_file() and f"def {function.rpartition('::')[2]}(" in file.read_text("utf-8")


def test_measured_tests_are_there_but_for_a_few_that_were_renamed_since() -> None:
    table = json.loads(MEASURED.read_text("utf-8"))
    assert all(seconds > QUICK_SECONDS for seconds in table.values())
    gone = [name for name in table if not is_there(name)]
    assert len(gone) <= len(table) // 10, "run make costs"


def test_every_room_is_touched_and_key_sets_are_sampled() -> None:
    dear = [item(with_process, f"tests/vaults/test_it.py::test_{n}") for n in range(3)]
    rings = [item(with_keys, f"tests/rings/test_it.py::test_{n}") for n in range(5)]
    mixed = [
        item(with_harmless_command, "tests/mixed/test_a.py::test_a"),
        item(with_kill, "tests/mixed/test_b.py::test_b"),
    ]
    mark_costs([*reversed(dear + rings), *mixed])
    assert [QUICK in one.marks for one in dear] == [True, False, False]
    assert sum(QUICK in one.marks for one in rings) == FEW_PER_MODULE
    assert QUICK in rings[0].marks
    assert [QUICK in one.marks for one in mixed] == [True, False]


def test_of_a_costly_test_with_many_cases_the_ends_run_before_the_gate() -> None:
    dear = [item(with_kill, f"tests/a/test_it.py::test_kill[{n}]") for n in range(7)]
    few = [item(with_kill, f"tests/b/test_it.py::test_kill[{n}]") for n in range(CASES)]
    free = [item(with_harmless_command, f"tests/c/test_it.py::test[{n}]") for n in range(7)]
    mark_costs([*dear, *few, *free])
    assert [REST in one.marks for one in dear] == [False, *[True] * 5, False]
    assert not any(REST in one.marks for one in few + free)


def test_whole_runs_are_for_the_gate_alone() -> None:
    def started_run() -> None:
        pass

    (run,) = runs = [item(plain, started_run=started_run)]
    mark_costs(runs)
    assert REST in run.marks


def test_of_a_modules_many_costly_tests_some_run_before_the_gate() -> None:
    dear = [item(with_kill, f"tests/a/test_it.py::test_{n:02d}") for n in range(16)]
    rings = [item(with_keys, f"tests/a/test_it.py::test_rings_{n:02d}") for n in range(16)]
    mark_costs([*dear, *rings])
    kept = [REST not in one.marks for one in dear]
    assert (sum(kept), kept[0], kept[-1]) == (DEAR_PER_MODULE, True, True)
    assert not any(REST in one.marks for one in rings)


def test_what_goes_through_a_sample_is_run_whole_in_the_gate() -> None:
    through, past = item(plain, sampled=plain), item(plain)
    mark_costs([through, past])
    assert [SAMPLED in one.marks for one in (through, past)] == [True, False]


def test_a_sample_counts_through_all_calls() -> None:
    sampled = Sampled(3)
    assert [*sampled("abcd"), *sampled("efgh")] == ["a", "d", "g"]
    assert list(Sampled(1)("abc")) == ["a", "b", "c"]
