"""Telling the billing office, and only it, which settlement pseudonym an account has.

The key authority releases bills by settlement pseudonym; the office knows the account's enrolled
key Y. The holder proves that both are multiples by one secret, Y = m1·G and nym = m1·H(domain).
The office learns account and bill, not the pseudonym that readings were uploaded under.
"""

from __future__ import annotations

from collections.abc import Sequence

from gridsecure.credentials.batch_checks import Claim, find_false
from gridsecure.credentials.curves import Point
from gridsecure.credentials.group import WHOLE_BYTES
from gridsecure.credentials.issuer_keys import check_length
from gridsecure.credentials.presentations import Domain, subject
from gridsecure.credentials.sigma import Relation, claimed_sums, respond
from gridsecure.credentials.suites import Suite, frame_parts
from gridsecure.errors import SignatureError


def prove_settlements(
    secrets: Sequence[int], *, domain: Domain, challenge: bytes, suite: Suite
) -> list[bytes]:
    """By holder its pseudonym and the proof that it is the enrolled key's, 224 bytes.

    Args:
        secrets: By holder its m1.
        challenge: The office's one-use challenge.
    """
    group, base, session = suite.group, domain.base(suite), _session(suite, domain, challenge)
    nonces = [group.random_scalar() for _ in secrets]
    blinding = group.blinding(suite.g, base)
    points = group.sums(
        [
            blinding.split(scalar, point)
            for both in zip(secrets, nonces, strict=True)
            for scalar in both
            for point in (suite.g, base)
        ]
    )
    multiples = zip(*(points[at::4] for at in range(4)), strict=True)
    return [
        group.encode_whole(nym)
        + respond(
            _one_secret(suite, key, base, nym),
            [m1],
            nonces=[nonce],
            commitments=commitments,
            suite=suite,
            session=session,
        )
        for m1, nonce, (key, nym, *commitments) in zip(secrets, nonces, multiples, strict=True)
    ]


def verify_settlements(
    sent: Sequence[tuple[bytes, Point]], *, domain: Domain, challenge: bytes, suite: Suite
) -> list[str]:
    """Check settlement proofs, all by one sum; return the pseudonyms' names, which bills are under.

    Args:
        sent: What `prove_settlements` made, each with the account's enrolled key.

    Raises:
        InvalidMessageError: One is malformed.
        SignatureError: One is of another key, domain or challenge (`authenticity.settlement`).
    """
    session, names = _session(suite, domain, challenge), list[str]()
    claims: list[Claim] = []
    for message, enrolled in sent:
        check_length(message[:WHOLE_BYTES], WHOLE_BYTES)
        (nym,) = suite.group.decode_whole(message[:WHOLE_BYTES])
        statement = _one_secret(suite, enrolled, domain.base(suite), nym)
        proof = message[WHOLE_BYTES:]
        claims.append(claimed_sums(statement, proof, suite=suite, session=session))
        names.append(subject(nym, domain=domain, suite=suite))
    if next(find_false(claims, group=suite.group), None) is not None:
        raise SignatureError(
            "The settlement pseudonym does not belong to this account.",
            reason="authenticity.settlement",
        )
    return names


def _one_secret(suite: Suite, key: Point, base: Point, nym: Point) -> Relation:
    statement = Relation(suite.group)
    (m1,) = statement.scalars(1)
    g, key_at, base_at, nym_at = map(statement.element, (suite.g, key, base, nym))
    statement.equate(key_at, (m1, g))
    statement.equate(nym_at, (m1, base_at))
    return statement


def _session(suite: Suite, domain: Domain, challenge: bytes) -> bytes:
    return frame_parts(suite.context, b"Settlement", domain.text, challenge)
