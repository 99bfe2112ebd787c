"""What is PostgreSQL's own: its locks, its guards, and a server that dies in the middle."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DatabaseError
from sqlmodel import Session

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ConflictError, InvalidMessageError, NotFoundError, StorageError
from gridsecure.store import database
from gridsecure.store.database import open_database, write_session
from gridsecure.store.evidence import append, head, verify_chain
from gridsecure.store.many_records import keep_all, record_groups
from gridsecure.store.records import (
    MAX_INDEXED_BYTES,
    Record,
    create_tables,
    fetch,
    insert_once,
    listed,
    record,
)
from tests import postgres_server as postgres_server_module
from tests.postgres_server import (
    REQUIRED,
    find_program,
    free_port,
    require_server,
    sorts_for_people,
)

SOURCES = Path(__file__).parents[2] / "src"
NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
CREATE = """
import sys
from gridsecure.store.accounts import create_account_tables
from gridsecure.store.database import open_database
from gridsecure.store.records import create_tables
engine = open_database(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
create_tables(engine)
create_account_tables(engine)
engine.dispose()
"""


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    made = open_database(postgres_url)
    create_tables(made)
    yield made
    made.dispose()


def entry(name: str, digest: str = "d") -> Record:
    return Record("k", name, name, digest, "", "")


def note(session: Session, actor: str = "a") -> int:
    return append(session, at=NOW, actor=actor, action="b", detail={}).index


def names(engine: Engine) -> list[str]:
    with Session(engine) as session:
        return [found.name for found in listed(session, kind="k")]


def verified(engine: Engine) -> int:
    with Session(engine) as session:
        return verify_chain(session)


# --- several writers


def test_processes_create_the_tables_at_once(database_url: str) -> None:
    starting = [
        subprocess.Popen(
            [sys.executable, "-c", CREATE, database_url],
            env={"PYTHONPATH": str(SOURCES)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for one in starting:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in starting:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in starting:
        assert one.communicate(timeout=60)[1] == ""
        assert one.returncode == 0
    engine = open_database(database_url)
    with write_session(engine) as session:
        assert note(session) == 0
    engine.dispose()


def test_what_a_writer_read_is_still_so_when_it_writes(database_url: str) -> None:
    """The release ledger reads who was totalled before it adds; two must not both see nobody."""
    engine = open_database(database_url)
    create_tables(engine)
    both = threading.Barrier(2)

    def add_if_alone(name: str) -> None:
        both.wait()
        with write_session(engine) as session:
            others = listed(session, kind="k")
            time.sleep(0.2)
            if not others:
                record(session, entry(name), at=NOW)

    writers = [threading.Thread(target=add_if_alone, args=(name,)) for name in ("one", "two")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=30)
    assert len(names(engine)) == 1
    engine.dispose()


@pytest.mark.parametrize("same", [True, False], ids=["same-content", "other-content"])
def test_without_the_lock_the_unique_index_decides(engine: Engine, same: bool) -> None:
    """Both look before either writes: the loser waits for the winner, then looks again."""
    outcomes: list[list[list[bool] | ConflictError]] = []

    def second() -> None:
        with Session(engine) as session:
            digest = "d" if same else "other"
            groups = [[entry("raced", digest), entry("own")], [entry("unhurt")]]
            outcomes.append(record_groups(session, groups, at=NOW))
            session.commit()

    with Session(engine) as first:
        record(first, entry("raced"), at=NOW)
        racer = threading.Thread(target=second)
        racer.start()
        wait_for(engine, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        first.commit()
    racer.join(timeout=30)
    ((raced, unhurt),) = outcomes
    assert unhurt == [True]
    if same:
        assert raced == [False, True]
        assert names(engine) == ["raced", "own", "unhurt"]
    else:
        assert isinstance(raced, ConflictError)
        assert names(engine) == ["raced", "unhurt"]


def test_plain_sessions_append_one_after_the_other(engine: Engine) -> None:
    """A view that became outdated is no harm here: the head is read under the lock."""
    with Session(engine) as outdated:
        assert head(outdated) is None
        with write_session(engine) as session:
            note(session)
        assert note(outdated) == 1
        outdated.commit()
    assert verified(engine) == 2


def test_who_waits_too_long_is_refused(postgres_url: str, monkeypatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 200)
    engine = open_database(postgres_url)
    create_tables(engine)
    with write_session(engine) as holding:
        record(holding, entry("held"), at=NOW)
        with (
            pytest.raises(StorageError, match=r"storage\.database"),
            write_session(engine) as waiting,
        ):
            listed(waiting, kind="k")
        with Session(engine) as plain, pytest.raises(StorageError, match=r"storage\.busy"):
            note(plain)
        assert names(engine) == []  # readers wait for nobody, and see nothing unfinished
    assert names(engine) == ["held"]
    engine.dispose()


# --- how it is set up


def test_the_servers_own_defaults_change_nothing(postgres_url: str) -> None:
    before = open_database(postgres_url)
    with before.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        for setting in ("default_transaction_isolation = 'serializable'", "synchronous_commit=off"):
            name = before.url.database
            connection.execute(text(f"ALTER DATABASE {name} SET {setting}"))
    before.dispose()
    engine = open_database(postgres_url)
    wanted = ("transaction_isolation", "synchronous_commit", "lock_timeout", "client_encoding")
    with engine.connect() as connection:
        answers = [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in wanted]
    assert answers == ["read committed", "on", "30s", "UTF8"]
    engine.dispose()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE evidence SET actor = 'x'",
        "DELETE FROM evidence",
        "DELETE FROM evidence WHERE false",
        "TRUNCATE evidence",
    ],
)
def test_the_server_refuses_to_alter_evidence(engine: Engine, statement: str) -> None:
    with write_session(engine) as session:
        note(session)
    with pytest.raises(DatabaseError, match="append-only"), engine.begin() as connection:
        connection.execute(text(statement))
    with pytest.raises(StorageError), write_session(engine) as session:
        session.exec(text(statement))  # type: ignore[call-overload]
    assert verified(engine) == 1


def test_a_server_that_is_not_there_says_so() -> None:
    with pytest.raises(StorageError) as refused:
        open_database(f"postgresql+psycopg://someone:hidden@127.0.0.1:{free_port()}/zone")
    assert refused.value.reason == "storage.database"
    assert "hidden" not in f"{refused.value} {refused.value.__cause__}"


# --- a server that dies


def test_a_crash_in_the_middle_keeps_nothing_of_the_change(engine: Engine, postgres_server) -> None:
    with write_session(engine) as session:
        record(session, entry("before"), at=NOW)
        note(session)

    def half_a_change() -> None:
        with write_session(engine) as session:
            record(session, entry("half"), at=NOW)
            note(session)
            postgres_server.stop(mode="immediate")
            try:
                record(session, entry("other half"), at=NOW)
            finally:
                postgres_server.start()

    with pytest.raises(StorageError) as broken:
        half_a_change()
    assert broken.value.reason == "storage.connection"
    assert names(engine) == ["before"]
    assert verified(engine) == 1
    with write_session(engine) as session:
        record(session, entry("after"), at=NOW)
        assert note(session) == 1
    assert names(engine) == ["before", "after"]


def test_a_crash_before_the_commit_is_told_from_a_refusal(engine: Engine, postgres_server) -> None:
    """Nothing is asked of the server between the crash and the commit."""

    def uncommitted() -> None:
        with write_session(engine) as session:
            record(session, entry("lost"), at=NOW)
            postgres_server.stop(mode="immediate")

    try:
        with pytest.raises(StorageError) as broken:
            uncommitted()
        with pytest.raises(StorageError, match=r"storage\."), write_session(engine) as session:
            listed(session, kind="k")
    finally:
        postgres_server.start()
    assert broken.value.reason == "storage.connection"
    assert names(engine) == []


def test_a_restart_between_changes_is_not_noticed(engine: Engine, postgres_server) -> None:
    with write_session(engine) as session:
        note(session)
    postgres_server.stop()
    postgres_server.start()
    with write_session(engine) as session:
        assert note(session) == 1
    assert verified(engine) == 2


def test_a_reader_is_told_of_a_broken_connection_too(engine: Engine, postgres_server) -> None:
    with write_session(engine) as session:
        record(session, entry("kept"), at=NOW)
    with Session(engine) as session:
        assert len(listed(session, kind="k")) == 1
        postgres_server.stop(mode="immediate")
        try:
            for _ in range(2):  # the connection that broke, then none to be had
                with pytest.raises(StorageError) as broken:
                    listed(session, kind="k")
                assert broken.value.reason == "storage.connection"
                session.rollback()
        finally:
            postgres_server.start()
        assert [found.name for found in listed(session, kind="k")] == ["kept"]


def test_an_entry_of_evidence_is_not_called_busy_where_the_server_died(
    engine: Engine, postgres_server
) -> None:
    with Session(engine) as session:
        assert head(session) is None
        postgres_server.stop(mode="immediate")
        try:
            with pytest.raises(StorageError) as broken:
                note(session)
        finally:
            postgres_server.start()
    assert broken.value.reason == "storage.connection"
    assert verified(engine) == 0


# --- texts


def test_servers_of_tests_sort_as_people_do(engine: Engine) -> None:
    """Else a comparison of texts that holds by bytes alone would go unnoticed."""
    with engine.connect() as connection:
        psycopg_connection = connection.connection.driver_connection
        order = connection.execute(text("SELECT 'a' < 'B', '+' < '.'")).one()
        expected = sorts_for_people(psycopg_connection)
    assert tuple(order) == ((True, False) if expected else (False, True))


@pytest.fixture
def either(database_url: str) -> Iterator[Engine]:
    made = open_database(database_url)
    create_tables(made)
    yield made
    made.dispose()


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a\0b"},
        {"scope": "a\0b"},
        {"state": "\0"},
        {"text": "a\0"},
        {"name": "n" * (MAX_INDEXED_BYTES + 1)},
        {"scope": "é" * (MAX_INDEXED_BYTES // 2 + 1)},
        {"state": "s" * (MAX_INDEXED_BYTES + 1)},
    ],
    ids=lambda wrong: "-".join(f"{name}-{len(value)}" for name, value in wrong.items()),
)
def test_what_one_database_cannot_keep_no_other_keeps(either: Engine, wrong) -> None:
    refused = replace(entry("x"), **wrong)
    with pytest.raises(InvalidMessageError, match=r"storage\.text"):
        insert_once(either, refused, now=NOW)
    with (
        pytest.raises(InvalidMessageError, match=r"storage\.text"),
        write_session(either) as session,
    ):
        keep_all(session, [entry("before"), refused], at=NOW)
    assert names(either) == []


def test_the_longest_names_and_long_texts_are_kept(either: Engine) -> None:
    """Names that no compression makes shorter."""
    digests = "".join(sm3_hex(bytes([number])) for number in range(MAX_INDEXED_BYTES // 64 + 1))
    longest = digests[:MAX_INDEXED_BYTES]
    kept = Record("a-kind-of-record", longest, longest, "d", longest, "度" * 2_000_000)
    assert insert_once(either, kept, now=NOW)
    assert not insert_once(either, kept, now=NOW)
    with Session(either) as session:
        assert fetch(session, kind=kept.kind, name=longest) == kept


def test_a_name_that_cannot_be_is_not_found_or_refused(either: Engine) -> None:
    """Names come from the paths of requests; none may make a service fail."""
    with Session(either) as session, pytest.raises((NotFoundError, InvalidMessageError)):
        fetch(session, kind="k", name="a\0b")


# --- a machine without a server


def test_what_is_missing_is_named(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres_server_module, "INSTALLED", str(tmp_path))
    monkeypatch.delenv(REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="initdb, pg_ctl, postgres missing"):
        require_server()
    monkeypatch.setenv(REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match=f"initdb, pg_ctl, postgres.*{REQUIRED}=1"):
        require_server()


def test_the_newest_of_several_versions_is_taken(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres_server_module, "INSTALLED", str(tmp_path))
    for version in ("9.6", "15", "9"):
        program = tmp_path / version / "bin" / "initdb"
        program.parent.mkdir(parents=True)
        program.touch()
    found = find_program("initdb")
    assert found is not None
    assert Path(found).parts[-3] == "15"


def wait_for(engine: Engine, question: str) -> None:
    """Until a count is not nought."""
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        with engine.connect() as connection:
            if connection.execute(text(question)).scalar():
                return
        time.sleep(0.02)
    pytest.fail("nobody waits")
