"""Telling the billing office, and only it, which settlement pseudonym an account has.

The key authority releases bills by settlement pseudonym; the office knows the account's enrolled
key Y. The holder proves that both are multiples by one secret, Y = m1·G and nym = m1·H(domain).
The office learns account and bill, not the pseudonym that readings were uploaded under.
"""

from __future__ import annotations

from typing import Final

from gridsecure.credentials.curves import Point
from gridsecure.credentials.group import POINT_BYTES
from gridsecure.credentials.issuer_keys import check_length
from gridsecure.credentials.presentations import Domain, subject
from gridsecure.credentials.sigma import Relation, holds, proof_bytes, prove
from gridsecure.credentials.suites import Suite, frame_parts
from gridsecure.errors import SignatureError

SETTLEMENT_BYTES: Final = POINT_BYTES + proof_bytes(1)


def prove_settlement(m1: int, *, domain: Domain, challenge: bytes, suite: Suite) -> bytes:
    """The pseudonym and the proof that it is the enrolled key's, 97 bytes.

    Args:
        m1: The holder's secret.
        challenge: The office's one-use challenge.
    """
    group, base = suite.group, domain.base(suite)
    key, nym = group.sums([group.blind(m1, suite.g), group.blind(m1, base)])
    statement = _one_secret(suite, key, base, nym)
    session = _session(suite, domain, challenge)
    return group.encode(nym) + prove(statement, [m1], suite=suite, session=session)


def verify_settlement(
    message: bytes, *, enrolled: Point, domain: Domain, challenge: bytes, suite: Suite
) -> str:
    """Check a settlement proof; return the pseudonym's name, under which the bill is.

    Args:
        message: From `prove_settlement`.

    Raises:
        InvalidMessageError: Malformed.
        SignatureError: Another key, domain or challenge (`authenticity.settlement`).
    """
    check_length(message, SETTLEMENT_BYTES)
    nym = suite.group.decode(message[:POINT_BYTES])
    statement = _one_secret(suite, enrolled, domain.base(suite), nym)
    session = _session(suite, domain, challenge)
    if not holds(statement, message[POINT_BYTES:], suite=suite, session=session):
        raise SignatureError(
            "The settlement pseudonym does not belong to this account.",
            reason="authenticity.settlement",
        )
    return subject(nym, domain=domain, suite=suite)


def _one_secret(suite: Suite, key: Point, base: Point, nym: Point) -> Relation:
    statement = Relation(suite.group)
    (m1,) = statement.scalars(1)
    g, key_at, base_at, nym_at = map(statement.element, (suite.g, key, base, nym))
    statement.equate(key_at, (m1, g))
    statement.equate(nym_at, (m1, base_at))
    return statement


def _session(suite: Suite, domain: Domain, challenge: bytes) -> bytes:
    return frame_parts(suite.context, b"Settlement", domain.text, challenge)
