"""Opening a zone's database: SQLite by default, PostgreSQL where several machines share it.

Both are set up alike, so that nobody above has to know which one it is:
- One transaction writes at a time. What it reads is therefore still so when it writes, which the
  release ledger and the evidence log rest on. SQLite's write lock does that; on PostgreSQL an
  advisory lock of the database, which ends with the transaction. Readers wait for nobody.
- A commit is on the disk before it returns.
- Who waits for a writer waits half a minute, then is refused (`storage.busy`).
- A session that only reads is kept from writing by the database (`read_session`).
- A process has so many connections and no more. They stay open between requests; who finds none
  waits for one as long as for a writer, then is refused. So no session is opened within another.

On SQLite the driver's own implicit transactions are switched off, because they begin too late: a
read would not belong to the transaction that writes after it. On PostgreSQL every statement sees
what was committed before it ("read committed", whatever the server's default): a snapshot taken
while waiting for the lock would be outdated.

Reading or writing, three errors are our own wherever they come up: a connection that broke or
cannot be made (`storage.connection`), a lock that another process held for too long
(`storage.busy`), and a text that the database cannot hold (`storage.text`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import DataError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.pool import QueuePool
from sqlmodel import Session, create_engine

from gridsecure.errors import ConflictError, InvalidMessageError, StorageError
from gridsecure.store.connections import CONNECTIONS

BUSY_TIMEOUT_MS: Final = 30_000
"""How long a connection waits for another process's write [ms], and a session for a connection."""

CONNECT_TIMEOUT_S: Final = 10
"""How long a server may take to answer a new connection [s]."""

WRITE_LOCK: Final = 0x6772_6964_7365  # "gridse"; any number nobody else uses in this database
"""The advisory lock that writers of a PostgreSQL database hold."""

_WRITES = "gridsecure_writes"  # execution option of a connection that will write
_READS = "gridsecure_reads"  # of one that only reads
_ALONE = "gridsecure_alone"  # of one that writes while nobody else has the database open

_ALONE_TIMEOUT_MS: Final = 2_000
_OTHERS: Final = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


def open_database(url: str, *, connections: int = CONNECTIONS, opens_files: bool = True) -> Engine:
    """Open a database and prove that it answers. Every process opens its own engine.

    Args:
        url: `sqlite:///path/to/zone.db`, or `postgresql+psycopg://user@host/database` with the
            extra `postgres` installed.
        connections: How many this process opens, at most.
        opens_files: Whether SQLite may open temporary files for what is large; else it keeps that
            in memory.

    Raises:
        StorageError: It cannot be opened, or is of another kind.
    """
    try:
        engine = _engine(url, connections)
        if not opens_files and engine.name == "sqlite":
            event.listen(engine, "connect", _keep_in_memory)
        with engine.connect():
            event.listen(engine, "handle_error", _translate)
            return engine
    except (SQLAlchemyError, ImportError) as failed:  # the URL may name a driver not installed
        raise StorageError(
            "The database cannot be opened.",
            reason="storage.database",
            remedy="Check its URL, folder or server, driver and permissions.",
        ) from failed


@contextmanager
def write_transaction(engine: Engine) -> Iterator[Connection]:
    """Give a connection whose transaction holds the write lock, for what changes tables."""
    with engine.execution_options(**{_WRITES: True}).begin() as connection:
        yield connection


@contextmanager
def read_session(engine: Engine) -> Iterator[Session]:
    """Give a session that only reads: it waits for no writer, and sees one moment throughout.

    The database itself refuses a change. What is read may be outdated when it is acted on; whatever
    has to hold at the moment of a write is read in that write's own session.

    Args:
        engine: From `open_database`.

    Raises:
        StorageError: The database refuses (`storage.database`); the connection broke
            (`storage.connection`); or all were in use for too long (`storage.busy`).
    """
    reader = engine.execution_options(**{_READS: True})
    try:
        with Session(reader, expire_on_commit=False) as session, session.begin():
            yield session
    except NoConnection as failed:
        raise _no_connection() from failed
    except SQLAlchemyError as failed:
        raise StorageError(
            "The database could not be read.",
            reason="storage.database",
            remedy="Check the disk and the database's server, then try again.",
        ) from failed


@contextmanager
def write_session(engine: Engine) -> Iterator[Session]:
    """Give a session that writes: it commits at the end, or rolls everything back on an error.

    The transaction takes the write lock at once, so that what it reads cannot be outdated when it
    writes. Keep it short, and let it do no computing.

    Args:
        engine: From `open_database`.

    Raises:
        StorageError: The database is full, busy for too long, or refuses (`storage.database`);
            the connection broke (`storage.connection`); or all were in use for too long
            (`storage.busy`).
    """
    writer = engine.execution_options(**{_WRITES: True})
    try:
        with Session(writer, expire_on_commit=False) as session, session.begin():
            yield session
    except NoConnection as failed:
        raise _no_connection() from failed
    except SQLAlchemyError as failed:
        raise StorageError(
            "The database could not store a change; nothing of it was kept.",
            reason="storage.database",
            remedy="Check the free disk space, then try again.",
        ) from failed


