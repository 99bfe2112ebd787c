"""Whether a peer runs a released build, under one's own security level, asked before all else.

The peer's `/about` has what it measured of itself, and the maker's statement. Nothing is sent to
one whose statement the maker did not sign, or that measured another build; and nothing to one that
says it has another security level. It is asked again after `RECHECK_S`, because it may have been
restarted with another release, or level, meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import httpx

from gridsecure.builds import BuildStatement, check_build, open_statement, unstated
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.wire.client import parse_answer
from gridsecure.wire.services import About
from gridsecure.wire.stated_levels import Stated, check_level
from gridsecure.wire.words import Words

RECHECK_S: Final = 300.0
"""As long as a service's token lasts [s]."""
_MOST_BYTES: Final = 1 << 20


class AttestedTransport(httpx.BaseTransport):
    """Carries requests to peers that run a released build, and to no others. Safe for threads.

    Args:
        carrier: What carries them.
        maker: The key that releases are signed with; None where any build will do.
        level: The security level that peers have to have; None where any will do.
        ticks: A clock that never goes back [s].
        words: What an answer that is none is called.
    """

    def __init__(
        self,
        carrier: httpx.BaseTransport,
        *,
        maker: Sm2PublicKey | None,
        ticks: Callable[[], float],
        words: Words,
        level: Stated | None = None,
    ) -> None:
        self._carrier = carrier
        self._maker, self._level = maker, level
        self._ticks = ticks
        self._words = words
        self._lock = threading.Lock()
        self._good_until: dict[str, float] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Carry a request, after the peer was found to run a released build.

        Raises:
            AuthenticityError: It does not (`build.unstated`, `build.signature`, `build.changed`),
                or has another security level (`level.differs`).
            InvalidMessageError: Its `/about` has another shape.
        """
        origin = str(request.url.copy_with(raw_path=b"/"))
        with self._lock:
            if self._good_until.get(origin, float("-inf")) <= self._ticks():
                self._check(request)
                self._good_until[origin] = self._ticks() + RECHECK_S
        return self._carrier.handle_request(request)

    def close(self) -> None:
        """Close what carries."""
        self._carrier.close()

    def _check(self, request: httpx.Request) -> None:
        about = request.url.copy_with(raw_path=b"/about")
        # As long as the request itself may take: a peer that says nothing holds up nobody for good.
        asked = httpx.Request("GET", about, extensions=request.extensions)
        answer = self._carrier.handle_request(asked)
        try:
            if answer.status_code != httpx.codes.OK:
                raise httpx.RemoteProtocolError("the service is not ready")
            content = b""
            for piece in answer.iter_bytes():
                content += piece
                if len(content) > _MOST_BYTES:
                    raise self._words.too_large()
        finally:
            answer.close()
        told = parse_answer(content, About, words=self._words)
        if self._maker is not None:
            check_about(told, maker=self._maker)
        stated = told.level.digest if told.level else ""
        check_level(stated, own=self._level, whose=f"the service {told.zone}")


def check_about(about: About, *, maker: Sm2PublicKey) -> BuildStatement:
    """What the maker stated of a service's build; a service with another build is refused.

    Raises:
        AuthenticityError: It does (`build.unstated`, `build.signature`, `build.changed`).
    """
    if about.build is None or about.build_statement is None:
        raise unstated(f"the service {about.zone}")
    stated = open_statement(about.build_statement, maker=maker)
    check_build(stated, about.build, whose=f"the service {about.zone}")
    return stated
