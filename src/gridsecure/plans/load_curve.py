"""The load-curve plan: totals per cell and interval, with no household's value in any ciphertext.

A roster's load is one column a local day: all its slots in the first interval, then all in the
second, and so on. Days are what is released, and a small roster's day fills one ciphertext where a
column an interval would leave all of them nearly empty.

A cell is zone × customer class over all rosters of the job, or several that were too small for
themselves (`merging`): their slots are then one group, and no total of one of them ever exists.
Each roster's column gets its part of one zero-sum blinding vector that runs over all slots of all
rosters and sums to zero within each cell of each interval; whoever decrypts all blinded columns of
a day and adds up a cell's slots of an interval gets the cell's total, and no less than all of them
tells anything. Cells with too few members (`cells.is_enough`) get no total: their slots are blinded
completely, and they are left out of every larger sum. Cells with too many for one total are
several groups (`cell_pieces`), whose totals are added up after decryption.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from gridsecure.errors import InputError, OutOfRangeError
from gridsecure.homomorphic.blinding import SlotGroups, group_sums, zero_sum_blinding
from gridsecure.homomorphic.columns import Column
from gridsecure.homomorphic.parameters import INTERVAL
from gridsecure.homomorphic.planning import PlannedColumn
from gridsecure.messages import RosterManifest
from gridsecure.plans.cell_pieces import SeatedCells, divide_cells
from gridsecure.plans.cells import (
    ENERGY,
    Crowd,
    Minima,
    Place,
    is_enough,
    roster_members,
    roster_places,
)
from gridsecure.plans.merging import merge_cells
from gridsecure.plans.quantities import Family, interval_bound_wh

LOAD_CURVE_PLAN_VERSION: Final = 3
SUPPRESSED: Final = -1


def day_quantity(day: str) -> str:
    """Name of the column of a local day's intervals.

    Args:
        day: YYYY-MM-DD.
    """
    return f"{Family.INTERVALS}:{day}"


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a released table.

    Args:
        zone: Of a merged cell, the name of the area.
        customer_class: Likewise, of the class or of its group.
        members: Meter points in it.
        is_released: It has enough members to have a total.
    """

    zone: str
    customer_class: str
    members: int
    is_released: bool


@dataclass(frozen=True, slots=True, eq=False)
class CellLayout:
    """Which slot of which roster belongs to which cell.

    Args:
        cells: All cells, sorted.
        groups: Per roster, the group of each slot, `SUPPRESSED` in cells too small.
        cell_of: The cell number of each group; a group is a cell, or a piece of a large one.
    """

    cells: tuple[Cell, ...]
    groups: tuple[NDArray[np.int64], ...]
    cell_of: tuple[int, ...]

    @property
    def joined(self) -> NDArray[np.int64]:
        """Groups over all slots of all rosters."""
        return np.concatenate(self.groups)

    def bounds(self, highs: Sequence[int]) -> list[int]:
        """The largest total that each group can have.

        Args:
            highs: Largest value of a slot, per roster.
        """
        bounds = np.zeros(len(self.cell_of), dtype=object)
        for groups, high in zip(self.groups, highs, strict=True):
            counts = np.bincount(groups[groups >= 0], minlength=len(bounds))
            bounds += counts.astype(object) * high
        return [int(bound) for bound in bounds]

    def by_interval(self, roster: int, *, intervals: int) -> SlotGroups:
        """The groups of the places [intervals × slots] of a roster's column of a day.

        They are numbered on by interval: group + interval × number of groups.

        Args:
            roster: Its place among the rosters.
        """
        return SlotGroups.of(self.groups[roster]).repeat(intervals, step=len(self.cell_of))


class _DayGroups(Iterable[SlotGroups]):
    """The groups of a day's columns, made anew each time they are gone through: none is kept."""

    def __init__(self, layout: CellLayout, intervals: int) -> None:
        self._layout, self._intervals = layout, intervals

    def __iter__(self) -> Iterator[SlotGroups]:
        for roster in range(len(self._layout.groups)):
            yield self._layout.by_interval(roster, intervals=self._intervals)


def lay_out_cells(rosters: Iterable[RosterManifest], *, minima: Minima) -> CellLayout:
    """Lay rosters out in cells of zone × customer class, those too small merged.

    Args:
        rosters: Taken one after the other, and not kept.
        minima: Fewest customers that energy may be told of, and how cells of fewer are merged.
    """
    own: dict[Place, Crowd] = defaultdict(Crowd)
    seen: dict[Place, int] = {}
    raw = []
    for roster in rosters:
        places, members = roster_places(roster), roster_members(roster)
        for place, member in zip(places, members, strict=True):
            own[place].add(member)
        numbers = (seen.setdefault(place, len(seen)) for place in places)
        raw.append(
            SeatedCells(
                np.fromiter(numbers, dtype=np.int64, count=len(places)),
                np.fromiter((m.counts for m in members), dtype=bool, count=len(members)),
                owner=members[0].owner if members else "",
                bound_wh=max(map(interval_bound_wh, set(roster.customer_classes)), default=0),
            )
        )
    merged = merge_cells(own, minima=minima)
    crowds: dict[Place, Crowd] = defaultdict(Crowd)
    for place, crowd in own.items():
        crowds[merged.into[place]].add_all(crowd)
    cells = tuple(
        Cell(*place, members=len(crowds[place]), is_released=_is_told(crowds[place], fewest))
        for place in sorted(crowds)
        for fewest in [merged.minima[place].get(ENERGY)]
    )
    numbered = {(cell.zone, cell.customer_class): number for number, cell in enumerate(cells)}
    final = np.empty(len(seen), dtype=np.int64)
    for place, found in seen.items():
        # Found in the order of the rosters, numbered in the order of the cells' names.
        number = numbered[merged.into[place]]
        final[found] = number if cells[number].is_released else SUPPRESSED
    seated = [replace(roster, cells=final[roster.cells]) for roster in raw]
    fewest = [merged.minima[cell.zone, cell.customer_class].get(ENERGY, 0) for cell in cells]
    return CellLayout(cells, *divide_cells(seated, minima=fewest))


