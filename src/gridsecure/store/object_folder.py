"""A folder that keeps bytes under names.

Not obstore's own store of files: that renames a file into place without synchronising it, so that
after a power failure a name could show an empty file. `whole_files` synchronises the file and its
folder. A process killed in between leaves only a draft, which no reader sees.

A folder may come from somebody else. So what lies under a name and is no regular file has no
size, and whoever asks for that first never opens it: a pipe would wait for ever, and a link leads
elsewhere.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gridsecure.errors import NotFoundError, StorageError
from gridsecure.whole_files import replace_file, sync_folder


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What a store lists.

    Args:
        size: Its length [bytes].
        at: When it was last written.
    """

    name: str
    size: int
    at: datetime

    @property
    def digest(self) -> str:
        """The object's digest, or what is no digest if a killed writer left it."""
        return self.name.replace("/", "")


class ObjectFolder:
    """Bytes under names, one file each.

    Args:
        root: The folder; it is made when the first object is stored.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, name: str, /, *, start: int = 0, length: int | None = None) -> bytes:
        """The bytes of a name, or a range of them.

        Raises:
            NotFoundError: There is no such name.
            StorageError: The disk refuses to read.
        """
        try:
            with (self.root / name).open("rb", buffering=0) as file:
                file.seek(start)
                return file.read(-1 if length is None else length)
        except FileNotFoundError as missing:
            raise not_found() from missing
        except OSError as failed:
            raise _unreadable(failed) from failed

    def write(self, name: str, data: bytes, /) -> None:
        """Keep bytes under a name, unless they are there already.

        Raises:
            StorageError: The disk is full or refuses; nothing is visible under the name.
        """
        path = self.root / name
        try:
            if not _holds(path, data):
                self._write(path, data)
        except OSError as failed:
            raise StorageError(
                "An object could not be stored; nothing was half-written.",
                reason="storage.write",
                remedy=f"Check space and permissions of the object folder ({failed.strerror}).",
            ) from failed

    def size(self, name: str, /) -> int:
        """How long the bytes of a name are.

        Raises:
            NotFoundError: There is no such name.
            StorageError: The disk refuses to say.
        """
        try:
            found = (self.root / name).lstat()
            if stat.S_ISREG(found.st_mode):
                return found.st_size
        except FileNotFoundError as missing:
            raise not_found() from missing
        except OSError as failed:
            raise _unreadable(failed) from failed
        raise not_found()

    def list_stored(self) -> Iterator[StoredObject]:
        """What there is, drafts of killed writers included."""
        for path in self.root.glob("*/*"):
            with suppress(FileNotFoundError):  # a draft that became an object meanwhile
                found = path.stat()
                at = datetime.fromtimestamp(found.st_mtime, UTC)
                yield StoredObject(str(path.relative_to(self.root)), found.st_size, at)

    def remove(self, names: Sequence[str], /) -> None:
        """Remove names.

        Raises:
            StorageError: The disk refuses.
        """
        try:
            for name in names:
                (self.root / name).unlink(missing_ok=True)
        except OSError as failed:
            raise StorageError(
                "An object could not be removed.",
                reason="storage.write",
                remedy=f"Check permissions of the object folder ({failed.strerror}).",
            ) from failed

    def _write(self, path: Path, data: bytes) -> None:
        """Make the object appear whole or not at all, and stay after a power failure."""
        shard = path.parent
        is_new_shard = not shard.is_dir()
        shard.mkdir(parents=True, exist_ok=True)
        replace_file(path, [data], mode=0o666)  # less the process's mask
        if is_new_shard:
            sync_folder(self.root)


def not_found() -> NotFoundError:
    """That nothing is stored under a name."""
    return NotFoundError("No object is stored under this digest.", reason="not-found.object")


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
