"""Control totals: what a release of bills says of each cell, and nothing of small ones."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridsecure.billing.bills import Bills
from gridsecure.errors import InvalidMessageError
from gridsecure.key_authority.packages import CheckedBills, withheld_measures
from gridsecure.messages import CellTotal, RosterManifest
from gridsecure.plans.cells import (
    ALL_MEASURES,
    MEASURES,
    NO_MEASURES,
    CellCrowds,
    Member,
    Place,
    money_keys,
    roster_members,
    roster_places,
)
from gridsecure.plans.execution import billing_period
from gridsecure.plans.load_curve import Cell
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


def total_cells(
    order: CheckedBills, bills: Iterable[tuple[RosterManifest, RosterBills]]
) -> list[CellTotal]:
    """Number of bills, energy and money of every cell that they may be told of.

    The checker knows what was told before and says so in the order; how large cells and the parts
    of their money are, is looked at here again.

    Args:
        bills: By roster; taken one after the other, and not kept.

    Raises:
        InvalidMessageError: A meter point is in two rosters, so that its cell looks larger than it
            is (`vault.twice`).
    """
    crowds: dict[Place, CellCrowds] = defaultdict(CellCrowds)
    sums = {measure: Counter[Place]() for measure in MEASURES}
    names: list[NDArray[np.bytes_]] = []
    for roster, part in bills:
        names.append(_packed(roster.pseudonyms))
        rows = billed_rows(roster, start=order.start, end=order.end, tariff=part.tariff)
        values = zip(part.energy_wh, part.bills.totals_fen, strict=True)
        for (place, member, key), (energy_wh, amount_fen) in zip(rows, values, strict=True):
            crowds[place].add(member, key)
            for measure, value in zip(MEASURES, (1, energy_wh, amount_fen), strict=True):
                sums[measure][place] += int(value)
    _check_counted_once(names)
    ordered = withheld_measures(order.withheld)
    found = {place: crowds[place].list_withheld() for place in sorted(crowds)}
    layout = [
        Cell(*place, members=len(crowds[place].cell), is_released=own != ALL_MEASURES)
        for place, own in found.items()
    ]
    cells: list[CellTotal] = []
    for measure, totals in sums.items():
        cells += cells_of(
            layout,
            {number: totals[place] for number, place in enumerate(found)},
            span=(order.start, order.end),
            measure=measure,
            withheld={
                place
                for place, own in found.items()
                if measure in own | ordered.get(place, NO_MEASURES)
            },
        )
    return cells


def _packed(pseudonyms: Sequence[str]) -> NDArray[np.bytes_]:
    """Pseudonyms in 32 bytes each: they are all that is kept of a meter point."""
    try:
        return np.frombuffer(bytes.fromhex("".join(pseudonyms)), dtype="S32")
    except ValueError as error:
        raise InvalidMessageError("A roster names what is no pseudonym.") from error


def _check_counted_once(names: Sequence[NDArray[np.bytes_]]) -> None:
    packed = np.concatenate([np.empty(0, dtype="S32"), *names])
    packed.sort()
    if (packed[1:] == packed[:-1]).any():
        raise InvalidMessageError(
            "An order has a meter point in two of its rosters.", reason="vault.twice"
        )


def billed_rows(
    roster: RosterManifest, *, start: str, end: str, tariff: Tariff
) -> Iterator[tuple[Place, Member, Hashable]]:
    """Every slot's cell and member, and what its money depends on: for `cells.cell_sets`."""
    keys = money_keys(roster, tariff=tariff, period=billing_period(start, end, tariff=tariff))
    return zip(roster_places(roster), roster_members(roster), keys, strict=True)


def cells_of(
    cells: Iterable[Cell],
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
        for number, cell in enumerate(cells)
    ]
