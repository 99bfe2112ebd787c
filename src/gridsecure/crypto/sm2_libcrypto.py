"""SM2 by the host's libcrypto (OpenSSL >= 3.0), called through ctypes EVP functions.

This is the engine to use: no key-dependent timing was seen on x86-64, it releases the interpreter
lock, and the operating system patches it. Some distributions build libcrypto without SM2 (RHEL,
Fedora, Alpine); then `OpenSslEngine()` refuses and `sm2_gmssl` is the fallback.

Invariants:
- libcrypto only ever sees checked points and scalars (`sm2_curve`): it imports d = 0, d = n and
  d = n-1 without complaint, and signing with d = n-1 never ends.
- A parsed key is freed exactly once, when its Python owner goes.
- After a failure the thread's error queue is cleared, because Python's own ssl module shares it.
- What libcrypto reads and writes is DER; it never leaves this module.
"""

from __future__ import annotations

import ctypes
import weakref
from typing import Final

from gridsecure.crypto import sm2_curve
from gridsecure.crypto.libcrypto import INT, POINTER, SIZE, TEXT, Signatures, load_libcrypto
from gridsecure.errors import GridSecureError, SignatureError

# AlgorithmIdentifier { id-ecPublicKey, sm2p256v1 = 1.2.156.10197.1.301 } (GM/T 0006, RFC 5480).
_ALGORITHM: Final = bytes.fromhex("301306072a8648ce3d020106082a811ccf5501822d")
# SubjectPublicKeyInfo up to the 65 bytes of the point; a BIT STRING without unused bits.
_PUBLIC_PREFIX: Final = bytes.fromhex("3059") + _ALGORITHM + bytes.fromhex("034200")
# PrivateKeyInfo up to the 32 bytes of d; no public key inside, so it cannot be a wrong one.
_PRIVATE_PREFIX: Final = (
    bytes.fromhex("3041020100") + _ALGORITHM + bytes.fromhex("042730250201010420")
)

_SIGNATURES: Final[Signatures] = {
    "ERR_clear_error": (None, []),
    "CRYPTO_free": (None, [POINTER, TEXT, INT]),
    "d2i_PUBKEY": (POINTER, [POINTER, POINTER, ctypes.c_long]),
    "d2i_AutoPrivateKey": (POINTER, [POINTER, POINTER, ctypes.c_long]),
    "EVP_PKEY_dup": (POINTER, [POINTER]),
    "EVP_PKEY_free": (None, [POINTER]),
    "EVP_PKEY_set1_encoded_public_key": (INT, [POINTER, TEXT, SIZE]),
    "EVP_PKEY_get1_encoded_public_key": (SIZE, [POINTER, POINTER]),
    "EVP_PKEY_CTX_new": (POINTER, [POINTER, POINTER]),
    "EVP_PKEY_CTX_free": (None, [POINTER]),
    "EVP_PKEY_CTX_set1_id": (INT, [POINTER, TEXT, INT]),
    "EVP_PKEY_encrypt_init": (INT, [POINTER]),
    "EVP_PKEY_encrypt": (INT, [POINTER, POINTER, POINTER, TEXT, SIZE]),
    "EVP_PKEY_decrypt_init": (INT, [POINTER]),
    "EVP_PKEY_decrypt": (INT, [POINTER, POINTER, POINTER, TEXT, SIZE]),
    "EVP_sm3": (POINTER, []),
    "EVP_MD_CTX_new": (POINTER, []),
    "EVP_MD_CTX_free": (None, [POINTER]),
    "EVP_DigestSignInit": (INT, [POINTER, POINTER, POINTER, POINTER, POINTER]),
    "EVP_DigestSign": (INT, [POINTER, POINTER, POINTER, TEXT, SIZE]),
    "EVP_DigestVerifyInit": (INT, [POINTER, POINTER, POINTER, POINTER, POINTER]),
    "EVP_DigestVerify": (INT, [POINTER, TEXT, SIZE, TEXT, SIZE]),
}


