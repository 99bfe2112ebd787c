"""AES-256 in counter mode (NIST SP 800-38A): long streams that a short seed stands for.

For the masks of group totals alone (ADR 36): those are a word for every reading, and SM4 has no
instructions in our processors. What is stored, sent or signed goes by SM2, SM3 and SM4.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

KEY_BYTES = 32
"""Length of a key [bytes]."""
BLOCK_BYTES = 16
"""Length of a block, and so of the starting counter [bytes]."""


def keystream(key: bytes, *, nonce: bytes, length: int) -> bytes:
    """Return keystream: the same key and nonce always give the same bytes.

    A keystream used twice cancels out between its uses: use a key for one purpose, and no counter
    of it twice.

    Args:
        key: 32 bytes, derived from the seed and the purpose.
        nonce: The 16-byte starting counter block (all zero bytes do, since the key is used once).
        length: How many bytes; a shorter stream is a prefix of a longer one.

    Raises:
        ValueError: The key or nonce has the wrong length, or length is negative.
    """
    if len(key) != KEY_BYTES or len(nonce) != BLOCK_BYTES:
        raise ValueError("a keystream takes a key of 32 bytes and a counter of 16")
    if length < 0:
        raise ValueError("a keystream's length is not negative")
    # Counter mode XORs its stream onto the input, so zero bytes bring out the stream itself.
    return Cipher(AES256(key), CTR(nonce)).encryptor().update(bytes(length))
