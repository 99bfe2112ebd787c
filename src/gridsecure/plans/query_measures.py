"""Measures of whole months: what is computed for each, of whom, and on which edges it depends.

Registers, feed-in and maximum demand are columns as they stand. Tiers, bills and their lines are
parts of recipes (`query_bills`), numbers of meter points above an edge and sums of squares as well
(`query_counts`).

Whom a measure is of follows from rosters and tariffs: who has no such register, tier or line is in
no group of the question, and is neither counted nor told of. Of all members of a *part* of a group
the total has the same function of readings: they pay by the same tariff, quota and so on, or have
the register's hours from the same tariff. All parts of a group have to be enough to be told of by
themselves: the ledger compares sets, and two sums of different functions over one set would tell
of single members.

Where a total depends on edges (`query_edges`), how many reach each edge is computed beside it, and
decides whether it is told. Checker and vault find all of this for themselves, alike.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridsecure.billing.limits import OPEN_LIMIT_WH, tier_limits_wh
from gridsecure.billing.rounding import round_half_up
from gridsecure.billing.rules import (
    CONTRACT,
    DEMAND,
    DYNAMIC,
    EXPORT,
    REGISTER,
    TIER_PART,
    TOTAL,
    LineRule,
)
from gridsecure.errors import InputError
from gridsecure.homomorphic.thresholds import WH_PER_KWH
from gridsecure.messages import Digest, RosterManifest
from gridsecure.plans.bills import PlannedInputs
from gridsecure.plans.cells import ENERGY, MONEY, money_keys
from gridsecure.plans.execution import billing_period, roster_contracts, roster_rules
from gridsecure.plans.lines.registry import circuit_parameters
from gridsecure.plans.needs import published_needs
from gridsecure.plans.quantities import (
    EXPORT_QUANTITY,
    MONTH_MEASURE,
    ColumnNeed,
    demand_quantity,
    register_quantity,
)
from gridsecure.plans.query_bills import BillRecipe, Rules, add_up_bills, bill_recipes
from gridsecure.plans.query_counts import CountRecipe, MomentRecipe, add_up_moments, edge_name
from gridsecure.plans.query_edges import EdgedCells, check_edges
from gridsecure.plans.query_names import (
    AT_LEAST,
    BILL,
    BILL_WHAT_IF,
    DEMAND_TOTAL,
    EXPORT_TOTAL,
    LINE,
    MOMENTS,
    REGISTER_TOTAL,
    TIER,
)
from gridsecure.plans.query_parts import PartsLayout, Recipe, lay_out_parts
from gridsecure.plans.query_totals import OUTSIDE
from gridsecure.tariffs.consistency import MONTH
from gridsecure.tariffs.rows import KWH, KWH_PER_DAY
from gridsecure.tariffs.tariff import Tariff

_LINEAR: Final = frozenset({REGISTER, TOTAL, EXPORT, DEMAND, DYNAMIC, CONTRACT})
"""What a line multiplies that depends on no edge."""


@dataclass(frozen=True, slots=True, eq=False)
class AskedMonth:
    """What a question asks of a month.

    Args:
        totals: Their names, as a question has them.
        span: Start and end of the month, as uploads have them.
        tariffs: The tariffs of all rosters, by digest.
        what_if: Another tariff, that bills are computed by.
    """

    totals: tuple[str, ...]
    span: tuple[str, str]
    tariffs: Mapping[Digest, Tariff]
    what_if: Tariff | None = None

    @property
    def name(self) -> str:
        """The name of the first total; "" where there is none."""
        return next(iter(self.totals), "")

    @property
    def measures(self) -> frozenset[str]:
        """In the policy's words. Beside a bill its energy could be told of the same people."""
        is_money = self.is_of_bills and not self.name.startswith(TIER)
        return frozenset({ENERGY, MONEY}) if is_money else frozenset({ENERGY})

    @property
    def edges_kwh(self) -> tuple[int, ...]:
        """The edges that it asks about."""
        return tuple(
            int(name.removeprefix(AT_LEAST)) for name in self.totals if name.startswith(AT_LEAST)
        )

    @property
    def is_of_moments(self) -> bool:
        """Whether it asks for sums of squares."""
        return self.totals == MOMENTS

    @property
    def is_of_bills(self) -> bool:
        """Whether it asks for lines of bills: their money, or the energy of a tier."""
        name = self.name
        return name in (BILL, BILL_WHAT_IF) or name.startswith((LINE, TIER))

    def check(self) -> None:
        """Refuse what is not computed, and edges that are not of the grid.

        Raises:
            InputError: `query.measure`, `query.edge`.
        """
        name = self.name
        is_known = (
            bool(self.edges_kwh)
            or self.is_of_moments
            or self.is_of_bills
            or name in (EXPORT_TOTAL, DEMAND_TOTAL)
            or name.startswith(REGISTER_TOTAL)
        )
        if not is_known or (name == BILL_WHAT_IF) != (self.what_if is not None):
            raise InputError(
                "The question asks for a total that is not computed of sealed questions.",
                reason="query.measure",
                remedy="Ask for energy, register:NAME, export, demand, tier:N, bill, line:CHARGE,"
                " or a statistic of the month's energy. How many meter points there are comes with"
                " every answer.",
            )
        check_edges(self.edges_kwh)

    def own_rules(self, roster: RosterManifest) -> tuple[LineRule, ...]:
        """The bill lines of a roster's own tariff."""
        tariff = self.tariffs[roster.tariff]
        period = billing_period(*self.span, tariff=tariff)
        return roster_rules(roster, tariff=tariff, period=period)

    def owned(self, roster: RosterManifest) -> dict[str, ColumnNeed]:
        """The columns that a gateway encrypts of a roster's month, by quantity."""
        labels = self.tariffs[roster.tariff].tou_periods
        needs = published_needs(self.own_rules(roster), tou_periods=labels)
        return {need.quantity: need for need in needs}

    def column(self, roster: RosterManifest) -> ColumnNeed | None:
        """The column that is asked for as it stands, if a roster has it."""
        name = self.name
        if name.startswith(REGISTER_TOTAL):
            quantity = register_quantity(name.removeprefix(REGISTER_TOTAL))
        else:
            quantity = EXPORT_QUANTITY if name == EXPORT_TOTAL else demand_quantity(None)
        return self.owned(roster).get(quantity)

    def choose(self, rules: Rules) -> Rules:
        """The lines that are asked about, of all of a tariff's.

        Raises:
            InputError: A line depends on readings in a way of which nobody counts who reaches what
                (`query.limits`), or another tariff has prices of intervals (`query.other-tariff`).
        """
        name = self.name
        if name.startswith(LINE):
            rules = tuple(rule for rule in rules if rule.charge == name.removeprefix(LINE))
        if name.startswith(TIER):
            rules = tuple(rule for rule in rules if str(rule.tier) == name.removeprefix(TIER))
        for rule in rules:
            _check_countable(rule)
        if self.what_if is not None and any(rule.basis == DYNAMIC for rule in rules):
            raise InputError(
                "Another tariff has a price for each interval: with prices of the asker's own, its"
                " bills would tell of single intervals.",
                reason="query.other-tariff",
                remedy="Ask for energy by interval, and multiply it with prices.",
            )
        return rules[:1] if name.startswith(TIER) else rules

    def rules_of(self, roster: RosterManifest) -> Rules:
        """The lines that are computed of a roster.

        Raises:
            InputError: As `choose`.
        """
        if self.what_if is None:
            return self.choose(self.own_rules(roster))
        period = billing_period(*self.span, tariff=self.what_if)
        return self.choose(roster_rules(roster, tariff=self.what_if, period=period))

    def has(self, roster: RosterManifest) -> bool:
        """Whether a roster's members have what is asked for.

        Raises:
            InputError: As `choose`.
        """
        if self.is_of_bills:
            return bool(self.rules_of(roster))
        if self.edges_kwh or self.is_of_moments:
            return self.has_digits(roster)
        return self.column(roster) is not None

    def has_digits(self, roster: RosterManifest) -> bool:
        """Whether gateways encrypt digits of the month's kWh, by which edges are compared."""
        return MONTH_MEASURE.energy in self.owned(roster)

    def keys(self, roster: RosterManifest) -> Sequence[Hashable]:
        """What the total depends on besides readings, of each slot.

        A month's energy and the edges that it reaches are the same of everybody. The hours of a
        register and the windows of demand are a tariff's own: "peak" of two tariffs are two
        functions, so each tariff is taken for another one.
        """
        if self.edges_kwh or self.is_of_moments:
            return [None] * roster.slots
        if not self.is_of_bills:
            return [(roster.tariff,)] * roster.slots
        tariff = self.what_if or self.tariffs[roster.tariff]
        return money_keys(roster, tariff=tariff, period=billing_period(*self.span, tariff=tariff))

    def slot_edges(self, roster: RosterManifest) -> list[NDArray[np.int64]]:
        """The edges that a total depends on, each for all slots [kWh]; 0 or less is none."""
        if not self.is_of_bills:
            return []
        tariff = self.what_if or self.tariffs[roster.tariff]
        period, contracts = billing_period(*self.span, tariff=tariff), roster_contracts(roster)
        found = []
        for rule in self.rules_of(roster):
            for limits in tier_limits_wh(rule, contracts, period=period):
                found.append(np.where(limits == OPEN_LIMIT_WH, 0, limits // WH_PER_KWH))
        return found


def _check_countable(rule: LineRule) -> None:
    is_plain = (
        rule.basis == TIER_PART
        and rule.tou_period is None
        and rule.reset == MONTH
        and rule.limit_unit in (KWH, KWH_PER_DAY)
        and not rule.step_wh
    )
    if rule.basis in _LINEAR or is_plain:
        return
    raise InputError(
        f"Nobody could say how many customers the line {rule.charge!r} depends on: it has limits"
        " that are not of the month's energy.",
        reason="query.limits",
        remedy="Ask for the energy of registers and for other lines, or about customers of another"
        " tariff.",
    )


def check_what_if(asked: AskedMonth, rosters: Sequence[RosterManifest]) -> None:
    """Refuse another tariff whose limits are neither of the grid nor of a tariff in force.

    Raises:
        InputError: `query.edge`, `query.limits`.
    """
    if asked.what_if is None:
        return
    known = {limit for roster in rosters for limit in _limits(asked.own_rules(roster))}
    for roster in rosters:
        check_edges(sorted(set(_limits(asked.rules_of(roster)))), known=known)


def _limits(rules: Rules) -> Iterator[int]:
    """Limits in kWh as tariffs state them, before quotas."""
    for rule in rules:
        if rule.basis == TIER_PART:
            yield from (int(limit) for limit in (rule.lower, rule.upper) if limit)


class Parts(NamedTuple):
    """The parts of a question's groups.

    Args:
        rows: Per roster, the part of each slot, or `OUTSIDE`.
        groups: The group of each part.
    """

    rows: tuple[NDArray[np.int64], ...]
    groups: tuple[int, ...]


def narrow_rows(
    asked: AskedMonth, rosters: Sequence[RosterManifest], rows: Sequence[NDArray[np.int64]]
) -> tuple[NDArray[np.int64], ...]:
    """Groups without whoever has nothing of what is asked for.

    Args:
        rows: Per roster, the group of each slot, or `OUTSIDE`.

    Raises:
        InputError: As `AskedMonth.choose`.
    """
    return tuple(
        own if not (own >= 0).any() or asked.has(roster) else np.full_like(own, OUTSIDE)
        for roster, own in zip(rosters, rows, strict=True)
    )


def divide_groups(
    asked: AskedMonth, rosters: Sequence[RosterManifest], rows: Sequence[NDArray[np.int64]]
) -> Parts:
    """Divide groups into parts, numbered as they are met."""
    known: dict[tuple[int, Hashable], int] = {}
    found = []
    for roster, own in zip(rosters, rows, strict=True):
        numbers = np.full(roster.slots, OUTSIDE, dtype=np.int64)
        if (own >= 0).any():
            for slot, (group, key) in enumerate(zip(own.tolist(), asked.keys(roster), strict=True)):
                if group >= 0:
                    numbers[slot] = known.setdefault((group, key), len(known))
        found.append(numbers)
    return Parts(tuple(found), tuple(group for group, _ in known))


def find_edges(
    asked: AskedMonth,
    rosters: Sequence[RosterManifest],
    rows: Sequence[NDArray[np.int64]],
    *,
    cells: int,
) -> list[frozenset[int]]:
    """The edges that the total of each cell depends on.

    Args:
        rows: Per roster, the cell of each slot; negative where it has none, or is not asked about.
    """
    found: list[set[int]] = [set() for _ in range(cells)]
    for roster, own in zip(rosters, rows, strict=True):
        (inside,) = np.nonzero(own >= 0)
        if not len(inside):
            continue
        for limits in asked.slot_edges(roster):
            pairs = np.unique(np.stack([own[inside], limits[inside]]), axis=1)
            for cell, limit in pairs.T.tolist():
                if limit > 0:
                    found[cell].add(limit)
    return list(map(frozenset, found))


@dataclass(frozen=True, slots=True)
class ColumnRecipe:
    """A column as it stands."""

    need: ColumnNeed

    @property
    def published(self) -> tuple[ColumnNeed, ...]:
        """The column."""
        return (self.need,)

    def compute(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """It."""
        return {self.need.quantity: inputs[self.need.quantity]}


@dataclass(frozen=True, slots=True)
class NoRecipe:
    """Nothing is computed of a roster that nobody is asked about in."""

    @property
    def published(self) -> tuple[ColumnNeed, ...]:
        """No column."""
        return ()

    def compute(self, inputs: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - as recipes have
        """No part."""
        return {}


@dataclass(frozen=True, slots=True, eq=False)
class MonthLayout:
    """What is computed of a month, proven.

    Args:
        main: What totals are put together of, by the parts of groups.
        reach: How many reach each edge, by cell.
        parts: The parts of groups.
        edges: All edges that are counted.
    """

    main: PartsLayout
    reach: PartsLayout
    parts: Parts
    edges: tuple[int, ...]

    @property
    def both(self) -> tuple[PartsLayout, PartsLayout]:
        """In the order of their outputs."""
        return self.main, self.reach


def lay_out_month(
    asked: AskedMonth,
    rosters: Sequence[RosterManifest],
    *,
    parts: Parts,
    cells: EdgedCells,
    edges: Sequence[int],
    minima: Sequence[int],
) -> MonthLayout:
    """Prove what is computed of a month.

    Args:
        cells: Those whose edges are counted; none where nothing depends on edges.
        edges: The edges [kWh].
        minima: Fewest customers that each part's totals may be about.

    Raises:
        InputError: A tariff cannot be computed so (`query.not-linear`, `query.other-tariff`,
            `query.columns`), or a column is only of some members of a part (`query.few`).
        GridSecureError: As `lay_out_parts`.
    """
    main = lay_out_parts(
        rosters, recipes=_main_recipes(asked, rosters, parts), rows=parts.rows, minima=minima
    )
    sizes = _sizes(parts.rows, len(parts.groups))
    for block in main.blocks:
        if ((block.members != 0) & (block.members != sizes)).any():
            raise _few()
    reach = lay_out_parts(
        rosters,
        recipes=[
            CountRecipe(tuple(edges), circuit_parameters(asked.own_rules(roster)))
            if edges and (own >= 0).any() and asked.has_digits(roster)
            else NoRecipe()
            for roster, own in zip(rosters, cells.rows, strict=True)
        ],
        rows=cells.rows,
        minima=[0] * len(cells.groups),
    )
    return MonthLayout(main, reach, parts, tuple(edges))


def _sizes(rows: Sequence[NDArray[np.int64]], cells: int) -> NDArray[Any]:
    sizes: NDArray[Any] = np.zeros(cells, dtype=object)
    for own in rows:
        sizes += np.bincount(own[own >= 0], minlength=cells)
    return sizes


def _few() -> InputError:
    return InputError(
        "What is asked for is computed of columns that only some of a group have.",
        reason="query.few",
        remedy="Ask for customers of one tariff.",
    )


def _main_recipes(
    asked: AskedMonth, rosters: Sequence[RosterManifest], parts: Parts
) -> list[Recipe]:
    """What is computed of each roster besides how many reach an edge."""
    inside = [bool((own >= 0).any()) for own in parts.rows]
    asked_of = [roster for roster, is_in in zip(rosters, inside, strict=True) if is_in]
    made = _make_recipes(asked, asked_of)
    return [next(made) if is_in else NoRecipe() for is_in in inside]


def _make_recipes(asked: AskedMonth, rosters: Sequence[RosterManifest]) -> Iterator[Recipe]:
    if asked.edges_kwh:
        return (NoRecipe() for _ in rosters)
    sets = [circuit_parameters(asked.own_rules(roster)) for roster in rosters]
    if asked.is_of_moments:
        return (MomentRecipe(used) for used in sets)
    if not asked.is_of_bills:
        needs = map(asked.column, rosters)
        return (NoRecipe() if need is None else ColumnRecipe(need) for need in needs)
    recipes = bill_recipes(
        rosters,
        span=asked.span,
        parameters=sets,
        tariffs=asked.tariffs,
        what_if=asked.what_if,
        choose=asked.choose,
    )
    for roster, recipe in zip(rosters, recipes, strict=True):
        _check_columns(asked, roster, recipe)
    return iter(recipes)


def _check_columns(asked: AskedMonth, roster: RosterManifest, recipe: BillRecipe) -> None:
    planned = PlannedInputs(recipe.published)
    recipe.compute(planned)
    owned = asked.owned(roster)
    if any(owned.get(need.quantity) != need for need in planned.needs()):
        raise InputError(
            "A roster has no encrypted columns that this is computed from.",
            reason="query.columns",
            remedy="Gateways encrypt the columns that the form of a roster's own tariff needs: ask"
            " about customers whose tariff has tiers, periods or demand like yours.",
        )


class MonthTotals(NamedTuple):
    """What was decrypted of a month, added up.

    Args:
        values: By name, of each group, as object integers; numbers of meter points above an edge
            are none of them. Money is rounded to the fen.
        reached: By edge, how many meter points of each cell reach it.
        capped: How many meter points of each group are too large for sums of squares.
    """

    values: Mapping[str, NDArray[Any]]
    reached: Mapping[int, NDArray[Any]]
    capped: NDArray[Any]


def total_month(
    asked: AskedMonth,
    layout: MonthLayout,
    main: Mapping[str, NDArray[Any]],
    reach: Mapping[str, NDArray[Any]],
    *,
    groups: int,
) -> MonthTotals:
    """The totals of a question's groups from the totals of parts.

    Args:
        main: From `add_up_parts`, by the parts of groups.
        reach: Likewise, by cell.
    """

    def join(own: NDArray[Any]) -> NDArray[Any]:
        totals = np.zeros(groups, dtype=object)
        np.add.at(totals, list(layout.parts.groups), own)
        return totals

    reached = {edge: reach[edge_name(edge)] for edge in layout.edges}
    nobody = np.zeros(groups, dtype=object)
    if asked.edges_kwh:
        return MonthTotals({}, reached, nobody)
    if asked.is_of_moments:
        moments = add_up_moments(main)
        both = (join(moments.energy_wh), join(moments.squares_wh2))
        return MonthTotals(dict(zip(MOMENTS, both, strict=True)), reached, join(moments.capped))
    (name,) = asked.totals
    if not asked.is_of_bills:
        (own,) = main.values()
        return MonthTotals({name: join(own)}, reached, nobody)
    return MonthTotals({name: _total_bills(asked, layout, main, join)}, reached, nobody)


def _total_bills(
    asked: AskedMonth,
    layout: MonthLayout,
    main: Mapping[str, NDArray[Any]],
    join: Callable[[NDArray[Any]], NDArray[Any]],
) -> NDArray[Any]:
    """Money, rounded once for each group; of a tier its energy."""
    pairs = zip(layout.main.recipes, layout.parts.rows, strict=True)
    own = [(recipe, rows) for recipe, rows in pairs if isinstance(recipe, BillRecipe)]
    bills = add_up_bills(
        main,
        recipes=[recipe for recipe, _ in own],
        rows=[rows for _, rows in own],
        groups=len(layout.parts.groups),
    ).values()
    if asked.name.startswith(TIER):
        found = [one.quantities.sum(axis=0) for one in bills]
        return join(np.sum(found, axis=0))
    return round_half_up(join(np.sum([one.totals for one in bills], axis=0)))
