"""Who is asking, and what they sent: the dependencies every service's routes share.

Denied by default: `AccessCheck` stands before the whole application, and without a valid token for
this service it lets through only the paths named public. What a holder of a token may do is decided
by `require` at each route. The gate also bounds the bytes of a request body, whatever reads it, the
time that one takes to come, what bodies hold together and of one caller, and what is in work at
once (`lanes`); it is the last stop of errors that nobody expected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Final, NamedTuple

from fastapi import Depends, HTTPException, Request, Security
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as AsgiMessage

from gridsecure.credentials.access import GRANT_ROLE, ISSUER, TRIAL_ROLE
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.crypto.tokens import TokenClaims, verify_token
from gridsecure.errors import (
    AccessDeniedError,
    AuthenticityError,
    GridSecureError,
    RoleError,
    SignatureError,
)
from gridsecure.loopback import is_loopback, source_of
from gridsecure.wire.problems import LATER, REASONS_PATH
from gridsecure_api.api_page import PAGE_PATHS
from gridsecure_api.bounded_connections import PEER_NAMES
from gridsecure_api.errors import (
    error_response,
    http_response,
    internal_response,
    too_large_error,
)
from gridsecure_api.lanes import READING, Held, Lanes, Turn
from gridsecure_api.log_pages import LOG_PATHS
from gridsecure_api.metrics import ServiceMetrics

READY: Final = "/ready"
ALWAYS_PUBLIC: Final = PAGE_PATHS | {"/about", "/health", READY, "/openapi.json"}
"""Paths of every service that need no token."""

_BEARER: Final = HTTPBearer(
    auto_error=False,
    scheme_name="token",
    description="A token of the identity service for this service, without the word Bearer.",
)
"""What the API page's Authorize button asks for; the check is `AccessCheck`'s."""
_Sent = Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]

_KNOWN_TOKENS: Final = 1024

PAUSE_S: Final = 30.0
"""How long a body may pause [s]."""
BODY_S: Final = 60.0
"""How long a body may take in any case [s]; with a token, longer at `BODY_RATE`."""
BODY_RATE: Final = 16 * 1024
"""How fast a long body has to come [bytes/s]."""
PUBLIC_BYTES: Final = 64 * 1024
"""Largest body without a token, where a path names no other [bytes]: a login with its statement of
a build, or a signed request with a registration, has some kilobytes."""
_NAMELESS: Final = {GRANT_ROLE, TRIAL_ROLE}
_SERVICES: Final = frozenset({"authority", "gateway", "platform"})
"""Roles of services, which show a certificate where one is asked for."""

Clock = Callable[[], datetime]
"""Tells the time."""


def utc_now() -> datetime:
    """The present. Only applications read the clock; everything below is told the time."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class AccessRules:
    """What a gate lets through.

    Args:
        audience: This service's name, which tokens must be for.
        identity_key: The key tokens are signed with.
        public_paths: Paths that need no token.
        max_body_bytes: Largest request body [bytes].
        body_limits: Of public paths that take more or less than `PUBLIC_BYTES` [bytes].
        tenant: Whose service it is. Then tokens of others are refused. Empty, there is one alone.
        guests: What tokens of others reach all the same: a path, or the beginning of paths that
            ends with a slash, and the roles that may.
    """

    audience: str
    identity_key: Sm2PublicKey
    public_paths: frozenset[str]
    max_body_bytes: int
    clock: Clock
    body_limits: Mapping[str, int] = field(default_factory=dict)
    tenant: str = ""
    guests: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def most_bytes(self, path: str) -> int:
        """Largest body of a request to a path [bytes]."""
        if not self.is_public(path):
            return self.max_body_bytes
        return min(self.body_limits.get(path, PUBLIC_BYTES), self.max_body_bytes)

    def is_public(self, path: str) -> bool:
        """Whether a path needs no token."""
        return path in self.public_paths or path.startswith((REASONS_PATH, LOG_PATHS))

    def is_guest(self, claims: TokenClaims, path: str) -> bool:
        """Whether somebody is of another tenant, and may be here all the same.

        Who has no name has no tenant either: pseudonyms, and whoever shows a grant.

        Raises:
            AccessDeniedError: Of another tenant, and may not be here (`authenticity.tenant`).
        """
        roles = set(claims.roles)
        is_nameless = claims.holder_thumbprint is not None or (roles and roles <= _NAMELESS)
        if not self.tenant or claims.tenant == self.tenant or is_nameless:
            return False
        for place, may in self.guests.items():
            is_here = path == place or (place.endswith("/") and path.startswith(place))
            if is_here and may & roles:
                return True
        raise AccessDeniedError(
            "The token is of another tenant than the service.",
            reason="authenticity.tenant",
            remedy="Sign in where your own organisation's services are.",
        )


