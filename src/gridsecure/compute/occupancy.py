"""Who sits where and when: each pseudonym in one roster at a time, and what is billed stays billed.

The key authority refuses rosters that share a member. The platform refuses them as they come, or
one gateway could keep everybody's release waiting with a roster that can never be taken back.
"""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Session, insert

from gridsecure.compute.tables import BilledMembersRow, SeatRow
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ConflictError
from gridsecure.messages import RosterManifest, UploadManifest
from gridsecure.store.rows import find, find_many, keep


def claim_seats(session: Session, roster: RosterManifest, manifest: UploadManifest) -> None:
    """Seat a roster's members for the period of its first upload.

    Raises:
        ConflictError: Another roster with an upload of that time seats one of them
            (`conflict.seat`).
    """
    start, end = map(datetime.fromisoformat, (manifest.start, manifest.end))
    taken = find_many(
        session,
        SeatRow,
        roster.pseudonyms,
        SeatRow.domain == roster.domain,
        SeatRow.roster_id != roster.roster_id,
        SeatRow.start_at < end,
        SeatRow.end_at > start,
        by="pseudonym",
    )
    if taken:
        raise ConflictError(
            "A pseudonym of the roster sits in another one at that time.",
            reason="conflict.seat",
            remedy="Seat each meter point once; what is committed is corrected.",
        )
    # Plain values: to make thousands of rows takes longer than to insert them.
    place: dict[str, object] = {"start_at": start, "end_at": end}
    place |= {"roster_id": roster.roster_id, "domain": roster.domain}
    seats = [{"pseudonym": name, **place} for name in roster.pseudonyms]
    session.execute(insert(SeatRow), seats)


def keep_members(session: Session, roster: RosterManifest, *, at: datetime) -> None:
    """Remember the members of a roster whose upload is committed."""
    keep(session, BilledMembersRow(digest=_members(roster), at=at))


def is_billed(session: Session, roster: RosterManifest) -> bool:
    """Whether the very same members were committed before: what is billed may be corrected."""
    return find(session, BilledMembersRow, digest=_members(roster)) is not None


def _members(roster: RosterManifest) -> str:
    return sm3_hex("\n".join([roster.gateway_id, roster.domain, *roster.pseudonyms]).encode())
