"""Routes of the gateway for meter-data systems: what was sent, and what became of it.

A source signs in with its key at the identity service's `/service-tokens`, as services do; no
person has to. It sees its own batches and nobody else's, and never a reading.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import BaseModel, Field
from sqlmodel import Session

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import NotFoundError
from gridsecure.gateway.ingestion import batches
from gridsecure.gateway.ingestion.batch_queue import BatchQueue, list_queued
from gridsecure.gateway.ingestion.batches import (
    Arrival,
    BatchName,
    TakenIn,
    batch_folder,
    find_batch,
    find_gaps,
    list_batches,
    list_rejected,
    load_batch,
    take_in,
)
from gridsecure.gateway.ingestion.notices import list_notices
from gridsecure.gateway.ingestion.sources import ROLE, Source, find_source
from gridsecure.gateway.ingestion.spooled_bodies import HELD_BYTES, SpooledBody
from gridsecure.gateway.ingestion.stored_readings import RejectedRow
from gridsecure.gateway.tables import BatchRow, NoticeRow, QueuedBatchRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.messages import BatchReceipt, Signed
from gridsecure.store.notices import notices_revision
from gridsecure.store.pages import newest
from gridsecure.wire.gateway import (
    BatchStatus,
    NoticeStatus,
    QueuedBatch,
    RejectedReading,
    SequenceGap,
)
from gridsecure.wire.problems import ReadingsProblem
from gridsecure_api.deps import Clock, require
from gridsecure_api.errors import too_large_error
from gridsecure_api.gateway_queue import BatchReader
from gridsecure_api.gateway_turns import BatchTurns
from gridsecure_api.lanes import Listeners
from gridsecure_api.lists import (
    KEPT_ANSWERS,
    PAGED,
    Paging,
    answer_kept,
    answer_page,
    answer_whole,
    join_texts,
)
from gridsecure_api.reading_examples import BODY, DONE, REFUSED, WAITS
from gridsecure_api.serving import text_header

MAX_BATCH_BYTES: Final = 2 << 30
"""Largest body of a batch, as it is sent [bytes]; the setting of all bodies may bound it more."""
ACCEPTED: Final = 202
MAX_GAPS: Final = 1000
"""Gaps of a sequence in one answer, the first ones."""

_LOCATION: Final = {"Location": text_header("Where the batch stands, and its receipt.")}
_TAKEN_IN: Final = {
    "description": "The batch is taken in.",
    "content": {"application/json": {"example": DONE}},
    "headers": _LOCATION,
}
_WAITS: Final = {
    "description": "The batch is safe on the disk and waits to be read.",
    "model": BatchStatus,
    "content": {"application/json": {"example": WAITS}},
    "headers": _LOCATION | {"Preference-Applied": text_header("`respond-async` where it was.")},
}
_REFUSED: Final = {
    "description": "Nothing was taken in.",
    "model": ReadingsProblem,
    "content": {"application/json": {"example": REFUSED}},
}

OPERATOR: Final = "operator"


class BatchHeaders(BaseModel):
    """How a source names a batch, and whether it wants to wait for the receipt (RFC 7240)."""

    batch_id: str = Field(
        alias="Idempotency-Key",
        max_length=128,
        description="The batch's id: letters, digits and `._:-`; with the source it names it.",
        examples=["2026-07-01"],
    )
    sequence: int = Field(
        alias="Batch-Sequence",
        ge=1,
        le=2**53,
        description="Its number among the source's batches, from 1.",
        examples=[182],
    )
    prefer: str = Field(
        default="",
        alias="Prefer",
        max_length=1000,
        description="`respond-async` for an answer before the body is read.",
    )

    @property
    def is_async(self) -> bool:
        """Whether it wants an answer before the body is read."""
        wishes = re.split("[,;]", self.prefer)
        return "respond-async" in (wish.strip().lower() for wish in wishes)


@dataclass(frozen=True, slots=True)
class Intake:
    """What the routes work with; an application's `state.intake`.

    Args:
        queued_bytes: A body of more is answered before it is read [bytes].
    """

    zone: GatewayZone
    clock: Clock
    queue: BatchQueue
    reader: BatchReader
    turns: BatchTurns
    queued_bytes: int
    listeners: Listeners = field(default_factory=Listeners)


async def _intake(request: Request) -> Intake:
    intake: Intake = request.app.state.intake
    return intake


In = Annotated[Intake, Depends(_intake)]
"""What the routes work with."""

router = APIRouter(prefix="/v1", tags=["readings"])


def _own_source(intake: Intake, claims: TokenClaims) -> Source:
    """The source that a token is for; its subject is the role and the key's thumbprint."""
    return find_source(intake.zone, claims.subject.removeprefix(f"{ROLE}:"))


