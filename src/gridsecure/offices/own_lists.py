"""Lists that the billing office keeps on its own machine, each in one file, whole or not at all."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from gridsecure.errors import InvalidMessageError, StorageError
from gridsecure.messages import Message
from gridsecure.whole_files import replace_file

ListT = TypeVar("ListT", bound=Message)


def read_list(path: Path, empty: ListT, *, reason: str) -> ListT:
    """The list in a file; an empty one where there is no file yet.

    Args:
        empty: An empty list of its kind.
        reason: Of the refusal.

    Raises:
        StorageError: It cannot be read, or is no such list.
    """
    try:
        return type(empty).parse(path.read_bytes())
    except FileNotFoundError:
        return empty
    except (OSError, InvalidMessageError) as error:
        raise StorageError(
            f"{path.name} holds no list of {empty.kind}.",
            reason=reason,
            remedy="Check its path, or restore the file from its backup.",
        ) from error


@contextmanager
def holding_list(path: Path, *, reason: str) -> Iterator[None]:
    """Let nobody else read a list to change it, until this one is written: the next waits.

    Raises:
        StorageError: The disk refuses.
    """
    try:
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unwritten(path, reason) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def write_list(path: Path, kept: Message, *, reason: str) -> None:
    """Write a list in place of the earlier one.

    Raises:
        StorageError: The disk refuses.
    """
    try:
        replace_file(path, [kept.model_dump_json(indent=1).encode() + b"\n"])
    except OSError as error:
        raise _unwritten(path, reason) from error


def _unwritten(path: Path, reason: str) -> StorageError:
    return StorageError(
        f"{path.name} could not be written; the earlier list stays.",
        reason=reason,
        remedy="Give a place that can be written, with enough free space.",
    )
