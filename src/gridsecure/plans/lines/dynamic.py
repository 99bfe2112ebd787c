"""Dynamic prices: Σ price × energy over the month's intervals, limb of price by limb of price."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from gridsecure.billing.rules import DYNAMIC, LineRule
from gridsecure.billing.settlement_columns import interval_column
from gridsecure.billing.table_rows import TableRows, numbers_of
from gridsecure.homomorphic.parameters import REGISTER
from gridsecure.plans.circuit import Circuit, combine_columns, limb_of
from gridsecure.plans.lines.kind import (
    LINEAR,
    Decrypted,
    LineKind,
    Method,
    Part,
    Reads,
    Rules,
    Values,
    inconsistent,
)
from gridsecure.plans.quantities import (
    MAX_PRICED_WH,
    TOTAL_QUANTITY,
    ColumnNeed,
    priced_quantity,
)


def _read(rule: LineRule, _rules: Rules) -> Reads:
    intervals = range(len(rule.prices))
    return Reads(
        intervals=tuple(ColumnNeed(priced_quantity(n), REGISTER, MAX_PRICED_WH) for n in intervals)
    )


def _settle(rule: LineRule, settled: TableRows) -> Values:
    return {
        priced_quantity(n): numbers_of(settled, interval_column(n)) for n in range(len(rule.prices))
    }


def _split(circuit: Circuit[Any], rule: LineRule, limb_bits: int) -> list[Part[Any]]:
    """Σ price × interval, by limb of the price, and the total for the quantity."""
    top = max(abs(price) for price in rule.prices).bit_length()
    parts: list[Part[Any]] = []
    for limb in range(-(-top // limb_bits)):
        factors = {
            priced_quantity(n): limb_of(price, limb, bits=limb_bits)
            for n, price in enumerate(rule.prices)
        }
        column = combine_columns({name: f for name, f in factors.items() if f}, circuit.inputs)
        if column is not None:
            parts.append(Part(column, 2 ** (limb_bits * limb), 0, is_priced=False))
    parts.append(Part(circuit.inputs[TOTAL_QUANTITY], 0, 1, is_priced=False))
    return parts


def _finish(decrypted: Decrypted, lines: Sequence[int]) -> None:
    """A sum over prices lies between the lowest price and the highest for all of the energy."""
    for line in lines:
        energy, amount = decrypted.quantities[line], decrypted.amounts[line]
        prices = decrypted.rules[line].prices
        if (amount < energy * min(prices)).any() or (amount > energy * max(prices)).any():
            raise inconsistent("A sum of energy times price does not match the energy.")


KIND: Final = LineKind(
    takes=lambda rule: rule.basis == DYNAMIC,
    describe=lambda _rule, _rules: Method(
        LINEAR, "Σ price × energy over the intervals, prices split into limbs before the sum"
    ),
    read=_read,
    settle=_settle,
    split=_split,
    is_summed=True,
    finish=_finish,
    energy=lambda _rule: (1, (None, None)),
)
