"""What a test costs: as it was measured, and as its fixtures and what it calls say.

Nobody marks a test by hand. `costs_of` follows the code of a test and of its fixtures into every
function and class of `tests` that they use; a test has each kind of cost one of whose names it
meets. `costs.json` says what tests took when `make costs` was last run; a test that is not there
is free, so that a new one is chosen by its kinds of cost until it is measured. `mark_costs` makes
marks of both, and two of them choose what runs:

* `make quick` runs what is `quick`: every test without costs that takes less than `QUICK_SECONDS`,
  the first of each module that only needs key sets or proofs, and one of each room.
* `make test` leaves out what is `rest`: of a test that costs something and has many cases, and of a
  module with many tests that need more than key sets and proofs, all but some from first to last;
  and what takes more than `TEST_SECONDS`, but for one test of a module that would have none left
  and takes less than `LONGEST_SECONDS`.

`make test-rest` runs that. The gate runs both in one go, and all examples and cases of what is
`sampled`, which are properties and matrices. Workers take whole modules (`--dist loadfile`), so
that what a module's tests share is made once; `begin_with_long` has runs end with short modules.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import compress, count
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Final, TypeVar

import pytest

MEASURED: Final = Path(__file__).with_name("costs.json")
"""Test -> seconds of processor time that one of its cases takes."""
QUICK_SECONDS: Final = 0.1
"""A tenth of the tests without costs takes longer, and took most of the time of `make quick`."""
TEST_SECONDS: Final = 0.4
LONGEST_SECONDS: Final = 5.0
LONG_SECONDS: Final = 10.0
QUICK: Final = "quick"
REST: Final = "rest"
SAMPLED: Final = "sampled"
RUNS: Final = "runs"
"""The product as a program of its own, interrupted, or in a browser: for the gate alone."""
RINGS: Final = "rings"
PROOFS: Final = "proofs"
FEW_PER_MODULE: Final = 1
"""So many tests of a module that need key sets or proofs, and nothing dearer, are quick."""
CASES: Final = 2
"""Of a test with costs, so many cases are run by `make test`."""
DEAR_PER_MODULE: Final = 3
"""Of a module's tests with other costs than key sets and proofs, so many are run by `make test`."""

COSTS: Final[Mapping[str, frozenset[str]]] = {
    RINGS: frozenset({"generate_key_set", "grid_keys", "neighbours_keys", "make_keys"}),
    PROOFS: frozenset({"new_world", "world_of", "shared_authority", "identity_app"}),
    "months": frozenset({"bill_file", "bill_case", "process_month", "run_bench"}),
    "processes": frozenset(
        {
            *("subprocess", "Popen", "Process", "ProcessPoolExecutor", "get_context"),
            *("WorkerPool", "VaultClient", "create_authority_app", "authority_app"),
        }
    ),
    RUNS: frozenset({"started_run", "sync_playwright"}),
    "kills": frozenset({"SIGKILL", "kill"}),
    "postgres": frozenset({"postgres_server", "postgres_url"}),
    "buckets": frozenset({"s3_server", "s3_url"}),
    "browser": frozenset({"AppTest", "streamlit"}),
    "matrices": frozenset({"leaks", "simulated", "compare"}),
}
"""Kind of cost -> the names that stand for it, of fixtures, functions, classes and modules."""

COMMANDS: Final = {"bill": "months", "rebill": "months", "run": "processes"}
"""Kind of cost by the first word given to the command."""

CHEAP: Final = frozenset({RINGS, PROOFS})

Case = TypeVar("Case")
Marked = tuple[pytest.Function, frozenset[str]]


def mark_costs(items: Sequence[pytest.Item]) -> None:
    """Mark tests with the kinds of their costs, and with what `make` runs of them."""
    marked = [
        (item, costs_of(item))
        for item in items
        if isinstance(item, pytest.Function) and not item.get_closest_marker("slow")
    ]
    marked.sort(key=_place)
    for item, costs in marked:
        for kind in costs:
            item.add_marker(kind)
        if getattr(item.function, "is_hypothesis_test", False) or SAMPLED in item.fixturenames:
            item.add_marker(SAMPLED)
    for item in _rest(marked):
        item.add_marker(REST)
    for item in _too_dear([item for item, _ in marked if not item.get_closest_marker(REST)]):
        item.add_marker(REST)
    rooms: dict[str, list[Marked]] = defaultdict(list)
    for item, costs in marked:
        if not item.get_closest_marker(REST):
            rooms[_room(item)].append((item, costs))
    for found in rooms.values():
        for item in _quick(found):
            item.add_marker(QUICK)


def begin_with_long(items: list[pytest.Item]) -> None:
    """Put modules that take long first: begun last, one would keep a worker while others idle."""
    taken: dict[str, float] = defaultdict(float)
    for item in items:
        taken[_module(item)] += seconds_of(item)
    long = {module: -seconds for module, seconds in taken.items() if seconds >= LONG_SECONDS}
    items.sort(key=lambda item: long.get(_module(item), 0.0))


