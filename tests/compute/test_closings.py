"""Closing lists at the platform: who signs them, what they may name, and what runs over which."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gridsecure.compute.closings import (
    close_period,
    find_in_force,
    list_closings,
    next_runs,
    open_uploads,
)
from gridsecure.compute.jobs import WorkerPool
from gridsecure.compute.key_sets import read_known_keys
from gridsecure.compute.requests import record_answer
from gridsecure.compute.runs import run_plan
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import ConflictError, GridSecureError, InputError, NotFoundError
from gridsecure.messages import ReleaseRequest, Signed, Transcript
from gridsecure.store import evidence
from gridsecure.store.database import write_session
from tests.grid_simulator import NOW, GridSimulator, GridUpload


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[GridSimulator]:
    """A platform whose month is in and not closed."""
    grid = GridSimulator(tmp_path / "grid")
    grid.install()
    yield grid
    grid.close()


@pytest.fixture
def uploads(grid: GridSimulator) -> list[GridUpload]:
    uploads = [grid.upload(roster) for roster in grid.rosters]
    for upload in uploads:
        grid.deliver(upload)
    return uploads


def span(grid: GridSimulator) -> dict[str, str]:
    return {"start": grid.period.start.isoformat(), "end": grid.period.end.isoformat()}


def closed(grid: GridSimulator, *uploads: GridUpload, number: int = 1, **changes: object) -> Signed:
    names = [upload.upload_id for upload in uploads]
    envelope = grid.closing_list(names, number=number, **changes)
    close_period(grid.platform_zone, envelope, at=NOW)
    return envelope


def run(grid: GridSimulator, plan: str = "bill") -> ReleaseRequest:
    zone = grid.platform_zone
    with closing(WorkerPool(zone.objects.store, read_known_keys(zone.engine), workers=1)) as pool:
        envelope = run_plan(
            zone, grid.order(plan), pool=pool, clock=lambda: NOW, progress=lambda *_: None
        )
    return ReleaseRequest.parse(envelope.body)


def used(request: ReleaseRequest) -> set[str]:
    bodies = [Transcript.parse(transcript.body) for transcript in request.transcripts]
    return {upload for body in bodies for upload in body.uploads}


def test_no_plan_runs_over_a_month_that_is_not_closed(
    grid: GridSimulator, uploads: list[GridUpload]
) -> None:
    for plan in ("bill", "load-curve"):
        with pytest.raises(NotFoundError) as refused:
            run(grid, plan)
        assert refused.value.reason == "run.not-closed"
    envelope = closed(grid, *uploads)
    request = run(grid)
    assert request.closing == envelope
    assert used(request) == {upload.upload_id for upload in uploads}


def test_only_the_billing_office_closes(grid: GridSimulator, uploads: list[GridUpload]) -> None:
    for key in (generate_private_key(), grid.gateway_key, grid.platform_key):
        with pytest.raises(GridSecureError) as refused:
            closed(grid, *uploads, key=key)
        assert refused.value.reason == "authenticity.unknown"
    assert list_closings(grid.platform_zone, **span(grid)) == []


def test_a_list_is_taken_once_and_entered(grid: GridSimulator, uploads: list[GridUpload]) -> None:
    envelope = closed(grid, *uploads)
    close_period(grid.platform_zone, envelope, at=NOW)
    assert len(list_closings(grid.platform_zone, **span(grid))) == 1
    with write_session(grid.platform_zone.engine) as session:
        (entry,) = evidence.list_entries_of(session, "period.closed")
    assert entry.actor == envelope.signer
    assert envelope.digest in entry.detail
    for number in (1, 3):
        with pytest.raises(ConflictError) as refused:
            closed(grid, uploads[0], number=number)
        assert refused.value.reason == "closing.number"


def test_a_list_names_committed_uploads_of_its_month(
    grid: GridSimulator, uploads: list[GridUpload]
) -> None:
    names = [upload.upload_id for upload in uploads]
    for envelope in (
        grid.closing_list(["0" * 64, *names]),
        grid.closing_list(names, start="2026-06-01T00:00:00+08:00"),
    ):
        with pytest.raises(InputError) as refused:
            close_period(grid.platform_zone, envelope, at=NOW)
        assert refused.value.reason == "closing.upload"


def test_later_uploads_are_closed_by_a_further_list(
    grid: GridSimulator, uploads: list[GridUpload]
) -> None:
    first, late = uploads
    closed(grid, first)
    assert [item.upload for item in open_uploads(grid.platform_zone, **span(grid))] == [
        late.upload_id
    ]
    request = run(grid)
    assert used(request) == {first.upload_id}
    record_answer(grid.platform_zone, request.request_id, answer="released", at=NOW)
    with pytest.raises(NotFoundError) as refused:
        run(grid)
    assert refused.value.reason == "run.released"
    closed(grid, late, number=2)
    assert used(run(grid)) == {late.upload_id}


def test_what_the_next_run_would_meet_is_told_beforehand(
    grid: GridSimulator, uploads: list[GridUpload]
) -> None:
    zone, month = grid.platform_zone, span(grid)
    june = {"start": "2026-06-01T00:00:00+08:00", "end": "2026-07-01T00:00:00+08:00"}
    assert set(next_runs(zone, **june).values()) == {"run.empty"}
    assert set(next_runs(zone, **month).values()) == {"run.not-closed"}
    closed(grid, *uploads)
    assert set(next_runs(zone, **month).values()) == {"ready"}
    request = run(grid)
    assert next_runs(zone, **month)["bill"] == "ready"
    record_answer(zone, request.request_id, answer="released", at=NOW)
    assert next_runs(zone, **month) == {"bill": "run.released", "load-curve": "ready"}


def test_a_refused_list_does_not_hold_up_the_others(
    grid: GridSimulator, uploads: list[GridUpload]
) -> None:
    first, late = uploads
    closed(grid, first)
    closed(grid, late, number=2)
    request = run(grid)
    record_answer(grid.platform_zone, request.request_id, answer="refused", at=NOW)
    assert used(run(grid)) == {late.upload_id}


def test_a_new_list_without_the_bad_upload_takes_the_place_of_the_old(
    grid: GridSimulator, uploads: list[GridUpload]
) -> None:
    good, bad = uploads
    closed(grid, good, bad)
    refused = run(grid)
    record_answer(grid.platform_zone, refused.request_id, answer="refused", at=NOW)
    second = closed(grid, good, number=2)
    lists = list_closings(grid.platform_zone, **span(grid))
    assert [item.envelope for item in find_in_force(lists)] == [second]
    request = run(grid)
    assert used(request) == {good.upload_id}
    record_answer(grid.platform_zone, request.request_id, answer="released", at=NOW)
    with pytest.raises(ConflictError) as again:
        closed(grid, good, bad, number=3)
    assert again.value.reason == "closing.released"
    closed(grid, bad, number=3)
