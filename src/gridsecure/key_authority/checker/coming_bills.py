"""Bills that are still to be released: a question never costs one of their cells its number.

What was told first stands, and what is told later is looked at beside it. So a question that was
asked before a month's bills were released, about a cell less five, would have that cell withheld
from the utility's own release, for good. Whoever wants to spoil a release would only have to ask
early. So of each closing list whose bills are not released yet it is worked out which cells they
would tell of now, and which beside the question; a group that costs one is withheld.

Load curves are ordered by whoever wants them, and nothing is kept free for those.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain
from typing import Final

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, select

from gridsecure.key_authority.checker.ledger import (
    OF_MONTH,
    Basis,
    KnownSet,
    Period,
    Withheld,
    withhold_beside,
)
from gridsecure.key_authority.checker.queried_uploads import QueriedData
from gridsecure.key_authority.checker.tables import (
    ClaimRow,
    CohortRow,
    ListedSeatRow,
)
from gridsecure.key_authority.checker.verification import bill_claim
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.key_authority.control_totals import billed_rows
from gridsecure.messages import Digest
from gridsecure.plans.cells import (
    NAME,
    NO_MEASURES,
    CellSets,
    Members,
    Minima,
    Place,
    cell_sets,
    join_names,
    roster_members,
    roster_places,
    thin,
)
from gridsecure.plans.execution import RosterData
from gridsecure.plans.merging import Merged, gather_crowds, merge_cells
from gridsecure.plans.purposes import BILLING
from gridsecure.plans.sealed_days import is_sealed_day
from gridsecure.store.rows import find_many
from gridsecure.tariffs.tariff import Tariff, parse_tariff

_Joint = tuple[Members, ...]
"""Members that hang together, whoever is in them."""
_ROUNDS: Final = 8
"""How often it is looked for what hangs together with what was found."""


@dataclass(frozen=True, slots=True, eq=False)
class ComingBills:
    """The cells of one closing list's bills."""

    sets: Mapping[Place, CellSets]
    merged: Merged
    basis: Basis

    def withheld(
        self, known: Iterable[KnownSet], *, only: Iterable[Place] | None = None
    ) -> Withheld:
        """What of them would be withheld beside some sets.

        Args:
            only: The cells that are looked at, with all that hang together with them; by default
                all.
        """
        own = {place: self.sets[place] for place in (self.sets if only is None else only)}
        # All at once first, which is what most questions leave possible, and takes one look.
        return withhold_beside(known, own, merged=self.merged, basis=self.basis, most=len(own))

    def find_harming(
        self, known: Sequence[KnownSet], told: Mapping[int, Sequence[KnownSet]], *, most: int
    ) -> Iterator[int]:
        """The groups of a question that would cost one of them a number, as `find_harming`."""
        for whole in self._divide(known, told):
            bills, company = self._thin(whole)
            everything = [one for sets in company.told.values() for one in sets]
            beside = company.known
            if not bills.is_harmed(company, beside, everything):
                continue
            if len(everything) > most:
                yield from company.told
                continue
            for number, sets in company.told.items():
                if bills.is_harmed(company, beside, sets):
                    yield number
                else:
                    beside += sets

    def _thin(self, company: _Company) -> tuple[ComingBills, _Company]:
        """Both with as few members as decide the same, since they are looked at many times."""
        cells = {place: self.sets[place] for place in company.cells}
        known = [*company.known, *chain(*company.told.values())]
        sets = [
            *chain(*((own.cell, *own.parts) for own in cells.values())),
            *(one.told.members for one in known),
            *self.basis.changed.values(),
        ]
        silent = (m for own in cells.values() for m in own.cell if m.name in self.basis.silent)
        minima = chain(
            *(self.merged.minima[place].values() for place in cells),
            (one.told.minimum for one in known),
        )
        left = thin([*sets, frozenset(silent)], most=max(minima))
        bills = ComingBills(
            {
                p: CellSets(left[own.cell], tuple(left[part] for part in own.parts))
                for p, own in cells.items()
            },
            self.merged,
            replace(self.basis, changed={p: left[own] for p, own in self.basis.changed.items()}),
        )
        return bills, _Company(
            company.cells,
            [_thinned(left, one) for one in company.known],
            {number: [_thinned(left, one) for one in own] for number, own in company.told.items()},
        )

    def is_harmed(
        self, company: _Company, known: Sequence[KnownSet], more: Sequence[KnownSet]
    ) -> bool:
        """Whether a number of its cells is withheld for sets that are told besides."""
        after = self.withheld([*known, *more], only=company.cells)
        before = self.withheld(known, only=company.cells) if after else {}
        return any(own - before.get(place, NO_MEASURES) for place, own in after.items())

    def _divide(
        self, known: Sequence[KnownSet], told: Mapping[int, Sequence[KnownSet]]
    ) -> list[_Company]:
        """The groups with all that hangs together with them; those in no cell are left out."""
        cells, left = list(self.sets), list(known)
        sets = [*((own.cell,) for own in self.sets.values()), *((k.told.members,) for k in left)]
        groups = [tuple(one.told.members for one in own) for own in told.values()]
        near = sorted(_find_near(sets, groups))
        joined = iter(join_names([_names(own) for own in (*(sets[n] for n in near), *groups)]))
        found: dict[int, _Company] = defaultdict(_Company)
        for number in near:
            company = found[next(joined)]
            if number < len(cells):
                company.cells.append(cells[number])
            else:
                company.known.append(left[number - len(cells)])
        for name, own in told.items():
            found[next(joined)].told[name] = own
        return [company for company in found.values() if company.cells and company.told]


