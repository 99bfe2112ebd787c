"""The gateway's events: how far a batch that was answered before it was read has come.

A stream sends where the batch stands at once, then whenever that changes, and ends when the batch
is taken in or refused. It ends after a minute in any case, so that a gateway that is to end waits
for nobody; who wants to hear more asks again, as browsers do of their own accord. A listener holds
no thread and no turn, and there are so many at most.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

import anyio
from anyio import to_thread
from fastapi import APIRouter, Depends
from fastapi.sse import EventSourceResponse, ServerSentEvent

from gridsecure.errors import GridSecureError
from gridsecure.wire.gateway import BatchStatus
from gridsecure.wire.problems import LATER, PROBLEM_TYPE
from gridsecure_api.gateway_readings import In, find_status, visible
from gridsecure_api.reading_examples import EVENTS
from gridsecure_api.serving import text_header

LONGEST_S: Final = 60.0
"""How long a stream lasts at most [s]."""
LOOK_S: Final = 0.5
"""From one look at a batch to the next [s]."""

_PROBLEM: Final[dict[str, Any]] = {
    "description": "No stream begins.",
    "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_RETRY: Final = {"Retry-After": text_header("In how many seconds to ask again.")}
_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": _PROBLEM,
    LATER: _PROBLEM
    | {"headers": {"Retry-After": text_header("In how many seconds to ask again.")}},
    "5XX": _PROBLEM,
}
"""Errors are JSON here too, which the framework would have be events."""

router = APIRouter(prefix="/v1", tags=["readings"])


async def _listen(name: str, batch_id: str, intake: In) -> AsyncIterator[BatchStatus]:
    """Where the batch stands as a stream begins; refused before that, if there is none."""
    with intake.listeners.enter():
        yield await to_thread.run_sync(find_status, intake, name, batch_id)


@router.get(
    "/sources/{name}/batches/{batch_id}/events",
    dependencies=visible,
    response_class=EventSourceResponse,
    responses=_PROBLEMS | {200: {"content": {"text/event-stream": {"example": EVENTS}}}},
)
async def read_events(
    name: str, batch_id: str, intake: In, begun: Annotated[BatchStatus, Depends(_listen)]
) -> AsyncIterator[ServerSentEvent]:
    """Where a batch stands, as events: at once, and whenever it changes; for a minute at most.

    Each has the state as its name and a `BatchStatus` as its data.
    """
    status, end = begun, time.monotonic() + LONGEST_S
    while True:
        yield ServerSentEvent(event=status.state, data=status)
        told = status
        while status == told:
            if told.state in {"done", "refused"} or time.monotonic() > end:
                return
            await anyio.sleep(LOOK_S)
            try:
                status = await to_thread.run_sync(find_status, intake, name, batch_id)
            except GridSecureError:  # after the first byte, to end is the only honest sign
                return