def _is_told(crowd: Crowd, fewest: int | None) -> bool:
    return fewest is not None and is_enough(crowd, minimum=fewest)


def plan_day(layout: CellLayout, *, highs: Sequence[int]) -> float:
    """Prove that no cell's total can wrap and that blinding keeps decryption sure.

    Args:
        highs: Largest value of a slot, per roster.

    Returns:
        The noise margin in bits.

    Raises:
        OutOfRangeError: A cell's total could reach the plain modulus.
        DepthExceededError: The noise could.
    """
    if max(layout.bounds(highs), default=0) >= INTERVAL.plain_modulus:
        raise OutOfRangeError(
            "A cell's total could exceed what one interval column holds, and divided, a piece of it"
            " would be about too few customers.",
            remedy="Give the customers of the owner that has few there a zone of their own, or name"
            " smaller zones.",
        )
    planned = [
        PlannedColumn.fresh(INTERVAL, high=high).blind(np.zeros(1, dtype=np.uint64))
        for high in highs
    ]
    for column in planned:
        column.check(what="A blinded interval")
    return min(column.margin for column in planned)


def run_day(
    columns: Iterable[Column], *, layout: CellLayout, intervals: int, seed: bytes, purpose: str
) -> Iterator[Column]:
    """Blind one day's column of every roster, one after the other: none has to wait for another.

    Args:
        columns: The day's column, per roster.
        purpose: Names the day, so that no two share a blinding vector.
    """
    blinding = zero_sum_blinding(
        seed,
        groups=_DayGroups(layout, intervals),
        modulus=INTERVAL.plain_modulus,
        purpose=purpose,
    )
    for column, own in zip(columns, blinding, strict=True):
        yield column.blind(own)


def total_groups(
    values: Iterable[NDArray[np.uint64]], *, layout: CellLayout, intervals: int
) -> list[dict[int, int]]:
    """Totals by group, interval by interval, from a day's decrypted blinded columns.

    Args:
        values: By roster; taken one after the other, and not kept.
    """
    sums: Counter[int] = Counter()
    for own, groups in zip(values, _DayGroups(layout, intervals), strict=True):
        sums.update(group_sums(own, groups=groups, modulus=INTERVAL.plain_modulus))
    totals: list[dict[int, int]] = [{} for _ in range(intervals)]
    for number, total in sorted(sums.items()):
        interval, group = divmod(number, len(layout.cell_of))
        totals[interval][group] = total % INTERVAL.plain_modulus
    return totals


def join_pieces(totals: Sequence[Mapping[int, int]], *, layout: CellLayout) -> list[dict[int, int]]:
    """Totals by cell number, interval by interval; pieces together may exceed the modulus.

    Args:
        totals: As `total_groups` gives them.
    """
    cells: list[Counter[int]] = [Counter() for _ in totals]
    for own, groups in zip(cells, totals, strict=True):
        for group, total in groups.items():
            own[layout.cell_of[group]] += total
    return [dict(own) for own in cells]


def interval_times(start: str, end: str, *, intervals: int, timezone: str) -> list[str]:
    """Where a day's intervals begin, and the last one ends, in local time [ISO 8601].

    Args:
        end: Its end, exclusive.
        intervals: How many, all of one length.
        timezone: Local time; its offset may change within the day.

    Raises:
        InputError: The day cannot be read, or not be divided so (`load-curve.grid`).
    """
    try:
        first, last = datetime.fromisoformat(start), datetime.fromisoformat(end)
        step, rest = divmod(last - first, timedelta(minutes=1) * intervals)
        local = [
            (first + number * step * timedelta(minutes=1)).astimezone(ZoneInfo(timezone))
            for number in range(intervals + 1)
        ]
    except (ValueError, TypeError, OverflowError, ZoneInfoNotFoundError) as error:
        raise _no_grid() from error
    if rest or step <= 0:
        raise _no_grid()
    return [moment.isoformat() for moment in local]


def _no_grid() -> InputError:
    return InputError(
        "A day's intervals do not fill it.",
        reason="load-curve.grid",
        remedy="Encrypt whole local days in intervals of whole minutes.",
    )
