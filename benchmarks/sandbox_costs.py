"""What the sandbox costs a worker: confining itself, once at its start."""

from __future__ import annotations

import subprocess
import sys
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.figures import Figure
from benchmarks.sizes import BenchSizes
from gridsecure.sandbox import find_walls

MUST_MS: Final = 50.0
TRY_MS: Final = 10.0
_PROGRAM: Final = """
import sys, time
from gridsecure.sandbox import Confinement, confine
began = time.process_time()
confine(Confinement(writes=[sys.argv[1]]))
print(time.process_time() - began)
"""


def sandbox_costs(*, sizes: BenchSizes) -> list[Figure]:
    """Processor time of a process that confines itself as far as this kernel can."""
    with TemporaryDirectory() as folder:
        seconds = min(_confine(folder) for _ in range(sizes.repeats))
    walls = find_walls()
    by = [f"Landlock {walls.landlock}"] * (walls.landlock > 0) + ["seccomp"] * walls.seccomp
    note = f"once in a process, processor time; by {', '.join(by) or 'nothing'}"
    return [
        Figure("sandbox", "Sandbox: a worker confines itself", "ms", seconds * 1000,
               MUST_MS, TRY_MS, note=note),
    ]  # fmt: skip


def _confine(folder: str) -> float:
    command = [sys.executable, "-c", _PROGRAM, folder]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)
