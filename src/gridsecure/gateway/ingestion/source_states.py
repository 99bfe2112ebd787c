"""The life of a source after it was registered: its key is replaced, it is suspended or removed.

Each change holds from the next request on, because every request is looked up. What was taken in
or answered with 202 before stays, under the source's name, and so do its receipts: removing a
source deletes none of them, and its name and key are never another's.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlmodel import Session

from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.errors import NotFoundError
from gridsecure.gateway.ingestion.sources import (
    Source,
    check_key,
    note_change,
    read_source,
    removed_source,
)
from gridsecure.gateway.tables import SourceRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.store.database import write_session
from gridsecure.store.rows import find


def replace_key(
    zone: GatewayZone, name: str, *, key: Sm2PublicKey, person: str, at: datetime
) -> Source:
    """Give a source another key: whoever has the earlier one is a stranger from now on.

    Raises:
        NotFoundError: There is no source of that name (`not-found.source`).
        ConflictError: It was removed (`conflict.source-removed`), or the key is another source's
            (`conflict.source-key`).
    """
    with write_session(zone.engine) as session:
        row = _find(session, name)
        check_key(session, name, key.thumbprint)
        if row.thumbprint != key.thumbprint:
            row.thumbprint = key.thumbprint
            note_change(
                zone, session, read_source(row), change="key-replaced", person=person, at=at
            )
        return read_source(row)


def set_state(
    zone: GatewayZone,
    name: str,
    *,
    state: Literal["active", "suspended"],
    person: str,
    at: datetime,
) -> Source:
    """Suspend a source, or resume it; the same again changes nothing.

    Raises:
        NotFoundError: There is no source of that name (`not-found.source`).
        ConflictError: It was removed (`conflict.source-removed`).
    """
    with write_session(zone.engine) as session:
        row = _find(session, name)
        if row.state != state:
            row.state = state
            change = "suspended" if state == "suspended" else "resumed"
            note_change(zone, session, read_source(row), change=change, person=person, at=at)
        return read_source(row)


def remove_source(zone: GatewayZone, name: str, *, person: str, at: datetime) -> Source:
    """Have a source send nothing ever again, and be told nothing; again changes nothing.

    Raises:
        NotFoundError: There is no source of that name (`not-found.source`).
    """
    with write_session(zone.engine) as session:
        row = find(session, SourceRow, name=name)
        if row is None:
            raise _unknown()
        if row.state != "removed":
            row.state, row.webhook = "removed", ""
            note_change(zone, session, read_source(row), change="removed", person=person, at=at)
        return read_source(row)


def _find(session: Session, name: str) -> SourceRow:
    row = find(session, SourceRow, name=name)
    if row is None:
        raise _unknown()
    if row.state == "removed":
        raise removed_source()
    return row


def _unknown() -> NotFoundError:
    return NotFoundError("There is no source of that name here.", reason="not-found.source")
