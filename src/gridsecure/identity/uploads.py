"""An upload's signature: by the holder's key, over what is done, with which token, for which body.

    text = method ‖ path ‖ SM3(token) ‖ counter ‖ SM3(body), each after its length

The platform checks it without the token service. The counter rises strictly per pseudonym, so a
replay is refused; a stolen token is useless without the key it names; the platform pins the first
key of a pseudonym, so that not even the token service can put another in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Engine

from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.crypto.sm3 import sm3_digest
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import (
    AccessDeniedError,
    ConflictError,
    SignatureError,
    StaleMessageError,
    StorageError,
)
from gridsecure.identity.registry import insert_once
from gridsecure.identity.suites import framed
from gridsecure.store.database import write_session
from gridsecure.store.records import Record, advance, fetch

_PURPOSE: Final = b"gridsecure-upload-1"
MAX_COUNTER: Final = 10**18
_ATTEMPTS: Final = 8
_COUNTER_DIGITS: Final = 19


@dataclass(frozen=True, slots=True)
class Upload:
    """What is done.

    Args:
        method: The HTTP method.
        path: The path, without host.
        token: The access token sent along.
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
        return framed(_PURPOSE, self.method, self.path, token, counter, self.body_digest)


def sign_upload(upload: Upload, *, key: Sm2PrivateKey) -> bytes:
    """The signature to send, 64 bytes.

    Args:
        upload: What is done.
        key: The holder's key.
    """
    return key.sign(upload.text())


def admit_upload(
    upload: Upload,
    *,
    signature: bytes,
    claims: TokenClaims,
    holder: Sm2PublicKey,
    engine: Engine,
    now: datetime,
) -> None:
    """Check an upload whose token was verified for this platform.

    1. The token names the holder key that was sent.
    2. The signature is that key's, over this method, path, token, counter and body.
    3. The pseudonym never came with another key.
    4. The counter is new; it is taken, whatever becomes of the upload.

    Args:
        upload: What is done, the body's digest recomputed.
        signature: What came with it.
        claims: From `verify_token`.
        holder: The key that came with it.
        engine: The platform's database.
        now: The present, aware.

    Raises:
        SignatureError: Steps 1 and 2 (`authenticity.upload`).
        AccessDeniedError: Step 3 (`authenticity.holder-pin`).
        StaleMessageError: Step 4 (`authenticity.counter`).
    """
    # 1. whose token
    if claims.holder_thumbprint != holder.thumbprint:
        raise SignatureError("An upload does not verify.", reason="authenticity.upload")
    # 2. signature
    try:
        holder.verify(upload.text(), signature)
    except (SignatureError, ValueError) as refused:
        raise SignatureError(
            "An upload does not verify.", reason="authenticity.upload"
        ) from refused
    # 3. pin
    pin_holder(engine, subject=claims.subject, thumbprint=holder.thumbprint, now=now)
    # 4. counter
    raise_counter(engine, subject=claims.subject, counter=upload.counter, now=now)


def pin_holder(engine: Engine, *, subject: str, thumbprint: str, now: datetime) -> None:
    """Let a pseudonym act under the first key it came with, and no other, at this platform.

    Raises:
        AccessDeniedError: It came with another key before (`authenticity.holder-pin`).
    """
    try:
        insert_once(engine, Record("holder-pin", subject, subject, thumbprint, "", ""), now=now)
    except ConflictError as changed:
        raise AccessDeniedError(
            "A pseudonym came with another key than before.",
            reason="authenticity.holder-pin",
            remedy="Compare the token service's log; a key is never replaced silently.",
        ) from changed


def raise_counter(engine: Engine, *, subject: str, counter: int, now: datetime) -> None:
    """Take an upload's counter, which must be greater than all before it.

    Raises:
        StaleMessageError: It is not, or out of range (`authenticity.counter`).
        StorageError: Too many others wrote at once (`storage.busy`).
    """
    if not 1 <= counter <= MAX_COUNTER:
        raise _counter_reused()
    target = f"{counter:0{_COUNTER_DIGITS}d}"
    entry = Record("upload-counter", subject, subject, subject, target, "")
    for _ in range(_ATTEMPTS):
        if insert_once(engine, entry, now=now):
            return
        with write_session(engine) as session:
            highest = fetch(session, kind="upload-counter", name=subject).state
            if target <= highest:
                raise _counter_reused()
            if advance(session, kind="upload-counter", name=subject, source=highest, target=target):
                return
    raise StorageError("Too many uploads of one pseudonym at once.", reason="storage.busy")


def _counter_reused() -> StaleMessageError:
    return StaleMessageError(
        "An upload's counter was used before.",
        reason="authenticity.counter",
        remedy="Count on from the last upload that was accepted.",
    )
