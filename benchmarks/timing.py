"""Timing on a machine that others use as well: the best of a few repetitions.

Interruptions only ever add time, so the smallest repetition is the nearest to what the work costs.
Work of one thread that waits for nothing may be timed by the processor's clock instead, on which
others' work does not count: pass `time.process_time`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from benchmarks.sizes import BenchSizes

ResultT = TypeVar("ResultT")


def time_call(
    operation: Callable[[], ResultT], *, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, ResultT]:
    """Seconds that one call takes, and what it returned."""
    started = clock()
    result = operation()
    return clock() - started, result


def best_of(
    operation: Callable[[], ResultT],
    *,
    sizes: BenchSizes,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, ResultT]:
    """Seconds of the fastest repetition, and what the last one returned.

    At least one repetition runs; none begins once `sizes.seconds` have passed.
    """
    ends = time.perf_counter() + sizes.seconds
    best, result = time_call(operation, clock=clock)
    for _ in range(sizes.repeats - 1):
        if time.perf_counter() >= ends:
            break
        seconds, result = time_call(operation, clock=clock)
        best = min(best, seconds)
    return best, result
