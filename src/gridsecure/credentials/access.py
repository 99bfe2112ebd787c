"""What access tokens say in this house, and what is signed to get or to use one."""

from __future__ import annotations

from typing import Final

from gridsecure.credentials.presentations import Domain
from gridsecure.credentials.suites import frame_parts
from gridsecure.crypto.sm3 import sm3_digest, sm3_hex
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import SignatureError

ISSUER: Final = "gridsecure-identity"
"""Who issues all access tokens."""

GRANT_ROLE: Final = "query-grant"
"""The one role in a query grant's token."""

TRIAL_ROLE: Final = "query-trial"
"""The one role in the token of a pass for trials."""

_LOGIN: Final = b"gridsecure-login-1"
_ENROLMENT: Final = b"gridsecure-enrolment-1"
_BATCH: Final = b"gridsecure-batch-1"


def login_text(name: str, *, domain: Domain, challenge: bytes) -> bytes:
    """What a holder signs to log in."""
    return frame_parts(_LOGIN, name, domain.text, challenge)


def enrolment_channel(session: str, sender: str, service: str, identity: str) -> bytes:
    """What a credential request is bound to: the channel it came over, and for whom.

    Args:
        session: Given out by the identity service, 64 hexadecimal digits, good for one order.
        sender: Thumbprint of whoever sends the order.
        service: Thumbprint of the identity service.
        identity: For whom the credential is, in the utility's own books.

    Raises:
        ValueError: A session that is not hexadecimal.
    """
    return frame_parts(_ENROLMENT, bytes.fromhex(session), sender, service, identity)


def batch_challenge(challenge: bytes, index: int) -> bytes:
    """The challenge of one presentation among those that answer one challenge together.

    Args:
        challenge: Given out by the token service.
        index: The presentation's place, from 0.
    """
    return sm3_digest(frame_parts(_BATCH, challenge, index.to_bytes(4, "big")))


def query_subject(digest: bytes) -> str:
    """The subject of a grant's token: the query, not the analyst."""
    return f"query/{digest.hex()}"


def trial_subject(digest: bytes) -> str:
    """The subject of a pass's token: 32 random bytes of the asker's, for this pass alone."""
    return f"trial/{digest.hex()}"


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
