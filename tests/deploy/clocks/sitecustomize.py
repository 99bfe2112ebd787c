"""Read by Python as it starts with this folder on its path: sleeping, for a clock that jumps.

libfaketime 0.9.10 takes the monotonic moment until which Python sleeps for one of the clock that it
sets, and the kernel refuses what comes of it (EINVAL). `select` waits for a length of time.
"""

from __future__ import annotations

import select
import time


def _sleep(seconds: float) -> None:
    select.select((), (), (), seconds)


time.sleep = _sleep
