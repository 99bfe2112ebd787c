"""Release requests: signed once, pulled by the key authority, answered once.

A request is named by all that makes it another question: transcripts, plan and version, purpose,
who asked, query and grant. So the same order asks the same question, and the same figures for
another purpose are another. A refused request waits again when its run is ordered again, because
what it was refused for may have changed; a released one stays released.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Literal

from sqlmodel import Session, col, insert, select

from gridsecure.compute.received import as_signed
from gridsecure.compute.tables import ReleaseRequestRow, RequestUploadRow, ShadowRow
from gridsecure.compute.zone import PlatformZone
from gridsecure.errors import ConflictError, NotFoundError
from gridsecure.messages import PlanName, ReleaseRequest, Signed, Transcript, sign_message
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.pages import PageAsked, read_page
from gridsecure.store.rows import advance, find, keep

WAITING: Final = "waiting"
RELEASED: Final = "released"
REFUSED: Final = "refused"

_AT_ONCE: Final = 3  # requests of a page
_PREVIEWS: Final = 1 << 48  # from here on places in the queue are those of requests for previews
_FOR_RELEASE: Final[Any] = select(ReleaseRequestRow.id, ReleaseRequestRow.message).where(
    ReleaseRequestRow.state == WAITING
)
_FOR_PREVIEW: Final[Any] = select(ShadowRow.id, ShadowRow.request).where(
    ShadowRow.state == WAITING, col(ShadowRow.request).is_not(None)
)
_NUMBERS: Final = [
    select(row.id).where(row.state == WAITING).order_by(col(row.id))
    for row in (ReleaseRequestRow, ShadowRow)
]


def keep_request(
    zone: PlatformZone,
    request: ReleaseRequest,
    *,
    at: datetime,
    within: Callable[[Session], None] = lambda _session: None,
) -> Signed:
    """Sign and keep a request, or return the one that asks the same; refused, it waits again.

    Args:
        within: Done in the same transaction.
    """
    name = request.request_id
    with read_session(zone.engine) as session:
        known = find(session, ReleaseRequestRow, request_id=name)
    # Read and signed before the transaction: nobody waits for that.
    envelope = known.envelope if known else sign_message(request, key=zone.signing_key)
    transcripts = [Transcript.parse(one.body) for one in request.transcripts]
    with write_session(zone.engine) as session:
        within(session)
        known = find(session, ReleaseRequestRow, request_id=name)
        if known is not None:
            if advance(session, ReleaseRequestRow, source=REFUSED, target=WAITING, request_id=name):
                _note(session, request, at=at)
            return known.envelope
        row = ReleaseRequestRow(
            **as_signed(envelope, at=at),
            request_id=name,
            plan=request.plan,
            start=request.start,
            end=request.end,
            purpose=request.purpose,
            closing=None if request.closing is None else request.closing.digest,
            state=WAITING,
        )
        keep(session, row)
        uploads = sorted({upload for one in transcripts for upload in one.uploads})
        about = [{"upload": upload, "request_id": name} for upload in uploads]
        if about:  # without any values the statement would insert a row of defaults
            session.execute(insert(RequestUploadRow), about)
        _note(session, request, at=at)
    return envelope


def list_requests_about(session: Session, *, plan: PlanName, closing: str) -> list[tuple[str, str]]:
    """Id and state of the requests about a closing list, for one plan, oldest first."""
    found = select(ReleaseRequestRow.request_id, ReleaseRequestRow.state).where(
        ReleaseRequestRow.closing == closing, ReleaseRequestRow.plan == plan
    )
    return list(session.exec(found.order_by(col(ReleaseRequestRow.id))))


def list_waiting_requests(zone: PlatformZone) -> list[Signed]:
    """Requests the authority has not answered."""
    with read_session(zone.engine) as session:
        found = select(ReleaseRequestRow).where(ReleaseRequestRow.state == WAITING)
        waiting = session.exec(found.order_by(col(ReleaseRequestRow.id)))
        return [row.envelope for row in waiting]


def list_waiting(session: Session, asked: PageAsked) -> tuple[list[str], int | None]:
    """A page of what waits for the authority, as it is kept, and the place it ends at if more may.

    Oldest first: requests for releases, then for previews. A page has a few of them, whatever is
    asked for, because one may have ten megabytes.
    """
    limit = min(asked.limit, _AT_ONCE)
    if asked.after < _PREVIEWS:
        page = read_page(
            session, _FOR_RELEASE, key=ReleaseRequestRow.id, asked=PageAsked(limit, asked.after)
        )
        if page.rows:
            return [row.message for row in page.rows], page.after or _PREVIEWS
    behind = max(asked.after - _PREVIEWS, 0)
    page = read_page(session, _FOR_PREVIEW, key=ShadowRow.id, asked=PageAsked(limit, behind))
    return [row.request for row in page.rows], page.after and page.after + _PREVIEWS


def read_waiting(session: Session) -> object:
    """Differs whenever what waits for the authority does: a request never changes."""
    return [list(session.exec(numbers)) for numbers in _NUMBERS]


def record_answer(
    zone: PlatformZone,
    request_id: str,
    *,
    answer: Literal["released", "refused"],
    at: datetime,
) -> None:
    """Keep the authority's answer; the same one again changes nothing.

    Raises:
        NotFoundError: No such request (`not-found.release-request`).
        ConflictError: It was answered otherwise (`conflict.answer`).
    """
    with write_session(zone.engine) as session:
        if advance(
            session, ReleaseRequestRow, source=WAITING, target=answer, request_id=request_id
        ):
            evidence.append(
                session,
                at=at,
                actor="authority",
                action=f"release.{answer}",
                detail={"request": request_id},
            )
        elif request_state(session, request_id) != answer:
            raise ConflictError(
                "This release request already has a different answer.",
                reason="conflict.answer",
                remedy="Order the run again to ask anew.",
            )


def request_state(session: Session, request_id: str) -> str:
    """Where a request stands.

    Raises:
        NotFoundError: No such request (`not-found.release-request`).
    """
    found = select(ReleaseRequestRow.state).where(ReleaseRequestRow.request_id == request_id)
    state = session.exec(found).first()
    if state is None:
        raise NotFoundError(
            "There is no release-request of that name here.", reason="not-found.release-request"
        )
    return state


def _note(session: Session, request: ReleaseRequest, *, at: datetime) -> None:
    evidence.append(
        session,
        at=at,
        actor=request.requested_by,
        action="release.requested",
        detail={
            "request": request.request_id,
            "plan": request.plan,
            "purpose": request.purpose,
        },
    )
