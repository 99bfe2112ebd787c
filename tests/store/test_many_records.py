"""Many records in one transaction: groups are whole or absent, and none is hurt by another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from gridsecure.errors import ConflictError, GridSecureError, StorageError
from gridsecure.store.database import open_database, write_session
from gridsecure.store.many_records import fetch_many, forget_before, keep_all, record_groups
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


# --- all or none -------------------------------------------------------------------------------


def pin(name: str, digest: str = "d", *, kind: str = "k") -> Record:
    return Record(kind, name, name, digest, "", "")


def keep_together(engine, *entries: Record) -> None:
    with write_session(engine) as session:
        keep_all(session, entries, at=NOW)


def test_all_are_kept_and_the_same_again_changes_nothing(engine):
    many = [pin(f"{number:04d}", f"digest {number}") for number in range(1203)]
    for _ in range(2):
        keep_together(engine, *many)
        with write_session(engine) as session:
            assert listed(session, kind="k") == many


def test_what_is_new_among_the_known_is_added(engine):
    keep_together(engine, pin("b"))
    keep_together(engine, pin("a"), pin("b"), pin("c"))
    assert names(engine) == ["b", "a", "c"]


def test_nothing_to_keep_keeps_nothing(engine):
    keep_together(engine)
    assert names(engine) == []


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_taken_name_keeps_none(engine, place):
    keep_together(engine, pin("taken"))
    entries = [pin("a"), pin("b")]
    entries.insert(place, pin("taken", "other"))
    with pytest.raises(ConflictError) as refused:
        keep_together(engine, *entries)
    assert refused.value.reason == "conflict.k"
    assert names(engine) == ["taken"]
    with write_session(engine) as session:
        assert listed(session, kind="k") == [pin("taken")]


def test_a_conflict_far_behind_the_first_portion_is_found(engine):
    keep_together(engine, pin("1100"))
    many = [pin(f"{number:04d}", "other") for number in range(1203)]
    with pytest.raises(ConflictError):
        keep_together(engine, *many)
    assert names(engine) == ["1100"]


def test_a_name_of_another_kind_is_in_nobodys_way(engine):
    keep_together(engine, pin("a", "other", kind="other"))
    keep_together(engine, pin("a"))
    assert names(engine) == names(engine, "other") == ["a"]


def test_a_refusal_takes_back_what_the_transaction_wrote_before(engine):
    keep_together(engine, pin("taken"))

    def write_and_conflict() -> None:
        with write_session(engine) as session:
            record(session, pin("before"), at=NOW)
            keep_all(session, [pin("a"), pin("taken", "other")], at=NOW)

    with pytest.raises(ConflictError):
        write_and_conflict()
    assert names(engine) == ["taken"]


def test_entries_that_contradict_each_other_keep_none(engine):
    with pytest.raises(GridSecureError):
        keep_together(engine, pin("b"), pin("a"), pin("a", "other"))
    assert names(engine) == []


def test_of_many_at_once_about_one_name_one_content_stands(engine):
    """Each brings a name of its own and the shared one; the losers leave nothing behind."""

    def outcome(number: int) -> str:
        try:
            keep_together(engine, pin(f"own {number}"), pin("shared", f"digest {number}"))
        except ConflictError as error:
            return error.reason
        return "kept"

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(outcome, range(4)))
    assert sorted(outcomes) == ["conflict.k"] * 3 + ["kept"]
    assert sorted(names(engine)) == [f"own {outcomes.index('kept')}", "shared"]
