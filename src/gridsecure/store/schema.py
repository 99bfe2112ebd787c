"""Bringing a zone's database to the tables its code knows, with Alembic.

Each zone has a chain of migration scripts in its own folder, and revision ids that begin with its
name. An empty database is given the tables as the code knows them, at the newest revision. One of
an earlier revision, or from before there were any, comes there script by script. Either is a single
transaction under the write lock: a process that is killed on the way leaves the database as it was,
and of several that open it at once one does it while the others wait, then find nothing to do.

A database at a revision this code does not know is refused. It was opened by a newer release, or it
is another zone's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    insert,
    inspect,
    text,
)
from sqlalchemy.exc import OperationalError, ProgrammingError, SQLAlchemyError

from gridsecure.errors import StorageError
from gridsecure.store.database import write_transaction
from gridsecure.store.evidence import EvidenceRow

ENVIRONMENT: Final = Path(__file__).parent / "migrations"
"""Alembic's folder of what all zones share; each zone's scripts are in a folder of its own."""

_VERSIONS: Final = MetaData()
_VERSION: Final = Table(  # as Alembic makes it
    "alembic_version",
    _VERSIONS,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

_one_at_a_time = Lock()  # Alembic keeps what it works on in module variables


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of one zone's database, and how a database comes to them.

    Args:
        metadata: The zone's tables; the evidence log is the same in all zones and not among them.
        head: The newest revision, which is what `metadata` describes.
    """

    metadata: MetaData
    scripts: Path
    head: str


def migrate(engine: Engine, schema: Schema) -> None:
    """Bring a database to the newest revision; one that is there costs a single query.

    Args:
        engine: From `open_database`.

    Raises:
        StorageError: It is at a revision that this release does not know, or holds records of an
            unknown kind (`storage.schema`); or the database refuses. Nothing was changed.
    """
    if _revision(engine) == schema.head:
        return
    with _one_at_a_time:
        try:
            with write_transaction(engine) as connection:
                if not inspect(connection).get_table_names():
                    _create(connection, schema)
                else:
                    _upgrade(connection, schema)
        except SQLAlchemyError as failed:
            raise StorageError("The database's tables cannot be created.") from failed


def check_schema(engine: Engine, schema: Schema) -> None:
    """Refuse a database with other tables than this release's; it is not changed.

    Raises:
        StorageError: It is another zone's, or at another revision (`storage.schema`).
    """
    if _revision(engine) != schema.head:
        raise StorageError(
            "The database does not have the tables of this zone and release.",
            reason="storage.schema",
            remedy="Name this zone's database. After an upgrade, start the zone's service first.",
        )


def _revision(engine: Engine) -> str | None:
    """The revision a database says it is at; None where it says nothing."""
    try:
        with engine.connect() as connection:
            found = connection.execute(text("SELECT version_num FROM alembic_version"))
            return found.scalar_one_or_none()
    except (OperationalError, ProgrammingError):  # there is no such table
        return None


def _create(connection: Connection, schema: Schema) -> None:
    """Give an empty database the tables that its migrations would lead to, without Alembic."""
    for tables in (schema.metadata, EvidenceRow.metadata, _VERSIONS):
        tables.create_all(connection, checkfirst=False)
    connection.execute(insert(_VERSION), [{"version_num": schema.head}])


def _upgrade(connection: Connection, schema: Schema) -> None:
    # Alembic costs a service a tenth of a second that it seldom needs to spend.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", _escaped(ENVIRONMENT))
    config.set_main_option("version_locations", _escaped(schema.scripts))
    config.set_main_option("path_separator", "newline")  # a folder's name may hold blanks
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    heads = MigrationContext.configure(connection).get_current_heads()
    if not known.issuperset(heads):
        raise StorageError(
            "The database belongs to a newer release, or to another zone.",
            reason="storage.schema",
            remedy="Install the release that opened it last, or name this zone's database.",
        )
    command.upgrade(config, "head")


def _escaped(folder: Path) -> str:
    """A path as a configuration file spells it."""
    return str(folder).replace("%", "%%")
