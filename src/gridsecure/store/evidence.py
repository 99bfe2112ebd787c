"""The evidence log: append-only rows, each carrying the SM3 digest of itself and its predecessor.

    hash_n = SM3(canonical JSON of [version, index, at, actor, action, detail, hash_(n-1)])

The first row's predecessor is 64 zeros. A JSON array of strings and one number has exactly one
reading, so no two rows share a preimage; `detail` enters as the very text that is stored.

Invariants:
- Indexes count 0, 1, 2 without gaps; two writers never get the same one.
- Triggers refuse UPDATE and DELETE, on PostgreSQL also TRUNCATE. They guard against mistakes; the
  chain guards against whoever edits the file or owns the server.

What the chain alone cannot show: that its newest rows were cut off, or that all of it was written
anew. Give `verify_chain` a head that a witness kept. Never put a reading, plaintext, key or token
into a row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import DDL, Connection, Table, event
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import registry
from sqlmodel import Field, Session, SQLModel, col, delete, select

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuditBrokenError, StorageError
from gridsecure.store.database import lock_writes

_REFUSED: Final = "the evidence log is append-only"
_GUARDS: Final = (
    *(
        (
            "sqlite",
            f"CREATE TRIGGER IF NOT EXISTS evidence_no_{verb.lower()} BEFORE {verb} ON evidence "
            f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END",
        )
        for verb in ("UPDATE", "DELETE")
    ),
    (
        "postgresql",
        "CREATE OR REPLACE FUNCTION evidence_append_only() RETURNS trigger LANGUAGE plpgsql "
        f"AS $$ BEGIN RAISE EXCEPTION '{_REFUSED}'; END $$",
    ),
    (
        "postgresql",
        "CREATE OR REPLACE TRIGGER evidence_append_only "
        "BEFORE UPDATE OR DELETE OR TRUNCATE ON evidence "
        "FOR EACH STATEMENT EXECUTE FUNCTION evidence_append_only()",
    ),
)


def append_only(table: Table) -> None:
    """Guard the evidence table as it is created, against mistakes.

    Args:
        table: The table named `evidence`.
    """
    for dialect, statement in _GUARDS:
        guard = DDL(statement)  # type: ignore[no-untyped-call] # the library left it without types
        event.listen(table, "after_create", guard.execute_if(dialect=dialect))


def guard_log(connection: Connection) -> None:
    """Guard an evidence table that is there already; one that is guarded stays as it is."""
    for dialect, statement in _GUARDS:
        if connection.dialect.name == dialect:
            connection.exec_driver_sql(statement)


JSON = str | int | float | bool | None | Sequence["JSON"] | Mapping[str, "JSON"]
"""What a detail may hold."""

GENESIS: Final = "0" * 64
"""The hash before the first row."""

_VERSION: Final = "gridsecure-evidence-1"


class _Log(SQLModel, registry=registry()):
    """Tables of the log, which every zone's database has beside the zone's own."""


class EvidenceRow(_Log, table=True):
    """One row as stored. Times are text, so that what is hashed is what is stored."""

    __tablename__ = "evidence"

    index: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    at: str
    actor: str
    action: str = Field(index=True)
    detail: str
    previous: str = Field(unique=True)
    hash: str = Field(unique=True)


@dataclass(frozen=True, slots=True)
class EvidenceEntry:
    """One row as read.

    Args:
        index: Its place, from 0.
        at: When, in UTC.
        action: What was done, dotted, e.g. `release.refused`.
        detail: Canonical JSON of what it was about: digests, ids, counts.
        previous: The hash before it.
        hash: Its own hash; publish the newest one to a witness.
    """

    index: int
    at: datetime
    actor: str
    action: str
    detail: str
    previous: str
    hash: str


def append(
    session: Session, *, at: datetime, actor: str, action: str, detail: Mapping[str, JSON]
) -> EvidenceEntry:
    """Add a row to the session's transaction; it is kept when that commits.

    Args:
        session: Best from `write_session`. In any other session, append before reading anything.
        at: When it happened, aware.
        detail: What it was about; no readings, plaintexts, keys or tokens.

    Raises:
        StorageError: `storage.busy`: another writer came first. Roll back and try again.
        ValueError: A naive datetime, or a detail with NaN or infinity.
        TypeError: A detail that JSON cannot hold.
    """
    if at.tzinfo is None:
        raise ValueError("evidence needs a time with a zone")
    text = _canonical(dict(detail))
    try:
        # Before the head is read: two writers with one head would fork the chain.
        _lock(session)
        last = find_head(session)
        row = EvidenceRow(
            index=0 if last is None else last.index + 1,
            at=_when(at),
            actor=actor,
            action=action,
            detail=text,
            previous=GENESIS if last is None else last.hash,
            hash="",
        )
        row.hash = _row_hash(row)
        session.add(row)
        session.flush()
    except (IntegrityError, OperationalError) as refused:
        raise StorageError(
            "The evidence log could not store an entry.",
            reason="storage.busy",
            remedy="Roll the transaction back, check the free disk space, and try again.",
        ) from refused
    return _entry(row)


def find_head(session: Session) -> EvidenceEntry | None:
    """Return the newest entry, or None while the log is empty."""
    row = session.exec(select(EvidenceRow).order_by(col(EvidenceRow.index).desc()).limit(1)).first()
    return None if row is None else _entry(row)


def verify_chain(session: Session, *, witnessed: EvidenceEntry | None = None) -> int:
    """Recompute the whole chain and return its length.

    Args:
        witnessed: An entry kept elsewhere, which must still be in the log unchanged. It reveals
            a log whose end was cut off or that was written anew.

    Raises:
        AuditBrokenError: Naming the first index that does not hold.
    """
    expected, previous = 0, GENESIS
    # Read what is stored, in portions, even where the session remembers rows from before.
    reading = {"yield_per": 1000, "populate_existing": True}
    rows = select(EvidenceRow).order_by(col(EvidenceRow.index))
    with session.exec(rows, execution_options=reading) as stored:  # a server's cursor is closed
        for row in stored:
            if row.index != expected or row.previous != previous or row.hash != _row_hash(row):
                raise _broken(expected)
            if witnessed and row.index == witnessed.index and row.hash != witnessed.hash:
                raise _broken(expected)
            expected, previous = expected + 1, row.hash
    if witnessed is not None and witnessed.index >= expected:
        raise _broken(expected)
    return expected


def verify_entries(
    entries: Sequence[EvidenceEntry], *, witnessed: EvidenceEntry | None = None
) -> int:
    """Recompute the chain of entries that somebody else read; return how many there are.

    Args:
        entries: As fetched: the whole log, or what follows the witnessed entry.
        witnessed: An entry kept from an earlier time. It must be among them unchanged, or right
            before them.

    Raises:
        AuditBrokenError: Naming the first index that does not hold.
    """
    expected, previous = 0, GENESIS
    if witnessed is not None and (not entries or entries[0].index == witnessed.index + 1):
        expected, previous = witnessed.index + 1, witnessed.hash
    for entry in entries:
        follows = entry.index == expected and entry.previous == previous
        is_other = (
            witnessed is not None
            and entry.index == witnessed.index
            and entry.hash != witnessed.hash
        )
        if not follows or is_other or entry.hash != _entry_hash(entry):
            raise _broken(expected)
        expected, previous = expected + 1, entry.hash
    if witnessed is not None and witnessed.index >= expected:
        raise _broken(expected)
    return len(entries)


def list_entries_after(session: Session, index: int, *, limit: int = 1000) -> list[EvidenceEntry]:
    """The entries behind an index, in order.

    Args:
        index: -1 for all from the first one.
        limit: At most so many.
    """
    rows = select(EvidenceRow).where(col(EvidenceRow.index) > index)
    return [_entry(row) for row in session.exec(rows.order_by(col(EvidenceRow.index)).limit(limit))]


def list_entries_of(session: Session, *actions: str) -> list[EvidenceEntry]:
    """Every entry of these actions, in order."""
    rows = select(EvidenceRow).where(col(EvidenceRow.action).in_(actions))
    return [_entry(row) for row in session.exec(rows.order_by(col(EvidenceRow.index)))]


def find_entry(session: Session, name: str) -> EvidenceEntry | None:
    """The entry with a hash, or None.

    Args:
        name: The hash.
    """
    row = session.exec(select(EvidenceRow).where(EvidenceRow.hash == name)).first()
    return None if row is None else _entry(row)


def _lock(session: Session) -> None:
    """Take the write lock before the head is read: nobody else appends until this one ends."""
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        lock_writes(connection)
    else:  # deletes nothing, but makes SQLite take its lock
        session.exec(delete(EvidenceRow).where(col(EvidenceRow.index) < 0))


def _broken(index: int) -> AuditBrokenError:
    return AuditBrokenError(
        f"The evidence log is broken at entry {index}.",
        reason="audit.chain",
        remedy="Stop releases, keep the file as it is, and compare with the witness copy.",
    )


def _canonical(value: object) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _row_hash(row: EvidenceRow) -> str:
    content = [_VERSION, row.index, row.at, row.actor, row.action, row.detail, row.previous]
    return sm3_hex(_canonical(content).encode())


def _entry_hash(entry: EvidenceEntry) -> str:
    return _row_hash(
        EvidenceRow(
            index=entry.index,
            at=_when(entry.at),
            actor=entry.actor,
            action=entry.action,
            detail=entry.detail,
            previous=entry.previous,
            hash="",
        )
    )


def _when(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _entry(row: EvidenceRow) -> EvidenceEntry:
    return EvidenceEntry(
        index=row.index,
        at=datetime.fromisoformat(row.at),
        actor=row.actor,
        action=row.action,
        detail=row.detail,
        previous=row.previous,
        hash=row.hash,
    )


append_only(EvidenceRow.__table__)  # type: ignore[attr-defined] # SQLModel makes it
