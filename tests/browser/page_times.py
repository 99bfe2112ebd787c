"""What every page of the console costs, measured: `make page-times`, on a machine that is idle.

It starts `gridsecure run`, signs the people of the run in, and opens each page as the first of its
roles that has a password: the first visit, one from another page, and one click. Of each it notes
the time until a reader sees something, until the page is finished, and the processor time that the
console and all services together took for it. The report is in `build/browser/page-times.md`.

Wall time is that of the machine as it was; processor time is much the same on a busy one.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from gridsecure_dashboard import access
from tests.browser.chromium import ARTEFACTS, launched
from tests.browser.open_pages import Tab

PEOPLE: Final = {
    "billing": "billing",
    "operator": "operator",
    "analyst": "analyst",
    "custodian": "custodian",
    "regulator": "regulator",
    "utility": "member",
}
"""User of a run with a password -> role."""
REPORT: Final = ARTEFACTS / "page-times.md"
_OPEN: Final = "Ctrl-C stops everything"
_PATIENCE: Final = 1200  # seconds; for a run of thousands of meter points
_TICK: Final = 1000 / os.sysconf("SC_CLK_TCK")  # milliseconds
_PROC: Final = Path("/proc")
# Something below title and line of the page: what was there before is grey, and does not count.
_HAS_CONTENT: Final = """title => {
  const main = document.querySelector('[data-testid="stMain"]');
  const parts = [...main.querySelectorAll('[data-testid="stElementContainer"]')];
  const place = parts.findIndex(part => part.querySelector('h1')?.innerText.trim() === title);
  return place >= 0 && parts.slice(place + 2).some(part => part.dataset.stale !== 'true');
}"""
_COUNT_RUNS: Final = """() => {
  if (window.countsRuns) return;
  window.countsRuns = true;
  window.runs = 0;
  new MutationObserver(() => {
    const app = document.querySelector('[data-testid="stApp"]');
    if (app?.dataset.testScriptState === 'notRunning') window.runs += 1;
  }).observe(document.querySelector('[data-testid="stApp"]'),
    {attributes: true, attributeFilter: ['data-test-script-state']});
}"""


class Spent(NamedTuple):
    """What something took [ms]: until something is there, until all is, and processor time."""

    first: float
    whole: float
    console: float
    services: float


class Processes:
    """The processes of a run, and the processor time that they took."""

    def __init__(self, run: int) -> None:
        self._run = run

    def spent(self) -> tuple[float, float]:
        """Of the console, and of all services [ms]; ended children are counted at their parents."""
        console = services = 0.0
        for pid in self._below():
            try:
                words = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
                is_console = b"streamlit" in (_PROC / str(pid) / "cmdline").read_bytes()
            except OSError:
                continue  # it ended since
            took = sum(map(int, words[11:15])) * _TICK
            console, services = (
                (console + took, services) if is_console else (console, services + took)
            )
        return console, services

    def _below(self) -> list[int]:
        parents: dict[int, list[int]] = {}
        for path in _PROC.glob("[0-9]*/stat"):
            try:
                words = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(words[1]), []).append(int(path.parent.name))
        found, waiting = [], [self._run]
        while waiting:
            children = parents.get(waiting.pop(), [])
            found += children
            waiting += children
        return found


class Measured:
    """A tab whose steps are measured."""

    def __init__(self, tab: Tab, processes: Processes) -> None:
        self.tab, self._processes = tab, processes

    def open(self, page: str) -> Spent:
        """Follow the menu to a page."""
        link = self.tab.page.get_by_test_id("stSidebarNav").get_by_role(
            "link", name=self.tab.title(page), exact=True
        )
        before, begun = self._processes.spent(), time.perf_counter()
        link.click()
        title = self.tab.title(page)
        self.tab.page.wait_for_function(_HAS_CONTENT, arg=title, polling="raf")
        first = time.perf_counter() - begun
        self.tab.wait_for(page, polling="raf")
        return self._since(before, begun, first)

    def click(self) -> Spent | None:
        """Choose another entry of the page's first list; None where it has none."""
        main = self.tab.page.get_by_test_id("stMain")
        box = main.get_by_test_id("stSelectbox").locator("input")
        if not box.count():
            return None
        self.tab.page.evaluate(_COUNT_RUNS)
        box.first.click()
        options = self.tab.page.get_by_role("option")
        options.first.wait_for()
        if options.count() == 1:
            self.tab.page.keyboard.press("Escape")
            return None
        chosen = self.tab.page.locator('[role="option"]:not([aria-selected="true"])').first
        runs = self.tab.page.evaluate("window.runs")
        before, begun = self._processes.spent(), time.perf_counter()
        chosen.click()
        self.tab.page.wait_for_function(f"window.runs > {runs}", polling="raf")
        return self._since(before, begun, time.perf_counter() - begun)

    def _since(self, before: tuple[float, float], begun: float, first: float) -> Spent:
        whole = time.perf_counter() - begun
        time.sleep(0.1)  # what is counted in ticks is counted when they are over
        console, services = self._processes.spent()
        return Spent(first * 1000, whole * 1000, console - before[0], services - before[1])


