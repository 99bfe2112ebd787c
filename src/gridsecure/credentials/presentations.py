"""Showing a credential: one proof of membership, pseudonyms and escrow.

For a traceable role. With random a, e and the credential (U, U') on (m1, m2):

    aU, aU', W = m1·aU                    the credential, rerandomised
    E1 = e·G, E2 = m1·G + e·PK            the enrolled key Y, encrypted to both openers together
    nym_j = m1·H(domain_j)                the pseudonym in each domain asked for

and one open proof of four kinds of equations, bound to domains, holder key and challenge:

    1. W = m1·aU      2. E1 = e·G      3. E2 = m1·G + e·PK      4. nym_j = m1·H(domain_j)

Besides, the issuer's keys must make the MAC of it: aU' = (x0 + x2·m2)·aU + x1·W.

W hides m1 as a pseudonym does, and no worse: a is random, so aU is a random base that nobody has a
logarithm of, the issuer least of all, whatever U it gave out. Telling that W, the pseudonyms and
an enrolled key Y have one logarithm is the decisional Diffie–Hellman problem, which pseudonyms rest
on anyhow. aU' follows from aU and W by keys that are pinned, and tells nothing more.

A whole batch is checked by one sum (`batch_checks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from gridsecure.credentials.batch_checks import Claim, find_false
from gridsecure.credentials.curves import Point, Term
from gridsecure.credentials.group import POINT_BYTES, WHOLE_BYTES, Blinding
from gridsecure.credentials.issuance import Credential
from gridsecure.credentials.issuer_keys import (
    Context,
    IssuerPrivateKey,
    IssuerPublicKey,
    check_length,
)
from gridsecure.credentials.sigma import Relation, claimed_sums, respond
from gridsecure.credentials.suites import Suite, frame_parts
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.crypto.sm3 import sm3_digest, sm3_hex
from gridsecure.errors import GridSecureError, InvalidMessageError, SignatureError

_FIXED_POINTS: Final = 5
_SCALARS: Final = 2
_HALF_BITS: Final = 128
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
        return frame_parts(suite.context, b"OpenPresentation", issuer, context, binding)


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


def shown_subjects(message: bytes, *, domains: Sequence[Domain], suite: Suite) -> tuple[str, ...]:
    """The names of the pseudonyms that one's own presentation shows in its first domains."""
    start, size = WHOLE_BYTES * _FIXED_POINTS, WHOLE_BYTES * len(domains)
    nyms = suite.group.decode_whole(message[start : start + size])
    return tuple(
        subject(nym, domain=domain, suite=suite) for nym, domain in zip(nyms, domains, strict=True)
    )


def present(credential: Credential, *, occasion: Occasion, keys: PublicKeys, suite: Suite) -> bytes:
    """Show a credential.

    Args:
        occasion: What the proof is bound to. Take the domains from the authenticated service, not
            from a text it sends.

    Raises:
        ValueError: A credential of another context.
    """
    (message,) = present_all([(credential, occasion)], keys=keys, suite=suite)
    return message


