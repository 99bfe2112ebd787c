"""Files that a command sends as parts of one form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from gridsecure.errors import InputError

Parts = list[tuple[str, tuple[str, BinaryIO]]]
"""Name of the part, and name and content of its file."""


@contextmanager
def open_parts(*named: tuple[str, Sequence[Path] | None]) -> Iterator[Parts | None]:
    """Files as parts of a form, open until the block ends; None where there are none.

    Args:
        named: Name of the parts, and their files.

    Raises:
        InputError: One cannot be read (`form.file`).
    """
    with ExitStack() as held:
        parts = [
            (name, (path.name, held.enter_context(_opened(path))))
            for name, paths in named
            for path in paths or ()
        ]
        yield parts or None


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(
            f"The file {path.name!r} cannot be read: {error.strerror}.",
            reason="form.file",
            remedy="Check the path and the permissions.",
        ) from error
