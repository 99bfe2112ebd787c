"""What every answer of every service says to browsers and caches, whatever answers it.

Only services' own pages and the logs that everybody may read are kept by caches; all else is not
stored. An answer's own word goes first: the API page loads its scripts from this origin.
"""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gridsecure_api.api_page import PAGE_PATHS
from gridsecure_api.log_pages import LOG_PATHS

PROTECTING: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
PRIVATE: Final = "no-store"
_YEAR: Final = "max-age=31536000"


class ProtectedAnswers:
    """ASGI middleware before all others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                _protect(MutableHeaders(scope=message), scope)
            await send(message)

        await self._app(scope, receive, protected)


def _protect(headers: MutableHeaders, scope: Scope) -> None:
    for name, text in PROTECTING.items():
        headers.setdefault(name, text)
    path = scope["path"]
    if path not in PAGE_PATHS and not path.startswith(LOG_PATHS):
        headers.setdefault("Cache-Control", PRIVATE)
    if scope.get("scheme") == "https":
        headers.setdefault("Strict-Transport-Security", _YEAR)
