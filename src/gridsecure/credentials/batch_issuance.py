"""Issuing to traceable holders: a MAC each, and one proof for all of them.

    U = b·G, U' = b·(x0 + x2·m2)·G + b·x1·Y        a MAC on m1 and m2, b random, Y = m1·G

U' is (x0 + x1·m1 + x2·m2)·U, so with W = m1·U, which the holder computes from its secret and the
issuer as b·Y, every MAC is one linear relation in the issuer's key. Weights d, one a MAC, join
them:

    Σ d·U' = x0·Σ d·U + x1·Σ d·W + x2·Σ d·m2·U

and one proof shows that this, X0 = x0·G + xb·H, X1 = x1·H and X2 = x2·H have the same x0, x1, x2.
So whoever checks it knows of each MAC that the one published key made it: a key of its own for a
device would be a tag that follows the device.

The same proof shows that the issuer knows the logarithm of Σ d·U, and so of every U. Without that
it could take for U a base under which it has seen pseudonyms, and put one of them in the place of
W: the holder, who computes W from m1, would take the MAC exactly where the pseudonym is its own,
and the issuer would learn from that whose it is. With b the issuer knows W = b·Y beforehand, and
whether a holder takes a MAC tells it nothing new.

Why one proof is enough. The weights are a hash of all MACs, requests, contexts and channels, so the
issuer cannot choose a MAC after it knows them. X1 and X2 fix x1 and x2; X0 fixes x0 for whoever
does not know the logarithm of H, which is nobody. If one MAC is not what these keys make, the joint
relation holds for one value of its weight in 2^128. W, the sums and the joint relation are not in
the hash themselves; they follow from what is.

Unlike in `issuance`, nothing of a secret has to be blinded on the way: Y hides m1 already. A holder
learns no more than its MAC.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gridsecure.credentials.batch_checks import find_false
from gridsecure.credentials.curves import Point, Term
from gridsecure.credentials.group import WHOLE_BYTES
from gridsecure.credentials.issuance import (
    CheckedRequest,
    Credential,
    PendingRequest,
    foreign_key_error,
    read_requested_key,
)
from gridsecure.credentials.issuer_keys import (
    Context,
    IssuerPrivateKey,
    IssuerPublicKey,
    check_length,
)
from gridsecure.credentials.sigma import (
    Derived,
    Relation,
    claimed_sums,
    commit,
    respond,
)
from gridsecure.credentials.suites import Suite, frame_parts
from gridsecure.identity_messages import Facts

MAC_BYTES: Final = 2 * WHOLE_BYTES
_SCALARS: Final = 5
_WEIGHT_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class GivenMac:
    """What the issuer gave to one holder.

    Args:
        pending: What the holder asked.
        mac: U and U'.
        channel: As when asking.
        facts: What the issuer says it certified; that it did is part of the proof.
    """

    pending: PendingRequest
    mac: bytes
    channel: bytes
    facts: Facts


@dataclass(frozen=True, slots=True)
class _Made:
    """A MAC as both sides know it."""

    key: Point
    context: Context
    channel: bytes
    u: Point
    u_prime: Point


def issue_credentials(
    asked: Sequence[CheckedRequest],
    *,
    suite: Suite,
    key: IssuerPrivateKey,
    facts: Sequence[Facts],
) -> tuple[list[bytes], bytes]:
    """Answer checked requests of a traceable role.

    Args:
        asked: One or more.
        facts: What the issuer certifies of each; the holders have no say in it.

    Returns:
        By request U and U', and the proof for all of them.

    Raises:
        InvalidMessageError: Facts of another role (`identity.context`).
    """
    group, public = suite.group, key.public_key(suite)
    contexts = [one.context.certify(said) for one, said in zip(asked, facts, strict=True)]
    randoms = [group.random_scalar() for _ in asked]
    macs = _multiply_macs(asked, contexts, randoms, suite=suite, key=key)
    made = [
        _Made(one.commitment, context, one.channel, *mac)
        for one, context, mac in zip(asked, contexts, macs, strict=True)
    ]
    session, weights = _session(made, suite=suite, issuer=public)
    shares = [weight * b % group.order for weight, b in zip(weights, randoms, strict=True)]
    attributes = [context.scalar(suite) for context in contexts]
    # U is b·G and W is b·Y, so the sums of U are multiples of G
    of_context = sum(share * m2 for share, m2 in zip(shares, attributes, strict=True))
    sums: tuple[list[Term], ...] = (
        [(sum(shares), suite.g)],
        [(share, one.key) for share, one in zip(shares, made, strict=True)],
        [(of_context, suite.g)],
        [],  # of a target the issuer has nothing to compute
    )
    statement = _joint_relation(suite, public=public, sums=sums)
    witness = [key.x0, key.x1, key.x2, key.xb, sum(shares)]
    proof = _prove_jointly(statement, witness, suite=suite, session=session)
    return [group.encode_whole(one.u, one.u_prime) for one in made], proof


def _multiply_macs(
    asked: Sequence[CheckedRequest],
    contexts: Sequence[Context],
    randoms: Sequence[int],
    *,
    suite: Suite,
    key: IssuerPrivateKey,
) -> list[tuple[Point, ...]]:
    """U and U' of each."""
    # Every answer has a base U of its own; with one base, two MACs could be combined into a third.
    # It also blinds the key: what is multiplied here is random and used once.
    rows = [
        (
            [(b, suite.g)],
            [
                (b * (key.x0 + key.x2 * context.scalar(suite)), suite.g),
                (b * key.x1, one.commitment),
            ],
        )
        for b, context, one in zip(randoms, contexts, asked, strict=True)
    ]
    points = suite.group.sums([terms for row in rows for terms in row])
    return list(zip(points[::2], points[1::2], strict=True))


