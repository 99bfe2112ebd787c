"""Small batches of readings, taken in before they reach their route, together with all that wait.

What the framework asks of a request costs as much as taking a batch of a day in. So `POST
/v1/readings` is answered here where nothing of it is open: a source's own token, a declared and
small length, an id and a sequence, and no wish to be answered early. Every other request, and every
body that is not of the plainest form, goes on to the route as it came, which decides alone what is
wrong with it. Whether a batch is taken in is decided by `batch_groups` and for both by the same
functions.
"""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI, Response
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import GridSecureError
from gridsecure.gateway.ingestion.batch_groups import Outcome, SmallBatch
from gridsecure.gateway.ingestion.batches import BatchName, TakenIn
from gridsecure.gateway.ingestion.plain_lines import MOST_BYTES
from gridsecure.gateway.ingestion.sources import ROLE
from gridsecure_api.gateway_readings import Intake, batch_location, taken_in_status
from gridsecure_api.gathered import Gathered

SMALL_BATCHES: Final = "/v1/readings"
_LONGEST_NUMBER: Final = 16
_MOST_TOGETHER: Final = 32
"""Beyond, a turn saves little more, and makes those behind it wait."""
_LONGEST_ID: Final = 128


class SmallBatches:
    """ASGI middleware, behind the access check.

    Args:
        app: Where every other request goes.
    """

    def __init__(self, app: ASGIApp, intake: Intake) -> None:
        self._app = app
        self._intake = intake
        self._most_bytes = min(MOST_BYTES, intake.queued_bytes)
        turns = intake.turns
        self._gathered: Gathered[SmallBatch, Outcome] = Gathered(
            turns.take_in, turns=turns.at_once, most=_MOST_TOGETHER
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        is_sent = (
            scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == SMALL_BATCHES
        )
        name = _small_batch(scope, most=self._most_bytes) if is_sent else None
        if name is None or (thumbprint := _sender(scope)) is None:
            await self._app(scope, receive, send)
            return
        turn, lanes = scope["state"]["turn"], scope["state"]["lanes"]
        await turn.move(lanes.gathered)
        body = await _read(receive)
        if body is None:  # whoever sent it went away
            return
        batch = SmallBatch(thumbprint, name, self._intake.clock(), body)
        outcome = await self._gathered.do(batch)
        if isinstance(outcome, GridSecureError):
            raise outcome
        if isinstance(outcome, TakenIn):
            await _answer(outcome, name)(scope, receive, send)
            return
        await turn.move(lanes.changes)
        await self._app(scope, _Again(body, receive), send)


def _small_batch(scope: Scope, *, most: int) -> BatchName | None:
    """How a small batch is named that says all that it should, once, and wishes nothing else.

    Args:
        most: Bytes that a small one has.
    """
    said: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _NEEDED:
            if name in said:
                return None
            said[name] = value
        elif name in _OTHERWISE:
            return None
    batch_id, sequence, length = (said.get(name, b"") for name in _NEEDED)
    numbers = (sequence, length)
    if not all(one.isdigit() and len(one) <= _LONGEST_NUMBER for one in numbers):
        return None
    is_whole = 0 < len(batch_id) <= _LONGEST_ID and batch_id.isascii()
    if not is_whole or int(length) > most or not 1 <= int(sequence) <= _MOST_SEQUENCE:
        return None
    return BatchName(batch_id.decode("ascii"), int(sequence))


_NEEDED: Final = (b"idempotency-key", b"batch-sequence", b"content-length")
_OTHERWISE: Final = frozenset({b"prefer", b"transfer-encoding"})
_MOST_SEQUENCE: Final = 2**53


def _sender(scope: Scope) -> str | None:
    """Thumbprint of the key that a source's token is for; None for whoever is no source."""
    claims: TokenClaims = scope["state"]["claims"]
    if ROLE not in claims.roles or claims.holder_thumbprint is not None:
        return None
    return claims.subject.removeprefix(f"{ROLE}:")


async def _read(receive: Receive) -> bytes | None:
    """A body, or None if its connection broke."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _answer(taken: TakenIn, name: BatchName) -> Response:
    headers = {"Location": batch_location(taken.source, name.batch_id)}
    text = taken_in_status(taken).model_dump_json()
    return Response(text, headers=headers, media_type="application/json")


class _Again:
    """A body that was read, for who reads it again."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def add_small_batches(app: FastAPI) -> None:
    """Have an application take in small batches before its routes, by its `state.intake`."""
    # Last of all, and so behind the access check: what is added is put before the others.
    app.user_middleware.append(Middleware(SmallBatches, intake=app.state.intake))
