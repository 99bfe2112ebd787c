"""How lists leave a service: page by page, and not at all to whoever has the page already.

A page has an entity tag made of what the list was asked for and of a revision that a cheap query
tells. Who sends the tag again is answered 304 before a row of the list is read. The next page is at
the `Link` with `rel="next"`; what `after` says in it is the service's own business.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final

from fastapi import Depends, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from sqlalchemy import Engine
from sqlmodel import Session

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.store.database import read_session
from gridsecure.store.pages import MOST, PageAsked, read_cursor, write_cursor
from gridsecure.version import VERSION
from gridsecure_api.kept_pages import KeptPages, Page
from gridsecure_api.lanes import Lanes, Turn
from gridsecure_api.serving import text_header
from gridsecure_api.shared_looks import SharedLooks

DEFAULT: Final = 100
"""Rows of a page, if nobody says how many."""

_PORTION: Final = 64 * 1024
_KEPT: Final = {"Cache-Control": "private, no-cache"}  # no-cache: to be kept, and asked about

_TAG: Final = {"ETag": text_header("Names what was answered; send it as If-None-Match.")}

KEPT_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"headers": _TAG},
    304: {"description": "Who asks has it already.", "headers": _TAG},
}
"""OpenAPI's words for an answer with an entity tag."""

_NEXT: Final = {"Link": text_header('Where the next page is, `rel="next"`, if there is one.')}

PAGED: Final = KEPT_ANSWERS | {200: {"headers": _TAG | _NEXT}}
"""OpenAPI's words for a page of a list."""


async def _asked(
    limit: Annotated[int, Query(ge=1, le=MOST)] = DEFAULT,
    after: Annotated[str, Query(max_length=16)] = "",
) -> PageAsked:
    return PageAsked(limit, read_cursor(after))


RowNumber = Annotated[int, Path(ge=1, le=2**31 - 1)]
"""A row's number in an address, as every database can look for it."""

Paging = Annotated[PageAsked, Depends(_asked)]
"""Which page of a list is asked for."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A list as a look showed it.

    Args:
        page: As it is sent; None where it was not kept, and nobody wanted it.
    """

    tag: str
    page: Page | None


async def answer_page(
    request: Request,
    engine: Engine,
    *,
    revision: Callable[[Session], object],
    read: Callable[[Session], tuple[Any, int | None]],
    write: Callable[[Any], bytes],
    scope: Hashable = (),
) -> Response:
    """A page of a list, or 304 to who has it.

    All who ask for the same at once are answered by one look at the database.

    Args:
        revision: Differs whenever the list does; read from what is in its rows' table.
        read: What is on the page, and the number it ends at if the list goes on.
        write: What was read as JSON.
        scope: All that the page hangs on beside the address: whose it is. Nobody is answered with
            a page of another scope.
    """
    pages: KeptPages = request.app.state.pages
    asked = (request.url.path, request.url.query, scope)

    def look(*, is_wanted: bool) -> _Seen:
        with read_session(engine) as session:
            named = repr((VERSION, *asked, revision(session)))
            tag = f'"{sm3_hex(named.encode())[:32]}"'
            page = pages.find(tag)
            if page is None and is_wanted:
                content, after = read(session)
                page = pages.keep(tag, (write(content), after))
            return _Seen(tag, page)

    seen = None
    if "if-none-match" in request.headers:  # most who have a page have it still
        seen = await _share(request, (*asked, False), partial(look, is_wanted=False))
        if _is_known(request, seen.tag):
            return Response(status_code=304, headers=_KEPT | {"ETag": seen.tag})
    if seen is None or seen.page is None:
        seen = await _share(request, (*asked, True), partial(look, is_wanted=True))
    body, after = seen.page or (b"", None)
    headers = _KEPT | {"ETag": seen.tag}
    if after is not None:
        following = request.url.include_query_params(after=write_cursor(after))
        headers["Link"] = f'<?{following.query}>; rel="next"'
    return Response(body, media_type="application/json", headers=headers)


async def answer_whole(
    request: Request, read: Callable[[], BaseModel | Sequence[BaseModel]], *, scope: Hashable = ()
) -> Response:
    """A list that is short enough to have no pages, or 304 to who has it.

    All who ask for the same at once are answered by one look, whose answer names itself.

    Args:
        scope: As of a page.
    """

    def look() -> _Seen:
        found = read()
        body = (
            found.model_dump_json().encode()
            if isinstance(found, BaseModel)
            else join_texts([one.model_dump_json() for one in found])
        )
        return _Seen(f'"{sm3_hex(body)[:32]}"', (body, None))

    seen = await _share(request, (request.url.path, request.url.query, scope), look)
    headers = _KEPT | {"ETag": seen.tag}
    if _is_known(request, seen.tag) or seen.page is None:
        return Response(status_code=304, headers=headers)
    return Response(seen.page[0], media_type="application/json", headers=headers)


async def _share(request: Request, what: Hashable, look: Callable[[], _Seen]) -> _Seen:
    """What a look shows; whoever waits for another's holds no turn of those who look."""
    looks: SharedLooks[_Seen] = request.app.state.looks
    turn: Turn = request.state.turn
    lanes: Lanes = request.state.lanes
    return await looks.share(
        what,
        lambda: run_in_threadpool(look),
        wait=lambda: turn.move(lanes.lists),
        begin=lambda: turn.move(lanes.reads),
    )


def join_texts(texts: Sequence[str]) -> bytes:
    """A JSON list of what is kept as JSON."""
    return f"[{','.join(texts)}]".encode()


def _is_known(request: Request, tag: str) -> bool:
    """Whether who asks has what a tag names."""
    known = {text.strip() for text in request.headers.get("if-none-match", "").split(",")}
    return tag in known or "*" in known


def answer_kept(request: Request, digest: str, read: Callable[[], str]) -> Response:
    """What never changes, as the text that is kept; 304 to who has it.

    Args:
        digest: Names the content.
        read: The text.
    """
    tag = f'"{digest}"'
    headers = _KEPT | {"ETag": tag}
    if _is_known(request, tag):
        return Response(status_code=304, headers=headers)
    body = read().encode()
    headers["Content-Length"] = str(len(body))
    return StreamingResponse(_portions(body), media_type="application/json", headers=headers)


async def _portions(body: bytes) -> AsyncIterator[Any]:
    """A body in pieces, so that a slow reader's connection buffers one and not all of it."""
    for start in range(0, len(body), _PORTION):
        yield body[start : start + _PORTION]
