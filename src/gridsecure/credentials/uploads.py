"""An upload's signature: by the holder's key, over what is done, with which token, for which body.

    text = method ‖ path ‖ SM3(token) ‖ counter ‖ SM3(body), each after its length

A stolen token is useless without the key it names. The platform checks an upload without the token
service, and remembers keys and counters (`compute.admission`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gridsecure.credentials.suites import frame_parts
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.crypto.sm3 import sm3_digest
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import SignatureError

HOLDER_HEADER: Final = "GridSecure-Holder"
"""HTTP header: the holder's public key, 130 hexadecimal digits."""
COUNTER_HEADER: Final = "GridSecure-Counter"
"""HTTP header: the counter, decimal."""
SIGNATURE_HEADER: Final = "GridSecure-Signature"
"""HTTP header: the signature, 128 hexadecimal digits."""

_PURPOSE: Final = b"gridsecure-upload-1"


@dataclass(frozen=True, slots=True)
class Upload:
    """What is done.

    Args:
        path: The path, without host.
        counter: Greater than all before it.
        body_digest: SM3 of the body [32 bytes].
    """

    method: str
    path: str
    token: str
    counter: int
    body_digest: bytes

    def __repr__(self) -> str:
        return f"Upload({self.method} {self.path}, counter={self.counter})"

    def text(self) -> bytes:
        """What is signed.

        Raises:
            ValueError: A negative counter, or one of more than eight bytes.
        """
        if not 0 <= self.counter < 2**64:
            raise ValueError("a counter fits eight bytes")
        token, counter = sm3_digest(self.token.encode()), self.counter.to_bytes(8, "big")
        return frame_parts(_PURPOSE, self.method, self.path, token, counter, self.body_digest)


def sign_upload(upload: Upload, *, key: Sm2PrivateKey) -> bytes:
    """The signature to send, 64 bytes."""
    return key.sign(upload.text())


def check_upload(
    upload: Upload, *, signature: bytes, claims: TokenClaims, holder: Sm2PublicKey
) -> None:
    """Check that an upload is signed by the key its token names.

    Args:
        upload: What is done, the body's digest recomputed.
        claims: From `verify_token`.

    Raises:
        SignatureError: Another key than the token's, or a signature that is not that key's over
            this method, path, token, counter and body (`authenticity.upload`).
    """
    if claims.holder_thumbprint != holder.thumbprint:
        raise SignatureError("An upload does not verify.", reason="authenticity.upload")
    try:
        holder.verify(upload.text(), signature)
    except (SignatureError, ValueError) as refused:
        raise SignatureError(
            "An upload does not verify.", reason="authenticity.upload"
        ) from refused
