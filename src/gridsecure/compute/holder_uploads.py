"""Whose upload it is: what the platform remembers of the pseudonyms that upload.

Each counter is taken once per pseudonym, so a replay is refused. Requests that are sent at once
overtake each other: the last `WINDOW` counters are remembered one by one, and what is below them is
closed. The platform pins the first key of
a pseudonym, so that not even the token service can put another in its place.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Engine

from gridsecure.compute.tables import HolderPinRow, UploadCounterRow
from gridsecure.credentials.uploads import Upload, check_upload
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import AccessDeniedError, ConflictError, StaleMessageError
from gridsecure.store.database import write_session
from gridsecure.store.rows import find, keep_once

MAX_COUNTER: Final = 10**18
WINDOW: Final = 128
"""Counters that are remembered: so many requests may overtake one."""


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
    3. The counter is new and not closed; it is taken, whatever becomes of the upload.

    Args:
        upload: What is done, the body's digest recomputed.
        claims: From `verify_token`.
        now: The present, aware.

    Raises:
        SignatureError: Step 1 (`authenticity.upload`).
        AccessDeniedError: Step 2 (`authenticity.holder-pin`).
        StaleMessageError: Step 3 (`authenticity.counter`).
    """
    check_upload(upload, signature=signature, claims=claims, holder=holder)
    pin_holder(engine, subject=claims.subject, thumbprint=holder.thumbprint, now=now)
    take_counter(engine, subject=claims.subject, counter=upload.counter)


def pin_holder(engine: Engine, *, subject: str, thumbprint: str, now: datetime) -> None:
    """Let a pseudonym act under the first key it came with, and no other, at this platform.

    Raises:
        AccessDeniedError: It came with another key before (`authenticity.holder-pin`).
    """
    try:
        keep_once(engine, HolderPinRow(subject=subject, thumbprint=thumbprint, at=now))
    except ConflictError as changed:
        raise AccessDeniedError(
            "A pseudonym came with another key than before.",
            reason="authenticity.holder-pin",
            remedy="Compare the token service's log; a key is never replaced silently.",
        ) from changed


def take_counter(engine: Engine, *, subject: str, counter: int) -> None:
    """Take an upload's counter, which nobody took before.

    Raises:
        StaleMessageError: It was taken, `WINDOW` greater ones were, or it is out of range
            (`authenticity.counter`).
    """
    if not 1 <= counter <= MAX_COUNTER:
        raise _counter_reused()
    with write_session(engine) as session:  # whose lock nobody else writes under
        kept = find(session, UploadCounterRow, subject=subject)
        if kept is None:
            session.add(UploadCounterRow(subject=subject, closed_to=0, recent=str(counter)))
            return
        recent = sorted(int(one) for one in kept.recent.split())
        if counter <= kept.closed_to or counter in recent:
            raise _counter_reused()
        recent = sorted([*recent, counter])
        beyond, recent = recent[:-WINDOW], recent[-WINDOW:]
        kept.closed_to = max([kept.closed_to, *beyond])
        kept.recent = " ".join(map(str, recent))
        session.add(kept)


def _counter_reused() -> StaleMessageError:
    return StaleMessageError(
        "An upload's counter was used before.",
        reason="authenticity.counter",
        remedy="Continue counting from the last upload that was accepted.",
    )
