"""Records: the signed messages and job states a zone keeps, by kind and name.

A record's content never changes: recording the same name again is idempotent for the same digest
and a conflict for another. Only its state moves, by compare-and-set, so that two processes cannot
both take one job and a killed process leaves either the old state or the new one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Engine, UniqueConstraint
from sqlalchemy.exc import IntegrityError
from sqlmodel import Field, Session, SQLModel, col, select, update

from gridsecure.errors import ConflictError, InvalidMessageError, NotFoundError, StorageError
from gridsecure.store.database import create_missing, write_session
from gridsecure.store.evidence import EvidenceRow

MAX_INDEXED_BYTES: Final = 2400
"""Longest name, scope or state: an index of PostgreSQL takes 2.7 kB a row, kind included."""


class RecordRow(SQLModel, table=True):
    """One record as stored."""

    __tablename__ = "record"
    __table_args__ = (UniqueConstraint("kind", "name"), UniqueConstraint("kind", "scope"))

    id: int | None = Field(default=None, primary_key=True)
    kind: str
    name: str
    scope: str
    digest: str
    state: str = Field(index=True)
    text: str
    at: str


@dataclass(frozen=True, slots=True)
class Record:
    """One record as read.

    Args:
        kind: What it is: "roster", "upload", "transcript", …
        name: Its name among its kind.
        scope: What it is about; at most one record of a kind has a given scope.
        digest: SM3 of what its name promises.
        state: Where it stands.
        text: The content, a message's JSON.
    """

    kind: str
    name: str
    scope: str
    digest: str
    state: str
    text: str


def create_tables(engine: Engine) -> None:
    """Create a zone's tables where they are missing.

    Raises:
        StorageError: The database refuses.
    """
    records = SQLModel.metadata.tables["record"]
    create_missing(engine, [records, EvidenceRow.metadata.tables["evidence"]])


def record(session: Session, entry: Record, *, at: datetime) -> bool:
    """Keep a record; say whether it is new.

    Raises:
        ConflictError: The name or the scope is taken by other content (`conflict.<kind>`).
        InvalidMessageError: It holds what not every database can keep (`storage.text`).
    """
    check_texts(entry)
    found = session.exec(
        select(RecordRow).where(
            RecordRow.kind == entry.kind,
            (col(RecordRow.name) == entry.name) | (col(RecordRow.scope) == entry.scope),
        )
    ).first()
    if found is not None:
        if (found.name, found.digest) == (entry.name, entry.digest):
            return False
        raise ConflictError(
            f"Another {entry.kind} was recorded here before.",
            reason=f"conflict.{entry.kind}",
            remedy="Keep the earlier one, or correct it through a new version.",
        )
    session.add(
        RecordRow(
            kind=entry.kind,
            name=entry.name,
            scope=entry.scope,
            digest=entry.digest,
            state=entry.state,
            text=entry.text,
            at=moment_text(at),
        )
    )
    session.flush()
    return True


def moment_text(at: datetime) -> str:
    """A moment as it is stored: of one length, so that texts sort as times in any collation.

    Args:
        at: An aware datetime.
    """
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def fetch(session: Session, *, kind: str, name: str) -> Record:
    """A record by kind and name.

    Raises:
        NotFoundError: There is none.
    """
    row = session.exec(
        select(RecordRow).where(RecordRow.kind == kind, RecordRow.name == name)
    ).first()
    if row is None:
        raise NotFoundError(f"There is no {kind} of that name here.", reason=f"not-found.{kind}")
    return _read(row)


def listed(session: Session, *, kind: str, state: str | None = None) -> list[Record]:
    """All records of a kind, in the order they were recorded, perhaps in one state only."""
    query = select(RecordRow).where(RecordRow.kind == kind).order_by(col(RecordRow.id))
    if state is not None:
        query = query.where(RecordRow.state == state)
    return [_read(row) for row in session.exec(query)]


def advance(session: Session, *, kind: str, name: str, source: str, target: str) -> bool:
    """Move a record from one state to another; False when it was not in the source state."""
    moved = session.exec(
        update(RecordRow)
        .where(
            col(RecordRow.kind) == kind,
            col(RecordRow.name) == name,
            col(RecordRow.state) == source,
        )
        .values(state=target)
    )
    return bool(moved.rowcount)


def insert_once(engine: Engine, entry: Record, *, now: datetime) -> bool:
    """Insert a record in a transaction of its own; where another process came first, look again.

    A loser on a database that lets both look first (PostgreSQL) is told by the unique index.

    Returns:
        Whether it is new.

    Raises:
        ConflictError: Its name or scope is taken by other content (`conflict.<kind>`).
    """
    try:
        with write_session(engine) as session:
            return record(session, entry, at=now)
    except StorageError as failed:
        if not isinstance(failed.__cause__, IntegrityError):
            raise
    with write_session(engine) as session:
        return record(session, entry, at=now)


def check_texts(entry: Record) -> None:
    """Refuse on every database what one of them cannot keep.

    Raises:
        InvalidMessageError: A name, scope or state is too long, or a text holds a zero byte
            (`storage.text`).
    """
    indexed = (entry.name, entry.scope, entry.state)
    too_long = any(len(text.encode()) > MAX_INDEXED_BYTES for text in indexed)
    if too_long or any("\0" in text for text in (*indexed, entry.text)):
        raise InvalidMessageError(
            f"A {entry.kind} holds a text that is too long or that no database keeps.",
            reason="storage.text",
            remedy="Shorten its name and leave control characters out.",
        )


def _read(row: RecordRow) -> Record:
    return Record(row.kind, row.name, row.scope, row.digest, row.state, row.text)
