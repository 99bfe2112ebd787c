"""Questions about measures of a month at the vault: what is told is decided by what is decrypted.

As in `queries` nothing said of a question is believed. From rosters, tariffs and the group of each
slot the vault finds for itself

1. whom the measure is of, and which parts each group has; all are enough, or the order ends before
   anything is decrypted;
2. what is computed, on which edges it depends, and so which outputs there have to be;
3. how many customers lie between two edges. Where that are too few, nothing of the group is told,
   or, of numbers above an edge, those at that edge are not.

What was told of earlier is the checker's word: the vault keeps no ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridsecure.errors import InvalidMessageError, ReleaseRefusedError
from gridsecure.key_authority.query_orders import (
    MAIN,
    REACH,
    CheckedQuery,
    OrderedMonth,
    group_place,
)
from gridsecure.messages import CellTotal, ColumnEntry, RosterManifest
from gridsecure.plans.cells import ENERGY, NOTHING, Crowd
from gridsecure.plans.query_edges import UNTOLD, EdgedCells, keep_edges
from gridsecure.plans.query_groups import QueryGroup, count_groups
from gridsecure.plans.query_measures import (
    AskedMonth,
    MonthLayout,
    MonthTotals,
    Parts,
    check_what_if,
    divide_groups,
    find_edges,
    lay_out_month,
    narrow_rows,
    total_month,
)
from gridsecure.plans.query_names import AT_LEAST
from gridsecure.plans.query_parts import add_up_parts
from gridsecure.tariffs.tariff import parse_tariff

Slots = tuple[NDArray[np.int64], ...]


@dataclass(frozen=True, slots=True, eq=False)
class CheckedMonth:
    """An order about a month that holds, before anything of it is decrypted.

    Args:
        groups: Of the question.
        crowds: The members of each cell.
        needed: By cell, the edges that were told of, or that its total depends on.
    """

    asked: AskedMonth
    cells: EdgedCells
    groups: Sequence[QueryGroup]
    crowds: Sequence[Crowd]
    needed: Sequence[frozenset[int]]
    layout: MonthLayout

    @property
    def is_edged(self) -> bool:
        """Whether what is told depends on how many reach which edge."""
        return bool(self.cells.groups)


def asked_month(order: CheckedQuery, month: OrderedMonth) -> AskedMonth:
    """What is asked, in the order's words.

    Raises:
        InputError: A tariff is none, or what is asked for is not computed.
    """
    asked = AskedMonth(
        tuple(month.totals),
        (order.start, order.end),
        {name: parse_tariff(text) for name, text in month.tariffs.items()},
        parse_tariff(month.what_if) if month.what_if else None,
    )
    asked.check()
    return asked


def check_month(
    order: CheckedQuery,
    month: OrderedMonth,
    rosters: Sequence[RosterManifest],
    *,
    rows: Slots,
    cells: Slots,
) -> CheckedMonth:
    """Steps 1 and 2.

    Args:
        rows: Per roster, the group of each slot.
        cells: Per roster, the cell of each slot.

    Raises:
        ReleaseRefusedError: A group or a part of it is too small (`vault.group`).
        InvalidMessageError: The order makes no sense (`vault.query`).
        GridSecureError: As `check_what_if` and `lay_out_month`.
    """
    asked = asked_month(order, month)
    if {roster.tariff for roster in rosters} - month.tariffs.keys():
        raise _no_order()
    narrowed = narrow_rows(asked, rosters, rows)
    if any((one != other).any() for one, other in zip(narrowed, rows, strict=True)):
        raise _no_order()
    check_what_if(asked, rosters, rows)
    measures = asked.measures
    groups = count_groups(
        rosters, rows, groups=order.groups, minima=order.permitted, measures=measures
    )
    parts = divide_groups(asked, rosters, rows)
    counted = count_groups(
        rosters, parts.rows, groups=len(parts.groups), minima=order.permitted, measures=measures
    )
    minima = [groups[group].minimum or 0 for group in parts.groups]
    if not all(
        groups[group].is_enough and part.is_enough
        for part, group in zip(counted, parts.groups, strict=True)
    ):
        raise too_small()
    edged = EdgedCells(cells, *month.cells, tuple(month.blind), tuple(month.least))
    needed = _needed_edges(asked, rosters, parts, edged, rows=rows)
    edges = sorted(frozenset[int]().union(*needed, asked.edges_kwh))
    layout = lay_out_month(asked, rosters, parts=parts, cells=edged, edges=edges, minima=minima)
    crowds = _crowds(rosters, edged)
    return CheckedMonth(asked, edged, groups, crowds, needed, layout)


def too_small() -> ReleaseRefusedError:
    """The error for a group that the checker should have left out."""
    return ReleaseRefusedError(
        "A question's group has fewer customers than policy wants.",
        reason="vault.group",
        remedy="Do not repeat it; find out what the checker asked for.",
    )


def _needed_edges(
    asked: AskedMonth,
    rosters: Sequence[RosterManifest],
    parts: Parts,
    cells: EdgedCells,
    *,
    rows: Slots,
) -> list[frozenset[int]]:
    """The edges that count in each cell, if the cells are those that the question has to have.

    Each slot of a group is in a cell of its own part, and the cells of a part hang together. Only
    where nothing depends on edges there may be no cells.
    """
    own = find_edges(asked, rosters, parts.rows, cells=len(parts.groups))
    depends = bool(asked.edges_kwh) or asked.is_of_moments or any(own)
    if not depends and not cells.groups:
        return []
    part_of: dict[int, int] = {}
    links: dict[int, int] = {}
    for group_rows, part_rows, cell_rows in zip(rows, parts.rows, cells.rows, strict=True):
        for group, part, cell in set(
            zip(group_rows.tolist(), part_rows.tolist(), cell_rows.tolist(), strict=True)
        ):
            if group < 0 and cell < 0:
                continue
            if cell < 0 or cells.groups[cell] != group or part_of.setdefault(cell, part) != part:
                raise _no_order()
            if part >= 0 and links.setdefault(part, cells.links[cell]) != cells.links[cell]:
                raise _no_order()
    by_link: dict[int, frozenset[int]] = {}
    for part, link in links.items():
        by_link[link] = by_link.get(link, frozenset()) | own[part]
    pairs = zip(cells.before, cells.links, strict=True)
    return [before | by_link.get(link, frozenset()) for before, link in pairs]


def _crowds(rosters: Sequence[RosterManifest], cells: EdgedCells) -> list[Crowd]:
    counted = count_groups(
        rosters, cells.rows, groups=len(cells.groups), minima=NOTHING, measures=()
    )
    return [group.crowd for group in counted]


def list_entries(
    order: CheckedQuery, checked: CheckedMonth, rosters: Sequence[RosterManifest]
) -> Iterator[tuple[ColumnEntry, RosterManifest]]:
    """The outputs of an order, each with its roster, as they follow.

    Raises:
        InvalidMessageError: They are others than what is computed (`vault.query`).
    """
    for name, layout in zip((MAIN, REACH), checked.layout.both, strict=True):
        outputs, entries = list(layout.outputs()), order.outputs[name]
        if len(outputs) != len(entries):
            raise _no_order()
        for (place, quantity, parameters), entry in zip(outputs, entries, strict=True):
            said = (entry.quantity, entry.parameters, entry.intervals)
            if said != (quantity, parameters, 1):
                raise _no_order()
            yield entry, rosters[place]


def total_answer(
    order: CheckedQuery, checked: CheckedMonth, values: Iterable[NDArray[np.uint64]]
) -> list[CellTotal]:
    """Step 3: the cells of the answer, of every total and group.

    Args:
        values: Decrypted outputs, in the order of `list_entries`.
    """
    remaining = iter(values)
    main, reach = (
        add_up_parts(islice(remaining, len(list(layout.outputs()))), layout=layout)
        for layout in checked.layout.both
    )
    groups, cells = order.groups, checked.cells.groups
    totals = total_month(checked.asked, checked.layout, main, reach, groups=groups, cells=cells)
    return _list_cells(order, checked, totals, _decide(order, checked, totals))


class _Told(NamedTuple):
    """Of which groups something is told, and of each at which edges."""

    groups: frozenset[int]
    edges: Mapping[int, frozenset[int]]


def _decide(order: CheckedQuery, checked: CheckedMonth, totals: MonthTotals) -> _Told:
    groups = frozenset(range(order.groups)) - set(order.withheld)
    capped = zip(checked.cells.groups, totals.capped, strict=True)
    groups -= {group for group, number in capped if number}
    groups -= _dominated(checked, totals, points=order.customer_points)
    if not checked.is_edged:
        return _Told(groups, {})
    edges: dict[int, frozenset[int]] = {}
    for company in checked.cells.companies:
        kept = _kept_edges(checked, company, totals)
        own = {checked.cells.groups[cell] for cell in company} - {UNTOLD}
        groups -= own if kept is None else set()
        edges |= dict.fromkeys(own, frozenset(kept or ()))
    return _Told(groups, edges)


def _dominated(checked: CheckedMonth, totals: MonthTotals, *, points: int) -> set[int]:
    """Groups in which one customer may have more than half of the energy, whoever looks.

    Sum and squares of such a group say how much that one has, to some parts in a thousand. Those of
    two sets that overlap are those of their difference as well. So it is looked at in each cell of
    those that hang together: where nobody has more than half in any, nobody has in several.

    Args:
        points: Most meter points that one customer has, by policy; 0 where it says nothing.
    """
    if not checked.asked.is_of_moments:
        return set()
    cells, found = checked.cells, set[int]()
    for company in cells.companies:
        most = {cell: points or _most_points(checked.crowds[cell]) for cell in company}
        if not all(_is_mixed(totals.moments[cell], points=most[cell]) for cell in company):
            found |= {cells.groups[cell] for cell in company}
    return found


def _most_points(crowd: Crowd) -> int:
    """How many meter points of a cell may be one customer's: one that counts, and all that do not.

    Which are whose no roster says.
    """
    owners = crowd.by_owner().values()
    return 1 + sum(points - customers for points, customers in owners)


def _is_mixed(moments: Mapping[str, tuple[int, int]], *, points: int) -> bool:
    """Whether nobody has more than half, also of what is left without each owner's own.

    Where four times the squares are at most the square of the sum, no meter point has. The sum of a
    customer's own, squared, is at most their squares times how many they are.

    Args:
        moments: Sum and squares of each owner.
        points: Most meter points of a customer.
    """
    for knower in (None, *moments):
        left = [own for owner, own in moments.items() if owner != knower]
        if 4 * sum(squares for _, squares in left) * points > sum(wh for wh, _ in left) ** 2:
            return False
    return True


def _kept_edges(
    checked: CheckedMonth, company: Sequence[int], totals: MonthTotals
) -> list[int] | None:
    cells = checked.cells
    if any(cells.is_blind[cell] for cell in company):
        return None
    groups = {cells.groups[cell] for cell in company} - {UNTOLD}
    wanted = max((checked.groups[group].minimum or 0 for group in groups), default=0)
    return keep_edges(
        checked.asked.edges_kwh,
        totals.reached,
        {cell: checked.crowds[cell] for cell in company},
        needed={cell: checked.needed[cell] for cell in company},
        minima={cell: max(wanted, cells.least[cell]) for cell in company},
    )


def _list_cells(
    order: CheckedQuery, checked: CheckedMonth, totals: MonthTotals, told: _Told
) -> list[CellTotal]:
    ((start, end),) = order.spans
    cells = []
    for number, name in enumerate(checked.asked.totals):
        values = totals.values.get(name)
        edge = int(name.removeprefix(AT_LEAST)) if values is None else 0
        if values is None:
            values = np.zeros(order.groups, dtype=object)
            inside = [
                (cell, group) for cell, group in enumerate(checked.cells.groups) if group >= 0
            ]
            for cell, group in inside:
                values[group] += sum(totals.reached[edge][cell].values())
        for group, own in enumerate(checked.groups):
            is_told = (
                own.is_enough and group in told.groups and (not edge or edge in told.edges[group])
            )
            zone, place = group_place(order.question, number * order.groups + group)
            cells.append(
                CellTotal(
                    zone=zone,
                    customer_class=place,
                    start=start,
                    end=end,
                    measure=ENERGY,
                    members=len(own.crowd) if is_told else 0,
                    value=str(values[group]) if is_told else None,
                )
            )
    return cells


def _no_order() -> InvalidMessageError:
    return InvalidMessageError(
        "An order about a question is none.",
        reason="vault.query",
        remedy="Ask it again, with the grant that came back; if it stays so, tell the authority.",
    )
