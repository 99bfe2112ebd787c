"""A log from before there was a tree: its entries become leaves under their names, or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text
from sqlmodel import Session

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuditBrokenError
from gridsecure.store.chained_logs import CHAIN_ENDED, retire_chain
from gridsecure.store.database import open_database, read_session, write_transaction
from gridsecure.store.evidence import (
    append,
    find_entry,
    list_entries_after,
    verify_entries,
)
from gridsecure.store.log_tree import read_frontier, verify_log
from tests.store.schema_checks import NOW, check_log_is_guarded

CREATE = """CREATE TABLE evidence ("index" INTEGER NOT NULL, at VARCHAR NOT NULL,
 actor VARCHAR NOT NULL, action VARCHAR NOT NULL, detail VARCHAR NOT NULL,
 previous VARCHAR NOT NULL, hash VARCHAR NOT NULL,
 PRIMARY KEY ("index"), UNIQUE (previous), UNIQUE (hash))"""
GUARDS = {
    "sqlite": [
        f"CREATE TRIGGER evidence_no_{verb} BEFORE {verb} ON evidence "
        "BEGIN SELECT RAISE(ABORT, 'append-only'); END"
        for verb in ("update", "delete")
    ],
    "postgresql": [
        "CREATE FUNCTION evidence_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'append-only'; END $$",
        "CREATE TRIGGER evidence_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON evidence "
        "FOR EACH STATEMENT EXECUTE FUNCTION evidence_append_only()",
    ],
}
INSERT = """INSERT INTO evidence VALUES
 (:index, :at, :actor, :action, :detail, :previous, :hash)"""
AT = "2026-03-01T08:00:00.000000+00:00"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_database(database_url)
    yield made
    made.dispose()


def chain(count: int) -> list[dict[str, object]]:
    """Rows as releases before the tree wrote them."""
    rows: list[dict[str, object]] = []
    for index in range(count):
        previous = rows[-1]["hash"] if rows else "0" * 64
        said = [index, AT, "甲", "release.refused", '{"cells":1}']
        content = json.dumps(
            ["gridsecure-evidence-1", *said, previous], separators=(",", ":"), ensure_ascii=False
        )
        names = ("index", "at", "actor", "action", "detail")
        row = dict(zip(names, said, strict=True))
        rows.append(row | {"previous": previous, "hash": sm3_hex(content.encode())})
    return rows


def keep(engine: Engine, rows: list[dict[str, object]]) -> None:
    with write_transaction(engine) as connection:
        connection.execute(text(CREATE))
        connection.execute(text("CREATE INDEX ix_evidence_action ON evidence (action)"))
        for row in rows:
            connection.execute(text(INSERT), row)
        for guard in GUARDS[engine.dialect.name]:
            connection.exec_driver_sql(guard)


def retire(engine: Engine) -> None:
    with write_transaction(engine) as connection:
        retire_chain(connection)


@pytest.mark.parametrize("count", [0, 1, 7, 2003])
def test_entries_become_leaves_under_their_names(engine: Engine, count: int) -> None:
    rows = chain(count)
    keep(engine, rows)
    retire(engine)
    with read_session(engine) as session:
        assert verify_log(session) == count + bool(count)
        entries = list_entries_after(session, -1, limit=3000)
        assert verify_entries(entries) == read_frontier(session)
        assert [one.hash for one in entries[:count]] == [row["hash"] for row in rows]
        if count:
            assert find_entry(session, str(rows[0]["hash"])) == entries[0]
            assert (entries[-1].action, json.loads(entries[-1].detail)) == (
                CHAIN_ENDED,
                {"entries": count, "head": rows[-1]["hash"]},
            )
    check_log_is_guarded(engine)


def test_a_log_that_has_a_tree_stays_as_it_is(engine: Engine) -> None:
    keep(engine, chain(3))
    retire(engine)
    with Session(engine) as session:
        append(session, at=NOW, actor="a", action="b", detail={})
        session.commit()
        before = list_entries_after(session, -1)
    retire(engine)
    with read_session(engine) as session:
        assert list_entries_after(session, -1) == before
        assert verify_log(session) == 5


@pytest.mark.parametrize(
    ("index", "change"),
    [
        (1, {"detail": "{}"}),
        (2, {"previous": "1" * 64}),
        (0, {"index": 9}),
        (2, {"hash": "2" * 64}),
    ],
)
def test_a_broken_chain_is_refused_and_stays(engine: Engine, index: int, change: dict) -> None:
    rows = chain(4)
    rows[index] |= change
    keep(engine, rows)
    with pytest.raises(AuditBrokenError, match=r"audit\.log"):
        retire(engine)
    with engine.connect() as connection:
        left = connection.execute(text("SELECT hash FROM evidence")).scalars().all()
    assert sorted(left) == sorted(str(row["hash"]) for row in rows)
