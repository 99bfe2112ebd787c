"""Signing in: one short-lived token for each service a role works with.

Invariants: the password is sent to the identity service and kept nowhere; tokens appear in no
repr; a session is as long as its shortest token.

Not here: checking tokens, which the services do, and renewing them: people sign in again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import httpx

from gridsecure.analyst.answers import asked, object_of
from gridsecure.errors import AccessDeniedError, AuthenticityError

AUTHORITY: Final = "authority"
PLATFORM: Final = "platform"
GATEWAY: Final = "gateway"

SERVICES: Final[Mapping[str, tuple[str, ...]]] = {
    "billing": (AUTHORITY, PLATFORM, GATEWAY),
    "operator": (AUTHORITY, PLATFORM, GATEWAY),
    "analyst": (AUTHORITY,),
    "regulator": (AUTHORITY,),
    "custodian": (AUTHORITY,),
}
"""Which services a role works with; a role that is not named works with none."""


@dataclass(frozen=True, slots=True)
class Session:
    """Who is signed in, as what, until when.

    Args:
        user: The name signed in with.
        roles: As what.
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


def sign_in(http: httpx.Client, *, identity_url: str, user: str, password: str) -> Session:
    """Sign in at the identity service for every service the user's roles work with.

    1. ask for a token for the key authority, which every role reads, and learn the roles;
    2. ask for the other services of these roles; one that refuses the user is left out.

    Raises:
        AuthenticityError: Name or password is wrong, or the user may not sign in
            (`session.sign-in`).
        GridSecureError: The service cannot be reached or asks to wait.
    """
    url = f"{identity_url.rstrip('/')}/sign-in"

    def token(audience: str) -> tuple[str, datetime, tuple[str, ...]]:
        body = {"user": user, "password": password, "audience": audience}
        answer = object_of(
            asked(http, "POST", url, service="identity", body=body), service="identity"
        )
        return answer.text("token"), answer.moment("expires_at"), answer.texts("roles")

    # 1. the authority, and the roles
    try:
        first, expires_at, roles = token(AUTHORITY)
    except AuthenticityError as refused:
        raise AuthenticityError(
            "The user name or the password is not right.",
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
