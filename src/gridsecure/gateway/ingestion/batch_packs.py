"""Files of batches that came together, in one ZIP file: one wait for the disk is enough for them.

    readings/<name>.zip     `<digest>.parquet` of each batch, byte by byte as it would lie by itself

What a receipt and a row name is the digest of a batch's own file, so that nothing they say depends
on whoever came beside it. A row says which pack its batch lies in. Nothing in a pack is compressed
again, and any program that reads ZIP files takes it apart.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final
from zipfile import BadZipFile, ZipFile, ZipInfo

from gridsecure.gateway.private_files import private_folder
from gridsecure.whole_files import replace_file

PACK: Final = ".zip"


class BatchPack:
    """Files of batches until they are kept, all or none.

    Attributes:
        name: Of the pack; no other has it.
    """

    def __init__(self, folder: Path) -> None:
        """Begin with no files.

        Args:
            folder: Of the batches; made when it is needed.
        """
        self.name = secrets.token_hex(16)
        self._folder = folder
        self._files: dict[str, bytes] = {}

    def add(self, name: str, data: bytes) -> None:
        """Take in a file; what has its name already has the same digest, and is the same."""
        self._files[name] = data

    def keep(self) -> None:
        """Make the files durable.

        Raises:
            OSError: The disk refuses; nothing of them is there.
        """
        packed = BytesIO()
        with ZipFile(packed, "w") as pack:
            for name, data in self._files.items():
                pack.writestr(ZipInfo(name), data)  # which has no time of its own
        path = private_folder(self._folder) / f"{self.name}{PACK}"
        replace_file(path, [packed.getvalue()])


@contextmanager
def open_stored(path: Path) -> Iterator[BinaryIO]:
    """A file that lies by itself, or in a pack, which then stands in its path as a folder would.

    Raises:
        OSError: It is gone or cannot be read.
    """
    if path.parent.suffix != PACK:
        with path.open("rb") as file:
            yield file
        return
    try:
        with ZipFile(path.parent) as pack:
            data = pack.read(path.name)
    # The library tells damage by all of these; of what it does not support it is a RuntimeError.
    except (BadZipFile, KeyError, RuntimeError, EOFError, ValueError, zlib.error) as altered:
        raise OSError from altered
    yield BytesIO(data)
