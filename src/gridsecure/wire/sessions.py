"""Signing in: one short-lived token for each service a role works with.

People sign in with a code, which they make with their own SM2 key on their own machine; a password
will do only where the identity service says so, for the local demonstration.

Invariants: code and password are sent to the identity service and kept nowhere; tokens appear in no
repr; only a signed log-in leaves here as a code, no other message somebody signed; a session is as
long as its shortest token.

Not here: checking tokens, which the services do, and renewing them: people sign in again.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import httpx

from gridsecure.errors import AccessDeniedError, AuthenticityError, InputError, InvalidMessageError
from gridsecure.messages import Signed
from gridsecure.wire.answers import fetch_body, read_object
from gridsecure.wire.client import Client
from gridsecure.wire.words import PeopleWords

IDENTITY: Final = "identity"
AUTHORITY: Final = "authority"
PLATFORM: Final = "platform"
GATEWAY: Final = "gateway"
MARKET: Final = "market"
ENCRYPTION: Final = "encryption"

SERVICES: Final[Mapping[str, tuple[str, ...]]] = {
    "billing": (AUTHORITY, PLATFORM, GATEWAY),
    "operator": (AUTHORITY, PLATFORM, GATEWAY),
    "analyst": (AUTHORITY,),
    "regulator": (AUTHORITY, IDENTITY, MARKET),
    "member": (MARKET, ENCRYPTION),
    "custodian": (AUTHORITY, IDENTITY),
    "data-owner": (AUTHORITY,),
    "privacy-officer": (AUTHORITY,),
}
"""Which services a role works with; a role that is not named works with none."""

_LOGIN: Final = "person-login"
_LONGEST_CODE: Final = 8192  # characters; a code has some six hundred


@dataclass(frozen=True, slots=True)
class Session:
    """Who is signed in, as what, until when.

    Args:
        user: The name signed in with.
        expires_at: Until when, exclusive, aware.
        tokens: Bearer token by service.
    """

    user: str
    roles: frozenset[str]
    expires_at: datetime
    tokens: Mapping[str, str] = field(repr=False)

    def is_valid(self, *, at: datetime) -> bool:
        """Not expired yet."""
        return at < self.expires_at

    def token_for(self, service: str) -> str:
        """The bearer token for a service.

        Raises:
            AccessDeniedError: This session has none (`session.service`).
        """
        token = self.tokens.get(service)
        if token is None:
            raise AccessDeniedError(
                f"Your role does not work with the {service} service.",
                reason="session.service",
                remedy="Sign in with a role that does.",
            )
        return token


def offers_passwords(http: httpx.Client, *, identity_url: str) -> bool:
    """Whether the identity service lets people sign in with a password.

    Raises:
        GridSecureError: The service cannot be reached or answers in another shape.
    """
    content = fetch_body(http, "GET", f"{identity_url.rstrip('/')}/about", service=IDENTITY)
    local = read_object(content, service=IDENTITY).texts("local_demonstration_only")
    return any(line.startswith("POST /sign-in") for line in local)


def sign_in_by_code(http: httpx.Client, *, identity_url: str, code: str) -> Session:
    """Sign in with a code that the person's own machine made.

    1. the code is a signed log-in, in base64url;
    2. the identity service answers with a token for each audience the person signed for;
    3. those that the person's roles work with are kept.

    Args:
        identity_url: Base address of the identity service.
        code: What `gridsecure identity sign-in` printed.

    Raises:
        InputError: This is no sign-in code (`session.code-shape`).
        AuthenticityError: Too old, used before, or of nobody known (`session.code`).
        GridSecureError: The service cannot be reached or answers in another shape.
    """
    # 1. nothing else that somebody signed leaves here
    login = _login_in(code)
    # 2. the tokens
    url = f"{identity_url.rstrip('/')}/person-tokens"
    try:
        content = fetch_body(
            http, "POST", url, service=IDENTITY, body=login.model_dump(mode="json")
        )
    except AuthenticityError as refused:
        raise AuthenticityError(
            "The identity service does not accept this sign-in code.",
            reason="session.code",
            remedy="A code works once, for one minute, and only with a registered key. Make a "
            "new one and paste it at once.",
        ) from refused
    answer = read_object(content, service=IDENTITY)
    # 3. what these roles work with
    roles, given = answer.texts("roles"), answer.part("tokens")
    wanted = {service for role in roles for service in SERVICES.get(role, ())}
    found = {service: given.text(service, "") for service in sorted(wanted)}
    return Session(
        answer.text("name"),
        frozenset(roles),
        answer.moment("expires_at"),
        {service: token for service, token in found.items() if token},
    )


def _login_in(code: str) -> Signed:
    """The signed log-in in a code; line breaks of a terminal do no harm."""
    text = "".join(code.split())
    try:
        if len(text) > _LONGEST_CODE:
            raise ValueError("too long")
        padded = text + "=" * (-len(text) % 4)
        login = Signed.parse(base64.b64decode(padded, altchars=b"-_", validate=True))
        if login.body_kind != _LOGIN:
            raise ValueError("signed for something else")
    except (InvalidMessageError, binascii.Error, ValueError):
        # Without its cause, which would quote the code.
        raise InputError(
            "This is not a sign-in code.",
            reason="session.code-shape",
            remedy="Paste everything that the command printed, and nothing else.",
        ) from None
    return login


def sign_in(
    http: httpx.Client, *, identity_url: str, user: str, password: str, asked_by: str = ""
) -> Session:
    """Sign in at the identity service for every service the user's roles work with.

    1. ask for a token for the key authority, which every role reads, and learn the roles;
    2. ask for the other services of these roles; one that refuses the user is left out.

    Args:
        asked_by: Address of the person, whom failures are counted by; the identity service believes
            it of a proxy that it trusts.

    Raises:
        AuthenticityError: Name or password is wrong, or the user may not sign in
            (`session.sign-in`).
        GridSecureError: The service cannot be reached or asks to wait.
    """
    client = Client(http, PeopleWords(IDENTITY), url=identity_url)
    headers = {"X-Forwarded-For": asked_by} if asked_by else {}

    def token(audience: str) -> tuple[str, datetime, tuple[str, ...]]:
        body = {"user": user, "password": password, "audience": audience}
        content = client.call("POST", "/sign-in", json=body, headers=headers).content
        answer = read_object(content, service=IDENTITY)
        return answer.text("token"), answer.moment("expires_at"), answer.texts("roles")

    # 1. the authority, and the roles
    try:
        first, expires_at, roles = token(AUTHORITY)
    except AuthenticityError as refused:
        raise AuthenticityError(
            "The user name or the password is wrong.",
            reason="session.sign-in",
            remedy="Try again; sign-in is slowed down after several attempts.",
        ) from refused
    tokens = {AUTHORITY: first}
    # 2. the others
    wanted = {service for role in roles for service in SERVICES.get(role, ())}
    for service in sorted(wanted - set(tokens)):
        try:
            tokens[service], until, _ = token(service)
        except AuthenticityError:
            continue  # deny by default: without a token, every page that needs it says so
        expires_at = min(expires_at, until)
    return Session(user, frozenset(roles), expires_at, tokens)
