"""The evidence log: append-only rows, the leaves of a Merkle tree that strangers can check.

    record = canonical JSON of [version, at, actor, action, detail]
    hash   = SM3(record)                      the entry's name
    entry  = "gridsecure-entry-1 sm3:" ‖ SM3(salt ‖ hash)      what everybody may see

A JSON array of strings has exactly one reading, so no two records share a preimage; `detail` enters
as the very text that is stored. The salt keeps a stranger from finding a record by trying: tiles of
entries are public, records are not. Entries of before there was a tree keep their names, which also
cover their index and the hash before theirs (`previous`).

Invariants:
- Indexes count 0, 1, 2 without gaps; two writers never get the same one.
- No record is in the log twice: what is appended again is the entry that is there.
- Triggers refuse UPDATE and DELETE, on PostgreSQL also TRUNCATE. They guard against mistakes; the
  tree guards against whoever edits the file or owns the server (`log_tree`).

What the tree alone cannot show: that its newest rows were cut off, or that all of it was written
anew. Give `verify_log` what a witness kept. Never put a reading, plaintext, key or token into a
row.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    DDL,
    BigInteger,
    Connection,
    Integer,
    Table,
    bindparam,
    event,
    func,
    literal,
)
from sqlalchemy import select as select_columns
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import registry
from sqlmodel import Field, Session, SQLModel, col, delete, insert, select

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuditBrokenError, StorageError
from gridsecure.store.database import is_writing, lock_writes
from gridsecure.transparency.tree import Frontier, Hashes, Node, leaf_hash, new_nodes

APPEND_ONLY: Final = "evidence_append_only"
"""The function that PostgreSQL's guards of the log call, beside the tables of a database."""
_REFUSED: Final = "the evidence log is append-only"


def _guards(table: str) -> tuple[tuple[str, str], ...]:
    return (
        *(
            (
                "sqlite",
                f"CREATE TRIGGER IF NOT EXISTS {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END",
            )
            for verb in ("UPDATE", "DELETE")
        ),
        (
            "postgresql",
            f"CREATE OR REPLACE FUNCTION {APPEND_ONLY}() RETURNS trigger LANGUAGE plpgsql "
            f"AS $$ BEGIN RAISE EXCEPTION '{_REFUSED}'; END $$",
        ),
        (
            "postgresql",
            f"CREATE OR REPLACE TRIGGER {table}_append_only "
            f"BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {APPEND_ONLY}()",
        ),
    )


def append_only(table: Table) -> None:
    """Guard a table of the log as it is created, against mistakes."""
    for dialect, statement in _guards(table.name):
        guard = DDL(statement)  # type: ignore[no-untyped-call] # the library left it without types
        event.listen(table, "after_create", guard.execute_if(dialect=dialect))


def guard_log(connection: Connection) -> None:
    """Guard tables of the log that are there already; one that is guarded stays as it is."""
    for table in EvidenceRow.metadata.tables:
        for dialect, statement in _guards(table):
            if connection.dialect.name == dialect:
                connection.exec_driver_sql(statement)


JSON = str | int | float | bool | None | Sequence["JSON"] | Mapping[str, "JSON"]
"""What a detail may hold."""

RECORD_VERSION: Final = "gridsecure-evidence-2"
CHAINED_VERSION: Final = "gridsecure-evidence-1"
"""Of entries from before there was a tree."""

_RECORD: Final = ("at", "actor", "action", "detail")
_ENTRY: Final = "gridsecure-entry-1 sm3:"
_SALT_BYTES: Final = 16


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
    previous: str
    hash: str = Field(unique=True)
    salt: str


class NodeRow(_Log, table=True):
    """A full subtree of two or more leaves; `place` is its number in the tree, read in order."""

    __tablename__ = "evidence_node"

    place: int = Field(
        primary_key=True,
        sa_type=BigInteger().with_variant(Integer, "sqlite"),
        sa_column_kwargs={"autoincrement": False},
    )
    hash: bytes


# Written once: an append costs as much as its statements.
_LOG: Final = EvidenceRow.metadata.tables["evidence"]
_TREE: Final = EvidenceRow.metadata.tables["evidence_node"]
_COLUMNS: Final = tuple(_LOG.c.keys())
_ADD_ROW: Final = insert(_LOG)
_ADD_NODES: Final = insert(_TREE)
_LAST: Final = select_columns(_LOG.c.index).order_by(_LOG.c.index.desc()).limit(1)
_BEFORE: Final = select_columns(
    select_columns(func.max(_LOG.c.index)).scalar_subquery().label("newest"), _LOG
).select_from(
    select_columns(literal(1)).subquery().outerjoin(_LOG, _LOG.c.hash == bindparam("name"))
)
"""The newest index, and the entry of a name if there is one, in one statement."""
_LEAVES: Final = select_columns(_LOG.c.index, _LOG.c.hash, _LOG.c.salt).where(
    _LOG.c.index.in_(bindparam("indexes", expanding=True))
)
_INNER: Final = select_columns(_TREE.c.place, _TREE.c.hash).where(
    _TREE.c.place.in_(bindparam("places", expanding=True))
)


