"""Cells with too many meter points for one total, which are totalled in pieces.

A decrypted total is a residue of the plain modulus: 2^31 Wh of an interval, which is some 32,000
households or 500 factories at their declared bounds. A cell of more is divided into pieces, each a
blinding group of its own, and whoever decrypts adds up the totals of the pieces as whole numbers.
Nothing smaller than the cell is released.

Whoever decrypts meets the totals of the pieces on the way. So a cell is divided only where each
piece has enough customers, besides those of any one owner too, to be told of by itself
(`cells.is_enough`). Every roster is spread over all pieces, in runs, because its members have one
owner and because a run costs less than a slot (`blinding.SlotGroups`); but the customers of owners
who have too few for every piece stay together in the first. Which pieces there are depends on
membership and public bounds alone, so that platform, checker and vault find the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridsecure.homomorphic.parameters import INTERVAL
from gridsecure.messages import RosterManifest
from gridsecure.plans.cells import Crowd, Member, is_enough


@dataclass(frozen=True, slots=True, eq=False)
class SeatedCells:
    """What is kept of a roster to divide its cells.

    Args:
        cells: Cell number of each slot; a negative one is no cell.
        counted: Whether a slot is the one that counts for its customer [slots].
        bound_wh: Declared largest value of a slot.
    """

    cells: NDArray[np.int64]
    counted: NDArray[np.bool_]
    owner: str
    bound_wh: int


def seat_cells(roster: RosterManifest, cells: NDArray[np.int64], *, bound_wh: int) -> SeatedCells:
    """What is kept of a roster; its members' owner and who counts are as `roster_members` has them.

    Args:
        cells: Cell number of each slot; a negative one is no cell.
        bound_wh: Declared largest value of a slot.
    """
    counted = np.array(roster.counted or np.ones(roster.slots), dtype=bool)
    return SeatedCells(cells, counted, roster.owner or roster.gateway_id, bound_wh)


def divide_cells(
    rosters: Sequence[SeatedCells],
    *,
    minima: Sequence[int],
    modulus: int = INTERVAL.plain_modulus,
) -> tuple[tuple[NDArray[np.int64], ...], tuple[int, ...]]:
    """Divide the cells whose totals could reach the plain modulus.

    A cell that no division leaves large enough is left as it is; the plan refuses it.

    Args:
        minima: Fewest customers that each cell's total may be about, by cell number.
        modulus: What no total may reach.

    Returns:
        The group of each slot, per roster; and the cell of each group. The first groups are the
        cells themselves, or the first piece of each.
    """
    groups = tuple(roster.cells.copy() for roster in rosters)
    cell_of = list(range(len(minima)))
    for cell, total in enumerate(_bounds(rosters, cells=len(minima))):
        if total < modulus:
            continue
        dealt = _find_pieces(rosters, cell=cell, total=total, minimum=minima[cell], modulus=modulus)
        pieces = 1 + max(int(own.max(initial=0)) for own in dealt)
        numbers = np.array([cell, *range(len(cell_of), len(cell_of) + pieces - 1)])
        for roster, own, deal in zip(rosters, groups, dealt, strict=True):
            own[roster.cells == cell] = numbers[deal]
        cell_of += [cell] * (pieces - 1)
    return groups, tuple(cell_of)


def _bounds(rosters: Sequence[SeatedCells], *, cells: int) -> list[int]:
    """The largest total that each cell could have."""
    bounds = [0] * cells
    for roster in rosters:
        counts = np.bincount(roster.cells[roster.cells >= 0], minlength=cells)
        bounds = [own + int(n) * roster.bound_wh for own, n in zip(bounds, counts, strict=True)]
    return bounds


def _find_pieces(
    rosters: Sequence[SeatedCells], *, cell: int, total: int, minimum: int, modulus: int
) -> list[NDArray[np.int64]]:
    """The piece of each of a cell's slots, per roster, so that none can reach the modulus.

    All are in piece 0 where a piece would be about too few.
    """
    counted = [roster.counted[roster.cells == cell] for roster in rosters]
    customers = Counter[str]()
    for roster, own in zip(rosters, counted, strict=True):
        customers[roster.owner] += int(own.sum())
    pieces = -(-total // (modulus - 1))
    while True:
        dealt = [
            _deal(len(own), pieces=pieces, first=place)
            if customers[roster.owner] >= minimum * pieces
            else np.zeros(len(own), dtype=np.int64)
            for place, (roster, own) in enumerate(zip(rosters, counted, strict=True))
        ]
        bounds, crowds = _weigh(rosters, counted, dealt, pieces=pieces)
        if not all(is_enough(crowd, minimum=minimum) for crowd in crowds):
            return [np.zeros(len(own), dtype=np.int64) for own in counted]
        if max(bounds) < modulus:
            return dealt
        pieces += 1


def _weigh(
    rosters: Sequence[SeatedCells],
    counted: Sequence[NDArray[np.bool_]],
    dealt: Sequence[NDArray[np.int64]],
    *,
    pieces: int,
) -> tuple[list[int], list[Crowd]]:
    """The largest total of each piece, and who is in it."""
    bounds, crowds = [0] * pieces, [Crowd() for _ in range(pieces)]
    for roster, counts, deal in zip(rosters, counted, dealt, strict=True):
        sizes = np.bincount(deal, minlength=pieces).tolist()
        customers = np.bincount(deal[counts], minlength=pieces).tolist()
        for own, (size, those) in enumerate(zip(sizes, customers, strict=True)):
            if not size:
                continue  # an owner of nobody there is no owner there
            bounds[own] += size * roster.bound_wh
            crowds[own].add(Member("", roster.owner, counts=True), times=those)
            crowds[own].add(Member("", roster.owner, counts=False), times=size - those)
    return bounds, crowds


def _deal(count: int, *, pieces: int, first: int) -> NDArray[np.int64]:
    """The piece of each of so many slots: runs of nearly one length, the first in another piece."""
    return (np.arange(count) * pieces // max(count, 1) + first) % pieces
