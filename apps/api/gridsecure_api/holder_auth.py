"""How the gateway talks to the platform: under its pseudonym, every request signed.

    client = httpx.Client(base_url=platform_url, auth=HolderAuth(log_in, clock=utc_now))

A token names the key that must sign; a stolen one is of no use. Each attempt has a counter and a
signature of its own, because the platform takes a counter once, even if its answer was lost. The
counter follows the clock, so it rises over restarts without being kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from typing import Final

import httpx

from gridsecure.credentials.uploads import (
    COUNTER_HEADER,
    HOLDER_HEADER,
    SIGNATURE_HEADER,
    Upload,
    sign_upload,
)
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.crypto.sm3 import sm3_digest
from gridsecure.gateway.identity_peer import HolderLogin
from gridsecure_api.deps import Clock
from gridsecure_api.service_tokens import RENEW_BEFORE

LogIn = Callable[[], tuple[HolderLogin, Sm2PrivateKey]]
"""Gives a pseudonym's fresh token, and the key that acts with it."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class HolderAuth(httpx.Auth):
    """Attaches a pseudonym's token, a counter and a signature to every attempt. Safe for threads.

    Args:
        log_in: Where tokens come from.
        clock: Tells the time.
    """

    requires_request_body = True

    def __init__(self, log_in: LogIn, *, clock: Clock) -> None:
        self._log_in = log_in
        self._clock = clock
        self._lock = threading.Lock()
        self._held: tuple[HolderLogin, Sm2PrivateKey] | None = None
        self._counter = 0

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send signed; after a refusal once more, with a new token."""
        self._sign(request)
        answer = yield request
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._sign(request, renew=True)
            yield request

    def _sign(self, request: httpx.Request, *, renew: bool = False) -> None:
        (login, key), counter = self._next(renew=renew)
        digest = sm3_digest(request.content)
        upload = Upload(request.method, request.url.path, login.token, counter, digest)
        request.headers["Authorization"] = f"Bearer {login.token}"
        request.headers[HOLDER_HEADER] = key.public_key.point.hex()
        request.headers[COUNTER_HEADER] = str(counter)
        request.headers[SIGNATURE_HEADER] = sign_upload(upload, key=key).hex()

    def _next(self, *, renew: bool) -> tuple[tuple[HolderLogin, Sm2PrivateKey], int]:
        with self._lock:
            now = self._clock()
            if renew or self._held is None or self._held[0].expires_at <= now + RENEW_BEFORE:
                self._held = self._log_in()
            self._counter = max(self._counter + 1, (now - _EPOCH) // _MICROSECOND)
            return self._held, self._counter
