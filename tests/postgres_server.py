"""Debian's PostgreSQL server for tests: on loopback, in a temporary folder, for this session only.

A test that asks for `postgres_url` gets an empty database of its own; one that asks for
`database_url` runs twice, on SQLite and on PostgreSQL. Each worker of a parallel run starts a
server of its own, when its first test asks.

Where the server or its driver is absent these tests are skipped, saying what is missing; with
GRIDSECURE_REQUIRE_POSTGRES=1 they fail. The server refuses to run as root: then it runs as
`postgres`, or as `nobody` where there is no such account.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

REQUIRED = "GRIDSECURE_REQUIRE_POSTGRES"
PROGRAMS = ("initdb", "pg_ctl", "postgres")
INSTALLED = "/usr/lib/postgresql"  # where Debian puts programs that are not in the PATH
SECONDS = 60
_ATTEMPTS = 3  # another process may take the free port first


def find_program(name: str) -> str | None:
    """Where a program of the server is; of several versions the newest."""
    versions = sorted(Path(INSTALLED).glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    return shutil.which(name) or (str(versions[-1]) if versions else None)


def missing_parts() -> list[str]:
    """What the tests need and this machine lacks."""
    missing = [name for name in PROGRAMS if find_program(name) is None]
    if importlib.util.find_spec("psycopg") is None:
        missing.append("psycopg (the extra `postgres`)")
    return missing


@dataclass
class PostgresServer:
    """A server that can be stopped and started again.

    Args:
        folder: Its own, empty.
        account: Whom it runs as, where we are root.
        signs_in: How `initdb` has people sign in.
        options: Further options of the server.
    """

    folder: Path
    account: pwd.struct_passwd | None
    port: int = 0
    signs_in: tuple[str, ...] = ("--auth=trust",)
    options: str = ""
    _numbers: Iterator[int] = field(default_factory=count)

    def initialise(self) -> None:
        """Make the data folder."""
        if self.account is not None:
            os.chown(self.folder, self.account.pw_uid, self.account.pw_gid)
        choices = (*self.signs_in, "--username=postgres", "--encoding=UTF8", "--locale=C")
        self._run("initdb", "--pgdata", str(self._data), *choices, "--no-sync")

    def start(self) -> None:
        """Start it, on the same port as before if it ran already."""
        for attempt in range(1, _ATTEMPTS + 1):
            port = self.port or free_port()
            # Only the machine itself would have to fail for `fsync` to matter.
            options = (
                f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= "
                f"-c fsync=off -c max_connections=40 -c shared_buffers=16MB {self.options}"
            )
            try:
                self._run("pg_ctl", *self._where, "-l", str(self._log), "-o", options, "start")
            except subprocess.CalledProcessError:
                if attempt == _ATTEMPTS:
                    raise
            else:
                self.port = port
                return

    def stop(self, *, mode: str = "fast") -> None:
        """Stop it: `fast` in order, `immediate` as a crash would."""
        self._run("pg_ctl", *self._where, "-m", mode, "stop")

    def new_database(self) -> str:
        """Make an empty database; its URL.

        Where the server can, it sorts texts as people do and not by their bytes, as most servers
        are set up: nothing of ours may depend on it.
        """
        import psycopg  # noqa: PLC0415 # may be absent where these tests are skipped

        name = f"test_{next(self._numbers)}"
        server = f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"
        with psycopg.connect(server, autocommit=True) as connection:
            sorting = " LOCALE_PROVIDER icu ICU_LOCALE 'en'" if sorts_for_people(connection) else ""
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0{sorting}")
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{name}"

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    @property
    def _where(self) -> tuple[str, ...]:
        return ("--pgdata", str(self._data), "-w", "-t", str(SECONDS))

    def _run(self, name: str, *arguments: str) -> None:
        program, account = find_program(name), self.account
        assert program is not None
        identity: dict[str, Any] = {}
        if account is not None:
            identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        # Output goes to a file, not a pipe: the server inherits it and would hold a pipe open.
        with (self.folder / "commands").open("ab") as output:
            subprocess.run(
                [program, *arguments],
                check=True,
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=2 * SECONDS,
                **identity,
            )

    def explain(self) -> str:
        """What its commands and the server wrote last."""
        texts = [
            path.read_text(errors="replace")[-2000:]
            for path in (self.folder / "commands", self._log)
            if path.is_file()
        ]
        return "\n".join(texts)


def sorts_for_people(connection: Any) -> bool:
    """Whether a server can make a database with the rules of ICU: from version 15, if built so."""
    if connection.info.server_version < 150_000:
        return False
    found = connection.execute("SELECT 1 FROM pg_collation WHERE collprovider = 'i' LIMIT 1")
    return found.fetchone() is not None


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def server_account() -> pwd.struct_passwd | None:
    """Whom the server must run as; None for ourselves."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


def open_folder() -> Path:
    """A temporary folder whose parents everybody may pass: pytest's own are closed to others."""
    places = [Path(tempfile.gettempdir()).resolve(), Path("/tmp"), Path("/var/tmp")]  # noqa: S108
    passable = [
        place
        for place in places
        if all(parent.stat().st_mode & 0o001 for parent in (place, *place.parents))
    ]
    return Path(tempfile.mkdtemp(prefix="gridsecure-postgres-", dir=(passable or places)[0]))


def require_server() -> None:
    """Skip the test, or fail it where the server is required, if anything is missing."""
    missing = missing_parts()
    if missing:
        reason = f"PostgreSQL is not tried: {', '.join(missing)} missing"
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(f"{reason}, and {REQUIRED}=1", pytrace=False)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server for this session, stopped and removed at its end."""
    require_server()
    server = PostgresServer(open_folder(), server_account())
    try:
        try:
            server.initialise()
            server.start()
        except (subprocess.SubprocessError, OSError) as failed:
            pytest.fail(f"PostgreSQL did not start: {failed}\n{server.explain()}", pytrace=False)
        try:
            yield server
        finally:
            server.stop(mode="immediate")
    finally:
        shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """An empty database on the server."""
    return postgres_server.new_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'zone.db'}"
