"""What every zone's tables are checked for: that its migrations lead to them, on each database."""

from __future__ import annotations

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, event, text

from gridsecure.store.database import open_database, write_transaction
from gridsecure.store.evidence import EvidenceRow
from gridsecure.store.schema import Schema, migrate


def check_schema(url: str, schema: Schema) -> None:
    """An empty database comes to the very tables the code knows, and opening it again is free."""
    engine = open_database(url)
    migrate(engine, schema)
    assert differences(engine, schema) == []
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    migrate(engine, schema)
    asked = [one for one in statements if not one.startswith(("BEGIN", "PRAGMA"))]
    assert asked == ["SELECT version_num FROM alembic_version"]
    engine.dispose()


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
