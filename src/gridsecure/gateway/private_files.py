"""Files with plaintext in them: readable by their owner only, there as a whole or not at all.

They never leave the gateway's folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gridsecure.errors import StorageError
from gridsecure.whole_files import replace_file


def write_private(path: Path, parts: Iterable[bytes], *, what: str) -> int:
    """Write a file atomically, mode 0600 from its first moment.

    Args:
        path: The file to create or replace; its folder must exist.
        what: What the file is, for the error message, as in "The quarantine file".

    Returns:
        Bytes written.

    Raises:
        StorageError: `storage.failed`: the disk could not take it; an earlier file of that name is
            untouched and nothing half-written is left.
    """
    try:
        return replace_file(path, parts)
    except OSError as error:
        raise StorageError(
            f"{what} could not be written: {error.strerror}.",
            remedy="Free disk space or check the folder, then run again.",
        ) from error


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