@contextmanager
def sole_session(engine: Engine) -> Iterator[Session]:
    """Give a session that writes while nobody else has the database open, until it ends.

    Args:
        engine: From `open_database`; it has no connection afterwards.

    Raises:
        ConflictError: Another process has it open, or another connection of this one
            (`storage.in-use`).
        StorageError: As `write_session`.
    """
    alone = engine.execution_options(**{_ALONE: True})
    try:
        with write_session(alone) as session:
            try:
                session.connection()
            except StorageError as failed:
                if failed.reason == "storage.busy":
                    raise _in_use() from failed
                raise
            yield session
    finally:
        engine.dispose()  # on SQLite the lock stays with the connection


def is_writing(connection: Connection) -> bool:
    """Whether a transaction has the write lock since it began, as those of `write_session`."""
    return bool(connection.get_execution_options().get(_WRITES, False))


def lock_writes(connection: Connection) -> None:
    """On PostgreSQL: from here on nobody else writes until this transaction ends.

    Args:
        connection: To a PostgreSQL database; taking the lock again changes nothing.
    """
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")


def _engine(url: str, connections: int) -> Engine:
    kind = make_url(url).get_backend_name()
    pool = {
        "poolclass": QueuePool,
        "pool_size": connections,
        "max_overflow": 0,
        "pool_timeout": BUSY_TIMEOUT_MS / 1000,
    }
    if kind == "sqlite":
        engine = create_engine(url, **pool)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    elif kind == "postgresql":
        # Connections that a restart of the server broke are found before they are used.
        engine = create_engine(
            url, pool_pre_ping=True, connect_args={"connect_timeout": CONNECT_TIMEOUT_S}, **pool
        )
        event.listen(engine, "connect", _set_up_postgres)
        event.listen(engine, "begin", _begin_postgres)
    else:
        raise StorageError(
            f"GridSecure has not been tested on a database of the kind {kind!r}.",
            reason="storage.database",
            remedy="Name an SQLite file or a PostgreSQL database.",
        )
    return engine


def _in_use() -> ConflictError:
    return ConflictError(
        "Another process has the database open.",
        reason="storage.in-use",
        remedy="Stop the zone's service and its other processes, then try again.",
    )


def _no_connection() -> StorageError:
    return StorageError(
        "All connections to the database were in use for too long.",
        reason="storage.busy",
        remedy="Try again. If it stays, allow the service more connections.",
    )


def _translate(context: ExceptionContext) -> None:
    """Turn what the driver says into our own errors, where it means the same in every statement."""
    if context.is_pre_ping:  # answered by connecting anew
        return
    if context.is_disconnect or context.connection is None:
        raise StorageError(
            "The connection to the database broke or cannot be made. A change under way was kept "
            "whole or not at all.",
            reason="storage.connection",
            remedy="Start the database, then try again. Changes that were kept will be there.",
        )
    if _is_locked(context.original_exception):
        raise StorageError(
            "Another process is changing the database, and did not end in time.",
            reason="storage.busy",
            remedy="Try again.",
        )
    if isinstance(context.sqlalchemy_exception, DataError):
        raise InvalidMessageError(
            "A text holds characters that the database cannot store.",
            reason="storage.text",
            remedy="Leave control characters out.",
        )


def _is_locked(error: BaseException) -> bool:
    """Whether a lock was waited for in vain, as SQLite or PostgreSQL says it."""
    code = getattr(error, "sqlite_errorname", getattr(error, "sqlstate", None))
    return str(code).startswith("SQLITE_BUSY") or code == "55P03"


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


def _keep_in_memory(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA temp_store = MEMORY").close()


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    reads = "ON" if options.get(_READS, False) else "OFF"
    connection.exec_driver_sql(f"PRAGMA query_only = {reads}")  # it outlives the transaction
    if options.get(_ALONE, False):
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {_ALONE_TIMEOUT_MS}")
        connection.exec_driver_sql("PRAGMA locking_mode = EXCLUSIVE")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(_WRITES, False) else "BEGIN")


def _set_up_postgres(connection: Any, _record: object) -> None:
    connection.autocommit = True  # or the settings would end with the transaction around them
    cursor = connection.cursor()
    for setting in (
        "default_transaction_isolation = 'read committed'",
        "synchronous_commit = on",
        f"lock_timeout = {BUSY_TIMEOUT_MS}",
        "client_encoding = 'UTF8'",
    ):
        cursor.execute(f"SET {setting}")
    cursor.close()
    connection.autocommit = False


def _begin_postgres(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get(_WRITES, False):
        lock_writes(connection)
        if options.get(_ALONE, False) and connection.exec_driver_sql(_OTHERS).scalar_one():
            raise _in_use()
    elif options.get(_READS, False):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