def _unavailable(why: str) -> GridSecureError:
    return GridSecureError(
        f"The host's libcrypto cannot do SM2: {why}.",
        reason="crypto.engine.unavailable",
        remedy="Use a Debian-based image, or select the gmssl engine.",
    )


class OpenSslEngine:
    """SM2 keys held by libcrypto. Build it once; it loads and types the library.

    Raises:
        GridSecureError: `crypto.engine.unavailable` when libcrypto is missing, old or has no SM2.
    """

    name = "openssl"

    def __init__(self) -> None:
        self._library = library = load_libcrypto(_SIGNATURES, unavailable=_unavailable)
        der = _PUBLIC_PREFIX + b"\x04" + sm2_curve.join_numbers(sm2_curve.GX, sm2_curve.GY)
        try:
            self._any_key = OpenSslPublicKey(library, _parsed(library.d2i_PUBKEY, der))
        except GridSecureError as refused:
            raise _unavailable("it was built without SM2") from refused

    def load_public(self, point: bytes) -> OpenSslPublicKey:
        """Parse a public key.

        Args:
            point: 65 bytes `04 ‖ X ‖ Y`.

        Raises:
            InvalidMessageError: Not a point of the curve.
        """
        library, checked = self._library, sm2_curve.check_point(point)
        # Another point in a copy of a parsed key: a tenth of the time that DER takes.
        key = OpenSslPublicKey(library, library.EVP_PKEY_dup(self._any_key.pkey))
        if library.EVP_PKEY_set1_encoded_public_key(key.pkey, checked, len(checked)) != 1:
            raise _failed(library)
        return key

    def load_private(self, scalar: bytes) -> OpenSslPrivateKey:
        """Parse a private key; libcrypto derives the public key from it.

        Args:
            scalar: 32 bytes, 1..n-2.

        Raises:
            InvalidMessageError: Out of range.
        """
        sm2_curve.check_scalar(scalar)
        library, der = self._library, _PRIVATE_PREFIX + scalar
        return OpenSslPrivateKey(library, _parsed(library.d2i_AutoPrivateKey, der))


def _failed(library: ctypes.CDLL) -> GridSecureError:
    """Return the error for libcrypto refusing what passed our own checks."""
    library.ERR_clear_error()
    return GridSecureError(
        "libcrypto could not complete an SM2 operation.",
        reason="crypto.engine.failed",
        remedy="Check the host's OpenSSL installation and its providers.",
    )


def _parsed(parse: ctypes._NamedFuncPointer, der: bytes) -> int:
    """Return a new EVP_PKEY, or 0 where libcrypto refuses the DER."""
    return int(parse(None, ctypes.byref(ctypes.c_char_p(der)), len(der)) or 0)


class _Key:
    """One EVP_PKEY of its own, freed when this object goes."""

    __slots__ = ("__weakref__", "_library", "_md", "pkey")

    def __init__(self, library: ctypes.CDLL, pkey: int) -> None:
        if not pkey:
            raise _failed(library)
        self._library = library
        self.pkey: int = pkey
        self._md: int = library.EVP_sm3()
        weakref.finalize(self, library.EVP_PKEY_free, pkey)

    def _digest_context(self, init: ctypes._NamedFuncPointer, identity: bytes) -> int:
        """Return an EVP_MD_CTX ready for one message of this identity; the caller frees it."""
        sm2_curve.check_identity(identity)
        context: int = self._library.EVP_MD_CTX_new()
        pkey_context = POINTER()  # owned and freed by the digest context
        if (
            init(context, ctypes.byref(pkey_context), self._md, None, self.pkey) != 1
            or self._library.EVP_PKEY_CTX_set1_id(pkey_context, identity, len(identity)) != 1
        ):
            self._library.EVP_MD_CTX_free(context)
            raise _failed(self._library)
        return context

    def _transform(self, operation: str, data: bytes) -> bytes | None:
        """Run EVP_PKEY_encrypt or EVP_PKEY_decrypt; None when it refuses the data."""
        library = self._library
        run = getattr(library, operation)
        context = library.EVP_PKEY_CTX_new(self.pkey, None)
        try:
            size = SIZE()
            if (
                getattr(library, operation + "_init")(context) != 1
                or run(context, None, ctypes.byref(size), data, len(data)) != 1
            ):
                library.ERR_clear_error()
                return None
            out = ctypes.create_string_buffer(size.value)
            if run(context, out, ctypes.byref(size), data, len(data)) != 1:
                library.ERR_clear_error()
                return None
            return out.raw[: size.value]
        finally:
            library.EVP_PKEY_CTX_free(context)


