"""Measures what every test costs and writes `costs.json`, which chooses what `make` runs.

A plugin of pytest for `make costs` alone. A test's cost is the processor's time of its worker and
of the processes that it waited for; of a test with many cases, the median. The session's key sets
are made before the first test, so that none is charged with them.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Generator
from statistics import median

import pytest

from tests.costs import MEASURED, function_of
from tests.grid_simulator import grid_keys

CPU = "cpu"
WORTH_WRITING = 0.2
"""Seconds; a test that takes less is free."""
BEGUN = pytest.StashKey[float]()
found: dict[str, list[float]] = defaultdict(list)


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def pytest_collection_finish() -> None:
    """Make what tests share."""
    grid_keys()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Begin to count."""
    item.stash[BEGUN] = _cpu()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the last report of a test say what it took, wherever it ran."""
    report = yield
    if call.when == "teardown":
        report.user_properties.append((CPU, _cpu() - item.stash[BEGUN]))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what a test took."""
    seconds = dict(report.user_properties).get(CPU)
    if report.when == "teardown" and isinstance(seconds, float):
        found[function_of(report.nodeid)].append(seconds)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the table, unless this is one of several workers or something failed."""
    if exitstatus == 0 and not hasattr(session.config, "workerinput"):
        table = {name: round(median(seconds), 1) for name, seconds in sorted(found.items())}
        dear = {name: seconds for name, seconds in table.items() if seconds >= WORTH_WRITING}
        MEASURED.write_text(json.dumps(dear, indent=0) + "\n", encoding="utf-8")
