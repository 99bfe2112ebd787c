"""The portal as a web application for one person, on that person's own machine.

Whoever else is on the machine, and every page that the browser has open, is a stranger:

1. it listens at 127.0.0.1 alone;
2. a request names that address and port as its host: a name that was pointed here is refused;
3. every path begins with a token drawn for this start, compared in constant time; whatever is not
   below it is the same 404;
4. what changes anything comes from a page of this very origin;
5. answers are kept nowhere, framed by nobody, and load from this origin alone; there is no script.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from gridsecure.bill_questions import REASONS
from gridsecure.errors import GridSecureError, NotFoundError
from gridsecure.portal.folder import BillFolder
from gridsecure.portal.pages import RECEIPT_NAME, Message, Pages, stylesheet
from gridsecure.portal.receipts import delivered_receipt, has_receipt
from gridsecure.statements.options import Format, RenderOptions
from gridsecure.statements.render import StatementOrder, render_statement
from gridsecure.statements.wording import Language

HOST: Final = "127.0.0.1"
_LONGEST_FORM: Final = 16 * 1024
_FROM_HERE: Final = frozenset({"same-origin", "none", ""})
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Not no-referrer: a browser that sends none says of a form that it comes from nowhere.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def new_token() -> str:
    """What every path of one start begins with: 256 bits that nobody guesses."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class Door:
    """Who is let in.

    Args:
        port: The port at 127.0.0.1.
        token: From `new_token`.
    """

    port: int
    token: str

    @property
    def origin(self) -> str:
        """The one origin of the portal."""
        return f"http://{HOST}:{self.port}"

    @property
    def address(self) -> str:
        """What the person opens."""
        return f"{self.origin}/{self.token}/"

    def lets_in(self, request: Request) -> bool:
        """Whether a request is of somebody who has the address, and of no other site."""
        return self._is_named(request) and self._is_told(request) and self._is_from_here(request)

    def _is_named(self, request: Request) -> bool:
        return request.headers.get("host", "") == f"{HOST}:{self.port}"

    def _is_told(self, request: Request) -> bool:
        said = request.url.path.split("/")[1]
        return secrets.compare_digest(said.encode(), self.token.encode())

    def _is_from_here(self, request: Request) -> bool:
        if request.headers.get("sec-fetch-site", "") not in _FROM_HERE:
            return False
        return request.method == "GET" or request.headers.get("origin") == self.origin


def portal_app(bills: BillFolder, *, door: Door, clock: Callable[[], datetime]) -> Starlette:
    """The portal.

    Args:
        clock: Gives the time, aware.
    """

    async def guard(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = await go_on(request) if door.lets_in(request) else _nothing()
        answer.headers.update(HEADERS)
        return answer

    views = _Views(bills, f"/{door.token}", clock, stylesheet())
    root = "/{token}"  # which the guard has compared
    one = f"{root}/{{language}}/bills/{{bill}}"
    return Starlette(
        routes=[
            Route(f"{root}/", views.start),
            Route(f"{root}/portal.css", views.css),
            Route(f"{root}/{{language}}/", views.listed),
            Route(one, views.bill),
            Route(f"{one}/statement.pdf", views.statement),
            Route(f"{one}/{RECEIPT_NAME}", views.receipt),
            Route(f"{one}/questions", views.ask, methods=["POST"]),
        ],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=guard)],
        exception_handlers={GridSecureError: views.refusal},
    )


@dataclass(frozen=True, slots=True)
class _Views:
    """What is answered to whom the door lets in.

    Args:
        root: Path that all pages are below.
        style: The stylesheet.
    """

    bills: BillFolder
    root: str
    clock: Callable[[], datetime]
    style: bytes

    def start(self, _request: Request) -> Response:
        return RedirectResponse(f"{self.root}/zh/", status_code=303)

    def css(self, _request: Request) -> Response:
        return Response(self.style, media_type="text/css")

    def listed(self, request: Request) -> Response:
        return HTMLResponse(self._pages(request).listed())

    def bill(self, request: Request) -> Response:
        beside = request.query_params.get("beside", "")
        return HTMLResponse(self._pages(request).bill(request.path_params["bill"], beside=beside))

    def statement(self, request: Request) -> Response:
        return _statement(self._pages(request), request.path_params["bill"])

    def receipt(self, request: Request) -> Response:
        return _receipt(self.bills, request.path_params["bill"])

    async def ask(self, request: Request) -> Response:
        form = await _read_form(request)
        pages, name = self._pages(request), request.path_params["bill"]
        return await run_in_threadpool(_ask, pages, name, form, self.clock())

    def refusal(self, request: Request, error: Exception) -> Response:
        return _refusal(self._pages(request), error)

    def _pages(self, request: Request) -> Pages:
        try:
            language = Language(request.path_params.get("language", "zh"))
        except ValueError as error:
            raise HTTPException(404) from error
        return Pages(self.bills, language, self.root)


def _nothing() -> Response:
    return Response("Not Found", status_code=404, media_type="text/plain")


def _refusal(pages: Pages, error: Exception) -> Response:
    if isinstance(error, NotFoundError):
        return HTMLResponse(
            pages.message(Message(pages.say["not_found"], "", back=pages.home)), status_code=404
        )
    reason = error.reason if isinstance(error, GridSecureError) else ""
    told = Message(pages.say["not_opened"], reason, back=pages.home, is_alarm=True)
    return HTMLResponse(pages.message(told), status_code=422)


def _statement(pages: Pages, name: str) -> Response:
    found = pages.bills.bill(name)
    order = StatementOrder(found.facts.account, found.period, found.code)
    options = RenderOptions(pages.language, Format.PDF, found.facts.issuer or None)
    return Response(render_statement(order, options=options).content, media_type="application/pdf")


def _receipt(bills: BillFolder, name: str) -> Response:
    found = bills.bill(name)
    order = StatementOrder(found.facts.account, found.period, found.code)
    if not has_receipt(order):
        return _nothing()
    return Response(delivered_receipt(order), media_type="application/json")


async def _read_form(request: Request) -> dict[str, str]:
    """The form's fields, within bounds; a field that is missing is empty."""
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > _LONGEST_FORM:
            raise HTTPException(413)
    fields = parse_qs(content.decode("utf-8", errors="replace"), max_num_fields=8)
    return {name: said[0].replace("\r\n", "\n") for name, said in fields.items()}


def _ask(pages: Pages, name: str, form: dict[str, str], now: datetime) -> Response:
    found, back = pages.bills.bill(name), pages.link(name)
    reason = next((one for one in REASONS if one == form.get("reason")), None)
    if reason is None:
        raise HTTPException(400)
    try:
        path = pages.bills.ask(
            found, line=form.get("line", ""), reason=reason, text=form.get("text", ""), now=now
        )
    except GridSecureError as error:
        why = pages.say["text_length"] if error.reason == "question.text" else error.message
        told = Message(pages.say["not_asked"], why, back=back, is_alarm=True)
        return HTMLResponse(pages.message(told), status_code=422)
    text = pages.say["asked_note"].format(name=path.name)
    return HTMLResponse(pages.message(Message(pages.say["asked"], text, back=back)))
