"""Files with plaintext in them: readable by their owner only, there as a whole or not at all.

They never leave the gateway's folder. A file is written beside its place, synchronised and renamed;
a killed process leaves a hidden draft that no reader sees and `sweep_drafts` removes.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from gridsecure.errors import StorageError

_DRAFT: Final = ".draft-"


def write_private(path: Path, parts: Iterable[bytes], *, what: str) -> int:
    """Write a file atomically, mode 0600 from its first moment.

    Args:
        path: The file to create or replace; its folder must exist.
        parts: The content.
        what: What the file is, for the error message, as in "The quarantine file".

    Returns:
        Bytes written.

    Raises:
        StorageError: `storage.failed`: the disk could not take it; an earlier file of that name is
            untouched and nothing half-written is left.
    """
    draft = path.with_name(f"{_DRAFT}{secrets.token_hex(8)}-{path.name}")
    try:
        try:
            size = _write(draft, parts)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise StorageError(
            f"{what} could not be written: {error.strerror}.",
            remedy="Free disk space or check the folder, then run again.",
        ) from error
    return size


def private_folder(path: Path) -> Path:
    """Make a folder that only its owner may enter, and return it.

    Raises:
        StorageError: The disk refuses.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"A folder of the gateway could not be made: {error.strerror}.",
            remedy="Check the folder's permissions and the disk.",
        ) from error
    return path


def sweep_drafts(folder: Path) -> int:
    """Remove what killed writers left; call it while nobody writes there.

    Returns:
        Files removed.
    """
    drafts = [path for path in folder.rglob(f"{_DRAFT}*") if path.is_file()]
    for draft in drafts:
        draft.unlink(missing_ok=True)
    return len(drafts)


def sync_folder(folder: Path) -> None:
    """Make renamed entries durable; on Linux a folder is synchronised like a file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(draft: Path, parts: Iterable[bytes]) -> int:
    # Mode 0600 from the first moment, not by a later chmod.
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as stream:
        size = sum(stream.write(part) for part in parts)
        stream.flush()
        os.fsync(stream.fileno())
    return size
