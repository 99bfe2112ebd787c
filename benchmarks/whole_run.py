"""Where the time of a whole month goes: `gridsecure run`, watched from outside, stage by party.

The run is the product's own, through its processes. It writes a line as each stage begins; at each
the processor time of every process below it is read, so a stage's share of a party is the
difference of two readings. What a pool's finished workers used is counted with their parent. A
stage of the gateway is told when the run asks the next time, a fifth of a second later at most.

A second run, of few meter points, costs what there is whoever is billed: rings that are nearly
empty, key sets that workers load, worker processes that start. Ten million meter points are
computed from both: what a further meter point costs between the two, and the small run once more
for each roster that is full.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import Final

from benchmarks.figures import Figure
from gridsecure.messages import MAX_SLOTS

OFFICES: Final = "offices, analyst"
"""The run's own process: it acts for the billing office, the custodian, and an analyst."""
PARTIES: Final = ("gateway", "identity", "platform", "authority", "vault", OFFICES)
ENROLMENT: Final = frozenset({"enter accounts in the books", "gateway: enrol"})
BEFORE: Final = "start"
PREPARATION: Final = frozenset({BEFORE, "prepare meters", "start services"})
"""What a utility has: meters with readings, and services that run."""
SUMMARY: Final = re.compile(r"([\d,]+) bills, ([\d,]+) mismatches")
ROSTERS: Final = re.compile(r"(\d+) rosters")

_LARGE, _CORES = 10_000_000, 64
_FEW_METERS: Final = 40
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_STAGE: Final = re.compile(r"^\d\d:\d\d  (.+)$")
_PARTS: Final = ("bill jobs", "load-curve jobs")
"""Named while a stage lasts, not stages of their own."""
_MOST_SECONDS: Final = 1_200
_YARDSTICK_MICROS: Final = 1_625
"""A bill by one TenSEAL vector on the machine where a run took 153 s (2026-11-25)."""


@dataclass(slots=True)
class WatchedRun:
    """What a run cost.

    Args:
        seconds: Processor seconds by stage and party.
        wall: Seconds by stage, in order.
    """

    output: str = ""
    code: int = 0
    seconds: defaultdict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    wall: dict[str, float] = field(default_factory=dict)

    @property
    def bills(self) -> int:
        """How many bills were compared with the oracle, and all were equal.

        Raises:
            AssertionError: The run failed, or a bill differs.
        """
        found = SUMMARY.search(self.output)
        if self.code or found is None or found[2] != "0":
            raise AssertionError(f"the run failed: {self.output[-500:]}")
        return int(found[1].replace(",", ""))

    @property
    def rosters(self) -> int:
        """How many rosters were billed.

        Raises:
            AssertionError: The run does not say.
        """
        found = ROSTERS.search(self.output)
        if found is None:
            raise AssertionError("the run tells no rosters")
        return int(found[1])

    @property
    def month(self) -> float:
        """Processor seconds of the month, without enrolment and what a utility has."""
        return self.total(without=PREPARATION | ENROLMENT)

    def total(self, *, without: frozenset[str]) -> float:
        """Processor seconds of all stages but some."""
        return sum(s for (stage, _), s in self.seconds.items() if stage not in without)


def watch_run(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    longest: float = _MOST_SECONDS,
    look: Callable[[str, Mapping[int, str]], None] = lambda _stage, _processes: None,
) -> WatchedRun:
    """Run `gridsecure run` to its end and note what each stage cost each party.

    Args:
        arguments: What follows `gridsecure run`.
        longest: When it is ended [s].
        look: Called as a stage begins, with the party of every process.
    """
    watched = WatchedRun()
    lines: list[str] = []
    before, since = dict.fromkeys(PARTIES, 0.0), time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "gridsecure.cli", "run", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=dict(environment),
    ) as child:
        stage, limit = BEFORE, Timer(longest, child.kill)
        limit.daemon = True
        limit.start()
        try:
            for line in child.stdout or ():
                lines.append(line)
                # A process that has ended keeps what it was last seen to have used.
                used = {p: max(before[p], s) for p, s in _seconds_by_party(child.pid).items()}
                for party, seconds in used.items():
                    watched.seconds[stage, party] += seconds - before[party]
                now = time.monotonic()
                watched.wall[stage] = watched.wall.get(stage, 0.0) + now - since
                before, since, stage = before | used, now, _stage_of(line, stage)
                look(stage, {pid: party for pid, party, _ in _processes(child.pid)})
        finally:
            limit.cancel()
    watched.output, watched.code = "".join(lines), child.returncode
    return watched


def whole_run(
    *, meters: int, vector_micros: float, two_workers: float
) -> tuple[list[Figure], tuple[str, ...]]:
    """Run the demonstration month: its figures, and the table of where its time went.

    Args:
        meters: Simulated meter points; the measured ones join.
        vector_micros: A bill by one TenSEAL vector in this run, the yardstick of machines.
        two_workers: How much faster two worker processes are than one.
    """
    few, _ = _timed_run(_FEW_METERS)
    watched, wall = _timed_run(meters)
    speed = vector_micros / _YARDSTICK_MICROS
    figures = [
        *figures_of(watched, wall=wall, speed=speed),
        figure_of_many(watched, few=few, two_workers=two_workers),
    ]
    return figures, tuple(stacked_table(watched, meters=watched.bills))


