"""Showing a credential: one proof of membership, pseudonyms and escrow.

For a traceable role. With random a, r, z, e and the credential (U, U') on (m1, m2):

    aU, aU' + r·G, M = m1·aU + z·H        the credential, rerandomised and hidden
    E1 = e·G, E2 = m1·G + e·PK            the enrolled key Y, encrypted to both openers together
    nym_j = m1·H(domain_j)                the pseudonym in each domain asked for

and one proof of five kinds of equations, bound to domains, holder key and challenge:

    1. M = m1·U + z·H        2. V = z·X1 - r·G        3. E1 = e·G
    4. E2 = m1·G + e·PK      5. nym_j = m1·H(domain_j)

V = (x0 + x2·m2)·U + x1·M - U' is what the issuer's keys make of the shown points; only a valid MAC
on the m1 of equation 1 makes equation 2 true. V is not sent: it follows from points that the
statement covers and keys that the session covers. 358 bytes for one domain, 33 more for each other.
"""

from __future__ import annotations

from dataclasses import dataclass
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
from gridsecure.credentials.sigma import Derived, Relation, holds, proof_bytes, prove
from gridsecure.credentials.suites import Suite, frame_parts
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.crypto.sm3 import sm3_digest, sm3_hex
from gridsecure.errors import InvalidMessageError, SignatureError

_FIXED_POINTS: Final = 5
_SCALARS: Final = 4
MAX_DOMAINS: Final = 4
MAX_PART_LETTERS: Final = 40
_PARTS: Final = 3


@dataclass(frozen=True, slots=True)
class Domain:
    """Where a pseudonym is used: what happens in two domains cannot be linked by pseudonym.

    Args:
        purpose: For what, such as "upload" or "settlement".

    Raises:
        InvalidMessageError: A part is blank, overlong or holds a slash (`identity.domain`).
    """

    platform: str
    purpose: str
    period: str

    def __post_init__(self) -> None:
        for part in (self.platform, self.purpose, self.period):
            if not part.strip() or len(part) > MAX_PART_LETTERS or "/" in part:
                raise InvalidMessageError("A domain is malformed.", reason="identity.domain")

    @property
    def text(self) -> str:
        """`platform/purpose/period`."""
        return f"{self.platform}/{self.purpose}/{self.period}"

    @staticmethod
    def parse(text: str) -> Domain:
        """Read what `text` wrote.

        Raises:
            InvalidMessageError: Not three parts, or a malformed one (`identity.domain`).
        """
        parts = text.split("/")
        if len(parts) != _PARTS:
            raise InvalidMessageError("A domain is malformed.", reason="identity.domain")
        return Domain(*parts)

    def base(self, suite: Suite) -> Point:
        """The point whose multiples are this domain's pseudonyms."""
        return suite.hash_to_group(self.text.encode(), info=b"Domain")


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """What devices pin, signed by both openers into the public log."""

    issuer: IssuerPublicKey
    opening: Point


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a presentation is bound to. Both sides build it; none of it is taken from the message.

    Args:
        context: The credential's role, period and facts.
        domains: Where pseudonyms are shown, one to `MAX_DOMAINS`.
        holder: The SM2 key that will act under the first pseudonym.
        challenge: The service's one-use challenge [32 bytes].

    Raises:
        InvalidMessageError: No domain, too many, or one twice (`identity.domain`); a role whose
            holders stay hidden (`identity.context`).
    """

    context: Context
    domains: tuple[Domain, ...]
    holder: Sm2PublicKey
    challenge: bytes

    def __post_init__(self) -> None:
        count = len(self.domains)
        if not 1 <= count <= MAX_DOMAINS or len(set(self.domains)) != count:
            raise InvalidMessageError("The domains are malformed.", reason="identity.domain")
        if self.context.is_hidden:
            raise InvalidMessageError("This role shows no pseudonym.", reason="identity.context")

    def session(self, suite: Suite, keys: PublicKeys) -> bytes:
        """What the Fiat–Shamir hash takes besides the statement."""
        domains = frame_parts(*(domain.text for domain in self.domains))
        binding = sm3_digest(frame_parts(domains, self.holder.point, self.challenge))
        issuer, context = keys.issuer.to_bytes(suite), self.context.to_bytes()
        return frame_parts(suite.context, b"Presentation", issuer, context, binding)


@dataclass(frozen=True, slots=True)
class Escrow:
    """An enrolled key, encrypted to both openers together (ElGamal).

    Args:
        e1: e·G.
        e2: Y + e·PK.
    """

    e1: Point
    e2: Point

    def to_bytes(self, suite: Suite) -> bytes:
        """66 bytes."""
        return suite.group.encode(self.e1) + suite.group.encode(self.e2)

    @staticmethod
    def from_bytes(data: bytes, *, suite: Suite) -> Escrow:
        """Read what `to_bytes` wrote.

        Raises:
            InvalidMessageError: It is not two points (`identity.point`, `identity.length`).
        """
        check_length(data, 2 * POINT_BYTES)
        return Escrow(*suite.group.decode_points(data))


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verified presentation shows.

    Args:
        nyms: The pseudonym in each domain, as points.
        escrow: The enrolled key for the openers.
    """

    nyms: tuple[Point, ...]
    escrow: Escrow