class AccessCheck:
    """ASGI middleware: token, body limit, turns, last stop of errors."""

    def __init__(self, app: ASGIApp, rules: AccessRules, metrics: ServiceMetrics) -> None:
        self._app = app
        self._rules = rules
        self._lanes = Lanes(body_bytes=rules.max_body_bytes)
        metrics.watch(self._lanes)
        self._known: dict[str, TokenClaims] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise AccessDeniedError("This service speaks HTTP only.")
        path = scope["path"]
        turn = self._lanes.enter(
            scope["method"],
            caller=source_of((scope.get("client") or ("",))[0]),
            is_page=path in ALWAYS_PUBLIC or path.startswith(REASONS_PATH),
            is_look=path == READY,
            is_log=path.startswith(LOG_PATHS),
        )
        answer = _Answer(send, turn)
        try:
            failure = await self._handle(scope, receive, answer, turn)
        finally:
            turn.leave()
        # After the first byte of an answer, breaking the connection is the only honest sign.
        if failure is not None and not answer.started:
            await failure(scope, receive, send)

    async def _handle(
        self, scope: Scope, receive: Receive, answer: _Answer, turn: Turn
    ) -> JSONResponse | None:
        try:
            state = scope.setdefault("state", {})
            state["turn"], state["lanes"] = turn, self._lanes
            if not self._rules.is_public(scope["path"]):
                claims = state["claims"] = self._claims(Headers(scope=scope))
                state["is_guest"] = self._rules.is_guest(claims, scope["path"])
                _check_certificate(state["claims"], state.get(PEER_NAMES))
                turn.caller = state["claims"].subject
            limits = self._body_limits(scope["path"], turn.caller)
            with _BoundedBody(scope, receive, limits=limits, turn=turn) as body:
                if not body.is_coming or scope["method"] in READING:  # nobody may read that body
                    await turn.take()
                await self._app(scope, body, answer)
        except GridSecureError as error:
            return error_response(error)
        except HTTPException as error:  # of a body that was read before the framework
            return http_response(error)
        except Exception as error:  # noqa: BLE001 - the boundary: what is not ours says nothing
            return internal_response(error)
        return None

    def _body_limits(self, path: str, caller: str) -> _BodyLimits:
        most = self._rules.most_bytes(path)
        if not self._rules.is_public(path):
            return _BodyLimits(most, self._lanes.own_bytes, caller, BODY_RATE)
        # The own machine's services and proxies speak for many.
        caller = "" if is_loopback(caller) else caller
        return _BodyLimits(most, self._lanes.strangers_bytes, caller, None)

    def _claims(self, headers: Headers) -> TokenClaims:
        sent = headers.getlist("authorization")
        scheme, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
        if scheme.lower() != "bearer":
            raise SignatureError("The request has no token.", reason="authenticity.no-token")
        now, name = self._rules.clock(), sm3_hex(token.encode())
        known = self._known.get(name)
        if known is not None and known.issued_at <= now < known.expires_at:
            return known
        claims = verify_token(
            token,
            key=self._rules.identity_key,
            audience=self._rules.audience,
            issuer=ISSUER,
            now=now,
        )
        # A signature that held holds: whoever asks often costs one check. Forgotten all at once,
        # so that many tokens take no more memory than few.
        if len(self._known) >= _KNOWN_TOKENS:
            self._known.clear()
        self._known[name] = claims
        return claims


def _check_certificate(claims: TokenClaims, shown: frozenset[str] | None) -> None:
    """Refuse a service's token from who shows no certificate of that service.

    A pseudonym shows none: a certificate would say whose it is. Its requests are signed instead.

    Args:
        shown: What the certificate says that was shown; None where none is asked for.
    """
    is_service = claims.holder_thumbprint is None and bool(_SERVICES & set(claims.roles))
    if shown is not None and is_service and not shown & set(claims.roles):
        raise AccessDeniedError(
            "A service's token came without that service's certificate.",
            reason="authenticity.certificate",
            remedy="Give the service its certificate (docs/tls.md).",
        )


