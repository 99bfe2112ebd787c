"""How a person or service with a registered SM2 key logs in: by one signed message, good once.

1. the signature verifies under a registered key;
2. it was signed within `MAX_AGE` of now, either way;
3. its nonce was never used by this key: it is recorded before a token is given, on the disk, so
   that a restart does not forget it. After `FORGET_AFTER` the second check refuses it in any case.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, TypeVar

from sqlalchemy import Engine
from sqlmodel import col, delete

from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.errors import ConflictError, StaleMessageError
from gridsecure.identity.enrolments.tables import UsedLoginRow
from gridsecure.identity_messages import SignedLogin
from gridsecure.messages import Signed, open_message
from gridsecure.month_texts import read_moment
from gridsecure.store.database import write_session
from gridsecure.store.rows import keep

MAX_AGE: Final = timedelta(seconds=60)
FORGET_AFTER: Final = timedelta(hours=1)
"""Far longer than `MAX_AGE` asks for, should the clock be set back."""


LoginT = TypeVar("LoginT", bound=SignedLogin)


def admit_login(
    envelope: Signed,
    *,
    expect: type[LoginT],
    trusted: Mapping[str, Sm2PublicKey],
    engine: Engine,
    now: datetime,
) -> LoginT:
    """Check a login once and for all.

    Args:
        trusted: Registered keys by thumbprint.
        now: The present, aware.

    Raises:
        AuthenticityError: Not signed by a registered key, or for another purpose; too old or from
            the future; used before.
        InvalidMessageError: Signed, but of another shape.
    """
    # 1. signature
    login = open_message(envelope, expect=expect, trusted=trusted)
    # 2. time
    if not _is_recent(login.issued_at, now=now):
        raise StaleMessageError(
            "A login's time is more than a minute off.", reason="authenticity.login-time"
        )
    # 3. nonce
    row = UsedLoginRow(
        kind=expect.kind,
        signer=envelope.signer,
        nonce=login.nonce,
        digest=envelope.digest,
        at=now,
    )
    try:
        with write_session(engine) as session:
            session.exec(delete(UsedLoginRow).where(col(UsedLoginRow.at) < now - FORGET_AFTER))
            is_new = keep(session, row)
    except ConflictError as error:
        raise _replayed() from error
    if not is_new:
        raise _replayed()
    return login


def _is_recent(text: str, *, now: datetime) -> bool:
    signed_at = read_moment(text)
    return signed_at is not None and abs(now - signed_at) <= MAX_AGE


def _replayed() -> StaleMessageError:
    return StaleMessageError("A login was used before.", reason="authenticity.login-replayed")
