"""Measures what every test costs and writes `costs.json`, which chooses what `make` runs.

A plugin of pytest for `make costs` alone; with ARGS="-m quick", or others, it measures those tests
and lets the figures of all others stand. A test's cost is the processor's time of its worker, of
the processes that it waited for, and of those forked beside it that ended; of a test with many
cases, their mean. A fixture that several tests share is charged to each of them: whichever comes
first will pay. The session's key sets are made before the first test, so that none is charged with
them.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Generator, Iterable, Sequence
from multiprocessing import forkserver
from pathlib import Path
from statistics import mean

import pytest

from tests.costs import MEASURED, QUICK_SECONDS, function_of
from tests.grid_simulator import grid_keys

CPU = "cpu"
WHOLE = "not slow"
"""The marks that `make costs` itself asks for."""
BEGUN = pytest.StashKey[float]()
found: dict[str, list[float]] = defaultdict(list)
shared: dict[tuple[str, str], float] = {}
"""Seconds that fixtures of modules and sessions took, by name and where they are from."""


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system + _beside()


def _beside() -> float:
    """Seconds of the server that forks processes beside tests, and of those that ended."""
    pid = forkserver._forkserver._forkserver_pid
    if pid is None:
        return 0.0
    ticks = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[11:15]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def pytest_collection_finish() -> None:
    """Make what tests share."""
    grid_keys()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Begin to count."""
    item.session.stash[BEGUN] = _cpu()
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Count what others will find made apart from what is the test's own."""
    before = _cpu()
    value = yield
    if fixturedef.scope != "function":
        taken = _cpu() - before
        shared[fixturedef.argname, fixturedef.baseid] = taken
        request.session.stash[BEGUN] += taken
    return value


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the last report of a test say what it took, wherever it ran."""
    report = yield
    if call.when == "teardown":
        used = [one for defs in _fixtures(item) for one in defs]
        own = _cpu() - item.session.stash[BEGUN]
        own += sum(shared.get((one.argname, one.baseid), 0.0) for one in used)
        report.user_properties.append((CPU, own))
    return report


def _fixtures(item: pytest.Item) -> Iterable[Sequence[pytest.FixtureDef[object]]]:
    return item._fixtureinfo.name2fixturedefs.values() if isinstance(item, pytest.Function) else ()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what a test took."""
    seconds = dict(report.user_properties).get(CPU)
    if report.when == "teardown" and isinstance(seconds, float):
        found[function_of(report.nodeid)].append(seconds)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the table, unless this is one of several workers or something failed."""
    if exitstatus == 0 and not hasattr(session.config, "workerinput"):
        is_whole = session.config.option.markexpr == WHOLE
        kept = {} if is_whole else json.loads(MEASURED.read_text(encoding="utf-8"))
        table = kept | {name: round(mean(seconds), 2) for name, seconds in found.items()}
        dear = {name: table[name] for name in sorted(table) if table[name] > QUICK_SECONDS}
        MEASURED.write_text(json.dumps(dear, indent=0) + "\n", encoding="utf-8")
