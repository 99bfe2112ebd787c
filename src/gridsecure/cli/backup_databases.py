"""Copies of a zone's databases, made while its service runs, and put back.

An SQLite database is copied by SQLite's own online backup into one file. A PostgreSQL database is
dumped by `pg_dump` in its own format, which is one snapshot too, and put back by `pg_restore` into
an empty database. What a URL has of a password goes to those programs in their environment.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Final

from sqlalchemy import MetaData, inspect, text
from sqlalchemy.engine import make_url

from gridsecure.errors import ConflictError, InputError, StorageError
from gridsecure.store.database import open_database, read_session, write_transaction
from gridsecure.store.evidence import APPEND_ONLY
from gridsecure.store.log_tree import read_frontier
from gridsecure.transparency.tree import Frontier

SQLITE: Final = ".db"
DUMP: Final = ".dump"
_FILE: Final = "sqlite:///"


def copy_database(url: str, target: Path) -> Path:
    """Copy a database; the copy's file, whose ending says of which kind it is.

    Args:
        target: Its name without an ending.

    Raises:
        StorageError: It cannot be read or the copy cannot be written (`backup.database`).
        InputError: There is no `pg_dump` (`backup.program`).
    """
    if url.startswith(_FILE):
        return _copy_sqlite(Path(url.removeprefix(_FILE)), target.with_suffix(SQLITE))
    path = target.with_suffix(DUMP)
    _run("pg_dump", ["--format=custom", "--no-owner", f"--file={path}"], url)
    return path


def put_back(copy: Path, url: str) -> None:
    """Fill the empty database that a URL names; an SQLite copy is simply the file.

    Raises:
        ConflictError: It is not empty (`backup.not-empty`).
        StorageError: It refuses; nothing was put there (`backup.database`).
        InputError: There is no `pg_restore` (`backup.program`), or it is another kind of database
            than the copy is of (`backup.kind`).
    """
    if (copy.suffix == SQLITE) != url.startswith(_FILE):
        raise InputError(
            "The backup's database is of another kind than the one that is named.",
            reason="backup.kind",
            remedy="Restore a file into a folder, and a dump into an empty PostgreSQL database "
            "(--set database_file=FILE).",
        )
    if copy.suffix == SQLITE:
        shutil.copyfile(copy, url.removeprefix(_FILE))
        Path(url.removeprefix(_FILE)).chmod(0o600)
        return
    engine = open_database(url, connections=1)
    try:
        has_tables = bool(inspect(engine).get_table_names())
    finally:
        engine.dispose()
    if has_tables:
        raise ConflictError(
            "The database that is named is not empty.",
            reason="backup.not-empty",
            remedy="Create a new one, and name that.",
        )
    options = ["--no-owner", "--exit-on-error", "--single-transaction", str(copy)]
    name = make_url(url).database or ""
    _run("pg_restore", [f"--dbname={name}", *options], url)


def take_out(url: str) -> None:
    """Empty the database that `put_back` filled, because what came next failed.

    An SQLite file goes with its folder.

    Raises:
        StorageError: It refuses (`backup.database`).
    """
    if url.startswith(_FILE):
        return
    engine = open_database(url, connections=1)
    try:
        with write_transaction(engine) as connection:
            found = MetaData()
            found.reflect(connection)
            found.drop_all(connection)
            connection.execute(text(f"DROP FUNCTION IF EXISTS {APPEND_ONLY}()"))
    finally:
        engine.dispose()


def read_state(url: str) -> tuple[str, Frontier]:
    """The revision of a database's tables, and its log's tree.

    Raises:
        StorageError: It is no zone's.
    """
    engine = open_database(url, connections=1)
    try:
        with read_session(engine) as session:
            found = session.connection().execute(text("SELECT version_num FROM alembic_version"))
            return str(found.scalar_one()), read_frontier(session)
    finally:
        engine.dispose()


def check_copy(copy: Path) -> None:
    """Whether a copy's file is a whole database, as its own program sees it.

    Raises:
        StorageError: It is not (`backup.database`).
        InputError: There is no `pg_restore` (`backup.program`).
    """
    if copy.suffix == DUMP:
        _run("pg_restore", ["--list", str(copy)], "")
        return
    try:
        with closing(sqlite3.connect(f"file:{copy}?mode=ro&immutable=1", uri=True)) as database:
            said = database.execute("PRAGMA integrity_check").fetchall()
    except sqlite3.Error as error:
        raise _refused(copy.name) from error
    if said != [("ok",)]:
        raise _refused(copy.name)


def _copy_sqlite(source: Path, target: Path) -> Path:
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=rw", uri=True)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new)  # one file, with nothing beside it
    except sqlite3.Error as error:
        raise _refused(source.name) from error
    target.chmod(0o600)
    return target


def _run(program: str, options: list[str], url: str) -> None:
    found = shutil.which(program)
    if found is None:
        raise InputError(
            f"There is no {program} on this machine.",
            reason="backup.program",
            remedy="Install PostgreSQL's client programs, of the server's version or newer.",
        )
    done = subprocess.run(
        [found, *options],
        env={"PATH": os.environ.get("PATH", ""), **_connection(url)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise _refused(program)


def _connection(url: str) -> dict[str, str]:
    """What PostgreSQL's programs are told in their environment, where no other user sees it."""
    if not url:
        return {}
    parts = make_url(url)
    named = {
        "PGHOST": parts.host or parts.query.get("host"),
        "PGPORT": parts.port or parts.query.get("port"),
        "PGUSER": parts.username,
        "PGPASSWORD": parts.password,
        "PGDATABASE": parts.database,
        "PGSSLMODE": parts.query.get("sslmode"),
        "PGSSLROOTCERT": parts.query.get("sslrootcert"),
    }
    return {name: str(value) for name, value in named.items() if value}


def _refused(name: str) -> StorageError:
    return StorageError(
        f"A database could not be copied, read or put back ({name}).",
        reason="backup.database",
        remedy="Check the disk's space, the database's server, and that it is a zone's.",
    )