def _admit(
    name: str, intake: In, claims: Annotated[TokenClaims, Depends(require(OPERATOR, ROLE))]
) -> None:
    """Admit an operator, and a source to what is its own."""
    if OPERATOR not in claims.roles and _own_source(intake, claims).name != name:
        raise NotFoundError("There is no source of that name here.", reason="not-found.source")


def _find_sender(intake: In, claims: Annotated[TokenClaims, Depends(require(ROLE))]) -> Source:
    """The source that sends; found before its body is read."""
    return _own_source(intake, claims)


Sender = Annotated[Source, Depends(_find_sender)]


async def _spool(request: Request, intake: In, _sender: Sender) -> AsyncIterator[SpooledBody]:
    """The body of a batch, as it comes, in bounded memory; removed once it was answered."""
    declared = int(request.headers.get("content-length", "0"))
    if declared > HELD_BYTES:  # less needs no disk until it waits
        intake.queue.share.check(declared)
    with SpooledBody(batch_folder(intake.zone), share=intake.queue.share) as body:
        async for part in request.stream():
            if body.size + len(part) > MAX_BATCH_BYTES:
                raise too_large_error()
            if body.add(part):
                await to_thread.run_sync(body.spill)
        yield body


_operators = [Depends(require(OPERATOR))]
visible = [Depends(_admit)]
"""Admits an operator, and a source to what is its own."""


@router.post(
    "/readings",
    openapi_extra=BODY,
    responses={200: _TAKEN_IN, 202: _WAITS, "4XX": _REFUSED},
)
def post_readings(
    source: Sender,
    intake: In,
    body: Annotated[SpooledBody, Depends(_spool)],
    response: Response,
    sent: Annotated[BatchHeaders, Header()],
) -> BatchStatus:
    """Send a batch of readings. It is taken in whole, or not at all; repeating is harmless.

    Answers with its receipt, the first one if it was taken in before. A large body is answered once
    it is safe on the disk (202), and so is one with `Prefer: respond-async`, and one behind another
    of the source that waits; `Location` says where its receipt will be.
    """
    arrival = Arrival(source, BatchName(sent.batch_id, sent.sequence), intake.clock())
    response.headers["Location"] = batch_location(source.name, sent.batch_id)
    is_asked = sent.is_async
    is_late = body.size > intake.queued_bytes or intake.queue.has_waiting(source.name)
    if not (is_asked or is_late):
        return taken_in_status(take_in(intake.zone, body, arrival=arrival))
    if intake.queue.add(body, arrival):
        intake.reader.wake()
        response.status_code = ACCEPTED
    if is_asked:
        response.headers["Preference-Applied"] = "respond-async"
    return find_status(intake, source.name, sent.batch_id)


@router.get(
    "/sources/{name}/batches",
    dependencies=visible,
    response_model=list[Signed],
    responses=PAGED,
)
async def read_batches(name: str, request: Request, intake: In, asked: Paging) -> Response:
    """Receipts of a source's batches, in the order in which they came, page by page."""
    return await answer_page(
        request,
        intake.zone.engine,
        revision=lambda session: newest(session, BatchRow.id),
        read=lambda session: list_batches(session, asked, source=name),
        write=join_texts,
    )


@router.get(
    "/waiting-batches",
    dependencies=_operators,
    response_model=list[QueuedBatch],
    responses=PAGED,
)
async def read_waiting(
    request: Request,
    intake: In,
    asked: Paging,
    state: Literal["waiting", "refused"] = "waiting",
) -> Response:
    """Batches of all sources that were answered with 202 and wait, or were refused; page by page.

    Those that wait are in the order in which they came, and one of them may be being read.
    """

    def read(session: Session) -> tuple[list[str], int | None]:
        rows, after = list_queued(session, asked, state=state)
        return [_queued(intake, row).model_dump_json() for row in rows], after

    return await answer_page(
        request,
        intake.zone.engine,
        revision=lambda _session: (intake.queue.changes, intake.reader.changes),
        read=read,
        write=join_texts,
    )


@router.get(
    "/sources/{name}/batches/{batch_id}",
    dependencies=visible,
    response_model=BatchStatus,
    responses=KEPT_ANSWERS,
)
def read_batch(name: str, batch_id: str, request: Request, intake: In) -> Response:
    """Where a batch stands: its receipt, how far its months are, what became of its readings."""
    text = find_status(intake, name, batch_id).model_dump_json()
    return answer_kept(request, sm3_hex(text.encode()), lambda: text)


