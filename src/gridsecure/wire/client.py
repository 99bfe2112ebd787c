"""The one client of every service, for services and for people's programs.

A redirect is refused: messages go to the address that was configured, or nowhere. An answer is read
up to a limit: a peer cannot fill this process's memory. A refusal becomes the error it was at the
service. Nothing of a request is repeated in an error: no token, no password, no body.

Between services every request may be repeated: a repeated message is answered as it was the first
time. So a client that is given a `pause` retries a lost connection or a fault of the server after
0.25, 0.5, 1, 2 and 4 s, the same in every run, and then gives up. What was refused on purpose is
not retried. A service that is busy (503) says when to come again: whoever asks waits that long, up
to `LONGEST_PAUSE_S` and as often, because nothing was done. A person's program attempts once, but
asks again at once for what it only reads: a service may have closed the kept connection at the
moment that it was used.
Tokens are the business of the connection's `auth`, or of who calls with `token`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from gridsecure.errors import GridSecureError
from gridsecure.wire.problems import LATER
from gridsecure.wire.words import ServiceWords, Words

PAUSES_S: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Pauses before the second to the sixth attempt [s]."""

LONGEST_PAUSE_S: Final = 8.0
"""Longest that a busy service is waited for before another attempt [s]."""

MAX_ANSWER_BYTES: Final = 256 * 1024 * 1024
"""Longest answer that is read [bytes]: release requests of a month of load curves have some ten
megabytes, the largest object, the tier set's relinearisation keys, a few."""

_TOO_MANY: Final = 429
_FULL: Final = 507
_KEPT_HEADERS: Final = frozenset({"location", "content-type", "retry-after", "link"})

AnswerT = TypeVar("AnswerT")


