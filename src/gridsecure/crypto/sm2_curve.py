"""The SM2 curve sm2p256v1: constants, range and point checks, hashing of messages, encodings.

Everything here is public-data arithmetic that both engines share, so that neither ever sees a
point off the curve, a scalar out of range, or a loosely encoded number. Inside GridSecure a point
is 65 bytes `04 ‖ X ‖ Y`, a signature 64 bytes `r ‖ s`, a ciphertext `C1 ‖ C3 ‖ C2` (GB/T 32918.4);
DER (GM/T 0009-2012) exists only at the edge, through the four strict converters below.
"""

from __future__ import annotations

from typing import Final

from gridsecure.crypto.sm3 import DIGEST_BYTES, sm3_digest
from gridsecure.errors import EnvelopeError, InvalidMessageError, SignatureError

# GB/T 32918.5-2017 (= GM/T 0003.5-2012), recommended curve; the same constants as RFC 8998 §3.2.
P: Final = 0xFFFFFFFE_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_00000000_FFFFFFFF_FFFFFFFF
A: Final = 0xFFFFFFFE_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_00000000_FFFFFFFF_FFFFFFFC
B: Final = 0x28E9FA9E_9D9F5E34_4D5A9E4B_CF6509A7_F39789F5_15AB8F92_DDBCBD41_4D940E93
N: Final = 0xFFFFFFFE_FFFFFFFF_FFFFFFFF_FFFFFFFF_7203DF6B_21C6052B_53BBF409_39D54123
GX: Final = 0x32C4AE2C_1F198119_5F990446_6A39C994_8FE30BBF_F2660BE1_715A4589_334C74C7
GY: Final = 0xBC3736A2_F4F6779C_59BDCEE3_6B692153_D0A9877C_C62A4740_02DF32E5_2139F0A0

SCALAR_BYTES: Final = 32
POINT_BYTES: Final = 65
SIGNATURE_BYTES: Final = 64

DEFAULT_ID: Final = b"1234567812345678"
"""The signer identity used when none was agreed (GM/T 0009-2012 §10); X.509 and HSMs expect it."""

# ENTL counts the identity's bits in 16 bits (GB/T 32918.2 §5.5), which allows 8191 bytes; libcrypto
# stops one short of it, and both engines must accept the same identities.
_MAX_ID_BYTES: Final = 8190


def check_point(point: bytes) -> bytes:
    """Return a point as 65 bytes after proving that it lies on the curve.

    The curve's cofactor is 1, so on-curve and not-infinity is the whole check.

    Args:
        point: 65 bytes `04 ‖ X ‖ Y`, or 64 bytes `X ‖ Y`.

    Raises:
        InvalidMessageError: Wrong length or prefix, a coordinate not below p, or off the curve.
    """
    if len(point) == POINT_BYTES and point[0] == 4:
        x_y = point[1:]
    elif len(point) == POINT_BYTES - 1:
        x_y = point
    else:
        raise _bad_point()
    x, y = split_numbers(x_y)
    # y² = x³ + ax + b over the field of p elements.
    if x >= P or y >= P or (y * y - (x * x + A) * x - B) % P:
        raise _bad_point()
    return b"\x04" + x_y


def _bad_point() -> InvalidMessageError:
    return InvalidMessageError(
        "An SM2 public key is not a point of the curve.",
        reason="sm2.point",
        remedy="Send 65 bytes: 04, X, Y.",
    )


def check_scalar(scalar: bytes) -> int:
    """Return a private key as a number after checking 1 <= d <= n-2 (GB/T 32918.1 §6.1).

    libcrypto does not check this itself, and d = n-1 makes its signing loop for ever.

    Args:
        scalar: 32 bytes, big-endian.

    Raises:
        InvalidMessageError: Not 32 bytes, or out of range.
    """
    number = int.from_bytes(scalar, "big")
    if len(scalar) != SCALAR_BYTES or not 1 <= number <= N - 2:
        raise InvalidMessageError(
            "An SM2 private key is out of range.",
            reason="sm2.private-key",
            remedy="Generate a new key.",
        )
    return number


def split_numbers(data: bytes) -> tuple[int, int]:
    """Read 64 bytes as two big-endian numbers of 32 bytes each."""
    return int.from_bytes(data[:32], "big"), int.from_bytes(data[32:], "big")


def join_numbers(first: int, second: int) -> bytes:
    """Write two numbers below 2**256 as 64 bytes; the inverse of `split_numbers`."""
    return first.to_bytes(32, "big") + second.to_bytes(32, "big")


def split_signature(signature: bytes) -> tuple[int, int]:
    """Return r and s after the range checks of GB/T 32918.2 §7.1 (steps B1, B2 and B4).

    Args:
        signature: Exactly 64 bytes `r ‖ s`.

    Raises:
        SignatureError: Another length, r or s outside 1..n-1, or r + s = 0 mod n.
    """
    r, s = split_numbers(signature)
    if len(signature) != SIGNATURE_BYTES or not (1 <= r < N and 1 <= s < N) or r + s == N:
        raise SignatureError("The SM2 signature does not verify.")
    return r, s