class OpenSslPublicKey(_Key):
    """A public key: verifies and encrypts. Safe to use from several threads at once."""

    __slots__ = ()

    def verify(self, message: bytes, signature: bytes, *, identity: bytes) -> bool:
        """Say whether `r ‖ s` is this key's signature of the message.

        Args:
            message: What was signed.
            signature: 64 bytes.
        """
        try:
            der = sm2_curve.signature_to_der(signature)
        except SignatureError:
            return False
        library = self._library
        context = self._digest_context(library.EVP_DigestVerifyInit, identity)
        try:
            # 1 is the only yes: 0 is a wrong signature and a negative number an error.
            accepted: int = library.EVP_DigestVerify(context, der, len(der), message, len(message))
        finally:
            library.EVP_MD_CTX_free(context)
        if accepted != 1:
            library.ERR_clear_error()
        return accepted == 1

    def encrypt(self, data: bytes) -> bytes:
        """Encrypt some bytes to `C1 ‖ C3 ‖ C2`.

        Args:
            data: At least one byte.
        """
        while True:
            der = self._transform("EVP_PKEY_encrypt", data)
            if der is None:
                raise _failed(self._library)
            ciphertext = sm2_curve.ciphertext_from_der(der)
            # C2 equal to the plaintext means a zero mask, one one-byte message in 256, and
            # GB/T 32918.4 §6.1 A5 draws again. 3.0.19 does so itself; older ones may not.
            if ciphertext[-len(data) :] != data:
                return ciphertext


class OpenSslPrivateKey(_Key):
    """A private key: signs and decrypts. Safe to use from several threads at once."""

    __slots__ = ()

    def public_point(self) -> bytes:
        """Return the public key that belongs to it, 65 bytes."""
        out = POINTER()
        size = self._library.EVP_PKEY_get1_encoded_public_key(self.pkey, ctypes.byref(out))
        if not size or out.value is None:
            raise _failed(self._library)
        point = ctypes.string_at(out, size)
        self._library.CRYPTO_free(out, None, 0)
        return sm2_curve.check_point(point)

    def sign(self, message: bytes, *, identity: bytes) -> bytes:
        """Return the signature `r ‖ s`, 64 bytes."""
        library = self._library
        context = self._digest_context(library.EVP_DigestSignInit, identity)
        try:
            out = ctypes.create_string_buffer(72)  # the longest DER of two 33-byte numbers
            size = SIZE(len(out))
            if library.EVP_DigestSign(context, out, ctypes.byref(size), message, len(message)) != 1:
                raise _failed(self._library)
        finally:
            library.EVP_MD_CTX_free(context)
        return sm2_curve.signature_from_der(out.raw[: size.value])

    def decrypt(self, data: bytes) -> bytes:
        """Decrypt `C1 ‖ C3 ‖ C2`.

        Raises:
            EnvelopeError: Whatever was wrong with it.
        """
        plaintext = self._transform("EVP_PKEY_decrypt", sm2_curve.ciphertext_to_der(data))
        # Equal to C2 means a zero mask, which GB/T 32918.4 §7.1 B4 refuses (3.0.19 does too).
        if plaintext is None or plaintext == data[-len(plaintext) :]:
            raise sm2_curve.unopened_error()
        return plaintext
