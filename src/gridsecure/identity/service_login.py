"""How a service proves itself, and the tokens that follow.

A service signs `ServiceLogin` with the SM2 key it was registered with; `signed_logins` checks it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Final

from sqlalchemy import Engine

from gridsecure.credentials.access import ISSUER
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.crypto.tokens import TokenClaims, issue_token
from gridsecure.identity.enrolments.signed_logins import Login, admitted, fresh_nonce
from gridsecure.messages import Signed, signed
from gridsecure.wire.identity import Audience

SERVICE_TOKEN_LIFETIME: Final = timedelta(minutes=5)

"""The services a token can be for."""


class ServiceLogin(Login):
    """A service asks for a token for one audience."""

    kind: ClassVar[str] = "service-login"
    audience: Audience


@dataclass(frozen=True, slots=True)
class GivenToken:
    """A token and when it ends.

    Args:
        token: The token. Never logged.
        expires_at: Its end, aware.
    """

    token: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"GivenToken(expires_at={self.expires_at!r})"


def service_login(*, audience: Audience, key: Sm2PrivateKey, now: datetime) -> Signed:
    """What a service sends to log in.

    Args:
        audience: The service it wants to talk to.
        key: Its registered key.
        now: The present, aware.
    """
    login = ServiceLogin(audience=audience, issued_at=now.isoformat(), nonce=fresh_nonce())
    return signed(login, key=key)


def admit_service(
    envelope: Signed, *, trusted: Mapping[str, Sm2PublicKey], engine: Engine, now: datetime
) -> ServiceLogin:
    """Check a service's login once and for all, as `signed_logins.admitted` says.

    Args:
        envelope: What the service sent.
        trusted: Registered keys by thumbprint.
        engine: The zone's database, which remembers nonces.
        now: The present, aware.

    Raises:
        AuthenticityError: Not trusted, not of this minute, or used before.
        InvalidMessageError: Signed, but of another shape.
    """
    return admitted(envelope, expect=ServiceLogin, trusted=trusted, engine=engine, now=now)


def give_token(
    subject: str,
    *,
    roles: tuple[str, ...],
    audience: Audience,
    key: Sm2PrivateKey,
    valid: tuple[datetime, datetime],
) -> GivenToken:
    """Issue a token to somebody who proved who they are.

    Args:
        subject: Who.
        roles: As what.
        audience: For which service.
        key: The identity service's key.
        valid: From when until when, aware.
    """
    issued_at, expires_at = valid
    claims = TokenClaims(
        subject=subject,
        roles=roles,
        audience=audience,
        issuer=ISSUER,
        issued_at=issued_at,
        expires_at=expires_at,
        token_id=secrets.token_hex(16),
    )
    return GivenToken(issue_token(claims, key=key), expires_at)
