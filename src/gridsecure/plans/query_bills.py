"""Bill lines of whole groups, by each roster's own tariff or by one that nobody has yet.

Rates are never multiplied on ciphertext: the total of a line is its rate times the total of what it
multiplies, so parts leave without their rates (only sums over prices take limbs of them), and a
secret rate is applied where the totals are put together. Limits of tiers are compared on
ciphertext, with the digits that gateways encrypt whatever the limits are.

    amount of a line [1e-11 yuan] = rate [1e-8 yuan] × Σ over the group of its parts [1e-3 unit]

Amounts are sums of *unrounded* bill lines; bills round each line to the fen, so the sum of what was
billed differs by up to half a fen a line and bill. Refused is what is no sum over meter points: a
pro-rata share divides, a power factor divides, a minimum is a maximum, and a part of a month is cut
off at 1e-11 yuan, each for every bill by itself (`query.not-linear`).

A tariff that a roster was not billed by can be asked about as far as its columns go: the same
hours, days and intervals, and of each roster the columns that its own tariff's form needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gridsecure.billing.charges import contract_quantity, divide_months, line_amounts
from gridsecure.billing.part_months import month_share
from gridsecure.billing.rules import (
    CONTRACT,
    DYNAMIC,
    MINIMUM,
    OWN_DEMAND,
    POWER_FACTOR,
    RATCHET,
    SHARE,
    SPLIT,
    LineRule,
    rate_units,
)
from gridsecure.billing.table_rows import TableRows
from gridsecure.errors import GridSecureError, InputError
from gridsecure.homomorphic.parameters import PRODUCT, TIER, Parameters
from gridsecure.messages import Digest, RosterManifest
from gridsecure.periods import BillingPeriod
from gridsecure.plans.bills import PlannedInputs, bill_columns, computed_lines
from gridsecure.plans.circuit import Circuit
from gridsecure.plans.execution import RosterData, billing_period, roster_contracts, roster_rules
from gridsecure.plans.lines.kind import Part
from gridsecure.plans.lines.registry import DIVISOR, kind_of, split_line
from gridsecure.plans.outputs import SUMMED_LIMB_BITS
from gridsecure.plans.quantities import ColumnNeed
from gridsecure.tariffs.tariff import Tariff

WHAT_IF: Final = "what-if"
"""Stands for the digest of a tariff that no roster has."""
Rules = tuple[LineRule, ...]
_NOT_LINEAR: Final = {
    SHARE: "a share of a tier is divided by each meter point's total",
    POWER_FACTOR: "a power factor is a percentage that is cut off for each bill",
    MINIMUM: "a minimum compares each bill by itself",
}
_OWN_ONLY: Final = {
    SPLIT: "gateways placed energy into tiers by the limits of the tariff in force",
    OWN_DEMAND: "gateways compared demands by the share of the tariff in force",
    RATCHET: "gateways compared demands by the share of the tariff in force",
}


@dataclass(frozen=True, slots=True, eq=False)
class BillRecipe:
    """What one tariff's lines multiply, on a roster and month.

    Args:
        tariff: The tariff's digest, or `WHAT_IF`.
        contracts: Contract rows in slot order.
        parameters: The set of the roster's columns that are multiplied.
        limb_bits: Bits of a price limb, by line, for lines that sum over prices.
        same_as: By part, the part whose column it is, where several lines read one column.
    """

    tariff: str
    rules: tuple[LineRule, ...]
    contracts: TableRows
    period: BillingPeriod
    parameters: Parameters
    limb_bits: Mapping[int, int] = field(default_factory=dict)
    same_as: Mapping[str, str] = field(default_factory=dict)

    @property
    def published(self) -> tuple[ColumnNeed, ...]:
        """As `bill_columns`, in the set that the gateway used."""
        return tuple(
            replace(need, parameters=self.parameters)
            if need.parameters in (TIER, PRODUCT)
            else need
            for need in bill_columns(self.rules)
        )

    def compute(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The parts of all lines; a column that several of them read, once."""
        return {
            name: part.column for name, _, part in self.split(inputs) if name not in self.same_as
        }

    def split(self, inputs: Mapping[str, Any]) -> list[tuple[str, int, Part[Any]]]:
        """Name, line and weights of every part."""
        circuit = Circuit(self.rules, self.contracts, self.period, inputs, self.parameters)
        return [
            (f"{self.tariff}:{line}:{number}", line, part)
            for line in computed_lines(self.rules)
            if line != DIVISOR
            for number, part in enumerate(split_line(circuit, line, self.limb_bits))
        ]


