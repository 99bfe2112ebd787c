"""SM3 digests, and the keyed and stretching functions built on them.

SM3 is GB/T 32905-2016. HMAC follows RFC 2104 with SM3 (GM/T 0042-2015 prints vectors), HKDF is
RFC 5869, PBKDF2 is RFC 8018 as GM/T 0091-2020 restricts it. All of them run in the `cryptography`
package, whose OpenSSL is bundled, so the result does not depend on how the host was built.

Not here: comparing digests. Compare secrets and tags with `hmac.compare_digest`.
"""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

DIGEST_BYTES = 32
"""Length of an SM3 digest [bytes]."""

PBKDF2_ITERATIONS = 600_000
"""Iterations to use for passwords; GM/T 0091-2020 asks for at least 1024, which costs only 1 ms."""

_SM3 = hashes.SM3()
# A digest of nothing yet, for copies: to begin one from the algorithm takes a third longer, for the
# package makes sure every time that it is one.
_EMPTY = hashes.Hash(_SM3)


def sm3_digest(data: bytes | memoryview) -> bytes:
    """Return the SM3 digest of some bytes (GB/T 32905-2016) [32 bytes].

    Args:
        data: Any bytes-like object, read once and never copied or changed.
    """
    digest = _EMPTY.copy()
    digest.update(data)
    return digest.finalize()


def sm3_hex(data: bytes | memoryview) -> str:
    """Return the SM3 digest as 64 lower-case hexadecimal digits.

    Args:
        data: Any bytes-like object.
    """
    return sm3_digest(data).hex()


class Sm3:
    """An SM3 digest of data that come part by part."""

    def __init__(self) -> None:
        """Begin with no data."""
        self._hash = _EMPTY.copy()

    def update(self, part: bytes | bytearray | memoryview) -> None:
        """Take the next part."""
        self._hash.update(part)

    def hexdigest(self) -> str:
        """The digest of all parts as 64 lower-case hexadecimal digits; ends it."""
        return self._hash.finalize().hex()


def hmac_sm3(key: bytes | bytearray, data: bytes) -> bytes:
    """Return HMAC-SM3 (RFC 2104 over GB/T 32905-2016; GM/T 0042-2015) [32 bytes].

    Args:
        key: The secret, any length.
    """
    mac = HMAC(key, _SM3)
    mac.update(data)
    return mac.finalize()


def hkdf_sm3(key: bytes, *, info: bytes, length: int, salt: bytes = b"") -> bytes:
    """Derive a sub-key from a strong key by HKDF with SM3 (RFC 5869).

    Args:
        key: Input keying material of full entropy; for a password use `pbkdf2_hmac_sm3`.
        info: Names the purpose. Two purposes must never share it.
        length: Output length [bytes], at most 255 * 32.
        salt: Optional public salt; empty means 32 zero bytes, as the RFC says.

    Raises:
        ValueError: The length is outside the RFC's limit.
    """
    if not 1 <= length <= 255 * DIGEST_BYTES:
        raise ValueError("HKDF-SM3 gives between 1 and 8160 bytes")
    return HKDF(algorithm=_SM3, length=length, salt=salt, info=info).derive(key)


def pbkdf2_hmac_sm3(password: bytes, *, salt: bytes, iterations: int, length: int) -> bytes:
    """Stretch a password by PBKDF2-HMAC-SM3 (RFC 8018 §5.2, GM/T 0091-2020).

    Args:
        password: The password's bytes.
        salt: A fresh random salt; 16 bytes for new passwords.
        iterations: The cost; `PBKDF2_ITERATIONS` for new passwords (about 0.6 s).
        length: Output length [bytes].

    Raises:
        ValueError: Iterations or length are below one.
    """
    if iterations < 1 or length < 1:
        raise ValueError("PBKDF2 needs at least one iteration and one byte of output")
    stretch = PBKDF2HMAC(algorithm=_SM3, length=length, salt=salt, iterations=iterations)
    return stretch.derive(password)
