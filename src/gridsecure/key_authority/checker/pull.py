"""The authority's view of the platform: it pulls, and nothing is ever pushed at it.

Whatever comes back is checked by digest or signature before it is used (`verification`). That the
platform or the identity service does not admit this authority says nothing about a request, so it
is a failure (`platform.access`) and never a refusal: the request waits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import quote

import httpx

from gridsecure import frames
from gridsecure.errors import AuthenticityError, GridSecureError, InvalidMessageError
from gridsecure.messages import QueriedUploads, Signed
from gridsecure.wire.client import Client

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[0-9a-f]{1,64}")
_AT_ONCE: Final = 500  # digests in one request
_QUEUE_BYTES: Final = 1 << 34  # of the requests of a round; the rest waits for the next one


class PlatformPull:
    """The platform as `verification.PlatformView`, and its queue of release requests.

    Args:
        peer: The platform's service, with the authority's access token.
    """

    def __init__(self, peer: Client) -> None:
        self._peer = peer

    def list_waiting(self) -> Iterator[Signed]:
        """Release requests nobody has answered, read page by page as they are taken.

        So one page is in memory, however many wait.

        Raises:
            GridSecureError: The platform cannot be reached or refuses; what came before stands.
        """
        pages = self._peer.follow("GET", "/release-requests", most_bytes=_QUEUE_BYTES)
        try:
            for page in pages:
                yield from self._peer.read(page, list[Signed])
        except AuthenticityError as error:
            raise _no_access() from error

    def message(self, kind: str, digest: str) -> Signed:
        """A roster's or upload's signed message.

        Raises:
            NotFoundError: The platform has none.
            GridSecureError: As `list_waiting`.
        """
        response = self._get(f"/messages/{kind}/{_checked(digest, _DIGEST)}")
        return self._peer.read(response, Signed)

    def queried(self, start: str, end: str) -> QueriedUploads:
        """All that was closed of a period, as a request for a query about it would name it.

        Args:
            start: ISO 8601 with the local offset; likewise `end`, exclusive.

        Raises:
            NotFoundError: Nothing was.
            GridSecureError: As `list_waiting`.
        """
        response = self._get(f"/queried-uploads?start={quote(start)}&end={quote(end)}")
        return self._peer.read(response, QueriedUploads)

    def objects(self, digests: Sequence[str]) -> Iterator[bytes]:
        """Objects in their order: an answer holds as many as fit, and the rest is asked for.

        Raises:
            NotFoundError: The platform lacks one.
            InvalidMessageError: It sends none, or more than it was asked for (`platform.answer`).
            GridSecureError: As `list_waiting`.
        """
        names = [_checked(digest, _DIGEST) for digest in digests]
        while names:
            asked = names[:_AT_ONCE]
            answer = self._ask(self._peer.post, "/objects", json={"digests": asked})
            found = frames.split_frames(answer.content)
            if not 0 < len(found) <= len(asked):
                raise self._peer.words.malformed()
            yield from found
            names = names[len(found) :]

    def report(self, request_id: str, state: str) -> None:
        """Tell the platform what became of a request.

        Raises:
            GridSecureError: As `list_waiting`. Saying it again later is the same as saying it once.
        """
        path = f"/release-requests/{_checked(request_id, _NAME)}/answer"
        self._ask(self._peer.post, path, json={"state": state})

    def _get(self, path: str) -> httpx.Response:
        return self._ask(self._peer.get, path)

    def _ask(self, send: Callable[..., httpx.Response], path: str, **said: Any) -> httpx.Response:
        try:
            return send(path, **said)
        except AuthenticityError as error:
            raise _no_access() from error


def _no_access() -> GridSecureError:
    return GridSecureError(
        "The platform refuses this authority access.",
        reason="platform.access",
        remedy="Check that the authority's key is registered with the identity service, the roles "
        "and the clocks, then start the round again; nothing was refused.",
    )


def _checked(name: str, form: re.Pattern[str]) -> str:
    """A name that may stand in a path; anything else could address another route."""
    if form.fullmatch(name) is None:
        raise InvalidMessageError("A name from the platform is not hexadecimal digits.")
    return name
