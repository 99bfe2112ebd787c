"""Charges: the exact quantity and amount of every bill line, in plaintext: the oracle.

Scales. A quantity is an integer in thousandths of its unit (Wh of kWh, VA of kVA, 0.001 month or
day). A rate has eight decimals, so it is an integer in 1e-8 yuan per unit. Their product is

    amount [1e-11 yuan] = quantity [1e-3 unit] x rate [1e-8 yuan / unit]

and nothing is rounded here, with one exception: a line that divides (a pro-rata share, a
percentage) has a fraction for its amount. It is cut off toward zero at 1e-11 yuan. Half a fen is
a whole number of 1e-11 yuan, so rounding the cut amount half-up to the fen gives what rounding the
fraction would have given.

int64 holds 92 million yuan in that scale; beyond it the arrays hold Python integers (object).

`KINDS` is the one table of what a line may multiply: its entry tells all that this side of a bill,
the gateway's columns and the words of a bill need to know of a kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from gridsecure.billing.limits import capacities_va, tier_limits_wh
from gridsecure.billing.part_months import days_held, month_share
from gridsecure.billing.rules import (
    CONTRACT,
    DEMAND,
    DISCOUNT,
    DYNAMIC,
    EXPORT,
    MINIMUM,
    OWN_DEMAND,
    POWER_FACTOR,
    QUOTA,
    RATCHET,
    REGISTER,
    SHARE,
    SPLIT,
    TIER_PART,
    TOTAL,
    LineRule,
    rate_units,
)
from gridsecure.billing.settlement_columns import (
    EXPORT_COLUMN,
    INT64_MAX,
    OWN_DEMAND_COLUMN,
    POWER_FACTOR_COLUMN,
    RATCHET_COLUMN,
    TOTAL_COLUMN,
    YEAR_BEFORE_COLUMN,
    demand_column,
    interval_column,
    register_column,
    split_column,
)
from gridsecure.billing.table_rows import TableRows, numbers_of
from gridsecure.periods import BillingPeriod
from gridsecure.tariffs.consistency import MONTH, YEAR
from gridsecure.tariffs.power_factor import adjustment_table
from gridsecure.tariffs.rows import (
    KWH_PER_KVA,
    KWH_PER_KW,
    KWH_PER_KW_DAY,
    PER_DAY,
    PER_KVA,
    RATE_DECIMALS,
)

QUANTITY_DECIMALS = 3
AMOUNT_DECIMALS = QUANTITY_DECIMALS + RATE_DECIMALS
QUANTITY_SCALE = 10**QUANTITY_DECIMALS
AMOUNT_SCALE = 10**AMOUNT_DECIMALS
FEN_PER_YUAN = 100
AMOUNT_UNITS_PER_FEN = AMOUNT_SCALE // FEN_PER_YUAN
PERCENT_SCALE = 10_000
"""A percentage is a whole number of hundredths of a percent."""
PERCENT_QUANTITY = 10
"""Thousandths of a percent in a hundredth: the quantity of a power-factor line is in percent."""

# int64, or object holding Python integers where int64 could overflow.
IntegerArray = npt.NDArray[Any]


# Where the number behind a line came from: measured energy, a column the gateway derived from its
# readings, public facts, or the lines the authority had decrypted.
CIPHERTEXT, GATEWAY, CONTRACT_FACT, AUTHORITY = "ciphertext", "gateway", "contract", "authority"


class Need(Enum):
    """What a line needs of a meter point beside sums of energy."""

    DEMAND = auto()  # the highest power of an interval
    ORDER = auto()  # the intervals in the order of time, to fill tiers
    PRICES = auto()  # the energy of each interval that has a price of its own
    REACTIVE = auto()  # a register of reactive energy
    EXPORT = auto()  # a register of energy fed in
    CAPACITY = auto()  # a contracted capacity to count kWh per


_FROM_INTERVALS: Final = {Need.DEMAND, Need.ORDER, Need.PRICES}
_NEED_OF_LIMITS: Final = {
    KWH_PER_KVA: Need.CAPACITY,
    KWH_PER_KW: Need.DEMAND,
    KWH_PER_KW_DAY: Need.DEMAND,
}


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """The meter points of a month.

    Args:
        settlements: Settlements of this period, one row per meter point.
        contracts: Contracts in the same order.
        period: The billing period.
    """

    settlements: TableRows
    contracts: TableRows
    period: BillingPeriod

    def column(self, name: str) -> npt.NDArray[np.int64]:
        """One settlement column."""
        return numbers_of(self.settlements, name)


class PublicFacts(Protocol):
    """What is public of the meter points of a bill."""

    @property
    def contracts(self) -> TableRows:
        """Contract rows in the order wanted."""
        ...

    @property
    def period(self) -> BillingPeriod:
        """The billing period."""
        ...


Limits = Sequence[npt.NDArray[np.int64]]


def _no_limits(_rule: LineRule, _contracts: TableRows, _period: BillingPeriod) -> Limits:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeKind:
    """What a line multiplies, and what follows from that. The rest of `billing` asks only this.

    Args:
        measure: The quantity [1e-3 unit].
        price: The amount [1e-11 yuan], where it is no product of quantity and rate.
        derive: The amount from the other lines, by rules, line, quantities and amounts.
        has_rate: Whether a bill shows a single rate.
        computed: Where its number comes from, one of the names above.
        needs: What it needs beside sums of energy, whatever its limits count.
        limits_wh: The limits in kWh of every meter point, in arrays.
        limits_reset: What those limits count, a `month` or a `year`; None where the tariff says.
    """

    measure: Callable[[LineRule, Settled], IntegerArray]
    price: Callable[[LineRule, Settled], IntegerArray] | None = None
    derive: Callable[[Sequence[LineRule], int, IntegerArray, IntegerArray], IntegerArray] | None = (
        None
    )
    has_rate: bool = True
    computed: str = CIPHERTEXT
    needs: frozenset[Need] = frozenset()
    limits_wh: Callable[[LineRule, TableRows, BillingPeriod], Limits] = _no_limits
    limits_reset: str | None = None


def list_needs(rules: Sequence[LineRule]) -> frozenset[Need]:
    """What the lines need beside sums of energy, by what they multiply and what limits count."""
    units = {rule.limit_unit for rule in rules} & _NEED_OF_LIMITS.keys()
    by_limits = {_NEED_OF_LIMITS[unit] for unit in units}
    return frozenset(by_limits).union(*(KINDS[rule.basis].needs for rule in rules))


def needs_intervals(rules: Sequence[LineRule]) -> bool:
    """Whether any line needs more than sums of energy over a month."""
    return not _FROM_INTERVALS.isdisjoint(list_needs(rules))


def exact_lines(
    rules: Sequence[LineRule],
    *,
    settlements: TableRows,
    contracts: TableRows,
    period: BillingPeriod,
) -> tuple[IntegerArray, IntegerArray]:
    """Return quantities [1e-3 unit] and amounts [1e-11 yuan], a row a rule, a column a meter point.

    Args:
        settlements: Settlements of this period, one row per meter point.
        contracts: Contracts in the same order.
    """
    quantities = line_quantities(rules, settlements=settlements, contracts=contracts, period=period)
    amounts = line_amounts(rules, quantities=quantities)
    settled = Settled(settlements, contracts, period)
    for line, rule in enumerate(rules):
        if (price := KINDS[rule.basis].price) is not None:
            amounts = amounts.astype(object)
            amounts[line] = price(rule, settled)
    quantities, amounts = divide_months(rules, settled, quantities=quantities, amounts=amounts)
    return quantities, derive_lines(rules, quantities=quantities, amounts=amounts)


def divide_months(
    rules: Sequence[LineRule],
    of: PublicFacts,
    *,
    quantities: IntegerArray,
    amounts: IntegerArray,
) -> tuple[IntegerArray, IntegerArray]:
    """Give who holds a meter point for a part of the period its part of charges of a month.

    Args:
        of: The contracts in the order of the columns, and the period.
        quantities: Of whole months; cut off at 1e-3 unit where they are divided.
        amounts: Of whole months [1e-11 yuan].

    Returns:
        Both, the same arrays where nothing is divided.
    """
    for line, rule in enumerate(rules):
        if (share := month_share(rule, of.contracts, of.period)) is None:
            continue
        own, whole = share
        quantities, amounts = quantities.astype(object), amounts.astype(object)
        for table in (quantities, amounts):
            table[line] = divide_toward_zero(table[line] * own, whole)
    return quantities, amounts


def derive_lines(
    rules: Sequence[LineRule], *, quantities: IntegerArray, amounts: IntegerArray
) -> IntegerArray:
    """Fill in the lines that follow from other lines: the power factor, then the minimum.

    Args:
        quantities: Their quantities; the percentage [1e-3 %] of a power-factor line among them.
        amounts: The amounts of all other lines [1e-11 yuan].

    Returns:
        The amounts of all lines; the same array where nothing is derived.
    """
    for line, rule in enumerate(rules):
        if (derive := KINDS[rule.basis].derive) is not None:
            amounts = amounts.astype(object)
            amounts[line] = derive(rules, line, quantities, amounts)
    return amounts


def line_quantities(
    rules: Sequence[LineRule],
    *,
    settlements: TableRows,
    contracts: TableRows,
    period: BillingPeriod,
) -> npt.NDArray[np.int64]:
    """Return the quantity of every line [1e-3 unit], one row per rule, one column per meter point.

    A share's quantity is cut off at 1e-3 kWh; its amount is computed from the fraction.

    Args:
        settlements: Settlements of this period, one row per meter point.
        contracts: Contracts in the same order.
        period: The billing period, for charges per month or day.
    """
    settled = Settled(settlements, contracts, period)
    quantities = np.zeros((len(rules), len(settlements)), dtype=np.int64)
    for number, rule in enumerate(rules):
        quantities[number] = KINDS[rule.basis].measure(rule, settled)
    return quantities


def _label(rule: LineRule) -> str:
    if rule.tou_period is None:
        raise ValueError(f"a {rule.basis} line is one of a time-of-use period")
    return rule.tou_period


def _measure_split(rule: LineRule, settled: Settled) -> IntegerArray:
    if rule.tier is None:
        raise ValueError("a split line is one of a tier")
    return settled.column(split_column(_label(rule), rule.tier))


def _measure_tier(rule: LineRule, settled: Settled) -> IntegerArray:
    """Energy of each meter point between a rule's limits [Wh].

    Of a year's tiers, what this month added: the part of all energy since 1 January with the month,
    less the part without it.
    """
    own = rule.basis == TIER_PART and rule.tou_period is not None
    energy = settled.column(register_column(_label(rule)) if own else TOTAL_COLUMN)
    lower, upper = tier_limits_wh(
        rule, settled.contracts, period=settled.period, settlements=settled.settlements
    )
    if rule.reset == YEAR:
        before = settled.column(YEAR_BEFORE_COLUMN)
        after = before + energy
        return _between(after, lower, upper) - _between(before, lower, upper)
    return _between(energy, lower, upper)


def _between(
    energy: npt.NDArray[np.int64], lower: npt.NDArray[np.int64], upper: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    part: npt.NDArray[np.int64] = np.minimum(energy, upper) - np.minimum(energy, lower)
    return part


def _limit_tier(rule: LineRule, contracts: TableRows, period: BillingPeriod) -> Limits:
    return tier_limits_wh(rule, contracts, period=period)


def _free_quota(contracts: TableRows) -> npt.NDArray[np.int64]:
    return numbers_of(contracts, "free_quota_wh")


def _measure_quota(_rule: LineRule, settled: Settled) -> IntegerArray:
    return np.minimum(settled.column(TOTAL_COLUMN), _free_quota(settled.contracts))


def _share_terms(rule: LineRule, settled: Settled) -> tuple[IntegerArray, IntegerArray]:
    """Register x tier part [Wh²] and total [Wh]; their quotient is the share."""
    register = settled.column(register_column(_label(rule))).astype(object)
    part = _measure_tier(rule, settled).astype(object)
    return register * part, settled.column(TOTAL_COLUMN).astype(object)


def _measure_share(rule: LineRule, settled: Settled) -> IntegerArray:
    return divide_toward_zero(*_share_terms(rule, settled))


def _price_share(rule: LineRule, settled: Settled) -> IntegerArray:
    product, total = _share_terms(rule, settled)
    return divide_toward_zero(product * rate_units(rule.rate), total)


def _price_intervals(rule: LineRule, settled: Settled) -> IntegerArray:
    amounts = np.zeros(len(settled.settlements), dtype=object)
    for index, price in enumerate(rule.prices):
        name = interval_column(index)
        if price and name in settled.settlements:
            amounts += settled.column(name).astype(object) * price
    return amounts


def _measure_discount(rule: LineRule, settled: Settled) -> IntegerArray:
    """Demand of the meter points with enough kWh per contracted kVA; zero for the others."""
    enough = capacities_va(settled.contracts) * rule.min_use_hours
    reached = settled.column(TOTAL_COLUMN) >= enough
    return np.where(reached, settled.column(demand_column(None)), 0)


def _measure_contract(rule: LineRule, settled: Settled) -> IntegerArray:
    return contract_quantity(rule, settled.contracts, settled.period)


def _measure_percentage(rule: LineRule, settled: Settled) -> IntegerArray:
    percentages: IntegerArray = adjustment_table(rule.standard)[settled.column(POWER_FACTOR_COLUMN)]
    return percentages * PERCENT_QUANTITY


def _derive_percentage(
    rules: Sequence[LineRule], line: int, quantities: IntegerArray, amounts: IntegerArray
) -> IntegerArray:
    base = amounts[list(rules[line].base)].sum(axis=0)
    percent = quantities[line].astype(object) // PERCENT_QUANTITY
    return divide_toward_zero(base * percent, PERCENT_SCALE)


def _derive_minimum(
    rules: Sequence[LineRule], line: int, quantities: IntegerArray, amounts: IntegerArray
) -> IntegerArray:
    others = [n for n, other in enumerate(rules) if other.basis != MINIMUM]
    wanted = quantities[line].astype(object) * rate_units(rules[line].rate)
    missing = wanted - amounts[others].sum(axis=0)
    return np.where(missing > 0, missing, 0)


def divide_toward_zero(numerators: IntegerArray, divisor: IntegerArray | int) -> IntegerArray:
    """Divide exact integers and cut toward zero; what is divided by zero is zero.

    >>> divide_toward_zero(np.array([7, -7, 5]), np.array([2, 2, 0])).tolist()
    [3, -3, 0]
    """
    safe = np.where(np.asarray(divisor) == 0, 1, divisor)
    magnitudes = abs(numerators) // safe
    signed: IntegerArray = np.where(numerators < 0, -magnitudes, magnitudes)
    return np.where(np.asarray(divisor) == 0, 0, signed)


def contract_quantity(
    rule: LineRule, contracts: TableRows, period: BillingPeriod
) -> npt.NDArray[np.int64]:
    """Capacity is contracted kVA for a month; standing charges count months, or days held."""
    per = rule.unit.partition("/")[2]
    if per == PER_KVA:
        return numbers_of(contracts, "contracted_va")
    if per == PER_DAY:
        held: npt.NDArray[np.int64] = days_held(contracts, period) * QUANTITY_SCALE
        return held
    return np.full(len(contracts), QUANTITY_SCALE, dtype=np.int64)


def line_amounts(rules: Sequence[LineRule], *, quantities: IntegerArray) -> IntegerArray:
    """Multiply quantities by their rates, exactly [1e-11 yuan].

    Args:
        quantities: One row per rule [1e-3 unit].

    Returns:
        The same shape; int64 when no amount can leave it, else Python integers. Zero for lines
        that are no product of a quantity and a rate.
    """
    kinds = [KINDS[rule.basis] for rule in rules]
    units = [
        rate_units(rule.rate) if kind.price is None and kind.derive is None else 0
        for rule, kind in zip(rules, kinds, strict=True)
    ]
    bound = max(
        (find_largest(row) * abs(unit) for row, unit in zip(quantities, units, strict=True)),
        default=0,
    )
    dtype = np.dtype(np.int64) if bound <= INT64_MAX else np.dtype(object)
    rates = np.array(units, dtype=dtype).reshape(-1, 1)
    amounts: IntegerArray = quantities.astype(dtype) * rates
    return amounts


def find_largest(values: IntegerArray) -> int:
    """Return the largest absolute value as a Python integer; zero when there is none."""
    return max(int(values.max(initial=0)), -int(values.min(initial=0)))


_DEMAND: Final = frozenset({Need.DEMAND})

KINDS: Final[Mapping[str, ChargeKind]] = {
    TOTAL: ChargeKind(measure=lambda _rule, settled: settled.column(TOTAL_COLUMN)),
    REGISTER: ChargeKind(
        measure=lambda rule, settled: settled.column(register_column(_label(rule)))
    ),
    TIER_PART: ChargeKind(measure=_measure_tier, limits_wh=_limit_tier),
    SHARE: ChargeKind(measure=_measure_share, price=_price_share, limits_wh=_limit_tier),
    SPLIT: ChargeKind(measure=_measure_split, computed=GATEWAY, needs=frozenset({Need.ORDER})),
    QUOTA: ChargeKind(
        measure=_measure_quota,
        limits_wh=lambda _rule, contracts, _period: (_free_quota(contracts),),
        limits_reset=MONTH,  # under any ladder
    ),
    DYNAMIC: ChargeKind(
        measure=lambda _rule, settled: settled.column(TOTAL_COLUMN),
        price=_price_intervals,
        has_rate=False,
        needs=frozenset({Need.PRICES}),
    ),
    EXPORT: ChargeKind(
        measure=lambda _rule, settled: settled.column(EXPORT_COLUMN),
        needs=frozenset({Need.EXPORT}),
    ),
    DEMAND: ChargeKind(
        measure=lambda rule, settled: settled.column(demand_column(rule.tou_period)),
        computed=GATEWAY,
        needs=_DEMAND,
    ),
    OWN_DEMAND: ChargeKind(
        measure=lambda _rule, settled: settled.column(OWN_DEMAND_COLUMN),
        computed=GATEWAY,
        needs=_DEMAND,
    ),
    RATCHET: ChargeKind(
        measure=lambda _rule, settled: settled.column(RATCHET_COLUMN),
        computed=GATEWAY,
        needs=_DEMAND,
    ),
    DISCOUNT: ChargeKind(
        measure=_measure_discount, computed=GATEWAY, needs=_DEMAND | {Need.CAPACITY}
    ),
    CONTRACT: ChargeKind(measure=_measure_contract, computed=CONTRACT_FACT),
    POWER_FACTOR: ChargeKind(
        measure=_measure_percentage,
        derive=_derive_percentage,
        has_rate=False,
        computed=GATEWAY,
        needs=frozenset({Need.REACTIVE}),
    ),
    MINIMUM: ChargeKind(
        measure=_measure_contract, derive=_derive_minimum, has_rate=False, computed=AUTHORITY
    ),
}
