"""Control totals: what a release of bills says of each cell, and nothing of small ones."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridsecure.billing.bills import Bills
from gridsecure.key_authority.packages import CheckedBills, withheld_measures
from gridsecure.messages import CellTotal, RosterManifest
from gridsecure.plans.cells import (
    MEASURES,
    NO_MEASURES,
    Member,
    Place,
    cell_sets,
    money_keys,
    roster_members,
    roster_places,
)
from gridsecure.plans.execution import billing_period
from gridsecure.plans.load_curve import CellLayout, lay_out_cells
from gridsecure.tariffs.tariff import Tariff


@dataclass(frozen=True, slots=True, eq=False)
class RosterBills:
    """A roster's bills, and the energy each stands for.

    Args:
        bills: The bills by pseudonym.
        energy_wh: Energy by slot [Wh].
    """

    bills: Bills
    energy_wh: NDArray[Any]
    tariff: Tariff


def total_cells(order: CheckedBills, bills: Iterable[RosterBills]) -> list[CellTotal]:
    """Number of bills, energy and money of every cell that they may be told of.

    The checker knows what was told before and says so in the order; how large cells and the parts
    of their money are, is looked at here again.

    Args:
        bills: By roster; taken one after the other, and not kept.
    """
    layout = lay_out_cells(order.rosters)
    ordered = withheld_measures(order.withheld)
    sums: dict[str, dict[int, int]] = {measure: {} for measure in MEASURES}

    def rows() -> Iterator[tuple[Place, Member, Hashable]]:
        for roster, groups, part in zip(order.rosters, layout.groups, bills, strict=True):
            ones = np.ones(roster.slots, dtype=object)
            parts = (ones, part.energy_wh, part.bills.totals_fen)
            for totals, values in zip(sums.values(), parts, strict=True):
                for number in np.unique(groups[groups >= 0]).tolist():
                    added = sum(map(int, values[groups == number]))
                    totals[number] = totals.get(number, 0) + added
            yield from billed_rows(roster, start=order.start, end=order.end, tariff=part.tariff)

    sets = cell_sets(rows())
    withheld = {
        place: found.list_withheld() | ordered.get(place, NO_MEASURES)
        for place, found in sets.items()
    }
    cells: list[CellTotal] = []
    for measure, totals in sums.items():
        cells += cells_of(
            layout,
            totals,
            span=(order.start, order.end),
            measure=measure,
            withheld={place for place, measures in withheld.items() if measure in measures},
        )
    return cells


def billed_rows(
    roster: RosterManifest, *, start: str, end: str, tariff: Tariff
) -> Iterator[tuple[Place, Member, Hashable]]:
    """Every slot's cell and member, and what its money depends on: for `cells.cell_sets`."""
    keys = money_keys(roster, tariff=tariff, period=billing_period(start, end, tariff=tariff))
    return zip(roster_places(roster), roster_members(roster), keys, strict=True)


def cells_of(
    layout: CellLayout,
    totals: Mapping[int, int],
    *,
    span: tuple[str, str],
    measure: str,
    withheld: Collection[Place] = (),
) -> list[CellTotal]:
    """Released cells with their totals; suppressed and withheld ones without.

    Args:
        totals: By cell number.
        withheld: Cells whose total is not given out.
    """
    return [
        CellTotal(
            zone=cell.zone,
            customer_class=cell.customer_class,
            start=span[0],
            end=span[1],
            measure=measure,
            members=cell.members,
            value=str(totals[number])
            if cell.is_released and (cell.zone, cell.customer_class) not in withheld
            else None,
        )
        for number, cell in enumerate(layout.cells)
    ]
