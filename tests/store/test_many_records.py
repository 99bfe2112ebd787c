"""Many records in one transaction: groups are whole or absent, and none is hurt by another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from gridsecure.errors import ConflictError, StorageError
from gridsecure.store.database import open_database, write_session
from gridsecure.store.many_records import fetch_many, forget_before, record_groups
from gridsecure.store.records import Record, create_tables, listed, record

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


@pytest.fixture
def engine(database_url):
    made = open_database(database_url)
    create_tables(made)
    yield made
    made.dispose()


def entry(name: str, digest: str = "d", *, kind: str = "k") -> Record:
    return Record(kind, name, f"scope {name}", digest, "", "")


def names(engine, kind: str = "k") -> list[str]:
    with write_session(engine) as session:
        return [found.name for found in listed(session, kind=kind)]


def keep(engine, *groups: list[Record]):
    with write_session(engine) as session:
        return record_groups(session, groups, at=NOW)


def test_a_taken_name_refuses_its_group_whole_and_no_other(engine):
    keep(engine, [entry("taken")])
    outcomes = keep(
        engine,
        [entry("a"), entry("b")],
        [entry("c"), entry("taken", "other")],
        [entry("taken", "other"), entry("d")],
        [entry("taken"), entry("e")],
    )
    assert outcomes[0] == [True, True]
    assert [str(one)[:12] for one in outcomes[1:3]] == ["[conflict.k]"] * 2
    assert all(isinstance(one, ConflictError) for one in outcomes[1:3])
    assert outcomes[3] == [False, True]
    assert names(engine) == ["taken", "a", "b", "e"]


def test_a_group_that_contradicts_itself_is_refused(engine):
    (outcome,) = keep(engine, [entry("a"), entry("a", "other")])
    assert isinstance(outcome, ConflictError)
    assert names(engine) == []


def test_an_error_later_in_the_transaction_keeps_nothing(engine):
    def keep_and_fail() -> None:
        with write_session(engine) as session:
            record_groups(session, [[entry("a")]], at=NOW)
            session.exec(text("INSERT INTO nowhere VALUES (1)"))

    with pytest.raises(StorageError):
        keep_and_fail()
    assert names(engine) == []


def test_many_are_fetched_by_name_or_scope_and_the_absent_are_left_out(engine):
    many = [entry(f"{number:04d}") for number in range(1203)]
    keep(engine, *([one] for one in many))
    keep(engine, [entry("0001", kind="other")])
    with write_session(engine) as session:
        wanted = [one.name for one in many] + ["absent"]
        assert fetch_many(session, wanted, kind="k") == {one.name: one for one in many}
        by_scope = fetch_many(session, ["scope 0007", "0007"], kind="k", by="scope")
        assert by_scope == {"scope 0007": many[7]}
        assert fetch_many(session, [], kind="k") == {}


def test_only_what_is_over_is_forgotten(engine):
    moments = [NOW + timedelta(seconds=step / 2) for step in range(4)]
    with write_session(engine) as session:
        for number, moment in enumerate(moments):
            for kind in ("k", "other"):
                record(session, entry(str(number), kind=kind), at=moment)
    for cut in (1, 2, 3):
        with write_session(engine) as session:
            forget_before(session, moments[cut], kind="k")
        assert names(engine) == ["0", "1", "2", "3"][cut:]
    assert names(engine, "other") == ["0", "1", "2", "3"]
