"""How much of the processor others used while something was timed.

A speed-up over processes needs every core. On a machine that somebody else uses meanwhile it comes
out lower, and looks exactly like a program that does not scale; this tells the two apart.
"""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
# proc(5): of the "cpu" line, idle and waiting for input or output are no use of the processor, and
# guests are counted in user already.
_BUSY: Final = ("user", "nice", "system", "irq", "softirq", "steal")
_FIELDS: Final = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def others_seconds() -> float:
    """Processor time that neither this process nor a living child of it used [s].

    Counted since the machine started: take the difference of two calls between which no child
    ended.
    """
    line = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    ticks = dict(zip(_FIELDS, map(int, line), strict=False))
    everyone = sum(ticks[name] for name in _BUSY) / _TICKS
    own = os.times()
    children = sum(_process_seconds(child.pid) for child in multiprocessing.active_children())
    return everyone - own.user - own.system - children


def _process_seconds(pid: int | None) -> float:
    """User and system time of a process; the name before them may hold spaces and brackets."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
