"""The body of a batch as it comes: a small one in memory, a large one in a private file.

Its digest is taken on the way, so that it is read once. The file is a draft of `whole_files`: who
is killed leaves one behind, which the next start of the gateway sweeps away.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import pyarrow as pa

from gridsecure.crypto.sm3 import Sm3
from gridsecure.errors import StorageError
from gridsecure.gateway.private_files import private_folder
from gridsecure.whole_files import DRAFT

HELD_BYTES: Final = 1 << 20
"""What is held in memory before it goes to the disk; a whole body of that size stays there."""


class SpooledBody:
    """A body of a batch; closing it removes what was kept of it."""

    def __init__(self, folder: Path) -> None:
        """Begin an empty body.

        Args:
            folder: Where a large one is kept while it is read; made when it is needed.
        """
        self._folder = folder
        self._held = bytearray()
        self._sm3 = Sm3()
        self._path: Path | None = None
        self._file: BinaryIO | None = None
        self.size = 0

    def add(self, part: bytes) -> bool:
        """Take what came, and say whether `spill` should be called before more is taken."""
        self._held += part
        self.size += len(part)
        return len(self._held) > HELD_BYTES

    def spill(self) -> None:
        """Write what is held to the disk.

        Raises:
            StorageError: The disk could not take it (`storage.failed`).
        """
        try:
            self._spill()
        except OSError as error:
            raise StorageError(
                f"The body of the batch could not be kept: {error.strerror}.",
                remedy="Free disk space or check the gateway's folder, then send it again.",
            ) from error

    def _spill(self) -> None:
        if self._file is None:
            self._path = private_folder(self._folder) / f"{DRAFT}{secrets.token_hex(8)}"
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._file = os.fdopen(descriptor, "wb", buffering=0)
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
        if self._file is not None:
            self.spill()
            self._file.close()
        else:
            self._sm3.update(self._held)
        return self._sm3.hexdigest()

    def open(self) -> pa.NativeFile:
        """The finished body, to be read from its beginning."""
        if self._path is None:
            return pa.BufferReader(bytes(self._held))
        return pa.OSFile(str(self._path))

    def close(self) -> None:
        """Remove it."""
        if self._file is not None:
            self._file.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self._held = bytearray()

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
