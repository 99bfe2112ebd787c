"""Corrections at the platform: one chain a roster and period, never a fork, never a gap."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest
from sqlmodel import select

from gridsecure.compute import intake
from gridsecure.compute.containers import PlatformObjects
from gridsecure.compute.jobs import WorkerPool
from gridsecure.compute.key_sets import read_known_keys
from gridsecure.compute.requests import list_waiting_requests, record_answer
from gridsecure.compute.runs import run_plan
from gridsecure.compute.tables import UploadRow
from gridsecure.compute.zone import PlatformZone
from gridsecure.errors import (
    ConflictError,
    GridSecureError,
    InputError,
    InvalidMessageError,
    NotFoundError,
    StaleMessageError,
)
from gridsecure.gateway.rosters import Roster
from gridsecure.messages import ReleaseRequest, Signed, Transcript, UploadManifest
from gridsecure.store.database import open_database, write_session
from gridsecure.store.evidence import find_head
from gridsecure.store.log_tree import verify_log
from gridsecure.store.objects import folder_url, open_objects
from tests.correction_simulator import CHEAPER, changed, correction, retariffed
from tests.grid_simulator import NOW, GridSimulator, GridUpload
from tests.held_policy import POLICY


def quiet(_done: int, _of: int) -> None:
    """Nobody watches."""


@pytest.fixture
def second(grid: GridSimulator, first: GridUpload) -> GridUpload:
    """A sound correction of it, not sent yet."""
    return corrected(grid, first, [3])


def corrected(
    grid: GridSimulator, upload: GridUpload, slots: list[int], **changes: object
) -> GridUpload:
    readings = changed(grid, grid.readings, upload, slots=slots)
    return correction(grid, upload, readings=readings, slots=slots, **changes)


def begin(grid: GridSimulator, upload: GridUpload) -> intake.UploadStatus:
    return intake.begin_upload(grid.platform_zone, upload.message, at=NOW)


def states(grid: GridSimulator) -> dict[str, str]:
    with write_session(grid.platform_zone.engine) as session:
        return dict(session.exec(select(UploadRow.digest, UploadRow.state)).all())


def last_entry(grid: GridSimulator) -> tuple[str, Mapping[str, object]]:
    with write_session(grid.platform_zone.engine) as session:
        verify_log(session)
        entry = find_head(session)
    assert entry is not None
    return entry.action, json.loads(entry.detail)


# --- the message -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"revision": 2},
        {"corrects": "a" * 64},
        {"corrected_slots": [1]},
        {"revision": 2, "corrects": "a" * 64},
        {"revision": 2, "corrected_slots": [1]},
        {"corrects": "a" * 64, "corrected_slots": [1]},
        {"revision": 0},
        {"revision": 2, "corrects": "a" * 64, "corrected_slots": [2, 1]},
        {"revision": 2, "corrects": "a" * 64, "corrected_slots": [1, 1]},
        {"revision": 2, "corrects": "a" * 64, "corrected_slots": [-1]},
        {"revision": 2, "corrects": "a" * 64, "corrected_slots": [16384]},
    ],
)
def test_half_a_correction_is_no_message(
    grid: GridSimulator, first: GridUpload, change: dict[str, object]
) -> None:
    text = first.manifest.model_copy(update=change).model_dump_json()
    with pytest.raises(InvalidMessageError):
        UploadManifest.parse(text)


def test_an_upload_of_an_earlier_release_is_a_first_one(first: GridUpload) -> None:
    fields = json.loads(first.message.body)
    for name in ("revision", "corrects", "corrected_slots"):
        del fields[name]
    assert UploadManifest.parse(json.dumps(fields)) == first.manifest


# --- a chain -----------------------------------------------------------------------------------


def test_a_correction_stands_beside_what_it_corrects(
    grid: GridSimulator, first: GridUpload, second: GridUpload
) -> None:
    assert grid.deliver(second).state == "committed"
    assert states(grid) == {first.upload_id: "committed", second.upload_id: "committed"}
    for upload in (first, second):
        assert all(grid.platform_zone.objects.has(digest) for digest in upload.objects)
    third = corrected(grid, second, [0, 3])
    assert third.manifest.revision == 3
    assert grid.deliver(third).state == "committed"


def test_a_correction_may_be_sent_again_at_any_step(
    grid: GridSimulator, second: GridUpload
) -> None:
    before = begin(grid, second)
    assert begin(grid, second) == before
    grid.restart_platform()
    grid.deliver(second)
    third = corrected(grid, second, [1])
    grid.deliver(third)
    assert begin(grid, second).state == "committed"
    assert len(states(grid)) == 3


def test_another_price_table_takes_a_roster_with_the_same_seats(
    grid: GridSimulator, first: GridUpload
) -> None:
    roster = retariffed(grid, first.roster, change=CHEAPER)
    every = range(roster.manifest.slots)
    second = correction(grid, first, readings=grid.readings, slots=every, roster=roster)
    assert grid.deliver(second).state == "committed"
    back = correction(grid, second, readings=grid.readings, slots=every, roster=first.roster)
    assert grid.deliver(back).state == "committed"


# --- what is refused ---------------------------------------------------------------------------

Case = Callable[[GridSimulator, GridUpload], GridUpload]


def a_gap(grid: GridSimulator, first: GridUpload) -> GridUpload:
    return corrected(grid, first, [3], revision=3)


def an_unknown_upload(grid: GridSimulator, first: GridUpload) -> GridUpload:
    return corrected(grid, first, [3], corrects="a" * 64)


def the_same_columns(grid: GridSimulator, first: GridUpload) -> GridUpload:
    changes = {"revision": 2, "corrects": first.upload_id, "corrected_slots": [3]}
    return grid.upload(first.roster, days=1, **changes)


def a_slot_beyond(grid: GridSimulator, first: GridUpload) -> GridUpload:
    return corrected(grid, first, [3], corrected_slots=[first.roster.manifest.slots])


def another_period(grid: GridSimulator, first: GridUpload) -> GridUpload:
    return corrected(grid, first, [3], start="2026-08-01T00:00:00+08:00")


def another_rosters_upload(grid: GridSimulator, first: GridUpload) -> GridUpload:
    (other,) = (roster for roster in grid.rosters if roster is not first.roster)
    upload = grid.upload(other, days=1)
    grid.deliver(upload)
    return corrected(grid, first, [3], corrects=upload.upload_id)


def an_uncommitted_upload(grid: GridSimulator, first: GridUpload) -> GridUpload:
    pending = corrected(grid, first, [3])
    begin(grid, pending)
    return corrected(grid, pending, [3])


def a_price_table_for_some(grid: GridSimulator, first: GridUpload) -> GridUpload:
    roster = retariffed(grid, first.roster, change=CHEAPER)
    return correction(grid, first, readings=grid.readings, slots=[1, 2], roster=roster)


def other_cells(grid: GridSimulator, first: GridUpload) -> GridUpload:
    """The same meter points, said to live elsewhere: cells would change their members."""
    manifest = first.roster.manifest
    moved = grid.seated(manifest.model_copy(update={"zones": ["elsewhere"] * manifest.slots}))
    roster = Roster(moved, first.roster.meter_point_ids)
    grid.register(roster)
    every = range(manifest.slots)
    return correction(grid, first, readings=grid.readings, slots=every, roster=roster)


REFUSED: list[tuple[Case, str]] = [
    (a_gap, "correction.revision"),
    (an_unknown_upload, "correction.unknown"),
    (the_same_columns, "correction.unchanged"),
    (a_slot_beyond, "correction.slots"),
    (another_period, "correction.period"),
    (another_rosters_upload, "correction.roster"),
    (an_uncommitted_upload, "correction.uncommitted"),
    (a_price_table_for_some, "correction.slots"),
    (other_cells, "correction.roster"),
]


@pytest.mark.parametrize(("case", "reason"), REFUSED)
def test_what_is_no_correction_is_refused_and_entered(
    grid: GridSimulator, first: GridUpload, case: Case, reason: str
) -> None:
    upload = case(grid, first)
    known = states(grid)
    with pytest.raises(InputError) as refused:
        begin(grid, upload)
    assert refused.value.reason == reason
    assert refused.value.remedy
    assert states(grid) == known
    action, detail = last_entry(grid)
    assert action == "correction.refused"
    assert (detail["upload"], detail["reason"]) == (upload.upload_id, reason)


def test_a_fork_is_refused(grid: GridSimulator, first: GridUpload, second: GridUpload) -> None:
    grid.deliver(second)
    other = corrected(grid, first, [5])
    with pytest.raises(ConflictError) as refused:
        begin(grid, other)
    assert refused.value.reason == "correction.fork"
    assert refused.value.remedy
    assert last_entry(grid)[1]["reason"] == "correction.fork"


def test_a_used_sequence_number_is_a_replay(
    grid: GridSimulator, first: GridUpload, second: GridUpload
) -> None:
    grid.deliver(second)
    third = corrected(grid, second, [5], sequence=second.manifest.sequence)
    with pytest.raises(StaleMessageError):
        begin(grid, third)
    assert last_entry(grid)[0] == "correction.refused"


def test_a_first_upload_stays_the_first(grid: GridSimulator, second: GridUpload) -> None:
    grid.deliver(second)
    with pytest.raises(ConflictError) as refused:
        begin(grid, grid.upload(second.roster, days=1))
    assert refused.value.reason == "conflict.upload"


# --- at the same moment ------------------------------------------------------------------------


def test_of_corrections_at_the_same_moment_one_stands(
    grid: GridSimulator, first: GridUpload
) -> None:
    uploads = [corrected(grid, first, [slot]) for slot in range(4)]
    outcomes = []

    def try_one(upload: GridUpload) -> None:
        try:
            outcomes.append(begin(grid, upload).state)
        except ConflictError as error:
            outcomes.append(error.reason)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(try_one, uploads))
    assert sorted(outcomes) == ["correction.fork"] * 3 + ["pending"]
    assert len(states(grid)) == 2


def sent_by_a_process(zone: PlatformZone, folder: Path, text: str) -> str:
    """In a process of its own: open the platform's stores and send one manifest."""
    engine = open_database(f"sqlite:///{folder / 'zone.db'}")
    own = PlatformZone(
        engine=engine,
        objects=PlatformObjects(open_objects(folder_url(folder / "objects")), engine),
        signing_key=zone.signing_key,
        identity=zone.identity,
        authority=zone.authority,
        office=zone.office,
        policy=POLICY,
    )
    try:
        return intake.begin_upload(own, Signed.parse(text), at=NOW).state
    except GridSecureError as error:
        return error.reason
    finally:
        own.engine.dispose()


