"""How many meter points reach an edge, and sums of squares, from the digits of encrypted kWh.

Gateways encrypt digits of each month's whole kWh w for tiers (`thresholds`), and its energy x [Wh].
They answer

* how many meter points of a group have w >= T, for any T that the digits can compare: histograms
  are differences of such counts, quantiles are read off them, vacancy is who does not reach T;
* Σ y and Σ y² with y = min(x, `CAP_WH`), for mean, variance and coefficient of variation.

Each is made of parts that leave blinded (`query_parts`).

x² is beyond the plain modulus, so it is put together from whole kWh and the Wh above them: with
w = d0 + 16·d1 + 256·d2 and r = x - 1000·w,

    Σ x² = 10^6 · Σ w² + 2000 · Σ w·r + Σ r²

of which each term's sum is a part. The top digit is open-ended and its thermometer ends at 15, so
beyond 3,840 kWh the lower digits would be misread. There c = [w >= 3840] = [d2 >= 15] closes them:

    v = (d0 + 16·d1)·(1 - c) + 256·d2                                  exactly min(w, 3840)
    r = (x - 1000·(d0 + 16·d1))·(1 - c) - 1000·(256·d2 - 3840·c)       0 at the cap

where d2 stands for the sum of its thermometer. How many meter points are at the cap is counted
beside it (`CountRecipe`), gateway by gateway: where none is, y is x.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridsecure.errors import OutOfRangeError
from gridsecure.homomorphic.columns import sum_columns
from gridsecure.homomorphic.parameters import Parameters
from gridsecure.homomorphic.thresholds import (
    GATED_LEVEL,
    SELECTED_LEVEL,
    WH_PER_KWH,
    compare,
    find_needed_digits,
)
from gridsecure.plans.quantities import MONTH_MEASURE, ColumnNeed, Measure

CAP_KWH: Final = 3840
"""Where sums of squares stop telling meter points apart [kWh a month]."""
CAP_WH: Final = CAP_KWH * WH_PER_KWH
CAPPED: Final = "capped"
"""The part that counts who is at the cap."""
_WHOLE, _REST = "kwh", "rest"
_WHOLE_SQUARED, _CROSSED, _REST_SQUARED = "kwh-kwh", "kwh-rest", "rest-rest"


@dataclass(frozen=True, slots=True)
class CountRecipe:
    """How many meter points reach each of some edges.

    Args:
        edges_kwh: Whole kWh, each above zero: everybody reaches zero.
        parameters: The set of the digits.
        measure: What is compared: the month's energy, a register's, kWh per kVA.
        counts_capped: Whether it is counted as well how many are too large for sums of squares.
    """

    edges_kwh: tuple[int, ...]
    parameters: Parameters
    measure: Measure = MONTH_MEASURE
    counts_capped: bool = False

    @property
    def published(self) -> tuple[ColumnNeed, ...]:
        """The digits."""
        return tuple(self.measure.needs(self.parameters))

    def compute(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """[w >= T] for every edge, and c.

        Raises:
            OutOfRangeError: An edge is not above zero, or beyond the digits (`plan.threshold`).
        """
        parts = {CAPPED: _capped(inputs, self.measure)} if self.counts_capped else {}
        for edge in sorted(set(self.edges_kwh)):
            thresholds = np.array(edge)
            columns = {
                place: inputs[self.measure.digit(*place)]
                for place in sorted(find_needed_digits(thresholds, digits=self.measure.digits))
            }
            gate = compare(
                columns,
                thresholds=thresholds,
                digits=self.measure.digits,
                parameters=self.parameters,
            )
            if gate is None:
                raise OutOfRangeError(
                    "Every meter point reaches an edge of zero.",
                    reason="plan.threshold",
                    remedy="Name edges above zero.",
                )
            parts[edge_name(edge)] = gate.reached().narrow(0, 1)
        return parts


def _capped(inputs: Mapping[str, Any], measure: Measure) -> Any:
    return inputs[measure.digit(2, measure.digits.radices[2] - 1)]


def edge_name(edge_kwh: int) -> str:
    """Name of the part that counts who reaches an edge."""
    return f"reach:{edge_kwh}"


@dataclass(frozen=True, slots=True)
class MomentRecipe:
    """Sum and sum of squares of the month's energy, up to `CAP_WH` each.

    Args:
        parameters: The set of the digits.
    """

    parameters: Parameters

    @property
    def published(self) -> tuple[ColumnNeed, ...]:
        """The digits, and the energy."""
        return tuple(MONTH_MEASURE.needs(self.parameters))

    def compute(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """v, v², v·r and r²."""
        radices = MONTH_MEASURE.digits.radices
        level = self.parameters.fresh_primes - SELECTED_LEVEL
        lowest = self.parameters.fresh_primes - GATED_LEVEL

        def digit(number: int) -> Any:
            steps = range(1, radices[number])
            return sum_columns([inputs[MONTH_MEASURE.digit(number, step)] for step in steps])

        capped = _capped(inputs, MONTH_MEASURE)
        is_open = capped.complement().switch_down(level)

        def opened(column: Any) -> Any:
            return column.switch_down(level).times(is_open).relinearise()

        low = digit(0).plus(digit(1).scale(radices[0]))
        high = digit(2).scale(radices[0] * radices[1])
        whole = opened(low).plus(high.switch_down(level))
        # Scaled before products, so that what scaling adds to the noise is switched away.
        above = high.minus(capped.scale(CAP_KWH)).scale(WH_PER_KWH).switch_down(level)
        rest = opened(inputs[MONTH_MEASURE.energy].minus(low.scale(WH_PER_KWH))).minus(above)
        whole = whole.switch_down(lowest).narrow(0, CAP_KWH)
        rest = rest.switch_down(lowest).narrow(0, WH_PER_KWH - 1)
        return {
            _WHOLE: whole,
            _REST: rest,
            _WHOLE_SQUARED: whole.times(whole).relinearise().narrow(0, CAP_KWH**2),
            # At the cap, there is no rest.
            _CROSSED: whole.times(rest).relinearise().narrow(0, (CAP_KWH - 1) * (WH_PER_KWH - 1)),
            _REST_SQUARED: rest.times(rest).relinearise().narrow(0, (WH_PER_KWH - 1) ** 2),
        }


class Moments(NamedTuple):
    """Of a group, as object integers [groups].

    Args:
        energy_wh: Σ min(x, `CAP_WH`) [Wh].
        squares_wh2: Σ min(x, `CAP_WH`)² [Wh²].
    """

    energy_wh: NDArray[Any]
    squares_wh2: NDArray[Any]


def add_up_moments(parts: Mapping[str, NDArray[Any]]) -> Moments:
    """The sums of a `MomentRecipe` from the totals of its parts."""
    return Moments(
        energy_wh=parts[_WHOLE] * WH_PER_KWH + parts[_REST],
        squares_wh2=parts[_WHOLE_SQUARED] * WH_PER_KWH**2
        + parts[_CROSSED] * (2 * WH_PER_KWH)
        + parts[_REST_SQUARED],
    )
