"""The bill plan: every line of a tariff, exactly, on encrypted columns.

`circuit` says what a line multiplies. Here its parts become output columns: a rate is an integer
in 1e-8 yuan, and where part × rate could reach the plain modulus, the rate is split into limbs
(base 2**b), each of which gives one output column. The vault recombines all of them exactly. A part
with rate zero outputs its quantity with weight zero. Shares are divided by the total after that.

`plan_bill` decides all that from public facts and proves range and noise on `PlannedColumn`s, which
it makes as the circuit asks for them, so a plan reads only the columns it needs; `run_bill` then
does the same arithmetic on whatever columns it is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pandas as pd

from gridsecure.billing.periods import BillingPeriod
from gridsecure.billing.rules import (
    CONTRACT,
    DYNAMIC,
    MINIMUM,
    POWER_FACTOR,
    LineRule,
    rate_units,
)
from gridsecure.crypto.columns import Column
from gridsecure.crypto.parameters import Scheme
from gridsecure.crypto.planning import MARGIN_BITS, PlannedColumn
from gridsecure.errors import DepthExceededError, OutOfRangeError
from gridsecure.plans.circuit import Circuit
from gridsecure.plans.parts import Part, divisor_parts, line_parts
from gridsecure.plans.power_factors import power_factor_parts
from gridsecure.plans.quantities import ColumnNeed, published_needs

BILL_PLAN_VERSION: Final = 2
DIVISOR: Final = -1
"""Line number of the outputs that shares are divided by."""
_MIN_LIMB_BITS: Final = 4
_SUMMED_LIMB_BITS: Final = (24, 20, 16, 12, 10, 9, 8, 7, 6, 5, 4)
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
        is_signed: Whether residues above half the plain modulus are negative.
        modulus: The plain modulus.
    """

    line: int
    part: int
    limb: int
    factor: int
    weight: int
    quantity_weight: int
    is_signed: bool
    modulus: int

    @property
    def name(self) -> str:
        """Name of the output column."""
        return f"line:{self.line}:{self.part}:{self.limb}"


@dataclass(frozen=True, slots=True, eq=False)
class BillPlan:
    """A tariff on one roster and month, compiled.

    Args:
        rules: The bill lines.
        contracts: Contract rows in slot order.
        period: The month.
        needs: The columns to load.
        outputs: The columns produced, in order.
        limb_bits: Bits of a price limb, by line, for lines that sum over prices.
        margin_bits: The smallest noise margin of any output, in bits.
    """

    rules: tuple[LineRule, ...]
    contracts: pd.DataFrame
    period: BillingPeriod
    needs: tuple[ColumnNeed, ...]
    outputs: tuple[LineOutput, ...]
    limb_bits: Mapping[int, int] = field(default_factory=dict)
    margin_bits: float = float("inf")


class PlannedInputs(Mapping[str, PlannedColumn]):
    """The columns a gateway publishes, made when first asked for; it notes which were.

    Args:
        published: From `published_needs`.
    """

    def __init__(self, published: Sequence[ColumnNeed]) -> None:
        self._published = {need.quantity: need for need in published}
        self.used: dict[str, PlannedColumn] = {}

    def __getitem__(self, quantity: str) -> PlannedColumn:
        if quantity not in self.used:
            need = self._published[quantity]
            self.used[quantity] = PlannedColumn.fresh(need.parameters, high=need.high)
        return self.used[quantity]

    def __iter__(self) -> Any:
        return iter(self._published)

    def __len__(self) -> int:
        return len(self._published)

    def needs(self) -> tuple[ColumnNeed, ...]:
        """The columns that were asked for, in that order."""
        return tuple(self._published[quantity] for quantity in self.used)