class Client:
    """One service, as somebody asks it.

    Args:
        http: The connection, its authentication and time limits; closing it is up to its owner.
        url: Base address of the service, where the connection has none.
        pause: Waits for so many seconds before another attempt; None to attempt once.
        max_answer_bytes: Longest answer that is read [bytes].
    """

    def __init__(
        self,
        http: httpx.Client,
        words: Words,
        *,
        url: str = "",
        pause: Callable[[float], None] | None = None,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self.words = words
        self._http = http
        self._url = url.rstrip("/")
        self._pause = pause
        self._max_answer_bytes = max_answer_bytes

    def get(self, path: str) -> httpx.Response:
        """GET, as `call`."""
        return self.call("GET", path)

    def post(
        self, path: str, *, json: Any = None, body: bytes | None = None, content_type: str = ""
    ) -> httpx.Response:
        """POST JSON or bytes, as `call`."""
        if body is None:
            return self.call("POST", path, json=json)
        return self.call("POST", path, content=body, headers={"Content-Type": content_type})

    def call(
        self, method: str, path: str, *, token: str | None = None, **content: Any
    ) -> httpx.Response:
        """Send a request and return the answer, which is a success.

        Args:
            path: Path below the base address.
            token: Bearer token, where the connection adds none.
            content: What is sent, as `httpx.Client.request` takes it.

        Raises:
            GridSecureError: The service's refusal, or what `words` says of a service that cannot be
                reached, fails, redirects or sends too much.
        """
        if token is not None:
            content["headers"] = {
                **content.get("headers", {}),
                "Authorization": f"Bearer {token}",
            }
        wait = self._pause or time.sleep
        for pause in PAUSES_S:
            response = self._attempt(method, path, content, is_last=self._pause is None)
            later = _read_pause(response)
            if response is not None and later is None:
                return self._accept(response)
            wait(max(pause, later or 0))
        response = self._attempt(method, path, content, is_last=True)
        if response is None:
            raise AssertionError("the last attempt answers or raises")
        return self._accept(response)

    def follow(
        self, method: str, path: str, *, most_bytes: int | None = None, **content: Any
    ) -> Iterator[httpx.Response]:
        """Send a request as `call`, then ask for every page behind the answer, if it is a list.

        Args:
            most_bytes: Of all pages; as many as one answer may have, unless each is used up as it
                comes.

        Raises:
            GridSecureError: As `call`; all pages together are too long, or one leads to another
                place.
        """
        size, query, most = 0, "", most_bytes or self._max_answer_bytes
        while True:
            response = self.call(method, path + query, **content)
            size += len(response.content) or 1
            if size > most:
                raise self.words.too_large()
            yield response
            following = response.links.get("next", {}).get("url")
            if following is None:
                return
            if not following.startswith("?"):
                raise self.words.malformed("Link")
            path, query = path.partition("?")[0], following
            content.pop("params", None)  # the address of the next page has them

    def read(self, response: httpx.Response, kind: type[AnswerT]) -> AnswerT:
        """An answer as the service's own model of it, or as a list of one.

        Raises:
            InvalidMessageError: Another shape; the error names fields and no values.
        """
        return parse_answer(response.content, kind, words=self.words)

    def json(self, response: httpx.Response) -> Any:
        """The JSON of an answer.

        Raises:
            InvalidMessageError: It is not JSON.
        """
        try:
            return response.json()
        except (ValueError, RecursionError) as error:  # brackets nested a thousand deep
            raise self.words.malformed() from error

    def _attempt(
        self, method: str, path: str, content: dict[str, Any], *, is_last: bool
    ) -> httpx.Response | None:
        """One attempt; None when it failed in a way that may pass."""
        try:
            response = self._exchange(method, path, content)
        except httpx.TransportError as error:
            if not is_last:
                return None
            raise self.words.unreachable() from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self.words.unreachable() from error
        faulty = response.status_code >= 500 and response.status_code != _FULL
        if (faulty or response.status_code == _TOO_MANY) and not is_last:
            return response if _read_pause(response) is not None else None
        return response

    def _exchange(self, method: str, path: str, content: dict[str, Any]) -> httpx.Response:
        """One request and its answer; two where the first met a connection that was just closed."""
        may_repeat = self._pause is None and method == "GET"
        try:
            return self._send(method, path, content)
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            if not may_repeat:
                raise
        return self._send(method, path, content)

    def _send(self, method: str, path: str, content: dict[str, Any]) -> httpx.Response:
        with self._http.stream(
            method, self._url + path, follow_redirects=False, **content
        ) as arriving:
            return self._receive(arriving)

    def _receive(self, arriving: httpx.Response) -> httpx.Response:
        """The answer with its body, decompressed as it comes so that the limit counts all of it."""
        parts, size = [], 0
        for part in arriving.iter_bytes():
            size += len(part)
            if size > self._max_answer_bytes:
                raise self.words.too_large()
            parts.append(part)
        headers = {name: text for name, text in arriving.headers.items() if name in _KEPT_HEADERS}
        return httpx.Response(arriving.status_code, headers=headers, content=b"".join(parts))

    def _accept(self, response: httpx.Response) -> httpx.Response:
        if response.is_success:
            return response
        if response.is_redirect:
            raise self.words.redirected()
        raise self.words.refused(response.status_code, response.content)


def _read_pause(response: httpx.Response | None) -> float | None:
    """When a busy service wants to be asked again [s]; None for any other answer."""
    if response is None or response.status_code != LATER:
        return None
    said = response.headers.get("retry-after", "")
    return min(float(said), LONGEST_PAUSE_S) if said.isdecimal() else None


def is_broken_off(error: GridSecureError) -> bool:
    """Whether the last attempt found the service, and lost it before it had answered."""
    lost = isinstance(error.__cause__, httpx.TransportError)
    return lost and not isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout)


def parse_answer(content: bytes, kind: type[AnswerT], *, words: Words) -> AnswerT:
    """Read the JSON of an answer, as `Client.read`.

    Args:
        kind: A model of `gridsecure.wire` or a message, or a list of one.

    Raises:
        InvalidMessageError: Another shape; the error names fields and no values.
    """
    try:
        return TypeAdapter(kind).validate_json(content)
    except ValidationError as error:
        declared = [part for part in error.errors()[0]["loc"] if isinstance(part, str)]
        raise words.malformed(".".join(declared) or "JSON") from None


def service_client(http: httpx.Client, *, name: str, pause: Callable[[float], None]) -> Client:
    """A client of one service for another: it retries, and its reason codes begin with the name.

    Args:
        http: The connection, with its base address and authentication.
        name: What errors call the other service, as in "platform".
        pause: Waits for so many seconds; `time.sleep` in a service.
    """
    return Client(http, ServiceWords(name), pause=pause)
