"""What services answer over HTTP, turned into values or into the house's errors.

Invariants:
- Requests go through `gridsecure.wire.client`: refusals keep their class and reason code.
- A field is used only after its type was checked; another shape is an error, never a crash.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import httpx

from gridsecure.errors import GridSecureError, InvalidMessageError
from gridsecure.month_texts import read_moment
from gridsecure.wire.client import AnswerT, Client
from gridsecure.wire.words import PeopleWords


def fetch_body(
    http: httpx.Client,
    method: str,
    url: str,
    *,
    service: str,
    token: str | None = None,
    body: object = None,
) -> bytes:
    """Send one request and return the body of a good answer.

    Args:
        http: The connection, with its timeouts.
        service: The service's name, for messages.
        token: Bearer token, if the route wants one.
        body: What is sent, if anything: bytes as they are, the rest as JSON.

    Raises:
        GridSecureError: The service cannot be reached (`service.unreachable`), answers with an
            error of its own, or with a status nobody expected (`service.failed`).
    """
    content: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {"json": body}
    return Client(http, PeopleWords(service)).call(method, url, token=token, **content).content


def fetch_list(
    http: httpx.Client, url: str, kind: type[AnswerT], *, service: str, token: str | None = None
) -> list[AnswerT]:
    """All of a list, page by page.

    Args:
        http: The connection, with its timeouts.
        kind: The model of one item.
        service: The service's name, for messages.
        token: Bearer token, if the route wants one.

    Raises:
        GridSecureError: As `fetch_body`.
    """
    client = Client(http, PeopleWords(service))
    pages = client.follow("GET", url, token=token)
    return [item for page in pages for item in client.read(page, list[kind])]  # type: ignore[valid-type]  # a variable


class Answer:
    """The fields of one JSON object, each checked when it is read.

    Args:
        fields: The object as parsed.
        service: Who sent it, for messages.
    """

    def __init__(self, fields: object, *, service: str) -> None:
        self._service = service
        if not isinstance(fields, dict):
            raise self._wrong("an object")
        self._fields: dict[str, object] = fields

    def text(self, name: str, default: str | None = None) -> str:
        """A string; `default` stands in for a missing or null one.

        Raises:
            InvalidMessageError: It is not a string (`message.answer`).
        """
        value = self._fields.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise self._wrong(name)
        return value

    def number(self, name: str, default: int | None = None) -> int:
        """A whole number, 0 or more; `default` stands in for a missing or null one.

        Raises:
            InvalidMessageError: It is not (`message.answer`).
        """
        value = self._fields.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self._wrong(name)
        return value

    def moment(self, name: str) -> datetime:
        """An aware time in ISO 8601.

        Raises:
            InvalidMessageError: It is not (`message.answer`).
        """
        return read_aware_time(self.text(name), on_error=lambda: self._wrong(name))

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings.

        Raises:
            InvalidMessageError: It is not (`message.answer`).
        """
        value = self._fields.get(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(name)
        return tuple(value)

    def count(self, name: str) -> int:
        """How many: a whole number, or the length of a list; missing reads as 0.

        Raises:
            InvalidMessageError: It is neither (`message.answer`).
        """
        value = self._fields.get(name)
        return len(value) if isinstance(value, list) else self.number(name, 0)

    def digest(self, name: str) -> str:
        """A digest in 64 hexadecimal digits, fit to stand in a path or in a command.

        Raises:
            InvalidMessageError: It is not (`message.answer`).
        """
        value = self.text(name)
        if not re.fullmatch(r"[0-9a-f]{64}", value):
            raise self._wrong(name)
        return value

    def part(self, name: str) -> Answer:
        """An object inside; missing or null reads as empty.

        Raises:
            InvalidMessageError: It is something else (`message.answer`).
        """
        return Answer(self._fields.get(name) or {}, service=self._service)

    def parts(self, name: str) -> Sequence[Answer]:
        """A list of objects inside.

        Raises:
            InvalidMessageError: It is something else (`message.answer`).
        """
        value = self._fields.get(name)
        if not isinstance(value, list):
            raise self._wrong(name)
        return [Answer(item, service=self._service) for item in value]

    def _wrong(self, name: str) -> InvalidMessageError:
        return PeopleWords(self._service).malformed(name)


def read_aware_time(text: str, *, on_error: Callable[[], GridSecureError]) -> datetime:
    """Read an ISO 8601 time that says its offset, or raise what `on_error` makes."""
    moment = read_moment(text)
    if moment is None:
        raise on_error()
    return moment


def read_object(content: bytes, *, service: str) -> Answer:
    """Read a body that is one JSON object.

    Raises:
        InvalidMessageError: It is not (`message.answer`).
    """
    return Answer(_parsed(content), service=service)


def read_objects(content: bytes, *, service: str) -> Sequence[Answer]:
    """Read a body that is a list of JSON objects.

    Raises:
        InvalidMessageError: It is not (`message.answer`).
    """
    items = _parsed(content)
    if not isinstance(items, list):
        items = [None]
    return [Answer(item, service=service) for item in items]


def _parsed(content: bytes) -> Any:
    try:
        return httpx.Response(200, content=content).json()
    except (ValueError, RecursionError):
        return None
