"""Bills that are still to be released: a question never costs one of their cells its number.

What was told first stands, and what is told later is looked at beside it. So a question that was
asked before a month's bills were released, about a cell less five, would have that cell withheld
from the utility's own release, for good. Whoever wants to spoil a release would only have to ask
early. So of each closing list whose bills are not released yet it is worked out which cells they
would tell of now, and which beside the question; a group that costs one is withheld.

Load curves are ordered by whoever wants them, and nothing is kept free for those.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import Session

from gridsecure.key_authority.checker.ledger import (
    OF_MONTH,
    Basis,
    KnownSet,
    Withheld,
    withhold_beside,
)
from gridsecure.key_authority.checker.queried_uploads import QueriedData
from gridsecure.key_authority.checker.tables import ClaimRow
from gridsecure.key_authority.checker.verification import bill_claim
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.key_authority.control_totals import billed_rows
from gridsecure.messages import Digest
from gridsecure.plans.cells import (
    NO_MEASURES,
    CellSets,
    Minima,
    Place,
    cell_sets,
    roster_members,
    roster_places,
)
from gridsecure.plans.execution import RosterData
from gridsecure.plans.merging import Merged, gather_crowds, merge_cells
from gridsecure.plans.purposes import BILLING
from gridsecure.plans.sealed_days import is_sealed_day
from gridsecure.store.rows import find_many
from gridsecure.tariffs.tariff import Tariff, parse_tariff

_FEW: Final = 20
"""Sets of which it is worth finding out which hang together with a question."""


@dataclass(frozen=True, slots=True, eq=False)
class ComingBills:
    """The cells of one closing list's bills."""

    sets: Mapping[Place, CellSets]
    merged: Merged
    basis: Basis

    def withheld(self, known: Iterable[KnownSet], *, only: Container[Place] = ()) -> Withheld:
        """What of them would be withheld beside some sets.

        Args:
            only: The cells that are looked at, with all that hang together with them; by default
                all.
        """
        own = {place: sets for place, sets in self.sets.items() if not only or place in only}
        # All at once first, which is what most questions leave possible, and takes one look.
        return withhold_beside(known, own, merged=self.merged, basis=self.basis, most=len(own))

    def are_harmed(self, known: Sequence[KnownSet], more: Sequence[KnownSet]) -> bool:
        """Whether something of them is withheld for sets that are told besides."""
        only = self._reached(known, more)
        after = self.withheld([*known, *more], only=only) if only else {}
        before = self.withheld(known, only=only) if after else {}
        return any(own - before.get(place, NO_MEASURES) for place, own in after.items())

    def _reached(self, known: Sequence[KnownSet], more: Sequence[KnownSet]) -> set[Place]:
        """The cells that hang together with some sets; of very many known sets, any may."""
        if len(known) > _FEW:
            return set(self.sets)
        cells = {place: sets.cell for place, sets in self.sets.items()}
        left = [one.told.members for one in known]
        reached, found = [one.told.members for one in more], set[Place]()
        while reached:
            own = reached.pop()
            met = [place for place, cell in cells.items() if not cell.isdisjoint(own)]
            reached += [cells.pop(place) for place in met]
            reached += [members for members in left if not members.isdisjoint(own)]
            left = [members for members in left if members.isdisjoint(own)]
            found.update(met)
        return found


def find_coming(
    session: Session, zone: AuthorityZone, queried: QueriedData
) -> tuple[ComingBills, ...]:
    """The bills of a period that were closed and not released yet.

    Of a sealed day these are its month's, taken to be about who is in the day's rosters.
    """
    minima = zone.find_minima(BILLING, resolution="monthly")
    tariffs = {name: parse_tariff(text) for name, text in queried.tariff_texts.items()}
    return tuple(
        _lay_out(own.values(), tariffs, minima=minima)
        for own in queried.lists
        if len(find_many(session, ClaimRow, list(map(bill_claim, own)), by="claim")) < len(own)
    )


def find_harming(
    coming: Iterable[ComingBills],
    known: Sequence[KnownSet],
    told: Mapping[int, Sequence[KnownSet]],
    *,
    most: int,
) -> set[int]:
    """The groups of a question that may not be told, for the sake of bills that are to come.

    Args:
        known: What was told of the period.
        told: What would be told of each group.
        most: How many groups are looked at one by one where not all may be told.
    """
    harming = set[int]()
    for bills in coming:
        left = {number: sets for number, sets in told.items() if number not in harming}
        if not bills.are_harmed(known, [one for sets in left.values() for one in sets]):
            continue
        if len(left) > most:
            return set(told)
        beside = list(known)
        for number, sets in left.items():
            if bills.are_harmed(beside, sets):
                harming.add(number)
            else:
                beside += sets
    return harming


def _lay_out(
    datas: Iterable[RosterData], tariffs: Mapping[Digest, Tariff], *, minima: Minima
) -> ComingBills:
    found = list(datas)
    merged = merge_cells(
        gather_crowds(
            seat
            for data in found
            for seat in zip(roster_places(data.roster), roster_members(data.roster), strict=True)
        ),
        minima=minima,
    )
    rows = (
        row
        for data in found
        for row in billed_rows(data.roster, **_span(data), tariff=tariffs[data.roster.tariff])
    )
    is_of_day = any(is_sealed_day(data.upload) for data in found)
    basis = OF_MONTH if is_of_day else Basis.of(found)
    return ComingBills(cell_sets(rows, into=merged.into), merged, basis)


def _span(data: RosterData) -> dict[str, str]:
    """Start and end of the month that is billed."""
    if data.month is None:
        return {"start": data.upload.start, "end": data.upload.end}
    moments: dict[str, datetime] = {"start": data.month.start, "end": data.month.end}
    return {name: moment.isoformat() for name, moment in moments.items()}
