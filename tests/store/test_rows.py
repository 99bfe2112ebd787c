"""Rows of typed tables: kept once, whole groups or none, moved by compare-and-set."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Engine, text
from sqlmodel import col, delete, select

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ConflictError, InvalidMessageError, NotFoundError, StorageError
from gridsecure.store.database import open_database, read_session, write_session
from gridsecure.store.rows import (
    MAX_INDEXED_BYTES,
    advance,
    as_draft,
    find,
    find_many,
    insert_all,
    keep,
    keep_all,
    keep_groups,
    keep_once,
    load_row,
)
from gridsecure.store.schema import migrate
from tests.store.note_tables import NOTES, NOW, Note, Reply, names


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_database(database_url)
    migrate(made, NOTES)
    yield made
    made.dispose()


def note(name: str, digest: str = "d", *, topic: str | None = None) -> Note:
    return Note(name=name, digest=digest, topic=topic)


def kept(engine: Engine) -> list[str]:
    with read_session(engine) as session:
        return names(session)


def keep_one(engine: Engine, row: Note | Reply) -> bool:
    with write_session(engine) as session:
        return keep(session, row)


# --- one row


def test_the_same_again_changes_nothing(engine: Engine) -> None:
    assert keep_one(engine, Note(name="a", digest="d", state="first", text="kept"))
    assert not keep_one(engine, Note(name="a", digest="d", state="second", text="not"))
    assert not keep_once(engine, note("a"))
    with read_session(engine) as session:
        found = load_row(session, Note, name="a")
    assert (found.state, found.text, found.at) == ("first", "kept", NOW)


def test_every_unique_key_refuses_other_content(engine: Engine) -> None:
    keep_one(engine, note("a", topic="t"))
    for taken in (note("a", "other"), note("b", topic="t"), note("a", "other", topic="t")):
        with pytest.raises(ConflictError) as refused:
            keep_one(engine, taken)
        assert refused.value.reason == "conflict.note"
        with pytest.raises(ConflictError):
            keep_once(engine, taken)
    assert kept(engine) == ["a"]


def test_a_key_with_nothing_in_it_clashes_with_none(engine: Engine) -> None:
    assert keep_one(engine, note("a"))
    assert keep_one(engine, note("b"))


def test_a_primary_key_is_a_key_like_any_other(engine: Engine) -> None:
    keep_one(engine, note("a"))
    keep_one(engine, note("b"))
    assert keep_one(engine, Reply(name="r", note="a"))
    assert not keep_one(engine, Reply(name="r", note="a"))
    with pytest.raises(ConflictError, match=r"conflict\.reply"):
        keep_one(engine, Reply(name="r", note="b"))


def test_what_a_row_refers_to_must_be_there(engine: Engine) -> None:
    with pytest.raises(StorageError):
        keep_one(engine, Reply(name="r", note="absent"))
    keep_one(engine, note("a"))
    keep_one(engine, Reply(name="r", note="a"))
    with pytest.raises(StorageError), write_session(engine) as session:
        session.exec(delete(Note))
    assert kept(engine) == ["a"]


def test_what_is_not_there_is_not_found(engine: Engine) -> None:
    with read_session(engine) as session:
        assert find(session, Note, name="a") is None
        with pytest.raises(NotFoundError) as missing:
            load_row(session, Note, name="a")
    assert missing.value.reason == "not-found.note"


def test_only_the_state_moves_and_only_from_where_it_is_said_to_be(engine: Engine) -> None:
    for name in ("a", "b"):
        keep_one(engine, Note(name=name, state="open"))
    with write_session(engine) as session:
        before = load_row(session, Note, name="a")
        assert advance(session, Note, source="open", target="done", name="a")
        assert before.state == "done"
        assert not advance(session, Note, source="open", target="done", name="a")
        assert not advance(session, Note, source="open", target="done", name="absent")
        assert load_row(session, Note, name="b").state == "open"


def test_content_changes_through_no_attribute(engine: Engine) -> None:
    keep_one(engine, note("a"))
    for name, value in (("digest", "other"), ("state", "other"), ("text", "other")):
        with pytest.raises(AssertionError), write_session(engine) as session:
            setattr(load_row(session, Note, name="a"), name, value)
    with read_session(engine) as session:
        found = load_row(session, Note, name="a")
    assert (found.digest, found.state, found.text) == ("d", "", "")


# --- moments


def test_a_moment_comes_back_as_it_was_and_in_utc(engine: Engine) -> None:
    for name, at in (
        ("east", datetime(2026, 3, 1, 8, 0, tzinfo=timezone(timedelta(hours=8)))),
        ("utc", datetime(2026, 3, 1, 0, 0, 0, 1, tzinfo=UTC)),
        ("west", datetime(2026, 2, 28, 19, 0, 1, tzinfo=timezone(-timedelta(hours=5)))),
    ):
        keep_one(engine, Note(name=name, at=at))
        with read_session(engine) as session:
            found = load_row(session, Note, name=name).at
        assert (found, found.tzinfo) == (at, UTC)
    with read_session(engine) as session:
        in_order = select(Note.name).order_by(col(Note.at).desc())
        assert session.exec(in_order).all() == ["west", "utc", "east"]
        eastern = datetime(2026, 3, 1, 8, 0, tzinfo=timezone(timedelta(hours=8)))
        assert session.exec(select(Note.name).where(Note.at == eastern)).all() == ["east"]


def test_a_moment_without_a_zone_is_refused(engine: Engine) -> None:
    with pytest.raises(StorageError):
        keep_one(engine, Note(name="a", at=datetime(2026, 3, 1)))  # noqa: DTZ001 - naive on purpose
    assert kept(engine) == []


def test_only_what_is_over_is_forgotten(engine: Engine) -> None:
    moments = [NOW + timedelta(seconds=step / 2) for step in range(4)]
    for number, moment in enumerate(moments):
        keep_one(engine, Note(name=str(number), at=moment))
    for cut in (1, 2, 3):
        with write_session(engine) as session:
            session.exec(delete(Note).where(col(Note.at) < moments[cut]))
        assert kept(engine) == ["0", "1", "2", "3"][cut:]


@pytest.mark.parametrize("count", [0, 1, 1_001])
def test_plain_values_are_all_inserted(engine: Engine, count: int) -> None:
    names = [f"{number:04d}" for number in range(count)]
    with write_session(engine) as session:
        insert_all(session, Note, (as_draft(note(name)).values for name in names))
    assert kept(engine) == names


# --- groups


def keep_in_groups(engine: Engine, *groups: list[Note]) -> list[list[bool] | ConflictError]:
    with write_session(engine) as session:
        return keep_groups(session, [[as_draft(row) for row in group] for group in groups])


def test_a_taken_name_refuses_its_group_whole_and_no_other(engine: Engine) -> None:
    keep_in_groups(engine, [note("taken")])
    outcomes = keep_in_groups(
        engine,
        [note("a"), note("b")],
        [note("c"), note("taken", "other")],
        [note("taken", "other"), note("d")],
        [note("taken"), note("e")],
    )
    assert outcomes[0] == [True, True]
    assert [str(one)[:15] for one in outcomes[1:3]] == ["[conflict.note]"] * 2
    assert all(isinstance(one, ConflictError) for one in outcomes[1:3])
    assert outcomes[3] == [False, True]
    assert kept(engine) == ["taken", "a", "b", "e"]


def test_a_group_that_contradicts_itself_is_refused(engine: Engine) -> None:
    (outcome,) = keep_in_groups(engine, [note("a"), note("a", "other")])
    assert isinstance(outcome, ConflictError)
    assert kept(engine) == []


def test_an_error_later_in_the_transaction_keeps_nothing(engine: Engine) -> None:
    def keep_and_fail() -> None:
        with write_session(engine) as session:
            keep_groups(session, [[as_draft(note("a"))]])
            session.execute(text("INSERT INTO nowhere VALUES (1)"))

    with pytest.raises(StorageError):
        keep_and_fail()
    assert kept(engine) == []


def test_a_draft_has_the_columns_of_its_table(engine: Engine) -> None:
    assert Reply.draft(name="a", note="b") == as_draft(Reply(name="a", note="b"))
    for wrong in ({"name": "a"}, {"name": "a", "note": "b", "text": ""}):
        with pytest.raises(ValueError, match="a reply has other columns"):
            Reply.draft(**wrong)


# --- many


def test_many_are_found_by_an_indexed_column_and_the_absent_are_left_out(engine: Engine) -> None:
    many = [note(f"{number:04d}", topic=f"topic {number:04d}") for number in range(1203)]
    with write_session(engine) as session:
        keep_all(session, [as_draft(row) for row in many])
        wanted = [one.name for one in many] + ["absent"]
        found = find_many(session, Note, wanted, by="name")
        assert {name: one.topic for name, one in found.items()} == {
            one.name: one.topic for one in many
        }
        by_topic = find_many(session, Note, ["topic 0007", "0007"], by="topic")
        assert {topic: one.name for topic, one in by_topic.items()} == {"topic 0007": "0007"}
        assert find_many(session, Note, [], by="name") == {}


def keep_together(engine: Engine, *rows: Note) -> None:
    with write_session(engine) as session:
        keep_all(session, [as_draft(row) for row in rows])


def contents(engine: Engine) -> list[tuple[str, str]]:
    with read_session(engine) as session:
        found = session.exec(select(Note).order_by(col(Note.id)))
        return [(one.name, one.digest) for one in found]


def test_all_are_kept_and_the_same_again_changes_nothing(engine: Engine) -> None:
    many = [note(f"{number:04d}", f"digest {number}") for number in range(1203)]
    for _ in range(2):
        keep_together(engine, *many)
        assert contents(engine) == [(one.name, one.digest) for one in many]


def test_what_is_new_among_the_known_is_added(engine: Engine) -> None:
    keep_together(engine, note("b"))
    keep_together(engine, note("a"), note("b"), note("c"))
    assert kept(engine) == ["b", "a", "c"]


def test_nothing_to_keep_keeps_nothing(engine: Engine) -> None:
    keep_together(engine)
    assert kept(engine) == []


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_taken_name_keeps_none(engine: Engine, place: int) -> None:
    keep_together(engine, note("taken"))
    rows = [note("a"), note("b")]
    rows.insert(place, note("taken", "other"))
    with pytest.raises(ConflictError) as refused:
        keep_together(engine, *rows)
    assert refused.value.reason == "conflict.note"
    assert contents(engine) == [("taken", "d")]


def test_a_conflict_far_behind_the_first_portion_is_found(engine: Engine) -> None:
    keep_together(engine, note("1100"))
    many = [note(f"{number:04d}", "other") for number in range(1203)]
    with pytest.raises(ConflictError):
        keep_together(engine, *many)
    assert kept(engine) == ["1100"]


# --- texts


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a\0b"},
        {"topic": "a\0b"},
        {"state": "\0"},
        {"text": "a\0"},
        {"name": "n" * (MAX_INDEXED_BYTES + 1)},
        {"topic": "é" * (MAX_INDEXED_BYTES // 2 + 1)},
        {"state": "s" * (MAX_INDEXED_BYTES + 1)},
    ],
    ids=lambda wrong: "-".join(f"{name}-{len(value)}" for name, value in wrong.items()),
)
def test_what_one_database_cannot_keep_no_other_keeps(engine: Engine, wrong) -> None:
    refused = Note(**{"name": "x", **wrong})
    with pytest.raises(InvalidMessageError, match=r"storage\.text"):
        keep_once(engine, refused)
    with (
        pytest.raises(InvalidMessageError, match=r"storage\.text"),
        write_session(engine) as session,
    ):
        keep_all(session, [as_draft(note("before")), as_draft(refused)])
    assert kept(engine) == []


def test_the_longest_names_and_long_texts_are_kept(engine: Engine) -> None:
    """Names that no compression makes shorter."""
    digests = "".join(sm3_hex(bytes([number])) for number in range(MAX_INDEXED_BYTES // 64 + 1))
    longest = digests[:MAX_INDEXED_BYTES]
    long = Note(name=longest, topic=longest, state=longest, text="度" * 2_000_000)
    assert keep_once(engine, long)
    assert not keep_once(engine, long)
    with read_session(engine) as session:
        assert load_row(session, Note, name=longest).text == long.text


def test_a_name_that_cannot_be_is_not_found_or_refused(engine: Engine) -> None:
    """Names come from the paths of requests; none may make a service fail."""
    with (
        pytest.raises((NotFoundError, InvalidMessageError)),
        read_session(engine) as session,
    ):
        load_row(session, Note, name="a\0b")
