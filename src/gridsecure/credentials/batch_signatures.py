"""SM2 signatures of many keys, made and checked together (GB/T 32918.2).

    r = e + x mod n, s = (k - r·d)/(1 + d), where (x, y) = k·G and e is the digest of the message
    checked by (x, y) = s·G + (r + s)·P

A signature here is the standard's `r ‖ s` with y after it. x follows from r, so the point is known
without computing it, and the check is that a sum vanishes: many of them are one sum
(`batch_checks`). Whoever knows no y takes the first 64 bytes for what they are. A signature without
y, as a hardware module makes it, is checked alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from gridsecure.credentials.batch_checks import Claim, find_false
from gridsecure.credentials.curves import Point
from gridsecure.credentials.group import Group, group_on
from gridsecure.credentials.issuer_keys import check_length
from gridsecure.crypto import sm2_curve
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.errors import InvalidMessageError, SignatureError

PLAIN_BYTES: Final = 64
SIGNATURE_BYTES: Final = 96


@dataclass(frozen=True, slots=True)
class Signing:
    """A message and who signs it.

    Args:
        scalar: The private key.
        public: Its public half.
    """

    scalar: int = field(repr=False)
    public: Sm2PublicKey
    message: bytes


def sign_all(wanted: Sequence[Signing]) -> list[bytes]:
    """Sign messages, each with its key, by default identity; 96 bytes each."""
    group = group_on()
    nonces = [group.random_scalar() for _ in wanted]
    points = group.multiply_all(group.generator, scalars=nonces)
    return [
        _signature(one, nonce, point, group)
        for one, nonce, point in zip(wanted, nonces, points, strict=True)
    ]


def _signature(one: Signing, nonce: int, point: Point, group: Group) -> bytes:
    n, d = group.order, one.scalar
    r = (sm2_curve.message_digest(one.public.point, one.message) + point.x) % n
    s = group.invert(1 + d) * (nonce - r * d) % n
    if point.x >= n or 0 in (r, (r + nonce) % n, s):  # once in 2^128 signatures
        (again,) = sign_all([one])
        return again
    return sm2_curve.join_numbers(r, s) + point.y.to_bytes(32, "big")


@dataclass(frozen=True, slots=True)
class SignedText:
    """A signature to be checked.

    Args:
        public: Whose it must be.
        signature: As `sign_all` makes it, or 64 bytes `r ‖ s`.
    """

    public: Sm2PublicKey
    message: bytes
    signature: bytes


def find_unsigned(signed: Sequence[SignedText]) -> Iterator[int]:
    """The places of signatures that are not what they must be, as they are found."""
    group = group_on()
    claims: dict[int, Claim] = {}
    for at, one in enumerate(signed):
        try:
            if len(one.signature) == PLAIN_BYTES:
                one.public.verify(one.message, one.signature)
            else:
                claims[at] = [_sum(one, group)]
        except (InvalidMessageError, SignatureError):
            yield at
    places = list(claims)
    for at in find_false(list(claims.values()), group=group):
        yield places[at]


def _sum(one: SignedText, group: Group) -> Sequence[tuple[int, Point]]:
    """(x, y) - s·G - (r + s)·P.

    Raises:
        InvalidMessageError: Numbers out of range, or (x, y) is not on the curve.
    """
    n, data = group.order, one.signature
    check_length(data, SIGNATURE_BYTES)
    r, s = group.decode_scalars(data[:PLAIN_BYTES])
    if 0 in (r, s, (r + s) % n):
        raise InvalidMessageError("A number is out of range.", reason="identity.scalar")
    x = (r - sm2_curve.message_digest(one.public.point, one.message)) % n
    (point,) = group.decode_whole(x.to_bytes(32, "big") + data[PLAIN_BYTES:])
    key = Point(*sm2_curve.split_numbers(one.public.point[1:]))  # on it since it was made
    return [(1, point), (-s, group.generator), (-(r + s), key)]
