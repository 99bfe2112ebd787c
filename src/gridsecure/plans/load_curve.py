"""The load-curve plan: totals per cell and interval, with no household's value in any ciphertext.

A cell is zone × customer class over all rosters of the job. Each roster's interval column gets the
slice of one zero-sum blinding vector that runs over all slots of all rosters; whoever decrypts all
blinded columns of an interval and adds up a cell's slots gets the cell's total, and no less than
all of them tells anything. Cells with fewer than `MINIMUM_MEMBERS` meter points get no total: their
slots are blinded completely, and they are left out of every larger sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gridsecure.crypto.blinding import group_sums, zero_sum_blinding
from gridsecure.crypto.columns import Column
from gridsecure.crypto.parameters import INTERVAL
from gridsecure.crypto.planning import PlannedColumn
from gridsecure.errors import OutOfRangeError
from gridsecure.messages import RosterManifest

LOAD_CURVE_PLAN_VERSION: Final = 1
MINIMUM_MEMBERS: Final = 15
"""Smallest cell released: the 15 of the 15/15 rule (CPUC D.14-05-016, Illinois 15/15)."""
SUPPRESSED: Final = -1


def interval_quantity(index: int) -> str:
    """Name of the column of a period's interval number `index`, from 0."""
    return f"interval:{index:04d}"


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a released table.

    Args:
        zone: Supply zone.
        customer_class: Customer class.
        members: Meter points in it.
    """

    zone: str
    customer_class: str
    members: int

    @property
    def is_released(self) -> bool:
        """Large enough to have a total."""
        return self.members >= MINIMUM_MEMBERS


@dataclass(frozen=True, slots=True, eq=False)
class CellLayout:
    """Which slot of which roster belongs to which cell.

    Args:
        cells: All cells, sorted.
        groups: Per roster, the cell number of each slot, `SUPPRESSED` in cells too small.
    """

    cells: tuple[Cell, ...]
    groups: tuple[NDArray[np.int64], ...]

    @property
    def joined(self) -> NDArray[np.int64]:
        """Cell numbers over all slots of all rosters."""
        return np.concatenate(self.groups)


def cell_layout(rosters: Sequence[RosterManifest]) -> CellLayout:
    """Lay rosters out in cells of zone × customer class."""
    places = [list(zip(roster.zones, roster.customer_classes, strict=True)) for roster in rosters]
    names = sorted({place for roster in places for place in roster})
    number = {name: index for index, name in enumerate(names)}
    raw = [np.array([number[place] for place in roster], dtype=np.int64) for roster in places]
    members = np.bincount(np.concatenate(raw), minlength=len(names))
    cells = tuple(
        Cell(zone, customer_class, int(members[index]))
        for index, (zone, customer_class) in enumerate(names)
    )
    released = np.array([cell.is_released for cell in cells])
    groups = tuple(np.where(released[roster], roster, SUPPRESSED) for roster in raw)
    return CellLayout(cells, groups)


def plan_interval(layout: CellLayout, *, highs: Sequence[int]) -> float:
    """Prove that no cell's total can wrap and that blinding keeps decryption sure.

    Args:
        layout: The cells.
        highs: Largest value of a slot, per roster.

    Returns:
        The noise margin in bits.

    Raises:
        OutOfRangeError: A cell's total could reach the plain modulus.
        DepthExceededError: The noise could.
    """
    bounds = np.zeros(len(layout.cells), dtype=object)
    for groups, high in zip(layout.groups, highs, strict=True):
        counts = np.bincount(groups[groups >= 0], minlength=len(layout.cells))
        bounds += counts.astype(object) * high
    if max(bounds, default=0) >= INTERVAL.plain_modulus:
        raise OutOfRangeError(
            "A cell's total could exceed what one interval column holds.",
            remedy="Split the cell, or declare the interval columns in a coarser unit.",
        )
    planned = [
        PlannedColumn.fresh(INTERVAL, high=high).blinded(np.zeros(1, dtype=np.uint64))
        for high in highs
    ]
    for column in planned:
        column.check(what="A blinded interval")
    return min(column.margin for column in planned)


def run_interval(
    columns: Sequence[Column], *, layout: CellLayout, seed: bytes, purpose: str
) -> list[Column]:
    """Blind one interval's column of every roster.

    Args:
        columns: The interval's column, per roster.
        layout: The cells.
        seed: The job's blinding seed.
        purpose: Names the interval, so that no two share a blinding vector.
    """
    blinding = zero_sum_blinding(
        seed, groups=layout.joined, modulus=INTERVAL.plain_modulus, purpose=purpose
    )
    results, start = [], 0
    for column, groups in zip(columns, layout.groups, strict=True):
        results.append(column.blinded(blinding[start : start + len(groups)]))
        start += len(groups)
    return results


def interval_totals(values: Sequence[NDArray[np.uint64]], *, layout: CellLayout) -> dict[int, int]:
    """Totals by cell number from the decrypted blinded columns of one interval."""
    return group_sums(np.concatenate(values), groups=layout.joined, modulus=INTERVAL.plain_modulus)
