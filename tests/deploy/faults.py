"""`make faults`: months in the cloud in which something fails, and what came of each.

python -m tests.deploy.faults killed [NUMBER...]    begins with these processes; without, with each
python -m tests.deploy.faults clocks [NUMBER...]    begins with these clocks; without, with each
python -m tests.deploy.faults slow [SEED...]        cuts the links by these seeds; without, by four
python -m tests.deploy.faults                       all of them
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from gridsecure.cli import processes
from gridsecure.cli.run_result import MonthResult
from tests.deploy.clocks_month import LIBRARY, WRONG, bill_by_wrong_clocks
from tests.deploy.killed_month import PROCESSES, kill_through
from tests.deploy.slow_links import SlowLinks
from tests.deploy.slow_month import bill_slowly

Outcome = tuple[MonthResult, list[str], str]
"""A month, the plans of its releases, and what was done to it."""
EXPECTED: Final = ["bill", "load-curve"]
"""The plans of all that a month releases."""


def kill(folder: Path, first: int) -> Outcome:
    """Kill every process, beginning with one of them."""
    result, client, released = kill_through(folder, first=first)
    return result, released, f"{PROCESSES[first]} first, {len(client.kills)} kills"


def set_clocks(folder: Path, first: int) -> Outcome:
    """Set every clock wrong, beginning with one of them."""
    if not LIBRARY.exists():
        sys.exit(f"This machine has no {LIBRARY}: apt-get install libfaketime")
    result, client, released = bill_by_wrong_clocks(folder, first=first)
    for one in client.refused:
        print(f"  {one.party} {one.ahead_s:+d} s: {one.step}: {one.reason}", flush=True)
    party, ahead_s = WRONG[first]
    told = f"{party} {ahead_s:+d} s first, {client.steps} steps, {len(client.refused)} refused"
    return result, released, told


def cut(folder: Path, seed: int) -> Outcome:
    """Have links that are slow and break."""
    links = SlowLinks(mean_bytes=6_000_000, seed=seed)
    result, client, released = bill_slowly(folder, links)
    told = f"seed {seed}, {links.cuts} of {links.connections} connections cut"
    return result, released, f"{told}, asked again {client.again.total()} times"


FAULTS: Final[dict[str, tuple[Callable[[Path, int], Outcome], range]]] = {
    "killed": (kill, range(len(PROCESSES))),
    "clocks": (set_clocks, range(len(WRONG))),
    "slow": (cut, range(1, 5)),
}


def main(arguments: Sequence[str]) -> None:
    """Months with the faults that are asked for; ends with 1 where one is not as without."""
    processes.MOST_RESTARTS = 1000
    kinds = [one for one in arguments if one in FAULTS] or list(FAULTS)
    numbers = [int(one) for one in arguments if one not in FAULTS]
    failed = 0
    for kind, number in itertools.chain.from_iterable(
        ((kind, number) for number in numbers or FAULTS[kind][1]) for kind in kinds
    ):
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="gridsecure-faults-") as folder:
            result, released, told = FAULTS[kind][0](Path(folder), number)
        failed += result.mismatches != 0 or released != EXPECTED
        print(
            f"{kind}, {told}: {result.bills} bills, {result.mismatches} differences, released "
            f"{' and '.join(released)}; {time.monotonic() - began:.0f} s",
            flush=True,
        )
    sys.exit(failed != 0)


if __name__ == "__main__":
    main(sys.argv[1:])
