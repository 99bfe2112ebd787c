"""Energies as people, spreadsheets and programs write them, to plain decimals.

Decimal commas, marks between thousands, scientific notation, full-width digits and blanks change
how a number looks and not what it is, as long as it can be one number only. `1,234` can be two: it
is read where the file's other cells show which mark is its decimal one, and where the rest of the
cell does (`1,234.5`, `1,234,567`). What stays open is left as it is, for the caller to refuse.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_SIGNED: Final = r"^\s*[-+]?"
# What only a decimal comma or only a decimal point can write; the other mark groups by three.
_DECIMAL_COMMA: Final = (
    _SIGNED + r"(?:0*,\d+|\d+,(?:\d{1,2}|\d{4,})|\d{4,},\d+|\d{1,3}(?:\.\d{3})+,\d+"
    r"|\d{1,3}(?:\.\d{3}){2,})\s*$"
)
_DECIMAL_POINT: Final = (
    _SIGNED + r"(?:0*\.\d+|\d+\.(?:\d{1,2}|\d{4,})|\d{4,}\.\d+|\d{1,3}(?:,\d{3})+\.\d+"
    r"|\d{1,3}(?:,\d{3}){2,})\s*$"
)
_GROUPED: Final = re.compile(
    r"([-+]?\d{1,3})((?:([,.' \u00a0\u202f’])\d{3})(?:\3\d{3})*)([.,]\d+)?"
)
_ONE_MARK: Final = re.compile(r"([-+]?\d*)([.,])(\d+)")
_SCIENTIFIC: Final = re.compile(r"[-+]?\d(?:\.\d*)?[eE][-+]?\d{1,2}")
_LAST_DIGIT: Final = -3
"""A number in scientific notation has to be written down to the Wh, or digits may be lost."""


def decimal_mark(columns: Iterable[pd.Series[Any]]) -> str | None:
    """The decimal mark that the cells of a file prove, or None where they prove none or both.

    Args:
        columns: Of text or its categories.
    """
    comma = point = False
    for column in columns:
        # Each text once, and of those only what has a mark: whole numbers prove none.
        texts = pd.Series(column.unique()).astype("str")
        marked = texts[texts.str.contains("[.,]", regex=True)]
        comma = comma or bool(marked.str.contains(_DECIMAL_COMMA).any())
        point = point or bool(marked.str.contains(_DECIMAL_POINT).any())
    return {(True, False): ",", (False, True): "."}.get((comma, point))


def to_plain(texts: NDArray[Any], *, mark: str | None) -> NDArray[np.object_]:
    """Cells as decimals with a point, where they can be one number only.

    Args:
        mark: The decimal mark of the file, as `decimal_mark` found it.
    """
    which, unique = pd.factorize(texts)
    plain = np.array([_plain(str(text), mark) for text in unique], dtype=object)
    return plain[which]


def _plain(written: str, mark: str | None) -> str:
    if written.isascii() and written.isdigit():
        return written
    # Full-width digits, points and blanks are the same characters in another width.
    text = unicodedata.normalize("NFKC", written).strip().replace("\u2212", "-")
    grouped = _GROUPED.fullmatch(text)
    one = _ONE_MARK.fullmatch(text)
    if _SCIENTIFIC.fullmatch(text):
        number = Decimal(text)
        exponent = number.as_tuple().exponent
        exact = isinstance(exponent, int) and exponent <= _LAST_DIGIT
        return f"{number:f}" if exact or not number else written
    if one is not None:
        # The other mark alone, as 12.345 among decimal commas, could be either: no number.
        return f"{one[1]}.{one[3]}" if one[2] == (mark or ".") else f"{written}?"
    if grouped is None:
        return text
    whole, decimals = grouped[1] + re.sub(r"\D", "", grouped[2]), grouped[4] or ""
    return written if grouped[3] == decimals[:1] else whole + decimals.replace(",", ".")
