"""Control totals: what a release of bills says of each cell, and nothing of small ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridsecure.billing.bills import Bills
from gridsecure.billing.charges import REGISTER, TIER_PART, TOTAL
from gridsecure.key_authority.packages import CheckedBills
from gridsecure.messages import CellTotal
from gridsecure.plans.load_curve import CellLayout, cell_layout


def billed_energy(bills: Bills) -> NDArray[Any]:
    """Energy a bill stands for [Wh]: its registers, or its total, or the sum of its tiers."""
    by_basis: dict[str, dict[object, int]] = {}
    for line, rule in enumerate(bills.rules):
        by_basis.setdefault(rule.basis, {}).setdefault(rule.tou_period or rule.tier, line)
    lines = by_basis.get(REGISTER) or by_basis.get(TOTAL) or by_basis.get(TIER_PART, {})
    energy: NDArray[Any] = bills.quantities[list(lines.values())].sum(axis=0)
    return energy


def control_totals(order: CheckedBills, bills: Sequence[Bills]) -> list[CellTotal]:
    """Number of bills, energy and money of every cell large enough."""
    layout = cell_layout(order.rosters)
    measures = {
        "bills": [np.ones(roster.slots, dtype=object) for roster in order.rosters],
        "energy_wh": [billed_energy(part) for part in bills],
        "amount_fen": [part.totals_fen for part in bills],
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
