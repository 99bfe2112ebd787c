"""Migrations: every database comes to the tables the code knows, or stays as it was."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import CheckConstraint, Column, Engine, Integer, MetaData, Table, text
from sqlmodel import Session, select

from gridsecure.errors import StorageError
from gridsecure.store.database import open_database, read_session, write_session
from gridsecure.store.evidence import append
from gridsecure.store.log_tree import verify_log
from gridsecure.store.schema import migrate
from tests.store.note_tables import NOTES, NOW, Note, names
from tests.store.schema_checks import check_schema, differences, tables_of

ROOT = Path(__file__).parents[2]
OPEN = """
import sys
from gridsecure.store.database import open_database
from gridsecure.store.schema import migrate
from tests.store.note_tables import NOTES
engine = open_database(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
migrate(engine, NOTES)
engine.dispose()
print("alembic" in sys.modules)
"""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_database(database_url)
    yield made
    made.dispose()


def make_records(engine: Engine, *records: tuple[str, str, str]) -> None:
    """A database from before tables were typed, with these records: kind, name, text."""
    with write_session(engine) as session:
        number = "SERIAL" if engine.dialect.name == "postgresql" else "INTEGER NOT NULL"
        columns = ", ".join(f"{name} VARCHAR" for name in ("kind", "name", "scope"))
        more = ", ".join(f"{name} VARCHAR" for name in ("digest", "state", "text", "at"))
        create = f"CREATE TABLE record (id {number} PRIMARY KEY, {columns}, {more})"
        session.execute(text(create))
        for number, (kind, name, content) in enumerate(records):
            at = f"2026-03-01T08:00:{number:02d}.500000+00:00"
            values = dict(kind=kind, name=name, scope=f"on {name}", text=content, at=at)
            session.execute(
                text(
                    "INSERT INTO record (kind, name, scope, digest, state, text, at)"
                    " VALUES (:kind, :name, :scope, 'd', 'open', :text, :at)"
                ),
                values,
            )


def start(url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OPEN, url],
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def let_all_open(opening: list[subprocess.Popen[str]]) -> list[str]:
    """Let processes that wait open the database at once; return what they printed."""
    for one in opening:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in opening:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    answers = [one.communicate(timeout=120) for one in opening]
    assert [errors for _, errors in answers] == [""] * len(opening)
    return [said.strip() for said, _ in answers]


def test_an_empty_database_comes_to_the_tables_the_code_knows(database_url: str) -> None:
    check_schema(database_url, NOTES)


def test_records_become_rows(engine: Engine) -> None:
    make_records(engine, ("k", "b", "first"), ("k", "a", "second"))
    migrate(engine, NOTES)
    assert differences(engine, NOTES) == []
    assert "record" not in tables_of(engine)
    with read_session(engine) as session:
        assert names(session) == ["b", "a"]
        (note,) = session.exec(select(Note).where(Note.name == "a"))
        kept = (note.topic, note.digest, note.state, note.text)
        assert kept == ("on a", "d", "open", "second")
        assert note.at == datetime(2026, 3, 1, 8, 0, 1, 500_000, tzinfo=UTC)


def test_an_earlier_revision_comes_to_the_newest(engine: Engine, tmp_path: Path) -> None:
    first = NOTES.scripts / "r0001_notes.py"
    (tmp_path / first.name).write_bytes(first.read_bytes())
    make_records(engine)
    migrate(engine, replace(NOTES, head="notes_0001", scripts=tmp_path))
    assert "reply" not in tables_of(engine)
    with write_session(engine) as session:
        session.add(Note(name="kept"))
        append(session, at=NOW, actor="a", action="b", detail={})
    migrate(engine, NOTES)
    assert differences(engine, NOTES) == []
    with read_session(engine) as session:
        assert names(session) == ["kept"]
        assert verify_log(session) == 1


@pytest.mark.parametrize("kinds", [["k", "other"], ["other"]], ids=str)
def test_records_of_an_unknown_kind_are_refused_and_stay(engine: Engine, kinds) -> None:
    make_records(engine, *((kind, "n", "") for kind in kinds))
    with pytest.raises(StorageError) as refused:
        migrate(engine, NOTES)
    assert refused.value.reason == "storage.schema"
    with Session(engine) as session:
        left = session.execute(text("SELECT kind FROM record ORDER BY id")).scalars()
        assert list(left) == kinds
    assert "note" not in tables_of(engine)


@pytest.mark.parametrize("found", ["notes_0003", "letters_0001"], ids=["newer", "another-zone"])
def test_a_revision_the_code_does_not_know_is_refused(engine: Engine, found: str) -> None:
    migrate(engine, NOTES)
    with write_session(engine) as session:
        session.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": found})
    before = tables_of(engine)
    with pytest.raises(StorageError) as refused:
        migrate(engine, NOTES)
    assert refused.value.reason == "storage.schema"
    assert refused.value.remedy
    assert tables_of(engine) == before
    with Session(engine) as session:
        assert session.execute(text("SELECT version_num FROM alembic_version")).scalar() == found


def test_a_creation_that_fails_leaves_the_database_empty(engine: Engine) -> None:
    metadata = MetaData()
    for table in NOTES.metadata.sorted_tables:
        table.to_metadata(metadata)
    Table("unmakeable", metadata, Column("a", Integer), CheckConstraint("a nonsense ("))
    with pytest.raises(StorageError):
        migrate(engine, replace(NOTES, metadata=metadata))
    assert tables_of(engine) == set()
    migrate(engine, NOTES)
    assert differences(engine, NOTES) == []


def test_a_migration_that_fails_leaves_the_database_as_it_was(
    engine: Engine, tmp_path: Path
) -> None:
    make_records(engine, ("k", "a", ""))
    before = tables_of(engine)
    for script in NOTES.scripts.glob("*.py"):
        (tmp_path / script.name).write_bytes(script.read_bytes())
    broken = "revision, down_revision = 'notes_0003', 'notes_0002'\ndef upgrade():\n    {}\n"
    failing = tmp_path / "r0003_failing.py"
    for step, error in (("1 / 0", ZeroDivisionError), ("op.drop_table('no')", StorageError)):
        failing.write_text(f"from alembic import op\n{broken.format(step)}")
        with pytest.raises(error):
            migrate(engine, replace(NOTES, head="notes_0003", scripts=tmp_path))
        assert tables_of(engine) == before
    migrate(engine, NOTES)
    assert differences(engine, NOTES) == []


@pytest.mark.parametrize("is_old", [True, False], ids=["old", "empty"])
def test_processes_open_a_database_at_once(database_url: str, is_old: bool) -> None:
    engine = open_database(database_url)
    if is_old:
        make_records(engine, *(("k", f"{number:03d}", "") for number in range(50)))
    let_all_open([start(database_url) for _ in range(4)])
    assert differences(engine, NOTES) == []
    with read_session(engine) as session:
        assert names(session) == [f"{number:03d}" for number in range(50)] * is_old
    engine.dispose()


@pytest.mark.parametrize("is_old", [True, False], ids=["old", "empty"])
def test_alembic_is_imported_only_to_migrate(tmp_path: Path, is_old: bool) -> None:
    url = f"sqlite:///{tmp_path / 'zone.db'}"
    if is_old:
        engine = open_database(url)
        make_records(engine)
        engine.dispose()
    assert let_all_open([start(url)]) == [str(is_old)]
    assert let_all_open([start(url)]) == ["False"]


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    scripts = tmp_path / "50 % of\tall; scripts: here"
    scripts.mkdir()
    for script in NOTES.scripts.glob("*.py"):
        (scripts / script.name).write_bytes(script.read_bytes())
    check_schema(f"sqlite:///{tmp_path / 'zone.db'}", replace(NOTES, scripts=scripts))
