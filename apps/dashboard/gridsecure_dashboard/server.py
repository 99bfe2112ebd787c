"""The dashboard's server: `streamlit run apps/dashboard/gridsecure_dashboard/server.py`.

Streamlit's pages, and the one address that sets the sign-in cookie, which a page cannot. Of what
Streamlit serves besides, only what its pages need is open: its metrics tell strangers who is at
work. Every answer says what browsers may do with it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.starlette import App

from gridsecure_dashboard.settings import load_settings
from gridsecure_dashboard.sign_ins import SIGN_INS, cookie_name

KEEP_PATH: Final = "/keep-sign-in"
_LONGEST_TICKET: Final = 64
_NEEDED_FIRST: Final = ("streamlit.emojis", "gridsecure_dashboard.charts")
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

# What is open of Streamlit's own addresses; a page's come below the page's name, too.
OPEN: Final = re.compile(
    r"(/[a-z_]+)?/_stcore/(health|host-config|stream|upload_file/.+|bidi-components/.+)"
)
_CLOSED: Final = re.compile(r"/(_stcore|auth|oauth2callback)(/|$)")

PROTECTING: Final = {
    # Streamlit's start page and the sign-in have scripts of their own in the page, and its charts
    # compile their expressions: what scripts may reach is bounded instead.
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'unsafe-inline' "
    "'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; frame-src 'self' blob:; "
    "media-src 'self'; manifest-src 'self'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# What is the same for everybody, and may be kept; nothing else is stored.
_SCRIPTS: Final = "/static/"


class PageGuard:
    """ASGI middleware: closes what no page needs, and protects every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        path = scope["path"]

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(PROTECTING)
                if not path.startswith(_SCRIPTS):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        if _CLOSED.search(path) and not OPEN.fullmatch(path):
            await PlainTextResponse("Not Found", 404)(scope, receive, protected)
            return
        await self._app(scope, receive, protected)


async def keep_sign_in(request: Request) -> Response:
    """Exchange the ticket in the body for a cookie; from this dashboard's own pages only."""
    if not _is_own_page(request):
        return Response(status_code=403)
    ticket = b""
    async for part in request.stream():
        ticket += part
        if len(ticket) > _LONGEST_TICKET:
            return Response(status_code=413)
    now = datetime.now(UTC)
    handle = SIGN_INS.redeem(ticket.decode("ascii", "replace"), at=now)
    if handle is None:
        return Response(status_code=403)
    answer = Response(status_code=204, headers={"cache-control": "no-store"})
    answer.set_cookie(
        cookie_name(load_settings().authority_key),
        handle.text,
        max_age=max(0, int((handle.until - now).total_seconds())),
        httponly=True,
        samesite="strict",
        # Over plain HTTP a browser refuses such a cookie, and the sign-in ends with the tab.
        secure=request.url.hostname not in _LOOPBACK,
    )
    return answer


def _is_own_page(request: Request) -> bool:
    """Whether a browser says that a page of this very address sent it."""
    origin = urlsplit(request.headers.get("origin", ""))
    return bool(origin.netloc) and origin.netloc == request.headers.get("host")


@asynccontextmanager
async def _warmed_up(_app: App) -> AsyncIterator[None]:
    """Import what the first charts and buttons need, beside the first readers and not before them.

    Streamlit and the charts' library load parts of themselves at their first use, which took most
    of a second of whoever came first.
    """
    Thread(target=_import_all, daemon=True).start()
    yield


def _import_all() -> None:
    for name in _NEEDED_FIRST:
        import_module(name)


app = App(
    Path(__file__).with_name("main.py"),
    lifespan=_warmed_up,
    routes=[Route(KEEP_PATH, keep_sign_in, methods=["POST"])],
    middleware=[Middleware(PageGuard)],
)
