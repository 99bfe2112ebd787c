"""Who sits where and when: each pseudonym in one roster at a time, and what is billed stays billed.

The key authority refuses rosters that share a member. The platform refuses them as they come, or
one gateway could keep everybody's release waiting with a roster that can never be taken back.
"""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Session, col, select

from gridsecure.compute.tables import BilledMembersRow, SeatRow
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ConflictError
from gridsecure.messages import RosterManifest, UploadManifest
from gridsecure.store.rows import find, keep, keep_new

_PORTION = 500  # pseudonyms in one query


def claim_seats(session: Session, roster: RosterManifest, manifest: UploadManifest) -> None:
    """Seat a roster's members for the period of its first upload.

    Raises:
        ConflictError: Another roster with an upload of that time seats one of them
            (`conflict.seat`).
    """
    start, end = map(datetime.fromisoformat, (manifest.start, manifest.end))
    for first in range(0, len(roster.pseudonyms), _PORTION):
        taken = select(SeatRow.roster_id).where(
            col(SeatRow.pseudonym).in_(roster.pseudonyms[first : first + _PORTION]),
            SeatRow.domain == roster.domain,
            SeatRow.roster_id != roster.roster_id,
            SeatRow.start_at < end,
            SeatRow.end_at > start,
        )
        if session.exec(taken.limit(1)).first() is not None:
            raise ConflictError(
                "A pseudonym of the roster already has a seat in another roster at that time.",
                reason="conflict.seat",
                remedy="Seat each meter point once. Change committed uploads by a correction.",
            )
    seats = [
        SeatRow(
            pseudonym=name,
            start_at=start,
            roster_id=roster.roster_id,
            end_at=end,
            domain=roster.domain,
        )
        for name in roster.pseudonyms
    ]
    keep_new(session, seats)


def keep_members(session: Session, roster: RosterManifest, *, at: datetime) -> None:
    """Remember the members of a roster whose upload is committed."""
    keep(session, BilledMembersRow(digest=_members(roster), at=at))


def is_billed(session: Session, roster: RosterManifest) -> bool:
    """Whether the very same members were committed before: what is billed may be corrected."""
    return find(session, BilledMembersRow, digest=_members(roster)) is not None


def _members(roster: RosterManifest) -> str:
    return sm3_hex("\n".join([roster.gateway_id, roster.domain, *roster.pseudonyms]).encode())