def subject(nym: Point, *, domain: Domain, suite: Suite) -> str:
    """The name of a pseudonym in tokens and tables: SM3(domain ‖ nym), 64 digits."""
    return sm3_hex(frame_parts(domain.text, suite.group.encode(nym)))


def present(credential: Credential, *, occasion: Occasion, keys: PublicKeys, suite: Suite) -> bytes:
    """Show a credential.

    Args:
        occasion: What the proof is bound to. Take the domains from the authenticated service, not
            from a text it sends.

    Raises:
        ValueError: A credential of another context.
    """
    if credential.context != occasion.context:
        raise ValueError("a credential is shown in its own context")
    group, m1 = suite.group, credential.m1
    # Fresh for each presentation: a re-randomises the MAC, r and z hide it and m1, e the escrow.
    a, r, z, e = (group.random_scalar() for _ in range(4))
    bases = [domain.base(suite) for domain in occasion.domains]
    u, u_prime, v, e1, e2, *nyms = group.sums(
        [
            group.blind(a, credential.u),
            [*group.blind(a, credential.u_prime), *group.blind(r, suite.g)],
            [*group.blind(z, keys.issuer.x1), *group.blind(-r, suite.g)],
            group.blind(e, suite.g),
            [*group.blind(m1, suite.g), *group.blind(e, keys.opening)],
            *(group.blind(m1, base) for base in bases),
        ]
    )
    m = group.sum(*group.blind(m1, u), *group.blind(z, suite.h))
    shown = (u, u_prime, m, e1, e2, *nyms)
    statement = presentation_relation(
        shown, v=Derived(((1, v),)), bases=bases, keys=keys, suite=suite
    )
    session = occasion.session(suite, keys)
    proof = prove(statement, [m1, z, -r, e], suite=suite, session=session)
    return b"".join(map(group.encode, shown)) + proof


def verify_presentation(
    message: bytes, *, occasion: Occasion, keys: PublicKeys, key: IssuerPrivateKey, suite: Suite
) -> Verified:
    """Check a presentation with the issuer's key.

    Args:
        occasion: What it must be bound to.

    Raises:
        InvalidMessageError: Another length, or something in it is no point.
        SignatureError: The proof does not hold (`authenticity.presentation`).
    """
    points = POINT_BYTES * (_FIXED_POINTS + len(occasion.domains))
    check_length(message, points + proof_bytes(_SCALARS))
    shown = tuple(suite.group.decode_points(message[:points]))
    u, u_prime, m, e1, e2, *nyms = shown
    # Only the issuer's key can compute V, hence keyed verification: nobody else can check this.
    v = issuer_view((u, u_prime, m), context=occasion.context, key=key, suite=suite)
    bases = [domain.base(suite) for domain in occasion.domains]
    suite.group.prepare(suite.g, suite.h, keys.issuer.x1, keys.opening, *bases)
    statement = presentation_relation(shown, v=v, bases=bases, keys=keys, suite=suite)
    session = occasion.session(suite, keys)
    if not holds(statement, message[points:], suite=suite, session=session):
        raise SignatureError(
            "A presentation does not verify.",
            reason="authenticity.presentation",
            remedy="Ask for a new challenge and present a credential of this period.",
        )
    return Verified(tuple(nyms), Escrow(e1, e2))


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


def presentation_relation(
    shown: tuple[Point, ...], *, v: Derived, bases: list[Point], keys: PublicKeys, suite: Suite
) -> Relation:
    """The five kinds of equations about the points shown.

    Args:
        shown: U, U', M, E1, E2 and the pseudonyms.
        v: V, as the holder or the issuer knows it.
    """
    statement = Relation(suite.group)
    m1, z, r, e = statement.scalars(_SCALARS)
    g, h, u, _, m, e1, e2 = map(statement.element, (suite.g, suite.h, *shown[:_FIXED_POINTS]))
    view = statement.element(v)
    x1, opening = map(statement.element, (keys.issuer.x1, keys.opening))
    statement.equate(m, (m1, u), (z, h))
    statement.equate(view, (z, x1), (r, g))
    statement.equate(e1, (e, g))
    statement.equate(e2, (m1, g), (e, opening))
    for nym, base in zip(shown[_FIXED_POINTS:], bases, strict=True):
        statement.equate(statement.element(nym), (m1, statement.element(base)))
    return statement
