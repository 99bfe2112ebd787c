"""The evidence log: every alteration is found, and writers in several processes do not collide."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DatabaseError
from sqlmodel import Session

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuditBrokenError, StorageError
from gridsecure.store import database
from gridsecure.store.database import open_database, write_session, write_transaction
from gridsecure.store.evidence import (
    EvidenceEntry,
    EvidenceRow,
    append,
    find_entry,
    find_head,
    find_newest,
    list_entries_after,
    list_entries_among,
    list_entries_of,
    verify_entries,
)
from gridsecure.store.log_tree import read_frontier, verify_log
from gridsecure.store.old_records import create_evidence
from gridsecure.transparency.tree import Frontier, leaf_hash

SOURCES = Path(__file__).parents[2] / "src"
WHEN = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
TABLES = ("evidence", "evidence_node")
GUARDS = {
    "sqlite": [
        f"DROP TRIGGER IF EXISTS {table}_no_{verb}"
        for table in TABLES
        for verb in ("update", "delete")
    ],
    "postgresql": [f"DROP TRIGGER IF EXISTS {table}_append_only ON {table}" for table in TABLES],
}
FORGET_NODES = ["DELETE FROM evidence_node WHERE place >= 3"]
"""Leaves the nodes of a log of three entries."""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    yield from opened_engine(database_url)


@pytest.fixture
def sqlite_engine(tmp_path: Path) -> Iterator[Engine]:
    yield from opened_engine(f"sqlite:///{tmp_path / 'zone.db'}")


def opened_engine(url: str) -> Iterator[Engine]:
    engine = open_database(url)
    with write_transaction(engine) as connection:
        create_evidence(connection)
    yield engine
    engine.dispose()


def add(engine: Engine, count: int) -> list[EvidenceEntry]:
    with write_session(engine) as session:
        return [
            append(
                session,
                at=WHEN + timedelta(seconds=number),
                actor="checker",
                action="release.refused",
                detail={"plan": sm3_hex(bytes([number])), "cells": number, "why": None},
            )
            for number in range(count)
        ]


def verified(engine: Engine, witnessed: Frontier | None = None) -> int:
    with Session(engine) as session:
        return verify_log(session, witnessed=witnessed)


def seen(engine: Engine) -> Frontier:
    """What a witness keeps of the log."""
    with Session(engine) as session:
        return read_frontier(session)


def tamper(engine: Engine, *statements: str) -> None:
    """Edit the rows as someone who owns the database can: triggers first."""
    with engine.begin() as connection:
        for statement in (*GUARDS[engine.dialect.name], *statements):
            connection.execute(text(statement))


# --- a log that holds


def test_an_empty_log_holds(engine: Engine) -> None:
    assert verified(engine) == 0
    with Session(engine) as session:
        assert find_head(session) is None


def test_entries_are_leaves_of_a_tree(engine: Engine) -> None:
    entries = add(engine, 5)
    assert verified(engine) == 5
    assert [entry.index for entry in entries] == [0, 1, 2, 3, 4]
    assert seen(engine) == Frontier().grow(entry.leaf for entry in entries)
    with Session(engine) as session:
        assert find_head(session) == entries[-1]


def test_a_record_is_in_the_log_once(engine: Engine) -> None:
    first = add(engine, 3)
    assert add(engine, 4)[:3] == first
    assert verified(engine) == 4


def test_the_hash_is_the_documented_one(engine: Engine) -> None:
    with write_session(engine) as session:
        entry = append(session, at=WHEN, actor="甲", action="start", detail={"b": 1, "a": [True]})
    preimage = (
        '["gridsecure-evidence-2","2026-11-23T09:00:00.000000+00:00","甲","start",'
        '"{\\"a\\":[true],\\"b\\":1}"]'
    )
    assert entry.record == preimage
    assert entry.hash == sm3_hex(preimage.encode())
    shown = "gridsecure-entry-1 sm3:" + sm3_hex(bytes.fromhex(entry.salt + entry.hash))
    assert entry.leaf == leaf_hash(shown.encode())
    assert len(entry.salt) == 32
    assert entry.detail == '{"a":[true],"b":1}'


def test_times_are_kept_in_utc(engine: Engine) -> None:
    shenzhen = WHEN.astimezone(timezone(timedelta(hours=8)))
    with write_session(engine) as session:
        entry = append(session, at=shenzhen, actor="a", action="b", detail={})
    assert entry.at == WHEN
    assert entry.at.utcoffset() == timedelta(0)


@given(
    actor=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
    number=st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_content_survives(engine: Engine, actor: str, number: float) -> None:
    with write_session(engine) as session:
        entry = append(session, at=WHEN, actor=actor, action="test", detail={"n": number})
    assert verified(engine, seen(engine)) > entry.index


def test_an_append_that_is_rolled_back_leaves_no_gap(engine: Engine) -> None:
    add(engine, 2)
    with Session(engine) as session:
        assert append(session, at=WHEN, actor="a", action="b", detail={}).index == 2
        session.rollback()
    add(engine, 3)
    assert verified(engine) == 3


# --- a log that was altered


@pytest.mark.parametrize("index", [0, 2, 4])
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("at", "'2026-11-23T09:00:09.000000+00:00'"),
        ("actor", "'vault'"),
        ("action", "'release.granted'"),
        ("detail", "'{}'"),
        ("previous", "'" + "1" * 64 + "'"),
        ("hash", "'" + "2" * 64 + "'"),
        ("at", "'yesterday'"),
        ("salt", "'no digits'"),
        ('"index"', "99"),
    ],
)
def test_every_altered_field_is_found(engine: Engine, index: int, column: str, value: str) -> None:
    add(engine, 5)
    tamper(engine, f'UPDATE evidence SET {column} = {value} WHERE "index" = {index}')  # noqa: S608
    with pytest.raises(AuditBrokenError) as broken:
        verified(engine)
    assert broken.value.reason == "audit.log"
    assert f"entry {index}" in str(broken.value) or (column, index) == ('"index"', 4)


@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_another_salt_is_found(engine: Engine, index: int) -> None:
    """Of the last leaf nothing but a checkpoint says what it was."""
    add(engine, 5)
    tamper(engine, f"UPDATE evidence SET salt = '{'0' * 32}' WHERE \"index\" = {index}")  # noqa: S608
    with pytest.raises(AuditBrokenError, match=f"entry {index | 1}"):
        verified(engine)


@pytest.mark.parametrize("change", ["DELETE FROM", "UPDATE"])
@pytest.mark.parametrize(("place", "index"), [(1, 1), (5, 3), (3, 3)])
def test_an_altered_node_is_found(engine: Engine, change: str, place: int, index: int) -> None:
    add(engine, 5)
    value = "" if change != "UPDATE" else "SET hash = (SELECT hash FROM evidence_node LIMIT 1)"
    if (change, place) == ("UPDATE", 1):
        value = "SET hash = (SELECT hash FROM evidence_node WHERE place = 3)"
    tamper(engine, f"{change} evidence_node {value} WHERE place = {place}")
    with pytest.raises(AuditBrokenError, match=f"entry {index}"):
        verified(engine)


@pytest.mark.parametrize("index", [0, 1, 3])
def test_a_deleted_entry_is_found(engine: Engine, index: int) -> None:
    add(engine, 5)
    tamper(engine, f'DELETE FROM evidence WHERE "index" = {index}')  # noqa: S608
    with pytest.raises(AuditBrokenError, match=f"entry {index}"):
        verified(engine)


def test_swapped_entries_are_found(engine: Engine) -> None:
    add(engine, 5)
    tamper(
        engine,
        'UPDATE evidence SET "index" = 77 WHERE "index" = 1',
        'UPDATE evidence SET "index" = 1 WHERE "index" = 2',
        'UPDATE evidence SET "index" = 2 WHERE "index" = 77',
    )
    with pytest.raises(AuditBrokenError, match="entry 1"):
        verified(engine)


def test_a_cut_off_end_needs_a_witness(engine: Engine) -> None:
    add(engine, 3)
    three = seen(engine)
    add(engine, 5)
    five = seen(engine)
    tamper(engine, 'DELETE FROM evidence WHERE "index" >= 3', *FORGET_NODES)
    assert verified(engine) == 3
    assert verified(engine, three) == 3
    with pytest.raises(AuditBrokenError, match="entry 3"):
        verified(engine, five)


def test_a_log_written_anew_needs_a_witness(engine: Engine) -> None:
    add(engine, 1)
    witnessed = seen(engine)
    tamper(engine, "DELETE FROM evidence")
    with write_session(engine) as session:
        append(session, at=WHEN, actor="intruder", action="b", detail={})
    assert verified(engine) == 1
    with pytest.raises(AuditBrokenError, match="entry 0"):
        verified(engine, witnessed)


def test_a_session_that_remembers_rows_still_reads_what_is_stored(engine: Engine) -> None:
    add(engine, 3)
    with Session(engine) as session:
        remembered = session.get(EvidenceRow, 1)
        session.commit()
        assert remembered is not None
        assert remembered.actor == "checker"
        session.commit()
        tamper(engine, "UPDATE evidence SET actor = 'vault' WHERE \"index\" = 1")
        with pytest.raises(AuditBrokenError, match="entry 1"):
            verify_log(session)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE evidence SET actor = 'x'",
        "DELETE FROM evidence",
        "UPDATE evidence_node SET place = 9",
        "DELETE FROM evidence_node",
    ],
)
def test_the_database_refuses_to_alter_entries(engine: Engine, statement: str) -> None:
    add(engine, 2)
    with pytest.raises(DatabaseError, match="append-only"), engine.begin() as connection:
        connection.execute(text(statement))
    assert verified(engine) == 2


# --- several writers


def test_processes_append_without_collision(database_url: str, engine: Engine) -> None:
    script = """
        import sys
        from datetime import UTC, datetime
        from gridsecure.store.database import open_database, write_session
        from gridsecure.store.evidence import append
        engine = open_database(sys.argv[1])
        for number in range(50):
            with write_session(engine) as session:
                append(session, at=datetime(2026, 1, 1, tzinfo=UTC), actor=sys.argv[2],
                       action="test", detail={"number": number})
        engine.dispose()
    """
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), database_url, name],
            env={"PYTHONPATH": str(SOURCES)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("first", "second")
    ]
    for writer in writers:
        assert writer.communicate(timeout=120)[1] == ""
        assert writer.returncode == 0
    assert verified(engine) == 100


def test_a_plain_session_may_append_when_it_read_nothing_before(engine: Engine) -> None:
    with Session(engine) as session:
        append(session, at=WHEN, actor="a", action="b", detail={})
        session.commit()
    assert verified(engine) == 1


def test_a_plain_session_with_an_outdated_view_is_told_to_try_again(sqlite_engine: Engine) -> None:
    with Session(sqlite_engine) as session:
        assert find_head(session) is None
        add(sqlite_engine, 1)
        with pytest.raises(StorageError) as refused:
            append(session, at=WHEN, actor="a", action="b", detail={})
        assert refused.value.reason == "storage.busy"
        session.rollback()
        append(session, at=WHEN, actor="a", action="b", detail={})
        session.commit()
    assert verified(sqlite_engine) == 2


def test_mistakes_of_the_caller_are_refused_before_anything_is_written(engine: Engine) -> None:
    mistakes: list[tuple[datetime, Any, type[Exception]]] = [
        (datetime(2026, 1, 1), {}, ValueError),  # noqa: DTZ001 - naive on purpose
        (WHEN, {"n": float("nan")}, ValueError),
        (WHEN, {"b": b"bytes"}, TypeError),
    ]
    for at, detail, error in mistakes:
        with pytest.raises(error), write_session(engine) as session:
            append(session, at=at, actor="a", action="b", detail=detail)
    assert verified(engine) == 0


# --- the database underneath


@pytest.mark.parametrize(
    "name",
    [
        "sqlite:////nowhere/at/all/zone.db",
        "nonsense",
        "absent://x",
        "mysql://x/y",
        "postgresql+absent://x/y",
    ],
)
def test_databases_that_do_not_open_say_so(name: str) -> None:
    with pytest.raises(StorageError) as refused:
        open_database(name)
    assert refused.value.reason == "storage.database"


def test_sqlite_is_set_up_for_sharing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As the product does it: the other tests wait for no disk (tests/conftest.py).
    monkeypatch.setattr(database, "_set_up_sqlite", database._set_up_sqlite.__wrapped__)
    engine = open_database(f"sqlite:///{tmp_path / 'zone.db'}")
    with engine.connect() as connection:
        answers = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        }
    engine.dispose()
    assert answers == {
        "journal_mode": "wal",
        "foreign_keys": 1,
        "synchronous": 2,
        "busy_timeout": database.BUSY_TIMEOUT_MS,
    }


def test_a_full_database_keeps_nothing_of_the_change(sqlite_engine: Engine) -> None:
    """SQLite's own page limit stands for the full disk."""
    add(sqlite_engine, 1)
    with sqlite_engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")  # clamps to the present size
    with pytest.raises(StorageError):
        add(sqlite_engine, 1000)
    sqlite_engine.dispose()
    assert verified(sqlite_engine) == 1


