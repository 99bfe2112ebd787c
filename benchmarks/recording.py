"""A plan written down as steps, for libraries that know nothing of us.

A `RecordedColumn` has the methods of every other column, so a registered plan runs on it as it is;
instead of computing it notes what was asked for. Each parameter set of a plan gives one `Program`:
integers that go in, steps on numbered columns, and the numbers of the columns that come out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gridsecure.homomorphic.columns import EncryptedColumn
from gridsecure.homomorphic.parameters import Parameters, Scheme
from gridsecure.plans.bills import BillPlan, run_bill

Step = list[Any]
"""The operation, the numbers of its columns, and a public integer or a list of them, if any."""


@dataclass(slots=True, eq=False)
class Program:
    """What a plan does with the columns of one parameter set.

    Args:
        slots: Integers in a column.
        inputs: The columns that are encrypted, numbered from 0.
        steps: Each makes the next column.
        outputs: Name -> number of a column.
        depth: Most multiplications, by anything, that a column went through.
        other_modulus: The plain modulus, where it is not that of the set.
    """

    parameters: Parameters
    slots: int
    inputs: list[list[int]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    outputs: dict[str, int] = field(default_factory=dict)
    depth: int = 0
    other_modulus: int = 0

    @property
    def modulus(self) -> int:
        """The plain modulus."""
        return self.other_modulus or self.parameters.plain_modulus

    def encrypt(self, values: NDArray[Any]) -> RecordedColumn:
        """One more column that goes in; all of them come before the first step."""
        if self.steps:
            raise ValueError("a program's inputs come before its steps")
        self.inputs.append([int(value) for value in values])
        return RecordedColumn(self, len(self.inputs) - 1, self.parameters.fresh_primes)

    def take(self, step: Step) -> int:
        """Note a step and number its result."""
        self.steps.append(step)
        return len(self.inputs) + len(self.steps) - 1

    def describe(self) -> dict[str, Any]:
        """The program as JSON has it."""
        return {
            "modulus": self.modulus,
            "ring_degree": self.parameters.ring_degree,
            "primes": self.parameters.primes,
            "is_bgv": self.parameters.scheme is Scheme.BGV,
            "depth": self.depth,
            "inputs": self.inputs,
            "steps": self.steps,
            "outputs": list(self.outputs.values()),
        }


@dataclass(frozen=True, slots=True, eq=False)
class RecordedColumn:
    """A column that notes what is done with it."""

    program: Program
    number: int
    primes: int
    size: int = 2
    depth: int = 0

    @property
    def parameters(self) -> Parameters:
        """The parameter set."""
        return self.program.parameters

    def plus(self, other: RecordedColumn) -> RecordedColumn:
        """Slot by slot sum."""
        return self._beside(other, "plus", size=max(self.size, other.size))

    def minus(self, other: RecordedColumn) -> RecordedColumn:
        """Slot by slot difference."""
        return self._beside(other, "minus", size=max(self.size, other.size))

    def times(self, other: RecordedColumn) -> RecordedColumn:
        """Slot by slot product."""
        return self._beside(other, "times", size=self.size + other.size - 1)

    def scale(self, factor: int) -> RecordedColumn:
        """Every slot times one integer."""
        return self._alone("scale", factor)

    def raise_by(self, amount: int | NDArray[np.int64]) -> RecordedColumn:
        """Every slot plus an integer, or plus its own."""
        return self._alone("raise", amount if isinstance(amount, int) else amount.tolist())

    def complement(self) -> RecordedColumn:
        """One minus every slot."""
        return self._alone("complement")

    def select(self, mask: NDArray[np.int64]) -> RecordedColumn:
        """Every slot times its own integer."""
        return self._alone("select", mask.tolist())

    def blind(self, blinding: NDArray[np.uint64]) -> RecordedColumn:
        """Every slot plus its own residue."""
        return self._alone("raise", blinding.tolist())

    def relinearise(self) -> RecordedColumn:
        """Size 2 again."""
        return replace(self._alone("relinearise"), size=2)

    def switch_down(self, primes: int) -> RecordedColumn:
        """Fewer primes, one switch each."""
        column = self
        while column.primes > primes:
            column = replace(column._alone("switch"), primes=column.primes - 1)
        return column

    def narrow(self, low: int, high: int) -> RecordedColumn:  # noqa: ARG002 - columns have them
        """A statement for planning."""
        return self

    def _alone(self, operation: str, *values: Any) -> RecordedColumn:
        number = self.program.take([operation, self.number, *values])
        return self._deeper(number, self.depth + (operation in ("scale", "select")))

    def _beside(self, other: RecordedColumn, operation: str, *, size: int) -> RecordedColumn:
        number = self.program.take([operation, self.number, other.number])
        depth = max(self.depth, other.depth) + (operation == "times")
        return replace(self._deeper(number, depth), size=size)

    def _deeper(self, number: int, depth: int) -> RecordedColumn:
        self.program.depth = max(self.program.depth, depth)
        return replace(self, number=number, depth=depth)


def record_bill(plan: BillPlan, *, values: Mapping[str, NDArray[Any]]) -> list[Program]:
    """A bill plan's programs, one for each parameter set it uses.

    Args:
        values: Settlement quantity -> integers [slots].
    """
    sets = dict.fromkeys(need.parameters for need in plan.needs)
    programs = {parameters: Program(parameters, len(plan.contracts)) for parameters in sets}
    inputs = {
        need.quantity: programs[need.parameters].encrypt(values[need.quantity])
        for need in plan.needs
    }
    for name, column in run_bill(plan, inputs=as_columns(inputs)).items():
        recorded = cast(RecordedColumn, column)
        recorded.program.outputs[name] = recorded.number
    return [program for program in programs.values() if program.outputs]


def as_columns(recorded: Mapping[str, RecordedColumn]) -> Mapping[str, EncryptedColumn]:
    """Recorded columns where a plan's types ask for one of the product's own four."""
    return cast(Mapping[str, EncryptedColumn], recorded)
