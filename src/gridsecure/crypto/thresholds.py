"""Exact thresholds on encrypted energy: how much of x lies above T, tariff unknown at encryption.

The gateway encrypts x [Wh] and, of its whole-kWh part w = floor(x / 1000), three base-16 digits in
*thermometer* form: for digit d the 15 columns [d >= 1] … [d >= 15]. The top digit is open-ended
(w >> 8 is not clamped), so x may be far above any threshold. For a public threshold of T kWh with
digits (t2, t1, t0), one column or a difference of two gives

    gt_i = [d_i >= t_i + 1]        eq_i = [d_i >= t_i] - [d_i >= t_i + 1]        ge_0 = [d_0 >= t_0]

and with y = x - 1000·T the energy above the threshold is

    excess = [w >= T]·y = gt_2·y + (eq_2·y)·(gt_1 + eq_1·ge_0)

which is also right when w = T, where y counts the Wh above T itself. The grouping keeps the depth
at two. Binary digits would need twelve columns instead of 45 but depth five and a larger ring; one
base-64 pair would need depth one but 126 columns (docs/adr/0006 has the measurements).

Thresholds may differ from slot to slot (household quotas): then a digit's columns are selected by
public masks first, at the price of one more level.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gridsecure.crypto.columns import Column, total
from gridsecure.crypto.parameters import TIER
from gridsecure.errors import OutOfRangeError

DIGITS: Final = 3
BASE: Final = 16
WH_PER_KWH: Final = 1000
MAX_THRESHOLD_KWH: Final = (BASE - 1) * BASE**2 - 1
"""3,839 kWh: the top digit's open end must stay above every threshold."""

_SELECTED_PRIMES: Final = TIER.fresh_primes - 1
_PRODUCT_PRIMES: Final = TIER.fresh_primes - 2

Digits = Mapping[tuple[int, int], Any]


def thermometer(total_wh: NDArray[np.int64]) -> dict[tuple[int, int], NDArray[np.int64]]:
    """The digit columns the gateway encrypts: (digit, j) -> [digit value >= j], 0 or 1 [slots].

    Digit 2 is the most significant.
    """
    whole = np.asarray(total_wh, dtype=np.int64) // WH_PER_KWH
    values = {
        0: whole % BASE,
        1: whole // BASE % BASE,
        2: whole // BASE**2,
    }
    return {
        (digit, j): (value >= j).astype(np.int64)
        for digit, value in values.items()
        for j in range(1, BASE)
    }


