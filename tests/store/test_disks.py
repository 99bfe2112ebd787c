"""Real disks that fill up or take nothing any more, and databases that were cut off.

The disks are file systems in memory, each as the kernel makes it: only the superuser can have them.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine

from gridsecure.errors import AuditBrokenError, GridSecureError, StorageError
from gridsecure.store.database import read_session, write_session
from gridsecure.store.evidence import append
from gridsecure.store.log_tree import verify_log
from gridsecure.store.object_folder import ObjectFolder
from tests.apps.test_rolled_back import start, write
from tests.grid_simulator import NOW
from tests.postgres_server import PostgresServer, open_folder
from tests.store.test_evidence import opened_engine

SMALL = "24m"
BLOCK = 1 << 13
"""The page of PostgreSQL [bytes]."""
MANY = 2000
NUMBERS = count()  # a record is in the log once


def add(engine: Engine, entries: int) -> None:
    with write_session(engine) as session:
        for number in islice(NUMBERS, entries):
            append(session, at=NOW, actor="a", action="b", detail={"number": number})


def verified(engine: Engine) -> int:
    with read_session(engine) as session:
        return verify_log(session)


@dataclass
class Disk:
    """A small disk.

    Args:
        folder: Where it is.
    """

    folder: Path

    def fill(self) -> None:
        """Leave no room."""
        ballast = os.open(self.folder / "ballast", os.O_WRONLY | os.O_CREAT)
        with pytest.raises(OSError, match="No space left"):
            self._write(ballast)
        os.close(ballast)

    def _write(self, ballast: int) -> None:
        while os.write(ballast, bytes(BLOCK)):
            pass

    def make_room(self) -> None:
        (self.folder / "ballast").unlink()

    def forbid(self, *, writing: bool) -> None:
        """Take no writing any more, or take it again."""
        how = "remount,ro" if writing else "remount,rw"
        subprocess.run(["mount", "-o", how, self.folder], check=True)


@pytest.fixture
def disk() -> Iterator[Disk]:
    if os.geteuid() != 0:
        pytest.skip("no disk of its own is tried: only the superuser can mount one")
    folder = open_folder()
    folder.chmod(0o755)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "none", folder]
    if subprocess.run(mount, check=False).returncode:
        folder.rmdir()
        pytest.skip("no disk of its own is tried: this machine mounts none")
    yield Disk(folder)
    subprocess.run(["umount", "-l", folder], check=True)
    folder.rmdir()


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, disk: Disk) -> Iterator[Engine]:
    """A database on the disk: a file, or a table space of a server whose journal is elsewhere."""
    if request.param == "sqlite":
        yield from opened_engine(f"sqlite:///{disk.folder / 'zone.db'}")
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    space = disk.folder / "space"
    space.mkdir()
    if server.account is not None:
        os.chown(space, server.account.pw_uid, server.account.pw_gid)
    name = f"small_{os.getpid()}"
    where = f"host=127.0.0.1 port={server.port} user=postgres dbname=postgres"
    with psycopg.connect(where, autocommit=True) as connection:
        connection.execute(f"CREATE TABLESPACE {name} LOCATION '{space}'")
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 TABLESPACE {name}")
        try:
            url = f"postgresql+psycopg://postgres@127.0.0.1:{server.port}/{name}"
            yield from opened_engine(url)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
            connection.execute(f"DROP TABLESPACE {name}")


def test_what_a_full_disk_took_nothing_of_goes_on_once_there_is_room(
    engine: Engine, disk: Disk
) -> None:
    add(engine, 5)
    disk.fill()
    with pytest.raises(StorageError) as refused:
        add(engine, MANY)  # some would go into what the database has left of its own pages
    assert refused.value.reason == "storage.database"
    assert verified(engine) == 5, "all of a change or nothing"
    disk.make_room()
    add(engine, 50)
    assert verified(engine) == 55


def test_objects_of_a_full_disk_are_whole_or_not_there(disk: Disk) -> None:
    objects = ObjectFolder(disk.folder / "objects")
    objects.write("00/11", b"first")
    disk.fill()
    with pytest.raises(StorageError) as refused:
        objects.write("22/33", bytes(1 << 16))
    assert refused.value.reason == "storage.write"
    assert [one.name for one in objects.list_stored()] == ["00/11"]
    disk.make_room()
    objects.write("22/33", bytes(1 << 16))
    assert objects.read("22/33") == bytes(1 << 16)


def test_a_disk_that_may_not_be_written_takes_nothing_and_loses_nothing(disk: Disk) -> None:
    """Of PostgreSQL the server itself ends at it, and comes back as after a crash."""
    objects = ObjectFolder(disk.folder / "objects")
    objects.write("00/11", b"first")
    for engine in opened_engine(f"sqlite:///{disk.folder / 'zone.db'}"):
        add(engine, 5)
        engine.dispose()  # else the kernel leaves the disk as it is
        disk.forbid(writing=True)
        with pytest.raises(StorageError) as refused:
            add(engine, 1)
        assert refused.value.reason == "storage.connection"  # none can be made
        with pytest.raises(StorageError) as refused:
            objects.write("22/33", b"second")
        assert refused.value.reason == "storage.write"
        assert objects.read("00/11") == b"first"
        disk.forbid(writing=False)
        add(engine, 1)
        objects.write("22/33", b"second")
        assert verified(engine) == 6


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zone that has shown its log, with its database in one file."""
    folder = tmp_path_factory.mktemp("whole") / "market"
    with start(folder) as client:
        write(folder, "first", "second", "third")
        client.get("/log/checkpoint")
    with closing(sqlite3.connect(folder / "zone.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder


@pytest.mark.parametrize("share", [0.0, 0.0005, 0.04, 0.5, 0.97, 0.99999])
def test_a_database_that_was_cut_off_stops_its_service_at_the_start(
    whole: Path, tmp_path: Path, share: float
) -> None:
    folder = tmp_path / "market"
    shutil.copytree(whole, folder)
    for path in folder.glob("zone.db-*"):
        path.unlink()
    size = (folder / "zone.db").stat().st_size
    os.truncate(folder / "zone.db", int(share * size))
    with pytest.raises(GridSecureError) as refused:
        start(folder)
    if share:
        assert refused.value.reason == "storage.database"
    else:  # an empty file is a new database, and shorter than what was shown of it
        assert isinstance(refused.value, AuditBrokenError)
        assert refused.value.reason == "log.rolled-back"
    # A backup is restored into a folder of its own.
    restored = shutil.copytree(whole, tmp_path / "restored")
    with start(restored) as client:
        assert client.get("/log/checkpoint").status_code == 200


def test_a_log_in_postgresql_that_was_cut_off_is_found(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    """What a server serves of a file that lost its end is an error, or fewer entries than shown."""
    for engine in opened_engine(postgres_url):
        add(engine, 400)
        with engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT pg_relation_filepath('evidence')")
            path = postgres_server._data / str(found.scalar())
            connection.exec_driver_sql("CHECKPOINT")
        engine.dispose()
        postgres_server.stop()
        size = path.stat().st_size
        os.truncate(path, size // BLOCK // 2 * BLOCK)
        postgres_server.start()
        with pytest.raises((AuditBrokenError, StorageError)):
            verified(engine)