def present_all(
    wanted: Sequence[tuple[Credential, Occasion]], *, keys: PublicKeys, suite: Suite
) -> list[bytes]:
    """Show credentials together, each as `present` does, for less.

    Args:
        wanted: Credentials, each with what its proof is bound to.

    Raises:
        ValueError: A credential of another context.
    """
    group = suite.group
    showings = [_Showing.draw(*one, suite=suite) for one in wanted]
    bases = dict.fromkeys([suite.g, *(base for one in showings for base in one.bases)])
    group.prepare(*bases, keys.opening)
    blinding = group.blinding(*bases)
    far = group.sums([[(1 << _HALF_BITS, one.credential.u)] for one in showings])
    rows = [
        one.sums(upper, opening=keys.opening, blinding=blinding, suite=suite)
        for one, upper in zip(showings, far, strict=True)
    ]
    points = iter(group.sums([terms for row in rows for terms in row]))
    return [
        one.message([next(points) for _ in row], keys=keys, suite=suite)
        for one, row in zip(showings, rows, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Showing:
    """One presentation at work.

    Args:
        bases: Of its domains.
        a: What re-randomises the MAC. It and e are fresh for each presentation: with one, two of
            them could be told to be one holder's.
        e: The escrow's.
    """

    credential: Credential
    occasion: Occasion
    bases: list[Point]
    a: int = field(repr=False)
    e: int = field(repr=False)
    m1_nonce: int = field(repr=False)
    e_nonce: int = field(repr=False)

    @classmethod
    def draw(cls, credential: Credential, occasion: Occasion, *, suite: Suite) -> _Showing:
        """Draw what a presentation takes from chance.

        Raises:
            ValueError: A credential of another context.
        """
        if credential.context != occasion.context:
            raise ValueError("a credential is shown in its own context")
        bases = [domain.base(suite) for domain in occasion.domains]
        return cls(credential, occasion, bases, *(suite.group.random_scalar() for _ in range(4)))

    def sums(
        self, far: Point, *, opening: Point, blinding: Blinding, suite: Suite
    ) -> list[list[Term]]:
        """What is shown, and after it the commitments.

        Args:
            far: 2^128·U.
        """
        m1, order, u = self.credential.m1, suite.group.order, self.credential.u

        def of_u(scalar: int) -> list[Term]:
            # By halves: the doublings up to the upper one are done once for three multiples of U.
            high, low = divmod(scalar % order, 1 << _HALF_BITS)
            return [(low, u), (high, far)]

        def of_m1(scalar: int, e: int) -> list[list[Term]]:
            return [
                [(e, suite.g)],
                [*blinding.split(scalar, suite.g), (e, opening)],
                *(list(blinding.split(scalar, base)) for base in self.bases),
            ]

        return [
            of_u(self.a),
            [(self.a, self.credential.u_prime)],
            of_u(self.a * m1),
            *of_m1(m1, self.e),
            of_u(self.a * self.m1_nonce),
            *of_m1(self.m1_nonce, self.e_nonce),
        ]

    def message(self, points: list[Point], *, keys: PublicKeys, suite: Suite) -> bytes:
        """The presentation.

        Args:
            points: What `sums` gave.
        """
        count = _FIXED_POINTS + len(self.bases)
        shown = tuple(points[:count])
        proof = respond(
            presentation_relation(shown, bases=self.bases, keys=keys, suite=suite),
            [self.credential.m1, self.e],
            nonces=[self.m1_nonce, self.e_nonce],
            commitments=points[count:],
            suite=suite,
            session=self.occasion.session(suite, keys),
        )
        return suite.group.encode_whole(*shown) + proof


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
    (shown,) = verify_presentations([(message, occasion)], keys=keys, key=key, suite=suite)
    if isinstance(shown, GridSecureError):
        raise shown
    return shown


def verify_presentations(
    sent: Sequence[tuple[bytes, Occasion]],
    *,
    keys: PublicKeys,
    key: IssuerPrivateKey,
    suite: Suite,
) -> list[Verified | InvalidMessageError | SignatureError]:
    """Check presentations with the issuer's key, all by one sum, each on its own.

    Args:
        sent: Presentations with what they must be bound to.

    Returns:
        By presentation what it shows, or why not, as `verify_presentation` raises it.
    """
    found: list[Verified | InvalidMessageError | SignatureError] = []
    claims: dict[int, Claim] = {}
    for at, (message, occasion) in enumerate(sent):
        try:
            verified, claims[at] = _read(message, occasion, keys=keys, key=key, suite=suite)
        except InvalidMessageError as malformed:
            found.append(malformed)
        else:
            found.append(verified)
    places = list(claims)
    for place in find_false(list(claims.values()), group=suite.group):
        found[places[place]] = SignatureError(
            "A presentation does not verify.",
            reason="authenticity.presentation",
            remedy="Ask for a new challenge and present a credential of this period.",
        )
    return found


def _read(
    message: bytes, occasion: Occasion, *, keys: PublicKeys, key: IssuerPrivateKey, suite: Suite
) -> tuple[Verified, Claim]:
    """What a presentation shows, and what has to be true for that."""
    points = WHOLE_BYTES * (_FIXED_POINTS + len(occasion.domains))
    check_length(message[:points], points)
    shown = tuple(suite.group.decode_whole(message[:points]))
    bases = [domain.base(suite) for domain in occasion.domains]
    statement = presentation_relation(shown, bases=bases, keys=keys, suite=suite)
    session = occasion.session(suite, keys)
    sums = claimed_sums(statement, message[points:], suite=suite, session=session)
    mac = mac_sum(shown[:3], context=occasion.context, key=key, suite=suite)
    _, _, _, e1, e2, *nyms = shown
    return Verified(tuple(nyms), Escrow(e1, e2)), [*sums, mac]


def mac_sum(
    shown: tuple[Point, ...], *, context: Context, key: IssuerPrivateKey, suite: Suite
) -> list[Term]:
    """The sum aU' - (x0 + x2·m2)·aU - x1·W: the identity where the MAC is the issuer's.

    Only the issuer's key makes it, hence keyed verification: nobody else can check this.

    Args:
        shown: aU, aU' and W of a presentation.
        context: The context the credential must have: with another one, m2 does not fit.
    """
    u, u_prime, w = shown
    return [(1, u_prime), (-(key.x0 + key.x2 * context.scalar(suite)), u), (-key.x1, w)]


def presentation_relation(
    shown: tuple[Point, ...], *, bases: list[Point], keys: PublicKeys, suite: Suite
) -> Relation:
    """The four kinds of equations about the points shown.

    Args:
        shown: aU, aU', W, E1, E2 and the pseudonyms.
    """
    statement = Relation(suite.group)
    m1, e = statement.scalars(_SCALARS)
    g, u, _, w, e1, e2 = map(statement.element, (suite.g, *shown[:_FIXED_POINTS]))
    opening = statement.element(keys.opening)
    statement.equate(w, (m1, u))
    statement.equate(e1, (e, g))
    statement.equate(e2, (m1, g), (e, opening))
    for nym, base in zip(shown[_FIXED_POINTS:], bases, strict=True):
        statement.equate(statement.element(nym), (m1, statement.element(base)))
    return statement