def find_parameters_of(data: RosterData) -> Parameters:
    """The set that a gateway encrypted what is multiplied in; the roster's own tariff decides."""
    used = {entry.parameters for entry in data.columns.values()}
    return PRODUCT if PRODUCT.name in used else TIER


def bill_recipes(
    rosters: Sequence[RosterManifest],
    *,
    span: tuple[str, str],
    parameters: Sequence[Parameters],
    tariffs: Mapping[Digest, Tariff],
    what_if: Tariff | None = None,
    choose: Callable[[Rules], Rules] = lambda rules: rules,
) -> tuple[BillRecipe, ...]:
    """What is computed for the bill lines of some rosters.

    Args:
        span: Start and end of the uploads' period, ISO 8601.
        parameters: By roster, as `find_parameters_of`.
        tariffs: The rosters' own tariffs, by digest.
        what_if: A tariff to compute them all by instead.
        choose: Its lines that are computed; all by default.

    Raises:
        InputError: A line is no sum over meter points (`query.not-linear`), or the tariff needs
            what gateways made of readings by another one (`query.other-tariff`); or the tariff does
            not cover the period.
        OutOfRangeError: A limit beyond the digits (`plan.threshold`).
    """
    slots = sum(roster.slots for roster in rosters)
    recipes: list[BillRecipe] = []
    for roster, used in zip(rosters, parameters, strict=True):
        own = tariffs[roster.tariff]
        tariff = what_if or own
        period = billing_period(*span, tariff=tariff)
        rules = choose(roster_rules(roster, tariff=tariff, period=period))
        contracts = roster_contracts(roster)
        _check_linear(rules, contracts, period)
        if tariff != own:
            _check_alike(tariff, own, rules)
        name = roster.tariff if what_if is None else WHAT_IF
        recipe = BillRecipe(name, rules, contracts, period, used)
        recipes.append(replace(recipe, limb_bits=_choose_limbs(recipe, slots=slots)))
    return _share_columns(recipes)


def _share_columns(recipes: Sequence[BillRecipe]) -> tuple[BillRecipe, ...]:
    """Recipes in which a column that several lines read is one part.

    Only where every roster of the tariff that has both has one column for them: totals run over
    all of those.
    """
    found: dict[str, set[str]] = {}
    for recipe in recipes:
        firsts: dict[int, str] = {}
        parts = recipe.split(PlannedInputs(recipe.published))
        for name, _, part in parts:
            found.setdefault(name, set()).add(firsts.setdefault(id(part.column), name))
    same = {name: firsts.pop() for name, firsts in found.items() if len(firsts) == 1}
    same = {name: first for name, first in same.items() if name != first}
    return tuple(replace(recipe, same_as=same) for recipe in recipes)


def _check_linear(rules: Sequence[LineRule], contracts: TableRows, period: BillingPeriod) -> None:
    for number, rule in enumerate(rules, 1):
        why = _NOT_LINEAR.get(rule.basis)
        if rule.basis != CONTRACT and month_share(rule, contracts, period) is not None:
            why = "a part of a month is cut off for each bill"
        if why:
            raise InputError(
                f"Line {number} ({rule.charge}) has no total that is computed from totals: {why}.",
                reason="query.not-linear",
                remedy="Ask for the other lines' tariff, or for what released statistics say of"
                " these bills.",
            )


def _check_alike(tariff: Tariff, own: Tariff, rules: Sequence[LineRule]) -> None:
    """Refuse what would be computed from columns that mean something else."""
    why = next((_OWN_ONLY[rule.basis] for rule in rules if rule.basis in _OWN_ONLY), "")
    hours = (tariff.timezone, tariff.windows, tariff.demand_windows, tariff.days)
    if any(rule.tou_period for rule in rules) and hours != (
        own.timezone, own.windows, own.demand_windows, own.days,
    ):  # fmt: skip
        why = "energy was metered by other hours or days"
    interval = tariff.dynamic.interval if tariff.dynamic else None
    if interval is not None and (own.dynamic is None or own.dynamic.interval != interval):
        why = "energy was encrypted by other intervals"
    if why:
        raise InputError(
            f"The tariff asked about cannot be computed for customers of another one: {why}.",
            reason="query.other-tariff",
            remedy="Keep the hours and days of the customers' own tariff, and change rates, limits"
            " and tiers.",
        )


