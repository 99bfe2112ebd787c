"""Exact amounts to the fen. Worker processes round too, and load no data frames for it."""

from __future__ import annotations

import numpy as np

from gridsecure.billing.charges import AMOUNT_UNITS_PER_FEN, IntegerArray


def round_half_up(amounts: IntegerArray) -> IntegerArray:
    """Round exact amounts [1e-11 yuan] to the fen, halves away from zero.

    Args:
        amounts: Integers at least half a fen away from the ends of their dtype.

    >>> round_half_up(np.array([1_500_000_000, 1_499_999_999, -1_500_000_000])).tolist()
    [2, 1, -2]
    """
    magnitudes = (abs(amounts) + AMOUNT_UNITS_PER_FEN // 2) // AMOUNT_UNITS_PER_FEN
    rounded: IntegerArray = np.where(amounts < 0, -magnitudes, magnitudes)
    return rounded