def test_a_refusal_at_the_callers_own_statement_is_a_storage_error(engine: Engine) -> None:
    with pytest.raises(StorageError) as refused, write_session(engine) as session:
        session.exec(text("INSERT INTO absent VALUES (1)"))
    assert refused.value.reason == "storage.database"


def test_what_was_written_is_readable_after_the_session(engine: Engine) -> None:
    with write_session(engine) as session:
        append(session, at=WHEN, actor="a", action="b", detail={})
        row = session.get(EvidenceRow, 0)
    assert row is not None
    assert row.actor == "a"


def test_the_head_is_one_row_however_long_the_log(engine: Engine) -> None:
    """Reading all rows to find the newest made every append slower than the one before."""
    add(engine, 30)
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *sent: statements.append(sent[2]))
    with Session(engine) as session:
        newest = find_head(session)
    assert newest is not None
    assert newest.index == 29
    assert [statement for statement in statements if "LIMIT" in statement] != []
    assert sum("FROM evidence" in statement for statement in statements) == 1


# --- entries that were fetched ------------------------------------------------------------------


def test_fetched_entries_are_verified_as_the_log_is(engine: Engine) -> None:
    log = add(engine, 5)
    with Session(engine) as session:
        assert list_entries_after(session, -1) == log
        assert list_entries_after(session, 2) == log[3:]
        assert list_entries_after(session, -1, limit=2) == log[:2]
        either = ("release.refused", "release.done")
        assert list_entries_among(session, 0, either, limit=3) == log[1:4]
        assert list_entries_among(session, -1, ["release.done"]) == []
        assert list_entries_of(session, "release.refused") == log
        assert find_newest(session, either) == log[-1].index
        assert find_newest(session, ["release.done"]) == -1
        assert list_entries_of(session, "release.done") == []
        assert find_entry(session, log[3].hash) == log[3]
        assert find_entry(session, "0" * 64) is None
    assert verify_entries([]) == Frontier()
    assert verify_entries(log) == seen(engine)
    for size in range(6):
        witnessed = Frontier().grow(entry.leaf for entry in log[:size])
        assert verify_entries(log, witnessed=witnessed) == seen(engine)


