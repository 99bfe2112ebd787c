"""What a tariff becomes on ciphertext: every line's columns, outputs, proven bounds and cost.

Each line is planned as `bills.plan_bill` plans it, but a refusal is noted with its line instead of
ending the work. The cost is counted by running the plan on `CountedColumn`s: what lines share is
counted for the first of them, as in a run. What nothing here needs to know is anybody's energy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gridsecure.billing.rules import LineRule, line_rules
from gridsecure.billing.table_rows import TableRows
from gridsecure.errors import GridSecureError
from gridsecure.homomorphic.counting import CountedColumn, Tally, count_since
from gridsecure.homomorphic.parameters import PARAMETER_SETS, Parameters, Scheme
from gridsecure.homomorphic.planning import PlannedColumn
from gridsecure.periods import BillingPeriod
from gridsecure.plans.bills import (
    BillPlan,
    PlannedInputs,
    bill_columns,
    computed_lines,
    open_circuit,
    run_line,
)
from gridsecure.plans.circuit import Circuit
from gridsecure.plans.lines.registry import DIVISOR, circuit_parameters, kind_of
from gridsecure.plans.needs import published_needs
from gridsecure.plans.operation_costs import (
    DECRYPT,
    ENCRYPT,
    OPEN,
    WRITE,
    column_bytes_each,
    column_us,
    counted_us,
)
from gridsecure.plans.outputs import LineOutput, plan_line
from gridsecure.plans.quantities import ColumnNeed
from gridsecure.plans.steps import circuit_rules
from gridsecure.tariffs.tariff import Tariff


@dataclass(frozen=True, slots=True)
class ExplainedLine:
    """One bill line, or the divisor of shares.

    Args:
        line: Its number, or `DIVISOR`.
        columns: The settlement columns it reads; none where nothing is encrypted.
        limb_bits: Bits of a price limb, where the line sums over prices.
        margin_bits: The smallest noise margin of its outputs, in bits; None without outputs.
        platform_us: What it adds to the platform's work [µs a meter point].
        refusal: Why it cannot be computed, or None.
    """

    line: int
    columns: tuple[ColumnNeed, ...] = ()
    outputs: tuple[LineOutput, ...] = ()
    limb_bits: int | None = None
    margin_bits: float | None = None
    platform_us: float = 0.0
    refusal: GridSecureError | None = None

    @property
    def rate_limbs(self) -> int:
        """Most outputs that one part was split into."""
        parts = [output.part for output in self.outputs]
        return max((parts.count(part) for part in parts), default=0)

    @property
    def largest(self) -> int:
        """The proven bound: the largest absolute value an output can have."""
        return max((max(-o.low, o.high) * o.factor for o in self.outputs), default=0)

    @property
    def range_margin_bits(self) -> float | None:
        """Bits between an output's bound and what its plain modulus holds, at the least."""
        return min((_range_margin(output) for output in self.outputs), default=None)


@dataclass(frozen=True, slots=True)
class Costs:
    """What a month costs a meter point.

    Args:
        platform_us: Computing the lines [µs].
        load_us: Opening and checking the columns the plan reads [µs].
        write_us: Writing and naming the outputs [µs].
        release_us: Decrypting the outputs in the vault [µs].
        gateway_us: Encrypting, writing and naming the settlement columns [µs].
        stored_bytes: The settlement columns [bytes].
        stored_columns: How many there are.
    """

    platform_us: float
    load_us: float
    write_us: float
    release_us: float
    gateway_us: float
    stored_bytes: float
    stored_columns: int


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """A tariff on one roster and month.

    Args:
        lines: What became of each, in the same order; the divisor last, where there is one.
    """

    tariff: Tariff
    period: BillingPeriod
    slots: int
    rules: tuple[LineRule, ...]
    lines: tuple[ExplainedLine, ...]
    costs: Costs

    @property
    def refused(self) -> tuple[ExplainedLine, ...]:
        """The lines that cannot be computed."""
        return tuple(line for line in self.lines if line.refusal is not None)


def explain(
    tariff: Tariff, *, contracts: TableRows, period: BillingPeriod, large: bool = False
) -> Explanation:
    """Explain the plan of a tariff for the meter points of a roster.

    Args:
        contracts: Contract rows in slot order.
        large: Whether it is a roster of large customers.

    Raises:
        InputError: As `billing.rules.line_rules`.
    """
    rules = line_rules(tariff, period)
    lines = {n: ExplainedLine(n) for n in range(len(rules))}
    try:
        rules = circuit_rules(rules, contracts=contracts, period=period, large=large)
    except GridSecureError as refusal:
        limits = (kind_of(rule).limits_wh(rule, contracts, period) for rule in rules)
        limited = [n for n, found in enumerate(limits) if found is not None]
        lines |= {n: ExplainedLine(n, refusal=refusal) for n in limited}
    planned = [n for n in computed_lines(rules) if n == DIVISOR or lines[n].refusal is None]
    lines |= {n: _planned(rules, contracts, period, line=n) for n in planned}
    if not lines[DIVISOR].outputs and lines[DIVISOR].refusal is None:
        del lines[DIVISOR]
    plan = _plan_of(list(lines.values()), rules=rules, contracts=contracts, period=period)
    costs = _Work(plan, slots=len(contracts))
    explained = tuple(costs.counted(line) for line in lines.values())
    needs = published_needs(rules, tou_periods=tariff.tou_periods)
    return Explanation(
        tariff, period, len(contracts), rules, explained, costs.of_the_month(explained, needs)
    )


