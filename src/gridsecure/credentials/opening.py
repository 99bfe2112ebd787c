"""Opening an escrow under dual control: the utility and the regulator, each act on the record.

    keys      PK = K_U + K_R, K_i = k_i·G, each with proof of possession (else the second could
              publish a key that cancels the first)
    share     S_i = k_i·E1, with a proof that K_i = k_i·G and S_i = k_i·E1 have one k_i
    opened    Y = E2 - S_U - S_R

1. A warrant is appended to the evidence log; the hash of that entry is the log head.
2. Each opener checks the entry itself and gives its share, proved for exactly that head.
3. Shares are verified before they are combined: one without the entry, or a wrong one, is named.

The log stores digests of shares, never shares: one share and E2 narrow nothing down, but two of
them open for ever. Nothing here reads the log; the caller passes the head it verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from gridsecure.credentials.curves import Point
from gridsecure.credentials.group import POINT_BYTES
from gridsecure.credentials.issuer_keys import check_length
from gridsecure.credentials.presentations import Escrow
from gridsecure.credentials.sigma import Relation, holds, proof_bytes, prove
from gridsecure.credentials.suites import Suite, frame_parts
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import InvalidMessageError, SignatureError

Opener = Literal["utility", "regulator"]
"""Who holds a half of the opening key."""

OPENERS: Final[tuple[Opener, ...]] = ("utility", "regulator")
OFFICE_OF: Final[Mapping[str, Opener]] = {"custodian": "utility", "regulator": "regulator"}
"""Whose office a role acts for."""
SHARE_BYTES: Final = POINT_BYTES + proof_bytes(1)
PUBLISHED_BYTES: Final = POINT_BYTES + proof_bytes(1)


@dataclass(frozen=True, slots=True, eq=False)
class OpenerKey:
    """One opener's half.

    Args:
        k: The secret.
    """

    opener: Opener
    k: int = field(repr=False)

    def publish(self, suite: Suite) -> bytes:
        """The public half with its proof of possession, 97 bytes."""
        public = suite.group.multiply(suite.g, scalar=self.k)
        session = frame_parts(suite.context, b"OpenerKey", self.opener)
        proof = prove(_possession(suite, public), [self.k], suite=suite, session=session)
        return suite.group.encode(public) + proof


def generate_opener_key(opener: Opener, *, suite: Suite) -> OpenerKey:
    """Return a new half."""
    return OpenerKey(opener, suite.group.random_scalar())


def opener_public_key(opener: Opener, *, published: bytes, suite: Suite) -> Point:
    """Check what an opener published; return its public half.

    Raises:
        InvalidMessageError: Malformed.
        SignatureError: The proof of possession does not hold (`authenticity.opener-key`).
    """
    check_length(published, PUBLISHED_BYTES)
    public = suite.group.decode(published[:POINT_BYTES])
    session = frame_parts(suite.context, b"OpenerKey", opener)
    if not holds(_possession(suite, public), published[POINT_BYTES:], suite=suite, session=session):
        raise SignatureError(
            "An opener's key has no proof of possession.", reason="authenticity.opener-key"
        )
    return public


def joint_key(published: Mapping[Opener, bytes], *, suite: Suite) -> Point:
    """The key escrows are encrypted to.

    Args:
        published: What every opener published.

    Raises:
        InvalidMessageError: An opener is missing, or a key malformed (`identity.openers`).
        SignatureError: A key comes without proof of possession.
    """
    if set(published) != set(OPENERS):
        raise InvalidMessageError("Both openers are needed.", reason="identity.openers")
    keys = [opener_public_key(name, published=published[name], suite=suite) for name in OPENERS]
    joint = suite.group.sum(*((1, key) for key in keys))
    # Opposite keys would sum to the identity and encrypt nothing; encoding refuses that.
    return suite.group.decode(suite.group.encode(joint))


def make_opening_share(key: OpenerKey, *, point: Point, head: str, suite: Suite) -> bytes:
    """One opener's share for a point, an escrow's E1, 97 bytes.

    Args:
        head: Hash of the log entry that holds the warrant.
    """
    group = suite.group
    public, share = group.sums([group.blind(key.k, suite.g), group.blind(key.k, point)])
    statement = _same_logarithm(suite, public, point, share)
    proof = prove(statement, [key.k], suite=suite, session=_share_session(suite, key.opener, head))
    return group.encode(share) + proof


def verify_share(
    message: bytes, *, opener: Opener, public: Point, point: Point, head: str, suite: Suite
) -> Point:
    """Check a share; return it.

    Args:
        point: The escrow's E1.
        head: Hash of the log entry that holds the warrant.

    Raises:
        InvalidMessageError: Malformed.
        SignatureError: Another point, another log head, or another key (`authenticity.share`).
    """
    check_length(message, SHARE_BYTES)
    share = suite.group.decode(message[:POINT_BYTES])
    statement = _same_logarithm(suite, public, point, share)
    session = _share_session(suite, opener, head)
    if not holds(statement, message[POINT_BYTES:], suite=suite, session=session):
        raise SignatureError(
            f"The share of the {opener} is wrong or belongs to another log entry.",
            reason="authenticity.share",
            remedy="Append the warrant, then ask for a share for that entry.",
        )
    return share


def verify_both_shares(
    shares: Mapping[Opener, bytes],
    *,
    published: Mapping[Opener, bytes],
    point: Point,
    head: str,
    suite: Suite,
) -> list[Point]:
    """Check the shares of both openers for a point; return them in the order of `OPENERS`.

    Args:
        shares: From both openers.
        head: Hash of the log entry that holds the warrant.

    Raises:
        InvalidMessageError: A share is missing or malformed (`identity.openers`).
        SignatureError: A share is wrong or for another entry (`authenticity.share`).
    """
    if set(shares) != set(OPENERS):
        raise InvalidMessageError("Both openers are needed.", reason="identity.openers")
    return [
        verify_share(
            shares[name],
            opener=name,
            public=opener_public_key(name, published=published[name], suite=suite),
            point=point,
            head=head,
            suite=suite,
        )
        for name in OPENERS
    ]


def open_escrow(
    escrow: Escrow,
    *,
    shares: Mapping[Opener, bytes],
    published: Mapping[Opener, bytes],
    head: str,
    suite: Suite,
) -> Point:
    """Open an escrow to the enrolled key Y.

    Args:
        escrow: From a registration.
        shares: From both openers.
        head: Hash of the log entry that holds the warrant.

    Raises:
        InvalidMessageError: A share is missing or malformed (`identity.openers`).
        SignatureError: A share is wrong or for another entry (`authenticity.share`).
    """
    points = verify_both_shares(
        shares, published=published, point=escrow.e1, head=head, suite=suite
    )
    return suite.group.sum((1, escrow.e2), *((-1, point) for point in points))


def share_digest(message: bytes) -> str:
    """What the log keeps of a share."""
    return sm3_hex(message)


def _possession(suite: Suite, public: Point) -> Relation:
    statement = Relation(suite.group)
    (k,) = statement.scalars(1)
    g = statement.element(suite.g)
    statement.equate(statement.element(public), (k, g))
    return statement


def _same_logarithm(suite: Suite, public: Point, point: Point, share: Point) -> Relation:
    statement = _possession(suite, public)
    statement.equate(statement.element(share), (0, statement.element(point)))
    return statement


def _share_session(suite: Suite, opener: Opener, head: str) -> bytes:
    return frame_parts(suite.context, b"OpeningShare", opener, head)