def needed_digits(thresholds_kwh: NDArray[np.int64]) -> set[tuple[int, int]]:
    """The digit columns that a threshold [scalar or slots] reads; the others need not be loaded.

    Raises:
        OutOfRangeError: A threshold is negative or above `MAX_THRESHOLD_KWH`.
    """
    _check_thresholds(thresholds_kwh)
    distinct = np.unique(thresholds_kwh)
    found: set[tuple[int, int]] = set()
    if not distinct.any():
        return found  # all energy lies above a threshold of zero
    for digit in range(DIGITS):
        for value in np.unique(distinct // BASE**digit % BASE):
            # Of the last digit, "more" is never asked: what reaches it is counted by y itself.
            steps = (value, value + 1) if digit else (value,)
            found |= {(digit, int(j)) for j in steps if 1 <= j < BASE}
    return found


def _check_thresholds(thresholds_kwh: NDArray[np.int64]) -> None:
    # A digit above the top one would be dropped silently and the wrong threshold compared.
    distinct = np.unique(thresholds_kwh)
    if distinct[0] < 0 or distinct[-1] > MAX_THRESHOLD_KWH:
        raise OutOfRangeError(
            f"A tier limit lies outside 0 to {MAX_THRESHOLD_KWH} kWh.",
            reason="plan.threshold",
            remedy="Bill this meter point under a tariff without tiers, or in a shorter period.",
        )


def excess(
    energy: Column,
    *,
    high: int,
    digits: Mapping[tuple[int, int], Column],
    thresholds_kwh: NDArray[np.int64],
) -> Column:
    """Energy above a public threshold, exactly, in the unit of `energy` (Wh).

    Args:
        energy: Total energy x [Wh].
        high: Largest value of x.
        digits: The columns `needed_digits` names.
        thresholds_kwh: One threshold for all slots (0-d) or one a slot [slots], whole kWh.

    Returns:
        max(0, x - 1000·T) in every slot, at two primes and size 2.

    Raises:
        OutOfRangeError: A threshold is negative or above `MAX_THRESHOLD_KWH`.
    """
    _check_thresholds(thresholds_kwh)
    wanted = np.asarray(thresholds_kwh, dtype=np.int64)
    if wanted.size and (wanted == wanted.flat[0]).all():
        wanted = np.asarray(wanted.flat[0])
    if not wanted.any():
        return energy.lowered(_PRODUCT_PRIMES).within(0, high)
    offset = -WH_PER_KWH * wanted
    above = energy.raised(int(offset) if offset.ndim == 0 else offset).lowered(_SELECTED_PRIMES)
    more_2, least_2 = _digit(digits, digit=2, wanted=wanted)
    more_1, least_1 = _digit(digits, digit=1, wanted=wanted)
    least_0 = _selected(digits, digit=0, steps=wanted % BASE)

    # A digit that is always reached needs no product, and gt + eq would cancel to no encryption.
    rest = least_1
    if not isinstance(least_0, int):
        rest = _plus(more_1, _product(_minus(least_1, more_1), least_0))
    if isinstance(rest, int):
        return _settled(_times(least_2, above)).within(0, high)
    tail = _times(_product(_minus(least_2, more_2), above), rest)
    return _settled(_plus(_times(more_2, above), tail)).within(0, high)


def _digit(
    digits: Mapping[tuple[int, int], Column], *, digit: int, wanted: NDArray[np.int64]
) -> tuple[Column | int, Column | int]:
    """([d >= t + 1], [d >= t]) for a digit's wanted value(s) t, at the selected level."""
    values = wanted // BASE**digit % BASE
    return (
        _selected(digits, digit=digit, steps=values + 1),
        _selected(digits, digit=digit, steps=values),
    )


def _selected(
    digits: Mapping[tuple[int, int], Column], *, digit: int, steps: NDArray[np.int64]
) -> Column | int:
    """[d >= step], with one step for all slots or one a slot. [d >= 0] = 1, [d >= 16] = 0."""
    distinct = [int(step) for step in np.unique(steps)]
    if len(distinct) == 1:
        (step,) = distinct
        if step in (0, BASE):
            return 1 if step == 0 else 0
        return digits[digit, step].lowered(_SELECTED_PRIMES)
    parts = [
        digits[digit, step].selected((steps == step).astype(np.int64))
        for step in distinct
        if 0 < step < BASE
    ]
    chosen = total(parts)
    if distinct[0] == 0:
        chosen = chosen.raised((steps == 0).astype(np.int64))
    return chosen.lowered(_SELECTED_PRIMES)


def _plus(first: Column | int, second: Column | int) -> Column | int:
    if isinstance(first, int):
        return second if first == 0 else first  # 1 + 0: both ends of a digit cannot be reached
    if isinstance(second, int):
        return first
    primes = min(first.primes, second.primes)
    return first.lowered(primes).plus(second.lowered(primes))


def _minus(first: Column | int, second: Column | int) -> Column | int:
    if isinstance(second, int):
        return first  # second is the constant 0: [d >= 16]
    if isinstance(first, int):
        return second.complement()  # first is the constant 1: [d >= 0]
    return first.minus(second)


def _times(first: Column | int, second: Column) -> Column | int:
    """A product left at size 3 so that several can share one relinearisation."""
    if isinstance(first, int):
        return second if first else 0
    primes = min(first.primes, second.primes)
    return first.lowered(primes).times(second.lowered(primes))


def _product(first: Column | int, second: Column | int) -> Column | int:
    """A finished product, size 2, two primes."""
    if isinstance(second, int):
        return first if second else 0
    product = _times(first, second)
    return product if isinstance(first, int) else _settled(product)


def _settled(value: Column | int) -> Column:
    if isinstance(value, int):
        raise AssertionError("a threshold circuit ended in a constant")
    # Relinearise first: rounding a size-3 ciphertext adds the square of the secret.
    settled = value.relinearised() if value.size > 2 else value
    return settled.lowered(_PRODUCT_PRIMES)