def _planned(
    rules: tuple[LineRule, ...], contracts: TableRows, period: BillingPeriod, *, line: int
) -> ExplainedLine:
    """One line, planned by itself so that it tells the columns it reads."""
    inputs = PlannedInputs(bill_columns(rules))
    try:
        circuit = Circuit(rules, contracts, period, inputs, circuit_parameters(rules))
        bits, made = plan_line(circuit, line)
    except GridSecureError as refusal:
        return ExplainedLine(line, columns=inputs.needs(), refusal=refusal)
    outputs = tuple(output for output, _ in made)
    margin = min((bound for _, bound in made), default=None)
    return ExplainedLine(line, inputs.needs(), outputs, bits, margin)


def _plan_of(
    lines: Sequence[ExplainedLine],
    *,
    rules: tuple[LineRule, ...],
    contracts: TableRows,
    period: BillingPeriod,
) -> BillPlan:
    """The plan of the lines that can be computed."""
    computed = [line for line in lines if line.refusal is None]
    needs = dict.fromkeys(need for line in computed for need in line.columns)
    outputs = tuple(output for line in computed for output in line.outputs)
    bits = {line.line: line.limb_bits for line in computed if line.limb_bits is not None}
    return BillPlan(rules, contracts, period, tuple(needs), outputs, bits)


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """A plan run on columns that count."""

    plan: BillPlan
    slots: int
    tally: Tally = field(default_factory=Tally)
    _circuit: list[Circuit[CountedColumn]] = field(default_factory=list)

    def counted(self, line: ExplainedLine) -> ExplainedLine:
        """The line with what it adds to the work done so far."""
        if not line.outputs:
            return line
        if not self._circuit:
            inputs = _CountedInputs(self.plan.needs, self.tally)
            self._circuit.append(open_circuit(self.plan, inputs=inputs))
        before = self.tally.copy()
        run_line(self.plan, self._circuit[0], line.line)
        added = counted_us(count_since(self.tally, before), slots=self.slots)
        return ExplainedLine(
            line.line, line.columns, line.outputs, line.limb_bits, line.margin_bits, added
        )

    def of_the_month(
        self, lines: Sequence[ExplainedLine], published: Sequence[ColumnNeed]
    ) -> Costs:
        """All costs of the month."""
        made = [_set_of(output) for line in lines for output in line.outputs]
        return Costs(
            platform_us=sum(line.platform_us for line in lines),
            load_us=self._time_fresh(OPEN, self.plan.needs),
            write_us=self._time_writing(WRITE, made),
            release_us=self._time_writing(DECRYPT, made),
            gateway_us=self._time_fresh(ENCRYPT, published) + self._time_fresh(WRITE, published),
            stored_bytes=sum(
                column_bytes_each(
                    need.parameters, primes=need.parameters.fresh_primes, slots=self.slots
                )
                for need in published
            ),
            stored_columns=len(published),
        )

    def _time_fresh(self, kind: str, needs: Sequence[ColumnNeed]) -> float:
        sets = [need.parameters for need in needs]
        return sum(column_us(kind, s, primes=s.fresh_primes, slots=self.slots) for s in sets)

    def _time_writing(self, kind: str, sets: Sequence[Parameters]) -> float:
        return sum(column_us(kind, s, primes=_last_primes(s), slots=self.slots) for s in sets)


class _CountedInputs(Mapping[str, CountedColumn]):
    def __init__(self, needs: Sequence[ColumnNeed], tally: Tally) -> None:
        self._needs = {need.quantity: need for need in needs}
        self._tally = tally

    def __getitem__(self, quantity: str) -> CountedColumn:
        need = self._needs[quantity]
        return CountedColumn(PlannedColumn.fresh(need.parameters, high=need.high), self._tally)

    def __iter__(self) -> Iterator[str]:
        return iter(self._needs)

    def __len__(self) -> int:
        return len(self._needs)


def _range_margin(output: LineOutput) -> float:
    largest = max(-output.low, output.high, 1) * output.factor
    return math.log2(output.modulus / (2 if output.is_signed else 1) / largest)


def _set_of(output: LineOutput) -> Parameters:
    """A set of the output's plain modulus; the two BGV sets are alike at the last prime."""
    return next(s for s in PARAMETER_SETS.values() if s.plain_modulus == output.modulus)


def _last_primes(parameters: Parameters) -> int:
    return 1 if parameters.scheme is Scheme.BGV else parameters.fresh_primes