def _prove_jointly(
    statement: Relation, witness: Sequence[int], *, suite: Suite, session: bytes
) -> bytes:
    nonces = [suite.group.random_scalar() for _ in range(_SCALARS)]
    return respond(
        statement,
        witness,
        nonces=nonces,
        commitments=commit(statement, nonces),
        suite=suite,
        session=session,
    )


def finalise_credentials(
    given: Sequence[GivenMac], *, proof: bytes, suite: Suite, issuer: IssuerPublicKey
) -> list[Credential]:
    """Check the issuer's answers against its pinned key and take the credentials: all or none.

    Args:
        given: In the order of the answers, one or more.
        proof: That came with them.

    Raises:
        InvalidMessageError: A malformed answer or proof, or facts of another role.
        SignatureError: Another key than the published one, another context, other facts, or
            another request (`authenticity.credential-response`).
    """
    group = suite.group
    made = [_read(one, suite) for one in given]
    session, weights = _session(made, suite=suite, issuer=issuer)

    def weighted(factor: Callable[[int], int]) -> list[Term]:
        factors = [weight * factor(at) % group.order for at, weight in enumerate(weights)]
        return [(scalar, one.u) for scalar, one in zip(factors, made, strict=True)]

    sums = (
        weighted(lambda _: 1),
        weighted(lambda at: given[at].pending.m1),
        weighted(lambda at: made[at].context.scalar(suite)),
        [(weight, one.u_prime) for weight, one in zip(weights, made, strict=True)],
    )
    statement = _joint_relation(suite, public=issuer, sums=sums)
    if [*find_false([claimed_sums(statement, proof, suite=suite, session=session)], group=group)]:
        raise foreign_key_error()
    return [
        Credential(one.pending.m1, mac.u, mac.u_prime, mac.context)
        for one, mac in zip(given, made, strict=True)
    ]


def finalise_alone(
    pending: PendingRequest,
    response: bytes,
    *,
    suite: Suite,
    issuer: IssuerPublicKey,
    channel: bytes,
    facts: Facts,
) -> Credential:
    """Take the one credential of an answer to one request: its MAC, and the proof behind it.

    Raises:
        InvalidMessageError: As `finalise_credentials`.
        SignatureError: As `finalise_credentials`.
    """
    given = GivenMac(pending, response[:MAC_BYTES], channel, facts)
    proof = response[MAC_BYTES:]
    (credential,) = finalise_credentials([given], proof=proof, suite=suite, issuer=issuer)
    return credential


def _read(given: GivenMac, suite: Suite) -> _Made:
    check_length(given.mac, MAC_BYTES)
    commitment = read_requested_key(given.pending.message, suite=suite)
    context = given.pending.context.certify(given.facts)
    return _Made(commitment, context, given.channel, *suite.group.decode_whole(given.mac))


def _session(
    made: Sequence[_Made], *, suite: Suite, issuer: IssuerPublicKey
) -> tuple[bytes, list[int]]:
    """What the proof is bound to, and the weight of each MAC, which follows from all of it."""
    group, digest = suite.group, suite.group.curve.digest
    said = [
        frame_parts(
            group.encode_whole(one.key, one.u, one.u_prime), one.context.to_bytes(), one.channel
        )
        for one in made
    ]
    session = frame_parts(
        suite.context,
        b"JointCredentialResponse with known bases",
        issuer.to_bytes(suite),
        digest(frame_parts(*said)),
    )
    seed = digest(session)
    digests = [digest(seed + at.to_bytes(4, "big")) for at in range(len(made))]
    return session, [int.from_bytes(one[:_WEIGHT_BYTES], "big") for one in digests]


def _joint_relation(
    suite: Suite, *, public: IssuerPublicKey, sums: tuple[Sequence[Term], ...]
) -> Relation:
    """The five equations of the module's text.

    Args:
        sums: Σ d·U, Σ d·W, Σ d·m2·U and Σ d·U', as the issuer or the holder knows them.
    """
    statement = Relation(suite.group)
    x0, x1, x2, xb, b = statement.scalars(_SCALARS)
    g, h = map(statement.element, (suite.g, suite.h))
    key0, key1, key2 = map(statement.element, (public.x0, public.x1, public.x2))
    u, w, m2_u, u_prime = (statement.add(Derived(tuple(terms))) for terms in sums)
    statement.equate(key0, (x0, g), (xb, h))
    statement.equate(key1, (x1, h))
    statement.equate(key2, (x2, h))
    statement.equate(u_prime, (x0, u), (x1, w), (x2, m2_u))
    statement.equate(u, (b, g))
    return statement