@dataclass(frozen=True, slots=True)
class EvidenceEntry:
    """One row as read.

    Args:
        index: Its place, from 0.
        at: When, in UTC.
        action: What was done, dotted, e.g. `release.refused`.
        detail: Canonical JSON of what it was about: digests, ids, counts.
        previous: Of an entry from before there was a tree, the hash before it; else empty.
        hash: Its own hash, which is its name.
        salt: What hides it in the public entry.
    """

    index: int
    at: datetime
    actor: str
    action: str
    detail: str
    previous: str
    hash: str
    salt: str

    @property
    def record(self) -> str:
        """The text whose SM3 digest is its hash."""
        if self.previous:
            content = [CHAINED_VERSION, self.index, *self._content, self.previous]
        else:
            content = [RECORD_VERSION, *self._content]
        return _canonical(content)

    @property
    def leaf(self) -> bytes:
        """Hash of its leaf in the tree."""
        return leaf_hash(public_entry(self.hash, salt=self.salt))

    @property
    def is_itself(self) -> bool:
        """Whether its hash is that of its record."""
        return self.hash == sm3_hex(self.record.encode())

    @property
    def _content(self) -> list[JSON]:
        return [_when(self.at), self.actor, self.action, self.detail]


def public_entry(name: str, *, salt: str) -> bytes:
    """What everybody may see of an entry.

    Args:
        name: Its hash.
    """
    return (_ENTRY + sm3_hex(bytes.fromhex(salt) + bytes.fromhex(name))).encode()


def place_of(node: Node) -> int:
    """The number of a node of a tree read in order: leaves have the even ones."""
    return (node.number << (node.level + 1)) + (1 << node.level) - 1


def append(
    session: Session, *, at: datetime, actor: str, action: str, detail: Mapping[str, JSON]
) -> EvidenceEntry:
    """Add an entry to the session's transaction; it is kept when that commits.

    Args:
        session: Best from `write_session`. In any other session, append before reading anything.
        at: When it happened, aware.
        detail: What it was about; no readings, plaintexts, keys or tokens.

    Returns:
        The entry; of a record that the log has, the one that is there.

    Raises:
        StorageError: `storage.busy`: another writer came first. Roll back and try again.
        OperationalError: The database refuses; a session of `store.database` says so in our words.
        ValueError: A naive datetime, or a detail with NaN or infinity.
        TypeError: A detail that JSON cannot hold.
    """
    return add(session, at=at, actor=actor, action=action, detail=detail)[0]


def add(
    session: Session, *, at: datetime, actor: str, action: str, detail: Mapping[str, JSON]
) -> tuple[EvidenceEntry, bool]:
    """As `append`; the entry, and whether it is new."""
    if at.tzinfo is None:
        raise ValueError("evidence needs a time with a zone")
    record = [RECORD_VERSION, _when(at), actor, action, _canonical(dict(detail))]
    row: dict[str, Any] = dict(zip(_RECORD, record[1:], strict=True))
    row |= {"previous": "", "hash": sm3_hex(_canonical(record).encode()), "salt": new_salt()}
    try:
        connection = _lock(session)
        newest, *known = connection.execute(_BEFORE, {"name": row["hash"]}).one()
        if known[0] is not None:
            return _read(dict(zip(_COLUMNS, known, strict=True))), False
        row["index"] = 0 if newest is None else newest + 1
        connection.execute(_ADD_ROW, row)
        entry = _read(row)
        made = new_nodes(entry.index, entry.leaf, lambda nodes: _nodes(connection, nodes))
        _keep_nodes(connection, made)
    except (IntegrityError, OperationalError) as refused:
        if isinstance(refused, OperationalError) and not _was_overtaken(refused):
            raise  # a full disk, say: no later attempt is of use
        raise StorageError(
            "The evidence log could not store an entry.",
            reason="storage.busy",
            remedy="Roll the transaction back and try again.",
        ) from refused
    return entry, True


def _was_overtaken(refused: OperationalError) -> bool:
    """Whether another transaction came first, as PostgreSQL says it (SQLSTATE class 40)."""
    return str(getattr(refused.orig, "sqlstate", "")).startswith("40")


def new_salt() -> str:
    """A fresh salt, as text."""
    return secrets.token_hex(_SALT_BYTES)


def count_entries(session: Session) -> int:
    """How many entries the log has, which is the size of its tree."""
    return _size(session.connection())


def read_nodes(session: Session, nodes: Iterable[Node]) -> Hashes:
    """Hashes of nodes that the tree has.

    Raises:
        AuditBrokenError: One is missing (`audit.log`).
    """
    return _nodes(session.connection(), list(nodes))


def insert_nodes(session: Session, nodes: Hashes) -> None:
    """Keep nodes that are full now."""
    _keep_nodes(session.connection(), nodes)


def _size(connection: Connection) -> int:
    last = connection.execute(_LAST).scalar()
    return 0 if last is None else last + 1