def identity_digest(point: bytes, identity: bytes = DEFAULT_ID) -> bytes:
    """Return ZA, the digest that binds signer identity, curve and public key (GB/T 32918.2 §5.5).

    ZA = SM3(ENTL ‖ ID ‖ a ‖ b ‖ xG ‖ yG ‖ xA ‖ yA), ENTL = bits of ID as two bytes.

    Args:
        point: The checked public key, 65 bytes.
        identity: The signer's identity, at most 8190 bytes.

    Raises:
        ValueError: The identity is too long.
    """
    check_identity(identity)
    # point[1:] below leaves out the 04: ZA takes bare coordinates.
    return sm3_digest((len(identity) * 8).to_bytes(2, "big") + identity + _CURVE + point[1:])


def check_identity(identity: bytes) -> None:
    """Refuse an identity whose length in bits does not fit ENTL.

    Raises:
        ValueError: More than 8190 bytes.
    """
    if len(identity) > _MAX_ID_BYTES:
        raise ValueError("an SM2 identity has at most 8190 bytes")


_CURVE: Final = join_numbers(A, B) + join_numbers(GX, GY)


def message_digest(point: bytes, message: bytes, identity: bytes = DEFAULT_ID) -> int:
    """Return e = SM3(ZA ‖ M) as a number (GB/T 32918.2 §6.1, steps A1 and A2)."""
    return int.from_bytes(sm3_digest(identity_digest(point, identity) + message), "big")


def split_ciphertext(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Cut `C1 ‖ C3 ‖ C2` into its parts and prove that C1 is on the curve.

    Args:
        data: At least 98 bytes: point, digest, and one byte or more of ciphertext.

    Raises:
        EnvelopeError: Too short, or C1 is not a point of the curve.
    """
    digest_end = POINT_BYTES + DIGEST_BYTES
    # A compressed or infinite point is refused by its first byte, before any arithmetic.
    if len(data) <= digest_end or data[0] != 4:
        raise unopened_error()
    try:
        c1 = check_point(data[:POINT_BYTES])
    except InvalidMessageError as refused:
        raise unopened_error() from refused
    return c1, data[POINT_BYTES:digest_end], data[digest_end:]


def unopened_error() -> EnvelopeError:
    """Return the one error for every reason an SM2 ciphertext may not open."""
    return EnvelopeError("The SM2 ciphertext does not open.")


def signature_to_der(signature: bytes) -> bytes:
    """Write `r ‖ s` as the DER SEQUENCE of GM/T 0009-2012 §7.3, for peers that want it.

    Raises:
        SignatureError: The raw signature is out of range.
    """
    r, s = split_signature(signature)
    return _der(0x30, _der_number(r) + _der_number(s))


def signature_from_der(der: bytes) -> bytes:
    """Read a DER signature, accepting only the one encoding that `signature_to_der` writes.

    Raises:
        SignatureError: Anything else, trailing bytes included.
    """
    body = _der_parts(der, (0x02, 0x02))
    if body is None or max(len(part) for part in body) > 33:
        raise SignatureError("The SM2 signature is not strict DER.")
    r, s = (int.from_bytes(part, "big") for part in body)
    if max(r, s) >= N or signature_to_der(join_numbers(r, s)) != der:
        raise SignatureError("The SM2 signature is not strict DER.")
    return join_numbers(r, s)


def ciphertext_to_der(data: bytes) -> bytes:
    """Write `C1 ‖ C3 ‖ C2` as the DER SEQUENCE of GM/T 0009-2012 §7.2.

    Raises:
        EnvelopeError: Too short, or C1 is not on the curve.
    """
    c1, c3, c2 = split_ciphertext(data)
    x, y = split_numbers(c1[1:])
    return _der(0x30, _der_number(x) + _der_number(y) + _der(0x04, c3) + _der(0x04, c2))


def ciphertext_from_der(der: bytes) -> bytes:
    """Read a DER ciphertext, accepting only the one encoding that `ciphertext_to_der` writes.

    Raises:
        EnvelopeError: Anything else, trailing bytes included.
    """
    body = _der_parts(der, (0x02, 0x02, 0x04, 0x04))
    if body is None or max(len(body[0]), len(body[1])) > 33:
        raise unopened_error()
    x, y = (int.from_bytes(part, "big") for part in body[:2])
    if max(x, y) >= P:
        raise unopened_error()
    data = b"\x04" + join_numbers(x, y) + body[2] + body[3]
    if ciphertext_to_der(data) != der:
        raise unopened_error()
    return data


def _der(tag: int, content: bytes) -> bytes:
    """Return tag, shortest definite length, content (X.690 §10.1)."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _der_number(number: int) -> bytes:
    """Return a non-negative INTEGER; one bit of room keeps the sign positive."""
    return _der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _der_parts(der: bytes, tags: tuple[int, ...]) -> list[bytes] | None:
    """Cut a SEQUENCE into its contents, or return None.

    It need not notice every looseness: callers re-encode and compare with the input.
    """
    outer = _der_take(der, 0x30)
    if outer is None or outer[1]:
        return None
    parts: list[bytes] = []
    rest = outer[0]
    for tag in tags:
        taken = _der_take(rest, tag)
        if taken is None:
            return None
        parts.append(taken[0])
        rest = taken[1]
    return None if rest else parts


def _der_take(data: bytes, tag: int) -> tuple[bytes, bytes] | None:
    """Return the content of the first element and what follows it, or None."""
    if len(data) < 2 or data[0] != tag:
        return None
    size, start = data[1], 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(data[2:start], "big")
    if len(data) < start + size:
        return None
    return data[start : start + size], data[start + size :]
