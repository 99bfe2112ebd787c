"""Lines that are one settlement column times a rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from gridsecure.billing.rules import (
    DEMAND,
    EXPORT,
    OWN_DEMAND,
    RATCHET,
    REGISTER,
    SPLIT,
    TOTAL,
    LineRule,
)
from gridsecure.billing.settlement_columns import (
    EXPORT_COLUMN,
    OWN_DEMAND_COLUMN,
    RATCHET_COLUMN,
    TOTAL_COLUMN,
    demand_column,
    register_column,
    split_column,
)
from gridsecure.billing.table_rows import TableRows, numbers_of
from gridsecure.plans.circuit import Circuit
from gridsecure.plans.lines.kind import LINEAR, LineKind, Method, Part, Reads, Rules, Values
from gridsecure.plans.quantities import (
    EXPORT_QUANTITY,
    OWN_DEMAND_QUANTITY,
    RATCHET_QUANTITY,
    TOTAL_QUANTITY,
    demand_quantity,
    register_quantity,
    split_quantity,
)


@dataclass(frozen=True, slots=True)
class _Column:
    """What a basis multiplies.

    Args:
        quantity: Name of the encrypted column.
        settled: Name of the settlement frame's column.
        what: In words.
        rank: Rank as the energy of a bill, or None.
    """

    quantity: Callable[[LineRule], str]
    settled: Callable[[LineRule], str]
    what: str
    rank: int | None = None


_COLUMNS: Final = {
    TOTAL: _Column(
        lambda _rule: TOTAL_QUANTITY, lambda _rule: TOTAL_COLUMN, "energy of the month × rate", 1
    ),
    REGISTER: _Column(
        lambda rule: register_quantity(rule.tou_period or ""),
        lambda rule: register_column(rule.tou_period or ""),
        "energy of the register × rate",
        0,
    ),
    EXPORT: _Column(
        lambda _rule: EXPORT_QUANTITY,
        lambda _rule: EXPORT_COLUMN,
        "energy of the export register × rate",
    ),
    DEMAND: _Column(
        lambda rule: demand_quantity(rule.tou_period),
        lambda rule: demand_column(rule.tou_period),
        "maximum demand, which the gateway takes over the intervals, × rate",
    ),
    OWN_DEMAND: _Column(
        lambda _rule: OWN_DEMAND_QUANTITY,
        lambda _rule: OWN_DEMAND_COLUMN,
        "the month's demand, or zero where the gateway found a share of an earlier one"
        " higher, × rate",
    ),
    RATCHET: _Column(
        lambda _rule: RATCHET_QUANTITY,
        lambda _rule: RATCHET_COLUMN,
        "the earlier demand where the gateway found its share higher, × share × rate",
    ),
    SPLIT: _Column(
        lambda rule: split_quantity(rule.tou_period or "", rule.tier or 0),
        lambda rule: split_column(rule.tou_period or "", rule.tier or 0),
        "energy that the gateway placed into the tier interval by interval, × rate",
        2,
    ),
}


def _read(rule: LineRule, _rules: Rules) -> Reads:
    return Reads(linear=(_COLUMNS[rule.basis].quantity(rule),))


def _settle(rule: LineRule, settled: TableRows) -> Values:
    column = _COLUMNS[rule.basis]
    return {column.quantity(rule): numbers_of(settled, column.settled(rule))}


def _split(circuit: Circuit[Any], rule: LineRule, _limb_bits: int) -> list[Part[Any]]:
    return [Part(circuit.inputs[_COLUMNS[rule.basis].quantity(rule)], 1, 1)]


def _energy(rule: LineRule) -> tuple[int, object] | None:
    rank = _COLUMNS[rule.basis].rank
    return None if rank is None else (rank, (rule.tou_period, rule.tier))


KIND: Final = LineKind(
    takes=lambda rule: rule.basis in _COLUMNS,
    describe=lambda rule, _rules: Method(LINEAR, _COLUMNS[rule.basis].what),
    read=_read,
    settle=_settle,
    split=_split,
    energy=_energy,
)
