"""SM2 by `gmssl` 3.2.2, used only as a calculator of point multiples. The one file importing it.

The package's own verify, encrypt, decrypt, random numbers and key parsing are unsafe: ASN.1-mode
verify accepts a forgery for any key, decrypt neither compares C3 nor checks C1, nonces come from a
predictable generator, and one key in eight is corrupted while parsing. So nothing of it is called
except `_kg(k, P)`, which is correct for 1 <= k < n and P on the curve, and which is fed nothing
else. Everything around it follows GB/T 32918.2 and GB/T 32918.4 here.

Residual risk: Python integers are not constant-time. `_secret_multiple` splits the scalar at random
so that its timing does not follow the secret, yet this engine is for cross-checks, edge devices
and hosts whose libcrypto lacks SM2, not for keys of high value.
"""

from __future__ import annotations

import hmac
import importlib.metadata
import secrets
from typing import Final

from gmssl import sm2 as gmssl_sm2

from gridsecure.crypto.sm2_curve import (
    GX,
    GY,
    A,
    N,
    P,
    check_point,
    check_scalar,
    join_numbers,
    message_digest,
    split_ciphertext,
    split_numbers,
    split_signature,
    unopened_error,
)
from gridsecure.crypto.sm3 import sm3_digest
from gridsecure.errors import GridSecureError, SignatureError

_REVIEWED_VERSION: Final = "3.2.2"


def _check_version(installed: str) -> None:
    """Refuse any release but the one whose arithmetic was reviewed."""
    if installed != _REVIEWED_VERSION:
        raise GridSecureError(
            "The installed gmssl is not the reviewed version.",
            reason="crypto.engine.version",
            remedy=f"Install gmssl {_REVIEWED_VERSION} exactly, from the lock file.",
        )


_check_version(importlib.metadata.version("gmssl"))

_Point = tuple[int, int] | None  # affine coordinates; None is the point at infinity
_G: Final = (GX, GY)
# The key argument would be parsed wrongly if it began with 04; the generator's begins with 32.
_CALCULATOR: Final = gmssl_sm2.CryptSM2("", join_numbers(*_G).hex())


def _multiple(k: int, point: tuple[int, int]) -> tuple[int, int]:
    """Return k·P for 1 <= k < n; its time depends on k, so k is public or freshly random."""
    product = _CALCULATOR._kg(k, join_numbers(*point).hex())  # noqa: SLF001 - the one safe call
    return split_numbers(bytes.fromhex(product))


def _add(first: _Point, second: _Point) -> _Point:
    """Return P + Q for every pair of points, equal, opposite and infinite ones included."""
    if first is None:
        return second
    if second is None:
        return first
    (x1, y1), (x2, y2) = first, second
    if x1 == x2:
        if (y1 + y2) % P == 0:
            return None
        slope = (3 * x1 * x1 + A) * pow(2 * y1, -1, P)
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, P)
    x3 = (slope * slope - x1 - x2) % P
    return x3, (slope * (x1 - x3) - y1) % P


def _secret_multiple(k: int, point: tuple[int, int]) -> tuple[int, int]:
    """Return k·P for a secret k as a·P + (k-a)·P with a fresh random a.

    Double-and-add takes longer the more bits of its scalar are set. Both scalars here are uniform
    and independent of k one by one, so the time tells nothing of k.
    """
    product: _Point = None
    while product is None:
        share = _random_scalar()
        if share != k:  # the rest would be 0, which the calculator cannot multiply by
            product = _add(_multiple(share, point), _multiple((k - share) % N, point))
    return product


def _random_scalar() -> int:
    """Return a uniform number in 1..n-1 from the operating system's generator."""
    return secrets.randbelow(N - 1) + 1


