"""The tokens of access that follow a log-in, whoever logged in: people, services, pseudonyms."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gridsecure.credentials.access import ISSUER
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.crypto.tokens import TokenClaims, issue_token
from gridsecure.identity_messages import Audience

SERVICE_TOKEN_LIFETIME: Final = timedelta(minutes=5)


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


def give_token(
    subject: str,
    *,
    roles: tuple[str, ...],
    audience: Audience,
    key: Sm2PrivateKey,
    valid: tuple[datetime, datetime],
    tenant: str = "",
) -> GivenToken:
    """Issue a token to somebody who proved who they are.

    Args:
        audience: For which service.
        valid: From when until when, aware.
        tenant: The organisation that the subject is of; empty where there is one alone.
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
        tenant=tenant,
    )
    return GivenToken(issue_token(claims, key=key), expires_at)
