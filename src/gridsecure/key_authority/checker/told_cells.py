"""What a request would tell of its cells, and what of it is withheld: looked at before the vault.

Everything is looked at again when the certificate is kept (`ledger.enter`); what passes here and
fails there met another request at work.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import NamedTuple

from gridsecure.errors import ReleaseRefusedError
from gridsecure.key_authority.checker.correction_proofs import ProvenCorrection
from gridsecure.key_authority.checker.ledger import (
    Basis,
    Giving,
    Period,
    Withheld,
    bind,
    check_claims,
    check_counted_once,
    check_overlap,
    find_withheld_cells,
)
from gridsecure.key_authority.checker.verification import LOAD_CURVE_PREFIX, Proven, curve_subject
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.key_authority.compared_bills import list_corrected_rows
from gridsecure.key_authority.control_totals import billed_rows
from gridsecure.messages import CellTotal, RosterManifest
from gridsecure.plans.cells import (
    ALL_MEASURES,
    ENERGY,
    NO_MEASURES,
    WHOLE,
    CellSets,
    Crowd,
    Member,
    Minima,
    Place,
    ToldSet,
    cell_sets,
    roster_members,
    roster_places,
)
from gridsecure.plans.execution import RosterData
from gridsecure.plans.merging import Merged, gather_crowds, merge_cells
from gridsecure.store.database import read_session, write_session
from gridsecure.tariffs.tariff import parse_tariff


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A request that may be decrypted.

    Args:
        withheld: What the vault is told to keep to itself.
        minima: What policy permits of it.
        counted: The zones and classes that it is about, by what was counted of them.
        merged: The cells that they make.
        datas: The uploads that were looked at, told of or not.
        limited: The cells that are withheld for the policy's limit of dominance alone.
    """

    giving: Giving
    withheld: Withheld
    minima: Minima
    counted: Mapping[Place, Crowd]
    merged: Merged
    datas: tuple[RosterData, ...] = ()
    limited: frozenset[Place] = frozenset()


def prepare_bills(
    zone: AuthorityZone,
    parts: Sequence[Proven],
    *,
    tariffs: Mapping[str, str],
    minima: Minima,
    at: datetime,
) -> Prepared:
    """Look at the bills of some rosters, which are all claimed and issued whatever is withheld.

    Raises:
        ReleaseRefusedError: As `ledger.check_claims` and `ledger.check_overlap`.
        StorageError: The ledger cannot be read.
    """
    parsed = {digest: parse_tariff(text) for digest, text in tariffs.items()}
    crowds, merged = _merge(parts, minima=minima)
    sets = cell_sets(
        (
            row
            for part in parts
            for data in part.datas
            for row in billed_rows(
                data.roster,
                start=data.upload.start,
                end=data.upload.end,
                tariff=parsed[data.roster.tariff],
            )
        ),
        into=merged.into,
    )
    basis = _basis(parts)
    looked = _looked_at(zone, parts, sets, merged=merged, basis=basis, at=at)
    claims = {name: part.digest for part in parts for name in part.claims}
    told = _told(sets, looked.withheld, merged=merged)
    giving = Giving(claims, _datas(parts), _period(parts), told, basis)
    return Prepared(giving, looked.withheld, minima, crowds, merged, limited=looked.limited)


def settle_dominance(prepared: Prepared, cells: Iterable[CellTotal]) -> Prepared:
    """What bills tell of once the vault has compared the customers of each cell.

    Of a cell of which it withheld energy the ledger keeps nothing, so that no set is ever thought
    to have kept the limit; of one of which it withheld money alone, the cell without its parts.

    Args:
        cells: As the vault answered.
    """
    above: dict[Place, set[str]] = defaultdict(set)
    for cell in cells:
        if cell.withheld_by:
            above[cell.zone, cell.customer_class].add(cell.measure)
    told = dict(prepared.giving.told)
    for place, measures in above.items():
        sets = told.pop(place, ())
        if sets and ENERGY not in measures:
            told[place] = sets[:1]
    return replace(prepared, giving=replace(prepared.giving, told=told))


