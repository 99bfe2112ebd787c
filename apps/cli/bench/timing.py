"""Timing on a machine that others use as well: the best of a few repetitions.

Interruptions only ever add time, so the smallest repetition is the nearest to what the work costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from apps.cli.bench.sizes import BenchSizes

ResultT = TypeVar("ResultT")


def timed(operation: Callable[[], ResultT]) -> tuple[float, ResultT]:
    """Seconds that one call takes, and what it returned."""
    started = time.perf_counter()
    result = operation()
    return time.perf_counter() - started, result


def best_of(operation: Callable[[], ResultT], *, sizes: BenchSizes) -> tuple[float, ResultT]:
    """Seconds of the fastest repetition, and what the last one returned.

    At least one repetition runs; none begins once `sizes.seconds` have passed.
    """
    ends = time.perf_counter() + sizes.seconds
    best, result = timed(operation)
    for _ in range(sizes.repeats - 1):
        if time.perf_counter() >= ends:
            break
        seconds, result = timed(operation)
        best = min(best, seconds)
    return best, result