def _choose_limbs(recipe: BillRecipe, *, slots: int) -> dict[int, int]:
    """The widest limbs of prices whose sums over all meter points stay in range."""
    chosen: dict[int, int] = {}
    for line, rule in enumerate(recipe.rules):
        if rule.basis != DYNAMIC:
            continue
        for bits in SUMMED_LIMB_BITS:
            if _fits(recipe, line, bits, slots=slots):
                break
        chosen[line] = bits
    return chosen


def _fits(recipe: BillRecipe, line: int, bits: int, *, slots: int) -> bool:
    circuit = Circuit(
        recipe.rules, recipe.contracts, recipe.period, PlannedInputs(recipe.published),
        recipe.parameters,
    )  # fmt: skip
    try:
        parts = split_line(circuit, line, {line: bits})
        for part in parts:
            part.column.check(what="A sum over prices", signed=part.column.low < 0)
    except GridSecureError:
        return False
    spans = ((part.column.high - part.column.low) * slots for part in parts)
    return max(spans) < parts[0].column.parameters.plain_modulus


@dataclass(frozen=True, slots=True, eq=False)
class GroupBills:
    """The lines of one tariff's bills, by group, as object integers.

    Args:
        rules: What each line is.
        quantities: Exact quantities [1e-3 unit], [lines, groups].
        amounts: Exact amounts, not rounded [1e-11 yuan], [lines, groups].
    """

    rules: tuple[LineRule, ...]
    quantities: NDArray[Any]
    amounts: NDArray[Any]

    @property
    def totals(self) -> NDArray[Any]:
        """Sums of the unrounded lines by group [1e-11 yuan]."""
        totals: NDArray[Any] = self.amounts.sum(axis=0)
        return totals


def add_up_bills(
    parts: Mapping[str, NDArray[Any]],
    *,
    recipes: Sequence[BillRecipe],
    rows: Sequence[NDArray[np.int64]],
    groups: int,
) -> dict[str, GroupBills]:
    """The lines of all groups from the totals of their parts, by tariff.

    Args:
        parts: From `add_up_parts`.
        rows: The group of each slot, per roster, for what is public of each.

    Returns:
        Tariff's digest, or `WHAT_IF` -> lines.
    """
    bills: dict[str, GroupBills] = {}
    weighed: dict[str, set[str]] = {}
    for recipe, own in zip(recipes, rows, strict=True):
        if recipe.tariff not in bills:
            shape = (len(recipe.rules), groups)
            bills[recipe.tariff] = GroupBills(
                recipe.rules, np.zeros(shape, dtype=object), np.zeros(shape, dtype=object)
            )
            weighed[recipe.tariff] = set()
        made = bills[recipe.tariff]
        _add_public(made, recipe, own, groups=groups)
        for name, line, part in recipe.split(PlannedInputs(recipe.published)):
            # A part's total runs over all rosters that have it, so it counts once.
            if name in weighed[recipe.tariff]:
                continue
            weighed[recipe.tariff].add(name)
            total = parts[recipe.same_as.get(name, name)]
            rule = recipe.rules[line]
            rate = rate_units(rule.rate) if part.is_priced else 1
            made.quantities[line] += total * part.quantity_weight
            made.amounts[line] += total * (part.amount_weight * rate)
    return bills


def _add_public(
    made: GroupBills, recipe: BillRecipe, rows: NDArray[np.int64], *, groups: int
) -> None:
    """Lines of public facts alone, as every bill has them."""
    inside = rows >= 0
    for line, rule in enumerate(recipe.rules):
        if kind_of(rule).split is not None:
            continue
        known = contract_quantity(rule, recipe.contracts, recipe.period)[np.newaxis]
        amounts = line_amounts([rule], quantities=known)
        quantities, amounts = divide_months([rule], recipe, quantities=known, amounts=amounts)
        for table, row in ((made.quantities, quantities[0]), (made.amounts, amounts[0])):
            added = np.zeros(groups, dtype=object)
            np.add.at(added, rows[inside], row[inside].astype(object))
            table[line] += added
