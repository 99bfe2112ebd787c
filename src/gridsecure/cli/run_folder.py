"""The folder of a run, which goes again when nothing came of it.

Until the services are up there is nothing in it that anyone could want: keys nobody used, copies of
the input. What a service wrote before it failed is kept, for the message sends its reader there.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gridsecure.errors import StorageError


@dataclass(slots=True)
class RunFolder:
    """A new folder.

    Args:
        path: Where it is.
        is_kept: Whether it stays.
    """

    path: Path
    is_kept: bool = False


@contextmanager
def new_folder(parent: Path, *, now: datetime) -> Iterator[RunFolder]:
    """Make a run's folder, and take it away when the block ends before it is said to be kept.

    Args:
        parent: Where it is made.
        now: The present, aware.

    Raises:
        StorageError: The folder cannot be written (`run.folder`).
    """
    path = parent / now.strftime("%Y%m%d-%H%M%S")
    made = [place for place in (path, *path.parents) if not place.exists()]
    try:
        path.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise StorageError(
            f"The run's folder cannot be made below {parent}.",
            reason="run.folder",
            remedy=f"Choose another place with --home ({error.strerror}).",
        ) from error
    folder = RunFolder(path)
    try:
        yield folder
    finally:
        if not folder.is_kept:
            _take_away(path, made)


def _take_away(folder: Path, made: list[Path]) -> None:
    """Remove what is in the folder but logs that say something, and what is then empty."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix != ".log" or path.stat().st_size == 0:
            path.unlink()
    with suppress(OSError):
        for place in made:
            place.rmdir()
