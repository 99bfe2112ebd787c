"""Content-addressed objects in a folder: every object is named by the SM3 digest of its bytes.

Invariants:
- A name either shows the whole object or nothing: bytes are written to a temporary file in the
  same folder, synchronised, and renamed. A process killed in between leaves only the temporary
  file, which no reader sees and `sweep` removes.
- Storing the same bytes twice, also at the same moment from two processes, is storing them once.
- What is read was hashed again; a damaged object is reported, never returned. Storing the right
  bytes once more heals it.

Not here: deleting objects, and access control. Objects are ciphertexts; their envelopes protect
them.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Final

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuditBrokenError, NotFoundError, StorageError
from gridsecure.whole_files import DRAFT, replace_file, sync_folder

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_SHARD_DIGITS: Final = 2  # 256 folders keep each of them small up to millions of objects


class ObjectStore:
    """A folder of objects.

    Args:
        root: The folder; it is made when the first object is stored.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, data: bytes, *, digest: str = "") -> str:
        """Store bytes and return their name.

        Args:
            data: The object.
            digest: Its digest, from who has just computed it: hashing is most of the cost. A wrong
                one does no harm but to the caller, because `get` hashes again.

        Returns:
            Its SM3 digest, 64 lower-case hexadecimal digits.

        Raises:
            StorageError: The disk is full or refuses; nothing is visible under the name.
        """
        digest = digest or sm3_hex(data)
        path = self._known_path(digest)
        try:
            if not _holds(path, data):
                self._write(path, data)
        except OSError as failed:
            raise StorageError(
                "An object could not be stored; nothing was half-written.",
                reason="storage.write",
                remedy=f"Check space and permissions of the object folder ({failed.strerror}).",
            ) from failed
        return digest

    def get(self, digest: str) -> bytes:
        """Return an object's bytes after hashing them again.

        Args:
            digest: The name `put` returned.

        Raises:
            NotFoundError: No object has this name.
            AuditBrokenError: The stored bytes are not what the name says.
            StorageError: The disk refuses to read.
        """
        path = self._known_path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError as missing:
            raise _not_found() from missing
        except OSError as failed:
            raise _unreadable(failed) from failed
        if sm3_hex(data) != digest:
            raise AuditBrokenError(
                f"The stored object {digest} was altered.",
                reason="audit.object",
                remedy="Store the original bytes again, and look for what altered them.",
            )
        return data

    def has(self, digest: str) -> bool:
        """Say whether an object of this name is stored; its bytes are not checked.

        Args:
            digest: A name; anything that is not one is simply not stored.
        """
        return _DIGEST.fullmatch(digest) is not None and self._path(digest).is_file()

    def size(self, digest: str) -> int:
        """Return an object's length [bytes] without reading it.

        Args:
            digest: The name `put` returned.

        Raises:
            NotFoundError: No object has this name.
            StorageError: The disk refuses to say.
        """
        try:
            return self._known_path(digest).stat().st_size
        except FileNotFoundError as missing:
            raise _not_found() from missing
        except OSError as failed:
            raise _unreadable(failed) from failed

    def sweep(self, *, before: datetime) -> int:
        """Remove what killed writers left behind and return how many files that was.

        Args:
            before: Only files last written before this aware moment; choose one older than any
                writer that may still be at work.
        """
        removed = 0
        for partial in self.root.glob(f"*/{DRAFT}*"):
            try:
                if partial.stat().st_mtime < before.timestamp():
                    partial.unlink()
                    removed += 1
            except FileNotFoundError:
                continue  # its writer has just finished
        return removed

    def _path(self, digest: str) -> Path:
        return self.root / digest[:_SHARD_DIGITS] / digest[_SHARD_DIGITS:]

    def _known_path(self, digest: str) -> Path:
        """Return the path of a well-formed name; any other text could point out of the folder."""
        if _DIGEST.fullmatch(digest) is None:
            raise _not_found()
        return self._path(digest)

    def _write(self, path: Path, data: bytes) -> None:
        """Make the object appear whole or not at all, and stay after a power failure."""
        shard = path.parent
        is_new_shard = not shard.is_dir()
        shard.mkdir(parents=True, exist_ok=True)
        replace_file(path, [data], mode=0o666)  # less the process's mask
        if is_new_shard:
            sync_folder(self.root)


def _holds(path: Path, data: bytes) -> bool:
    """Say whether the file already has exactly these bytes."""
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False


def _unreadable(failed: OSError) -> StorageError:
    return StorageError(
        "An object could not be read.",
        reason="storage.read",
        remedy=f"Check the object folder ({failed.strerror}).",
    )


def _not_found() -> NotFoundError:
    return NotFoundError("No object is stored under this digest.", reason="not-found.object")
