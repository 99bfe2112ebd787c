"""Opening a zone's database: SQLite by default, any SQLAlchemy URL otherwise.

For SQLite the connection is set up so that several processes can share the file: write-ahead log,
foreign keys enforced, every commit on the disk before it returns, and waiting for a writer instead
of failing. The driver's own implicit transactions are switched off, because they begin too late:
a read would not belong to the transaction that writes after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, create_engine

from gridsecure.errors import StorageError

BUSY_TIMEOUT_MS = 30_000
"""How long a connection waits for another process's write [ms]."""

_WRITES = "gridsecure_writes"  # execution option of a connection that will write


def open_database(url: str) -> Engine:
    """Open a database and prove that it answers. Every process opens its own engine.

    Args:
        url: An SQLAlchemy URL such as `sqlite:///path/to/zone.db`.

    Raises:
        StorageError: It cannot be opened.
    """
    try:
        engine = create_engine(url)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _set_up_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        with engine.connect():
            return engine
    except (SQLAlchemyError, ImportError) as failed:  # the URL may name a driver not installed
        raise StorageError(
            "The database cannot be opened.",
            reason="storage.database",
            remedy="Check its URL, folder and permissions.",
        ) from failed


@contextmanager
def write_session(engine: Engine) -> Iterator[Session]:
    """Give a session that writes: it commits at the end, or rolls everything back on an error.

    On SQLite the transaction takes the write lock at once, so that what it reads cannot be
    outdated when it writes. Keep it short, and let it do no computing.

    Args:
        engine: From `open_database`.

    Raises:
        StorageError: The database is full, busy for too long, or refuses.
    """
    writer = engine.execution_options(**{_WRITES: True})
    try:
        with Session(writer, expire_on_commit=False) as session, session.begin():
            yield session
    except SQLAlchemyError as failed:
        raise StorageError(
            "The database could not take a change; nothing of it was kept.",
            reason="storage.database",
            remedy="Check the disk's space, then try again.",
        ) from failed


def _set_up_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where _begin_sqlite says
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_MS}",  # first: switching to WAL may itself have to wait
        "journal_mode = WAL",
        "foreign_keys = ON",
        "synchronous = FULL",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
