"""What is PostgreSQL's own: its locks, its guards, and a server that dies in the middle."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DatabaseError
from sqlmodel import Session

from gridsecure.errors import ConflictError, StorageError
from gridsecure.store import database
from gridsecure.store.database import open_database, write_session
from gridsecure.store.evidence import append, find_head
from gridsecure.store.log_tree import verify_log
from gridsecure.store.rows import as_draft, keep, keep_groups
from gridsecure.store.schema import migrate
from tests import postgres_server as postgres_server_module
from tests.postgres_server import (
    REQUIRED,
    find_program,
    free_port,
    require_server,
    sorts_for_people,
)
from tests.store.note_tables import NOTES, NOW, Note
from tests.store.note_tables import names as names_in


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    made = open_database(postgres_url)
    migrate(made, NOTES)
    yield made
    made.dispose()


def entry(name: str, digest: str = "d") -> Note:
    return Note(name=name, digest=digest)


NUMBERS = count()  # a record is in the log once


def note(session: Session, actor: str = "a") -> int:
    detail = {"number": next(NUMBERS)}
    return append(session, at=NOW, actor=actor, action="b", detail=detail).index


def names(engine: Engine) -> list[str]:
    with Session(engine) as session:
        return names_in(session)


def verified(engine: Engine) -> int:
    with Session(engine) as session:
        return verify_log(session)


# --- several writers


def test_what_a_writer_read_is_still_so_when_it_writes(database_url: str) -> None:
    """The release ledger reads who was totalled before it adds; two must not both see nobody."""
    engine = open_database(database_url)
    migrate(engine, NOTES)
    both = threading.Barrier(2)

    def add_if_alone(name: str) -> None:
        both.wait()
        with write_session(engine) as session:
            others = names_in(session)
            time.sleep(0.2)
            if not others:
                keep(session, entry(name))

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
            drafts = [[as_draft(row) for row in group] for group in groups]
            outcomes.append(keep_groups(session, drafts))
            session.commit()

    with Session(engine) as first:
        keep(first, entry("raced"))
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
        assert find_head(outdated) is None
        with write_session(engine) as session:
            note(session)
        assert note(outdated) == 1
        outdated.commit()
    assert verified(engine) == 2


def test_who_waits_too_long_is_refused(postgres_url: str, monkeypatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 200)
    engine = open_database(postgres_url)
    migrate(engine, NOTES)
    with write_session(engine) as holding:
        keep(holding, entry("held"))
        with (
            pytest.raises(StorageError, match=r"storage\.busy"),
            write_session(engine) as waiting,
        ):
            names_in(waiting)
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
        session.exec(text(statement))
    assert verified(engine) == 1


def test_a_server_that_is_not_there_says_so() -> None:
    with pytest.raises(StorageError) as refused:
        open_database(f"postgresql+psycopg://someone:hidden@127.0.0.1:{free_port()}/zone")
    assert refused.value.reason == "storage.database"
    assert "hidden" not in f"{refused.value} {refused.value.__cause__}"


# --- a server that dies


def test_a_crash_in_the_middle_keeps_nothing_of_the_change(engine: Engine, postgres_server) -> None:
    with write_session(engine) as session:
        keep(session, entry("before"))
        note(session)

    def half_a_change() -> None:
        with write_session(engine) as session:
            keep(session, entry("half"))
            note(session)
            postgres_server.stop(mode="immediate")
            try:
                keep(session, entry("other half"))
            finally:
                postgres_server.start()

    with pytest.raises(StorageError) as broken:
        half_a_change()
    assert broken.value.reason == "storage.connection"
    assert names(engine) == ["before"]
    assert verified(engine) == 1
    with write_session(engine) as session:
        keep(session, entry("after"))
        assert note(session) == 1
    assert names(engine) == ["before", "after"]


def test_a_crash_before_the_commit_is_told_from_a_refusal(engine: Engine, postgres_server) -> None:
    """Nothing is asked of the server between the crash and the commit."""

    def uncommitted() -> None:
        with write_session(engine) as session:
            keep(session, entry("lost"))
            postgres_server.stop(mode="immediate")

    try:
        with pytest.raises(StorageError) as broken:
            uncommitted()
        with pytest.raises(StorageError, match=r"storage\."), write_session(engine) as session:
            names_in(session)
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
        keep(session, entry("kept"))
    with Session(engine) as session:
        assert names_in(session) == ["kept"]
        postgres_server.stop(mode="immediate")
        try:
            for _ in range(2):  # the connection that broke, then none to be had
                with pytest.raises(StorageError) as broken:
                    names_in(session)
                assert broken.value.reason == "storage.connection"
                session.rollback()
        finally:
            postgres_server.start()
        assert names_in(session) == ["kept"]


def test_an_entry_of_evidence_is_not_called_busy_where_the_server_died(
    engine: Engine, postgres_server
) -> None:
    with Session(engine) as session:
        assert find_head(session) is None
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
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        with engine.connect() as connection:
            if connection.execute(text(question)).scalar():
                return
        time.sleep(0.02)
    pytest.fail("nobody waits")
