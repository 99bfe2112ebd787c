"""What the process of a service does about its pages, beside what Python does for any script.

glibc gives every array beyond 32 MB back to the kernel as soon as it is freed, and the
kernel fills the pages of the next one with zeros. A month at the gateway is hundreds of such arrays
one after the other, so its process keeps what it freed until the work is over. Other C libraries
have no such switches, and are left as they are.
"""

from __future__ import annotations

import ctypes
from typing import Final

_TRIM, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX
_ALL: Final = 2**31 - 1


def keep_freed_pages() -> bool:
    """Keep freed memory until `return_freed_pages`; called before there are threads.

    Returns:
        Whether this C library can.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # One arena: those of other threads are too small for large arrays, which would be mapped again.
    wanted = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM, _ALL))
    return all([mallopt(option, value) == 1 for option, value in wanted])


def return_freed_pages() -> None:
    """Give freed memory back to the kernel."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
