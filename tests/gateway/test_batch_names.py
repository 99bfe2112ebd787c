"""Ids and sequences of batches: found by indexes, of many at once, on every database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, event

from gridsecure.errors import ConflictError
from gridsecure.gateway.ingestion.batches import Arrival, BatchName, KnownNames
from gridsecure.gateway.ingestion.sources import Source
from gridsecure.gateway.tables import SCHEMA, BatchRow, QueuedBatchRow
from gridsecure.store.database import open_database, read_session, write_session
from gridsecure.store.schema import migrate

AT = datetime(2026, 8, 1, tzinfo=UTC)
SEQUENCES = (1, 2, 2**53)
QUEUED = {"size": 1, "file": "", "declared": "{}", "attempts": 0, "refusal": "", "at": AT}


def taken(source: str, sequence: int) -> BatchRow:
    return BatchRow(
        source=source, batch_id=f"b{sequence}", sequence=sequence, body_digest="one", pack="",
        readings_digest="", digest="", message="{}", first_at=AT, last_at=AT, has_faces=False,
        at=AT,
    )  # fmt: skip


def arrival(source: str, batch_id: str, sequence: int) -> Arrival:
    sender = Source(source, "key", ("",), "start", "Asia/Shanghai", "")
    return Arrival(sender, BatchName(batch_id, sequence), AT)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_database(database_url)
    migrate(made, SCHEMA)
    with write_session(made) as session:
        for source in ("a", "b"):
            session.add_all(taken(source, sequence) for sequence in SEQUENCES)
        for number, state in ((7, "waiting"), (8, "refused")):
            named = {"batch_id": f"b{number}", "sequence": number, "body_digest": "one"}
            session.add(QueuedBatchRow(source="a", state=state, **named, **QUEUED))
    yield made
    made.dispose()


def test_each_of_many_batches_is_told_from_those_of_its_own_source_alone(engine: Engine) -> None:
    same = [arrival(source, f"b{n}", n) for source in ("a", "b") for n in SEQUENCES]
    other = [arrival("a", "b1", 3), arrival("b", "b9", 2**53), arrival("a", "b7", 9)]
    new = [arrival("c", "b1", 1), arrival("b", "b7", 7), arrival("a", "b8", 8)]
    waits = arrival("a", "b7", 7)
    with read_session(engine) as session:
        known = KnownNames(session, [*same, *other, *new, waits])
    assert all(known.check(one, "one") for one in same)
    assert not any(known.check(one, "one") for one in (*new, waits))
    for one, digest in [(same[0], "another body"), *((one, "one") for one in other)]:
        with pytest.raises(ConflictError):
            known.check(one, digest)


def test_no_batch_that_came_before_is_looked_at(tmp_path) -> None:
    """However many are looked for: SQLite looks through the table for several pairs in `IN`."""
    engine = open_database(f"sqlite:///{tmp_path / 'zone.db'}")
    migrate(engine, SCHEMA)
    plans: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def explain(_connection: Any, cursor: Any, statement: str, given: Any, *_more: Any) -> None:
        if "JOIN" in statement:
            rows = cursor.execute(f"EXPLAIN QUERY PLAN {statement}", given).fetchall()
            plans.extend(row[-1] for row in rows)

    for count in (1, 2, 32):
        with read_session(engine) as session:
            KnownNames(session, [arrival("a", f"b{n}", n + 1) for n in range(count)])
    engine.dispose()
    assert sum(plan.startswith("SEARCH batch USING INDEX") for plan in plans) == 3 * 4
    assert not [plan for plan in plans if plan.startswith("SCAN batch")]
