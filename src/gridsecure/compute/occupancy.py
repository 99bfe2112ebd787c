"""Who sits where and when: each pseudonym in one roster at a time, and what is billed stays billed.

What is sealed by day has rosters of its own for a month: somebody may move in, or be held back,
before the month is billed. So days are compared with days, and months with months.

The key authority refuses rosters that share a member. The platform refuses them as they come, or
one gateway could keep everybody's release waiting with a roster that can never be taken back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import Session

from gridsecure.compute.tables import BilledMembersRow, DaySeatRow, SeatRow
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ConflictError
from gridsecure.messages import RosterManifest
from gridsecure.periods import BillingPeriod
from gridsecure.store.rows import find, find_many, insert_all, keep

_OTHER: Final[dict[type[SeatRow] | type[DaySeatRow], type[SeatRow] | type[DaySeatRow]]] = {
    SeatRow: DaySeatRow,
    DaySeatRow: SeatRow,
}


@dataclass(frozen=True, slots=True)
class SeatsClaimed:
    """The seats that an upload takes.

    Args:
        period: Its billing period, or the month of a day.
        by_day: Whether it is a sealed day.
    """

    roster: RosterManifest
    period: BillingPeriod
    by_day: bool


def claim_seats(session: Session, claimed: SeatsClaimed) -> None:
    """Seat a roster's members for the period of its first upload.

    Raises:
        ConflictError: Another roster with an upload of that time seats one of them
            (`conflict.seat`).
    """
    roster, period = claimed.roster, claimed.period
    kind = DaySeatRow if claimed.by_day else SeatRow
    if is_seated_by_day(session, claimed):
        return  # since an earlier day of the month
    if _find_taken(session, claimed, kind) or _find_taken(session, claimed, _OTHER[kind]):
        raise ConflictError(
            "A pseudonym of the roster sits in another one at that time.",
            reason="conflict.seat",
            remedy="Seat each meter point once; what is committed is corrected.",
        )
    # Plain values: to make thousands of rows takes longer than to insert them.
    place: dict[str, object] = {"start_at": period.start, "end_at": period.end}
    place |= {"roster_id": roster.roster_id, "domain": roster.domain}
    insert_all(session, kind, ({"pseudonym": name, **place} for name in roster.pseudonyms))


def _find_taken(
    session: Session, claimed: SeatsClaimed, kind: type[SeatRow] | type[DaySeatRow]
) -> bool:
    """Whether another roster has one of the seats.

    A month and the days of the same month may have different rosters; of another cycle, neither.
    """
    roster, period = claimed.roster, claimed.period
    others = [kind.domain == roster.domain, kind.start_at < period.end, kind.end_at > period.start]
    if kind is (DaySeatRow if claimed.by_day else SeatRow):
        others.append(kind.roster_id != roster.roster_id)
    else:
        others.append((kind.start_at != period.start) | (kind.end_at != period.end))
    return bool(find_many(session, kind, roster.pseudonyms, *others, by="pseudonym"))


def is_seated_by_day(session: Session, claimed: SeatsClaimed) -> bool:
    """Whether the members of a sealed day sit there since an earlier day: all do, or none."""
    if not claimed.by_day:
        return False
    own = {"roster_id": claimed.roster.roster_id, "start_at": claimed.period.start}
    return find(session, DaySeatRow, pseudonym=claimed.roster.pseudonyms[0], **own) is not None


def keep_members(session: Session, roster: RosterManifest, *, at: datetime) -> None:
    """Remember the members of a roster whose upload is committed."""
    keep(session, BilledMembersRow(digest=_members(roster), at=at))


def is_billed(session: Session, roster: RosterManifest) -> bool:
    """Whether the very same members were committed before: what is billed may be corrected."""
    return find(session, BilledMembersRow, digest=_members(roster)) is not None


def _members(roster: RosterManifest) -> str:
    return sm3_hex("\n".join([roster.gateway_id, roster.domain, *roster.pseudonyms]).encode())
