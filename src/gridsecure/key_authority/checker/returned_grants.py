"""Grants given back: blindly with a refusal, and used once, for a query that nothing links to it.

A refusal and what it gives back are one row, kept in one transaction: whoever kills the checker
between the two finds neither or both. The blind evaluation of one ticket is one value, however
often it is made, and its seed is bound to the first query that it is used for. Which one that is
nobody knows here: its digest comes under a salt.
"""

from __future__ import annotations

from datetime import datetime

from gridsecure.credentials.queries import parse_query
from gridsecure.credentials.returned_grants import (
    GrantOrder,
    check_returned,
    give_back,
    public_return_key,
    return_key,
)
from gridsecure.credentials.sealed_questions import open_question
from gridsecure.credentials.suites import frame_parts, sm2_suite
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import (
    ConflictError,
    EnvelopeError,
    InvalidMessageError,
    StaleMessageError,
)
from gridsecure.key_authority.checker.noise_budgets import is_charged
from gridsecure.key_authority.checker.tables import SeedRow
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.messages import ReleaseRequest, Signed, sign_message
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import keep


def find_returned(zone: AuthorityZone, request: ReleaseRequest) -> str:
    """What a refused query gets back, hexadecimal.

    Nothing where its envelope asks for nothing, or noise was charged for it and it has cost that.
    """
    with read_session(zone.engine) as session:
        if is_charged(session, request.request_id):
            return ""
    query, suite = parse_query(request.query), sm2_suite()
    try:
        content = open_question(query.sealed, key=zone.query_key, reader=query.reader)
        if not content.ticket:
            return ""
        key = return_key(zone.query_key, suite=suite)
        return give_back(bytes.fromhex(content.ticket), key=key, suite=suite).hex()
    except (EnvelopeError, InvalidMessageError):  # nothing in it says whom to give what
        return ""


def published_return_key(zone: AuthorityZone) -> str:
    """K, as the query key's notice names it, hexadecimal."""
    suite = sm2_suite()
    return public_return_key(return_key(zone.query_key, suite=suite), suite=suite).hex()


def order_grant(
    zone: AuthorityZone, *, seed: bytes, digest: bytes, code: str, now: datetime
) -> Signed:
    """Take a returned grant for a query; the same again is the same.

    Args:
        seed: What the asker hid when it asked before.
        digest: Of the query that it is used for, under a salt that is not told here.
        code: From `ReturnedGrant.code`.
        now: The present, aware.

    Returns:
        A `GrantOrder` to the identity service.

    Raises:
        SignatureError: It is no returned grant, or is for another query (`grants.returned`).
        StaleMessageError: It was used for another query (`authenticity.spent`).
        StorageError: That it is used cannot be kept.
    """
    suite = sm2_suite()
    key = return_key(zone.query_key, suite=suite)
    check_returned(code, seed=seed, digest=digest, key=key, suite=suite)
    name = f"returned/{sm3_hex(frame_parts(seed))}"
    try:
        with write_session(zone.engine) as session:
            keep(session, SeedRow(seed=name, transcript=digest.hex(), at=now))
    except ConflictError as error:
        raise StaleMessageError(
            "A returned grant was used for another query.",
            reason="authenticity.spent",
            remedy="Ask with another grant.",
        ) from error
    return sign_message(GrantOrder(digest=digest.hex()), key=zone.signing_key)
