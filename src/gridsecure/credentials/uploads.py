"""An upload's signature: by the holder's key, over what is done, with which token, for which body.

    text = method ‖ path ‖ SM3(token) ‖ counter ‖ SM3(body), each after its length

Objects are named by their digests anyway. So a request that sends some (its path says so) is signed
over those instead of over its body, and megabytes are hashed once on either side:

    text = method ‖ path ‖ SM3(token) ‖ counter ‖ SM3(digest of each object, one after the other)

A stolen token is useless without the key it names. The platform checks an upload without the token
service, and remembers keys and counters (`compute.admission`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gridsecure.credentials.suites import frame_parts
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.crypto.sm3 import sm3_digest, sm3_hex
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import InvalidMessageError, SignatureError
from gridsecure.frames import split_frames

HOLDER_HEADER: Final = "GridSecure-Holder"
"""HTTP header: the holder's public key, 130 hexadecimal digits."""
COUNTER_HEADER: Final = "GridSecure-Counter"
"""HTTP header: the counter, decimal."""
SIGNATURE_HEADER: Final = "GridSecure-Signature"
"""HTTP header: the signature, 128 hexadecimal digits."""

_PURPOSE: Final = b"gridsecure-upload-2"
_OBJECTS: Final = "/objects"


@dataclass(frozen=True, slots=True)
class Upload:
    """What is done.

    Args:
        path: The path, without host.
        counter: Greater than all before it.
        body_digest: From `digest_body` [32 bytes].
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


def brings_objects(path: str) -> bool:
    """Say whether a request's body is objects in frames."""
    return path.endswith(_OBJECTS)


def name_objects(body: bytes) -> dict[str, bytes]:
    """A body's objects by digest; none where it is not framed, which nobody takes in."""
    try:
        return {sm3_hex(data): data for data in split_frames(body)}
    except InvalidMessageError:
        return {}


def digest_objects(digests: Iterable[str]) -> bytes:
    """What stands for the body of a request that brings objects [32 bytes]."""
    return sm3_digest(bytes.fromhex("".join(digests)))


def digest_body(path: str, body: bytes) -> bytes:
    """What stands for a request's body [32 bytes]."""
    return digest_objects(name_objects(body)) if brings_objects(path) else sm3_digest(body)


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
