"""A month from files to committed uploads: complete, private, and resumable at any point."""

from __future__ import annotations

import hashlib
import json
import stat
import threading

import httpx
import pandas as pd
import pytest
from sqlmodel import col, select

from gridsecure.compute.tables import UploadRow
from gridsecure.errors import ConflictError, GridSecureError, InputError, StorageError
from gridsecure.gateway import months, outbox
from gridsecure.gateway.exceptions import Wanted, list_exceptions
from gridsecure.gateway.month_plan import find_plan
from gridsecure.periods import month_period
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.log_tree import verify_log
from gridsecure.store.pages import PageAsked
from tests.gateway.gateway_world import (
    CONTRACTS_HEADER,
    MONTH,
    GatewayWorld,
    Killed,
    forget_digests,
    kill_at,
)
from tests.gateway.reading_tables import long_table

FIRST, COLUMNS = 1, 6
"""Columns of the first roster's bills, and of both rosters'."""


@pytest.fixture
def world(tmp_path):
    made = GatewayWorld(tmp_path, load_curves=False)
    made.save()
    yield made
    made.close()


def committed(world):
    with write_session(world.grid.platform_zone.engine) as session:
        uploads = session.exec(select(UploadRow).order_by(col(UploadRow.id))).all()
    assert {upload.state for upload in uploads} == {"committed"}
    return uploads


def manifests(world):
    plan = find_plan(world.zone, MONTH)
    return [outbox.load_outgoing(world.zone, name).upload for name in plan.names]


def test_feed_in_that_contradicts_itself_is_set_aside_by_name_and_all_others_are_billed(world):
    table = long_table(world).assign(channel="import")
    name = table["meter_point_id"].iloc[0]
    own = table[table["meter_point_id"] == name].assign(channel="export", kwh="0.100")
    other = own.iloc[[5]].assign(kwh="0.200")
    world.save(pd.concat([table, own, other]).to_csv(index=False).encode())
    report = world.process()
    assert report.problems["duplicate-conflict"] == 1
    assert (report.billed_meters, report.quarantined, report.estimated) == (20, 2, 1)
    with read_session(world.zone.engine) as session:
        found, _ = list_exceptions(session, PageAsked(), wanted=Wanted(month=MONTH))
    assert [(row.meter_point_id, row.rule) for row in found] == [(name, "duplicate-conflict")]


def test_a_month_ends_with_every_roster_committed_and_counted(world):
    report = world.process()
    assert (report.meters, report.billed_meters, report.excluded) == (20, 20, {})
    assert report.readings == report.accepted == 20 * 744
    assert (report.rosters, report.columns) == (2, COLUMNS)
    assert len(committed(world)) == 2
    assert report.bytes_stored == report.bytes_uploaded > COLUMNS * 4096 * 11
    assert list(report.seconds) == list(months.STAGES)
    assert [m.sequence for m in manifests(world)] == [1, 2]