def _nodes(connection: Connection, nodes: Sequence[Node]) -> Hashes:
    leaves = [node.number for node in nodes if node.level == 0]
    places = {place_of(node): node for node in nodes if node.level}
    found: dict[Node, bytes] = {}
    if leaves:
        for index, name, salt in connection.execute(_LEAVES, {"indexes": leaves}):
            found[Node(0, index)] = leaf_hash(public_entry(name, salt=salt))
    if places:
        for place, value in connection.execute(_INNER, {"places": list(places)}):
            found[places[place]] = value
    for node in nodes:
        if node not in found:
            raise broken_log(node.number << node.level)
    return found


def _keep_nodes(connection: Connection, nodes: Hashes) -> None:
    if nodes:
        rows = [{"place": place_of(node), "hash": value} for node, value in nodes.items()]
        connection.execute(_ADD_NODES, rows)


def find_head(session: Session) -> EvidenceEntry | None:
    """Return the newest entry, or None while the log is empty."""
    row = session.exec(select(EvidenceRow).order_by(col(EvidenceRow.index).desc()).limit(1)).first()
    return None if row is None else read_row(row)


def find_newest(session: Session, actions: Iterable[str]) -> int:
    """The greatest index of an entry of one of some actions; -1 before there is one."""
    newest = func.max(col(EvidenceRow.index))
    found = [
        session.exec(select(newest).where(EvidenceRow.action == action)).one() for action in actions
    ]
    return max((index for index in found if index is not None), default=-1)


def verify_entries(
    entries: Sequence[EvidenceEntry], *, witnessed: Frontier | None = None
) -> Frontier:
    """Recompute the tree of entries that somebody else read; return what a witness keeps of it.

    Args:
        entries: As fetched, from the first one on.
        witnessed: What was kept at an earlier time; the log must begin with it.

    Raises:
        AuditBrokenError: Naming the first index that does not hold (`audit.log`).
    """
    tree = Frontier()
    for entry in entries:
        if entry.index != tree.size or not entry.is_itself:
            raise broken_log(tree.size)
        tree = tree.grow([entry.leaf])
        if witnessed is not None and tree.size == witnessed.size and tree != witnessed:
            raise broken_log(entry.index)
    if witnessed is not None and witnessed.size > tree.size:
        raise broken_log(tree.size)
    return tree


def list_entries_after(session: Session, index: int, *, limit: int = 1000) -> list[EvidenceEntry]:
    """The entries behind an index, in order.

    Args:
        index: -1 for all from the first one.
        limit: At most so many.
    """
    rows = select(EvidenceRow).where(col(EvidenceRow.index) > index)
    return [
        read_row(row) for row in session.exec(rows.order_by(col(EvidenceRow.index)).limit(limit))
    ]


def list_entries_among(
    session: Session, index: int, actions: Iterable[str], *, limit: int = 1000
) -> list[EvidenceEntry]:
    """The entries of some actions behind an index, in order.

    Each action is read by its own index, so that no entry of another one is.

    Args:
        index: -1 for all from the first one.
        actions: At least one.
        limit: At most so many.
    """
    place = col(EvidenceRow.index)
    found: list[EvidenceEntry] = []
    for action in set(actions):
        rows = select(EvidenceRow).where(EvidenceRow.action == action, place > index)
        found += [read_row(row) for row in session.exec(rows.order_by(place).limit(limit))]
    return sorted(found, key=lambda one: one.index)[:limit]


def list_entries_of(session: Session, *actions: str) -> list[EvidenceEntry]:
    """Every entry of these actions, in order."""
    rows = select(EvidenceRow).where(col(EvidenceRow.action).in_(actions))
    return [read_row(row) for row in session.exec(rows.order_by(col(EvidenceRow.index)))]


def find_entry(session: Session, name: str) -> EvidenceEntry | None:
    """The entry with a hash, or None.

    Args:
        name: The hash.
    """
    row = session.exec(select(EvidenceRow).where(EvidenceRow.hash == name)).first()
    return None if row is None else read_row(row)


def broken_log(index: int) -> AuditBrokenError:
    """What is raised of a log that does not hold from an index on."""
    return AuditBrokenError(
        f"The evidence log is broken at entry {index}.",
        reason="audit.log",
        remedy="Stop releases, keep the file as it is, and compare with the witness copy.",
    )


def _lock(session: Session) -> Connection:
    """Take the write lock before the head is read: two writers with one head would fork the log."""
    session.flush()
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        lock_writes(connection)
    elif not is_writing(connection):  # deletes nothing, but makes SQLite take its lock
        connection.execute(delete(EvidenceRow).where(col(EvidenceRow.index) < 0))
    return connection


def _canonical(value: object) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _when(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def read_row(row: EvidenceRow) -> EvidenceEntry:
    """An entry from its row."""
    return _read({name: getattr(row, name) for name in _COLUMNS})


def _read(row: Mapping[str, Any]) -> EvidenceEntry:
    return EvidenceEntry(**{**row, "at": datetime.fromisoformat(row["at"])})


for _table in EvidenceRow.metadata.sorted_tables:
    append_only(_table)