def _timed_run(meters: int) -> tuple[WatchedRun, float]:
    """A run of simulated meter points, and its time from start to end [s]."""
    started = time.monotonic()
    with TemporaryDirectory() as home:
        watched = watch_run(
            ["--meters", str(meters), "--months", "1", "--home", home, "--no-serve"],
            environment={**os.environ, "COLUMNS": "200"},
        )
    return watched, time.monotonic() - started


def figures_of(watched: WatchedRun, *, wall: float, speed: float) -> list[Figure]:
    """The figures of a run.

    Args:
        wall: From start to end [s].
        speed: How many times as long this machine takes as the one where a run took 153 s.
    """
    bills = watched.bills
    month = watched.month / bills * 1e3
    return [
        Figure(
            name="whole_run",
            title=f"run of {bills:,} meter points × one month of half-hours, with enrolment",
            unit="s",
            value=wall,
            must=round(75 * speed),
            try_for=round(40 * speed),
            note="`gridsecure run` from start to end, wall time; limits are 75 and 40 s where it"
            f" took 153 s, and a TenSEAL vector takes {speed:.2f} times as long here as there, so"
            f" it would be {wall / speed:.0f} s",
        ),
        Figure(
            name="month_without_enrolment",
            title="the same month without enrolment, all parties",
            unit="ms per meter",
            value=month,
            must=8,
            try_for=4,
            note="processor time of all processes, without preparing meters and starting services;"
            f" {month / speed:.1f} ms there",
        ),
    ]


def figure_of_many(watched: WatchedRun, *, few: WatchedRun, two_workers: float) -> Figure:
    """The figure of ten million meter points, from the slope between two runs.

    Args:
        few: A run of a few meter points, with as many rosters.
        two_workers: As in `whole_run`.

    Raises:
        AssertionError: One of the runs has another number of rosters.
    """
    if few.rosters != watched.rosters:
        raise AssertionError("the two runs have other rosters, so there is no slope")
    further = (watched.month - few.month) / (watched.bills - few.bills)
    share = few.month / few.rosters / MAX_SLOTS
    cores = _CORES * two_workers / 2
    return Figure(
        name="month_on_64_cores",
        title="whole month for 10⁷ meter points on 64 cores, computed",
        unit="min",
        value=(further + share) * _LARGE / cores / 60,
        must=20,
        try_for=10,
        note=f"{further * 1e3:.2f} ms for a further meter point, from {few.bills:,} to"
        f" {watched.bills:,} of them in {few.rosters} rosters, and {share * 1e3:.2f} ms of what the"
        f" small run cost a roster, over {MAX_SLOTS:,} slots; cores gain as two workers do"
        " (docs/scale.md)",
    )


def stacked_table(watched: WatchedRun, *, meters: int) -> list[str]:
    """Processor time a meter point by stage and party, with each stage's share, as Markdown."""
    stages = [stage for stage in watched.wall if stage not in PREPARATION]
    whole = watched.total(without=PREPARATION)

    def row(name: str, costs: Sequence[float]) -> str:
        each = [cost / meters * 1e3 for cost in (*costs, sum(costs))]
        cells = (f"{cost:.2f}" if cost >= 0.005 else "" for cost in each)
        return f"| {name} | {' | '.join(cells)} | {sum(costs) / whole:.0%} |"

    by_stage = {s: [watched.seconds[s, party] for party in PARTIES] for s in stages}
    return [
        "| processor time, ms per meter point | " + " | ".join(PARTIES) + " | all | share |",
        "|---|" + "---:|" * (len(PARTIES) + 2),
        *(row(stage, costs) for stage, costs in by_stage.items()),
        row("all stages", [sum(costs) for costs in zip(*by_stage.values(), strict=True)]),
    ]


def _stage_of(line: str, current: str) -> str:
    """The stage that a line says has begun, or the current one."""
    found = _STAGE.match(line)
    if found is None or found[1].startswith((f"{current}: ", *_PARTS)):
        return current
    return found[1]


def _seconds_by_party(run: int) -> dict[str, float]:
    """Processor time of the run's process and of the services below it, with their workers [s]."""
    used: defaultdict[str, float] = defaultdict(float)
    for pid, party, fields in _processes(run):
        own, finished = sum(fields[10:12]), sum(fields[12:14])
        used[party] += (own if pid == run else own + finished) / _TICKS
    return dict(used)


def _processes(run: int) -> Iterator[tuple[int, str, list[int]]]:
    """The run's process and those below it: each with its party, and its fields in /proc."""
    processes = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text(encoding="utf-8")
            except OSError:
                continue  # it ended meanwhile
            # The name in brackets may hold spaces and brackets itself.
            processes[int(entry.name)] = [int(f) for f in text.rpartition(")")[2].split()[1:15]]
    for pid, fields in processes.items():
        above, chain = pid, [pid]
        while above in processes and above != run:
            above = processes[above][0]
            chain.append(above)
        if above == run:
            party = OFFICES if pid == run else _party(chain[-2])
            if party:
                yield pid, party, fields


def _party(pid: int) -> str:
    """The party whose service a process is; "" for one that has ended, or has just been forked."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    except OSError:
        return ""
    words = command.split("\0")  # a service's module and its zone, or the vault's module
    served = dict(pairwise(words)).get("gridsecure_api.serve", "")
    return "vault" if "gridsecure_api.vault" in words else served
