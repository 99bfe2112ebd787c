"""What every zone's tables are checked for: that its migrations lead to them, on each database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, event, func, text
from sqlmodel import select

from gridsecure.errors import StorageError
from gridsecure.store import schema as schema_of
from gridsecure.store.database import (
    open_database,
    read_session,
    write_session,
    write_transaction,
)
from gridsecure.store.evidence import EvidenceRow, append
from gridsecure.store.log_tree import verify_log
from gridsecure.store.rows import SignedKept
from gridsecure.store.schema import Schema, migrate

NOW: Final = datetime(2026, 11, 28, 9, tzinfo=UTC)


def check_schema(url: str, schema: Schema) -> None:
    """An empty database comes to the very tables the code knows, and opening it again is free."""
    engine = open_database(url)
    migrate(engine, schema)
    assert differences(engine, schema) == []
    check_log_is_guarded(engine)
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    migrate(engine, schema)
    asked = [one for one in statements if not one.startswith(("BEGIN", "PRAGMA"))]
    assert asked == ["SELECT version_num FROM alembic_version"]
    engine.dispose()


def check_kept(engine: Engine, schema: Schema, *, counts: Mapping[str, int], logged: int) -> None:
    """A kept database that was migrated has these tables, all of its rows, and its log whole."""
    schema_of.check_schema(engine, schema)  # it is at the revision that the code says is newest
    assert differences(engine, schema) == []
    assert tables_of(engine) == {*counts, "alembic_version", "evidence", "evidence_node"}
    with read_session(engine) as session:
        found = {
            name: session.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in schema.metadata.tables.items()
        }
        assert found == counts
        assert verify_log(session) == logged + 1  # which says where the chain ended
        if engine.dialect.name == "sqlite":
            assert session.execute(text("PRAGMA foreign_key_check")).all() == []
    check_log_is_guarded(engine)


def check_signed(engine: Engine, tables: Sequence[type[SignedKept]]) -> None:
    """Every signed message is the one that its row's digest names."""
    seen = 0
    with read_session(engine) as session:
        for table in tables:
            for row in session.exec(select(table)):
                assert row.envelope.digest == row.digest
                assert row.at.tzinfo == UTC
                seen += 1
    assert seen


def check_log_is_guarded(engine: Engine) -> None:
    """The database itself refuses to change an entry of the evidence log, or to drop one."""

    def append_and(change: str) -> None:
        with write_session(engine) as session:
            append(session, at=NOW, actor="a", action="b", detail={})
            session.execute(text(change))

    for change in ("UPDATE evidence SET actor = 'another'", "DELETE FROM evidence"):
        with pytest.raises(StorageError):
            append_and(change)


def differences(engine: Engine, schema: Schema) -> list[object]:
    """What would have to be changed for a database to have the tables of a schema."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, [schema.metadata, EvidenceRow.metadata]))


def load_dump(engine: Engine, dump: Path) -> None:
    """Make a database from a dump: one statement a line."""
    with write_transaction(engine) as connection:
        for statement in dump.read_text(encoding="utf-8").splitlines():
            if statement and not statement.startswith("--"):
                connection.exec_driver_sql(statement)


def tables_of(engine: Engine) -> set[str]:
    """The names of a database's tables."""
    listing = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
        "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
    }
    with engine.connect() as connection:
        return set(connection.execute(text(listing[engine.dialect.name])).scalars())
