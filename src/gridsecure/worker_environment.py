"""What worker processes inherit: nothing of their service's settings and credentials.

The process that workers fork off loads this module first and, finding such variables, starts itself
anew without them. Deleting them would leave them in its memory, and so in every worker's. Nor do
they load the program that started the service.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from multiprocessing import spawn
from pathlib import Path
from typing import Final

STORES: Final = ("AWS_", "AZURE_", "GOOGLE_", "SSL_CERT_")
"""How variables begin that the object store's library reads; the last, whose certificates it
believes."""
_NAMES_A_TOKEN: Final = "_TOKEN_FILE"  # noqa: S105 - how variables end, no token
PRIVATE: Final = ("GRIDSECURE_", *STORES)


def store_environment() -> dict[str, str]:
    """What a worker must be given that opens a bucket."""
    return {name: value for name, value in os.environ.items() if name.startswith(STORES)}


def credential_files(variables: Mapping[str, str]) -> tuple[str, ...]:
    """The files that such variables name; what else lies in their folders is none of a worker's."""
    named = {value for value in variables.values() if value.startswith("/")}
    return tuple(sorted(value for value in named if Path(value).is_file()))


def token_folders(variables: Mapping[str, str]) -> tuple[str, ...]:
    """The folders of tokens that are renewed: another file then takes the place of the first."""
    named = {
        str(Path(value).parent)
        for name, value in variables.items()
        if name.endswith(_NAMES_A_TOKEN) and value.startswith("/")
    }
    return tuple(sorted(named))


def add_to_environment(given: Mapping[str, str]) -> None:
    """Give this process variables it did not inherit."""
    os.environ.update(given)


def _start_anew() -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PRIVATE)}
    if len(kept) < len(os.environ):
        os.execve(sys.executable, sys.orig_argv, kept)  # noqa: S606 (itself, word for word)


def _load_no_program(_name: str) -> None:
    """What workers do instead of importing the program that their service was started by."""


if sys.orig_argv[-1].startswith("from multiprocessing.forkserver import main;"):
    _start_anew()
    # Workers run functions of modules. The program would bring libraries along, which start threads
    # of their own, and with other threads no worker can close files for itself (`sandbox`).
    for _step in ("_fixup_main_from_name", "_fixup_main_from_path"):
        setattr(spawn, _step, _load_no_program)