@pytest.mark.parametrize(
    "change",
    [
        {"index": 7},
        {"at": WHEN + timedelta(microseconds=1)},
        {"actor": "somebody"},
        {"action": "release.done"},
        {"detail": "{}"},
        {"previous": "ab" * 32},
        {"hash": "ab" * 32},
    ],
    ids=lambda change: next(iter(change)),
)
@pytest.mark.parametrize("place", [0, 2, 4])
def test_an_altered_fetched_entry_is_found(engine: Engine, place: int, change: Any) -> None:
    log = add(engine, 5)
    log[place] = replace(log[place], **change)
    with pytest.raises(AuditBrokenError, match=f"entry {place}"):
        verify_entries(log)


def test_fetched_entries_begin_with_what_the_witness_saw(engine: Engine) -> None:
    log = add(engine, 5)
    three, forged = (
        Frontier().grow(entry.leaf for entry in some)
        for some in (log[:3], [*log[:2], replace(log[2], hash="ab" * 32)])
    )
    for entries, witnessed in (
        (log[1:], None),
        (log[:2] + log[3:], None),
        (log[::-1], None),
        (log, forged),
        (log[3:], three),
        (log[:2], three),
        ([], three),
    ):
        with pytest.raises(AuditBrokenError, match=r"audit\.log"):
            verify_entries(entries, witnessed=witnessed)
