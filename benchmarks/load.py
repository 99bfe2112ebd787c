"""One node under load: `python -m benchmarks.load [--requests 10000] [--at-once 64]`.

A gateway in a process of its own, as users run it, over loopback: sources send batches of readings,
people ask for lists and strangers for public pages, all at once. Then more than it takes at once,
to see that it says so; then it is stopped while sources go on sending, and started again.

Held, or it ends with 1: no connection breaks before the stop; memory does not grow by more than
`MOST_GROWTH_MB` over the second half; whoever is sent away is told when to come again; the stopped
service ends by itself; every batch that has a receipt is there afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx

from benchmarks.receipt_waits import gateway_settings, register_sources
from benchmarks.served import bench_token, serving
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key

MOST_GROWTH_MB: Final = 48.0
SOURCES: Final = 16
AT_ONCE_BEYOND: Final = 600
"""More requests than a service has places for."""
_LATER: Final = 503
_LONGEST_S: Final = 1200.0
_STOPPED_S: Final = 90.0
_DAY: Final = tuple(f"2026-07-01T{hour:02}:00:00+08:00" for hour in range(24))
_READS: Final = ("/v1/sources", "/about", "/health", "/v1/books/meter-points", "/log/checkpoint")


@dataclass(slots=True)
class Tally:
    """What came of requests of one kind.

    Args:
        seconds: That each answer took.
        statuses: How often each was answered.
        broken: Connections that broke.
        untold: Sent away without a word when to come again.
    """

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    untold: int = 0

    def at(self, share: float) -> float:
        """The time within which such a share was answered [ms]."""
        ordered = sorted(self.seconds) or [0.0]
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


@dataclass(slots=True)
class Outcome:
    """What a load showed.

    Args:
        tallies: By kind of request.
        rate: Requests a second.
        memory_mb: In the middle and at the end of the load [MB].
        late: Of requests beyond what it takes at once.
        receipts: Batches that were taken in while the service was stopped.
        lost: Of these, that are not there after its next start.
        stopped_s: From the signal to the end of the process [s].
    """

    tallies: dict[str, Tally] = field(default_factory=dict)
    rate: float = 0.0
    memory_mb: tuple[float, float] = (0.0, 0.0)
    late: Tally = field(default_factory=Tally)
    receipts: int = 0
    lost: int = 0
    stopped_s: float = 0.0

    @property
    def faults(self) -> list[str]:
        """What should not have been."""
        broken = sum(one.broken for one in self.tallies.values()) + self.late.broken
        grown = self.memory_mb[1] - self.memory_mb[0]
        failed = [
            status for one in self.tallies.values() for status in one.statuses if status >= 500
        ]
        found = {
            f"{broken} connections broke": broken,
            f"answers failed: {Counter(failed)}": set(failed) - {_LATER},
            f"memory grew by {grown:.0f} MB": grown > MOST_GROWTH_MB,
            f"{self.late.untold} were not told when to come again": self.late.untold,
            f"{self.lost} batches with receipts are lost": self.lost,
            "it did not end by itself": self.stopped_s >= _STOPPED_S,
        }
        return [said for said, is_so in found.items() if is_so]


class Node:
    """The service that is loaded.

    Args:
        key: Of the identity service, as it was told.
    """

    def __init__(self, port: int, key: Sm2PrivateKey) -> None:
        self.url = f"http://127.0.0.1:{port}"
        token = bench_token(key, "gateway", role="operator")
        self.operator = {"Authorization": f"Bearer {token}"}
        self.sources = register_sources(port, key, sources=SOURCES)
        self._next = [0] * SOURCES

    async def send(self, http: httpx.AsyncClient, tally: Tally, number: int) -> str:
        """A source's next batch; where it is, once it has a receipt."""
        source = number % SOURCES
        self._next[source] += 1
        name = f"b{self._next[source]}"
        lines = "".join(f"MP-{source}-{name},{start},0.250\n" for start in _DAY)
        answer = await _ask(
            http, tally, "POST", "/v1/readings",
            content=f"meter_point_id,start,kwh\n{lines}".encode(),
            headers={
                "Authorization": f"Bearer {self.sources[source]}",
                "Idempotency-Key": name,
                "Batch-Sequence": str(self._next[source]),
                "Content-Type": "text/csv",
            },
        )  # fmt: skip
        return answer.headers.get("location", "") if answer and answer.is_success else ""

    async def read(self, http: httpx.AsyncClient, tally: Tally, number: int) -> None:
        """A list or a public page."""
        path = _READS[number % len(_READS)]
        await _ask(http, tally, "GET", path, headers=self.operator)


