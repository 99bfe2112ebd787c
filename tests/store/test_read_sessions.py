"""Sessions that only read: they wait for no writer, see one moment, and cannot write."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic

import pytest
from sqlalchemy import Engine
from sqlmodel import Session

from gridsecure.errors import StorageError
from gridsecure.store.database import open_database, read_session, write_session
from gridsecure.store.evidence import append, find_head
from gridsecure.store.rows import keep as keep_row
from gridsecure.store.schema import migrate
from tests.store.note_tables import NOTES, NOW, Note, names


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_database(database_url)
    migrate(made, NOTES)
    yield made
    made.dispose()


def keep(session: Session, name: str) -> None:
    keep_row(session, Note(name=name))


def test_a_reader_waits_for_no_writer_and_does_not_see_what_is_under_way(engine: Engine) -> None:
    with write_session(engine) as writing:
        keep(writing, "first")
        began = monotonic()
        with read_session(engine) as reading:
            assert names(reading) == []
        assert monotonic() - began < 25  # a writer is waited for 30 s
    with read_session(engine) as reading:
        assert names(reading) == ["first"]


def test_a_reader_sees_one_moment_throughout(engine: Engine) -> None:
    with read_session(engine) as reading:
        assert names(reading) == []
        with write_session(engine) as writing:
            keep(writing, "meanwhile")
            append(writing, at=NOW, actor="a", action="b", detail={})
        assert names(reading) == []
        assert find_head(reading) is None
    with read_session(engine) as reading:
        assert names(reading) == ["meanwhile"]
        assert find_head(reading) is not None


def test_the_database_keeps_a_reader_from_writing(engine: Engine) -> None:
    with pytest.raises(StorageError) as refused, read_session(engine) as reading:
        keep(reading, "by a reader")
    assert refused.value.reason == "storage.database"
    for _ in range(3):  # the connection is used again, by readers and writers in turn
        with write_session(engine) as writing:
            keep(writing, "by a writer")
        with read_session(engine) as reading:
            assert names(reading) == ["by a writer"]
