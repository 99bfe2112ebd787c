"""Reading a TOML file that somebody handed in, within bounds of time and memory."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from typing import Any, Final

from gridsecure.errors import InputError

LARGEST_TEXT: Final = 1 << 20
"""Characters of a document."""
_MOST_DOTS: Final = 64
_STRING: Final = re.compile(
    r'''"""(?:\\.|[^\\]|\\\Z)*?(?:"{3,5}|\Z)|"(?:\\[^\n]|[^"\\\n])*"?'''
    r"""|'''.*?(?:'{3,5}|\Z)|'[^'\n]*'?|\#[^\n]*""",
    re.DOTALL,
)
"""Strings and comments; an unfinished one, at which reading ends, goes to the end."""
_KEY: Final = re.compile(r"\(['\"].*?\)(?= twice \(at | \(at )", re.DOTALL)
"""A key as the parser's messages name it: as a value of Python."""
_BETWEEN: Final = re.compile(r"[\n,=\[\]{}]")
"""What no key has outside of strings; numbers of an array have one between them."""


def read_document(
    text: str,
    *,
    name: str,
    refuse: Callable[[str], InputError],
    largest: int = LARGEST_TEXT,
    parse_float: Callable[[str], Any] = float,
) -> dict[str, Any]:
    """Read a TOML text.

    Args:
        name: What it is, as in "rule book".
        refuse: Makes the error of what is wrong with it, a sentence without its full stop.
        largest: Most characters.
        parse_float: Makes a number with decimals from its text.

    Raises:
        InputError: As `refuse` makes it: the text is too long, too deep or no TOML, or has a
            number that cannot be held.
    """
    if len(text) > largest:
        raise refuse(f"The {name} is longer than {largest:,} characters")
    # The time to read a key rises with the square of its parts: one of a megabyte takes hours.
    if any(part.count(".") > _MOST_DOTS for part in _BETWEEN.split(_STRING.sub("", text))):
        raise refuse(f"A key of the {name} has more than {_MOST_DOTS} dots")
    try:
        return tomllib.loads(text, parse_float=parse_float)
    except (ValueError, RecursionError) as error:
        why = _KEY.sub("a key", str(error))
        raise refuse(f"The {name} is not valid TOML ({why})") from error
    except ArithmeticError as error:  # the decimal module's
        raise refuse(f"The {name} has a number whose exponent is too large") from error
