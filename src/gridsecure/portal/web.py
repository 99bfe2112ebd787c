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
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
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
from gridsecure.portal.receipt_checks import (
    ReceiptCheck,
    ReceiptMaterial,
    find_cancelled,
    receipt_of,
)
from gridsecure.statements.options import Format, RenderOptions
from gridsecure.statements.render import StatementOrder, render_statement
from gridsecure.statements.wording import Language

HOST: Final = "127.0.0.1"
_LONGEST_FORM: Final = 16 * 1024
_LONGEST_FILES: Final = 64 * 1024 * 1024
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
        said = request.scope["path"].partition("/")[2].partition("/")[0]  # `OPTIONS *` has none
        return secrets.compare_digest(said.encode(), self.token.encode())

    def _is_from_here(self, request: Request) -> bool:
        if request.headers.get("sec-fetch-site", "") not in _FROM_HERE:
            return False
        return request.method == "GET" or request.headers.get("origin") == self.origin


def portal_app(
    bills: BillFolder,
    *,
    door: Door,
    clock: Callable[[], datetime],
    check: ReceiptCheck | None = None,
) -> Starlette:
    """The portal.

    Args:
        clock: Gives the time, aware.
        check: Checks receipts; without it, pages name the command that does.
    """

    async def guard(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = await go_on(request) if door.lets_in(request) else _nothing()
        answer.headers.update(HEADERS)
        return answer

    views = _Views(bills, f"/{door.token}", clock, stylesheet(), check)
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
            Route(f"{one}/receipt-checks", views.check_receipt, methods=["POST"]),
        ],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=guard)],
        exception_handlers={GridSecureError: views.refusal, Exception: _failed},
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
    check: ReceiptCheck | None

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

    async def check_receipt(self, request: Request) -> Response:
        pages, name = self._pages(request), request.path_params["bill"]
        if self.check is None:
            return _nothing()
        files = await _read_files(request)
        return await run_in_threadpool(_check, pages, name, files, self.check)

    def refusal(self, request: Request, error: Exception) -> Response:
        return _refusal(self._pages(request), error)

    def _pages(self, request: Request) -> Pages:
        try:
            language = Language(request.path_params.get("language", "zh"))
        except ValueError as error:
            raise HTTPException(404) from error
        return Pages(self.bills, language, self.root, can_check=self.check is not None)


def _nothing() -> Response:
    return Response("Not Found", status_code=404, media_type="text/plain")


def _failed(_request: Request, _error: Exception) -> Response:
    """What went wrong inside; it is answered outside of the guard."""
    return Response("Internal Server Error", 500, HEADERS, media_type="text/plain")


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
    found = receipt_of(bills.bill(name))
    return _nothing() if found is None else Response(found, media_type="application/json")


async def _read_form(request: Request) -> dict[str, str]:
    """The form's fields, within bounds; a field that is missing is empty."""
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > _LONGEST_FORM:
            raise HTTPException(413)
    try:
        fields = parse_qs(content.decode("utf-8", errors="replace"), max_num_fields=8)
    except ValueError as error:  # more fields than any form of the portal has
        raise HTTPException(400) from error
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


async def _read_files(request: Request) -> dict[str, bytes]:
    """The files of a form, within bounds; one that is missing is empty."""
    size = request.headers.get("content-length", "")
    if not size.isdecimal() or int(size) > _LONGEST_FILES:
        raise HTTPException(413)
    found = {}
    async with request.form(max_files=3, max_fields=3) as form:
        for name, file in form.items():
            if isinstance(file, UploadFile):
                found[name] = await file.read()
    return found


def _check(pages: Pages, name: str, files: dict[str, bytes], check: ReceiptCheck) -> Response:
    bill, back = pages.bills.bill(name), pages.link(name)
    receipt, cancelled = receipt_of(bill), find_cancelled(bill, pages.bills)
    if receipt is None:
        return _nothing()
    with TemporaryDirectory() as folder:
        readings = Path(folder) / "readings"
        readings.write_bytes(files.get("readings", b""))
        material = ReceiptMaterial(
            receipt,
            files.get("opening", b""),
            readings,
            files.get("tariff", b""),
            None if cancelled is None else receipt_of(cancelled),
        )
        try:
            found = check(material)
        except GridSecureError as error:
            why = f"{error.message} {error.remedy} ({error.reason})"
            told = Message(pages.say["check_failed"], why, back=back, is_alarm=True)
            return HTMLResponse(pages.message(told), status_code=422)
    return HTMLResponse(pages.checked(found, back=back))