def prepare_load_curve(
    zone: AuthorityZone,
    part: Proven,
    *,
    minima: Minima,
    before: Prepared | None = None,
    at: datetime,
) -> Prepared:
    """Look at a day of load curves. Uploads without a member in a told cell are not claimed.

    Args:
        before: The same request's day before. Days of the same uploads would tell of the same
            members, so their cells are looked at once; what another request told meanwhile is met
            when the certificate is kept.

    Raises:
        ReleaseRefusedError, StorageError: As `prepare_bills`.
    """
    if before is None or before.datas is not part.datas or before.minima != minima:
        before = _look_at_curves(zone, part, minima=minima, at=at)
    else:
        with write_session(zone.engine) as session:
            check_claims(session, [part])
            bind(session, [part], at=at)
    given = {curve_subject(upload, data) for upload, data in before.giving.datas.items()}
    claims = {
        name: part.digest
        for name in part.claims
        if not name.startswith(LOAD_CURVE_PREFIX) or name.split("/")[1] in given
    }
    return replace(before, giving=replace(before.giving, claims=claims))


def _look_at_curves(zone: AuthorityZone, part: Proven, *, minima: Minima, at: datetime) -> Prepared:
    """The cells that load curves of some uploads would tell of, and nothing claimed yet."""
    crowds, merged = _merge([part], minima=minima)
    sets = cell_sets(
        ((place, member, None) for place, member in _seated(part.rosters)), into=merged.into
    )
    basis = replace(_basis([part]), is_compared=False)
    looked = _looked_at(zone, [part], sets, merged=merged, basis=basis, at=at)
    told = _told(sets, looked.withheld, merged=merged)
    given = {
        digest: data
        for digest, data in _datas([part]).items()
        if not told.keys().isdisjoint(merged.into[p] for p in roster_places(data.roster))
    }
    giving = Giving({}, given, _period([part]), told, basis)
    datas, limited = part.datas, looked.limited
    return Prepared(giving, looked.withheld, minima, crowds, merged, datas, limited)


def _merge(parts: Sequence[Proven], *, minima: Minima) -> tuple[dict[Place, Crowd], Merged]:
    """Who is in each zone and class of some uploads, and the cells that they make."""
    crowds = gather_crowds(_seated(roster for part in parts for roster in part.rosters))
    return crowds, merge_cells(crowds, minima=minima)


def _seated(rosters: Iterable[RosterManifest]) -> Iterator[tuple[Place, Member]]:
    for roster in rosters:
        yield from zip(roster_places(roster), roster_members(roster), strict=True)


def prepare_corrections(
    zone: AuthorityZone,
    parts: Sequence[ProvenCorrection],
    *,
    tariffs: Mapping[str, str],
    minima: Minima,
    at: datetime,
) -> Prepared:
    """Look at corrections: differences over the corrected members of each cell.

    What they correct is bound to them, so that no other is ever previewed or released beside them.
    Of cells with a limit of dominance nothing is told: one customer may be above it in the new
    bills of a cell, which the bills before and the difference give, and nobody compares those.

    Raises:
        ReleaseRefusedError, StorageError: As `prepare_bills`.
    """
    check_counted_once(part.data.roster for part in parts)
    parsed = {digest: parse_tariff(text) for digest, text in tariffs.items()}
    rows = [
        row
        for part in parts
        for row in list_corrected_rows(
            (part.before.roster, parsed[part.before.roster.tariff]),
            (part.data.roster, parsed[part.data.roster.tariff]),
            slots=part.data.upload.corrected_slots,
            span=(part.data.upload.start, part.data.upload.end),
        )
    ]
    crowds = gather_crowds((place, member) for place, member, _ in rows)
    merged = merge_cells(crowds, minima=minima)
    sets = cell_sets(rows, into=merged.into)
    proofs = [part.after for part in parts]
    # A preview may come before the bills that it is about.
    basis = Basis.of(part.before for part in parts)
    with read_session(zone.engine) as session:
        check_claims(session, proofs)
        withheld = find_withheld_cells(
            session, sets, period=_period(proofs), merged=merged, basis=basis
        )
    moved = _moved_corrections(parts, merged=merged)
    withheld |= dict.fromkeys((*merged.limits, *moved), ALL_MEASURES)
    with write_session(zone.engine) as session:
        bind(session, proofs, at=at)
    claims = {name: part.digest for part in proofs for name in part.claims}
    told = _told(sets, withheld, merged=merged)
    giving = Giving(claims, {}, _period(proofs), told, basis)
    return Prepared(giving, withheld, minima, crowds, merged)


