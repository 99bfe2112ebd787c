"""Closing lists at the key authority: no bills and no load curves of any other company of uploads.

The platform cannot choose who is totalled with whom; the billing office did, and signed it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlmodel import Session, select

from gridsecure.errors import (
    AuthenticityError,
    ConflictError,
    InvalidMessageError,
    ReleaseRefusedError,
)
from gridsecure.key_authority.checker.tables import ClosingRow
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.messages import ClosingList, ReleaseRequest, Signed, Transcript, open_message
from gridsecure.store import evidence
from gridsecure.store.database import read_session
from gridsecure.store.rows import keep

REFUSED: Final = "release.closing"


def check_closing(
    zone: AuthorityZone, request: ReleaseRequest, *, transcripts: Sequence[Transcript]
) -> None:
    """Refuse a request that is not about the uploads of one closing list, all of them.

    Raises:
        ReleaseRefusedError: There is none, the billing office did not sign it, or it is about
            other uploads or another month (`release.closing`).
    """
    if request.plan == "rebill":
        if request.closing is not None:
            raise _refused("Corrections follow a release; no list closes them.")
        return
    if request.closing is None:
        raise _refused("The request comes without the list that closed its month.")
    try:
        content = open_message(request.closing, expect=ClosingList, trusted=zone.office)
    except (AuthenticityError, InvalidMessageError) as error:
        raise _refused("The billing office did not sign the closing list.") from error
    used = [transcript.uploads for transcript in transcripts]
    if request.plan == "bill":
        used = [[upload for uploads in used for upload in uploads]]
    is_whole = all(sorted(set(uploads)) == content.uploads for uploads in used)
    if (content.start, content.end) != (request.start, request.end) or not is_whole:
        raise _refused("The request and the closing list name different uploads.")


def check_lists_in_force(zone: AuthorityZone, lists: Sequence[ClosingList]) -> None:
    """Refuse lists that a later one superseded, as far as releases rest on that.

    Args:
        lists: Of one period; the billing office's signatures were verified.

    Raises:
        ReleaseRefusedError: A later list names one of their uploads, or another list has one of
            their numbers (`release.closing`).
    """
    if not lists:
        return
    of_period = select(ClosingRow).where(
        ClosingRow.start == lists[0].start, ClosingRow.end == lists[0].end
    )
    with read_session(zone.engine) as session:
        known = [ClosingList.parse(row.envelope.body) for row in session.exec(of_period)]
    for own in lists:
        for other in known:
            if other.number == own.number and other != own:
                raise _refused("Another closing list of this month has the same number.")
            if other.number > own.number and not set(other.uploads).isdisjoint(own.uploads):
                raise _refused("A later closing list names an upload of one of these.")


def keep_closing(session: Session, request: ReleaseRequest, *, at: datetime) -> None:
    """Enter a list in the evidence log with the first certificate that rests on it.

    Raises:
        ReleaseRefusedError: The office signed another list under its number (`release.closing`).
    """
    own = [] if request.closing is None else [request.closing]
    for closing in own if request.queried is None else request.queried.closings:
        _keep_list(session, closing, at=at)


def _keep_list(session: Session, closing: Signed, *, at: datetime) -> None:
    content = ClosingList.parse(closing.body)
    name = closing.digest
    row = ClosingRow(
        digest=name,
        message=closing.model_dump_json(),
        start=content.start,
        end=content.end,
        number=content.number,
        at=at,
    )
    try:
        is_new = keep(session, row)
    except ConflictError as error:
        raise _refused("Another closing list of this month has the same number.") from error
    if is_new:
        evidence.append(
            session,
            at=at,
            actor=closing.signer,
            action="period.closed",
            detail={
                "closing": name,
                "start": content.start,
                "end": content.end,
                "number": content.number,
                "uploads": len(content.uploads),
            },
        )


def _refused(message: str) -> ReleaseRefusedError:
    return ReleaseRefusedError(
        message,
        reason=REFUSED,
        remedy="The billing office closes the month (gridsecure period close); then order again.",
    )
