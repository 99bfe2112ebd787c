"""What an SM2 engine is, and the check that several of them are right and agree.

Two engines exist (`sm2_libcrypto`, `sm2_gmssl`); an HSM's driver would be a third. They share no
arithmetic, so an error in one shows as a disagreement before the process does any work.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Protocol

from gridsecure.crypto.sm2_curve import DEFAULT_ID
from gridsecure.errors import EnvelopeError, GridSecureError


class PublicHandle(Protocol):
    """A public key as one engine holds it."""

    def verify(self, message: bytes, signature: bytes, *, identity: bytes) -> bool:
        """Say whether the 64-byte signature is good."""

    def encrypt(self, data: bytes) -> bytes:
        """Encrypt at least one byte to `C1 ‖ C3 ‖ C2`."""


class PrivateHandle(Protocol):
    """A private key as one engine holds it."""

    def public_point(self) -> bytes:
        """Return the public key, 65 bytes."""

    def sign(self, message: bytes, *, identity: bytes) -> bytes:
        """Return `r ‖ s`, 64 bytes."""

    def decrypt(self, data: bytes) -> bytes:
        """Decrypt `C1 ‖ C3 ‖ C2` or raise EnvelopeError."""


class Sm2Engine(Protocol):
    """What does the arithmetic."""

    @property
    def name(self) -> str:
        """The name it is selected by."""

    def load_public(self, point: bytes) -> PublicHandle:
        """Parse a public key of 65 bytes."""

    def load_private(self, scalar: bytes) -> PrivateHandle:
        """Parse a private key of 32 bytes."""


# GB/T 32918.5-2017 Annex A and Annex C (= GM/T 0003.5-2012): one key, its signature of
# "message digest" under DEFAULT_ID, and the encryption of "encryption standard" to it.
_KNOWN_SCALAR = bytes.fromhex("3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8")
_KNOWN_POINT = bytes.fromhex(
    "0409f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020"
    "ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13"
)
_KNOWN_SIGNATURE = bytes.fromhex(
    "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3"
    "b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa"
)
_KNOWN_CIPHERTEXT = bytes.fromhex(
    "0404ebfc718e8d1798620432268e77feb6415e2ede0e073c0f4f640ecd2e149a73"
    "e858f9d81e5430a57b36daab8f950a3c64e6ee6a63094d99283aff767e124df0"
    "59983c18f809e262923c53aec295d30383b54e39d609d160afcb1908d0bd8766"
    "21886ca989ca9c7d58087307ca93092d651efa"
)


def check_engines(engines: Sequence[Sm2Engine]) -> None:
    """Prove that every engine gives the standard's answers and that all agree.

    1. Each engine derives the standard's public key, accepts its signature, opens its ciphertext,
       and refuses both after one bit is changed.
    2. Each engine verifies what each one signed and decrypts what each one encrypted.

    Args:
        engines: One or more.

    Raises:
        GridSecureError: `crypto.engine.mismatch`; do not start.
    """
    handles = [
        (engine.load_private(_KNOWN_SCALAR), engine.load_public(_KNOWN_POINT)) for engine in engines
    ]
    known = all(_gives_known_answers(private, public) for private, public in handles)
    agree = all(_is_understood(private, public) for private, _ in handles for _, public in handles)
    if not (known and agree):
        raise GridSecureError(
            "The SM2 engines do not give the standard's answers or do not agree.",
            reason="crypto.engine.mismatch",
            remedy="Do not start; check the installed libcrypto and gmssl.",
        )


def _gives_known_answers(private: PrivateHandle, public: PublicHandle) -> bool:
    """Say whether step 1 of `check_engines` holds for one engine."""
    message = b"message digest"
    tampered = _KNOWN_CIPHERTEXT[:-1] + bytes([_KNOWN_CIPHERTEXT[-1] ^ 1])
    return (
        private.public_point() == _KNOWN_POINT
        and public.verify(message, _KNOWN_SIGNATURE, identity=DEFAULT_ID)
        and not public.verify(message + b"!", _KNOWN_SIGNATURE, identity=DEFAULT_ID)
        and _opens(private, _KNOWN_CIPHERTEXT, b"encryption standard")
        and not _opens(private, tampered, None)
    )


def _is_understood(private: PrivateHandle, public: PublicHandle) -> bool:
    """Say whether step 2 of `check_engines` holds for one ordered pair of engines."""
    message = secrets.token_bytes(32)
    signature = private.sign(message, identity=DEFAULT_ID)
    return public.verify(message, signature, identity=DEFAULT_ID) and _opens(
        private, public.encrypt(message), message
    )


def _opens(private: PrivateHandle, ciphertext: bytes, expected: bytes | None) -> bool:
    """Say whether a ciphertext decrypts to the expected bytes, or at all if None is expected."""
    try:
        plaintext = private.decrypt(ciphertext)
    except EnvelopeError:
        return False
    return expected is None or plaintext == expected
