"""Keyed-verification credentials: an algebraic MAC on a secret the issuer never sees.

MAC_GGM of Chase, Meiklejohn and Zaverucha (CCS 2014, ePrint 2013/516), laid out as the IETF draft
"Anonymous Rate-Limited Credentials":

    issuer keys  x0, x1, x2, xb           X0 = x0·G + xb·H,  X1 = x1·H,  X2 = x2·H
    credential   U, U' = (x0 + m1·x1 + m2·x2)·U    on the holder's secret m1 and a context m2

Unlike the draft, where the client commits to m2 and could so obtain another period, the issuer sets
m2 = H(role ‖ period ‖ facts) itself. The holder asks for a role and a period; the facts (zone and
class of a meter point, owner of a gateway) come from the issuer's books, and it is told them.

1. The holder sends Y = m1·G (a traceable role) or m1·G + r1·H (an analyst, perfectly hidden), with
   a proof that it knows the secrets, bound to the channel, role and period.
2. The issuer checks it and answers with U = b·G, the MAC blinded, and a proof that the one
   published key made it: a key of its own for each device would be a tag that follows the device.
3. The holder checks that proof before it takes the blinding off.

Apart from who chooses m2, the algebra of the MAC is the draft's, in its order, so that its vectors
check it byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from gridsecure.credentials.batch_checks import Claim, find_false
from gridsecure.credentials.curves import Point
from gridsecure.credentials.group import POINT_BYTES, WHOLE_BYTES
from gridsecure.credentials.issuer_keys import (
    Context,
    IssuerPrivateKey,
    IssuerPublicKey,
    check_length,
)
from gridsecure.credentials.sigma import (
    Relation,
    claimed_sums,
    holds,
    proof_bytes,
    prove,
    respond,
)
from gridsecure.credentials.suites import Suite, frame_parts
from gridsecure.errors import InvalidMessageError, SignatureError
from gridsecure.identity_messages import Facts

RESPONSE_BYTES: Final = 6 * POINT_BYTES + proof_bytes(7)


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """What the holder keeps between request and response.

    Args:
        message: What to send: the commitment and its proof.
        m1: The holder's secret.
        r1: What hides it, 0 for traceable roles.
        context: Role and period that were asked for.
    """

    message: bytes
    m1: int = field(repr=False)
    r1: int = field(repr=False)
    context: Context


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A request that proved its secret; only `check_request` makes one.

    Args:
        commitment: What it commits to: the enrolled key Y of a traceable role.
        context: Role and period that it asks for.
    """

    commitment: Point
    context: Context
    channel: bytes


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential in the hands of its holder.

    Args:
        m1: The holder's secret.
        u: The MAC's base.
    """

    m1: int = field(repr=False)
    u: Point
    u_prime: Point = field(repr=False)
    context: Context


@dataclass(frozen=True, slots=True)
class Applicant:
    """Who asks for a credential.

    Args:
        channel: Names the authenticated channel and who is at its other end; both sides know it.
        secrets: The holder's m1, the same one in every period, and for a hidden role the r1 that
            hides it, 0 for another each time. On another commitment a second request is refused.
    """

    channel: bytes
    secrets: tuple[int, int] = field(repr=False)


def request_credential(
    suite: Suite,
    *,
    issuer: IssuerPublicKey,
    context: Context,
    channel: bytes,
    secrets: tuple[int, int],
) -> PendingRequest:
    """Ask for a credential on a secret.

    Args:
        channel: As of `Applicant`.
        secrets: As of `Applicant`.
    """
    asked = [Applicant(channel, secrets)]
    (pending,) = request_credentials(suite, asked, issuer=issuer, context=context)
    return pending


def request_credentials(
    suite: Suite, asked: Sequence[Applicant], *, issuer: IssuerPublicKey, context: Context
) -> list[PendingRequest]:
    """Ask for credentials of one role and period together, each as `request_credential`, for less.

    Their secret scalars have a share in common (`group.Blinding`), as those of a batch have.
    """
    group = suite.group
    bases = [suite.g, suite.h] if context.is_hidden else [suite.g]
    blinding = group.blinding(*bases)
    witnesses = [
        [m1, r1 or group.random_scalar()] if context.is_hidden else [m1]
        for m1, r1 in (one.secrets for one in asked)
    ]
    nonces = [[group.random_scalar() for _ in bases] for _ in asked]
    points = iter(
        group.sums(
            [
                [
                    term
                    for scalar, base in zip(scalars, bases, strict=True)
                    for term in blinding.split(scalar, base)
                ]
                for pair in zip(witnesses, nonces, strict=True)
                for scalars in pair
            ]
        )
    )
    pending = []
    for one, witness, own in zip(asked, witnesses, nonces, strict=True):
        commitment, of_nonces = next(points), next(points)
        proof = respond(
            _request_statement(suite, commitment, hidden=context.is_hidden),
            witness,
            nonces=own,
            commitments=[of_nonces],
            suite=suite,
            session=_session(suite, b"OpenCredentialRequest", issuer, context.asked, one.channel),
        )
        m1, r1 = (*witness, 0)[:2]
        message = group.encode_whole(commitment) + proof
        pending.append(PendingRequest(message, m1, r1, context))
    return pending


def read_requested_key(message: bytes, *, suite: Suite) -> Point:
    """The commitment in a request: the enrolled key Y of a traceable role.

    Raises:
        InvalidMessageError: It does not begin with a point (`identity.point`, `identity.length`).
    """
    check_length(message[:WHOLE_BYTES], WHOLE_BYTES)
    (commitment,) = suite.group.decode_whole(message[:WHOLE_BYTES])
    return commitment


def check_request(
    message: bytes, *, suite: Suite, issuer: IssuerPublicKey, context: Context, channel: bytes
) -> CheckedRequest:
    """Check that a request proves its secret for a role, a period and a channel.

    Args:
        context: Role and period that may be asked for.
        channel: As the holder's.

    Raises:
        InvalidMessageError: A malformed request.
        SignatureError: Its proof does not hold (`authenticity.credential-request`).
    """
    (found,) = check_requests([(message, channel)], suite=suite, issuer=issuer, context=context)
    if not isinstance(found, CheckedRequest):
        raise found
    return found


def check_requests(
    sent: Sequence[tuple[bytes, bytes]], *, suite: Suite, issuer: IssuerPublicKey, context: Context
) -> list[CheckedRequest | InvalidMessageError | SignatureError]:
    """Check requests, all by one sum (`batch_checks`), each on its own.

    Args:
        sent: Requests with the channels they came over.
        context: Role and period that may be asked for.

    Returns:
        By request what it asks for, or why it is refused, as `check_request` raises it.
    """
    found: list[CheckedRequest | InvalidMessageError | SignatureError] = []
    claims: dict[int, Claim] = {}
    for at, (message, channel) in enumerate(sent):
        try:
            commitment = read_requested_key(message, suite=suite)
            claims[at] = claimed_sums(
                _request_statement(suite, commitment, hidden=context.is_hidden),
                message[WHOLE_BYTES:],
                suite=suite,
                session=_session(suite, b"OpenCredentialRequest", issuer, context.asked, channel),
            )
        except InvalidMessageError as malformed:
            found.append(malformed)
        else:
            found.append(CheckedRequest(commitment, context, channel))
    places = list(claims)
    for place in find_false(list(claims.values()), group=suite.group):
        found[places[place]] = SignatureError(
            "A credential request does not prove its secret.",
            reason="authenticity.credential-request",
            remedy="Request anew over the enrolment channel.",
        )
    return found


def issue_credential(
    asked: CheckedRequest, *, suite: Suite, key: IssuerPrivateKey, facts: Facts
) -> bytes:
    """Answer a checked request.

    Args:
        facts: What the issuer certifies; the holder has no say in it.

    Returns:
        U, the blinded MAC, four auxiliary points, and the proof: 454 bytes.

    Raises:
        InvalidMessageError: Facts of another role (`identity.context`).
    """
    group, public, commitment = suite.group, key.public_key(suite), asked.commitment
    context = asked.context.certify(facts)
    attribute = group.sum((context.scalar(suite), suite.g))
    # Every answer has a base U of its own; with one base, two MACs could be combined into a third.
    b = group.random_scalar()
    answer = mac_points(suite, key=key, attributes=(commitment, attribute), b=b)
    proof = prove(
        issuance_relation(suite, public=public, attributes=(commitment, attribute), answer=answer),
        issuance_witness(key, b=b, order=group.order),
        suite=suite,
        session=_session(suite, b"CredentialResponse", public, context.to_bytes(), asked.channel),
    )
    return b"".join(map(group.encode, answer)) + proof


def finalise_credential(
    pending: PendingRequest,
    response: bytes,
    *,
    suite: Suite,
    issuer: IssuerPublicKey,
    channel: bytes,
    facts: Facts,
) -> Credential:
    """Check the issuer's answer against its pinned key and unblind the credential.

    Args:
        channel: As when asking.
        facts: What the issuer says it certified; that it did is part of the proof.

    Raises:
        InvalidMessageError: A malformed answer, or facts of another role.
        SignatureError: Another key than the published one, another context, other facts, or
            another request (`authenticity.credential-response`).
    """
    check_length(response, RESPONSE_BYTES)
    group, points, context = suite.group, 6 * POINT_BYTES, pending.context.certify(facts)
    answer = tuple(group.decode_points(response[:points]))
    attributes = (
        read_requested_key(pending.message, suite=suite),
        group.sum((context.scalar(suite), suite.g)),
    )
    statement = issuance_relation(suite, public=issuer, attributes=attributes, answer=answer)
    session = _session(suite, b"CredentialResponse", issuer, context.to_bytes(), channel)
    if not holds(statement, response[points:], suite=suite, session=session):
        raise foreign_key_error()
    u_prime = unblind_mac(suite, answer=answer, blindings=(pending.r1, 0))
    return Credential(pending.m1, answer[0], u_prime, context)


def foreign_key_error() -> SignatureError:
    """The one refusal of an answer that the published key did not give to this request."""
    return SignatureError(
        "A credential was not made with the issuer's published key.",
        reason="authenticity.credential-response",
        remedy="Do not use it; compare the issuer's key with the public log.",
    )


def _request_statement(suite: Suite, commitment: Point, *, hidden: bool) -> Relation:
    statement = Relation(suite.group)
    m1, *r1 = statement.scalars(2 if hidden else 1)
    g = statement.element(suite.g)
    h = [statement.element(suite.h)] if hidden else []
    statement.equate(statement.element(commitment), (m1, g), *zip(r1, h, strict=True))
    return statement


def _session(
    suite: Suite, purpose: bytes, issuer: IssuerPublicKey, said: bytes, channel: bytes
) -> bytes:
    return frame_parts(suite.context, purpose, issuer.to_bytes(suite), said, channel)


def mac_points(
    suite: Suite, *, key: IssuerPrivateKey, attributes: tuple[Point, Point], b: int
) -> tuple[Point, ...]:
    """U, the blinded MAC, X0', X1', X2' and H', each a multiple by b.

    Args:
        attributes: Commitments to m1 and m2.
        b: Random, used once.
    """
    group, n = suite.group, suite.group.order
    m1, m2 = attributes
    multiples = [
        [(b, suite.g)],
        # b·(X0 + x1·C1 + x2·C2), with X0 written out
        [
            (b * key.x0 % n, suite.g),
            (b * key.xb % n, suite.h),
            (b * key.x1 % n, m1),
            (b * key.x2 % n, m2),
        ],
        [(b * key.xb % n, suite.h)],
        [(b * key.x1 % n, suite.h)],
        [(b * key.x2 % n, suite.h)],
        [(b, suite.h)],
    ]
    return tuple(
        group.sums(
            [[share for term in terms for share in group.blind(*term)] for terms in multiples]
        )
    )


def unblind_mac(suite: Suite, *, answer: tuple[Point, ...], blindings: tuple[int, int]) -> Point:
    """U' from the blinded MAC.

    Args:
        answer: What `mac_points` returned.
        blindings: The multiples of H in the two commitments.
    """
    group = suite.group
    _, blinded, x0, x1, x2, _ = answer
    hidden = [
        share
        for blinding, point in zip(blindings, (x1, x2), strict=True)
        if blinding
        for share in group.blind(-blinding, point)
    ]
    # What remains of X0 and of the blindings are multiples of H, which the auxiliary points give.
    return group.sum((1, blinded), (-1, x0), *hidden)


def issuance_relation(
    suite: Suite,
    *,
    public: IssuerPublicKey,
    attributes: tuple[Point, Point],
    answer: tuple[Point, ...],
) -> Relation:
    """That one published key made an answer: eleven equations in the draft's order.

    Args:
        attributes: Commitments to m1 and m2.
        answer: What `mac_points` returned.
    """
    statement = Relation(suite.group)
    x0, x1, x2, xb, b, t1, t2 = statement.scalars(7)
    g, h, c1, c2 = map(statement.element, (suite.g, suite.h, *attributes))
    u, blinded = map(statement.element, answer[:2])
    key0, key1, key2 = map(statement.element, (public.x0, public.x1, public.x2))
    aux0, aux1, aux2, aux_h = map(statement.element, answer[2:])
    statement.equate(key0, (x0, g), (xb, h))
    statement.equate(key1, (x1, h))
    statement.equate(key2, (x2, h))
    statement.equate(aux_h, (b, h))
    statement.equate(aux0, (xb, aux_h))
    # t1 = b·x1 and t2 = b·x2: products of secrets are unknowns of their own, tied by two equations.
    statement.equate(aux1, (t1, h))
    statement.equate(aux1, (b, key1))
    statement.equate(aux2, (b, key2))
    statement.equate(aux2, (t2, h))
    statement.equate(u, (b, g))
    statement.equate(blinded, (b, key0), (t1, c1), (t2, c2))
    return statement


def issuance_witness(key: IssuerPrivateKey, *, b: int, order: int) -> list[int]:
    """The scalars of `issuance_relation`: the key, b, and b times x1 and x2."""
    return [key.x0, key.x1, key.x2, key.xb, b, b * key.x1 % order, b * key.x2 % order]
