"""Whether a peer runs a released build, under one's own security level, asked before all else.

The peer's `/about` has what it measured of itself, and the maker's statement. Nothing is sent to
one whose statement the maker did not sign, or that measured another build; nothing to one that
says it has another security level; and, between two that must hold the same release policy, nothing
to one that says another is in force. It is asked again after `RECHECK_S`, because it may have been
restarted with another release, or level, meanwhile; and when one's own policy has changed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import httpx

from gridsecure.builds import BuildStatement, check_build, open_statement, unstated
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.errors import GridSecureError
from gridsecure.wire.client import parse_answer
from gridsecure.wire.services import About, PolicyStated, StatePolicy
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
        policy: What peers have to have in force as well; left out where they need not.
    """

    def __init__(
        self,
        carrier: httpx.BaseTransport,
        *,
        maker: Sm2PublicKey | None,
        ticks: Callable[[], float],
        words: Words,
        level: Stated | None = None,
        policy: StatePolicy | None = None,
    ) -> None:
        self._carrier = carrier
        self._maker, self._level, self._policy = maker, level, policy
        self._ticks = ticks
        self._words = words
        self._lock = threading.Lock()
        self._good: dict[str, tuple[float, PolicyStated | None]] = {}
        """Peers that were found good: until when, and beside which policy of one's own."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Carry a request, after the peer was found to run a released build.

        Raises:
            AuthenticityError: It does not (`build.unstated`, `build.signature`, `build.changed`),
                or has another security level (`level.differs`).
            GridSecureError: It has another release policy in force (`policy.differs`); one of both
                may only be late.
            InvalidMessageError: Its `/about` has another shape.
        """
        origin = str(request.url.copy_with(raw_path=b"/"))
        policy = self._policy() if self._policy else None
        with self._lock:
            until, beside = self._good.get(origin, (float("-inf"), None))
            if until <= self._ticks() or beside != policy:
                self._check(request, policy)
                self._good[origin] = self._ticks() + RECHECK_S, policy
        return self._carrier.handle_request(request)

    def close(self) -> None:
        """Close what carries."""
        self._carrier.close()

    def _check(self, request: httpx.Request, policy: PolicyStated | None) -> None:
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
        if self._policy is not None:
            check_policy(told, own=policy)


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


def check_policy(about: About, *, own: PolicyStated | None) -> None:
    """Refuse a service that has another release policy in force; names do not count, the text does.

    Args:
        own: What it has to have; None where none is in force.

    Raises:
        GridSecureError: It has (`policy.differs`).
    """
    told = about.policy
    if (told and told.digest) != (own and own.digest):
        raise GridSecureError(
            f"The release policy in force at the service {about.zone} is {_called(told)}, and not "
            f"{_called(own)}.",
            reason="policy.differs",
            remedy="If it stays so, put the policy in force once more (gridsecure policy put).",
        )


def _called(policy: PolicyStated | None) -> str:
    return f"{policy.name}, version {policy.version}" if policy else "none"