def plan_bill(
    rules: Sequence[LineRule], *, contracts: pd.DataFrame, period: BillingPeriod
) -> BillPlan:
    """Compile bill lines for the meter points of a roster and prove the plan.

    Args:
        rules: From `billing.rules.line_rules`.
        contracts: Contract rows in slot order.
        period: The month.

    Raises:
        InvalidTariffError: A tier limit that is not whole kWh (`plan.limit`).
        InputError: A limit per kVA and no capacity (`contract.no-capacity`).
        OutOfRangeError: An amount that no split of the rate keeps in range, or a limit beyond the
            digits (`plan.threshold`).
        DepthExceededError: A noise bound that does not fit.
    """
    labels = dict.fromkeys(rule.tou_period for rule in rules if rule.unit.endswith("/kWh"))
    published = published_needs(rules, tou_periods=[label for label in labels if label])
    planned = PlannedInputs(published)
    circuit = Circuit(tuple(rules), contracts, period, planned)
    outputs: list[LineOutput] = []
    limb_bits: dict[int, int] = {}
    margin = float("inf")
    for line, rule in enumerate(rules):
        if rule.basis in (CONTRACT, MINIMUM):
            continue
        if rule.basis in (DYNAMIC, POWER_FACTOR):
            limb_bits[line], made = _summed(circuit, line)
        else:
            made = _outputs(line, line_parts(circuit, line), rule=rule)
        outputs += [output for output, _ in made]
        margin = min(margin, *(bound for _, bound in made))
    for output, bound in _outputs(DIVISOR, divisor_parts(circuit), rule=None):
        outputs.append(output)
        margin = min(margin, bound)
    return BillPlan(
        tuple(rules), contracts, period, planned.needs(), tuple(outputs), limb_bits, margin
    )


def run_bill(plan: BillPlan, *, inputs: Mapping[str, Column]) -> dict[str, Column]:
    """Run a compiled plan on encrypted or plain columns.

    Returns:
        Output name -> column, in the plan's order.
    """
    circuit = Circuit(plan.rules, plan.contracts, plan.period, inputs)
    results: dict[str, Column] = {}
    finished: dict[tuple[int, int], Column] = {}
    parts: dict[int, list[Part[Column]]] = {}
    for output in plan.outputs:
        if output.line not in parts:
            parts = {output.line: summed_or_not(circuit, output.line, plan.limb_bits)}
        key = (output.line, output.part)
        if key not in finished:
            finished = {key: last_level(parts[output.line][output.part].column)}
        column = finished[key]
        results[output.name] = column if output.factor == 1 else column.scaled(output.factor)
    return results


def summed_or_not(
    circuit: Circuit[Column], line: int, limb_bits: Mapping[int, int]
) -> list[Part[Column]]:
    """The parts of any line, or of the divisor."""
    if line == DIVISOR:
        return divisor_parts(circuit)
    if circuit.rules[line].basis == POWER_FACTOR:
        return power_factor_parts(circuit, line, limb_bits=limb_bits[line])
    return line_parts(circuit, line, limb_bits=limb_bits.get(line))


def last_level(column: Column) -> Column:
    """A column as it is written: products at the last prime, where they are smallest."""
    return column.lowered(1) if column.size == 2 and _is_switchable(column) else column


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
        signed = column.low < 0
        for limb, factor, weight in _limbs(column, rule if part.is_priced else None, what=what):
            scaled = column if factor == 1 else column.scaled(factor)
            scaled.check(what=what, signed=signed)
            output = LineOutput(
                line=line,
                part=number,
                limb=limb,
                factor=factor,
                weight=weight * part.amount_weight,
                quantity_weight=part.quantity_weight,
                is_signed=signed,
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
        raise OutOfRangeError(f"{what} leaves no room for its rate.")
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
    for bits in _SUMMED_LIMB_BITS:
        try:
            return bits, _outputs(line, summed_or_not(circuit, line, {line: bits}), rule=rule)
        except (OutOfRangeError, DepthExceededError) as error:
            if error.reason == "plan.power-factor":
                raise
            refusal = error
    raise refusal or OutOfRangeError("A line leaves no room for its rate.")
