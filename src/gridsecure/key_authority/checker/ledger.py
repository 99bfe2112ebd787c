"""The release ledger: what is released once, and of which members something was told.

Nothing leaves the authority before a certificate is kept, and the ledger is written in that very
transaction. So a request that was refused, failed or was killed leaves nothing behind that could
lock another one out, and of two at once about the same upload one is certified.

1. An upload's bills, and a day of its load curve, are released once (`release.repeated`); a day
   counts as released for the uploads that sit in a cell with a value.
2. A pseudonym sits in one roster of its domain and time (`release.overlap`), so that nobody is
   counted twice and no second roster differs from the first by one household.
3. A cell is told of only if no combination of all that was ever told of its month is about fewer
   customers than the minimum (`cells.may_tell`); else it is withheld, and the rest is released.

All three look at membership and never at values, so a refusal says nothing about a reading.

Two things are written before anything is decrypted, and never given back. Which transcript a
blinding seed belongs to: the vault sees what it decrypts, also of a request that fails later, and
a seed that blinded two columns alike would show it their difference. And which upload corrects
another: a preview of one correction beside one of a second, or its release, would show what lies
between them, which may be a single household.

Not handled: a gateway that enrols one household under several pseudonyms.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from sqlmodel import Session, col, insert, select

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ConflictError, GridSecureError, ReleaseRefusedError
from gridsecure.key_authority.checker.tables import (
    ClaimRow,
    CohortMemberRow,
    CohortRow,
    SeedRow,
    ToldMemberRow,
    ToldSetRow,
)
from gridsecure.key_authority.checker.verification import CORRECTS_PREFIX, SEED_PREFIX, Proven
from gridsecure.messages import RosterManifest
from gridsecure.plans.cells import CellSets, Member, Members, Place, may_tell
from gridsecure.plans.execution import RosterData
from gridsecure.store.rows import find_many, keep

REPEATED: Final = "release.repeated"
OVERLAP: Final = "release.overlap"
_PORTION: Final = 500  # pseudonyms in one query; databases limit how many a statement may have

Withheld = Mapping[Place, frozenset[str]]
"""By cell, the measures of which nothing is told."""


@dataclass(frozen=True, slots=True)
class Period:
    """What sets of members are compared within: one domain and month."""

    domain: str
    start_at: datetime
    end_at: datetime

    @classmethod
    def of(cls, data: RosterData) -> Period:
        """The period of an upload."""
        start, end = map(datetime.fromisoformat, (data.upload.start, data.upload.end))
        return cls(data.roster.domain, start.astimezone(UTC), end.astimezone(UTC))

    @property
    def text(self) -> str:
        """What the names of its sets begin with."""
        return f"{self.domain}/{self.start_at.isoformat()}/{self.end_at.isoformat()}"


@dataclass(frozen=True, slots=True, eq=False)
class Giving:
    """What a release gives out, as the ledger keeps it.

    Args:
        claims: Name of each thing released once -> its transcript.
        datas: Uploads by digest of which something is given out.
        told: By cell, the sets that something is told of.
    """

    claims: Mapping[str, str]
    datas: Mapping[str, RosterData]
    period: Period
    told: Mapping[Place, tuple[Members, ...]] = field(default_factory=dict)


def join_givings(givings: Iterable[Giving]) -> Giving:
    """Several parts of one release as one.

    Raises:
        ReleaseRefusedError: Two of them release the same (`release.repeated`).
    """
    parts = list(givings)
    claims = [item for part in parts for item in part.claims.items()]
    if len(dict(claims)) != len(claims):
        raise repeated_error()
    told: dict[Place, dict[Members, None]] = defaultdict(dict)
    for part in parts:
        for place, sets in part.told.items():
            told[place] |= dict.fromkeys(sets)
    return Giving(
        claims=dict(claims),
        datas={digest: data for part in parts for digest, data in part.datas.items()},
        period=parts[0].period,
        told={place: tuple(sets) for place, sets in told.items()},
    )


def check_claims(session: Session, parts: Sequence[Proven]) -> None:
    """Refuse what was released before, or is asked for twice here.

    Raises:
        ReleaseRefusedError: `release.repeated`.
    """
    names = [name for part in parts for name in part.claims]
    if len(set(names)) != len(names):
        raise repeated_error()
    # A seed may come again with its own transcript, after a crash; with another it would unblind.
    bound = find_many(session, SeedRow, names, by="seed")
    if find_many(session, ClaimRow, names, by="claim"):
        raise repeated_error()
    for part in parts:
        for name, message in _bindings(part):
            if name in bound and bound[name].transcript != message:
                raise repeated_error()


def bind(session: Session, parts: Sequence[Proven], *, at: datetime) -> None:
    """Bind seeds to their transcripts and corrected uploads to their corrections, for good.

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


