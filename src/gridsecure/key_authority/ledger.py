"""The release ledger: what is released once, and who is totalled with whom.

A request may fail at any point, and several may run at once. So a claim is written before anything
is decrypted, belongs to the transcript that was proven for it, and is spent in the transaction that
keeps the certificate:

1. The same transcript may come again until it is released: it can only give the same numbers. Any
   other transcript about the same upload (and day) is refused, released or not.
2. Rosters totalled together once are always totalled together. Cohorts are therefore equal or
   disjoint, and no difference of released totals is about fewer members than a released cell.
3. A pseudonym sits in one roster of its domain and time, so that nobody is counted twice and no
   second roster differs from the first by one household.

All three look at membership and never at values, so a refusal says nothing about a reading. The
rule of equal or disjoint cohorts is the overlap guard of published partitions, each cell released
once (draft-ietf-ppm-dap, batch collected once). Not handled: a gateway that enrols one household
under several pseudonyms.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Engine
from sqlmodel import Session

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ConflictError, ReleaseRefusedError
from gridsecure.key_authority.verification import Proven
from gridsecure.plans.execution import RosterData
from gridsecure.store.database import write_session
from gridsecure.store.records import Record, advance, fetch, listed, record

REPEATED: Final = "release.repeated"
COHORT: Final = "release.cohort"
OVERLAP: Final = "release.overlap"
_CLAIMED: Final = "claimed"
_SPENT: Final = "spent"


def claim(engine: Engine, parts: Sequence[Proven], *, at: datetime) -> None:
    """Claim what proven transcripts will release; all of it or nothing.

    Args:
        engine: The authority's database.
        parts: Transcripts whose rosters are totalled together.
        at: Now.

    Raises:
        ReleaseRefusedError: Released or claimed before by another transcript, or twice here
            (`release.repeated`); rosters in other company than before (`release.cohort`); a
            household in two rosters (`release.overlap`).
        StorageError: The ledger cannot be written.
    """
    members = {
        digest: data
        for part in parts
        for digest, data in zip(part.transcript.uploads, part.datas, strict=True)
    }
    counted_once(members.values())
    with write_session(engine) as session:
        take_claims(session, parts, at=at)
        cohort = sm3_hex("".join(sorted(members)).encode())
        for digest, data in members.items():
            _join(session, digest, data, cohort=cohort, at=at)


def take_claims(session: Session, parts: Sequence[Proven], *, at: datetime) -> None:
    """Claim every name that proven transcripts release, each for its transcript.

    Raises:
        ReleaseRefusedError: Claimed before by another transcript, released, or twice here.
    """
    names = [name for part in parts for name in part.claims]
    if len(set(names)) != len(names):
        raise _repeated()
    for part in parts:
        for name in part.claims:
            _take(session, Record("claim", name, name, part.digest, _CLAIMED, ""), at=at)


def spend(session: Session, names: Iterable[str]) -> None:
    """Spend claims in the transaction that keeps their certificate.

    Raises:
        ReleaseRefusedError: Another request released one of them meanwhile.
    """
    for name in names:
        if not advance(session, kind="claim", name=name, source=_CLAIMED, target=_SPENT):
            raise _repeated()


def _take(session: Session, entry: Record, *, at: datetime) -> None:
    try:
        is_new = record(session, entry, at=at)
    except ConflictError as error:
        raise _repeated() from error
    if not is_new and fetch(session, kind="claim", name=entry.name).state != _CLAIMED:
        raise _repeated()


def _join(session: Session, upload: str, data: RosterData, *, cohort: str, at: datetime) -> None:
    """Enter an upload's members, or check that it is in the same company as before."""
    roster = data.roster
    facts = {
        "start": data.upload.start,
        "end": data.upload.end,
        "pseudonyms": roster.pseudonyms,
        "zones": roster.zones,
        "customer_classes": roster.customer_classes,
    }
    entry = Record("cohort", upload, upload, cohort, roster.domain, json.dumps(facts))
    others = listed(session, kind="cohort", state=roster.domain)
    try:
        is_new = record(session, entry, at=at)
    except ConflictError as error:
        raise ReleaseRefusedError(
            "These rosters were totalled in other company before.",
            reason=COHORT,
            remedy="Run every plan of a period over the same rosters.",
        ) from error
    if is_new and any(_overlaps(facts, json.loads(other.text)) for other in others):
        raise _overlapping()


def _overlaps(facts: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    start, end = (datetime.fromisoformat(facts[name]) for name in ("start", "end"))
    begun, ended = (datetime.fromisoformat(other[name]) for name in ("start", "end"))
    together = start < ended and begun < end
    return together and not set(facts["pseudonyms"]).isdisjoint(other["pseudonyms"])


def counted_once(members: Iterable[RosterData]) -> None:
    """Refuse rosters that share a household: its cell would look larger than it is.

    Raises:
        ReleaseRefusedError: A household in two rosters, or rosters of two domains.
    """
    rosters = [data.roster for data in members]
    names = [name for roster in rosters for name in roster.pseudonyms]
    if len(set(names)) != len(names) or len({roster.domain for roster in rosters}) != 1:
        raise _overlapping()


def _overlapping() -> ReleaseRefusedError:
    return ReleaseRefusedError(
        "A meter point is in two of the rosters that are totalled.",
        reason=OVERLAP,
        remedy="Keep one roster for each meter point and period, in one pseudonym domain.",
    )


def _repeated() -> ReleaseRefusedError:
    return ReleaseRefusedError(
        "Part of this was released before, or was claimed by another transcript.",
        reason=REPEATED,
        remedy="Use the earlier release.",
    )
