"""The release ledger: what is released once, and of which members something was told.

Nothing leaves the authority before a certificate is kept, and the ledger is written in that very
transaction. So a request that was refused, failed or was killed leaves nothing behind that could
lock another one out, and of two at once about the same upload one is certified.

1. An upload's bills, and a day of its load curve, are released once (`release.repeated`); a day
   counts as released for the uploads that sit in a cell with a value.
2. A pseudonym sits in one roster of its domain and time (`release.overlap`), so that nobody is
   counted twice and no second roster differs from the first by one household. Days that were sealed
   have rosters of their own for a month.
3. A cell is told of only if no combination of all that was ever told of its month is about fewer
   customers than policy says (`cells.may_tell`); else it is withheld, and the rest is released.
   A sealed day counts in its month. Where days and the month are told of, those whose readings
   changed in between are one more set: the month less its days is about them. Of a sealed day all
   is looked at a second time, as if who was silent were nobody: silence hides nobody in it.
4. Where policy limits how much of a cell one customer is, the vault compares the month's bills of
   it. What is finer is told only of sets that are put together of those that kept the limit.

Rules 1 to 3 look at membership and never at values, so a refusal says nothing about a reading. The
fourth says of a cell whether one customer is above the limit, once for each bill.

Three things are written before anything is decrypted, and never given back. Which transcript a
blinding seed belongs to: the vault sees what it decrypts, also of a request that fails later, and
a seed that blinded two columns alike would show it their difference. Which upload a sealed day of a
roster is: of a second version the difference would be told. And which upload corrects another: a
preview of one correction beside one of a second, or its release, would show what lies
between them, which may be a single household.

Not handled: a gateway that enrols one household under several pseudonyms.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from gridsecure.approvals import list_digest
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import (
    AuditBrokenError,
    ConflictError,
    GridSecureError,
    ReleaseRefusedError,
)
from gridsecure.key_authority.checker.tables import (
    ClaimRow,
    CohortRow,
    ListedMemberRow,
    ListedSeatRow,
    MemberListRow,
    SeatListRow,
    SeedRow,
    ToldEdgeRow,
    ToldSetRow,
)
from gridsecure.key_authority.checker.verification import CORRECTS_PREFIX, SEED_PREFIX, Proven
from gridsecure.key_authority.query_orders import is_group_place
from gridsecure.messages import Digest, RosterManifest
from gridsecure.month_texts import day_text
from gridsecure.plans.cells import (
    ALL_MEASURES,
    WHOLE,
    CellSets,
    Dominance,
    Member,
    Members,
    Place,
    ToldSet,
    find_joined,
    is_enough,
    may_tell,
    roster_members,
    roster_places,
)
from gridsecure.plans.execution import RosterData
from gridsecure.plans.merging import Merged
from gridsecure.plans.sealed_days import is_sealed_day
from gridsecure.plans.squares import SquaredAtoms
from gridsecure.store.rows import find_many, insert_all, keep

REPEATED: Final = "release.repeated"
OVERLAP: Final = "release.overlap"
_PORTION: Final = 500  # pseudonyms in one query; databases limit how many a statement may have

Withheld = Mapping[Place, frozenset[str]]
"""By cell, the measures of which nothing is told."""

SQUARES: Final = -1
"""Stands in the ledger of edges for sums of squares."""
WITHHELD_SQUARES: Final = -2
"""Likewise for such that the vault looked at and did not tell."""
_FIRST_MINIMUM: Final = 15
"""What held before there were policies; sets told under it keep their names."""

Kind = Literal["month", "day", "changed"]
"""Of what a set is, as `ToldSetRow` has it."""


@dataclass(frozen=True, slots=True)
class Period:
    """What sets of members are compared within: one domain and month."""

    domain: str
    start_at: datetime
    end_at: datetime

    @classmethod
    def of(cls, data: RosterData) -> Period:
        """The period of an upload; of a sealed day its month."""
        start, end = map(datetime.fromisoformat, (data.upload.start, data.upload.end))
        if is_sealed_day(data.upload):
            if data.month is None:
                raise ValueError("a sealed day is compared within its month")
            start, end = data.month.start, data.month.end
        return cls(data.roster.domain, start.astimezone(UTC), end.astimezone(UTC))

    @property
    def text(self) -> str:
        """What the names of its sets begin with."""
        return f"{self.domain}/{self.start_at.isoformat()}/{self.end_at.isoformat()}"


@dataclass(frozen=True, slots=True)
class Basis:
    """What figures are of.

    Args:
        by_day: Of sealed days, and not of what the month was billed by.
        changed: By cell, those whose readings of the month differ from what was sealed.
        is_compared: Of whole months, in which the vault compares the customers of a cell.
        silent: Pseudonyms that have no energy of the sealed day.
        is_squared: Of squares as well, which the vault looks at in all that its sets divide.
    """

    by_day: bool = False
    changed: Mapping[Place, Members] = field(default_factory=dict)
    is_compared: bool = True
    silent: frozenset[str] = frozenset()
    is_squared: bool = False

    @classmethod
    def of(cls, datas: Iterable[RosterData]) -> Basis:
        """What figures of some uploads of one period are of."""
        found = list(datas)
        changed: dict[Place, set[Member]] = defaultdict(set)
        for data in found:
            if data.upload.changed_slots:
                places, members = roster_places(data.roster), roster_members(data.roster)
                for slot in data.upload.changed_slots:
                    changed[places[slot]].add(members[slot])
        by_day = any(is_sealed_day(data.upload) for data in found)
        silent = frozenset(
            data.roster.pseudonyms[slot] for data in found for slot in data.upload.silent_slots
        )
        kept = {place: frozenset(some) for place, some in changed.items()}
        return cls(by_day, kept, silent=silent)

    def known(self, told: ToldSet) -> KnownSet:
        """A set of which a question would be told, as the ledger would know it."""
        kind: Kind = "day" if self.by_day else "month"
        return KnownSet(kind, told, is_group=True, has_squares=self.is_squared)

    def divides_squares(self, sets: Iterable[ToldSet], company: _Company) -> bool:
        """Whether sets would divide what squares were told of, and the vault looks at none."""
        atoms = company.squared_atoms
        return not self.is_squared and atoms.are_divided_by(one.members for one in sets)

    def is_heard_enough(self, wanted: Sequence[ToldSet], company: _Company) -> bool:
        """Whether sets may be told of a sealed day, of which who was silent is nobody.

        Limits of dominance are of months, and who changed is no number of a day.
        """
        told = [one for one in company.told_of_days if one.minimum]
        return not self.silent or may_tell(self._heard(wanted), told=self._heard(told))

    def _heard(self, sets: Iterable[ToldSet]) -> list[ToldSet]:
        """The sets without who was silent; one of nobody else has no number but zero."""
        heard = (
            (frozenset(m for m in one.members if m.name not in self.silent), one.minimum)
            for one in sets
        )
        return [ToldSet(members, minimum) for members, minimum in heard]


OF_MONTH: Final = Basis()


@dataclass(frozen=True, slots=True, eq=False)
class Giving:
    """What a release gives out, as the ledger keeps it.

    Args:
        claims: Name of each thing released once -> its transcript.
        datas: Uploads by digest of which something is given out.
        told: By cell, the sets that something is told of.
        basis: What its figures are of, and whose readings changed between days and the month.
        beside: The names of all sets that it was looked at beside, where bills that are still to
            come were looked at too: beside any other set it has to be looked at again.
    """

    claims: Mapping[str, str]
    datas: Mapping[str, RosterData]
    period: Period
    told: Mapping[Place, tuple[ToldSet, ...]] = field(default_factory=dict)
    basis: Basis = field(default_factory=lambda: OF_MONTH)
    beside: frozenset[str] | None = None


def join_givings(givings: Iterable[Giving]) -> Giving:
    """Several parts of one release as one.

    Raises:
        ReleaseRefusedError: Two of them release the same (`release.repeated`).
    """
    parts = list(givings)
    claims = [item for part in parts for item in part.claims.items()]
    if len(dict(claims)) != len(claims):
        raise repeated_error()
    told: dict[Place, dict[ToldSet, None]] = defaultdict(dict)
    for part in parts:
        for place, sets in part.told.items():
            told[place] |= dict.fromkeys(sets)
    return Giving(
        claims=dict(claims),
        datas={digest: data for part in parts for digest, data in part.datas.items()},
        period=parts[0].period,
        told={place: tuple(sets) for place, sets in told.items()},
        basis=parts[0].basis,
    )


def check_claims(session: Session, parts: Sequence[Proven]) -> None:
    """Refuse what was released before, or is asked for twice here.

    Raises:
        ReleaseRefusedError: `release.repeated`.
    """
    names = [name for part in parts for name in part.claims]
    if len(set(names)) != len(names) or find_many(session, ClaimRow, names, by="claim"):
        raise repeated_error()
    # A seed may come again with its own transcript, after a crash; with another it would unblind.
    for part in parts:
        _check_bound(session, dict(_bindings(part)))


def bind(session: Session, parts: Sequence[Proven], *, at: datetime) -> None:
    """Bind seeds to transcripts, corrected uploads to corrections, and sealed days to uploads.

    Raises:
        ReleaseRefusedError: One is bound to something else (`release.repeated`).
    """
    for part in parts:
        for name, message in _bindings(part):
            _keep(session, SeedRow(seed=name, transcript=message, at=at))


def _bindings(part: Proven) -> Iterator[tuple[str, str]]:
    for name in part.claims:
        if name.startswith(SEED_PREFIX):
            yield name, part.digest
        elif name.startswith(CORRECTS_PREFIX):
            # Its transcript may be made again, as by another version of the plan.
            yield name, part.transcript.uploads[0]
    yield from _days(zip(part.transcript.uploads, part.datas, strict=True)).items()


def _days(datas: Iterable[tuple[Digest, RosterData]]) -> dict[str, Digest]:
    """The names of those that are sealed days, with their uploads."""
    return {
        f"sealed-day/{data.roster.roster_id}/{day_text(data.upload.start)}": upload
        for upload, data in datas
        if is_sealed_day(data.upload)
    }


def _check_bound(session: Session, wanted: Mapping[str, str]) -> None:
    bound = find_many(session, SeedRow, list(wanted), by="seed")
    if any(row.transcript != wanted[name] for name, row in bound.items()):
        raise repeated_error()


def check_days(session: Session, datas: Mapping[Digest, RosterData]) -> None:
    """Refuse a second version of a sealed day that questions or load curves were told of.

    What changed in between would be their difference, and may be one household's.

    Args:
        datas: By upload.

    Raises:
        ReleaseRefusedError: `release.repeated`.
    """
    _check_bound(session, _days(datas.items()))


def bind_days(session: Session, datas: Mapping[Digest, RosterData], *, at: datetime) -> None:
    """Bind sealed days to their uploads, for good, before anything of them is decrypted.

    Raises:
        ReleaseRefusedError: One is bound to another upload (`release.repeated`).
    """
    for name, upload in _days(datas.items()).items():
        _keep(session, SeedRow(seed=name, transcript=upload, at=at))


def find_withheld_cells(
    session: Session,
    wanted: Mapping[Place, CellSets],
    *,
    period: Period,
    merged: Merged,
    basis: Basis = OF_MONTH,
) -> dict[Place, frozenset[str]]:
    """The measures of each cell of which nothing may be told, as `withhold_beside`."""
    return withhold_beside(read_told(session, period), wanted, merged=merged, basis=basis)


def withhold_beside(
    known: Iterable[KnownSet],
    wanted: Mapping[Place, CellSets],
    *,
    merged: Merged,
    basis: Basis = OF_MONTH,
    most: int | None = None,
) -> dict[Place, frozenset[str]]:
    """The measures of each cell of which nothing may be told; cells that are not here have all.

    Where cells hang together over what was told before, they are looked at in the order of their
    names, each beside those that came before it. If one of them has a limit of dominance that the
    vault is still to compare, none is told: who is above it in one would show beside another.

    Args:
        known: What was told of the period, from `read_told`.
        merged: What policy permits of each cell.
        basis: What its figures would be of.
        most: Of cells that an asker chose: how many that hang together are looked at one by one.
            All are looked at together first, and where that fails none of more is told: each look
            goes through all that was told of them.
    """
    cells = {place: sets.cell for place, sets in wanted.items()}
    found: dict[Place, frozenset[str]] = {}
    for company in _compare(known, basis, cells):
        beside: list[ToldSet] = []
        limited = [place for place in company.places if place in merged.limits]
        if limited and basis.is_compared and len(company.places) > 1:
            found |= dict.fromkeys(company.places, ALL_MEASURES)
            continue
        if most is not None and _may_tell_all(company, wanted, merged=merged, basis=basis):
            continue
        if most is not None and len(company.places) > most:
            found |= dict.fromkeys(company.places, ALL_MEASURES)
            continue
        for place in sorted(company.places):
            sets, fewest = wanted[place], merged.minima[place]
            limit = merged.limits.get(place, WHOLE)
            withheld = sets.list_withheld(
                minima=fewest,
                told=company.told,
                beside=beside,
                dominance=Dominance(limit, basis.is_compared),
            )
            own = sets.list_told(withheld, minima=fewest, limit=limit)
            if own and not basis.is_heard_enough((*beside, *own), company):
                withheld, own = ALL_MEASURES, ()
            if basis.divides_squares(own, company):
                withheld, own = ALL_MEASURES, ()
            beside += own
            found[place] = withheld
    return {place: withheld for place, withheld in found.items() if withheld}


def _may_tell_all(
    company: _Company, wanted: Mapping[Place, CellSets], *, merged: Merged, basis: Basis
) -> bool:
    """Whether cells that hang together may all be told: then each may beside those before it."""
    sets = [
        one
        for place in company.places
        for one in wanted[place].list_told(
            frozenset(), minima=merged.minima[place], limit=merged.limits.get(place, WHOLE)
        )
    ]
    return (
        may_tell(sets, told=company.told, is_compared=basis.is_compared)
        and basis.is_heard_enough(sets, company)
        and not basis.divides_squares(sets, company)
    )


def enter(session: Session, giving: Giving, *, release_id: str, at: datetime) -> None:
    """Write a release into the ledger, in the transaction that keeps its certificate.

    Raises:
        ReleaseRefusedError: Another request released part of it meanwhile (`release.repeated`,
            `release.overlap`).
        GridSecureError: Another request told of these members meanwhile: the request waits, and
            asked again it is answered beside that one (`release.meanwhile`).
    """
    # Checked again here: the vault worked meanwhile, and another release may have been entered.
    cells = {
        place: frozenset[Member]().union(*(one.members for one in sets))
        for place, sets in giving.told.items()
    }
    known = read_told(session, giving.period)
    if giving.beside is not None and {one.name for one in known} != giving.beside:
        raise _told_meanwhile()  # each may cost bills to come nothing, and both together a cell
    for company in _compare(known, giving.basis, cells):
        wanted = [one for place in company.places for one in giving.told[place]]
        if not may_tell(wanted, told=company.told, is_compared=giving.basis.is_compared):
            raise _told_meanwhile()
        if not giving.basis.is_heard_enough(wanted, company):
            raise _told_meanwhile()
        if giving.basis.divides_squares(wanted, company):
            raise _told_meanwhile()
    for name, transcript in giving.claims.items():
        if name.startswith(SEED_PREFIX):
            _keep(session, SeedRow(seed=name, transcript=transcript, at=at))
        elif not _keep(
            session, ClaimRow(claim=name, transcript=transcript, release_id=release_id, at=at)
        ):
            raise repeated_error()
    if giving.datas:
        check_overlap(session, giving.datas)
    for digest, data in giving.datas.items():
        _keep_cohort(session, digest, data, at=at)
    kind: Kind = "day" if giving.basis.by_day else "month"
    kept = [(place, told, kind) for place, sets in giving.told.items() for told in sets]
    # Also where nothing is told of the month: a later correction of it may be told.
    changed = giving.basis.changed.items()
    kept += [(place, _untold(members), "changed") for place, members in changed]
    for place, told, what in kept:
        _keep_set(session, (place, what), told, period=giving.period, at=at)


def _told_meanwhile() -> GridSecureError:
    return GridSecureError(
        "Another release of these cells was certified in the meantime.",
        reason="release.meanwhile",
        remedy="Start another release round.",
    )


def _untold(members: Members) -> ToldSet:
    """Members who may be told apart, though nothing is told of them by themselves."""
    return ToldSet(members, 0)


def _keep(session: Session, row: ClaimRow | SeedRow) -> bool:
    try:
        return keep(session, row)
    except ConflictError as error:
        raise repeated_error() from error


def _keep_cohort(session: Session, digest: str, data: RosterData, *, at: datetime) -> None:
    # A roster serves a year: who sits in it is written in the first of its months.
    period, seats = Period.of(data), data.roster.roster_id
    if keep(session, SeatListRow(name=seats, digest=_seats_digest(data))):
        rows = ({"pseudonym": pseudonym, "seats": seats} for pseudonym in data.roster.pseudonyms)
        insert_all(session, ListedSeatRow, rows)
    cohort = CohortRow(
        upload=_cohort_name(digest, data),
        by_day=is_sealed_day(data.upload),
        seats=seats,
        domain=period.domain,
        start_at=period.start_at,
        end_at=period.end_at,
        at=at,
    )
    keep(session, cohort)


def _seats_digest(data: RosterData) -> Digest:
    return list_digest(data.roster.pseudonyms)


def _cohort_name(digest: str, data: RosterData) -> str:
    """What a cohort is kept under: the days of a month have one for each roster."""
    if not is_sealed_day(data.upload):
        return digest
    return f"day/{data.roster.roster_id}/{Period.of(data).start_at.isoformat()}"


@dataclass(frozen=True, eq=False)
class _Company:
    """Cells that hang together with each other, and what was told of whoever does with them.

    Args:
        told_of_days: Those of them that a sealed day is looked at beside once more. Load curves and
            bills have the same cells; so a load curve's are what was told of days, or to questions.
        squared: Those of them of which squares were told.
        withheld: Those of which squares were looked at, and nothing was told.
    """

    places: list[Place] = field(default_factory=list)
    told: list[ToldSet] = field(default_factory=list)
    told_of_days: list[ToldSet] = field(default_factory=list)
    squared: list[ToldSet] = field(default_factory=list)
    withheld: list[ToldSet] = field(default_factory=list)

    @cached_property
    def squared_atoms(self) -> SquaredAtoms:
        """What no set of energy alone may divide.

        Who changed is no set that was told of; and of squares that were withheld it is not said
        that nobody has most of a set that they divide.
        """
        withheld = set(map(id, self.withheld))
        told = (one.members for one in self.told if one.minimum and id(one) not in withheld)
        return SquaredAtoms(told, squared=(one.members for one in self.squared))


def _compare(
    told: Iterable[KnownSet], basis: Basis, cells: Mapping[Place, Members]
) -> list[_Company]:
    """The sets of a period that cells have to be compared with.

    A merged cell has members of several zones and classes, so sets are found by their members and
    not by their names. Who changed between days and the month matters where both are told of, by
    then or now.

    Args:
        cells: The members of each cell; nobody is in two.
    """
    known = [
        *told,
        *(KnownSet("changed", _untold(members)) for members in basis.changed.values()),
    ]
    order = ("month", "day", "changed")
    known.sort(key=lambda one: order.index(one.kind))
    joined = find_joined([*cells.values(), *(one.told.members for one in known)])
    found: dict[int, _Company] = {}
    for place, number in zip(cells, joined, strict=False):
        found.setdefault(number, _Company()).places.append(place)
    kept = list(zip(known, joined[len(cells) :], strict=True))
    by_day = {number for one, number in kept if one.kind == "day"}
    is_asked = any(map(is_group_place, cells))
    for one, number in kept:
        matters = one.kind != "changed" or basis.by_day or number in by_day
        if number in found and matters:
            found[number].told.append(one.told)
            if is_asked or one.is_group or one.kind == "day":
                found[number].told_of_days.append(one.told)
            if one.has_squares:
                found[number].squared.append(one.told)
            if one.is_withheld:
                found[number].withheld.append(one.told)
    return list(found.values())


class KnownSet(NamedTuple):
    """A set that is kept, and whether a question was told of it.

    Args:
        name: By its content.
        at: When it was first told of: the moment of a release, or of a preview.
        has_squares: Whether sums of squares were told of it.
        is_withheld: Whether squares of it were looked at, and nothing was told: that alone says
            how much its largest member may have.
    """

    kind: Kind
    told: ToldSet
    is_group: bool = False
    name: str = ""
    at: datetime | None = None
    has_squares: bool = False
    is_withheld: bool = False


def find_conflicts(own: ToldSet, known: Iterable[KnownSet]) -> Iterator[KnownSet]:
    """The sets that were told of which by themselves keep one from being told.

    Several may do so together where none does by itself.
    """
    for one in known:
        shared = own.members & one.told.members
        parts = (shared, own.members - one.told.members, one.told.members - own.members)
        least = max(own.minimum, one.told.minimum)
        if shared and not all(is_enough(part, minimum=least) for part in parts if part):
            yield one


def read_told(
    session: Session, period: Period, *, known: Mapping[str, KnownSet] = MappingProxyType({})
) -> list[KnownSet]:
    """The sets of members of a period that are kept, with their kinds.

    Args:
        known: Those that were read before, by name: the members of none are ever others. What was
            told of it by now is read again.
    """
    of_period = (
        col(ToldSetRow.domain) == period.domain,
        col(ToldSetRow.start_at) == period.start_at,
        col(ToldSetRow.end_at) == period.end_at,
    )
    rows = session.exec(select(ToldSetRow).where(*of_period)).all()
    new = dict.fromkeys(row.members for row in rows if row.name not in known)
    members = _read_members(session, list(new))
    edges: dict[str, set[int]] = defaultdict(set)
    kept = select(ToldEdgeRow.told_set, ToldEdgeRow.edge).join(ToldSetRow).where(*of_period)
    for name, edge in session.exec(kept.where(col(ToldEdgeRow.edge) < 0)):
        edges[name].add(edge)
    return [
        KnownSet(
            row.kind,
            known[row.name].told
            if row.name in known
            else ToldSet(members[row.members], row.minimum, row.largest_share),
            is_group_place((row.zone, row.customer_class)),
            row.name,
            row.at,
            SQUARES in edges[row.name],
            edges[row.name] == {WITHHELD_SQUARES},
        )
        for row in rows
    ]


def _read_members(session: Session, names: Sequence[str]) -> dict[str, Members]:
    """The members of some lists, by the lists' names.

    Raises:
        AuditBrokenError: One was never kept (`ledger.list`): that is no list of nobody.
    """
    members: dict[str, set[Member]] = {name: set() for name in names}
    owners: dict[str, str] = {}
    asked = select(
        ListedMemberRow.members, ListedMemberRow.name, ListedMemberRow.owner, ListedMemberRow.counts
    )
    for some in _portions(names):
        portion = asked.where(col(ListedMemberRow.members).in_(some))
        for listed, name, owner, counts in session.exec(
            portion.execution_options(yield_per=_PORTION)
        ):
            # One text for each owner, however many members it has.
            members[listed].add(Member(name, owners.setdefault(owner, owner), counts))
    nobody = [name for name, found in members.items() if not found]
    if find_many(session, MemberListRow, nobody, by="name").keys() != set(nobody):
        raise AuditBrokenError(
            "The ledger names a list of members that was never kept.",
            reason="ledger.list",
            remedy="Restore the authority's database from a backup; until then nothing of the"
            " period is told.",
        )
    return {name: frozenset(members.pop(name)) for name in names}


def name_set(what: tuple[Place, Kind], told: ToldSet, *, period: Period) -> str:
    """What a set of a cell and kind is kept under: it says all of it."""
    return _name_set(what, told, period=period, rows=_list_rows(told.members))


def _list_rows(members: Members) -> str:
    """The one text of a list of members; of thousands it is not written twice."""
    return json.dumps(sorted(members))


def _name_set(what: tuple[Place, Kind], told: ToldSet, *, period: Period, rows: str) -> str:
    (place, kind), minimum = what, told.minimum
    head = json.dumps({"zone": place[0], "customer_class": place[1]})
    text = f'{head[:-1]}, "members": {rows}}}'
    # Named by its content, so that a set that is told of twice is kept once.
    said = [period.text, text] if kind == "month" else [period.text, text, kind]
    if kind != "changed" and minimum != _FIRST_MINIMUM:
        said.append(str(minimum))
    if told.limit != WHOLE:
        said.append(f"{told.limit} %")
    return sm3_hex(json.dumps(said).encode())


def _keep_set(
    session: Session,
    what: tuple[Place, Kind],
    told: ToldSet,
    *,
    period: Period,
    at: datetime,
) -> None:
    """Keep a set of a cell and kind."""
    (place, kind), rows = what, _list_rows(told.members)
    told_set = ToldSetRow(
        name=_name_set(what, told, period=period, rows=rows),
        kind=kind,
        minimum=told.minimum,
        largest_share=told.limit,
        domain=period.domain,
        start_at=period.start_at,
        end_at=period.end_at,
        zone=place[0],
        customer_class=place[1],
        members=_keep_members(session, told.members, rows=rows),
        at=at,
    )
    keep(session, told_set)


def _keep_members(session: Session, members: Members, *, rows: str) -> str:
    """Keep a list of members, which is told of in many months; its name."""
    listed = sm3_hex(rows.encode())
    if keep(session, MemberListRow(name=listed)):
        # Thousands for one list, of a checked roster's names: plain values, and no object for each.
        insert_all(
            session,
            ListedMemberRow,
            (
                {"members": listed, "name": member, "owner": owner, "counts": counts}
                for member, owner, counts in sorted(members)
            ),
        )
    return listed


def check_overlap(session: Session, datas: Mapping[str, RosterData]) -> None:
    """Refuse uploads that share a household with each other, or with another that was told of.

    Raises:
        ReleaseRefusedError: `release.overlap`; or another roster was told of under the id of one
            (`release.roster`): ids are half a digest, and by that one's list nobody of this one
            would be found.
    """
    check_counted_once(data.roster for data in datas.values())
    own_lists = dict[str, Digest]()
    for data in datas.values():
        digest = _seats_digest(data)
        if own_lists.setdefault(data.roster.roster_id, digest) != digest:
            raise _other_roster()
    for name, known in find_many(session, SeatListRow, list(own_lists), by="name").items():
        if known.digest not in ("", own_lists[name]):
            raise _other_roster()
    for digest, data in datas.items():
        others = _told_at_that_time(digest, data)
        own = data.roster.roster_id
        is_own = col(CohortRow.seats) == own
        if session.exec(others.where(is_own).limit(1)).first() is not None:
            raise _overlapping()
        if session.exec(others.limit(1)).first() is None:
            continue  # a roster's next month, as long as no other was told of in it
        names = set[str]()
        for portion in _portions(data.roster.pseudonyms):
            # Asked by pseudonym alone: joined with the cohorts, each of them would be looked up in
            # the list of every other one. Its own list holds all of them, and is none of these.
            found = select(ListedSeatRow.seats).where(col(ListedSeatRow.pseudonym).in_(portion))
            names |= set(session.exec(found.where(col(ListedSeatRow.seats) != own).distinct()))
        for portion in _portions(sorted(names)):
            is_shared = col(CohortRow.seats).in_(portion)
            if session.exec(others.where(is_shared).limit(1)).first() is not None:
                raise _overlapping()


def _portions(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[first : first + _PORTION] for first in range(0, len(names), _PORTION))


def _told_at_that_time(digest: Digest, data: RosterData) -> SelectOfScalar[str]:
    """The lists of the other cohorts in which nobody of an upload may be."""
    period, by_day = Period.of(data), is_sealed_day(data.upload)
    return select(CohortRow.seats).where(
        col(CohortRow.upload) != _cohort_name(digest, data),
        # Days and bills of one period may have different members: their sets are compared.
        (col(CohortRow.by_day) == by_day)
        | (col(CohortRow.start_at) != period.start_at)
        | (col(CohortRow.end_at) != period.end_at),
        col(CohortRow.domain) == period.domain,
        # Periods overlap where each begins before the other ends.
        col(CohortRow.start_at) < period.end_at,
        col(CohortRow.end_at) > period.start_at,
    )


def _other_roster() -> ReleaseRefusedError:
    return ReleaseRefusedError(
        "Another roster was told of under this roster's id.",
        reason="release.roster",
        remedy="Have the gateway make the roster anew, and find out how it was made.",
    )


def check_counted_once(rosters: Iterable[RosterManifest]) -> None:
    """Refuse rosters that share a household: its cell would look larger than it is.

    Raises:
        ReleaseRefusedError: A household in two rosters, or rosters of two domains.
    """
    found = list(rosters)
    names = [name for roster in found for name in roster.pseudonyms]
    if len(set(names)) != len(names) or len({roster.domain for roster in found}) != 1:
        raise _overlapping()


def _overlapping() -> ReleaseRefusedError:
    return ReleaseRefusedError(
        "A meter point appears in two of the rosters that are totalled.",
        reason=OVERLAP,
        remedy="Put each meter point into one roster a period, in one pseudonym domain.",
    )


def repeated_error() -> ReleaseRefusedError:
    """The refusal of what was released before."""
    return ReleaseRefusedError(
        "Part of this request was released before, or is requested twice.",
        reason=REPEATED,
        remedy="Use the earlier release.",
    )
