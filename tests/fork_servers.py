"""A process that workers fork off, which loads what they need: one for each service.

Tests play many services in one process, and Python keeps one such process for all of them. What the
first service's workers did not need, later workers load themselves, and with a library that starts
threads (pyarrow does) a worker cannot confine itself any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing import forkserver

import pytest

_ASKED = ("ensure_running", "connect_to_new_process", "set_forkserver_preload")


_server_of = cache(lambda _service: forkserver.ForkServer())


@contextmanager
def fork_server_of(service: str) -> Iterator[None]:
    """Workers that are started meanwhile fork off a process that other services do not have."""
    own = _server_of(service)
    with pytest.MonkeyPatch.context() as patch:
        for name in _ASKED:
            patch.setattr(forkserver, name, getattr(own, name))
        yield
