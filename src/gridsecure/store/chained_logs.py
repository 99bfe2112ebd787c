"""What a migration does with a log from before there was a tree, whose rows were a hash chain.

Its entries become the leaves of the tree, in order and under the names they have; the head of the
chain is recorded as an entry of its own, which ends it.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, inspect, text
from sqlmodel import Session, col, insert, select

from gridsecure.store.evidence import (
    EvidenceRow,
    append,
    broken_log,
    guard_log,
    insert_nodes,
    new_salt,
    read_row,
)
from gridsecure.transparency.tree import Frontier, Node

CHAIN_ENDED: Final = "evidence.chain-ended"
"""The action of the entry that ends a chain."""

_GENESIS: Final = "0" * 64
_PORTION: Final = 1000
_COLUMNS: Final = ("index", "at", "actor", "action", "detail", "previous", "hash")


def retire_chain(connection: Connection) -> None:
    """Make the leaves of a tree of a chain's entries; a log that has a tree stays as it is.

    Args:
        connection: In the migration's transaction.

    Raises:
        AuditBrokenError: The chain does not hold (`audit.log`); nothing was changed.
    """
    if "salt" in {column["name"] for column in inspect(connection).get_columns("evidence")}:
        return
    _set_aside(connection)
    EvidenceRow.metadata.create_all(connection)
    quoted = ", ".join(f'"{name}"' for name in _COLUMNS)
    chain = connection.execute(text(f'SELECT {quoted} FROM evidence_chain ORDER BY "index"'))  # noqa: S608
    with Session(connection) as session:
        tree, previous = Frontier(), _GENESIS
        for portion in chain.partitions(_PORTION):
            made: dict[Node, bytes] = {}
            rows = []
            for old in portion:
                row = dict(zip(_COLUMNS, old, strict=True)) | {"salt": new_salt()}
                entry = read_row(EvidenceRow(**row))
                if entry.index != tree.size or entry.previous != previous or not entry.is_itself:
                    raise broken_log(tree.size)
                made |= tree.nodes_above(entry.leaf)
                tree, previous = tree.grow([entry.leaf]), entry.hash
                rows.append(row)
            session.execute(insert(EvidenceRow), rows)
            insert_nodes(session, made)
        if tree.size:
            _end_chain(session, tree.size)
        session.flush()
    connection.execute(text("DROP TABLE evidence_chain"))
    guard_log(connection)


def _set_aside(connection: Connection) -> None:
    """Move the chain's table out of the way, with the guards and indexes that carry its name."""
    if connection.dialect.name == "postgresql":
        drops = ["DROP TRIGGER IF EXISTS evidence_append_only ON evidence"]
        constraints = "SELECT conname FROM pg_constraint WHERE conrelid = "
        constraints += "'evidence'::regclass AND contype IN ('p', 'u')"
        names = connection.execute(text(constraints)).scalars().all()
        drops += [f'ALTER TABLE evidence DROP CONSTRAINT "{name}"' for name in names]
    else:
        drops = [f"DROP TRIGGER IF EXISTS evidence_no_{verb}" for verb in ("update", "delete")]
    for index in inspect(connection).get_indexes("evidence"):
        if not index.get("duplicates_constraint"):
            drops.append(f'DROP INDEX "{index["name"]}"')
    for statement in (*drops, "ALTER TABLE evidence RENAME TO evidence_chain"):
        connection.execute(text(statement))


def _end_chain(session: Session, size: int) -> None:
    newest = select(EvidenceRow).order_by(col(EvidenceRow.index).desc()).limit(1)
    head = read_row(session.exec(newest).one())
    append(
        session,
        at=head.at,
        actor="migration",
        action=CHAIN_ENDED,
        detail={"entries": size, "head": head.hash},
    )
