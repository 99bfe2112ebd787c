"""Edges: what a total says of who reaches which energy, and how many have to lie between them.

A total of energies is about everybody in it. A number of meter points above an edge, the energy in
a tier and a bill by tiers are not: they say something of those who reach a limit, and how many
those are nobody knows beforehand. Beside the ordinary total of the same people, the energy above a
limit that one of them reaches is that household's energy, and two numbers at edges one kWh apart
are about who lies between.

All such totals are sums of functions of a month's energy that are straight between *edges*. Two of
them, and whatever is computed of them, tell of nothing finer than how many lie between two edges
that follow each other, and of how much those use. So that is what has to be enough, for all edges
that were ever told of the same people (`is_spread`): never fewer than policy's minimum between two
edges, below the first or above the last, and never nobody, which would be told of everybody.

Where such totals are told of people who overlap, what lies in one and not in the other is told of
as well. So people are divided into *cells*: who is in exactly the same sets. Everything is looked
at in every cell of those that hang together (`divide_by_sets`), also in those that are not asked
about this time.

Who asks chooses edges from a published grid (`GRID_KWH`), so that what is withheld says no more of
where edges would be than the grid does. The limits of customers' own tariffs are published as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridsecure.errors import InputError
from gridsecure.messages import RosterManifest
from gridsecure.plans.cells import Crowd, join_names

GRID_KWH: Final[tuple[int, ...]] = (
    1,
    5,
    *range(10, 200, 10),
    *range(200, 1_000, 50),
    *range(1_000, 3_801, 100),
)
"""Edges that may be asked about [kWh a month]."""
CELLS: Final = 4_000
"""Most cells of one question."""
UNTOLD: Final = -1
"""The group of a cell that a question does not ask about."""
_NO_EDGES: Final = 2
"""Counts where there is no edge: those of everybody and of nobody."""


def check_edges(edges_kwh: Iterable[int], *, known: Iterable[int] = ()) -> None:
    """Refuse edges that are not of the grid.

    Args:
        known: Edges that are published otherwise, as limits of customers' own tariffs.

    Raises:
        InputError: `query.edge`.
    """
    allowed = {*GRID_KWH, *known}
    wrong = [edge for edge in edges_kwh if edge not in allowed]
    if not wrong:
        return
    below = max((edge for edge in allowed if edge < wrong[0]), default=None)
    above = min((edge for edge in allowed if edge > wrong[0]), default=None)
    near = " and ".join(str(edge) for edge in (below, above) if edge is not None)
    raise InputError(
        f"{wrong[0]} kWh is not an edge that months are compared with.",
        reason="query.edge",
        remedy=f"The nearest ones are {near}. Edges are 1 kWh, 5, then 10 apart up to 200, 50 up to"
        " 1,000 and 100 up to 3,800.",
    )


class EdgedSet(NamedTuple):
    """People of whom a total was told that depends on edges.

    Args:
        names: Their pseudonyms.
        edges: The edges [kWh].
        minimum: Fewest customers that policy wanted between edges then.
    """

    names: frozenset[str]
    edges: frozenset[int]
    minimum: int


@dataclass(frozen=True, slots=True, eq=False)
class EdgedCells:
    """The cells of a question about edges.

    Args:
        rows: Per roster, the cell of each slot; negative where it is in none.
        groups: The question's group of each cell, or `UNTOLD`.
        links: Of each cell, the number of those that it hangs together with: those of one part of a
            group, or of a set that was told of.
        before: Edges that were told of each cell's link.
        is_blind: Whether somebody of each cell's link is not among these rosters at all: then
            nothing is told of it.
        least: Fewest customers between edges of each cell, as the sets that it lies in were told:
            the largest of them.
    """

    rows: tuple[NDArray[np.int64], ...]
    groups: tuple[int, ...]
    links: tuple[int, ...]
    before: tuple[frozenset[int], ...]
    is_blind: tuple[bool, ...]
    least: tuple[int, ...]

    @property
    def companies(self) -> list[list[int]]:
        """Cells that are told of together or not at all: links that share a group."""
        ties = [
            [f"link {link}", *([] if group == UNTOLD else [f"group {group}"])]
            for link, group in zip(self.links, self.groups, strict=True)
        ]
        found: dict[int, list[int]] = {}
        for cell, number in enumerate(join_names(ties)):
            found.setdefault(number, []).append(cell)
        return list(found.values())


def divide_by_sets(
    rosters: Sequence[RosterManifest],
    rows: Sequence[NDArray[np.int64]],
    *,
    groups: Sequence[int],
    told: Sequence[EdgedSet],
) -> EdgedCells:
    """Divide the cells of a question by what was told of their members before.

    Args:
        rows: Per roster, the cell of each slot, or a negative number.
        groups: The question's group of each of these cells.
        told: What was told of this month.

    Raises:
        InputError: There would be too many cells (`query.overlaps`).
    """
    sets = _joined_to(rosters, rows, groups=groups, told=told)
    near = [one for one in sets if one.is_near]
    inside: dict[str, list[int]] = {}
    for number, one in enumerate(near):
        for name in one.told.names:
            inside.setdefault(name, []).append(number)
    cells: dict[tuple[int, tuple[int, ...]], int] = {}
    found = []
    for roster, own in zip(rosters, rows, strict=True):
        numbers = np.full(roster.slots, UNTOLD, dtype=np.int64)
        for slot, (name, cell) in enumerate(zip(roster.pseudonyms, own.tolist(), strict=True)):
            sets_of = tuple(inside.pop(name, ()))
            if cell >= 0 or sets_of:
                numbers[slot] = cells.setdefault((cell, sets_of), len(cells))
        found.append(numbers)
    if len(cells) > CELLS:
        raise too_many_cells()
    left = {number for numbers in inside.values() for number in numbers}
    return _by_link(tuple(found), cells, groups=groups, near=near, left=left)


def too_many_cells() -> InputError:
    """The error for a question of which more would have to be counted than is."""
    return InputError(
        "The question overlaps with too much that was told of this month.",
        reason="query.overlaps",
        remedy="Ask about the same groups as before, fewer or larger ones, or fewer edges.",
    )


class _Near(NamedTuple):
    told: EdgedSet
    is_near: bool


def _joined_to(
    rosters: Sequence[RosterManifest],
    rows: Sequence[NDArray[np.int64]],
    *,
    groups: Sequence[int],
    told: Sequence[EdgedSet],
) -> list[_Near]:
    """Which sets hang together with a group of the question, also over others."""
    members: list[set[str]] = [set() for _ in range(1 + max(groups, default=UNTOLD))]
    for roster, own in zip(rosters, rows, strict=True):
        for name, cell in zip(roster.pseudonyms, own.tolist(), strict=True):
            if cell >= 0:
                members[groups[cell]].add(name)
    joined = join_names([*members, *(one.names for one in told)])
    asked = set(joined[: len(members)])
    return [
        _Near(one, number in asked)
        for one, number in zip(told, joined[len(members) :], strict=True)
    ]


def _by_link(
    rows: tuple[NDArray[np.int64], ...],
    cells: Mapping[tuple[int, tuple[int, ...]], int],
    *,
    groups: Sequence[int],
    near: Sequence[_Near],
    left: set[int],
) -> EdgedCells:
    """Which cells hang together: those of a part, and those of a set that was told of."""
    ties = [
        [*([f"part {part}"] if part >= 0 else []), *(f"set {number}" for number in sets)]
        for part, sets in cells
    ]
    links = join_names(ties)
    edges: dict[int, set[int]] = {}
    blind: set[int] = set()
    for (_, sets), link in zip(cells, links, strict=True):
        for number in sets:
            edges.setdefault(link, set()).update(near[number].told.edges)
            if number in left:
                blind.add(link)
    return EdgedCells(
        rows,
        tuple(groups[part] if part >= 0 else UNTOLD for part, _ in cells),
        tuple(links),
        tuple(frozenset(edges.get(link, ())) for link in links),
        tuple(link in blind for link in links),
        tuple(max((near[n].told.minimum for n in sets), default=0) for _, sets in cells),
    )


def is_spread(reached: Mapping[str, Sequence[int]], crowd: Crowd, *, minimum: int) -> bool:
    """Whether between any two edges lie enough customers of a cell for a number about them.

    Only meter points are counted under encryption. So of all that do not count for their customer
    it is assumed that they lie just there. An owner knows its own meter points, and its gateways
    say of those what they like: enough others have to lie there by the others' own counts.

    Args:
        reached: Of each owner, how many of its meter points in the cell reach each edge, in the
            order of the edges.
        crowd: The cell's members.

    >>> from gridsecure.plans.cells import Member, count_members
    >>> cell = count_members(Member(str(n), "utility", True) for n in range(45))
    >>> [is_spread({"utility": own}, cell, minimum=15) for own in ([30, 15], [30, 1], [45], [0])]
    [True, False, False, False]
    """
    owners = crowd.by_owner()
    known_to = ["", *owners] if len(owners) > 1 else [""]
    return all(
        _is_spread_among(
            [own for owner, own in reached.items() if owner != knower],
            [own for owner, own in owners.items() if owner != knower],
            minimum=minimum,
        )
        for knower in known_to
    )


def _is_spread_among(
    reached: Sequence[Sequence[int]], owners: Sequence[tuple[int, int]], *, minimum: int
) -> bool:
    """The same of some owners' meter points, whoever of them looks at it.

    Args:
        owners: Meter points of each, and customers among them.
    """
    points = sum(own for own, _ in owners)
    uncounted = points - sum(customers for _, customers in owners)
    counts = [points, *map(sum, zip(*reached, strict=True)), 0]
    fewest = min(above - below for above, below in pairwise(counts))
    return len(counts) == _NO_EDGES or fewest - uncounted >= max(minimum, 1)


def keep_edges(
    wanted: Sequence[int],
    reached: Mapping[int, Sequence[Mapping[str, int]]],
    crowds: Mapping[int, Crowd],
    *,
    needed: Mapping[int, frozenset[int]],
    minima: Mapping[int, int],
) -> list[int] | None:
    """The edges of a question that may be told of cells that hang together, beside those before.

    From the lowest on, each is told where enough lie between it and those told; so a bin of too few
    is one with the next.

    Args:
        wanted: Edges that may be left out.
        reached: By edge, how many meter points of each cell reach it, by owner.
        crowds: The members of each of these cells, by number.
        needed: By cell, edges that were told of, or that its total depends on.
        minima: By cell, fewest customers between edges.

    Returns:
        Those of the wanted ones; None where already the others are not spread enough.
    """

    def fits(told: Iterable[int]) -> bool:
        return all(
            is_spread(
                {
                    owner: [
                        reached[edge][cell].get(owner, 0) for edge in sorted({*told, *needed[cell]})
                    ]
                    for owner in crowd.by_owner()
                },
                crowd,
                minimum=minima[cell],
            )
            for cell, crowd in crowds.items()
        )

    kept: list[int] = []
    if not fits(kept):
        return None
    for edge in sorted(set(wanted)):
        if fits([*kept, edge]):
            kept.append(edge)
    return kept
