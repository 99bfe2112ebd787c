"""What access tokens say in this house, and what is signed to get or to use one."""

from __future__ import annotations

from typing import Final

from gridsecure.credentials.presentations import Domain
from gridsecure.credentials.suites import framed
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import SignatureError

ISSUER: Final = "gridsecure-identity"
"""Who issues all access tokens."""

GRANT_ROLE: Final = "query-grant"
"""The one role in a query grant's token."""

_LOGIN: Final = b"gridsecure-login-1"


def login_text(name: str, *, domain: Domain, challenge: bytes) -> bytes:
    """What a holder signs to log in."""
    return framed(_LOGIN, name, domain.text, challenge)


def query_subject(digest: bytes) -> str:
    """The subject of a grant's token: the query, not the analyst."""
    return f"query/{digest.hex()}"


def check_query(claims: TokenClaims, *, query: bytes) -> None:
    """Refuse a grant's token for another query than this one.

    Args:
        claims: From `verify_token`.
        query: The query as it was sent.

    Raises:
        SignatureError: It is for another one, or no grant (`authenticity.query`).
    """
    expected = f"query/{sm3_hex(query)}"
    if claims.subject != expected or claims.roles != (GRANT_ROLE,):
        raise SignatureError(
            "The grant is for another query.",
            reason="authenticity.query",
            remedy="Ask for a grant for the query as it is sent.",
        )
