"""What worker processes inherit: nothing of their service's settings and credentials.

The process that workers fork off loads this module first and, finding such variables, starts itself
anew without them. Deleting them would leave them in its memory, and so in every worker's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Final

STORES: Final = ("AWS_", "AZURE_", "GOOGLE_")
"""How variables begin that the object store's library reads."""
PRIVATE: Final = ("GRIDSECURE_", *STORES)


def store_environment() -> dict[str, str]:
    """What a worker must be given that opens a bucket."""
    return {name: value for name, value in os.environ.items() if name.startswith(STORES)}


def add_to_environment(given: Mapping[str, str]) -> None:
    """Give this process variables it did not inherit."""
    os.environ.update(given)


def _start_anew() -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PRIVATE)}
    if len(kept) < len(os.environ):
        os.execve(sys.executable, sys.orig_argv, kept)  # noqa: S606 (itself, word for word)


if sys.orig_argv[-1].startswith("from multiprocessing.forkserver import main;"):
    _start_anew()
