"""Texts that people write to each other: on the command line, from a file or standard input.

What stands on the command line is read by every user of the machine, and kept by the shell.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from gridsecure.errors import InputError

TEXT_HELP: Final = "@FILE is read from a file, and - from standard input."
_LARGEST: Final = 100_000
"""Characters that are read: more than any text may have."""


def read_text(text: str) -> str:
    """A text as it was given, or what it names.

    Raises:
        InputError: The file cannot be read, or is no UTF-8 (`question.file`).
    """
    if text == "-":
        return sys.stdin.read(_LARGEST)
    if not text.startswith("@"):
        return text
    path = Path(text.removeprefix("@"))
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_LARGEST)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path.name} cannot be read as text.",
            reason="question.file",
            remedy="Name a file of UTF-8 after @, or give - and write the text to standard input.",
        ) from error