def test_nothing_private_is_readable_by_others_and_nothing_encrypted_stays(world):
    world.process()
    files = [p for p in (world.folder / "months").rglob("*") if p.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {path.name for path in files} >= {"quarantine.csv", "exceptions.csv"}
    assert list((world.folder / "outbox").iterdir()) == []


def test_a_finished_month_is_not_done_again(world):
    report = world.process()
    requests = len(world.wire.log)
    assert world.process() == report
    assert len(world.wire.log) == requests


def test_the_evidence_log_names_what_left(world):
    world.process()
    with write_session(world.zone.engine) as session:
        verify_log(session)
        done = evidence.list_entries_of(session, "upload.committed", "month.done")
    assert [one.action for one in done][-2:] == ["upload.committed", "month.done"]


def test_the_evidence_log_names_who_handed_in_a_months_files(world):
    text = world.simulated.wide_csv()
    world.save(text)
    with read_session(world.zone.engine) as session:
        *_, last = evidence.list_entries_of(session, "month.files")
    said = json.loads(last.detail)
    assert (said["month"], said["person"]) == (MONTH, "operator")
    assert said["readings"] == [hashlib.sha256(text).hexdigest()]
    # What is refused was handed in by nobody.
    with pytest.raises(InputError):
        world.save(text, contracts=b"no contracts")
    with read_session(world.zone.engine) as session:
        assert evidence.list_entries_of(session, "month.files")[-1].detail == last.detail


def test_a_roster_is_sent_while_the_next_is_encrypted(world):
    first = threading.Event()
    real = world.wire.answer

    def answer(request):
        response = real(request)
        if request.url.path.endswith("/commit"):
            first.set()
        return response

    def wait_for_the_first(stage, done, _of):
        if (stage, done) == ("encrypt", FIRST + 1):
            assert first.wait(60), "nothing was sent before everything was encrypted"

    world.wire.answer = answer
    report = world.process(progress=wait_for_the_first)
    assert len(committed(world)) == 2
    assert report.bytes_uploaded == report.bytes_stored


def test_what_cannot_be_sent_ahead_is_sent_afterwards(world):
    real, is_encrypting = world.wire.answer, True

    def answer(request):
        if is_encrypting and "/uploads" in request.url.path:
            return httpx.Response(403, json={"reason": "authenticity"})
        return real(request)

    def note(stage, _done, _of):
        nonlocal is_encrypting
        if stage == "upload":
            is_encrypting = False

    world.wire.answer = answer
    report = world.process(progress=note)
    assert len(committed(world)) == 2
    assert report.bytes_uploaded == report.bytes_stored


@pytest.mark.parametrize("stage", months.STAGES)
def test_killed_as_a_stage_begins_the_next_run_completes_it(world, stage):
    with pytest.raises(Killed):
        world.process(progress=kill_at(stage))
    fixed = find_plan(world.zone, MONTH)
    signed = {} if fixed is None else {n: outbox.find(world.zone, n) for n in fixed.names}
    world.restart()
    report = world.process()
    assert len(committed(world)) == 2
    # As the upload begins, rosters may be there that were sent while others were encrypted.
    assert report.bytes_uploaded == report.bytes_stored or stage == "upload"
    for name, item in signed.items():
        if item is not None:
            assert outbox.load_outgoing(world.zone, name).manifest == item.manifest
    if fixed is not None:
        assert find_plan(world.zone, MONTH) == fixed


@pytest.mark.parametrize("column", [FIRST, FIRST + 1, COLUMNS])
def test_killed_within_encryption_no_signed_roster_is_encrypted_again(world, column):
    with pytest.raises(Killed):
        world.process(progress=kill_at("encrypt", when=lambda done: done == column))
    plan = find_plan(world.zone, MONTH)
    before = [outbox.find(world.zone, name) for name in plan.names]
    assert [item is not None for item in before] == [column > FIRST, False]
    world.restart()
    world.process()
    assert find_plan(world.zone, MONTH) == plan
    after = [outbox.load_outgoing(world.zone, name) for name in plan.names]
    if before[0] is not None:
        assert after[0].manifest == before[0].manifest
    assert [m.sequence for m in manifests(world)] == [1, 2]
    assert len(committed(world)) == 2


@pytest.mark.parametrize("request_number", range(1, 11))
def test_killed_around_any_request_nothing_is_uploaded_twice(world, request_number):
    world.wire.break_at[request_number] = "killed"
    with pytest.raises(Killed):
        world.process()
    plan = find_plan(world.zone, MONTH)
    signed = manifests(world)
    world.restart()
    world.process()
    assert find_plan(world.zone, MONTH) == plan
    assert manifests(world) == signed
    assert len(committed(world)) == 2
    assert world.wire.count("/objects") == 2
    assert list((world.folder / "outbox").iterdir()) == []


def test_killed_between_commit_and_deletion_the_columns_are_deleted_later(world, monkeypatch):
    def killed(*_args):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "drop_columns", killed)
        with pytest.raises(Killed):
            world.process()
    assert len(list((world.folder / "outbox").iterdir())) == 2
    world.restart()
    world.process()
    assert list((world.folder / "outbox").iterdir()) == []


def test_sequence_numbers_go_on_after_those_taken(world):
    world.process()
    august = ("2026-08-01T00:00:00+08:00", "2026-09-01T00:00:00+08:00")
    outgoing = world.outgoing(span=august)
    assert outgoing.upload.sequence == 3
    assert outgoing.upload.roster_id in find_plan(world.zone, MONTH).rosters
    assert world.outgoing(span=august).upload.sequence == 3


