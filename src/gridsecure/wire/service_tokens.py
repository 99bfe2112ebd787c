"""How one service talks to another: it logs in with its key and attaches the token it gets.

    client = httpx.Client(base_url=platform_url, auth=ServiceAuth(login, audience="platform"))

The token is renewed shortly before it ends, and once more when the other side refuses it, for
instance because the identity service was restarted with another key.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import httpx

from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.errors import AuthenticityError
from gridsecure.identity_messages import Audience, service_login
from gridsecure.wire.client import parse_answer
from gridsecure.wire.identity import ServiceToken
from gridsecure.wire.words import ServiceWords

RENEW_BEFORE: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class ServiceLoginClient:
    """Fetches tokens from the identity service.

    Args:
        identity: A client whose base URL is the identity service's.
        statement: What the maker states of this service's build, if anything.
        level: Digest of its security level, if it has one.
    """

    identity: httpx.Client
    key: Sm2PrivateKey = field(repr=False)
    clock: Callable[[], datetime]
    statement: str = ""
    level: str = ""

    def token(self, audience: Audience) -> tuple[str, datetime]:
        """A fresh token and its end.

        Raises:
            AuthenticityError: The identity service refused (`authenticity.login-refused`).
            httpx.TransportError: It cannot be reached, or is not ready; it may be asked again.
        """
        envelope = service_login(
            audience=audience,
            key=self.key,
            now=self.clock(),
            statement=self.statement,
            level=self.level,
        )
        answer = self.identity.post(
            "/service-tokens",
            content=envelope.model_dump_json(),
            headers={"Content-Type": "application/json"},
        )
        if answer.is_server_error:
            raise httpx.RemoteProtocolError("the identity service is not ready")
        if answer.status_code != httpx.codes.OK:
            raise AuthenticityError(
                "The identity service gave no token.",
                reason="authenticity.login-refused",
                remedy="Check that this service's key is registered and its clock is right.",
            )
        given = parse_answer(answer.content, ServiceToken, words=ServiceWords("identity"))
        return given.token, datetime.fromisoformat(given.expires_at)


class ServiceAuth(httpx.Auth):
    """Attaches a service's token to every request, renewing it in time. Safe for threads.

    Args:
        login: Where tokens come from.
    """

    def __init__(self, login: ServiceLoginClient, *, audience: Audience) -> None:
        self._login = login
        self._audience = audience
        self._lock = threading.Lock()
        self._token: tuple[str, datetime] | None = None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send with a token; after a refusal once more with a new one."""
        request.headers["Authorization"] = f"Bearer {self._current()}"
        answer = yield request
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            request.headers["Authorization"] = f"Bearer {self._current(renew=True)}"
            yield request

    def _current(self, *, renew: bool = False) -> str:
        with self._lock:
            ends_soon = self._login.clock() + RENEW_BEFORE
            if renew or self._token is None or self._token[1] <= ends_soon:
                self._token = self._login.token(self._audience)
            return self._token[0]