@router.get(
    "/sources/{name}/batches/{batch_id}/rejected",
    dependencies=visible,
    response_model=list[RejectedReading],
    responses=PAGED,
)
async def read_rejected(
    name: str, batch_id: str, request: Request, intake: In, asked: Paging
) -> Response:
    """Every reading of a batch that its receipt counts as rejected, and by which rule.

    In the order of the batch, page by page; without energies.
    """

    def find(session: Session) -> BatchRow:
        return find_batch(session, source=name, batch_id=batch_id)

    def read(session: Session) -> tuple[list[str], int | None]:
        rows, after = list_rejected(intake.zone, find(session), asked)
        return [_rejected(row, intake.zone) for row in rows], after

    return await answer_page(
        request,
        intake.zone.engine,
        revision=lambda session: find(session).digest,  # a batch stays as it was taken in
        read=read,
        write=join_texts,
    )


def _rejected(row: RejectedRow, zone: GatewayZone) -> str:
    return RejectedReading(
        number=row.number,
        meter_point_id=row.meter_point_id,
        start=zone.local_text(row.start),
        rule=row.rule,
    ).model_dump_json()


@router.get(
    "/sources/{name}/gaps",
    dependencies=visible,
    response_model=list[SequenceGap],
    responses=KEPT_ANSWERS,
)
async def read_gaps(name: str, request: Request, intake: In) -> Response:
    """Sequences that never came among the newest ten thousand; the first thousand gaps."""

    def read() -> list[SequenceGap]:
        gaps = find_gaps(intake.zone, source=name, limit=MAX_GAPS)
        return [SequenceGap(first=first, last=last) for first, last in gaps]

    return await answer_whole(request, read)


@router.get(
    "/sources/{name}/notices",
    dependencies=visible,
    response_model=list[NoticeStatus],
    responses=PAGED,
)
async def read_notices(name: str, request: Request, intake: In, asked: Paging) -> Response:
    """What the source was told of its batches, or will be; page by page."""
    return await answer_page(
        request,
        intake.zone.engine,
        revision=lambda session: notices_revision(session, NoticeRow),
        read=lambda session: list_notices(session, asked, source=name),
        write=join_texts,
    )


def find_status(intake: Intake, source: str, batch_id: str) -> BatchStatus:
    """Where a batch stands.

    Raises:
        NotFoundError: The source sent none of that id (`not-found.batch`).
    """
    # The queue first: a batch leaves it once it was taken in, and not before.
    row = intake.queue.find(source, batch_id)
    try:
        taken = load_batch(intake.zone, source=source, batch_id=batch_id)
    except NotFoundError:
        if row is None:
            raise
        return _unfinished(intake, row)
    return taken_in_status(taken)


def taken_in_status(taken: TakenIn) -> BatchStatus:
    """Where a batch stands that was taken in."""
    return BatchStatus(
        state="done",
        receipt=taken.receipt,
        readings=BatchReceipt.parse(taken.receipt.body).readings,
        months=dict(taken.months),
        counts=dict(taken.counts),
    )


def batch_location(source: str, batch_id: str) -> str:
    """Where it is asked how a batch stands."""
    return f"/v1/sources/{source}/batches/{batch_id}"


def _unfinished(intake: Intake, row: QueuedBatchRow) -> BatchStatus:
    if row.state == batches.REFUSED:
        refusal = ReadingsProblem.model_validate_json(row.refusal)
        return BatchStatus(state="refused", refusal=refusal, size=row.size)
    at = intake.reader.progress(row)
    if at is None:
        return BatchStatus(state="waiting", size=row.size)
    return BatchStatus(state="reading", size=row.size, pieces=at.pieces, readings=at.readings)


def _queued(intake: Intake, row: QueuedBatchRow) -> QueuedBatch:
    status = _unfinished(intake, row)
    if status.state == "done":
        raise ValueError("what is taken in has left the queue")
    reason = intake.reader.put_off(row.source)
    return QueuedBatch(
        source=row.source,
        batch_id=row.batch_id,
        sequence=row.sequence,
        at=row.at.isoformat(),
        size=row.size,
        state=status.state,
        reason=status.refusal.reason if status.refusal else reason,
        attempts=row.attempts,
        pieces=status.pieces,
        readings=status.readings,
    )