def test_files_are_fixed_once_rosters_are(world):
    world.process()
    with pytest.raises(ConflictError) as refusal:
        world.save()
    assert refusal.value.reason == "conflict.month-files"


def test_before_that_files_may_be_replaced_after_a_failure(world):
    world.save(contracts=f"{CONTRACTS_HEADER}\nother,futian,household,flat,0,0\n".encode())
    with pytest.raises(InputError) as refusal:
        world.process()
    assert refusal.value.reason == "month.nothing-billed"
    exceptions = (world.folder / "months" / MONTH / "exceptions.csv").read_text().splitlines()
    assert len(exceptions) == 1 + 1 + 20
    world.save()
    assert world.process().billed_meters == 20


def test_changed_rosters_after_fixing_are_refused(world):
    with pytest.raises(Killed):
        world.process(progress=kill_at("encrypt"))
    (readings,) = (world.folder / "months" / MONTH).glob("input-*/readings-0001")
    gone = world.simulated.meter_point_ids[0].encode()
    lines = readings.read_bytes().splitlines(keepends=True)
    readings.write_bytes(b"".join(line for line in lines if not line.startswith(gone)))
    with pytest.raises(StorageError) as damaged:
        world.process()
    assert damaged.value.reason == "storage.read"
    forget_digests(world.folder / "months" / MONTH)
    with pytest.raises(ConflictError) as refusal:
        world.process()
    assert refusal.value.reason == "conflict.month-plan"


def test_a_month_that_is_not_over_is_refused_before_anything_is_read(world):
    world.now = month_period(MONTH, timezone="Asia/Shanghai").start
    with pytest.raises(InputError) as refusal:
        world.process()
    assert (refusal.value.reason, world.steps) == ("month.not-over", [])


def test_each_meter_point_is_billed_in_its_own_intervals_and_one_with_two_answers_in_none(world):
    fine = "meter_point_id,start,kwh\n" + "".join(
        f"fine,2026-07-{day:02d} {hour:02d}:{minute:02d},0.100\n"
        for day in range(1, 32)
        for hour in range(24)
        for minute in (0, 15, 30, 45)
    )
    twice = fine.replace("fine,", f"{world.simulated.meter_point_ids[1]},")
    contracts = world.contracts_csv() + b"fine,futian,household,flat,0,0\n"
    world.save(world.simulated.wide_csv(), fine.encode(), twice.encode(), contracts=contracts)
    report = world.process()
    assert report.excluded == {"two-intervals": 1}
    assert report.billed_meters == 20
    assert report.readings == 20 * 744 + 2 * 2976
    assert (report.accepted, report.quarantined) == (19 * 744 + 2976, 744 + 2976)
    assert report.estimated == 0
    with pytest.raises(InputError):
        month_period("2026-7", timezone="Asia/Shanghai")


def test_a_full_disk_at_encryption_signs_nothing_and_passes(world, monkeypatch):
    real = outbox.write_private

    def full(*_args, **_kwargs):
        raise StorageError("The outbox could not be written: No space left on device.")

    monkeypatch.setattr(outbox, "write_private", full)
    with pytest.raises(StorageError):
        world.process()
    plan = find_plan(world.zone, MONTH)
    assert [outbox.find(world.zone, name) for name in plan.names] == [None, None]
    assert world.wire.log == []
    monkeypatch.setattr(outbox, "write_private", real)
    world.process()
    assert len(committed(world)) == 2


def test_an_outbox_that_was_altered_is_not_sent(world):
    with pytest.raises(Killed):
        world.process(progress=kill_at("upload"))
    path = min((world.folder / "outbox").iterdir())
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(GridSecureError) as refusal:
        world.process()
    assert refusal.value.reason == "audit.object"


@pytest.mark.parametrize("month", ["2026-13", "2026-7", "../x", "2026-07/..", "２０２６-07", ""])
def test_only_a_month_is_a_month(month):
    with pytest.raises(InputError) as refusal:
        month_period(month, timezone="Asia/Shanghai")
    assert refusal.value.reason == "month.format"
