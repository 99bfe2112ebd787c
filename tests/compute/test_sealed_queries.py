"""Sealed queries at the platform: carried, never run, and alike whatever they ask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Thread

import pytest
from sqlmodel import select

from gridsecure.compute import queries, sealed_queries
from gridsecure.compute.tables import QueryGrantRow, ReleaseRequestRow, RunRow, TranscriptRow
from gridsecure.errors import GridSecureError, NotFoundError, StaleMessageError
from gridsecure.messages import ReleaseRequest, request_name
from gridsecure.store.database import read_session
from gridsecure.store.evidence import EvidenceRow
from tests.grid_simulator import NOW, GridSimulator, delivered_grid
from tests.query_grants import grant_claims, grant_token, sealed_query_of

FEW, MANY = '{"where":1}', json.dumps({"where": ["a zone of a long name"] * 90})


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[GridSimulator]:
    with delivered_grid(tmp_path, days=1) as made:
        yield made


def admit(grid: GridSimulator, question: str = FEW, **changes) -> queries.AdmittedQuery:
    text = sealed_query_of(grid, question, **changes)[0].text
    claims, grant = grant_claims(text), grant_token(text)
    return queries.admit_query(grid.platform_zone, claims, query=text, grant=grant, now=NOW)


def keep(grid: GridSimulator, wanted: queries.AdmittedQuery) -> ReleaseRequest:
    sealed_queries.keep_query(grid.platform_zone, wanted, at=NOW)
    state = sealed_queries.find_state(grid.platform_zone, wanted.grant)
    assert state is not None
    assert state.state == "waiting"
    rows = {row.request_id: row for row in rows_of(grid, ReleaseRequestRow)}
    return ReleaseRequest.parse(rows[state.request_id].envelope.body)


def rows_of(grid: GridSimulator, table: type) -> list:
    with read_session(grid.platform_zone.engine) as session:
        return list(session.exec(select(table)).all())


def test_a_request_names_all_that_lies_there_and_nothing_was_run(grid):
    wanted = admit(grid)
    request = keep(grid, wanted)
    assert request.queried is not None
    assert request.request_id == request_name(request)
    assert set(request.queried.uploads) == {one.upload_id for one in grid.uploads}
    rosters = {grid.signed_roster(one.roster).digest for one in grid.uploads}
    assert set(request.queried.rosters) == rosters
    assert [len(request.queried.closings), request.transcripts, request.seeds] == [1, [], []]
    assert (rows_of(grid, RunRow), rows_of(grid, TranscriptRow)) == ([], [])


def test_a_period_may_be_asked_about_again_by_a_grant_each(grid):
    first, second = keep(grid, admit(grid)), keep(grid, admit(grid))
    assert first.request_id != second.request_id
    assert queries.is_spent(grid.platform_zone, admit(grid)) is False


def test_a_grant_carries_one_query_once(grid):
    wanted = admit(grid)
    keep(grid, wanted)
    keep(grid, wanted)
    assert len(rows_of(grid, ReleaseRequestRow)) == 1
    other = admit(grid, MANY)
    stolen = queries.AdmittedQuery(other.order, wanted.grant)
    with pytest.raises(StaleMessageError) as refused:
        sealed_queries.keep_query(grid.platform_zone, stolen, at=NOW)
    assert refused.value.reason == "authenticity.spent"
    assert len(rows_of(grid, ReleaseRequestRow)) == 1, "the request went back with the grant"


def test_two_at_once_spend_one_grant_once(grid):
    wanted, other = admit(grid), admit(grid, MANY)
    both = [wanted, queries.AdmittedQuery(other.order, wanted.grant)]
    start, ends = Barrier(2), list[str]()

    def ask(one: queries.AdmittedQuery) -> None:
        start.wait()
        try:
            sealed_queries.keep_query(grid.platform_zone, one, at=NOW)
            ends.append("")
        except GridSecureError as error:
            ends.append(error.reason)

    threads = [Thread(target=ask, args=(one,)) for one in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == ["", "authenticity.spent"]
    assert len(rows_of(grid, ReleaseRequestRow)) == len(rows_of(grid, QueryGrantRow)) == 1


def test_days_of_a_month_are_asked_about_and_what_is_not_closed_is_not(grid):
    day = {"start": "2026-07-01T00:00:00+08:00", "end": "2026-07-02T00:00:00+08:00"}
    request = keep(grid, admit(grid, **day))
    assert (request.start, request.end) == (day["start"], day["end"])
    for span in (
        {"start": "2026-06-30T00:00:00+08:00", "end": "2026-07-02T00:00:00+08:00"},
        {"start": "2026-07-31T00:00:00+08:00", "end": "2026-08-02T00:00:00+08:00"},
        {"start": "2025-07-01T00:00:00+08:00", "end": "2025-07-02T00:00:00+08:00"},
        {"start": "yesterday, as it were", "end": "2026-07-02T00:00:00+08:00"},
    ):
        wanted = admit(grid, **span)
        with pytest.raises(NotFoundError):
            sealed_queries.keep_query(grid.platform_zone, wanted, at=NOW)
        assert not queries.is_spent(grid.platform_zone, wanted)


def test_two_questions_of_one_size_look_alike_at_the_platform(grid):
    """All that is kept and logged of either: the same fields, of the same lengths."""
    seen = []
    for question in (FEW, MANY):
        before = len(rows_of(grid, EvidenceRow))
        request = keep(grid, admit(grid, question))
        (row,) = [
            row for row in rows_of(grid, ReleaseRequestRow) if row.request_id == request.request_id
        ]
        entries = rows_of(grid, EvidenceRow)[before:]
        kept = row.model_dump(exclude={"id"}) | {"state": row.state}
        lengths = {name: len(str(value)) for name, value in kept.items()}
        said = [{k: len(str(v)) for k, v in json.loads(one.model_dump_json()).items()
                 if k not in {"id", "sequence"}} for one in entries]  # fmt: skip
        same = request.model_dump(
            exclude={"request_id": True, "requested_by": True, "query": True, "grant": True}
        )
        seen.append((lengths, said, same))
    assert seen[0] == seen[1]
