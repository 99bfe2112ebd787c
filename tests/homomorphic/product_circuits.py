"""The deepest circuits of bill plans, written once for encrypted, planned and plain columns.

They are what `plans` builds, reduced to one of each: a share of a tier part, a limb behind a gate,
such a limb multiplied again, and a looked-up percentage of a sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gridsecure.homomorphic.columns import sum_columns
from gridsecure.homomorphic.parameters import PRODUCT
from gridsecure.homomorphic.plain import PlainColumn
from gridsecure.homomorphic.planning import PlannedColumn
from gridsecure.homomorphic.secret_key import SecretKeySet
from gridsecure.homomorphic.thresholds import (
    GATED_LEVEL,
    MONTH_DIGITS,
    Gate,
    compare,
    excess,
    find_needed_digits,
    thermometer,
)

HIGH_WH: Final = 2**23 - 1
LIMB: Final = 255
HOURS: Final = 3_839
STEPS: Final = 40
"""Thermometer columns of the percentage."""
GATED: Final = PRODUCT.fresh_primes - GATED_LEVEL

Columns = Mapping[str, Any]
Limits = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Roster:
    """Values of the input columns [slots], their bounds, and two limits."""

    values: dict[str, NDArray[np.int64]]
    highs: dict[str, int]
    limits: Limits

    def encrypted(self, keys: SecretKeySet) -> Columns:
        return {n: keys.public.encrypt(v, high=self.highs[n]) for n, v in self.values.items()}

    def planned(self) -> Columns:
        return {n: PlannedColumn.fresh(PRODUCT, high=high) for n, high in self.highs.items()}

    def plain(self) -> Columns:
        return {n: PlainColumn.of(v) for n, v in self.values.items()}


def roster(*, limits: Limits, seed: int) -> Roster:
    """A full roster of random values, their largest among them."""
    random = np.random.default_rng(seed)
    slots = PRODUCT.ring_degree
    energy = random.integers(0, HIGH_WH + 1, slots)
    energy[:3] = (0, HIGH_WH, int(np.max(limits[0])) * 1000)
    whole = energy // 1000
    values = {"energy": energy}
    highs = {"energy": HIGH_WH}
    for name in ("limb", "demand"):
        values[name] = random.integers(0, LIMB + 1, slots)
        values[name][:3] = LIMB
        highs[name] = LIMB
    digits = find_needed_digits(limits[0], digits=MONTH_DIGITS)
    digits |= find_needed_digits(limits[1], digits=MONTH_DIGITS)
    spelt = thermometer(whole, digits=MONTH_DIGITS)
    for place in sorted(digits):
        values[str(place)], highs[str(place)] = spelt[place], 1
    level = random.integers(0, STEPS + 1, slots)
    for step in range(1, STEPS + 1):
        values[f"step:{step}"], highs[f"step:{step}"] = (level >= step).astype(np.int64), 1
    return Roster(values, highs, limits)


def _gate(columns: Columns, limits: NDArray[np.int64]) -> Gate[Any] | None:
    wanted = find_needed_digits(limits, digits=MONTH_DIGITS)
    digits = {place: columns[str(place)] for place in wanted}
    return compare(digits, thresholds=limits, digits=MONTH_DIGITS, parameters=PRODUCT)


def _part(columns: Columns, limits: Limits) -> Any:
    """Energy between the limits."""
    above = [
        excess(
            columns["energy"],
            high=HIGH_WH,
            gate=_gate(columns, limit),
            thresholds_kwh=limit,
            parameters=PRODUCT,
        )
        for limit in limits
    ]
    return above[0].minus(above[1]).narrow(0, HIGH_WH)


def share(columns: Columns, limits: Limits) -> Any:
    """Tier part × register limb × limb of the rate, at the last prime."""
    part = _part(columns, limits)
    product = part.times(columns["limb"].switch_down(part.primes)).relinearise()
    return product.switch_down(1).scale(15)


def _gated(columns: Columns, limits: Limits) -> Any:
    gate = _gate(columns, limits[0])
    assert gate is not None
    kept = gate.apply(columns["limb"].minus(columns["demand"].scale(HOURS)))
    return kept.narrow(-LIMB * HOURS, LIMB)


def gated_limb(columns: Columns, limits: Limits) -> Any:
    """(limb - hours × limb of demand)·[w >= T] × limb of the rate, at the last prime."""
    return _gated(columns, limits).switch_down(1).scale(1023)


def gated_share(columns: Columns, limits: Limits) -> Any:
    """The same times a register limb: the deepest product of any plan."""
    gated = _gated(columns, limits)
    product = gated.times(columns["limb"].switch_down(gated.primes)).relinearise()
    return product.switch_down(1).scale(31)


def percentage_of_sum(columns: Columns, limits: Limits) -> Any:
    """A looked-up percentage × Σ rate limb × quantity limbs, one of them behind a gate."""
    taken = sum_columns([columns[f"step:{step}"].scale(50) for step in range(1, STEPS + 1)])
    percentage = taken.complement().raise_by(1_999).narrow(0, 2_000).switch_down(GATED)
    plain = columns["limb"].switch_down(GATED).scale(511)
    negative = columns["demand"].switch_down(GATED).scale(255)
    sum_ = plain.plus(_part_of_limb(columns, limits)).minus(negative)
    return percentage.times(sum_).relinearise().switch_down(1)


def _part_of_limb(columns: Columns, limits: Limits) -> Any:
    gate = _gate(columns, limits[0])
    assert gate is not None
    return gate.apply(columns["limb"]).narrow(0, LIMB).scale(511)


CIRCUITS: dict[str, Callable[[Columns, Limits], Any]] = {
    "share": share,
    "gated limb": gated_limb,
    "gated share": gated_share,
    "percentage of a sum": percentage_of_sum,
}

UNIFORM: Final = (np.array(260), np.array(600))
_CHOICE = np.random.default_rng(3)
BY_SLOT: Final = (
    _CHOICE.integers(1, 3_000, PRODUCT.ring_degree),
    _CHOICE.integers(3_000, 3_840, PRODUCT.ring_degree),
)
