"""The dashboard's server: `streamlit run apps/dashboard/gridsecure_dashboard/server.py`.

Streamlit's pages, and the one address that sets the sign-in cookie, which a page cannot.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from streamlit.starlette import App

from gridsecure_dashboard.settings import load_settings
from gridsecure_dashboard.sign_ins import SIGN_INS, cookie_name

KEEP_PATH: Final = "/keep-sign-in"
_LONGEST_TICKET: Final = 64
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


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


app = App(
    Path(__file__).with_name("main.py"),
    routes=[Route(KEEP_PATH, keep_sign_in, methods=["POST"])],
)