@contextmanager
def served(folder: Path, arguments: list[str]) -> Iterator[tuple[str, int]]:
    """A run until it is open; what it printed, and its process."""
    log = folder / "run.log"
    program = Path(sys.executable).parent / "gridsecure"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "run", "--home", folder / "home", *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"COLUMNS": "200"},
        )
    deadline = time.monotonic() + _PATIENCE
    try:
        while _OPEN not in (told := log.read_text()):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(told)
            time.sleep(0.5)
        yield told, process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def measure(told: str, pid: int) -> Iterator[tuple[str, str, Spent, Spent, Spent | None]]:
    """Page, who opens it, first visit, a later one, a click."""
    address = re.search(r"Dashboard +(http://127\.0\.0\.1:\d+)", told)
    passwords = dict(re.findall(r"^ +([a-z-]+) +(\S{8,})$", told, re.MULTILINE))
    assert address is not None, told
    seen: set[str] = set()
    with launched() as browser, browser.new_context(reduced_motion="reduce") as context:
        tab = Tab(context.new_page(), address[1])
        measured = Measured(tab, Processes(pid))
        for user, role in PEOPLE.items():
            tab.start_anew()
            tab.sign_in(user, password=passwords[user])
            tab.wait_for(access.HOME)
            tab.speak("en", page=access.HOME)
            pages = [page for page, roles in access.ROLES.items() if role in roles]
            for page in (page for page in pages if page not in seen and page != access.HOME):
                seen.add(page)
                first = measured.open(page)
                measured.open(access.HOME)
                yield page, user, first, measured.open(page), measured.click()
            again = measured.open(access.HOME)
            yield access.HOME, user, again, again, measured.click()


def main() -> None:
    """Measure, print, and keep the report."""
    arguments = sys.argv[1:] or ["--months", "3"]
    lines = [
        "| page | as | first visit: something / all | again | a click | CPU console + services: "
        "first / again / click |",
        "|---|---|---|---|---|---|",
    ]
    with (
        TemporaryDirectory(prefix="page-times-") as name,
        served(Path(name), arguments) as (told, pid),
    ):
        for page, user, first, again, click in measure(told, pid):
            spent = (first, again, *([click] if click else []))
            processor = " / ".join(f"{one.console:.0f} + {one.services:.0f}" for one in spent)
            clicked = f"{click.whole:.0f}" if click else "–"
            lines.append(
                f"| {page} | {user} | {first.first:.0f} / {first.whole:.0f} | "
                f"{again.whole:.0f} | {clicked} | {processor} |"
            )
            print(lines[-1], flush=True)
    said = f"Milliseconds; `gridsecure run {' '.join(arguments)}`, {os.cpu_count()} processors, "
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text("\n".join([f"{said}load {load}.", "", *lines, ""]))
    print(f"Kept in {REPORT}")


if __name__ == "__main__":
    main()
