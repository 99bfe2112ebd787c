"""How a service proves itself, and the tokens that follow.

A service signs `ServiceLogin` with the SM2 key it was registered with:

1. the signature verifies under a registered key;
2. it was signed within `MAX_AGE` of now, either way;
3. its nonce was never used by this key: it is recorded before a token is given, on the disk, so
   that a restart does not forget it. A service logs in every few minutes, so the records stay few.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Final, Literal

from pydantic import Field
from sqlalchemy import Engine

from gridsecure.credentials.access import ISSUER
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.crypto.tokens import TokenClaims, issue_token
from gridsecure.errors import ConflictError, StaleMessageError
from gridsecure.messages import Message, Signed, opened, signed
from gridsecure.store.database import write_session
from gridsecure.store.records import Record, record

SERVICE_TOKEN_LIFETIME: Final = timedelta(minutes=5)
MAX_AGE: Final = timedelta(seconds=60)

Audience = Literal["gateway", "platform", "authority", "identity"]
"""The services a token can be for."""


class ServiceLogin(Message):
    """A service asks for a token for one audience."""

    kind: ClassVar[str] = "service-login"
    audience: Audience
    issued_at: str = Field(max_length=40)
    nonce: str = Field(pattern=r"^[0-9a-f]{32}$")


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
    nonce = secrets.token_hex(16)
    login = ServiceLogin(audience=audience, issued_at=now.isoformat(), nonce=nonce)
    return signed(login, key=key)


def admit_service(
    envelope: Signed, *, trusted: Mapping[str, Sm2PublicKey], engine: Engine, now: datetime
) -> ServiceLogin:
    """Check a login once and for all.

    Args:
        envelope: What the service sent.
        trusted: Registered keys by thumbprint.
        engine: The zone's database, which remembers nonces.
        now: The present, aware.

    Raises:
        AuthenticityError: Not signed by a registered key, or for another purpose; too old or from
            the future; used before.
        InvalidMessageError: Signed, but of another shape.
    """
    # 1. signature
    login = opened(envelope, expect=ServiceLogin, trusted=trusted)
    # 2. time
    if not _is_recent(login.issued_at, now=now):
        raise StaleMessageError("A login is not of this minute.", reason="authenticity.login-time")
    # 3. nonce
    name = f"{envelope.signer}/{login.nonce}"
    try:
        with write_session(engine) as session:
            is_new = record(
                session, Record("service-login", name, name, envelope.digest, "", ""), at=now
            )
    except ConflictError as error:
        raise _replayed() from error
    if not is_new:
        raise _replayed()
    return login


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


def _is_recent(text: str, *, now: datetime) -> bool:
    try:
        signed_at = datetime.fromisoformat(text)
    except ValueError:
        return False
    return signed_at.tzinfo is not None and abs(now - signed_at) <= MAX_AGE


def _replayed() -> StaleMessageError:
    return StaleMessageError("A login was used before.", reason="authenticity.login-replayed")
