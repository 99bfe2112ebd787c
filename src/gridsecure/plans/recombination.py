"""From decrypted output columns to exact quantities and amounts: the vault's half of a bill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridsecure.billing.charges import (
    contract_quantity,
    derive_lines,
    divide_months,
    line_amounts,
)
from gridsecure.billing.rules import LineRule
from gridsecure.plans.bills import BillPlan
from gridsecure.plans.lines.kind import Decrypted, Numbers, inconsistent
from gridsecure.plans.lines.registry import DIVISOR, KINDS, kind_of
from gridsecure.plans.outputs import LineOutput


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Every line of a roster's bills, exactly, as object integers.

    Args:
        quantities: One row a line, one column a slot [1e-3 unit].
        amounts: The same shape [1e-11 yuan].
        energy_wh: Energy that each bill stands for [Wh].
    """

    quantities: Numbers
    amounts: Numbers
    energy_wh: Numbers


def recombine_outputs(plan: BillPlan, *, values: Mapping[str, NDArray[Any]]) -> Lines:
    """Exact quantities and amounts of every line from decrypted output columns.

    1. put limbs together; every limb of a part must tell the same number, inside the range the plan
       proved for it, which catches a wrong key, a damaged column or a failed decryption before it
       becomes money;
    2. divide shares by the total, power factors by their scale;
    3. refuse quantities and sums over prices that no honest columns have;
    4. add what is public (capacity, months) and what follows from decrypted lines (the minimum),
       and check the power factor against the lines it applies to.

    Args:
        values: Output name -> residues of its plain modulus [slots].

    Raises:
        OutOfRangeError: The numbers disagree or are too large (`bill.inconsistent`).
    """
    quantities, amounts = _put_together(plan, values)
    total = quantities[-1]
    # The divisor is the last row whether or not a line divides; it is no line of the bill.
    quantities, amounts = quantities[:-1], amounts[:-1]
    decrypted = Decrypted(plan.rules, quantities, amounts, total)
    for kind in KINDS:
        kind.finish(decrypted, [n for n, rule in enumerate(plan.rules) if kind.takes(rule)])
    _check_quantities(plan.rules, quantities)
    is_divided = any(output.line == DIVISOR for output in plan.outputs)
    energy = total if is_divided else _billed_energy(plan.rules, quantities)
    return Lines(quantities, _completed(plan, quantities, amounts), energy)


def _put_together(plan: BillPlan, values: Mapping[str, NDArray[Any]]) -> tuple[Numbers, Numbers]:
    """Quantities and amounts before any division; the divisor is the last row."""
    quantities = np.zeros((len(plan.rules) + 1, len(plan.contracts)), dtype=object)
    amounts = np.zeros_like(quantities)
    parts: dict[tuple[int, int], Numbers] = {}
    for output in plan.outputs:
        row = len(plan.rules) if output.line == DIVISOR else output.line
        lifted = _lifted(values[output.name], output)
        amounts[row] += lifted * output.weight
        part = lifted // output.factor
        known = parts.setdefault((row, output.part), part)
        if (part * output.factor != lifted).any() or (part != known).any():
            raise inconsistent("A decrypted bill line does not divide by its rate.")
        _check_range(part, output)
        # Every limb of a rate gives the same quantity; it is counted for the first of them only.
        if known is part:
            quantities[row] += part * output.quantity_weight
    return quantities, amounts


def _lifted(residues: NDArray[Any], output: LineOutput) -> Numbers:
    # Python integers: a residue times a rate and a weight may exceed 64 bits.
    numbers: Numbers = residues.astype(object)
    if not output.is_signed:
        return numbers
    return np.where(numbers > output.modulus // 2, numbers - output.modulus, numbers)


def _check_range(part: Numbers, output: LineOutput) -> None:
    """Refuse what the plan proved impossible: a sign of a column that was no honest encryption.

    Limbs of a rate of zero agree whatever they are, and a forged column's residues are those of the
    secret key. The divisor of shares and the percentage of a power factor are released too, and no
    line that is multiplied by zero would give them away.
    """
    if (part < output.low).any() or (part > output.high).any():
        raise inconsistent("A decrypted value is outside the range of its column.")


def _check_quantities(rules: tuple[LineRule, ...], quantities: Numbers) -> None:
    """Refuse energies that no column may hold, also those put together from limbs."""
    for rule, row in zip(rules, quantities, strict=True):
        bound = kind_of(rule).bound_wh(rule)
        if bound is not None and ((row < 0).any() or (row > bound).any()):
            raise inconsistent("A decrypted value is larger than its column may hold.")


def _billed_energy(rules: tuple[LineRule, ...], quantities: Numbers) -> Numbers:
    """Energy a bill stands for [Wh]: its registers, or its total, or the sum of its tiers."""
    ranked: dict[int, dict[object, int]] = {}
    for line, rule in enumerate(rules):
        if (told := kind_of(rule).energy(rule)) is not None:
            rank, key = told
            ranked.setdefault(rank, {}).setdefault(key, line)
    if not ranked:
        return np.zeros(quantities.shape[1], dtype=object)
    energy: Numbers = quantities[list(ranked[min(ranked)].values())].sum(axis=0)
    return energy


def _completed(plan: BillPlan, quantities: Numbers, amounts: Numbers) -> Numbers:
    """Add public lines and the minimum; check lines that follow from others against those."""
    computed = [n for n, rule in enumerate(plan.rules) if kind_of(rule).split is not None]
    for line, rule in enumerate(plan.rules):
        if line not in computed:
            known = contract_quantity(rule, plan.contracts, plan.period)
            quantities[line] = known.astype(object)
            amounts[line] = line_amounts([rule], quantities=known[np.newaxis])[0]
    divided = divide_months(plan.rules, plan, quantities=quantities, amounts=amounts)
    quantities[:], amounts = divided[0], divided[1]
    derived = derive_lines(plan.rules, quantities=quantities, amounts=amounts.copy())
    if (derived[computed] != amounts[computed]).any():
        raise inconsistent("A power-factor line is not its percentage of the lines it is on.")
    return derived
