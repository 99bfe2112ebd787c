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

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
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
from gridsecure.homomorphic.parameters import Parameters
from gridsecure.homomorphic.thresholds import WH_PER_KWH
from gridsecure.messages import Digest, RosterManifest
from gridsecure.plans.bills import PlannedInputs
from gridsecure.plans.cells import ENERGY, MONEY, money_keys
from gridsecure.plans.execution import billing_period, roster_contracts, roster_rules
from gridsecure.plans.lines.registry import circuit_parameters
from gridsecure.plans.needs import published_needs
from gridsecure.plans.quantities import (
    MONTH_MEASURE,
    ColumnNeed,
    demand_quantity,
    register_quantity,
)
from gridsecure.plans.query_bills import BillRecipe, Rules, add_up_bills, bill_recipes
from gridsecure.plans.query_counted import FEEDS_IN, check_counted, uncounted
from gridsecure.plans.query_counts import (
    CAPPED,
    CountRecipe,
    MomentRecipe,
    add_up_moments,
    edge_name,
)
from gridsecure.plans.query_edges import EdgedCells, check_edges, too_many_cells
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

_LINEAR: Final = frozenset({REGISTER, TOTAL, DEMAND, DYNAMIC, CONTRACT})
"""What a line multiplies that depends on no edge. Energy fed in is none of them: most feed in
nothing, and nobody counts who does."""
_OF_SLOTS: Final = ("household_quota_wh", "unheld_days")
"""What moves the limits of single slots."""
_MOST_COUNTS: Final = 500_000
"""Most numbers of meter points that are counted of one question: shares of cells times edges."""


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
            InputError: `query.measure`, `query.edge`; energy fed in (`query.limits`).
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
                remedy="Ask for energy, register:NAME, demand, tier:N, bill, line:CHARGE,"
                " or a statistic of the month's energy. How many meter points there are comes with"
                " every answer.",
            )
        check_counted(name)
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
            quantity = demand_quantity(None)
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
        """The edges that a total depends on, each for all slots [kWh]; 0 or less is none.

        Raises:
            InputError: A limit is no whole kWh, at which alone is counted (`query.limits`), or as
                `choose`.
        """
        if not self.is_of_bills:
            return []
        tariff = self.what_if or self.tariffs[roster.tariff]
        found = []
        for limits in self._limits_wh(self.rules_of(roster), roster, tariff):
            if (limits % WH_PER_KWH).any():
                raise uncounted("a bill's tiers", "a limit is not a whole number of kWh")
            found.append(limits // WH_PER_KWH)
        return found

    def published_edges(self, roster: RosterManifest) -> list[NDArray[np.int64]]:
        """The limits of a roster's own tariff, each for all slots [kWh]; 0 or less is none."""
        rules = [rule for rule in self.own_rules(roster) if _is_of_month(rule)]
        found = self._limits_wh(rules, roster, self.tariffs[roster.tariff])
        return [limits // WH_PER_KWH for limits in found if not (limits % WH_PER_KWH).any()]

    def _limits_wh(
        self, rules: Iterable[LineRule], roster: RosterManifest, tariff: Tariff
    ) -> Iterator[NDArray[np.int64]]:
        period, contracts = billing_period(*self.span, tariff=tariff), roster_contracts(roster)
        for rule in rules:
            for limits in tier_limits_wh(rule, contracts, period=period):
                yield np.where(limits == OPEN_LIMIT_WH, 0, limits)


def _check_countable(rule: LineRule) -> None:
    if rule.basis in _LINEAR or _is_of_month(rule):
        return
    why = "it has limits that are not of the month's energy"
    if rule.basis == EXPORT:
        why = FEEDS_IN
    raise uncounted(f"the line {rule.charge!r}", why)


def _is_of_month(rule: LineRule) -> bool:
    """Whether a line's limits are of the month's energy, at which meter points are counted."""
    return (
        rule.basis == TIER_PART
        and rule.tou_period is None
        and rule.reset == MONTH
        and rule.limit_unit in (KWH, KWH_PER_DAY)
        and not rule.step_wh
    )


def check_what_if(
    asked: AskedMonth, rosters: Sequence[RosterManifest], rows: Sequence[NDArray[np.int64]]
) -> None:
    """Refuse another tariff whose limits are neither of the grid nor of a tariff in force.

    What counts is the month's limit in kWh: by the day, and moved by quotas, as it is found. A
    quota moves a limit to where the same customer's own tariff has one, or within the grid.

    Args:
        rows: Per roster, the group of each slot, or `OUTSIDE`.

    Raises:
        InputError: `query.edge`, `query.limits`.
    """
    if asked.what_if is None:
        return
    inside = [
        (roster, own >= 0) for roster, own in zip(rosters, rows, strict=True) if (own >= 0).any()
    ]
    known: set[int] = set()
    for roster, _ in inside:
        plain = roster.model_copy(update=dict.fromkeys(_OF_SLOTS, [0] * roster.slots))
        known.update(*(own.tolist() for own in asked.published_edges(plain)))
    for roster, is_in in inside:
        own_edges = asked.published_edges(roster)
        for limits in asked.slot_edges(roster):
            is_own = np.any([limits == own for own in own_edges], axis=0) | (limits <= 0)
            check_edges(sorted(set(limits[is_in & ~is_own].tolist())), known=known)


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


class CellShares(NamedTuple):
    """The meter points of a cell that one gateway has: counted, and squared, by themselves.

    A gateway encrypts what it likes in its own slots, also residues that no digit has. Added up
    with others', such a slot hides one of theirs; by itself, its gateway's count is out of range
    (`query.inconsistent`), or one that honest slots might have.

    Args:
        rows: Per roster, the share of each slot, or `OUTSIDE`.
        cells: The cell of each share.
        owners: Whose gateway it is.
    """

    rows: tuple[NDArray[np.int64], ...]
    cells: tuple[int, ...]
    owners: tuple[str, ...]

    def by_owner(self, counts: NDArray[Any], *, cells: int) -> list[dict[str, int]]:
        """Of each cell, the counts of its shares by owner.

        Args:
            counts: Of each share.
        """
        found: list[dict[str, int]] = [{} for _ in range(cells)]
        for cell, owner, number in zip(self.cells, self.owners, counts.tolist(), strict=True):
            found[cell][owner] = found[cell].get(owner, 0) + number
        return found


def share_cells(rosters: Sequence[RosterManifest], rows: Sequence[NDArray[np.int64]]) -> CellShares:
    """Divide cells by gateway.

    Args:
        rows: Per roster, the cell of each slot; negative where it is in none.
    """
    known: dict[tuple[int, str, str], int] = {}
    found = []
    for roster, own in zip(rosters, rows, strict=True):
        whose = (roster.gateway_id, roster.owner or roster.gateway_id)
        cells, places = np.unique(own, return_inverse=True)
        numbers = [
            known.setdefault((cell, *whose), len(known)) if cell >= 0 else OUTSIDE
            for cell in cells.tolist()
        ]
        found.append(np.array(numbers, dtype=np.int64)[places])
    return CellShares(
        tuple(found), tuple(cell for cell, *_ in known), tuple(owner for *_, owner in known)
    )


@dataclass(frozen=True, slots=True, eq=False)
class MonthLayout:
    """What is computed of a month, proven.

    Args:
        main: What totals are put together of, by the parts of groups; moments, by `shares`.
        reach: How many reach each edge, by cell and gateway.
        parts: The parts of groups.
        edges: All edges that are counted.
        shares: Whom each number of `reach` is about.
    """

    main: PartsLayout
    reach: PartsLayout
    parts: Parts
    edges: tuple[int, ...]
    shares: CellShares

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
            `query.columns`), a column is only of some members of a part (`query.few`), or there is
            too much to count (`query.overlaps`).
        GridSecureError: As `lay_out_parts`.
    """
    shares = share_cells(rosters, cells.rows)
    if len(shares.cells) * (1 + len(edges)) > _MOST_COUNTS:
        raise too_many_cells()
    capped = asked.is_of_moments

    def lay_out_shares(make: Callable[[Parameters], Recipe]) -> PartsLayout:
        recipes = [
            make(circuit_parameters(asked.own_rules(roster)))
            if (edges or capped) and (own >= 0).any() and asked.has_digits(roster)
            else NoRecipe()
            for roster, own in zip(rosters, cells.rows, strict=True)
        ]
        minima = [0] * len(shares.cells)
        return lay_out_parts(rosters, recipes=recipes, rows=shares.rows, minima=minima)

    reach = lay_out_shares(lambda used: CountRecipe(tuple(edges), used, counts_capped=capped))
    # Whom moments are of has digits, all of them.
    main = lay_out_shares(MomentRecipe) if capped else _lay_out_main(asked, rosters, parts, minima)
    return MonthLayout(main, reach, parts, tuple(edges), shares)


def _lay_out_main(
    asked: AskedMonth, rosters: Sequence[RosterManifest], parts: Parts, minima: Sequence[int]
) -> PartsLayout:
    recipes = _main_recipes(asked, rosters, parts)
    main = lay_out_parts(rosters, recipes=recipes, rows=parts.rows, minima=minima)
    sizes = _sizes(parts.rows, len(parts.groups))
    for block in main.blocks:
        if ((block.members != 0) & (block.members != sizes)).any():
            raise _few()
    return main


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
        reached: By edge, how many meter points of each cell reach it, by owner.
        capped: How many meter points of each cell are too large for sums of squares.
        moments: Of each cell, sum and sum of squares of each owner's meter points.
    """

    values: Mapping[str, NDArray[Any]]
    reached: Mapping[int, Sequence[Mapping[str, int]]]
    capped: Sequence[int]
    moments: Sequence[Mapping[str, tuple[int, int]]] = ()


def total_month(
    asked: AskedMonth,
    layout: MonthLayout,
    main: Mapping[str, NDArray[Any]],
    reach: Mapping[str, NDArray[Any]],
    *,
    groups: int,
    cells: Sequence[int],
) -> MonthTotals:
    """The totals of a question's groups from the totals of parts.

    Args:
        main: From `add_up_parts`, by the parts of groups; moments by share.
        reach: Likewise, by share.
        cells: The group of each cell, or a negative number.
    """

    def join(own: NDArray[Any]) -> NDArray[Any]:
        totals = np.zeros(groups, dtype=object)
        np.add.at(totals, list(layout.parts.groups), own)
        return totals

    reached = {
        edge: layout.shares.by_owner(reach[edge_name(edge)], cells=len(cells))
        for edge in layout.edges
    }
    if asked.edges_kwh:
        return MonthTotals({}, reached, [0] * len(cells))
    if asked.is_of_moments:
        capped = layout.shares.by_owner(reach[CAPPED], cells=len(cells))
        numbers = [sum(own.values()) for own in capped]
        moments = _moments_by_owner(layout, main, cells=len(cells))
        values = {name: np.zeros(groups, dtype=object) for name in MOMENTS}
        for group, owned in zip(cells, moments, strict=True):
            for n, name in enumerate(MOMENTS) if group >= 0 else ():
                values[name][group] += sum(one[n] for one in owned.values())
        return MonthTotals(values, reached, numbers, moments)
    (name,) = asked.totals
    if not asked.is_of_bills:
        (own,) = main.values()
        return MonthTotals({name: join(own)}, reached, [0] * len(cells))
    return MonthTotals({name: _total_bills(asked, layout, main, join)}, reached, [0] * len(cells))


def _moments_by_owner(
    layout: MonthLayout, main: Mapping[str, NDArray[Any]], *, cells: int
) -> list[dict[str, tuple[int, int]]]:
    """Of each cell, sum and sum of squares of each owner's meter points."""
    sums, squares = (layout.shares.by_owner(own, cells=cells) for own in add_up_moments(main))
    return [
        {owner: (wh, squared[owner]) for owner, wh in own.items()}
        for own, squared in zip(sums, squares, strict=True)
    ]


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
