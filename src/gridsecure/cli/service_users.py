"""The users that checker and vault of a run work as: two of their own where that is allowed.

Only the superuser may start processes as others. It then draws two unused user numbers for each
run, and gives each process its own folder. Anyone else runs both as himself, and is told so: the
keys are then apart by process and by setting, and not by user.
"""

from __future__ import annotations

import os
import pwd
import secrets
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FIRST_UID: Final = 61184
LAST_UID: Final = 65519
"""Where systemd, too, takes numbers for services that need a user for a while."""

# Reaches the program, compiled parts of what it uses, and the run's folder by its whole path, as
# SQLite does. It loads little more: nothing else happens meanwhile.
_PROBE: Final = (
    "import os, sys, pydantic_core, gridsecure.errors, gridsecure_api; os.stat(sys.argv[1])"
)


@dataclass(frozen=True, slots=True)
class ServiceUsers:
    """Who runs what.

    Args:
        checker: User number of the checker; None for the user of this process.
        vault: User number of the vault; likewise.
        why: Where it is None, the reason.
    """

    checker: int | None = None
    vault: int | None = None
    why: str = "Only the superuser may start processes as others."

    @property
    def text(self) -> str:
        """Which it is, for the person who started the run."""
        if self.vault is None:
            return f"Checker and vault are two processes of the same user. {self.why}"
        return (
            f"Checker and vault run as two users, {self.checker} and {self.vault}: the checker "
            "cannot read the vault's folder."
        )


def draw_users(folder: Path) -> ServiceUsers:
    """Two unused users, where this process may start others as them.

    Args:
        folder: The run's folder, which both must be able to pass through.
    """
    if os.geteuid() != 0:
        return ServiceUsers()
    first, second = secrets.SystemRandom().sample(_unused(), 2)
    if not (_may_run_as(first, folder) and _may_run_as(second, folder)):
        return ServiceUsers(
            why="Other users cannot start this Python or reach the run's folder, or may not be "
            "taken here."
        )
    return ServiceUsers(checker=first, vault=second)


def give(folder: Path, uid: int | None) -> None:
    """Give a folder and what is in it to a user."""
    if uid is not None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, uid, uid, follow_symlinks=False)


def _unused() -> list[int]:
    known = {entry.pw_uid for entry in pwd.getpwall()}
    return [uid for uid in range(FIRST_UID, LAST_UID + 1) if uid not in known]


def _may_run_as(uid: int, folder: Path) -> bool:
    """Whether such a process starts, can read the program, and reaches what is in the folder."""
    try:
        probe = subprocess.run(
            [sys.executable, "-P", "-c", _PROBE, str(folder / "authority")],
            user=uid,
            group=uid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return probe.returncode == 0
