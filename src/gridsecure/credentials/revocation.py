"""Revoking a person without opening everyone: does this escrow hold that enrolled key, yes or no.

A distributed plaintext-equality test (Jakobsson and Juels, ASIACRYPT 2000). (E1, E2 - Y) encrypts
the difference of two keys, zero for a match. Both openers, one after the other, raise the pair to a
random power of their own, proved, so that a difference that is not zero becomes a random point and
tells nothing; then both decrypt. One bit comes out. Run it under a warrant only: whoever may ask
about any key can still find a person by asking about everyone.

    blinding   (A', B') = (ρ·A, ρ·B), proved for the log head
    decision   B'' - S_U - S_R is the identity, shares as in `opening`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gridsecure.credentials.curves import IDENTITY, Point
from gridsecure.credentials.group import POINT_BYTES
from gridsecure.credentials.issuer_keys import check_length
from gridsecure.credentials.opening import (
    OPENERS,
    Opener,
    verify_both_shares,
)
from gridsecure.credentials.presentations import Escrow
from gridsecure.credentials.sigma import Relation, holds, proof_bytes, prove
from gridsecure.credentials.suites import Suite, frame_parts
from gridsecure.errors import InvalidMessageError, SignatureError

BLINDED_BYTES: Final = 2 * POINT_BYTES + proof_bytes(1)


@dataclass(frozen=True, slots=True)
class Difference:
    """An encrypted difference of two keys."""

    a: Point
    b: Point


def difference(escrow: Escrow, *, enrolled: Point, suite: Suite) -> Difference:
    """The encrypted difference between an escrowed key and an enrolled one.

    Args:
        escrow: From a registration.
    """
    # ElGamal is additive: subtracting Y from the second point encrypts Y' - Y under the same key.
    return Difference(escrow.e1, suite.group.subtract(escrow.e2, second=enrolled))


def blind_difference(pair: Difference, *, opener: Opener, head: str, suite: Suite) -> bytes:
    """One opener's blinding, 130 bytes.

    Args:
        pair: The difference, or the other opener's blinding of it.
        head: Hash of the log entry that holds the warrant.
    """
    group, power = suite.group, suite.group.random_scalar()
    a, b = group.sums([group.blind(power, pair.a), group.blind(power, pair.b)])
    statement = _same_power(suite, pair, Difference(a, b))
    session = frame_parts(suite.context, b"Blinding", opener, head)
    return (
        group.encode(a) + group.encode(b) + prove(statement, [power], suite=suite, session=session)
    )


def verify_blinding(
    message: bytes, *, pair: Difference, opener: Opener, head: str, suite: Suite
) -> Difference:
    """Check one opener's blinding; return the blinded pair.

    Args:
        head: Hash of the log entry that holds the warrant.

    Raises:
        InvalidMessageError: Malformed.
        SignatureError: Another pair, another entry, or not one power (`authenticity.blinding`).
    """
    check_length(message, BLINDED_BYTES)
    blinded = Difference(*suite.group.decode_points(message[: 2 * POINT_BYTES]))
    session = frame_parts(suite.context, b"Blinding", opener, head)
    statement = _same_power(suite, pair, blinded)
    if not holds(statement, message[2 * POINT_BYTES :], suite=suite, session=session):
        raise SignatureError(
            f"The blinding of the {opener} is wrong.",
            reason="authenticity.blinding",
            remedy="Repeat the test for the entry that holds the warrant.",
        )
    return blinded


def matches(
    pair: Difference,
    *,
    shares: Mapping[Opener, bytes],
    published: Mapping[Opener, bytes],
    head: str,
    suite: Suite,
) -> bool:
    """Say whether the twice blinded difference is zero.

    Args:
        pair: Blinded by both openers, each blinding verified.
        shares: Both openers' shares for `pair.a`.
        head: Hash of the log entry that holds the warrant.

    Raises:
        InvalidMessageError: A share is missing or malformed (`identity.openers`).
        SignatureError: A share is wrong or for another entry (`authenticity.share`).
    """
    points = verify_both_shares(shares, published=published, point=pair.a, head=head, suite=suite)
    return is_zero(pair, shares=points, suite=suite)


def is_zero(pair: Difference, *, shares: Sequence[Point], suite: Suite) -> bool:
    """Decrypt a twice blinded difference with shares that were verified before, of both openers.

    Args:
        pair: Blinded by both openers, each blinding verified.
        shares: From `verify_share`, for `pair.a`.

    Raises:
        InvalidMessageError: Not one share of each opener (`identity.openers`).
    """
    if len(shares) != len(OPENERS):
        raise InvalidMessageError("Both openers are needed.", reason="identity.openers")
    # Unless it is zero, a blinded difference is a random point and says nothing of either key.
    return suite.group.sum((1, pair.b), *((-1, point) for point in shares)) == IDENTITY


def _same_power(suite: Suite, pair: Difference, blinded: Difference) -> Relation:
    statement = Relation(suite.group)
    (power,) = statement.scalars(1)
    a, b = map(statement.element, (pair.a, pair.b))
    statement.equate(statement.element(blinded.a), (power, a))
    statement.equate(statement.element(blinded.b), (power, b))
    return statement
