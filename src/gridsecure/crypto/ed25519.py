"""Ed25519 signatures (RFC 8032), for the lines of checkpoints that the world's tools check.

Nothing else in the house is signed with it: parties know each other by SM2 keys. The arithmetic is
the `cryptography` package's.
"""

from __future__ import annotations

import secrets
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gridsecure.errors import InvalidMessageError, SignatureError

KEY_BYTES: Final = 32
"""Length of a seed and of a public key [bytes]."""

SIGNATURE_BYTES: Final = 64
"""Length of a signature [bytes]."""


def generate_seed() -> bytes:
    """A new private key from the operating system's generator [32 bytes]."""
    return secrets.token_bytes(KEY_BYTES)


def public_key_of(seed: bytes) -> bytes:
    """The public key of a seed [32 bytes].

    Raises:
        InvalidMessageError: Not 32 bytes.
    """
    return _private(seed).public_key().public_bytes_raw()


def sign(seed: bytes, message: bytes) -> bytes:
    """Sign a message; the signature [64 bytes].

    Raises:
        InvalidMessageError: The seed is not 32 bytes.
    """
    return _private(seed).sign(message)


def verify(public_key: bytes, message: bytes, *, signature: bytes) -> None:
    """Return if the signature is this key's, else raise.

    Args:
        public_key: 32 bytes.

    Raises:
        SignatureError: Anything else.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise SignatureError("The Ed25519 signature does not verify.") from error


def _private(seed: bytes) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(seed)
    except ValueError as error:
        raise InvalidMessageError("An Ed25519 key is 32 bytes.") from error
