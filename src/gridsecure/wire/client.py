"""Calling a peer service over HTTP: bounded retry, refusals mapped back to our errors.

Every request made here may be repeated: the services answer a repeated message as they did the
first time. So a lost connection or a fault of the server is retried after 0.25, 0.5, 1, 2 and 4 s,
the same in every run, and then given up. What the peer refused on purpose is not retried; the error
carries the peer's own reason code. A redirect is refused: messages go to the address that was
configured, or nowhere. An answer is read up to a limit: a peer cannot fill this process's memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import httpx

from gridsecure.errors import GridSecureError, InvalidMessageError
from gridsecure.wire.problems import class_of, error_of

PAUSES_S: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Pauses before the second to the sixth attempt [s]."""

MAX_ANSWER_BYTES: Final = 256 * 1024 * 1024
"""Longest answer that is read [bytes]: release requests of a month of load curves have some ten
megabytes, the largest object, the tier set's relinearisation keys, a few."""

_TOO_MANY: Final = 429
_FULL: Final = 507


class Peer:
    """One service.

    Args:
        http: Its base address, authentication and time limits.
        name: What messages call it, as in "platform"; also the first part of reason codes.
        pause: Waits for so many seconds; `time.sleep` in a service.
        max_answer_bytes: Longest answer that is read [bytes].
    """

    def __init__(
        self,
        http: httpx.Client,
        *,
        name: str,
        pause: Callable[[float], None],
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self._http = http
        self._name = name
        self._pause = pause
        self._max_answer_bytes = max_answer_bytes

    def get(self, path: str) -> httpx.Response:
        """GET, as `post`."""
        return self._call("GET", path)

    def post(
        self, path: str, *, json: Any = None, body: bytes | None = None, content_type: str = ""
    ) -> httpx.Response:
        """POST JSON or bytes and return the answer, which is a success.

        Raises:
            GridSecureError: The peer's refusal with its reason, or `<name>.unreachable`,
                `<name>.failed` after the last attempt, `<name>.redirect`, or `<name>.too-large`.
        """
        if body is not None:
            return self._call("POST", path, content=body, headers={"Content-Type": content_type})
        return self._call("POST", path, json=json)

    def answer(self, response: httpx.Response) -> Any:
        """The JSON of an answer.

        Raises:
            InvalidMessageError: It is not JSON (`<name>.answer`).
        """
        try:
            return response.json()
        except (ValueError, RecursionError) as error:  # brackets nested a thousand deep
            raise self.malformed() from error

    def malformed(self) -> InvalidMessageError:
        """The error for an answer of another shape than documented."""
        return InvalidMessageError(
            f"The {self._name} answered in a form this release does not know.",
            reason=f"{self._name}.answer",
            remedy="Check the address, and run the same release on both sides.",
        )

    def _call(self, method: str, path: str, **content: Any) -> httpx.Response:
        for pause in (*PAUSES_S, None):
            response = self._attempt(method, path, content, is_last=pause is None)
            if response is not None:
                return self._accepted(response)
            if pause is not None:
                self._pause(pause)
        raise AssertionError("the last attempt answers or raises")

    def _attempt(
        self, method: str, path: str, content: dict[str, Any], *, is_last: bool
    ) -> httpx.Response | None:
        """One attempt; None when it failed in a way that may pass."""
        try:
            with self._http.stream(method, path, follow_redirects=False, **content) as arriving:
                response = self._received(arriving)
        except httpx.TransportError as error:
            if not is_last:
                return None
            raise GridSecureError(
                f"The {self._name} cannot be reached.",
                reason=f"{self._name}.unreachable",
                remedy="Check that it runs and its address, then start again; nothing is lost.",
            ) from error
        faulty = response.status_code >= 500 and response.status_code != _FULL
        if (faulty or response.status_code == _TOO_MANY) and not is_last:
            return None
        return response

    def _received(self, arriving: httpx.Response) -> httpx.Response:
        """The answer with its body, decompressed as it comes so that the limit counts all of it."""
        parts, size = [], 0
        for part in arriving.iter_bytes():
            size += len(part)
            if size > self._max_answer_bytes:
                raise GridSecureError(
                    f"The {self._name} sends more than any answer has.",
                    reason=f"{self._name}.too-large",
                    remedy="Check the address; nothing of the answer was used.",
                )
            parts.append(part)
        kept = {"location", "content-type"}
        headers = {name: text for name, text in arriving.headers.items() if name in kept}
        return httpx.Response(arriving.status_code, headers=headers, content=b"".join(parts))

    def _accepted(self, response: httpx.Response) -> httpx.Response:
        if response.is_success:
            return response
        if response.is_redirect:
            raise GridSecureError(
                f"The {self._name} sent a redirect, which is refused.",
                reason=f"{self._name}.redirect",
                remedy="Configure its own address.",
            )
        raise self._refusal(response)

    def _refusal(self, response: httpx.Response) -> GridSecureError:
        """The peer's error, with its reason where it gives a well-formed one."""
        said = error_of(response.status_code, response.content)
        if said is None:
            return class_of(response.status_code)(
                f"The {self._name} refused.", reason=f"{self._name}.failed"
            )
        return type(said)(
            f"The {self._name} refused: {said.message}"
            if said.message
            else f"The {self._name} refused.",
            reason=said.reason,
            remedy=said.remedy,
        )
