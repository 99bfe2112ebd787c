"""Files that are there as a whole or not at all, also after a killed process or a power failure.

A file is written to a draft beside its place, synchronised, and then given its name. A killed
writer leaves a hidden draft, which no reader sees and `sweep_drafts` removes. Errors of the disk
come through as `OSError`: the caller knows what the file was for.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

DRAFT: Final = ".draft-"
"""What the name of an unfinished file starts with."""


def replace_file(path: Path, parts: Iterable[bytes], *, mode: int = 0o600) -> int:
    """Write a file in place of an earlier one, and return how many bytes that was.

    Args:
        path: Its name; its folder must exist.
        mode: Its permissions from its first moment, less the process's mask.

    Raises:
        OSError: The disk refuses; an earlier file of that name is untouched.
    """
    draft = _draft(path)
    try:
        size = _write(draft, parts, mode)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)
    return size


def create_file(path: Path, data: bytes) -> None:
    """Write a file for its owner alone, under a name that nobody took first.

    Args:
        path: Its name; its folder must exist.

    Raises:
        FileExistsError: There is a file of that name, which stays.
        OSError: The disk refuses.
    """
    draft = _draft(path)
    try:
        _write(draft, [data], 0o600)
        path.hardlink_to(draft)  # unlike renaming, never replaces a file
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def sweep_drafts(folder: Path) -> int:
    """Remove what killed writers left, and return how many; call it while nobody writes there."""
    drafts = [path for path in folder.rglob(f"{DRAFT}*") if path.is_file()]
    for draft in drafts:
        draft.unlink(missing_ok=True)
    return len(drafts)


def sync_folder(folder: Path) -> None:
    """Make a new name durable; on Linux a folder is synchronised like a file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _draft(path: Path) -> Path:
    # Random, so that two writers of one file keep out of each other's way; and without the file's
    # ending, so that nobody who looks for such files finds a draft.
    return path.with_name(f"{DRAFT}{secrets.token_hex(8)}")


def _write(draft: Path, parts: Iterable[bytes], mode: int) -> int:
    # The mode holds from the first moment, not by a later chmod.
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        size = sum(file.write(part) for part in parts)
        file.flush()
        os.fsync(file.fileno())
    return size
