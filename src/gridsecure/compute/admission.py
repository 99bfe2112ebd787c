"""Whose upload it is: what the platform remembers of the pseudonyms that upload.

The counter rises strictly per pseudonym, so a replay is refused. The platform pins the first key of
a pseudonym, so that not even the token service can put another in its place.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Engine

from gridsecure.credentials.uploads import Upload, check_upload
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import AccessDeniedError, ConflictError, StaleMessageError, StorageError
from gridsecure.store.database import write_session
from gridsecure.store.records import Record, advance, fetch, insert_once

MAX_COUNTER: Final = 10**18
_ATTEMPTS: Final = 8
_COUNTER_DIGITS: Final = 19


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

    1. It is signed by the key its token names.
    2. The pseudonym never came with another key.
    3. The counter is new; it is taken, whatever becomes of the upload.

    Args:
        upload: What is done, the body's digest recomputed.
        signature: What came with it.
        claims: From `verify_token`.
        holder: The key that came with it.
        engine: The platform's database.
        now: The present, aware.

    Raises:
        SignatureError: Step 1 (`authenticity.upload`).
        AccessDeniedError: Step 2 (`authenticity.holder-pin`).
        StaleMessageError: Step 3 (`authenticity.counter`).
    """
    check_upload(upload, signature=signature, claims=claims, holder=holder)
    pin_holder(engine, subject=claims.subject, thumbprint=holder.thumbprint, now=now)
    raise_counter(engine, subject=claims.subject, counter=upload.counter, now=now)


def pin_holder(engine: Engine, *, subject: str, thumbprint: str, now: datetime) -> None:
    """Let a pseudonym act under the first key it came with, and no other, at this platform.

    Raises:
        AccessDeniedError: It came with another key before (`authenticity.holder-pin`).
    """
    try:
        insert_once(engine, holder_pin(subject, thumbprint=thumbprint), now=now)
    except ConflictError as changed:
        raise AccessDeniedError(
            "A pseudonym came with another key than before.",
            reason="authenticity.holder-pin",
            remedy="Compare the token service's log; a key is never replaced silently.",
        ) from changed


def holder_pin(subject: str, *, thumbprint: str) -> Record:
    """The record that a pseudonym acts under a key.

    Args:
        subject: The pseudonym.
        thumbprint: The key's.
    """
    return Record("holder-pin", subject, subject, thumbprint, "", "")


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
