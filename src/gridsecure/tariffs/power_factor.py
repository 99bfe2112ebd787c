"""Power-factor adjustment (力调电费): the national table and the factor it is looked up by.

Source: (83)水电财字第215号, as restated by a public tariff library; the table is published for
three standards and changes in straight steps, so it is kept as those steps. `tests/billing` holds
every printed value against an independently written table.

A factor is a whole number of hundredths, 0 to 100. A percentage is a whole number of hundredths
of a percent: -75 is -0.75 %, a reward.
"""

from __future__ import annotations

from itertools import pairwise
from math import isqrt
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridsecure.errors import InvalidReadingsError

HIGHEST_FACTOR: Final = 100
"""A power factor of 1.00, in hundredths."""

# (factor, percentage there), from the best factor down; straight lines between them. Below the
# last point two percent more for every hundredth, as the last printed step says.
_KNEES: Final[dict[str, tuple[tuple[int, int], ...]]] = {
    "0.90": ((100, -75), (95, -75), (90, 0), (70, 1000), (65, 1500)),
    "0.85": ((100, -110), (94, -110), (90, -50), (85, 0), (65, 1000), (60, 1500)),
    "0.80": ((100, -130), (92, -130), (90, -100), (80, 0), (60, 1000), (55, 1500)),
}
_LAST_STEP: Final = 200
STANDARDS: Final = tuple(_KNEES)


def adjustment_table(standard: str) -> npt.NDArray[np.int64]:
    """Return the percentage [0.01 %] for every factor from 0.00 to 1.00, 101 values.

    Args:
        standard: `0.90` (industry above 160 kVA at high voltage), `0.85` (others from 100 kVA) or
            `0.80` (agriculture from 100 kVA).

    >>> int(adjustment_table("0.90")[93]), int(adjustment_table("0.85")[64])
    (-45, 1100)
    """
    knees = _KNEES[standard]
    table = np.zeros(HIGHEST_FACTOR + 1, dtype=np.int64)
    for (high, at_high), (low, at_low) in pairwise(knees):
        step = (at_low - at_high) // (high - low)
        for factor in range(low, high + 1):
            table[factor] = at_high + step * (high - factor)
    low, at_low = knees[-1]
    table[:low] = at_low + _LAST_STEP * (low - np.arange(low))
    return table


def power_factors(active_wh: npt.NDArray[Any], reactive_varh: npt.NDArray[Any]) -> Any:
    """Return each meter point's power factor of the month [0.01], rounded half-up, exactly.

    cos = P / sqrt(P² + Q²). A meter point that used nothing has the factor 1.00: nothing to adjust.

    Args:
        active_wh: Energy P [Wh], none negative.
        reactive_varh: Reactive energy Q [varh], none negative.

    Raises:
        InvalidReadingsError: A reactive energy below zero (`readings.reactive`).

    >>> power_factors(np.array([3, 0, 995]), np.array([4, 0, 100])).tolist()
    [60, 100, 99]
    """
    if len(reactive_varh) and int(reactive_varh.min()) < 0:
        raise InvalidReadingsError(
            "Reactive energy is below zero.",
            reason="readings.reactive",
            remedy="Give the month's absolute reactive energy in kvarh.",
        )
    factors = [
        _factor(int(active), int(reactive))
        for active, reactive in zip(active_wh, reactive_varh, strict=True)
    ]
    return np.array(factors, dtype=np.int64)


def _factor(active: int, reactive: int) -> int:
    """The largest c with (c - 1/2) / 100 <= cos, in whole numbers."""
    square = active * active + reactive * reactive
    if square == 0:
        return HIGHEST_FACTOR
    # (2c - 1)² · (P² + Q²) <= (200·P)²
    return (isqrt((200 * active) ** 2 // square) + 1) // 2
