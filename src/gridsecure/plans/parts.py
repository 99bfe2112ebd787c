"""The parts of every bill line, computed on columns: encrypted, planned or in the clear.

A line is a list of *parts*. A part is a column with two weights: its values times the rate times
`amount_weight` count in the line's amount [1e-11 yuan], its values times `quantity_weight` in its
quantity [1e-3 unit]. One part is the rule; none, where public facts make the line zero for
everybody. A quantity that must be multiplied by another secret is there in limbs of eight bits, so
that every product stays below the plain modulus, and has a part for every limb.

| basis               | parts                                                              |
|---------------------|--------------------------------------------------------------------|
| linear ones         | the column                                                         |
| tier-part, kWh      | excess over the lower limit minus excess over the upper one        |
| tier-part, a year   | the same of the year with the month, less that of the year without |
| tier-part, kWh/kVA  | per limb: (x - T·P)·[hours >= T], lower minus upper                |
| discount            | per limb: demand·[hours >= T]                                      |
| tier-part, in steps | the same per limb, with the digits of floor(x / step)              |
| quota               | total minus excess over the free quota                             |
| share               | tier part × register limb, to be divided by the total              |
| dynamic             | the sum of price limb × interval                                   |
| power-factor        | percentage × limbs of the sum it applies to                        |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

import numpy as np

from gridsecure.billing.limits import capacities_va
from gridsecure.billing.rules import DISCOUNT, DYNAMIC, QUOTA, SHARE, TIER_PART, LineRule
from gridsecure.homomorphic.columns import Column
from gridsecure.plans.circuit import LIMB_MASK, Circuit, whole_kwh
from gridsecure.plans.quantities import (
    LIMB_BITS,
    MAX_TIER_WH,
    MONTH_MEASURE,
    TIER_TOTAL,
    TOTAL_QUANTITY,
    USE_HOURS,
    demand_quantity,
    in_limbs,
    linear_quantity,
    priced_quantity,
    register_quantity,
)


@dataclass(frozen=True, slots=True)
class Part(Generic[Column]):
    """A column that counts in a line.

    Args:
        column: The column.
        amount_weight: What a value counts in the amount, before the rate; zero for none.
        quantity_weight: What it counts in the quantity; zero for none.
        is_priced: Whether the rate still has to be multiplied in.
    """

    column: Column
    amount_weight: int
    quantity_weight: int
    is_priced: bool = True


def line_parts(
    circuit: Circuit[Column], line: int, *, limb_bits: int | None = None
) -> list[Part[Column]]:
    """The parts of a line that is computed on ciphertext.

    Args:
        circuit: The columns.
        line: Number of the rule.
        limb_bits: Bits of a price limb, for lines that sum over prices.
    """
    rule = circuit.rules[line]
    quantity = linear_quantity(rule)
    if quantity is not None:
        return [Part(circuit.inputs[quantity], 1, 1)]
    if rule.basis == TIER_PART:
        return _weighted(circuit.tier_part(rule))
    if rule.basis == DISCOUNT:
        return _discounted(circuit, rule)
    if rule.basis == QUOTA:
        return _within_quota(circuit, rule)
    if rule.basis == SHARE:
        return _shares(circuit, rule)
    if rule.basis == DYNAMIC:
        return _priced(circuit, rule, limb_bits or LIMB_BITS)
    raise ValueError(f"a {rule.basis} line has no parts of this kind")


def _discounted(circuit: Circuit[Column], rule: LineRule) -> list[Part[Column]]:
    capacities_va(circuit.contracts)  # refuses those without capacity, as the oracle does
    gate = circuit.gate(USE_HOURS, np.array(rule.min_use_hours))
    limbs = circuit.limbs(demand_quantity(None))
    if gate is None:
        return _weighted(limbs)
    return _weighted([gate.kept(limb).within(0, LIMB_MASK) for limb in limbs])


def _within_quota(circuit: Circuit[Column], rule: LineRule) -> list[Part[Column]]:
    free = circuit.contracts["free_quota_wh"].to_numpy(np.int64)
    if not free.any():
        return []  # the total minus itself would be no encryption
    if rule.step_wh:
        nothing = np.zeros_like(free)
        everything = circuit.above_steps(rule, nothing)
        beyond = circuit.above_steps(rule, free)
        return _weighted([all_.minus(b) for all_, b in zip(everything, beyond, strict=True)])
    beyond_quota = circuit.above(MONTH_MEASURE, whole_kwh(free))
    within = circuit.above(MONTH_MEASURE, None).minus(beyond_quota)
    return [Part(within.within(0, MAX_TIER_WH), 1, 1)]


def divisor_parts(circuit: Circuit[Column]) -> list[Part[Column]]:
    """The total that shares are divided by; empty where nothing is."""
    for rule in circuit.rules:
        if rule.basis == SHARE:
            if in_limbs(rule):
                return _weighted(circuit.limbs(TOTAL_QUANTITY))
            return [Part(circuit.inputs[TIER_TOTAL], 0, 1)]
    return []


def _weighted(columns: Sequence[Column]) -> list[Part[Column]]:
    weights = [2 ** (LIMB_BITS * n) for n in range(len(columns))]
    return [Part(column, w, w) for column, w in zip(columns, weights, strict=True)]


def _shares(circuit: Circuit[Column], rule: LineRule) -> list[Part[Column]]:
    """Tier part × register, limb by limb; relinearised, still to be divided by the total."""
    parts = circuit.tier_part(rule)
    # A register under limits in kWh is no larger than the largest household's total.
    limbs = circuit.limbs(register_quantity(rule.tou_period or ""))
    if len(parts) == 1:
        limbs = limbs[: -(-MAX_TIER_WH.bit_length() // LIMB_BITS)]
    found: list[Part[Column]] = []
    for part in _weighted(parts):
        for place, limb in enumerate(limbs):
            weight = part.amount_weight * 2 ** (LIMB_BITS * place)
            product = part.column.times(limb.lowered(part.column.primes)).relinearised()
            found.append(Part(product, weight, weight))
    return found


def _priced(circuit: Circuit[Column], rule: LineRule, limb_bits: int) -> list[Part[Column]]:
    """Σ price × interval, by limb of the price, and the total for the quantity."""
    top = max(abs(price) for price in rule.prices).bit_length()
    parts: list[Part[Column]] = []
    for limb in range(-(-top // limb_bits)):
        factors = {
            priced_quantity(n): limb_of(price, limb, bits=limb_bits)
            for n, price in enumerate(rule.prices)
        }
        column = combined({name: f for name, f in factors.items() if f}, circuit.inputs)
        if column is not None:
            parts.append(Part(column, 2 ** (limb_bits * limb), 0, is_priced=False))
    parts.append(Part(circuit.inputs[TOTAL_QUANTITY], 0, 1, is_priced=False))
    return parts


def limb_of(number: int, limb: int, *, bits: int) -> int:
    """One limb of a signed integer, with its sign."""
    part = abs(number) >> (bits * limb) & ((1 << bits) - 1)
    return -part if number < 0 else part


def combined(factors: Mapping[str, int], columns: Mapping[str, Column]) -> Any:
    """Σ factor × column with signed public factors; None when there is nothing to add."""
    sums: dict[bool, Any] = {}
    for name, factor in factors.items():
        column = columns[name]
        scaled = column if abs(factor) == 1 else column.scaled(abs(factor))
        negative = factor < 0
        sums[negative] = sums[negative].plus(scaled) if negative in sums else scaled
    if True not in sums:
        return sums.get(False)
    if False not in sums:
        return sums[True].complement().raised(-1)  # one minus x, minus one
    return sums[False].minus(sums[True])
