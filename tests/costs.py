"""What a test costs, read from the fixtures it uses and from what it and they call.

Nobody marks a test by hand. `costs_of` follows the code of a test and of its fixtures into every
function and class of `tests` that they use; a test has each kind of cost one of whose names it
meets. `mark_costs` makes marks of that, and marks as `quick` what `make quick` runs: every test
without costs, the first few of each module that only need key sets, and one of each room.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from types import CodeType, FunctionType
from typing import Any, Final

import pytest

QUICK: Final = "quick"
RINGS: Final = "rings"
RINGS_PER_MODULE: Final = 2
"""How many tests of a module that need key sets and nothing dearer are quick."""

COSTS: Final[Mapping[str, frozenset[str]]] = {
    RINGS: frozenset({"generate_key_set", "grid_keys", "neighbours_keys", "make_keys"}),
    "months": frozenset({"bill_file", "bill_case", "process_month", "run_bench"}),
    "processes": frozenset(
        {
            *("subprocess", "Popen", "Process", "ProcessPoolExecutor", "get_context"),
            *("worker_pool", "VaultClient", "create_authority_app", "authority_app"),
        }
    ),
    "kills": frozenset({"SIGKILL", "kill"}),
    "postgres": frozenset({"postgres_server", "postgres_url"}),
    "browser": frozenset({"AppTest", "streamlit"}),
    "matrices": frozenset({"mutations", "leaks", "simulated", "compare"}),
}
"""Kind of cost -> the names that stand for it, of fixtures, functions, classes and modules."""

COMMANDS: Final = {"bill": "months", "rebill": "months", "run": "processes"}
"""Kind of cost by the first word given to the command."""

Marked = tuple[pytest.Function, frozenset[str]]


def mark_costs(items: Sequence[pytest.Item]) -> None:
    """Mark tests with the kinds of their costs, and those that `make quick` runs."""
    rooms: dict[str, list[Marked]] = defaultdict(list)
    for item in items:
        if isinstance(item, pytest.Function) and not item.get_closest_marker("slow"):
            costs = costs_of(item)
            rooms[_room(item)].append((item, costs))
            for kind in costs:
                item.add_marker(kind)
    for found in rooms.values():
        for item in _quick(sorted(found, key=_place)):
            item.add_marker(QUICK)


def costs_of(item: pytest.Function) -> frozenset[str]:
    """The kinds of cost of a test."""
    fixtures = {name: found[-1].func for name, found in item._fixtureinfo.name2fixturedefs.items()}
    if fixtures.pop("database_url", None) and "postgresql" in item.callspec.params.values():
        fixtures["postgres_url"] = None
    names, texts = set(fixtures), set()
    for function in (item.function, *fixtures.values()):
        for code in _codes_of(function):
            names.update(code.co_names)
            texts.update(_texts(code.co_consts))
    kinds = {kind for kind, signs in COSTS.items() if signs & (names | texts)}
    if "CliRunner" in names:
        kinds |= {kind for word, kind in COMMANDS.items() if word in texts}
    return frozenset(kinds)


def _quick(found: Sequence[Marked]) -> Iterator[pytest.Function]:
    """What is quick of a room, whose tests are given in their order."""
    rings: dict[str, int] = defaultdict(int)
    is_touched = False
    for item, costs in found:
        module = item.nodeid.partition("::")[0]
        if costs == {RINGS}:
            rings[module] += 1
        if not costs or (costs == {RINGS} and rings[module] <= RINGS_PER_MODULE):
            is_touched = True
            yield item
    if not is_touched:
        yield min(found, key=lambda one: len(one[1]))[0]


def _room(item: pytest.Item) -> str:
    """The folder of a test below `tests`, or its file."""
    return item.nodeid.partition("::")[0].split("/")[1]


def _place(marked: Marked) -> tuple[str, int, str]:
    """Order by file and line, however the run was shuffled."""
    item = marked[0]
    return item.nodeid.partition("::")[0], item.function.__code__.co_firstlineno, item.nodeid


@cache
def _codes_of(root: Any) -> tuple[CodeType, ...]:
    """The code of a function or class, and of all that it uses of `tests`."""
    found: list[CodeType] = []
    waiting, seen = [root], set()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        for function in _functions(part):
            for code in _nested(function.__code__):
                found.append(code)
                waiting += _ours(code.co_names, function.__globals__)
    return tuple(found)


def _functions(part: Any) -> Iterator[FunctionType]:
    """A function without its wrappers, or those of a class, its properties and class methods."""
    if isinstance(part, type):
        for value in vars(part).values():
            inner = getattr(value, "func", getattr(value, "fget", value))
            if not isinstance(inner, type):
                yield from _functions(getattr(inner, "__func__", inner))
    else:
        inner = getattr(part, "__wrapped__", part)
        if isinstance(inner, FunctionType):
            yield inner


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from _nested(part)


def _texts(constants: Iterable[Any]) -> Iterator[str]:
    for value in constants:
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple):
            yield from _texts(value)


def _ours(names: Iterable[str], known: Mapping[str, Any]) -> Iterator[Any]:
    """What is of `tests` among the global names of a function, but for this module."""
    for name in names:
        value = known.get(name)
        inner = getattr(value, "__wrapped__", value)
        module = str(getattr(inner, "__module__", ""))
        if module.startswith("tests.") and module != __name__:
            yield inner
