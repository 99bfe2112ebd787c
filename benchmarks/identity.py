"""Anonymous credentials, step by step, on every backend this host can use.

`python -m benchmarks.identity` prints a table in milliseconds of processor time of one thread. The
steps are those that `gridsecure bench` takes its figures from, on the fastest backend alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain
from typing import Final

from apps.cli.bench.identity_steps import Step, grant_steps, make_parties, registration_steps
from apps.cli.bench.machine import describe_machine
from gridsecure.credentials.group import BackendName, available_backends

COUNT: Final = 12
REPEATS: Final = 4
BACKENDS: Final[tuple[BackendName, ...]] = ("libcrypto", "gmpy2", "python")
LIMITS: Final = (16, 256)


def milliseconds(step: Step) -> float:
    """Processor time of one unit [ms], after a first round that is not counted."""
    step.run()
    started = time.process_time()
    for _ in range(REPEATS):
        step.run()
    return (time.process_time() - started) / REPEATS / step.units * 1000


def steps(backend: BackendName) -> Iterator[Step]:
    parties = make_parties(backend)
    grants = (grant_steps(parties, count=COUNT, limit=limit) for limit in LIMITS)
    return chain(registration_steps(parties, count=COUNT), *grants)


def main() -> None:
    print(", ".join(f"{name} {value}" for name, value in describe_machine().items()))
    print("| backend | step | ms | per second |\n|---|---|--:|--:|")
    for backend in BACKENDS:
        if backend not in available_backends():
            print(f"| {backend} | not on this host | | |")
            continue
        for step in steps(backend):
            spent = milliseconds(step)
            print(f"| {backend} | {step.title} | {spent:.2f} | {1000 / spent:.0f} |")


if __name__ == "__main__":
    main()