def costs_of(item: pytest.Function) -> frozenset[str]:
    """The kinds of cost of a test."""
    fixtures = {name: found[-1].func for name, found in item._fixtureinfo.name2fixturedefs.items()}
    if fixtures.pop("database_url", None) and "postgresql" in item.callspec.params.values():
        fixtures["postgres_url"] = None
    names, texts = set(fixtures), set()
    for function in (item.function, *fixtures.values()):
        own_names, own_texts = _words_of(function)
        names |= own_names
        texts |= own_texts
    kinds = {kind for kind, signs in COSTS.items() if signs & (names | texts)}
    if "CliRunner" in names:
        kinds |= {kind for word, kind in COMMANDS.items() if word in texts}
    return frozenset(kinds)


def function_of(nodeid: str) -> str:
    """The name of a test without its case, as `costs.json` has it."""
    return nodeid.partition("[")[0]


@cache
def _measured() -> Mapping[str, float]:
    found: dict[str, float] = json.loads(MEASURED.read_text(encoding="utf-8"))
    return found


def seconds_of(item: pytest.Item) -> float:
    """Seconds that a case of this test took when it was measured; 0 if few, or never."""
    return _measured().get(function_of(item.nodeid), 0.0)


class Sampled:
    """Takes one of so many cases, counted through all of its calls; the same ones in every run."""

    def __init__(self, every: int) -> None:
        self._every, self._numbers = every, count()
        self.is_whole = every == 1

    def __call__(self, cases: Iterable[Case]) -> Iterator[Case]:
        return (case for case in cases if next(self._numbers) % self._every == 0)


def _rest(marked: Sequence[Marked]) -> Iterator[pytest.Function]:
    """What `make test` leaves out of tests that are given in their order."""
    tests: dict[tuple[str, str], list[Marked]] = defaultdict(list)
    for item, costs in marked:
        if RUNS in costs:
            yield item
        elif costs:
            tests[_module(item), item.originalname].append((item, costs))
    modules: dict[str, list[Marked]] = defaultdict(list)
    for (module, _), cases in tests.items():
        kept, left = _spread(cases, CASES)
        yield from (item for item, _ in left)
        modules[module] += [(item, costs) for item, costs in kept if costs - CHEAP]
    for dear in modules.values():
        yield from (item for item, _ in _spread(dear, DEAR_PER_MODULE)[1])


def _too_dear(kept: Sequence[pytest.Function]) -> Iterator[pytest.Function]:
    """What takes too long for `make test`; of a module one test is kept, unless it is long."""
    modules: dict[str, list[pytest.Function]] = defaultdict(list)
    for item in kept:
        modules[_module(item)].append(item)
    for found in modules.values():
        first, *others = sorted(found, key=seconds_of)
        yield from (item for item in others if seconds_of(item) > TEST_SECONDS)
        if seconds_of(first) >= LONGEST_SECONDS:
            yield first


def _spread(found: Sequence[Case], count: int) -> tuple[list[Case], list[Case]]:
    """So many, as far from each other as can be, and the others."""
    last = len(found) - 1
    places = {number * last // (count - 1) for number in range(count)} if last >= count else None
    kept = [places is None or number in places for number in range(len(found))]
    return list(compress(found, kept)), [
        one for one, is_kept in zip(found, kept, strict=True) if not is_kept
    ]


def _quick(found: Sequence[Marked]) -> Iterator[pytest.Function]:
    """What is quick of a room, whose tests are given in their order."""
    few: dict[str, int] = defaultdict(int)
    is_touched = False
    for item, costs in found:
        if seconds_of(item) > QUICK_SECONDS:
            continue
        is_cheap = bool(costs) and costs <= CHEAP
        few[_module(item)] += is_cheap
        if not costs or (is_cheap and few[_module(item)] <= FEW_PER_MODULE):
            is_touched = True
            yield item
    if not is_touched:
        yield min(found, key=lambda one: (len(one[1]), seconds_of(one[0])))[0]


def _module(item: pytest.Item) -> str:
    """The file of a test."""
    return item.nodeid.partition("::")[0]


def _room(item: pytest.Item) -> str:
    """The folder of a test below `tests`, or its file."""
    return _module(item).split("/")[1]


def _place(marked: Marked) -> tuple[str, int, str]:
    """Order by file and line, however the run was shuffled."""
    item = marked[0]
    return _module(item), item.function.__code__.co_firstlineno, item.nodeid


@cache
def _words_of(root: Any) -> tuple[frozenset[str], frozenset[str]]:
    """Names and texts in the code of a function or class, and in all that it uses of `tests`."""
    names, texts = set[str](), set[str]()
    for code in _codes_of(root):
        names.update(code.co_names)
        texts.update(_texts(code.co_consts))
    return frozenset(names), frozenset(texts)


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