def find_withheld_cells(
    session: Session, wanted: Mapping[Place, CellSets], *, period: Period
) -> dict[Place, frozenset[str]]:
    """The measures of each cell of which nothing may be told; cells that are not here have all."""
    known = _told(session, period)
    found = {place: sets.list_withheld(told=known.get(place, ())) for place, sets in wanted.items()}
    return {place: withheld for place, withheld in found.items() if withheld}


def enter(session: Session, giving: Giving, *, release_id: str, at: datetime) -> None:
    """Write a release into the ledger, in the transaction that keeps its certificate.

    Raises:
        ReleaseRefusedError: Another request released part of it meanwhile (`release.repeated`,
            `release.overlap`).
        GridSecureError: Another request told of these members meanwhile: the request waits, and
            asked again it is answered beside that one (`release.meanwhile`).
    """
    # Checked again here: the vault worked meanwhile, and another release may have been entered.
    known = _told(session, giving.period)
    for place, sets in giving.told.items():
        if not may_tell(sets, told=known.get(place, ())):
            raise GridSecureError(
                "Another release of these cells was certified in the meantime.",
                reason="release.meanwhile",
                remedy="Start another release round.",
            )
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
    for place, sets in giving.told.items():
        for members in sets:
            _keep_set(session, place, members, period=giving.period, at=at)


def _keep(session: Session, row: ClaimRow | SeedRow) -> bool:
    try:
        return keep(session, row)
    except ConflictError as error:
        raise repeated_error() from error


def _keep_cohort(session: Session, digest: str, data: RosterData, *, at: datetime) -> None:
    period = Period.of(data)
    cohort = CohortRow(
        upload=digest, domain=period.domain, start_at=period.start_at, end_at=period.end_at, at=at
    )
    if keep(session, cohort):
        rows = [{"pseudonym": name, "upload": digest} for name in data.roster.pseudonyms]
        session.execute(insert(CohortMemberRow), rows)


def _told(session: Session, period: Period) -> dict[Place, list[Members]]:
    """By cell of a period, the sets of its members that anything was told of."""
    sets: dict[Place, list[Members]] = defaultdict(list)
    of_period = (
        col(ToldSetRow.domain) == period.domain,
        col(ToldSetRow.start_at) == period.start_at,
        col(ToldSetRow.end_at) == period.end_at,
    )
    members: dict[str, list[Member]] = defaultdict(list)
    owners: dict[str, str] = {}
    asked = (
        select(
            ToldMemberRow.told_set, ToldMemberRow.name, ToldMemberRow.owner, ToldMemberRow.counts
        )
        .join(ToldSetRow)
        .where(*of_period)
        .execution_options(yield_per=_PORTION)
    )
    for told_set, name, owner, counts in session.exec(asked):
        # One text for each owner, however many members it has.
        members[told_set].append(Member(name, owners.setdefault(owner, owner), counts))
    for row in session.exec(select(ToldSetRow).where(*of_period)):
        sets[row.zone, row.customer_class].append(frozenset(members.pop(row.name, ())))
    return sets


def _keep_set(
    session: Session, place: Place, members: Members, *, period: Period, at: datetime
) -> None:
    """Keep a set that was told of, under a name that says all of it."""
    rows = sorted(members)
    text = json.dumps({"zone": place[0], "customer_class": place[1], "members": rows})
    # Named by its content, so that a set that is told of twice is kept once.
    name = sm3_hex(json.dumps([period.text, text]).encode())
    told_set = ToldSetRow(
        name=name,
        domain=period.domain,
        start_at=period.start_at,
        end_at=period.end_at,
        zone=place[0],
        customer_class=place[1],
        at=at,
    )
    if keep(session, told_set):
        # Thousands for one set, of a checked roster's names: plain values, and no object for each.
        _insert_all(
            session,
            ToldMemberRow,
            (
                {"told_set": name, "name": member, "owner": owner, "counts": counts}
                for member, owner, counts in rows
            ),
        )


def _insert_all(
    session: Session, kind: type[ToldMemberRow], rows: Iterator[dict[str, object]]
) -> None:
    while portion := list(islice(rows, _PORTION)):
        session.execute(insert(kind), portion)


def check_overlap(session: Session, datas: Mapping[str, RosterData]) -> None:
    """Refuse uploads that share a household with each other, or with another that was told of.

    Raises:
        ReleaseRefusedError: `release.overlap`.
    """
    check_counted_once(data.roster for data in datas.values())
    for digest, data in datas.items():
        period, names = Period.of(data), data.roster.pseudonyms
        others = (
            select(CohortMemberRow.upload)
            .join(CohortRow)
            .where(
                col(CohortRow.upload) != digest,
                col(CohortRow.domain) == period.domain,
                # Periods overlap where each begins before the other ends.
                col(CohortRow.start_at) < period.end_at,
                col(CohortRow.end_at) > period.start_at,
            )
        )
        for start in range(0, len(names), _PORTION):
            portion = col(CohortMemberRow.pseudonym).in_(names[start : start + _PORTION])
            if session.exec(others.where(portion)).first() is not None:
                raise _overlapping()


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
