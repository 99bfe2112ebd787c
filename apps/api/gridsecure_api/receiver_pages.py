"""Routes for receivers of events, which services have alike: an operator looks after them.

Notices that were given up are the list with `state=given-up`; they are sent again by one request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from gridsecure.crypto.tokens import TokenClaims
from gridsecure.store.receivers import Receiver, Receivers
from gridsecure.wire.services import EventNoticeStatus, NoticesRetried, ReceiverRegistered
from gridsecure_api.deps import Clock, require
from gridsecure_api.lists import KEPT_ANSWERS, PAGED, Paging, answer_page, answer_whole

Operator = Annotated[TokenClaims, Depends(require("operator"))]

_NOTICES: Final = TypeAdapter(list[EventNoticeStatus])


@dataclass(frozen=True, slots=True)
class ReceiverDesk:
    """What the routes need."""

    receivers: Receivers
    clock: Clock


async def _desk(request: Request) -> ReceiverDesk:
    desk: ReceiverDesk = request.app.state.receivers
    return desk


Desk = Annotated[ReceiverDesk, Depends(_desk)]
State = Annotated[
    Literal["", "waiting", "told", "given-up"], Query(description="Only notices in this state.")
]


class ReceiverDeclared(BaseModel):
    """Where a receiver is told, and of what."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    address: str = Field(max_length=2000)
    events: list[str] = Field(max_length=20)


router = APIRouter(prefix="/v1/receivers", tags=["receivers"])


@router.put("/{name}")
def put_receiver(
    name: str, wanted: ReceiverDeclared, desk: Desk, claims: Operator
) -> ReceiverRegistered:
    """Register a receiver of events, or replace what the one of that name is told, and where.

    It is told of what happens from now on.
    """
    done = desk.receivers.register(
        name,
        address=wanted.address,
        events=wanted.events,
        person=claims.subject,
        at=desk.clock(),
    )
    return _registered(desk, done)


@router.get(
    "",
    dependencies=[Depends(require("operator"))],
    response_model=list[ReceiverRegistered],
    responses=KEPT_ANSWERS,
)
async def read_receivers(request: Request, desk: Desk) -> Response:
    """All receivers, by name."""
    return await answer_whole(
        request,
        lambda: [_registered(desk, one) for one in desk.receivers.list_all()],
    )


@router.delete("/{name}")
def delete_receiver(name: str, desk: Desk, claims: Operator) -> ReceiverRegistered:
    """Tell a receiver nothing more; what waits for it is given up."""
    return _registered(desk, desk.receivers.remove(name, person=claims.subject, at=desk.clock()))


@router.get(
    "/{name}/notices",
    dependencies=[Depends(require("operator"))],
    response_model=list[EventNoticeStatus],
    responses=PAGED,
)
async def read_event_notices(
    name: str, request: Request, desk: Desk, asked: Paging, state: State = ""
) -> Response:
    """What a receiver was told or will be, oldest first, page by page."""
    told = desk.receivers
    return await answer_page(
        request,
        told.engine,
        revision=told.revision,
        read=lambda session: told.list_notices(session, asked, receiver=name, state=state),
        write=lambda rows: _NOTICES.dump_json([_shown(row) for row in rows]),
    )


@router.post("/{name}/notices/retries")
def retry_event_notices(name: str, desk: Desk, claims: Operator) -> NoticesRetried:
    """Send again the notices to a receiver that were given up, within a minute."""
    again = desk.receivers.send_again(name, person=claims.subject, at=desk.clock())
    return NoticesRetried(notices=again)


def _registered(desk: ReceiverDesk, one: Receiver) -> ReceiverRegistered:
    return ReceiverRegistered(
        name=one.name,
        address=one.address,
        events=list(one.events),
        service_key=desk.receivers.key.public_key.point.hex(),
    )


def _shown(row: Any) -> EventNoticeStatus:
    return EventNoticeStatus(
        event=row.event,
        subject=row.subject,
        count=row.count,
        entry=row.entry,
        state=row.state,
        attempts=row.attempts,
        at=row.at.isoformat(),
        due_at=row.due_at.isoformat() if row.state == "waiting" else None,
    )
