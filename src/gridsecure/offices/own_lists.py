"""Lists that the billing office keeps on its own machine, each in one file, whole or not at all."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from gridsecure.errors import InvalidMessageError, StorageError
from gridsecure.messages import Message
from gridsecure.whole_files import replace_file

ListT = TypeVar("ListT", bound=Message)


@dataclass(frozen=True, slots=True)
class OwnList(Generic[ListT]):
    """How a list of one kind is kept.

    Args:
        failure: Said when its file cannot be read or written; the file is named behind it.
        empty: The list where there is no file yet.
        reason: Of that refusal, and `remedy` its way out.
    """

    failure: str
    empty: ListT
    reason: str
    remedy: str

    def read(self, path: Path) -> ListT:
        """The list in a file; an empty one where there is no file yet.

        Raises:
            StorageError: It cannot be read, or is no such list.
        """
        try:
            return type(self.empty).parse(path.read_bytes())
        except FileNotFoundError:
            return self.empty
        except (OSError, InvalidMessageError) as error:
            raise self._failed(path) from error

    @contextmanager
    def changing(self, path: Path) -> Iterator[ListT]:
        """The list in a file, which nobody else reads to change it until the block ends.

        Raises:
            StorageError: As `read`, or the disk refuses.
        """
        try:
            lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._failed(path) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.read(path)
        finally:
            os.close(lock)

    def write(self, path: Path, kept: ListT) -> None:
        """Write the list in place of the earlier one, whole or not at all.

        Raises:
            StorageError: The disk refuses; the earlier list stays.
        """
        try:
            replace_file(path, [kept.model_dump_json(indent=1).encode() + b"\n"])
        except OSError as error:
            raise self._failed(path) from error

    def _failed(self, path: Path) -> StorageError:
        return StorageError(f"{self.failure} ({path.name})", reason=self.reason, remedy=self.remedy)
