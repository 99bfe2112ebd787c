"""What a migration reads of a database from before tables were typed: one table of records.

    record(id, kind, name, scope, digest, state, text, at)

`scope` was what a record is about, unique for its kind; what `state` and `text` meant, the kind
said.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, inspect, text

from gridsecure.errors import StorageError
from gridsecure.store.evidence import EvidenceRow, guard_log


@dataclass(frozen=True, slots=True)
class OldRecord:
    """One record."""

    name: str
    scope: str
    digest: str
    state: str
    text: str
    at: datetime


class OldRecords:
    """The records of a database, which a migration takes kind by kind.

    Args:
        connection: To the database, in the migration's transaction.
        kinds: Those there are; empty for a database without such a table.
    """

    def __init__(self, connection: Connection, kinds: set[str]) -> None:
        self._connection = connection
        self.left = kinds

    def take(self, kind: str) -> Iterator[OldRecord]:
        """The records of a kind, in the order they were recorded."""
        if kind not in self.left:
            return
        self.left.discard(kind)
        rows = self._connection.execute(
            text(
                "SELECT name, scope, digest, state, text, at FROM record WHERE kind = :kind"
                " ORDER BY id"
            ),
            {"kind": kind},
        )
        for name, scope, digest, state, content, at in rows:
            yield OldRecord(name, scope, digest, state, content, datetime.fromisoformat(at))


@contextmanager
def old_records(connection: Connection) -> Iterator[OldRecords]:
    """Give the records of a database; afterwards their table is gone.

    Raises:
        StorageError: A kind was not taken: the database is another zone's (`storage.schema`).
    """
    if not inspect(connection).has_table("record"):
        yield OldRecords(connection, set())
        return
    kinds = connection.execute(text("SELECT DISTINCT kind FROM record")).scalars()
    records = OldRecords(connection, set(kinds))
    yield records
    if records.left:
        raise StorageError(
            "The database holds records that this zone does not know.",
            reason="storage.schema",
            remedy="Name this zone's own database.",
        )
    connection.execute(text("DROP TABLE record"))


def create_evidence(connection: Connection) -> None:
    """Create the evidence log, or give one that is there its new index; either is guarded."""
    EvidenceRow.metadata.create_all(connection)
    for index in EvidenceRow.metadata.tables["evidence"].indexes:
        index.create(connection, checkfirst=True)
    guard_log(connection)