def _mask(point: tuple[int, int], length: int) -> bytes:
    """Return the key stream KDF(x2 ‖ y2, length) (GB/T 32918.4 §5.4.3)."""
    seed = join_numbers(*point)
    blocks = range(1, -(-length // 32) + 1)
    return b"".join(sm3_digest(seed + n.to_bytes(4, "big")) for n in blocks)[:length]


def _xor(data: bytes, mask: bytes) -> bytes:
    return (int.from_bytes(data, "big") ^ int.from_bytes(mask, "big")).to_bytes(len(data), "big")


def _check_digest(point: tuple[int, int], data: bytes) -> bytes:
    """Return C3 = SM3(x2 ‖ M ‖ y2) (GB/T 32918.4 §6.1 A7)."""
    encoded = join_numbers(*point)
    return sm3_digest(encoded[:32] + data + encoded[32:])


class GmsslEngine:
    """SM2 keys as Python numbers, multiplied by gmssl."""

    name = "gmssl"

    def load_public(self, point: bytes) -> GmsslPublicKey:
        """Parse a public key.

        Args:
            point: 65 bytes `04 ‖ X ‖ Y`.

        Raises:
            InvalidMessageError: Not a point of the curve.
        """
        return GmsslPublicKey(check_point(point))

    def load_private(self, scalar: bytes) -> GmsslPrivateKey:
        """Parse a private key and derive its public key.

        Args:
            scalar: 32 bytes, 1..n-2.

        Raises:
            InvalidMessageError: Out of range.
        """
        return GmsslPrivateKey(check_scalar(scalar))


class GmsslPublicKey:
    """A public key: verifies and encrypts."""

    __slots__ = ("_encoded", "_point")

    def __init__(self, encoded: bytes) -> None:
        self._encoded = encoded
        self._point = split_numbers(encoded[1:])

    def verify(self, message: bytes, signature: bytes, *, identity: bytes) -> bool:
        """Say whether `r ‖ s` is this key's signature (GB/T 32918.2 §7.1).

        Args:
            message: What was signed.
            signature: 64 bytes.
        """
        try:
            r, s = split_signature(signature)
        except SignatureError:
            return False
        e = message_digest(self._encoded, message, identity)
        total = _add(_multiple(s, _G), _multiple((r + s) % N, self._point))
        return total is not None and (e + total[0]) % N == r

    def encrypt(self, data: bytes) -> bytes:
        """Encrypt some bytes to `C1 ‖ C3 ‖ C2` (GB/T 32918.4 §6.1).

        Args:
            data: At least one byte.
        """
        while True:
            ciphertext = self._encrypt_with(_random_scalar(), data)
            if ciphertext is not None:
                return ciphertext

    def _encrypt_with(self, k: int, data: bytes) -> bytes | None:
        """Encrypt with a given k; None when the mask is zero and k must be drawn again (A5)."""
        c1 = b"\x04" + join_numbers(*_secret_multiple(k, _G))
        shared = _secret_multiple(k, self._point)
        mask = _mask(shared, len(data))
        if not any(mask):
            return None
        return c1 + _check_digest(shared, data) + _xor(data, mask)


class GmsslPrivateKey:
    """A private key: signs and decrypts."""

    __slots__ = ("_encoded", "_public", "_scalar")

    def __init__(self, scalar: int) -> None:
        self._scalar = scalar
        self._encoded = b"\x04" + join_numbers(*_secret_multiple(scalar, _G))
        self._public = GmsslPublicKey(self._encoded)

    def public_point(self) -> bytes:
        """Return the public key that belongs to it, 65 bytes."""
        return self._encoded

    def sign(self, message: bytes, *, identity: bytes) -> bytes:
        """Return the signature `r ‖ s`, checked before it leaves (GB/T 32918.2 §6.1).

        Raises:
            GridSecureError: The fresh signature does not verify: a computing fault.
        """
        e = message_digest(self._encoded, message, identity)
        signature = None
        while signature is None:
            signature = self._sign_with(_random_scalar(), e)
        if not self._public.verify(message, signature, identity=identity):
            # A faulty signature can give the key away; it must not leave.
            raise GridSecureError(
                "A fresh SM2 signature did not verify.",
                reason="crypto.engine.failed",
                remedy="The signature was discarded. Check the machine's hardware and its OpenSSL.",
            )
        return signature

    def _sign_with(self, k: int, e: int) -> bytes | None:
        """Sign a digest with a given k; None when k must be drawn again (steps A5 and A6)."""
        x1, _ = _secret_multiple(k, _G)
        r = (e + x1) % N
        if r == 0 or r + k == N:
            return None
        # (1+d)^-1 through a random multiple, so that the inversion's time does not follow d.
        blind = _random_scalar()
        inverse = blind * pow(blind * (1 + self._scalar), -1, N)
        s = inverse * (k - r * self._scalar) % N
        return join_numbers(r, s) if s else None

    def decrypt(self, data: bytes) -> bytes:
        """Decrypt `C1 ‖ C3 ‖ C2` (GB/T 32918.4 §7.1).

        Raises:
            EnvelopeError: Whatever was wrong with it.
        """
        c1, c3, c2 = split_ciphertext(data)
        shared = _secret_multiple(self._scalar, split_numbers(c1[1:]))
        mask = _mask(shared, len(c2))
        plaintext = _xor(c2, mask)
        intact = hmac.compare_digest(_check_digest(shared, plaintext), c3)
        if not (intact and any(mask)):
            raise unopened_error()
        return plaintext
