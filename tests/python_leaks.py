"""Words of Python in what people read: found in every error that a test raises.

A message is read by billing staff, who know neither classes nor `None`. Whatever is formatted into
one by mistake, a data class, a path, a list, a moment of a library, shows by how Python spells it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gridsecure.errors import GridSecureError, InvalidReadingsError

_CLASSES = (
    "PosixPath|WindowsPath|Timestamp|Timedelta|DatetimeIndex|Decimal|Fraction|datetime|timedelta"
    "|array|frozenset|set|dict_keys|dict_values|mappingproxy|Counter|deque|bytearray|memoryview"
    "|int64|float64|ZoneInfo|range"
)
SPELLINGS = tuple(
    re.compile(pattern)
    for pattern in (
        r"\b[A-Z]\w*\(\w+=",  # a data class
        rf"(?<![\w.-])(?:\w+\.)*(?:{_CLASSES})\((?!s\))",
        r"<class '|<function |<built-in |<bound method |<\w[\w.]* object|<[A-Z]\w*\.\w+: ",
        # A list, dictionary or tuple of texts, or a call; a quoted word in parentheses is none.
        r"[\[{]\s*'[^']*'\s*[,:\]}]|\(\s*'[^']*'\s*,|\w\(\s*'",
        r"\[(?:\d+, )+\d+\]|\{\d+: |\(\d+,\)",
        r"(?<!')\bb'|\bNone\b(?! of )|\b(?:True|False)\b|\bNaT\b|<NA>|(?<![\w'])nan\b",
        r"\bTraceback\b|\b[A-Z]\w+Error\b|\bdtype\b",
    )
)


def spelled_by_python(text: str) -> list[str]:
    """What in a text only Python spells that way."""
    return [found.group() for pattern in SPELLINGS for found in pattern.finditer(text)]


_MADE, _MADE_WITH_PROBLEMS = GridSecureError.__init__, InvalidReadingsError.__init__


@contextmanager
def watched_errors() -> Iterator[list[str]]:
    """Every message, remedy and problem with words of Python in it, of errors made in the block."""
    found: list[str] = []

    def look(*texts: str) -> None:
        found.extend(text for text in texts if spelled_by_python(text))

    def made(error: GridSecureError, message: str, **said: str) -> None:
        _MADE(error, message, **said)
        look(message, error.remedy)

    def made_with_problems(error: InvalidReadingsError, message: str, **said: object) -> None:
        _MADE_WITH_PROBLEMS(error, message, **said)
        look(*map(str, error.problems))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GridSecureError, "__init__", made)
        patch.setattr(InvalidReadingsError, "__init__", made_with_problems)
        yield found


@contextmanager
def unwatched_errors() -> Iterator[None]:
    """Errors made in the block are not looked at: they quote what chance has written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GridSecureError, "__init__", _MADE)
        patch.setattr(InvalidReadingsError, "__init__", _MADE_WITH_PROBLEMS)
        yield
