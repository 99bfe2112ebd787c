"""The body of a batch as it comes: a small one in memory, a large one in a private file.

Its digest is taken on the way, so that it is read once. The file is a draft of `whole_files`: who
is killed leaves one behind, which the next start of the gateway sweeps away. A body that has to
outlive its request is synchronised and given a name.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import pyarrow as pa

from gridsecure.crypto.sm3 import Sm3
from gridsecure.errors import StorageError
from gridsecure.gateway.private_files import private_folder
from gridsecure.whole_files import DRAFT, sync_folder

HELD_BYTES: Final = 1 << 20
"""What is held in memory before it goes to the disk; a whole body of that size stays there."""

_BLOCK: Final = 1 << 20


class DiskShare:
    """What bodies may take of the disk, together; safe for threads."""

    def __init__(self, limit: int, *, taken: int = 0) -> None:
        """Begin with what bodies take already.

        Args:
            limit: At most [bytes].
            taken: By bodies that are there [bytes].
        """
        self._limit = limit
        self._taken = taken
        self._lock = threading.Lock()

    def check(self, size: int) -> None:
        """Refuse a body before it comes.

        Raises:
            StorageError: It has no room now (`storage.queue-full`).
        """
        with self._lock:
            self._check(size)

    def take(self, size: int) -> None:
        """Count bytes that are about to be written.

        Raises:
            StorageError: As `check`; nothing is counted.
        """
        with self._lock:
            self._check(size)
            self._taken += size

    def give(self, size: int) -> None:
        """Count bytes that are gone."""
        with self._lock:
            self._taken -= size

    def _check(self, size: int) -> None:
        if self._taken + size > self._limit:
            raise StorageError(
                "The gateway has as many bodies waiting as it may keep.",
                reason="storage.queue-full",
                remedy="Send it again after the seconds that Retry-After names, or in parts.",
            )


class SpooledBody:
    """A body of a batch; closing it removes what was kept of it."""

    def __init__(self, folder: Path, *, share: DiskShare | None = None) -> None:
        """Begin an empty body.

        Args:
            folder: Where a large one is kept while it is read; made when it is needed.
            share: What counts its bytes on the disk, if anything does.
        """
        self._folder = folder
        self._share = share
        self._held = bytearray()
        self._sm3 = Sm3()
        self._digest = ""
        self._path: Path | None = None
        self._file: BinaryIO | None = None
        self._written = 0
        self._is_left = False
        self.size = 0

    @classmethod
    def reopen(cls, path: Path) -> Self:
        """A finished body that was kept; closing it leaves it there.

        Raises:
            StorageError: It cannot be read (`storage.read`).
        """
        body = cls(path.parent)
        body._path, body._is_left = path, True
        try:
            with path.open("rb") as file:
                while block := file.read(_BLOCK):
                    body._sm3.update(block)
                    body.size += len(block)
        except OSError as error:
            raise StorageError(
                "The body of a batch that waited is gone.",
                reason="storage.read",
                remedy="Send the batch again.",
            ) from error
        body._digest = body._sm3.hexdigest()
        return body

    def add(self, part: bytes) -> bool:
        """Take what came, and say whether `spill` should be called before more is taken."""
        self._held += part
        self.size += len(part)
        return len(self._held) > HELD_BYTES

    def spill(self) -> None:
        """Write what is held to the disk.

        Raises:
            StorageError: The disk could not take it (`storage.failed`), or its share is used up
                (`storage.queue-full`).
        """
        if self._share is not None:
            self._share.take(len(self._held))
        self._written += len(self._held)
        with _disk_errors():
            self._spill()

    def _spill(self) -> None:
        if self._file is None:
            self._path = private_folder(self._folder) / f"{DRAFT}{secrets.token_hex(8)}"
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._file = os.fdopen(descriptor, "wb", buffering=0)
        if not self._digest:
            self._sm3.update(self._held)
        view = memoryview(self._held)
        while view:
            view = view[self._file.write(view) :]
        view.release()
        self._held = bytearray()

    def finish(self) -> str:
        """Digest of the whole body [SM3, hex]; nothing is added afterwards.

        Raises:
            StorageError: As `spill`.
        """
        if self._digest:
            return self._digest
        if self._file is not None:
            self.spill()
            self._file.close()
        else:
            self._sm3.update(self._held)
        self._digest = self._sm3.hexdigest()
        return self._digest

    def keep(self, path: Path) -> None:
        """Finish it and make it durable under a name, until it is closed or left there.

        Args:
            path: In a folder of the same disk; made when it is needed.

        Raises:
            StorageError: As `spill`.
        """
        self.finish()
        if self._file is None:
            self.spill()
        if self._file is None or self._path is None:
            raise AssertionError("what was spilled has a file")
        self._file.close()
        with _disk_errors():
            descriptor = os.open(self._path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            private_folder(path.parent)
            self._path.rename(path)
            self._path = path
            sync_folder(path.parent)

    def leave(self) -> None:
        """Have a kept body stay when it is closed; its bytes stay counted."""
        self._is_left = True

    def open(self) -> pa.NativeFile:
        """The finished body, to be read from its beginning."""
        if self._path is None:
            return pa.BufferReader(bytes(self._held))
        return pa.OSFile(str(self._path))

    def close(self) -> None:
        """Remove it, unless it was left where it is."""
        if self._file is not None:
            self._file.close()
        self._held = bytearray()
        if self._is_left:
            return
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        if self._share is not None:
            self._share.give(self._written)
        self._written = 0

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Remove it."""
        self.close()


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"The body of the batch could not be kept: {error.strerror}.",
            remedy="Free disk space or check the gateway's folder, then send it again.",
        ) from error