class _Looked(NamedTuple):
    """What is withheld, and of that the cells withheld for a limit of dominance alone."""

    withheld: dict[Place, frozenset[str]]
    limited: frozenset[Place]


def _looked_at(
    zone: AuthorityZone,
    parts: Sequence[Proven],
    sets: Mapping[Place, CellSets],
    *,
    merged: Merged,
    basis: Basis,
    at: datetime,
) -> _Looked:
    with read_session(zone.engine) as session:
        check_claims(session, parts)
        check_overlap(session, _datas(parts))
        find = partial(find_withheld_cells, session, sets, period=_period(parts), basis=basis)
        withheld = find(merged=merged)
        limited = frozenset[Place]()
        if any(withheld.get(place) == ALL_MEASURES for place in merged.limits):
            freely = find(merged=replace(merged, limits={}))
            limited = frozenset(
                place
                for place in merged.limits
                if withheld.get(place) == ALL_MEASURES != freely.get(place)
            )
    with write_session(zone.engine) as session:
        bind(session, parts, at=at)
    moved = _moved_cells(_datas(parts).values(), merged=merged)
    return _Looked(withheld | dict.fromkeys(moved, ALL_MEASURES), limited - moved)


def _moved_cells(datas: Iterable[RosterData], *, merged: Merged) -> set[Place]:
    """Cells with somebody whose days were moved by corrected books: of these nothing is told.

    What it used may have been told of under another name, which nobody here knows. So all that is
    told of a month is of the names and days of the books that it was first billed by, which give no
    day to two names.
    """
    found = set()
    for data in datas:
        places = roster_places(data.roster)
        found |= {merged.into[places[slot]] for slot in data.upload.moved_slots}
    return found


def _moved_corrections(parts: Iterable[ProvenCorrection], *, merged: Merged) -> set[Place]:
    """Likewise of differences, to which the bill before and the new one belong."""
    found = set()
    for part in parts:
        places, corrected = roster_places(part.data.roster), set(part.data.upload.corrected_slots)
        moved = {*part.before.upload.moved_slots, *part.data.upload.moved_slots}
        found |= {merged.into[places[slot]] for slot in corrected & moved}
    return found


def _told(
    sets: Mapping[Place, CellSets], withheld: Withheld, *, merged: Merged
) -> dict[Place, tuple[ToldSet, ...]]:
    told = {
        place: cell.list_told(
            withheld.get(place, NO_MEASURES),
            minima=merged.minima[place],
            limit=merged.limits.get(place, WHOLE),
        )
        for place, cell in sets.items()
    }
    return {place: found for place, found in told.items() if found}


def _datas(parts: Sequence[Proven]) -> dict[str, RosterData]:
    return {
        digest: data
        for part in parts
        for digest, data in zip(part.transcript.uploads, part.datas, strict=True)
    }


def _basis(parts: Sequence[Proven]) -> Basis:
    return Basis.of(_datas(parts).values())


def _period(parts: Sequence[Proven]) -> Period:
    """The one period that all of it is of.

    Raises:
        ReleaseRefusedError: Days of rosters whose months begin on different days
            (`release.cycle`): the ledger compares what is told within one period.
    """
    periods = {Period.of(data) for part in parts for data in part.datas}
    if len(periods) != 1:
        raise ReleaseRefusedError(
            "The request is about rosters of different billing cycles.",
            reason="release.cycle",
            remedy="Close and run them apart, one list a cycle: gridsecure period close"
            " --cycle-day.",
        )
    return periods.pop()
