"""Release requests: signed once, pulled by the key authority, answered once.

A request is named by all that makes it another question: transcripts, plan and version, purpose,
who asked, query and grant. So the same order asks the same question, and the same figures for
another purpose are another. A refused request waits again when its run is ordered again, because
what it was refused for may have changed; a released one stays released.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from sqlmodel import Session

from gridsecure.compute.zone import PlatformZone
from gridsecure.errors import ConflictError
from gridsecure.messages import PlanName, ReleaseRequest, Signed, signed
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.records import Record, advance, fetch, listed, record

KIND: Final = "release-request"
WAITING: Final = "waiting"
RELEASED: Final = "released"
REFUSED: Final = "refused"
_ABOUT: Final = "release-request-about"
"""Finds requests by plan and closing list: a month of load curves is ten megabytes to read."""


def keep_request(zone: PlatformZone, request: ReleaseRequest, *, at: datetime) -> Signed:
    """Sign and keep a request, or return the one that asks the same; refused, it waits again."""
    name = request.request_id
    with write_session(zone.engine) as session:
        for item in listed(session, kind=KIND):
            if item.name == name:
                if advance(session, kind=KIND, name=name, source=REFUSED, target=WAITING):
                    _note(session, request, at=at)
                return Signed.parsed(item.text)
        envelope = signed(request, key=zone.signing_key)
        text = envelope.model_dump_json()
        record(session, Record(KIND, name, name, envelope.digest, WAITING, text), at=at)
        if request.closing is not None:
            about = _about(request.plan, request.closing.digest)
            record(session, Record(_ABOUT, name, name, envelope.digest, about, ""), at=at)
        _note(session, request, at=at)
    return envelope


def requests_about(session: Session, *, plan: PlanName, closing: str) -> list[tuple[str, str]]:
    """Id and state of the requests about a closing list, for one plan, oldest first."""
    names = [item.name for item in listed(session, kind=_ABOUT, state=_about(plan, closing))]
    return [(name, fetch(session, kind=KIND, name=name).state) for name in names]


def waiting_requests(zone: PlatformZone) -> list[Signed]:
    """Requests the authority has not answered."""
    with read_session(zone.engine) as session:
        found = listed(session, kind=KIND, state=WAITING)
    return [Signed.parsed(item.text) for item in found]


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
        if advance(session, kind=KIND, name=request_id, source=WAITING, target=answer):
            evidence.append(
                session,
                at=at,
                actor="authority",
                action=f"release.{answer}",
                detail={"request": request_id},
            )
        elif fetch(session, kind=KIND, name=request_id).state != answer:
            raise ConflictError(
                "This release request was answered otherwise before.",
                reason="conflict.answer",
                remedy="Order the run again to ask anew.",
            )


def _about(plan: PlanName, closing: str) -> str:
    return f"{plan}/{closing}"


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