async def _ask(
    http: httpx.AsyncClient, tally: Tally, method: str, path: str, **content: Any
) -> httpx.Response | None:
    began = time.perf_counter()
    try:
        answer = await http.request(method, path, **content)
    except httpx.TransportError:
        tally.broken += 1
        return None
    tally.seconds.append(time.perf_counter() - began)
    tally.statuses[answer.status_code] += 1
    tally.untold += answer.status_code == _LATER and "retry-after" not in answer.headers
    return answer


def measure_load(*, requests: int, at_once: int) -> Outcome:
    """Load a gateway, overload it, stop it and start it again."""
    key, outcome = generate_private_key(), Outcome()
    with TemporaryDirectory() as name:
        told = gateway_settings(key, folder=Path(name) / "gateway")
        with serving("gateway", told) as (port, pid):
            node = Node(port, key)
            asyncio.run(_under_load(node, outcome, pid, requests=requests, at_once=at_once))
            kept = asyncio.run(_stopped(node, outcome, pid))
        with serving("gateway", told) as (port, _):
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=node.operator) as http:
                found = [http.get(place).is_success for place in kept]
            outcome.receipts, outcome.lost = len(kept), found.count(False)
    return outcome


async def _under_load(
    node: Node, outcome: Outcome, pid: int, *, requests: int, at_once: int
) -> None:
    batches, reads = Tally(), Tally()
    outcome.tallies = {"batches": batches, "reads": reads}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=node.url, timeout=120, limits=limits) as http:
        left, middle = iter(range(requests)), 0.0

        async def work() -> None:
            nonlocal middle
            for number in left:
                if number == requests // 2:
                    middle = memory_mb(pid)
                await (node.read if number % 2 else node.send)(
                    http, reads if number % 2 else batches, number // 2
                )

        began = time.perf_counter()
        async with asyncio.timeout(_LONGEST_S):
            await asyncio.gather(*(work() for _ in range(at_once)))
        outcome.rate = requests / (time.perf_counter() - began)
        outcome.memory_mb = (middle, memory_mb(pid))
        for tally in (Tally(), outcome.late):  # over connections that the first burst opened
            asked = range(min(AT_ONCE_BEYOND, requests))
            await asyncio.gather(*(node.read(http, tally, number) for number in asked))


async def _stopped(node: Node, outcome: Outcome, pid: int) -> list[str]:
    """Stop the service while sources send; where the batches are that it gave receipts for."""
    kept: list[str] = []
    is_stopped = False
    async with httpx.AsyncClient(base_url=node.url, timeout=120) as http:

        async def work(source: int) -> None:
            while not is_stopped:
                tally = Tally()
                place = await node.send(http, tally, source)
                if place:
                    kept.append(place)
                if tally.broken:
                    return

        tasks = [asyncio.create_task(work(source)) for source in range(SOURCES)]
        while len(kept) < SOURCES:
            await asyncio.sleep(0.01)
        began = time.perf_counter()
        os.kill(pid, signal.SIGTERM)
        while _is_alive(pid) and time.perf_counter() - began < _STOPPED_S:
            await asyncio.sleep(0.05)
        outcome.stopped_s = time.perf_counter() - began
        is_stopped = True
        await asyncio.gather(*tasks)
    return kept


def _is_alive(pid: int) -> bool:
    with suppress(FileNotFoundError):
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        return state != "Z"
    return False


def memory_mb(pid: int) -> float:
    """The memory that a process has now [MB]."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmRSS:"))


def describe(outcome: Outcome) -> str:
    """The figures, as a table."""
    lines = [
        f"{name:<8} {len(one.seconds):>6} answered  p50 {one.at(0.5):7.1f} ms  "
        f"p99 {one.at(0.99):7.1f} ms  broken {one.broken}  {dict(one.statuses)}"
        for name, one in (*outcome.tallies.items(), ("at once", outcome.late))
    ]
    middle, end = outcome.memory_mb
    return "\n".join(
        [
            *lines,
            f"{outcome.rate:.0f} requests/s; memory {middle:.0f} MB half-way, {end:.0f} MB at last",
            f"stopped in {outcome.stopped_s:.1f} s; of {outcome.receipts} receipts meanwhile "
            f"{outcome.lost} lost",
            *(f"FAULT: {said}" for said in outcome.faults),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=64)
    chosen = parser.parse_args(arguments)
    outcome = measure_load(requests=chosen.requests, at_once=chosen.at_once)
    print(describe(outcome))
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