@dataclass(frozen=True, slots=True, eq=False)
class _Company:
    """Cells of bills, known sets and groups of a question that hang together."""

    cells: list[Place] = field(default_factory=list)
    known: list[KnownSet] = field(default_factory=list)
    told: dict[int, Sequence[KnownSet]] = field(default_factory=dict)


def _thinned(left: Mapping[Members, Members], one: KnownSet) -> KnownSet:
    return one._replace(told=one.told._replace(members=left[one.told.members]))


def _find_near(sets: Sequence[_Joint], groups: Iterable[_Joint]) -> set[int]:
    """Which sets hang together with a group, and perhaps others, where it takes long to find out.

    To join all sets of a city takes some 2 s a million members, and to look for names 0.1 s.
    """
    reached = {name for own in groups for name in _names(own)}
    left, found = dict(enumerate(sets)), set[int]()
    for _ in range(_ROUNDS):
        met = [n for n, own in left.items() if not reached.isdisjoint(_names(own))]
        if not met:
            return found
        found.update(met)
        reached = {name for number in met for name in _names(left.pop(number))}
    return found | left.keys()


def _names(own: _Joint) -> Iterator[str]:
    return map(NAME, chain(*own))


def find_billed(session: Session, queried: QueriedData) -> frozenset[Digest]:
    """The uploads of a period whose bills were released: of its lists, or of a sealed day's month.

    It changes whenever what `find_coming` gives does.
    """
    uploads = {name for own in queried.lists for name in own}
    if _is_of_days(queried):
        uploads.update(session.exec(select(CohortRow.upload).where(*_of_month(queried.period))))
    claims = {bill_claim(name): name for name in uploads}
    found = find_many(session, ClaimRow, list(claims), by="claim")
    return frozenset(claims[claim] for claim in found)


def find_coming(
    session: Session, zone: AuthorityZone, queried: QueriedData, *, billed: Container[Digest]
) -> tuple[ComingBills, ...]:
    """The bills of a period that were closed and not released yet.

    Of a sealed day these are its month's, taken to be about who is in the day's rosters, but for
    those whom released bills of the month are about: the month has uploads of its own.

    Args:
        billed: What `find_billed` gives.
    """
    minima = zone.find_minima(BILLING, resolution="monthly")
    tariffs = {name: parse_tariff(text) for name, text in queried.tariff_texts.items()}
    left = [own for own in queried.lists if any(name not in billed for name in own)]
    names = _read_billed(session, queried, billed) if left and _is_of_days(queried) else frozenset()
    found = (_lay_out(own.values(), tariffs, minima=minima, without=names) for own in left)
    return tuple(bills for bills in found if bills.sets)


def _is_of_days(queried: QueriedData) -> bool:
    return any(is_sealed_day(data.upload) for own in queried.lists for data in own.values())


def _of_month(period: Period) -> tuple[ColumnElement[bool], ...]:
    """Which cohorts are of a month itself and not of its days."""
    return (
        ~col(CohortRow.by_day),
        col(CohortRow.domain) == period.domain,
        col(CohortRow.start_at) == period.start_at,
        col(CohortRow.end_at) == period.end_at,
    )


def _read_billed(
    session: Session, queried: QueriedData, billed: Container[Digest]
) -> frozenset[str]:
    """The pseudonyms that released bills of the month are about."""
    rows = select(ListedSeatRow.pseudonym, CohortRow.upload).join(
        CohortRow, col(CohortRow.seats) == col(ListedSeatRow.seats)
    )
    found = session.exec(rows.where(*_of_month(queried.period)))
    return frozenset(name for name, upload in found if upload in billed)


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
        most: How many sets that hang together, also over cells of the bills and what was told
            before, are looked at one by one where not all may be told; of more, none is told.
    """
    harming = set[int]()
    for bills in coming:
        left = {number: sets for number, sets in told.items() if number not in harming}
        harming.update(bills.find_harming(known, left, most=most))
    return harming


def _lay_out(
    datas: Iterable[RosterData],
    tariffs: Mapping[Digest, Tariff],
    *,
    minima: Minima,
    without: Container[str],
) -> ComingBills:
    found = list(datas)
    merged = merge_cells(
        gather_crowds(
            seat
            for data in found
            for seat in zip(roster_places(data.roster), roster_members(data.roster), strict=True)
            if seat[1].name not in without
        ),
        minima=minima,
    )
    rows = (
        row
        for data in found
        for row in billed_rows(data.roster, **_span(data), tariff=tariffs[data.roster.tariff])
        if row[1].name not in without
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
