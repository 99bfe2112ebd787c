"""Exact thresholds on encrypted numbers: what lies above T, with T unknown at encryption.

The gateway encrypts a quantity x [Wh] and, of a whole number w that is compared, digits in
*thermometer* form: for a digit d of radix r the r - 1 columns [d >= 1] … [d >= r - 1]. The top
digit is open-ended (it is not clamped), so w may be far above any threshold. For a public threshold
T with digits (t2, t1, t0), one column or a difference of two gives

    gt_i = [d_i >= t_i + 1]        eq_i = [d_i >= t_i] - [d_i >= t_i + 1]        ge_0 = [d_0 >= t_0]

and any y is kept where w >= T, and zero elsewhere, by

    [w >= T]·y = gt_2·y + (eq_2·y)·(gt_1 + eq_1·ge_0)

With w = floor(x / 1000) and y = x - 1000·T that is the energy above the threshold, also when w = T,
where y counts the Wh above T itself. The grouping keeps the depth at two. Binary digits would need
twelve columns instead of 45 but depth five and a larger ring; one base-64 pair would need depth one
but 126 columns (docs/adr/0006 has the measurements).

w need not be energy. With w = floor(x / P) for a public or secret P, whole numbers give
[w >= T] = [x >= T·P]: a threshold in kWh per kVA is compared without a product of two secrets.

Thresholds may differ from slot to slot (household quotas): then a digit's columns are selected by
public masks first, at the price of one more level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic

import numpy as np
from numpy.typing import NDArray

from gridsecure.errors import OutOfRangeError
from gridsecure.homomorphic.columns import Column, sum_columns
from gridsecure.homomorphic.parameters import Parameters

WH_PER_KWH: Final = 1000
DIGITS: Final = 3

SELECTED_LEVEL: Final = 1
"""Primes given up when a threshold's digits have been chosen."""
GATED_LEVEL: Final = 2
"""Primes given up when something has been multiplied by a threshold."""