def sender(folder: Path, zone_parts: tuple[object, ...], text: str, answers: object) -> None:
    signing_key, identity, authority, office = zone_parts
    zone = PlatformZone(None, None, signing_key, identity, authority, office, POLICY)
    answers.put(sent_by_a_process(zone, folder, text))


def test_of_corrections_from_several_processes_one_stands(
    grid: GridSimulator, first: GridUpload
) -> None:
    uploads = [corrected(grid, first, [slot]) for slot in range(3)]
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    zone = grid.platform_zone
    parts = (zone.signing_key, zone.identity, zone.authority, zone.office)
    processes = [
        context.Process(
            target=sender,
            args=(grid.folder, parts, upload.message.model_dump_json(), answers),
        )
        for upload in uploads
    ]
    for process in processes:
        process.start()
    found = sorted(answers.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(timeout=60)
    assert found == ["correction.fork", "correction.fork", "pending"]


# --- runs --------------------------------------------------------------------------------------


def run(grid: GridSimulator, plan: str) -> Signed:
    zone = grid.platform_zone
    with closing(WorkerPool(zone.objects.store, read_known_keys(zone.engine), workers=1)) as pool:
        return run_plan(zone, grid.order(plan), pool=pool, clock=lambda: NOW, progress=quiet)


def uploads_of(envelope: Signed) -> Iterator[str]:
    for transcript in ReleaseRequest.parse(envelope.body).transcripts:
        yield from Transcript.parse(transcript.body).uploads


def answered(
    grid: GridSimulator, envelope: Signed, *, answer: Literal["released", "refused"] = "released"
) -> None:
    request_id = ReleaseRequest.parse(envelope.body).request_id
    record_answer(grid.platform_zone, request_id, answer=answer, at=NOW)


def test_bills_stay_about_first_uploads_and_corrections_follow_in_turn(
    grid: GridSimulator, first: GridUpload, second: GridUpload
) -> None:
    with pytest.raises(NotFoundError) as empty:
        run(grid, "rebill")
    assert empty.value.reason == "run.empty"
    bills = run(grid, "bill")
    third = corrected(grid, second, [1])
    grid.deliver(second)
    grid.deliver(third)
    assert run(grid, "bill") == bills
    assert list(uploads_of(bills)) == [first.upload_id]

    rebill = run(grid, "rebill")
    assert list(uploads_of(rebill)) == [second.upload_id]
    assert run(grid, "rebill") == rebill
    assert list_waiting_requests(grid.platform_zone) == [bills, rebill]
    (transcript,) = ReleaseRequest.parse(rebill.body).transcripts
    assert Transcript.parse(transcript.body).plan == "rebill"

    answered(grid, rebill)
    last = run(grid, "rebill")
    assert list(uploads_of(last)) == [third.upload_id]
    answered(grid, last)
    with pytest.raises(NotFoundError):
        run(grid, "rebill")


def test_a_refused_correction_does_not_hold_up_the_others(
    grid: GridSimulator, first: GridUpload, second: GridUpload
) -> None:
    (other_roster,) = (roster for roster in grid.rosters if roster is not first.roster)
    other_first = grid.upload(other_roster, days=1)
    grid.deliver(other_first)
    other = corrected(grid, other_first, [1])
    both = {second.upload_id, other.upload_id}
    for upload in (second, other):
        grid.deliver(upload)
    together = run(grid, "rebill")
    assert set(uploads_of(together)) == both
    answered(grid, together, answer="refused")
    alone = run(grid, "rebill")
    (bad,) = uploads_of(alone)
    answered(grid, alone, answer="refused")
    next_one = run(grid, "rebill")
    assert set(uploads_of(next_one)) == both - {bad}
    answered(grid, next_one)
    assert run(grid, "rebill") == alone
    assert alone in list_waiting_requests(grid.platform_zone)


def test_load_curves_are_about_first_uploads(
    grid: GridSimulator, first: GridUpload, second: GridUpload
) -> None:
    before = run(grid, "load-curve")
    grid.deliver(second)
    assert run(grid, "load-curve") == before
