"""Every request has a number, is counted, and is one line of the log.

The line has the route's template and never the path: paths name uploads, runs and people.
"""

from __future__ import annotations

import logging
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gridsecure.wire.request_ids import CURRENT, HEADER, PARENT_HEADER, read_request_id
from gridsecure_api.json_logs import FIELDS
from gridsecure_api.metrics import Answered, ServiceMetrics, ticks
from gridsecure_api.traces import Answering, Traces

_log = logging.getLogger(__name__)

_OTHER: Final = "other"
_LOOKED_AT: Final = frozenset({"/health", "/ready"})
"""What is asked every few seconds, and would fill the log."""


class ObservedRequests:
    """ASGI middleware around all others.

    Args:
        plain_paths: Routes whose path is their template.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: ServiceMetrics,
        traces: Traces,
        plain_paths: frozenset[str] = frozenset(),
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._traces = traces
        self._plain = plain_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        token = CURRENT.set(read_request_id(headers.get(HEADER, "")))
        try:
            if scope["path"] in _LOOKED_AT:
                await self._answer(Answering(None), scope, receive, send)
                return
            with self._traces.span(headers.get(PARENT_HEADER, "")) as answering:
                await self._answer(answering, scope, receive, send)
        finally:
            CURRENT.reset(token)

    async def _answer(
        self, answering: Answering, scope: Scope, receive: Receive, send: Send
    ) -> None:
        number, began, status = CURRENT.get(), ticks(), 0

        async def numbered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = number
            await send(message)

        try:
            await self._app(scope, receive, numbered)
        finally:
            answered = Answered(
                self._route(scope), _method(scope), status, round(ticks() - began, 6)
            )
            self._metrics.count(answered)
            answering.end(answered)
            if answered.route not in _LOOKED_AT:
                _log.info("answered", extra={FIELDS: _fields(answered)})

    def _route(self, scope: Scope) -> str:
        path = getattr(scope.get("route"), "path", None)
        if path is None and scope["path"] in self._plain:
            return str(scope["path"])
        return str(path or _OTHER)


_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else _OTHER


def _fields(answered: Answered) -> dict[str, object]:
    return {
        "route": answered.route,
        "method": answered.method,
        "status": answered.status,
        "seconds": answered.seconds,
    }