@dataclass(frozen=True, slots=True)
class DigitSystem:
    """Three digits of a whole number, least significant first.

    Args:
        radices: Values of each digit; the top one is open-ended.
    """

    radices: tuple[int, int, int]

    @property
    def highest_threshold(self) -> int:
        """The top digit's open end must stay above every threshold."""
        low, middle, top = self.radices
        return (top - 1) * middle * low - 1

    @property
    def places(self) -> tuple[tuple[int, int], ...]:
        """Every column (digit, step), in order."""
        return tuple(
            (digit, step) for digit, radix in enumerate(self.radices) for step in range(1, radix)
        )

    def values(self, whole: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        """The three digits of whole numbers; the last is not reduced."""
        low, middle, _ = self.radices
        return whole % low, whole // low % middle, whole // (low * middle)


MONTH_DIGITS: Final = DigitSystem((16, 16, 16))
"""Thresholds up to 3,839: kWh of a household's month, or kWh per kVA or kW of any month."""
YEAR_DIGITS: Final = DigitSystem((24, 24, 24))
"""Thresholds up to 13,247 kWh: a household's year."""


def thermometer(
    whole: NDArray[np.int64], *, digits: DigitSystem
) -> dict[tuple[int, int], NDArray[np.int64]]:
    """The digit columns the gateway encrypts: (digit, j) -> [digit value >= j], 0 or 1 [slots].

    Digit 2 is the most significant.
    """
    values = digits.values(np.asarray(whole, dtype=np.int64))
    return {(digit, j): (values[digit] >= j).astype(np.int64) for digit, j in digits.places}


def find_needed_digits(
    thresholds: NDArray[np.int64], *, digits: DigitSystem
) -> set[tuple[int, int]]:
    """The digit columns that a threshold [scalar or slots] reads; the others need not be loaded.

    Raises:
        OutOfRangeError: A threshold is negative or above the system's highest.
    """
    _check_thresholds(thresholds, digits)
    distinct = np.unique(thresholds)
    found: set[tuple[int, int]] = set()
    if not distinct.any():
        return found  # everything lies above a threshold of zero
    for digit, wanted in enumerate(digits.values(distinct)):
        for value in np.unique(wanted):
            # Of the last digit, "more" is never asked: what reaches it is counted by y itself.
            steps = (value, value + 1) if digit else (value,)
            found |= {(digit, int(j)) for j in steps if 1 <= j < digits.radices[digit]}
    return found


def _check_thresholds(thresholds: NDArray[np.int64], digits: DigitSystem) -> None:
    # A digit above the top one would be dropped silently and the wrong threshold compared.
    distinct = np.unique(thresholds)
    if distinct[0] < 0 or distinct[-1] > digits.highest_threshold:
        raise OutOfRangeError(
            f"A tier limit lies outside 0 to {digits.highest_threshold}.",
            reason="plan.threshold",
            remedy="Bill this meter point under a tariff without tiers, or in a shorter period.",
        )


def excess(
    energy: Column,
    *,
    high: int,
    gate: Gate[Column] | None,
    thresholds_kwh: NDArray[np.int64],
    parameters: Parameters,
) -> Column:
    """Energy above a public threshold, exactly, in the unit of `energy` (Wh).

    Args:
        energy: Total energy x [Wh].
        high: Largest value of x.
        gate: [w >= T] of the same thresholds; None where they are all zero.
        thresholds_kwh: One threshold for all slots (0-d) or one a slot [slots], whole kWh.

    Returns:
        max(0, x - 1000·T) in every slot, `GATED_LEVEL` primes below fresh and of size 2.
    """
    if gate is None:
        whole: Column = energy.switch_down(parameters.fresh_primes - GATED_LEVEL)
        return whole.narrow(0, high)
    # The difference may be negative below the threshold; the gate is zero in just those slots.
    offset = -WH_PER_KWH * _uniform(thresholds_kwh)
    above = energy.raise_by(int(offset) if offset.ndim == 0 else offset)
    kept: Column = gate.apply(above)
    return kept.narrow(0, high)


@dataclass(frozen=True, slots=True)
class Gate(Generic[Column]):
    """[w >= T] in the form that multiplies cheapest: gt_2, eq_2 and what decides a tie.

    Args:
        more: gt_2, or a constant.
        least: [d_2 >= t_2], or a constant.
        tie: gt_1 + eq_1·ge_0, or a constant.
    """

    parameters: Parameters
    more: Column | int
    least: Column | int
    tie: Column | int

    def apply(self, values: Column) -> Column:
        """The values where w >= T, zero elsewhere; `GATED_LEVEL` primes below fresh, size 2."""
        # Digits come `SELECTED_LEVEL` primes below fresh; a product needs both on one level.
        above = values.switch_down(self.parameters.fresh_primes - SELECTED_LEVEL)
        if isinstance(self.tie, int):
            reached: Column = _settled(_times(self.least, above), self.parameters)
            return reached
        # least - more is [d_2 = t_2]: a tie of the top digit, which the lower digits decide.
        tied = _product(_minus(self.least, self.more), above, self.parameters)
        tail = _times(tied, self.tie)
        kept: Column = _settled(_plus(_times(self.more, above), tail), self.parameters)
        return kept

    def reached(self) -> Column:
        """One where w >= T, zero elsewhere; `GATED_LEVEL` primes below fresh, size 2."""
        if isinstance(self.tie, int):
            decided: Column = _settled(self.least, self.parameters)
            return decided
        tail = _times(_minus(self.least, self.more), self.tie)
        counted: Column = _settled(_plus(self.more, tail), self.parameters)
        return counted


def compare(
    columns: Mapping[tuple[int, int], Column],
    *,
    thresholds: NDArray[np.int64],
    digits: DigitSystem,
    parameters: Parameters,
) -> Gate[Column] | None:
    """Compare an encrypted number with public thresholds.

    Args:
        columns: The digit columns that `find_needed_digits` names.
        thresholds: One threshold for all slots (0-d) or one a slot [slots].
        digits: How the number was written.

    Returns:
        The comparison, or None where every threshold is zero and everything is kept.

    Raises:
        OutOfRangeError: A threshold is negative or above the system's highest.
    """
    _check_thresholds(thresholds, digits)
    wanted = _uniform(thresholds)
    if not wanted.any():
        return None
    chosen = _Digits(columns, digits, parameters)
    values = digits.values(wanted)
    more_1, least_1 = chosen.at(1, values[1] + 1), chosen.at(1, values[1])
    least_0 = chosen.at(0, values[0])
    # A digit that is always reached needs no product, and gt + eq would cancel to no encryption.
    tie = least_1
    if not isinstance(least_0, int):
        tie = _plus(more_1, _product(_minus(least_1, more_1), least_0, parameters))
    return Gate(parameters, chosen.at(2, values[2] + 1), chosen.at(2, values[2]), tie)


def _uniform(thresholds: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number where all slots have the same threshold."""
    wanted = np.asarray(thresholds, dtype=np.int64)
    if wanted.size and (wanted == wanted.flat[0]).all():
        return np.asarray(wanted.flat[0])
    return wanted


@dataclass(frozen=True, slots=True)
class _Digits(Generic[Column]):
    columns: Mapping[tuple[int, int], Column]
    system: DigitSystem
    parameters: Parameters

    def at(self, digit: int, steps: NDArray[np.int64]) -> Column | int:
        """[d >= step], one step for all slots or one a slot. [d >= 0] = 1, [d >= radix] = 0."""
        radix, primes = self.system.radices[digit], self.parameters.fresh_primes - SELECTED_LEVEL
        distinct = [int(step) for step in np.unique(steps)]
        if len(distinct) == 1:
            (step,) = distinct
            if step in (0, radix):
                return 1 if step == 0 else 0
            return self.columns[digit, step].switch_down(primes)
        parts = [
            self.columns[digit, step].select((steps == step).astype(np.int64))
            for step in distinct
            if 0 < step < radix
        ]
        chosen = sum_columns(parts)
        if distinct[0] == 0:
            chosen = chosen.raise_by((steps == 0).astype(np.int64))
        return chosen.switch_down(primes)


def _plus(first: Column | int, second: Column | int) -> Column | int:
    if isinstance(first, int):
        return second if first == 0 else first  # 1 + 0: both ends of a digit cannot be reached
    if isinstance(second, int):
        return first
    primes = min(first.primes, second.primes)
    return first.switch_down(primes).plus(second.switch_down(primes))


def _minus(first: Column | int, second: Column | int) -> Column | int:
    if isinstance(second, int):
        return first  # second is the constant 0: [d >= radix]
    if isinstance(first, int):
        return second.complement()  # first is the constant 1: [d >= 0]
    return first.minus(second)


def _times(first: Column | int, second: Column | int) -> Any:
    """A product left at size 3 so that several can share one relinearisation."""
    if isinstance(first, int):
        return second if first else 0
    if isinstance(second, int):
        return first if second else 0
    primes = min(first.primes, second.primes)
    return first.switch_down(primes).times(second.switch_down(primes))


def _product(first: Column | int, second: Column | int, parameters: Parameters) -> Any:
    """A finished product, size 2, `GATED_LEVEL` primes below fresh."""
    if isinstance(second, int):
        return first if second else 0
    product = _times(first, second)
    return product if isinstance(first, int) else _settled(product, parameters)


def _settled(value: Column | int, parameters: Parameters) -> Column:
    if isinstance(value, int):
        raise AssertionError("a threshold circuit ended in a constant")
    # Relinearise first: rounding a size-3 ciphertext adds the square of the secret.
    settled = value.relinearise() if value.size > 2 else value
    return settled.switch_down(parameters.fresh_primes - GATED_LEVEL)
