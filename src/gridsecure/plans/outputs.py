"""From the parts of a line to output columns: the split of rates into limbs, proven.

A rate is an integer in 1e-8 yuan. Where part × rate could reach the plain modulus or use up the
noise, the rate is split into limbs (base 2**b), each of which gives one output column that the
vault recombines exactly. A part with rate zero outputs its quantity with weight zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from gridsecure.billing.rules import LineRule, rate_units
from gridsecure.errors import DepthExceededError, OutOfRangeError
from gridsecure.homomorphic.columns import Column
from gridsecure.homomorphic.parameters import Scheme
from gridsecure.homomorphic.planning import MARGIN_BITS, PlannedColumn
from gridsecure.plans.circuit import Circuit
from gridsecure.plans.lines.kind import Part
from gridsecure.plans.lines.registry import DIVISOR, kind_of, split_line

_MIN_LIMB_BITS: Final = 4
_FEWER_DIGITS: Final = (
    "Write the rate with fewer decimals; `gridsecure plan explain` shows what fits."
)
SUMMED_LIMB_BITS: Final = (24, 20, 16, 12, 10, 9, 8, 7, 6, 5, 4)
"""Limbs tried, widest first, for lines that sum over prices before they are split."""


@dataclass(frozen=True, slots=True)
class LineOutput:
    """One output column: `part × factor`.

    Args:
        line: The bill line, or `DIVISOR`.
        part: Number of the line's part.
        limb: Number of the rate's limb.
        factor: What the part was multiplied by.
        weight: What a value counts in the line's amount [1e-11 yuan].
        quantity_weight: What the part counts in the line's quantity [1e-3 unit].
        low: Smallest value the part was proven to have.
        high: Largest value the part was proven to have.
        modulus: The plain modulus.
    """

    line: int
    part: int
    limb: int
    factor: int
    weight: int
    quantity_weight: int
    low: int
    high: int
    modulus: int

    @property
    def is_signed(self) -> bool:
        """Whether residues above half the plain modulus are negative."""
        return self.low < 0

    @property
    def name(self) -> str:
        """Name of the output column."""
        return f"line:{self.line}:{self.part}:{self.limb}"


def plan_line(
    circuit: Circuit[PlannedColumn], line: int
) -> tuple[int | None, list[tuple[LineOutput, float]]]:
    """Prove one line, or the divisor.

    Returns:
        Bits of a price limb where the line sums over prices, and its outputs with their noise
        margin in bits.

    Raises:
        GridSecureError: As `plan_bill`.
    """
    rule = None if line == DIVISOR else circuit.rules[line]
    if rule is not None and kind_of(rule).is_summed:
        return _summed(circuit, line)
    return None, _outputs(line, split_line(circuit, line, {}), rule=rule)


def last_level(column: Column) -> Column:
    """A column as it is written: products at the last prime, where they are smallest."""
    return column.switch_down(1) if column.size == 2 and _is_switchable(column) else column


def _is_switchable(column: Any) -> bool:
    evaluation = getattr(column, "evaluation", None)
    parameters = evaluation.parameters if evaluation else getattr(column, "parameters", None)
    return parameters is not None and parameters.scheme is Scheme.BGV


def _outputs(
    line: int, parts: Sequence[Part[PlannedColumn]], *, rule: LineRule | None
) -> list[tuple[LineOutput, float]]:
    """Output columns of a line's parts, each proven, with its noise margin."""
    made = []
    what = f"Line {line + 1} ({rule.charge})" if rule else "The divisor"
    for number, part in enumerate(parts):
        column = last_level(part.column)
        for limb, factor, weight in _limbs(column, rule if part.is_priced else None, what=what):
            scaled = column if factor == 1 else column.scale(factor)
            scaled.check(what=what, signed=column.low < 0)
            output = LineOutput(
                line=line,
                part=number,
                limb=limb,
                factor=factor,
                weight=weight * part.amount_weight,
                quantity_weight=part.quantity_weight,
                low=column.low,
                high=column.high,
                modulus=column.parameters.plain_modulus,
            )
            made.append((output, scaled.margin))
    return made


def _limbs(
    column: PlannedColumn, rule: LineRule | None, *, what: str
) -> list[tuple[int, int, int]]:
    """(limb, factor, weight): limbs of a rate that keep part × limb in range and in noise."""
    if rule is None:
        return [(0, 1, 1)]
    units = rate_units(rule.rate)
    if units == 0:
        return [(0, 1, 0)]
    t = column.parameters.plain_modulus
    largest = max(abs(column.low), column.high, 1)
    room = (t // 2 if column.low < 0 else t - 1) // largest
    bits = min(room.bit_length() - 1, int(column.margin - MARGIN_BITS))
    if bits < _MIN_LIMB_BITS:
        raise OutOfRangeError(f"{what} leaves no room for its rate.", remedy=_FEWER_DIGITS)
    sign, rest, found = (1 if units > 0 else -1), abs(units), []
    for limb in range(-(-rest.bit_length() // bits)):
        factor = rest >> (limb * bits) & ((1 << bits) - 1)
        if factor:
            found.append((limb, factor, sign << (limb * bits)))
    return found


def _summed(
    circuit: Circuit[PlannedColumn], line: int
) -> tuple[int, list[tuple[LineOutput, float]]]:
    """The widest price limbs that fit, for a line that sums over prices."""
    rule = circuit.rules[line]
    refusal: OutOfRangeError | DepthExceededError | None = None
    for bits in SUMMED_LIMB_BITS:
        try:
            return bits, _outputs(line, split_line(circuit, line, {line: bits}), rule=rule)
        except (OutOfRangeError, DepthExceededError) as error:
            if error.reason == "plan.power-factor":
                raise
            refusal = error
    raise refusal or OutOfRangeError("A line leaves no room for its rate.", remedy=_FEWER_DIGITS)
