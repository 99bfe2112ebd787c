"""Query grants: at most N questions per epoch, none of them linkable to the analyst or another.

The analyst shows its credential as for a pseudonym, but instead of one a tag

    tag = 1/(m1 + nonce)·T,   T = H(epoch, limit)

with a nonce below the limit, hidden in a commitment with a range proof. One nonce gives one tag, so
N different tags exist per analyst and epoch; which ones belong together nobody can tell. No escrow:
among the credentialed analysts a grant is anonymous. The proof is bound to the digest of one query
and to one audience, and the tag can be spent once.

The layout is the presentation of the IETF draft "Anonymous Rate-Limited Credentials", except that
V and the nonce's commitment are computed and not sent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from gridsecure.credentials.curves import Point
from gridsecure.credentials.group import POINT_BYTES
from gridsecure.credentials.issuance import Credential
from gridsecure.credentials.issuer_keys import (
    Context,
    IssuerPrivateKey,
    IssuerPublicKey,
    check_length,
)
from gridsecure.credentials.ranges import (
    claim_digits,
    commit_digits,
    committed_number,
    digit_bases,
)
from gridsecure.credentials.sigma import Derived, Relation, holds, proof_bytes, prove
from gridsecure.credentials.suites import Suite, frame_parts
from gridsecure.errors import InvalidMessageError, SignatureError

MAX_LIMIT: Final = 1 << 16
DIGEST_BYTES: Final = 32
_FIXED_POINTS: Final = 4
_FIXED_SCALARS: Final = 5


@dataclass(frozen=True, slots=True)
class Quota:
    """How many grants an analyst has.

    Args:
        context: The credential's; an analyst's.
        epoch: The time they are counted in, such as "2026-03".
        limit: How many, 2 to `MAX_LIMIT`.

    Raises:
        InvalidMessageError: A limit out of range, a blank epoch, or a role that is not hidden
            (`identity.quota`).
    """

    context: Context
    epoch: str
    limit: int

    def __post_init__(self) -> None:
        if not 2 <= self.limit <= MAX_LIMIT or not self.epoch or not self.context.is_hidden:
            raise InvalidMessageError("A quota is malformed.", reason="identity.quota")

    def base(self, suite: Suite) -> Point:
        """The point T that all tags of this quota are multiples of."""
        text = frame_parts(self.epoch, str(self.limit), self.context.period)
        return suite.hash_to_group(text, info=b"Tag")


def trial_quota(quota: Quota) -> Quota:
    """How many passes for trials an analyst has: as many as grants, counted apart."""
    return replace(quota, epoch=f"{quota.epoch}/trials")


@dataclass(frozen=True, slots=True)
class Question:
    """What a grant is for.

    Args:
        digest: SM3 of the query [32 bytes].

    Raises:
        InvalidMessageError: A digest of another length (`identity.quota`).
    """

    quota: Quota
    audience: str
    digest: bytes

    def __post_init__(self) -> None:
        if len(self.digest) != DIGEST_BYTES:
            raise InvalidMessageError("A query digest must have 32 bytes.", reason="identity.quota")

    def session(self, suite: Suite, issuer: IssuerPublicKey) -> bytes:
        """What the Fiat–Shamir hash takes besides the statement."""
        quota = self.quota
        return frame_parts(
            suite.context,
            b"Grant",
            issuer.to_bytes(suite),
            quota.context.to_bytes(),
            frame_parts(quota.epoch, str(quota.limit)),
            self.audience,
            self.digest,
        )


def grant_bytes(limit: int) -> int:
    """The length of a grant request [bytes]: 1356 for a limit of 256."""
    digits = len(digit_bases(limit))
    return POINT_BYTES * (_FIXED_POINTS + digits) + proof_bytes(_FIXED_SCALARS + 3 * digits)


def request_grant(
    credential: Credential, *, nonce: int, question: Question, issuer: IssuerPublicKey, suite: Suite
) -> bytes:
    """Ask for one grant.

    Args:
        nonce: 0..limit-1, never used before in this epoch; two uses give the same tag.
        question: What it is for.

    Raises:
        ValueError: A nonce out of range, or a credential of another context.
    """
    quota, group, m1 = question.quota, suite.group, credential.m1
    if credential.context != quota.context or not 0 <= nonce < quota.limit:
        raise ValueError("a grant needs a credential of its context and a nonce below its limit")
    a, r, z, blinding = (group.random_scalar() for _ in range(4))
    base = quota.base(suite)
    u, u_prime, v, tag = group.sums(
        [
            group.blind(a, credential.u),
            [*group.blind(a, credential.u_prime), *group.blind(r, suite.g)],
            [*group.blind(z, issuer.x1), *group.blind(-r, suite.g)],
            group.blind(group.invert(m1 + nonce), base),
        ]
    )
    m = group.sum(*group.blind(m1, u), *group.blind(z, suite.h))
    digits = commit_digits(
        nonce, limit=quota.limit, blinding=blinding, draw=group.random_scalar, suite=suite
    )
    number = committed_number(digits.commitments, limit=quota.limit, suite=suite)
    statement = grant_relation(
        (u, u_prime, m, tag, number), v=Derived(((1, v),)), x1=issuer.x1, base=base, suite=suite
    )
    claim_digits(statement, digits.commitments, suite=suite)
    witness = [m1, z, -r, nonce, blinding, *digits.witness(group.order)]
    proof = prove(statement, witness, suite=suite, session=question.session(suite, issuer))
    return b"".join(map(group.encode, (u, u_prime, m, tag, *digits.commitments))) + proof


def verify_grant(
    message: bytes,
    *,
    question: Question,
    issuer: IssuerPublicKey,
    key: IssuerPrivateKey,
    suite: Suite,
) -> bytes:
    """Check a grant request; return its tag, which may be spent once.

    Args:
        question: What it must be for.

    Raises:
        InvalidMessageError: Another length, or something in it is no point.
        SignatureError: The proof does not hold (`authenticity.grant`).
    """
    quota, group = question.quota, suite.group
    check_length(message, grant_bytes(quota.limit))
    points = len(message) - proof_bytes(_FIXED_SCALARS + 3 * len(digit_bases(quota.limit)))
    u, u_prime, m, tag, *rest = group.decode_points(message[:points])
    commitments = tuple(rest)
    v = issuer_view((u, u_prime, m), context=quota.context, key=key, suite=suite)
    number = committed_number(commitments, limit=quota.limit, suite=suite)
    base = quota.base(suite)
    group.prepare(suite.g, suite.h, issuer.x1)
    try:
        statement = grant_relation(
            (u, u_prime, m, tag, number), v=v, x1=issuer.x1, base=base, suite=suite
        )
        claim_digits(statement, commitments, suite=suite)
        session = question.session(suite, issuer)
        verified = holds(statement, message[points:], suite=suite, session=session)
    except ValueError:  # the digits add up to the identity, which no honest request does
        verified = False
    if not verified:
        raise SignatureError(
            "A query grant does not verify.",
            reason="authenticity.grant",
            remedy="Use a credential of this period and a nonce below the limit.",
        )
    return group.encode(tag)


def issuer_view(
    shown: tuple[Point, Point, Point], *, context: Context, key: IssuerPrivateKey, suite: Suite
) -> Derived:
    """V = (x0 + x2·m2)·U + x1·M - U', unsummed, with the key's scalars blinded.

    Args:
        shown: U, U' and M of a presentation.
        context: The context the credential must have.
    """
    group, (u, u_prime, m) = suite.group, shown
    # m2 is computed from the context that is wanted, so a credential of another one cannot fit.
    fixed = (key.x0 + key.x2 * context.scalar(suite)) % group.order
    return Derived((*group.blind(fixed, u), *group.blind(key.x1, m), (-1, u_prime)))


def grant_relation(
    shown: tuple[Point, Point, Point, Point, Point],
    *,
    v: Point | Derived,
    x1: Point,
    base: Point,
    suite: Suite,
) -> Relation:
    """Membership and tag, in the draft's order; the range proof is added after it.

    Args:
        shown: U, U', M, the tag, and the nonce's commitment.
        v: V, as the holder or the issuer knows it.
        x1: The issuer's X1.
    """
    statement = Relation(suite.group)
    m1, z, r, nonce, blinding = statement.scalars(_FIXED_SCALARS)
    u, u_prime, m, tag, number = shown
    g, h, u_at, _, m_at = map(statement.element, (suite.g, suite.h, u, u_prime, m))
    v_at = statement.element(v)
    x1_at, tag_at, base_at, number_at = map(statement.element, (x1, tag, base, number))
    statement.equate(m_at, (m1, u_at), (z, h))
    statement.equate(v_at, (z, x1_at), (r, g))
    statement.equate(number_at, (nonce, g), (blinding, h))
    statement.equate(base_at, (m1, tag_at), (nonce, tag_at))
    return statement
