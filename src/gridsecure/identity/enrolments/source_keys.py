"""Keys that meter-data systems sign in with: registered, replaced and withdrawn while it runs.

What such a system, a source, may send, and whether it may send at all, is its gateway's matter;
here it says only who has signed. A key that was replaced or withdrawn never comes back: whoever
stole it would sign in again.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.errors import ConflictError, UnknownMeterError
from gridsecure.identity.enrolments.orders import Party
from gridsecure.identity.enrolments.tables import FormerSourceKeyRow, SourceKeyRow
from gridsecure.store.database import read_session, write_session
from gridsecure.store.evidence import JSON, append
from gridsecure.store.rows import find, keep

ROLE: Final = "meter-data"
"""The role of a source's tokens."""

REGISTERED: Final = "identity.source-key-registered"
WITHDRAWN: Final = "identity.source-key-withdrawn"


@dataclass(frozen=True, slots=True)
class SourceKey:
    """A key of a source.

    Args:
        name: Whose, as its gateway has it.
        since: From when on the source signs in with it, aware.
    """

    name: str
    thumbprint: str
    since: datetime


@dataclass(frozen=True, slots=True)
class KeyOrder:
    """A key that is to be registered.

    Args:
        name: Whose, as its gateway has it; for whoever reads the list and the log.
        replaces: Thumbprint of the key that it takes the place of; empty for none.
    """

    name: str
    key: Sm2PublicKey
    replaces: str = ""


def register_key(
    engine: Engine, order: KeyOrder, *, others: Container[str], actor: str, now: datetime
) -> SourceKey:
    """Register a source's key, and withdraw the one that it replaces; again changes nothing.

    Args:
        others: Thumbprints of the keys of services and people.
        now: The present, aware.

    Raises:
        ConflictError: The key is another's, or was replaced or withdrawn, or the one that it
            replaces is another source's (`conflict.source-key`); nothing was kept.
        StorageError: The database refuses; nothing was kept.
    """
    thumbprint = order.key.thumbprint
    with write_session(engine) as session:
        row = find(session, SourceKeyRow, thumbprint=thumbprint)
        if row is None:
            _check_unused(session, thumbprint, others)
            row = SourceKeyRow(
                thumbprint=thumbprint, name=order.name, point=order.key.point.hex(), at=now
            )
            session.add(row)
            detail: dict[str, JSON] = {"source": order.name, "key": thumbprint}
            append(session, at=now, actor=actor, action=REGISTERED, detail=detail)
        elif row.name != order.name:
            raise _taken()
        if order.replaces != thumbprint:
            _check_own(session, order)
            _withdraw(session, order.replaces, actor=actor, now=now)
        return SourceKey(row.name, row.thumbprint, row.at)


def withdraw_key(engine: Engine, thumbprint: str, *, actor: str, now: datetime) -> bool:
    """Withdraw a source's key for good: it gets no token from now on.

    Returns:
        Whether a source had it; again changes nothing.

    Raises:
        StorageError: The database refuses; nothing was kept.
    """
    with write_session(engine) as session:
        return _withdraw(session, thumbprint, actor=actor, now=now)


def list_keys(engine: Engine) -> list[SourceKey]:
    """The keys that sources sign in with, by name."""
    every = select(SourceKeyRow).order_by(SourceKeyRow.name, col(SourceKeyRow.at))
    with read_session(engine) as session:
        return [SourceKey(row.name, row.thumbprint, row.at) for row in session.exec(every)]


def find_source(engine: Engine, thumbprint: str) -> Party:
    """The source that signs in with a key.

    Raises:
        UnknownMeterError: None does.
    """
    with read_session(engine) as session:
        row = find(session, SourceKeyRow, thumbprint=thumbprint)
    if row is None:
        raise UnknownMeterError("No service and no source signs in with this key.")
    return Party(f"{ROLE}:{thumbprint}", (ROLE,), Sm2PublicKey(bytes.fromhex(row.point)))


def _check_unused(session: Session, thumbprint: str, others: Container[str]) -> None:
    if thumbprint in others or find(session, FormerSourceKeyRow, thumbprint=thumbprint):
        raise _taken()


def _check_own(session: Session, order: KeyOrder) -> None:
    replaced = find(session, SourceKeyRow, thumbprint=order.replaces)
    if replaced is not None and replaced.name != order.name:
        raise ConflictError(
            "The key that is to be replaced is another source's.",
            reason="conflict.source-key",
            remedy="Give the thumbprint of this source's own key.",
        )


def _taken() -> ConflictError:
    return ConflictError(
        "This key is another's, or was replaced or withdrawn.",
        reason="conflict.source-key",
        remedy="Make a new key for the source: gridsecure source key NEW.key.",
    )


def _withdraw(session: Session, thumbprint: str, *, actor: str, now: datetime) -> bool:
    row = find(session, SourceKeyRow, thumbprint=thumbprint)
    if row is None:
        return False
    keep(session, FormerSourceKeyRow(thumbprint=thumbprint, name=row.name, at=now))
    session.delete(row)
    detail = {"source": row.name, "key": thumbprint}
    append(session, at=now, actor=actor, action=WITHDRAWN, detail=detail)
    return True