class _Answer:
    """Passes an answer on and remembers whether it began.

    The work is done by then: who reads slowly keeps no turn from others.
    """

    def __init__(self, send: Send, turn: Turn) -> None:
        self._send = send
        self._turn = turn
        self.started = False

    async def __call__(self, message: AsgiMessage) -> None:
        self.started = True
        self._turn.leave()
        await self._send(message)


class _BodyLimits(NamedTuple):
    """What a body may take.

    Args:
        most: How long it is at most [bytes].
        held: What bodies hold together.
        caller: Whose share of that it takes, as `Held.add` has it.
        rate: At which it may take longer than others [bytes/s].
    """

    most: int
    held: Held
    caller: str
    rate: int | None


class _BoundedBody:
    """Passes a request body on until it is too long or too slow, whatever its header promised.

    What came is held until the request is answered. The turn is taken once the body is here: who
    sends slowly keeps none from others.

    Attributes:
        is_coming: Whether there is a body.
    """

    def __init__(self, scope: Scope, receive: Receive, *, limits: _BodyLimits, turn: Turn) -> None:
        self._receive = receive
        self._turn = turn
        self._limits = limits
        self._came = self._holds = 0
        self._began = asyncio.get_running_loop().time()
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared[:20]) > limits.most:
            raise too_large_error()
        self.is_coming = declared.strip("0") != "" or "transfer-encoding" in headers

        self._is_ended = not self.is_coming

    def __enter__(self) -> _BoundedBody:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._limits.held.release(self._holds, self._limits.caller)

    async def __call__(self) -> AsgiMessage:
        message = await self._next()
        size = len(message.get("body", b""))
        self._came += size
        # The framework turns any other error inside a body into a 400 of its own.
        if self._came > self._limits.most:
            raise HTTPException(413)
        try:
            self._limits.held.add(size, self._limits.caller)
            self._holds += size
            if not message.get("more_body", False):
                self._is_ended = True
                await self._turn.take()
        except GridSecureError as busy:
            raise HTTPException(LATER) from busy
        return message

    async def _next(self) -> AsgiMessage:
        if self._is_ended:  # what comes now is that the other side went away
            return await self._receive()
        rate = self._limits.rate
        longer = 0.0 if rate is None else self._came / rate
        until = min(asyncio.get_running_loop().time() + PAUSE_S, self._began + BODY_S + longer)
        try:
            async with asyncio.timeout_at(until):
                return await self._receive()
        except TimeoutError:
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT) from None


def read_claims(request: Request) -> TokenClaims:
    """The verified claims of a request.

    Raises:
        AuthenticityError: The path is public, so that nobody was asked for a token.
    """
    claims = getattr(request.state, "claims", None)
    if not isinstance(claims, TokenClaims):
        raise AuthenticityError("The request has no token.", reason="authenticity.no-token")
    return claims


def is_guest(request: Request) -> bool:
    """Whether who asks is of another tenant than the service: shown what concerns them alone."""
    return bool(request.state.is_guest)


def require(*roles: str) -> Callable[[Request, _Sent], Awaitable[TokenClaims]]:
    """A dependency that admits holders of any of these roles, and returns their claims.

    A token bound to a key is no bearer's: it is refused here, where no signature is looked at.

    Args:
        roles: The roles; at least one.
    """
    if not roles:
        raise ValueError("a route that requires no role would admit everybody")

    may = f"the role{'s' if len(roles) > 1 else ''} {' or '.join(roles)}"

    async def admitted(request: Request, _sent: _Sent) -> TokenClaims:
        claims = read_claims(request)
        if claims.holder_thumbprint is not None:
            raise AccessDeniedError("The token is bound to a key, and is no bearer's.")
        if not set(roles) & set(claims.roles):
            raise RoleError(f"Only {may} may do this.", remedy=f"Sign in as {may}.")
        return claims

    return admitted


async def _read_body(request: Request) -> bytes:
    return await request.body()


RawBody = Annotated[bytes, Depends(_read_body)]
"""The request body as it came, for frames, texts and signed messages."""
