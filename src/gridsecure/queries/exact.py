"""Numbers and names in a question: exact, bounded, and spelled in one way."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema

from gridsecure.errors import InputError

MAX_NAMES: Final = 1_000
"""Most names in one list of a question."""
MAX_NAME: Final = 200
"""Longest name [characters]."""
_PATTERN: Final = r"-?[0-9]{1,12}(\.[0-9]{1,9})?"
_NUMBER: Final = re.compile(_PATTERN)


def spell_number(number: Decimal) -> str:
    """A number in its one spelling.

    >>> spell_number(Decimal("0.650")), spell_number(Decimal("-0")), spell_number(Decimal("100"))
    ('0.65', '0', '100')
    """
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _read_exact(value: object, info: ValidationInfo) -> str:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    text = str(value) if is_number else value
    if not isinstance(text, str) or _NUMBER.fullmatch(text) is None:
        raise InputError(
            f"In {info.field_name}, a number is not exact.",
            reason="query.number",
            remedy='Write whole numbers, or text as in "0.65": up to 12 digits, then up to 9.',
        )
    return spell_number(Decimal(text))


def _read_positive(value: object, info: ValidationInfo) -> str:
    text = _read_exact(value, info)
    if text.startswith("-"):
        raise InputError(
            f"In {info.field_name}, a number is negative.",
            reason="query.negative",
            remedy="Rates, weights, limits and given amounts are 0 or more.",
        )
    return text


def _sort_names(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        return value
    if len(value) > MAX_NAMES:
        raise InputError(
            f"In {info.field_name} there are too many names.",
            reason="query.size",
            remedy=f"Name up to {MAX_NAMES}, or describe them by what they have in common.",
        )
    return sort_texts(value)


def sort_texts(texts: Iterable[str]) -> list[str]:
    """Texts in order, each once: two lists of the same are one spelling."""
    return sorted(set(texts))


_SCHEMA: Final = {"anyOf": [{"type": "string", "pattern": f"^{_PATTERN}$"}, {"type": "integer"}]}
_UNSIGNED: Final = f"^{_PATTERN.removeprefix('-?')}$"

Exact = Annotated[str, BeforeValidator(_read_exact), WithJsonSchema(_SCHEMA)]
"""A decimal number as text; a whole one may be written as a number."""

Unsigned = Annotated[
    str,
    BeforeValidator(_read_positive),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": _UNSIGNED}, {"type": "integer", "minimum": 0}]}
    ),
]
"""The same, 0 or more."""

Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME, pattern=r"^[^\x00-\x1f\x7f]+$")]

Names = Annotated[list[Name], BeforeValidator(_sort_names), Field(min_length=1)]
"""Names of which any may hold."""
