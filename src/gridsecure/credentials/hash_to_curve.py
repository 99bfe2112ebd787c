"""Hashing to numbers and to points: RFC 9380, for curves with p ≡ 3 (mod 4) and cofactor 1.

The suites are P256_XMD:SHA-256_SSWU_RO_, which the RFC defines and gives vectors for, and its like
for SM2, `SM2_XMD:SM3_SSWU_RO_`, which takes SM3 for the hash and Z = -9 by the RFC's own procedure.
SM3 has the block and digest sizes of SHA-256, so nothing else changes.

What is hashed here is public (domains, contexts, transcripts), so branches on it are harmless.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gridsecure.credentials.curves import Point
from gridsecure.credentials.group import Group

DIGEST_BYTES: Final = 32
BLOCK_BYTES: Final = 64
_FIELD_BYTES: Final = 48  # L = ceil((256 + 128) / 8), RFC 9380 §5.1
MAX_TAG_BYTES: Final = 255

Digest = Callable[[bytes], bytes]


def expand_message(message: bytes, *, tag: bytes, length: int, digest: Digest) -> bytes:
    """Return uniform bytes (expand_message_xmd, RFC 9380 §5.3.1).

    Args:
        message: What to hash.
        tag: The domain separation tag, 1 to 255 bytes.
        length: How many bytes, at most 255 · 32.
        digest: SM3 or SHA-256.

    Raises:
        ValueError: A tag or length out of range.
    """
    if not 1 <= len(tag) <= MAX_TAG_BYTES or not 1 <= length <= 255 * DIGEST_BYTES:
        raise ValueError("a tag has 1 to 255 bytes and an expansion 1 to 8160")
    suffix = tag + bytes([len(tag)])
    first = digest(bytes(BLOCK_BYTES) + message + length.to_bytes(2, "big") + b"\0" + suffix)
    block = digest(first + b"\1" + suffix)
    blocks = [block]
    for index in range(2, -(-length // DIGEST_BYTES) + 1):
        mixed = int.from_bytes(first, "big") ^ int.from_bytes(block, "big")
        block = digest(mixed.to_bytes(DIGEST_BYTES, "big") + bytes([index]) + suffix)
        blocks.append(block)
    return b"".join(blocks)[:length]


def hash_to_numbers(
    message: bytes, *, tag: bytes, count: int, modulus: int, digest: Digest
) -> list[int]:
    """Return numbers, uniform modulo a 256-bit prime up to a bias of 2^-128 (RFC 9380 §5.2).

    Args:
        message: What to hash.
        count: How many numbers.
        modulus: The prime.
        digest: SM3 or SHA-256.
    """
    length = count * _FIELD_BYTES
    data = expand_message(message, tag=tag, length=length, digest=digest)
    return [
        int.from_bytes(data[at : at + _FIELD_BYTES], "big") % modulus
        for at in range(0, length, _FIELD_BYTES)
    ]


def hash_to_point(message: bytes, *, tag: bytes, group: Group) -> Point:
    """Return a point of which nobody knows a multiple (hash_to_curve, RFC 9380 §3).

    Args:
        message: What to hash.
        group: The curve, its hash included.
    """
    curve = group.curve
    first, second = hash_to_numbers(message, tag=tag, count=2, modulus=curve.p, digest=curve.digest)
    return group.sum((1, map_to_point(first, group=group)), (1, map_to_point(second, group=group)))


def map_to_point(number: int, *, group: Group) -> Point:
    """Return the point of a field element by the simplified SWU map (RFC 9380 §6.6.2).

    Args:
        number: 0..p-1.
    """
    curve = group.curve
    p, a, b, z = curve.p, curve.a, curve.b, curve.z
    zu2 = z * number * number % p
    tv1 = (zu2 * zu2 + zu2) % p
    # x1 = (-B/A)(1 + 1/tv1), or B/(Z·A) where tv1 = 0.
    x = -b * pow(a, -1, p) * (1 + pow(tv1, -1, p)) % p if tv1 else b * pow(z * a, -1, p) % p
    y = group.square_root((x * x * x + a * x + b) % p)
    # Z is no square, so one of the two candidates always has a root; which one may show in time.
    if y is None:
        x = zu2 * x % p
        y = group.square_root((x * x * x + a * x + b) % p)
    if y is None:
        raise ArithmeticError("one of the two values is a square, whatever the number")
    # sgn0 of the RFC: the root takes the parity of the input, so that the map is a function.
    return Point(x, y if y & 1 == number & 1 else p - y)
