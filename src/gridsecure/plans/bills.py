"""The bill plan: every line of a tariff, exactly, on encrypted columns.

The kinds in `lines` say what a line multiplies, `outputs` what becomes of it. `plan_bill` decides
all that from public facts and proves range and noise on `PlannedColumn`s, which it makes as the
circuit asks for them, so a plan reads only the columns it needs; `run_bill` then does the same
arithmetic on whatever columns it is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gridsecure.billing.rules import LineRule
from gridsecure.billing.table_rows import TableRows
from gridsecure.homomorphic.columns import Column
from gridsecure.homomorphic.planning import PlannedColumn
from gridsecure.periods import BillingPeriod
from gridsecure.plans.circuit import Circuit
from gridsecure.plans.lines.registry import DIVISOR, circuit_parameters, kind_of, split_line
from gridsecure.plans.needs import published_needs
from gridsecure.plans.outputs import LineOutput, last_level, plan_line
from gridsecure.plans.quantities import ColumnNeed

BILL_PLAN_VERSION: Final = 2


@dataclass(frozen=True, slots=True, eq=False)
class BillPlan:
    """A tariff on one roster and month, compiled.

    Args:
        contracts: Contract rows in slot order.
        outputs: The columns produced, in order.
        limb_bits: Bits of a price limb, by line, for lines that sum over prices.
        margin_bits: The smallest noise margin of any output, in bits.
    """

    rules: tuple[LineRule, ...]
    contracts: TableRows
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
    rules: Sequence[LineRule], *, contracts: TableRows, period: BillingPeriod
) -> BillPlan:
    """Compile bill lines for the meter points of a roster and prove the plan.

    Args:
        rules: From `billing.rules.line_rules`.
        contracts: Contract rows in slot order.

    Raises:
        InvalidTariffError: A tier limit that is not whole kWh (`plan.limit`).
        InputError: A limit per kVA and no capacity (`contract.no-capacity`).
        OutOfRangeError: An amount that no split of the rate keeps in range, or a limit beyond the
            digits (`plan.threshold`).
        DepthExceededError: A noise bound that does not fit.
    """
    planned = PlannedInputs(bill_columns(rules))
    circuit = Circuit(tuple(rules), contracts, period, planned, circuit_parameters(rules))
    outputs: list[LineOutput] = []
    limb_bits: dict[int, int] = {}
    margin = float("inf")
    for line in computed_lines(rules):
        bits, made = plan_line(circuit, line)
        limb_bits |= {} if bits is None else {line: bits}
        outputs += [output for output, _ in made]
        margin = min([margin, *(bound for _, bound in made)])
    return BillPlan(
        tuple(rules), contracts, period, planned.needs(), tuple(outputs), limb_bits, margin
    )


def bill_columns(rules: Sequence[LineRule]) -> tuple[ColumnNeed, ...]:
    """The settlement columns that a plan may read."""
    labels = dict.fromkeys(rule.tou_period for rule in rules if rule.unit.endswith("/kWh"))
    return published_needs(rules, tou_periods=[label for label in labels if label])


def computed_lines(rules: Sequence[LineRule]) -> list[int]:
    """Numbers of the lines that are computed on columns, and of the divisor after them."""
    computed = [line for line, rule in enumerate(rules) if kind_of(rule).split is not None]
    return [*computed, DIVISOR]


def open_circuit(plan: BillPlan, *, inputs: Mapping[str, Column]) -> Circuit[Column]:
    """A plan's circuit on columns by quantity."""
    parameters = circuit_parameters(plan.rules)
    return Circuit(plan.rules, plan.contracts, plan.period, inputs, parameters)


def run_bill(
    plan: BillPlan, *, inputs: Mapping[str, Column], steps: dict[str, Column] | None = None
) -> dict[str, Column]:
    """Run a compiled plan on encrypted or plain columns.

    Args:
        steps: Takes what is computed between columns and outputs: the energy above each limit, and
            what each line multiplies by its rate. An output that is multiplied by nothing is none.

    Returns:
        Output name -> column, in the plan's order.
    """
    circuit = open_circuit(plan, inputs=inputs)
    results: dict[str, Column] = {}
    lines: dict[str, Column] = {}
    for line in dict.fromkeys(output.line for output in plan.outputs):
        results |= run_line(plan, circuit, line, parts=lines)
    if steps is not None:
        steps |= {f"above:{number}": own for number, own in enumerate(circuit.list_above())}
        steps |= lines
    return results


def run_line(
    plan: BillPlan,
    circuit: Circuit[Column],
    line: int,
    *,
    parts: dict[str, Column] | None = None,
) -> dict[str, Column]:
    """Run one line of a plan, or the divisor; what lines share is computed for the first of them.

    Args:
        parts: Takes what it multiplies, by name, where it does.

    Returns:
        Output name -> column.
    """
    split = split_line(circuit, line, plan.limb_bits)
    results: dict[str, Column] = {}
    finished: dict[int, Column] = {}
    for output in plan.outputs:
        if output.line == line:
            if output.part not in finished:
                finished = {output.part: last_level(split[output.part].column)}
            column = finished[output.part]
            results[output.name] = column if output.factor == 1 else column.scale(output.factor)
            if parts is not None and output.factor != 1:
                parts[f"line:{line}:{output.part}"] = column
    return results
