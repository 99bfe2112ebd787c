"""Control totals: what a release of bills says of each cell, and nothing of small ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridsecure.billing.bills import Bills
from gridsecure.billing.tariffs import Tariff
from gridsecure.key_authority.packages import CheckedBills
from gridsecure.messages import CellTotal
from gridsecure.plans.load_curve import CellLayout, cell_layout


@dataclass(frozen=True, slots=True, eq=False)
class RosterBills:
    """A roster's bills, and the energy each stands for.

    Args:
        bills: The bills by pseudonym.
        energy_wh: Energy by slot [Wh].
        tariff: What they were billed with.
    """

    bills: Bills
    energy_wh: NDArray[Any]
    tariff: Tariff


def control_totals(order: CheckedBills, bills: Sequence[RosterBills]) -> list[CellTotal]:
    """Number of bills, energy and money of every cell large enough."""
    layout = cell_layout(order.rosters)
    measures = {
        "bills": [np.ones(roster.slots, dtype=object) for roster in order.rosters],
        "energy_wh": [part.energy_wh for part in bills],
        "amount_fen": [part.bills.totals_fen for part in bills],
    }
    cells: list[CellTotal] = []
    for measure, parts in measures.items():
        totals: dict[int, int] = {}
        for groups, values in zip(layout.groups, parts, strict=True):
            for number in np.unique(groups[groups >= 0]).tolist():
                added = sum(map(int, values[groups == number]))
                totals[number] = totals.get(number, 0) + added
        cells += cells_of(layout, totals, start=order.start, end=order.end, measure=measure)
    return cells


def cells_of(
    layout: CellLayout, totals: Mapping[int, int], *, start: str, end: str, measure: str
) -> list[CellTotal]:
    """Released cells with their totals, and suppressed ones without."""
    return [
        CellTotal(
            zone=cell.zone,
            customer_class=cell.customer_class,
            start=start,
            end=end,
            measure=measure,
            members=cell.members,
            value=str(totals[number]) if cell.is_released else None,
        )
        for number, cell in enumerate(layout.cells)
    ]
