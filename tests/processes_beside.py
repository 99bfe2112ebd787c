"""Processes beside a test: forked from a server that imported, once, what they all need.

They have the environment of the moment when the first of them was started.
"""

from __future__ import annotations

from multiprocessing import get_context
from typing import Final

BESIDE: Final = get_context("forkserver")
BESIDE.set_forkserver_preload(
    [
        "tests.analyst.test_grants",
        "tests.apps.killed_platforms",
        "tests.compute.test_containers",
        "tests.identity.test_races",
    ]
)
