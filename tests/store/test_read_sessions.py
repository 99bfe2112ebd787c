"""Sessions that only read: they wait for no writer, see one moment, and cannot write."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from time import monotonic

import pytest
from sqlalchemy import Engine
from sqlmodel import Session

from gridsecure.errors import StorageError
from gridsecure.store.database import open_database, read_session, write_session
from gridsecure.store.evidence import append, head
from gridsecure.store.records import Record, create_tables, listed, record

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_database(database_url)
    create_tables(made)
    yield made
    made.dispose()


def keep(session: Session, name: str) -> None:
    record(session, Record("k", name, name, "d", "", ""), at=NOW)


def names(session: Session) -> list[str]:
    return [found.name for found in listed(session, kind="k")]


def test_a_reader_waits_for_no_writer_and_does_not_see_what_is_under_way(engine: Engine) -> None:
    with write_session(engine) as writing:
        keep(writing, "first")
        began = monotonic()
        with read_session(engine) as reading:
            assert names(reading) == []
        assert monotonic() - began < 10
    with read_session(engine) as reading:
        assert names(reading) == ["first"]


def test_a_reader_sees_one_moment_throughout(engine: Engine) -> None:
    with read_session(engine) as reading:
        assert names(reading) == []
        with write_session(engine) as writing:
            keep(writing, "meanwhile")
            append(writing, at=NOW, actor="a", action="b", detail={})
        assert names(reading) == []
        assert head(reading) is None
    with read_session(engine) as reading:
        assert names(reading) == ["meanwhile"]
        assert head(reading) is not None


def test_the_database_keeps_a_reader_from_writing(engine: Engine) -> None:
    with pytest.raises(StorageError) as refused, read_session(engine) as reading:
        keep(reading, "by a reader")
    assert refused.value.reason == "storage.database"
    for _ in range(3):  # the connection is used again, by readers and writers in turn
        with write_session(engine) as writing:
            keep(writing, "by a writer")
        with read_session(engine) as reading:
            assert names(reading) == ["by a writer"]
