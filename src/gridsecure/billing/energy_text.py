"""kWh text to exact Wh.

Text becomes an integer digit by digit, never through a binary fraction, so 0.1 kWh is 100 Wh and
not something near it. What would need rounding is refused, with a status per cell; what to do with
a refused cell (quarantine, refuse the file) is the caller's decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# 9 digits before the point is 1 TWh in one interval: past every meter, and small enough that
# a year of 5-minute intervals summed and multiplied by a spike factor stays inside int64.
MAX_INTEGER_DIGITS: Final = 9
KWH_DECIMALS: Final = 3

_CELL_BYTES = 32
_SHORT_BYTES = 12
_CHUNK_CELLS = 1 << 18
_MISSING_WORDS = np.array(
    [b"nan", b"NaN", b"NAN", b"null", b"NULL", b"NA", b"N/A", b"#N/A", b"None", b"missing"]
)


class EnergyStatus(IntEnum):
    """What a cell of kWh text turned out to be."""

    EXACT = 0
    MISSING = 1
    NOT_A_NUMBER = 2
    TOO_MANY_DECIMALS = 3
    TOO_LARGE = 4


@dataclass(frozen=True, slots=True)
class EnergyText:
    """The outcome of reading kWh text.

    Attributes:
        energy_wh: Exact energy [Wh]; 0 wherever `status` is not `EXACT`.
        status: One `EnergyStatus` per cell.
    """

    energy_wh: NDArray[np.int64]
    status: NDArray[np.uint8]


def kwh_to_wh(text: NDArray[Any] | pd.Series[str]) -> EnergyText:
    """Read kWh decimals as exact Wh, vectorised.

    Accepted: an optional sign, up to 9 digits, optionally a point and up to three decimals, with
    any zeros after them. Blank cells and the usual spellings of NaN and null are `MISSING`.

    Args:
        text: Cells of text [kWh], any shape; flattened in C order.

    Returns:
        Energies [Wh] and a status per cell. Nothing is rounded: a fourth decimal other than zero
        is `TOO_MANY_DECIMALS`.
    """
    cells = np.asarray(text, dtype=object).ravel()
    energy_wh = np.zeros(len(cells), dtype=np.int64)
    status = np.zeros(len(cells), dtype=np.uint8)
    for first in range(0, len(cells), _CHUNK_CELLS):
        part = slice(first, first + _CHUNK_CELLS)
        # Cells are short; the few chunks with a longer one are looked at in full.
        narrow = _as_bytes(cells[part], _SHORT_BYTES)
        if narrow.view(np.uint8)[_SHORT_BYTES - 1 :: _SHORT_BYTES].any():
            # One byte more than a legal cell may have, so that a cut-off cell is seen to be long.
            narrow = _as_bytes(cells[part], _CELL_BYTES + 1)
        characters = narrow.view(np.uint8).reshape(len(narrow), -1).T
        read = read_characters(np.ascontiguousarray(characters))
        energy_wh[part], status[part] = read.energy_wh, read.status
    return EnergyText(energy_wh, status)


def _as_bytes(cells: NDArray[np.object_], width: int) -> NDArray[np.bytes_]:
    try:
        return cells.astype(f"S{width}")
    except UnicodeEncodeError:
        # Full-width digits and the like: they become "?" and are refused as not a number.
        texts = [str(cell).encode("ascii", "replace") for cell in cells]
        return np.array(texts, dtype=f"S{width}")


def read_characters(characters: NDArray[np.uint8]) -> EnergyText:
    """Read cells of kWh text as `kwh_to_wh` does, one character position of all cells per step.

    Args:
        characters: Characters [positions, cells], zero behind the end of a cell. A cell whose last
            position is taken is no number, for there may have been more of it.
    """
    count = characters.shape[1]
    value = np.zeros(count, dtype=np.int64)
    digits = np.zeros(count, dtype=np.int8)
    decimals = np.zeros(count, dtype=np.int8)
    after_point = np.zeros(count, dtype=bool)
    inexact = np.zeros(count, dtype=bool)
    bad = characters[-1] != 0
    signed = (characters[0] == ord("-")) | (characters[0] == ord("+"))
    for position, character in enumerate(characters):
        if not character.any():
            break
        digit = character - np.uint8(48)
        is_digit = digit < 10
        is_point = character == ord(".")
        # Past 18 digits the product may wrap; such cells are TOO_LARGE or refused below anyway.
        kept = is_digit & (decimals < KWH_DECIMALS)
        np.multiply(value, 10, out=value, where=kept)
        np.add(value, digit, out=value, where=kept)
        inexact |= is_digit & ~kept & (digit != 0)
        digits += is_digit
        decimals += is_digit & after_point
        bad |= is_point & after_point
        after_point |= is_point
        legal = is_digit | is_point | (character == 0)
        bad |= ~(legal | signed) if position == 0 else ~legal
    status = np.zeros(count, dtype=np.uint8)
    status[digits - decimals > MAX_INTEGER_DIGITS] = EnergyStatus.TOO_LARGE
    status[inexact] = EnergyStatus.TOO_MANY_DECIMALS
    status[bad | (digits == 0)] = EnergyStatus.NOT_A_NUMBER
    odd = np.flatnonzero(status == EnergyStatus.NOT_A_NUMBER)
    cells = np.ascontiguousarray(characters[:, odd].T).view(f"S{len(characters)}").ravel()
    blank = (cells == b"") | np.isin(cells, _MISSING_WORDS)
    status[odd[blank]] = EnergyStatus.MISSING
    value *= 10 ** (KWH_DECIMALS - np.minimum(decimals, KWH_DECIMALS).astype(np.int64))
    np.negative(value, out=value, where=characters[0] == ord("-"))
    value[status != EnergyStatus.EXACT] = 0
    return EnergyText(value, status)
