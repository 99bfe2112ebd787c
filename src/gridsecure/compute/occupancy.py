"""Who sits where and when: each pseudonym in one roster at a time, and what is billed stays billed.

The key authority refuses rosters that share a member. The platform refuses them as they come, or
one gateway could keep everybody's release waiting with a roster that can never be taken back.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Final

from sqlmodel import Session

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ConflictError
from gridsecure.messages import RosterManifest, UploadManifest
from gridsecure.store.many_records import fetch_many
from gridsecure.store.records import Record, listed, record

MEMBERS: Final = "members"
PERIOD: Final = "period"
SEATING: Final = "seating"
_KEPT: Final = "kept"


def claim_seats(
    session: Session, roster: RosterManifest, manifest: UploadManifest, *, at: datetime
) -> None:
    """Seat a roster's members for the period of its first upload.

    Args:
        session: Of the transaction that keeps the upload.
        roster: The roster.
        manifest: The upload.
        at: Now.

    Raises:
        ConflictError: Another roster with an upload of that time seats one of them
            (`conflict.seat`).
    """
    span = (manifest.start, manifest.end)
    own = _place(roster.domain, *span)
    for item in listed(session, kind=PERIOD, state=roster.domain):
        start, end = json.loads(item.text)
        if _overlap(span, (start, end)):
            _refuse_shared(session, roster, place=_place(roster.domain, start, end))
    record(session, Record(PERIOD, own, own, own, roster.domain, json.dumps(span)), at=at)
    name, text = f"{roster.roster_id}/{own}", json.dumps(roster.pseudonyms)
    record(session, Record(SEATING, name, name, roster.roster_id, own, text), at=at)


def keep_members(session: Session, roster: RosterManifest, *, at: datetime) -> None:
    """Remember the members of a roster whose upload is committed."""
    name = _members(roster)
    record(session, Record(MEMBERS, name, name, name, _KEPT, ""), at=at)


def is_billed(session: Session, roster: RosterManifest) -> bool:
    """Whether the very same members were committed before: what is billed may be corrected."""
    name = _members(roster)
    return name in fetch_many(session, [name], kind=MEMBERS)


def _refuse_shared(session: Session, roster: RosterManifest, *, place: str) -> None:
    for other in listed(session, kind=SEATING, state=place):
        is_another = other.digest != roster.roster_id
        if is_another and not set(json.loads(other.text)).isdisjoint(roster.pseudonyms):
            raise ConflictError(
                "A pseudonym of the roster sits in another one at that time.",
                reason="conflict.seat",
                remedy="Seat each meter point once; what is committed is corrected.",
            )


def _place(domain: str, start: str, end: str) -> str:
    return f"{domain}/{start}/{end}"


def _members(roster: RosterManifest) -> str:
    return sm3_hex("\n".join([roster.gateway_id, roster.domain, *roster.pseudonyms]).encode())


def _overlap(one: tuple[str, str], other: tuple[str, str]) -> bool:
    start, end = map(datetime.fromisoformat, one)
    begin, finish = map(datetime.fromisoformat, other)
    return start < finish and begin < end
