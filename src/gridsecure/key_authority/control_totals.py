"""Control totals: what a release of bills says of each cell, and nothing of small ones."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridsecure.billing.bills import Bills
from gridsecure.errors import InvalidMessageError
from gridsecure.key_authority.dominance import CellShares
from gridsecure.key_authority.packages import CheckedBills, minima_of, withheld_measures
from gridsecure.messages import DOMINANCE, CellTotal, RosterManifest
from gridsecure.plans.cells import (
    ALL_MEASURES,
    ENERGY,
    MEASURES,
    MONEY,
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
from gridsecure.plans.merging import Merged, merge_cells
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
    of their money are, is looked at here again. Where policy limits how much of a cell one customer
    may be, that is looked at here alone.

    Args:
        bills: By roster; taken one after the other, and not kept. No meter point is in two of them
            (`CountedOnce`).
    """
    own: dict[Place, CellCrowds] = defaultdict(CellCrowds)
    shares: dict[Place, CellShares] = defaultdict(partial(CellShares, order.customer_points))
    sums = {measure: Counter[Place]() for measure in MEASURES}
    for roster, part in bills:
        rows = billed_rows(roster, start=order.start, end=order.end, tariff=part.tariff)
        values = zip(part.energy_wh, part.bills.totals_fen, strict=True)
        for (place, member, key), (energy_wh, amount_fen) in zip(rows, values, strict=True):
            own[place].add(member, key)
            for measure, value in zip(MEASURES, (1, energy_wh, amount_fen), strict=True):
                sums[measure][place] += int(value)
            if order.dominance:
                bill = {"energy_wh": int(energy_wh), "amount_fen": int(amount_fen)}
                shares[place].add(member, key, **bill)
    return _told_cells(order, own, sums, shares=shares)


def _told_cells(
    order: CheckedBills,
    own: Mapping[Place, CellCrowds],
    sums: Mapping[str, Mapping[Place, int]],
    *,
    shares: Mapping[Place, CellShares],
) -> list[CellTotal]:
    """The cells that zones and classes make, with what may be told of them.

    Args:
        own: Who is in each zone and class.
        sums: By measure and place.
        shares: What customers have of each zone and class, where policy limits it.
    """
    merged = merge_cells({p: one.cell for p, one in own.items()}, minima=minima_of(order))
    crowds: dict[Place, CellCrowds] = defaultdict(CellCrowds)
    for place, one in own.items():
        crowds[merged.into[place]].add_all(one)
    ordered = withheld_measures(order.withheld)
    found = {
        place: crowds[place].list_withheld(minima=merged.minima[place]) for place in sorted(crowds)
    }
    withheld = {place: few | ordered.get(place, NO_MEASURES) for place, few in found.items()}
    above = _list_above(merged, shares, withheld)
    layout = [
        Cell(*place, members=len(crowds[place].cell), is_released=few != ALL_MEASURES)
        for place, few in found.items()
    ]
    cells: list[CellTotal] = []
    for measure, totals in sums.items():
        of_cells = merged.total(totals)
        cells += cells_of(
            layout,
            {number: of_cells[place] for number, place in enumerate(found)},
            span=(order.start, order.end),
            measure=measure,
            withheld={place for place, some in withheld.items() if measure in some},
            above={place for place, some in above.items() if measure in some},
        )
    return cells


def _list_above(
    merged: Merged,
    shares: Mapping[Place, CellShares],
    withheld: Mapping[Place, frozenset[str]],
) -> dict[Place, frozenset[str]]:
    """By cell, the measures that are withheld because one customer may be above the limit.

    Nothing is looked at of a cell whose energy and money are withheld in any case: it would say of
    its customers what nobody is told.

    Args:
        withheld: The measures of each cell that are withheld in any case.
    """
    joint: dict[Place, CellShares] = {}
    for place, own in shares.items():
        cell = merged.into[place]
        if not withheld[cell] >= {ENERGY, MONEY}:
            joint.setdefault(cell, CellShares(own.points)).add_all(own)
    return {
        cell: own.list_withheld(limit, tells_money=MONEY not in withheld[cell]) - withheld[cell]
        for cell, own in joint.items()
        if (limit := merged.limits.get(cell)) is not None
    }


def _packed(pseudonyms: Sequence[str]) -> NDArray[np.bytes_]:
    """Pseudonyms in 32 bytes each: they are all that is kept of a meter point."""
    try:
        return np.frombuffer(bytes.fromhex("".join(pseudonyms)), dtype="S32")
    except ValueError as error:
        raise InvalidMessageError("A roster names what is no pseudonym.") from error


class CountedOnce:
    """The meter points of an order, 32 bytes each, as its rosters come.

    A meter point in two rosters would make its cell look larger than it is.
    """

    def __init__(self) -> None:
        self._known: list[NDArray[np.bytes_]] = []

    def count(self, pseudonyms: Sequence[str]) -> None:
        """Count the members of a roster; to be asked before anything of it is decrypted.

        Raises:
            InvalidMessageError: One was counted before (`vault.twice`), or is no pseudonym.
        """
        new = np.sort(_packed(pseudonyms))
        if (new[1:] == new[:-1]).any() or any(_shares(own, new) for own in self._known):
            raise InvalidMessageError(
                "An order has a meter point in two of its rosters.", reason="vault.twice"
            )
        self._known.append(new)
        # Few arrays, each larger than the one after it: every name is merged a few times at most.
        while len(self._known) > 1 and len(self._known[-2]) <= len(self._known[-1]):
            merged = np.concatenate([self._known.pop(), self._known.pop()])
            merged.sort(kind="stable")
            self._known.append(merged)


def _shares(known: NDArray[np.bytes_], new: NDArray[np.bytes_]) -> bool:
    """Whether two sorted arrays share a name."""
    places = np.minimum(np.searchsorted(known, new), len(known) - 1)
    return bool(len(known)) and bool((known[places] == new).any())


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
    above: Collection[Place] = (),
) -> list[CellTotal]:
    """Released cells with their totals; suppressed and withheld ones without.

    Args:
        totals: By cell number.
        withheld: Cells whose total is not given out.
        above: Nor is that of these, in which one customer may be above the limit.
    """
    refused = {*withheld, *above}
    return [
        CellTotal(
            zone=cell.zone,
            customer_class=cell.customer_class,
            start=span[0],
            end=span[1],
            measure=measure,
            members=cell.members,
            value=str(totals[number])
            if cell.is_released and (cell.zone, cell.customer_class) not in refused
            else None,
            withheld_by=DOMINANCE if (cell.zone, cell.customer_class) in above else "",
        )
        for number, cell in enumerate(cells)
    ]
