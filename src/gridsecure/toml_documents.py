"""Reading a TOML file that somebody handed in, within bounds of time and memory."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any, Final

from gridsecure.errors import InputError

LARGEST_TEXT: Final = 1 << 20
"""Characters of a document."""
_MOST_DOTS: Final = 64


def read_document(text: str, *, name: str, refuse: Callable[[str], InputError]) -> dict[str, Any]:
    """Read a TOML text.

    Args:
        name: What it is, as in "rule book".
        refuse: Makes the error of what is wrong with it, a sentence without its full stop.

    Raises:
        InputError: As `refuse` makes it: the text is too long, too deep or no TOML.
    """
    if len(text) > LARGEST_TEXT:
        raise refuse(f"The {name} is longer than {LARGEST_TEXT:,} characters")
    # The time to read a key rises with the square of its parts: one of a megabyte takes hours.
    if any(line.count(".") > _MOST_DOTS for line in text.split("\n")):
        raise refuse(f"A line of the {name} has more than {_MOST_DOTS} dots")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise refuse(f"The {name} is not valid TOML ({error})") from error
