"""Words that one person wrote and another reads on a terminal, so nothing in them steers one.

Refused are control characters (an escape sequence rewrites the screen or the clipboard), and what
reorders or hides the words around it.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, Final

from pydantic import AfterValidator

_STEERING: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_UNSEEN: Final = frozenset("\u115f\u1160\u17b4\u17b5\u3164\uffa0")
"""Letters, to Unicode, of which nothing is seen."""
_JOINERS: Final = "\u200c\u200d"
"""Formatting characters that scripts and pictures are spelled with, and that do nothing else."""


def is_plain(text: str, *, but: str = "") -> bool:
    """Whether a text has nothing that steers a terminal.

    Args:
        but: Control characters that it may have.
    """
    return all(
        one in but
        or one in _JOINERS
        or (one not in _UNSEEN and unicodedata.category(one) not in _STEERING)
        for one in text
    )


def printable(text: str) -> str:
    r"""A text that another party had a part in, with a sign in the place of what steers a terminal.

    >>> printable("a\x1b[2J\nb")
    'a\ufffd[2J\ufffdb'
    """
    return "".join(one if is_plain(one) else "\N{REPLACEMENT CHARACTER}" for one in text)


def _words(text: str) -> str:
    if not is_plain(text, but="\n\t"):
        raise ValueError("has control characters")
    return text


def one_line(text: str) -> str:
    """The text, unless something in it steers a terminal: what `OneLine` is read by.

    Raises:
        ValueError: Something does.
    """
    if not is_plain(text):
        raise ValueError("has control characters")
    return text


Words = Annotated[str, AfterValidator(_words)]
"""Text of lines that steers no terminal."""
OneLine = Annotated[str, AfterValidator(one_line)]
"""The same in one line."""
