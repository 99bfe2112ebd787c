"""The machine and the versions that figures hold for."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("gridsecure", "tenseal", "cryptography", "numpy", "pandas")


def describe_machine() -> dict[str, str | int]:
    """Processor, usable cores, Python and library versions; nothing that names this one host."""
    facts: dict[str, str | int] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
    }
    return facts | {library: version(library) for library in LIBRARIES}


def _processor() -> str:
    """The model as the kernel prints it; the family alone where it prints none."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return " ".join(value.split())
    return platform.machine()
