"""Closing lists at the platform: which uploads of a month are billed and totalled together.

The billing office signs a list once a month's rosters are in, and no plan runs over bills or load
curves without one. What comes later is closed by a further list. An upload that spoils the others
(`bill.inconsistent`) is left out by a new list of the good ones, which takes the first one's place.

A list is taken if its number is the next one of its month, and if it names committed first uploads
of the month whose bills were not released. The key authority checks the list again, and whatever
the lists say, its ledger withholds what two of them together would narrow down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import Session, col, select

from gridsecure.compute.correction_uploads import COMMITTED
from gridsecure.compute.received import as_signed
from gridsecure.compute.requests import REFUSED, RELEASED, list_requests_about
from gridsecure.compute.tables import ClosingRow, RosterRow, UploadRow
from gridsecure.compute.zone import PlatformZone
from gridsecure.errors import ConflictError, InputError, NotFoundError
from gridsecure.messages import ClosingList, PlanName, Signed, open_message
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import keep
from gridsecure.wire.platform import UploadNamed

READY: Final = "ready"
_CLOSED_PLANS: Final[tuple[PlanName, ...]] = ("bill", "load-curve")


@dataclass(frozen=True, slots=True)
class SignedClosing:
    """A closing list as signed and as read."""

    envelope: Signed
    content: ClosingList


def close_period(zone: PlatformZone, envelope: Signed, *, at: datetime) -> ClosingList:
    """Keep a closing list; the same one again changes nothing.

    Raises:
        AuthenticityError: The billing office did not sign it.
        InvalidMessageError: It did, but it is no list.
        InputError: An upload is not a committed first one of the month (`closing.upload`), or they
            are of different cycles (`closing.cycle`).
        ConflictError: Another list has its number, or it is not the next one (`closing.number`);
            an upload's bills were released with an earlier list (`closing.released`).
    """
    content = open_message(envelope, expect=ClosingList, trusted=zone.office)
    start, end, number = content.start, content.end, content.number
    with write_session(zone.engine) as session:
        known = _lists(session, start, end)
        if any(item.envelope.digest == envelope.digest for item in known):
            return content
        if content.number != len(known) + 1:
            raise _numbered(len(known) + 1)
        _check_uploads(session, content, known=known)
        row = ClosingRow(**as_signed(envelope, at=at), start=start, end=end, number=number)
        keep(session, row)
        evidence.append(
            session,
            at=at,
            actor=envelope.signer,
            action="period.closed",
            detail={
                "closing": envelope.digest,
                "start": start,
                "end": end,
                "number": number,
                "uploads": len(content.uploads),
            },
        )
    return content


def list_closings(zone: PlatformZone, *, start: str, end: str) -> list[SignedClosing]:
    """All lists of a month, by number."""
    with read_session(zone.engine) as session:
        return _lists(session, start, end)


def list_first_uploads(zone: PlatformZone, *, start: str, end: str) -> list[UploadNamed]:
    """What the lists of a month may name."""
    with read_session(zone.engine) as session:
        return _first_uploads(session, start, end)


def open_uploads(zone: PlatformZone, *, start: str, end: str) -> list[UploadNamed]:
    """What the next list of a month may name besides what earlier ones do."""
    lists = find_in_force(list_closings(zone, start=start, end=end))
    named = {digest for item in lists for digest in item.content.uploads}
    uploads = list_first_uploads(zone, start=start, end=end)
    return [item for item in uploads if item.upload not in named]


def next_runs(zone: PlatformZone, *, start: str, end: str) -> Mapping[PlanName, str]:
    """What a run of each plan over a month would meet: `ready`, or the reason of its refusal.

    So people who see no releases know, too, that a month is released.
    """
    found: dict[PlanName, str] = {}
    with read_session(zone.engine) as session:
        for plan in _CLOSED_PLANS:
            try:
                find_next_list(session, plan=plan, start=start, end=end)
                found[plan] = READY
            except NotFoundError as error:
                found[plan] = error.reason
    return found


def find_next_list(session: Session, *, plan: PlanName, start: str, end: str) -> SignedClosing:
    """The list a plan runs over next: in force, not released, least refused, earliest.

    A list that was refused goes behind the others, so that it cannot hold them up.

    Raises:
        NotFoundError: Nothing is committed for the month (`run.empty`), it is not closed
            (`run.not-closed`), or all that was closed is released (`run.released`).
    """
    lists = find_in_force(_lists(session, start, end))
    if not lists:
        raise _not_closed() if _first_uploads(session, start, end) else run_empty()
    answers = [(_answers(session, item, plan), item) for item in lists]
    waiting = [(found[REFUSED], item.content.number, item) for found, item in answers
               if not found[RELEASED]]  # fmt: skip
    if not waiting:
        (found,) = [
            name
            for name, state in list_requests_about(
                session, plan=plan, closing=lists[0].envelope.digest
            )
            if state == RELEASED
        ][:1]
        raise NotFoundError(
            f"Everything closed in this month is already released for this plan: release {found}.",
            reason="run.released",
            remedy="Read that release. Close later uploads with a further list.",
        )
    return min(waiting, key=lambda entry: entry[:2])[2]


def find_in_force(lists: Sequence[SignedClosing]) -> list[SignedClosing]:
    """The lists of a month of which no later one names an upload."""
    found: list[SignedClosing] = []
    later: set[str] = set()
    for item in reversed(lists):
        if later.isdisjoint(item.content.uploads):
            found.append(item)
        later |= set(item.content.uploads)
    return found[::-1]


def _check_uploads(
    session: Session, content: ClosingList, *, known: Sequence[SignedClosing]
) -> None:
    committed = {item.upload: item for item in _first_uploads(session, content.start, content.end)}
    if not committed.keys() >= set(content.uploads):
        raise InputError(
            "A closing list names something other than a committed first upload of its month.",
            reason="closing.upload",
            remedy="List the open uploads: gridsecure period show.",
        )
    if len({committed[name].cycle_day for name in content.uploads}) > 1:
        raise InputError(
            "A closing list of a day names rosters of different billing cycles.",
            reason="closing.cycle",
            remedy="Close the day once for each cycle: gridsecure period close --cycle-day.",
        )
    for item in known:
        shared = not set(content.uploads).isdisjoint(item.content.uploads)
        if shared and _answers(session, item, "bill")[RELEASED]:
            raise ConflictError(
                "The bills of an upload were released with an earlier list.",
                reason="closing.released",
                remedy="Leave it out, and correct its bills if they are wrong.",
            )


def _lists(session: Session, start: str, end: str) -> list[SignedClosing]:
    month = select(ClosingRow).where(ClosingRow.start == start, ClosingRow.end == end)
    found = [row.envelope for row in session.exec(month.order_by(col(ClosingRow.number)))]
    return [SignedClosing(envelope, ClosingList.parse(envelope.body)) for envelope in found]


def _answers(session: Session, item: SignedClosing, plan: PlanName) -> Counter[str]:
    """How many requests about a list are in each state."""
    about = list_requests_about(session, plan=plan, closing=item.envelope.digest)
    return Counter(state for _, state in about)


def _first_uploads(session: Session, start: str, end: str) -> list[UploadNamed]:
    row = UploadRow
    found = select(row.digest, row.roster_id, row.gateway_id, RosterRow.tariff).join(RosterRow)
    of_month = found.where(
        UploadRow.start == start,
        UploadRow.end == end,
        UploadRow.state == COMMITTED,
        col(UploadRow.first_start).is_not(None),
    )
    with_cycle = of_month.add_columns(col(RosterRow.cycle_day))
    rows = session.execute(with_cycle.order_by(col(UploadRow.id)))
    return [
        UploadNamed(
            upload=digest, roster_id=name, gateway_id=gateway, tariff=tariff, cycle_day=cycle_day
        )
        for digest, name, gateway, tariff, cycle_day in rows
    ]


def _numbered(wanted: int) -> ConflictError:
    return ConflictError(
        f"The next closing list of this month is number {wanted}.",
        reason="closing.number",
        remedy="Look at what was closed (gridsecure period show), and sign the list again.",
    )


def _not_closed() -> NotFoundError:
    return NotFoundError(
        "The month is not closed: no list says which uploads are billed together.",
        reason="run.not-closed",
        remedy="The billing office closes it: gridsecure period close.",
    )


def run_empty() -> NotFoundError:
    """That there is nothing to run a plan over."""
    return NotFoundError(
        "No upload of this period is waiting for this plan.",
        reason="run.empty",
        remedy="Upload the period's rosters, or their corrections, first.",
    )
