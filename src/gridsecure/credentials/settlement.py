"""Telling the billing office, and only it, which settlement pseudonym an account has.

The key authority releases bills by settlement pseudonym; the office knows the account's enrolled
key Y. Its holder knows one secret for both, Y = m1·G and nym = m1·H(domain). The office learns
account and bill, not the pseudonym that readings were uploaded under.

Who holds the secrets of many accounts proves it of all together:

    1. every account gets a weight of 128 bits that follows from the session, all keys and all
       pseudonyms, so none of them can be chosen after it;
    2. with the weights Y* = Σ w·Y and nym* = Σ w·nym have one secret, m1* = Σ w·m1;
    3. of these two points one proof is made, and checked.

Why that is enough. Take any account whose key and pseudonym have different secrets, and fix all
other weights: the order is a prime beyond 2^128, so at most one value of its own weight makes up
for the difference. Whoever tries other pseudonyms draws other weights, once for each hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gridsecure.credentials.batch_checks import WEIGHT_BITS
from gridsecure.credentials.curves import IDENTITY, Point
from gridsecure.credentials.group import WHOLE_BYTES
from gridsecure.credentials.issuer_keys import check_length
from gridsecure.credentials.presentations import Domain, subject
from gridsecure.credentials.sigma import Relation, holds, prove
from gridsecure.credentials.suites import Suite, frame_parts
from gridsecure.errors import SignatureError

_WEIGHT_BYTES: Final = WEIGHT_BITS // 8


def prove_settlements(
    secrets: Sequence[int], *, domain: Domain, challenge: bytes, suite: Suite
) -> tuple[list[bytes], bytes]:
    """By holder its pseudonym, 64 bytes, and one proof that all are the enrolled keys', 64 bytes.

    Args:
        secrets: By holder its m1.
        challenge: The office's one-use challenge.
    """
    group, base, session = suite.group, domain.base(suite), _session(suite, domain, challenge)
    blinding = group.blinding(suite.g, base)
    points = group.sums([blinding.split(m1, point) for m1 in secrets for point in (suite.g, base)])
    keys, names = points[::2], points[1::2]
    pseudonyms = [group.encode_whole(nym) for nym in names]
    if not secrets:
        return pseudonyms, b""
    weights = _weights(keys, pseudonyms, suite=suite, session=session)
    total = sum(w * m1 for w, m1 in zip(weights, secrets, strict=True)) % group.order
    key, nym = (group.multiply(point, scalar=total) for point in (suite.g, base))
    statement = _one_secret(suite, key, base, nym)
    return pseudonyms, prove(statement, [total], suite=suite, session=session)


def verify_settlements(
    sent: Sequence[tuple[bytes, Point]],
    proof: bytes,
    *,
    domain: Domain,
    challenge: bytes,
    suite: Suite,
) -> list[str]:
    """Check a settlement proof; return the pseudonyms' names, which bills are under.

    Args:
        sent: The pseudonyms that `prove_settlements` made, in its order, each with the account's
            enrolled key.
        proof: Its proof.

    Raises:
        InvalidMessageError: A pseudonym is malformed.
        SignatureError: One is of another key, domain or challenge (`authenticity.settlement`).
    """
    group, session, names = suite.group, _session(suite, domain, challenge), list[Point]()
    for pseudonym, _ in sent:
        check_length(pseudonym, WHOLE_BYTES)
        names += group.decode_whole(pseudonym)
    if not _are_proved(sent, names, proof, domain=domain, session=session, suite=suite):
        raise SignatureError(
            "A settlement pseudonym does not belong to its account.",
            reason="authenticity.settlement",
        )
    return [subject(nym, domain=domain, suite=suite) for nym in names]


def _are_proved(
    sent: Sequence[tuple[bytes, Point]],
    names: Sequence[Point],
    proof: bytes,
    *,
    domain: Domain,
    session: bytes,
    suite: Suite,
) -> bool:
    if not sent:
        return not proof
    group, keys = suite.group, [key for _, key in sent]
    weights = _weights(keys, [pseudonym for pseudonym, _ in sent], suite=suite, session=session)
    key, nym = group.sums([list(zip(weights, points, strict=True)) for points in (keys, names)])
    if IDENTITY in (key, nym):  # whose secret would be nought, which no statement is about
        return False
    statement = _one_secret(suite, key, domain.base(suite), nym)
    return holds(statement, proof, suite=suite, session=session)


def _weights(
    keys: Sequence[Point], pseudonyms: Sequence[bytes], *, suite: Suite, session: bytes
) -> list[int]:
    """By account its weight, 1..2^128."""
    digest = suite.group.curve.digest
    label = suite.context + b"SettlementWeights"
    seed = digest(frame_parts(label, session, suite.group.encode_whole(*keys), *pseudonyms))
    numbers = (number.to_bytes(4, "big") for number in range(len(keys)))
    return [1 + int.from_bytes(digest(seed + n)[:_WEIGHT_BYTES], "big") for n in numbers]


def _one_secret(suite: Suite, key: Point, base: Point, nym: Point) -> Relation:
    statement = Relation(suite.group)
    (m1,) = statement.scalars(1)
    g, key_at, base_at, nym_at = map(statement.element, (suite.g, key, base, nym))
    statement.equate(key_at, (m1, g))
    statement.equate(nym_at, (m1, base_at))
    return statement


def _session(suite: Suite, domain: Domain, challenge: bytes) -> bytes:
    return frame_parts(suite.context, b"Settlement", domain.text, challenge)
