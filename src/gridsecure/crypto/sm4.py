"""SM4 (GB/T 32907-2016): authenticated encryption in GCM mode.

Invariants: keys are 16 bytes; a GCM nonce is 12 bytes and never used twice under one key (with
random nonces, at most 2**32 messages a key, NIST SP 800-38D §8.3); a tag is 16 bytes and is always
checked before any plaintext is returned. The cipher itself runs in the `cryptography` package.

Not here: choosing nonces and wrapping keys (`envelope`). CCM, CBC and ECB are not offered.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from cryptography.hazmat.primitives.ciphers.modes import GCM

from gridsecure.errors import EnvelopeError

KEY_BYTES = 16
"""Length of an SM4 key [bytes]."""
NONCE_BYTES = 12
"""Length of a GCM nonce [bytes]; the 96 bits that GCM uses without hashing them first."""
TAG_BYTES = 16
"""Length of a GCM tag [bytes]; shorter tags are never accepted."""


def _check_sizes(key: bytes | bytearray, nonce: bytes, nonce_bytes: int) -> None:
    """Refuse keys and nonces of the wrong length, without echoing them."""
    if len(key) != KEY_BYTES:
        raise ValueError("an SM4 key has 16 bytes")
    if len(nonce) != nonce_bytes:
        raise ValueError(f"this SM4 mode needs a nonce of {nonce_bytes} bytes")


def _sm4(key: bytes | bytearray) -> SM4:
    return SM4(key)  # type: ignore[arg-type] # any buffer will do, and a copy could not be wiped


def gcm_seal(key: bytes | bytearray, *, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
    """Encrypt and authenticate by SM4-GCM (RFC 8998, NIST SP 800-38D).

    Args:
        key: The 16-byte key.
        nonce: 12 bytes, unique under this key.
        data: The plaintext, possibly empty.
        associated_data: Authenticated but not encrypted.

    Returns:
        The ciphertext followed by the 16-byte tag.

    Raises:
        ValueError: The key or nonce has the wrong length.
    """
    _check_sizes(key, nonce, NONCE_BYTES)
    encryptor = Cipher(_sm4(key), GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(associated_data)
    ciphertext = encryptor.update(data) + encryptor.finalize()
    return ciphertext + encryptor.tag


def gcm_open(key: bytes | bytearray, *, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
    """Check and decrypt what `gcm_seal` returned.

    Args:
        key: The 16-byte key.
        nonce: The 12 bytes it was sealed with.
        data: Ciphertext followed by the 16-byte tag.
        associated_data: The same bytes as at sealing.

    Raises:
        EnvelopeError: Key, nonce, data or associated data differ, or the data is too short.
        ValueError: The key or nonce has the wrong length.
    """
    _check_sizes(key, nonce, NONCE_BYTES)
    if len(data) < TAG_BYTES:
        raise EnvelopeError("The sealed data does not open.")
    tag = data[-TAG_BYTES:]
    decryptor = Cipher(_sm4(key), GCM(nonce, tag)).decryptor()
    decryptor.authenticate_additional_data(associated_data)
    plaintext = decryptor.update(memoryview(data)[:-TAG_BYTES])
    try:
        return plaintext + decryptor.finalize()
    except InvalidTag as refused:
        raise EnvelopeError("The sealed data does not open.") from refused
