"""Correcting a month: every version kept, only what changed sent, resumable at any point."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from decimal import Decimal
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlmodel import col, select

from gridsecure.billing.bills import bill_readings
from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.corrections import correct_bills, corrections_to_json
from gridsecure.compute.jobs import WorkerPool
from gridsecure.compute.key_sets import read_known_keys
from gridsecure.compute.requests import record_answer
from gridsecure.compute.runs import run_plan
from gridsecure.compute.seating import install_deny_list
from gridsecure.compute.tables import UploadRow
from gridsecure.crypto.envelope import open_from
from gridsecure.errors import (
    AuditBrokenError,
    ConflictError,
    GridSecureError,
    InputError,
    InvalidReadingsError,
    StorageError,
)
from gridsecure.gateway import correction_plan, correction_run, outbox
from gridsecure.gateway.correction_plan import (
    CorrectionFiles,
    CorrectionReport,
    list_corrections,
    save_correction,
)
from gridsecure.gateway.correction_run import correct_month
from gridsecure.gateway.correction_versions import compute_expected_corrections
from gridsecure.gateway.energies import IntervalEnergies
from gridsecure.gateway.exceptions import Wanted, list_exceptions, load_exception
from gridsecure.gateway.expected_bills import seal_expected
from gridsecure.gateway.month_files import load_files
from gridsecure.gateway.month_plan import find_plan
from gridsecure.gateway.reconciliation import compute_expected_bills
from gridsecure.gateway.settlement_proofs import prove_settlements
from gridsecure.gateway.year_to_date import load_totals, year_before_wh
from gridsecure.identity_messages import DenyList
from gridsecure.key_authority.checker.answering import list_certificates, read_sealed_statements
from gridsecure.key_authority.checker.bill_versions import bill_versions
from gridsecure.messages import Signed, UploadManifest, open_message, sign_message
from gridsecure.periods import billing_month
from gridsecure.plans.quantities import Family, find_family
from gridsecure.statement_checks import (
    EXPECTED_PURPOSE,
    STATEMENTS_PURPOSE,
    Digests,
    ExpectedBills,
    bill_digests,
    check_statements,
)
from gridsecure.store.database import write_session
from gridsecure.store.evidence import list_entries_of
from gridsecure.store.log_tree import verify_log
from gridsecure.store.pages import PageAsked
from gridsecure.tariffs.tariff import catalogue_tariffs, load_tariff, parse_tariff
from tests.authority_simulator import Authority
from tests.gateway.gateway_world import MONTH, GatewayWorld, Killed, finished_month, kill_at
from tests.grid_simulator import HOUR, NOW, OFFICE

CHEAPER = load_tariff(catalogue_tariffs()["flat"])
FLAT_TEXT = catalogue_tariffs()["flat"].read_text(encoding="utf-8")
CHEAPER_TEXT = FLAT_TEXT.replace('rate = "0.69986875"', 'rate = "0.6"')


@pytest.fixture
def world(tmp_path):
    """A world whose month is done."""
    made = GatewayWorld.after(finished_month(), tmp_path)
    yield made
    made.close()


def homes(world):
    contracts = world.contracts()
    return contracts.loc[contracts["customer_class"] == "household", "meter_point_id"].tolist()


def shops(world):
    contracts = world.contracts()
    return contracts.loc[contracts["customer_class"] != "household", "meter_point_id"].tolist()


def corrected_csv(*rows: tuple[str, str, float]) -> bytes:
    lines = [f"{name},{start},{kwh}" for name, start, kwh in rows]
    return "\n".join(["meter_point_id,start,kwh", *lines, ""]).encode()


def saved(world, *readings: bytes, tariffs: tuple[str, ...] = ()) -> CorrectionFiles:
    return save_correction(
        world.zone,
        MONTH,
        readings=[BytesIO(data) for data in readings],
        tariffs=[BytesIO(text.encode()) for text in tariffs],
    )


def correct(world, files, progress=lambda *_step: None) -> CorrectionReport:
    return correct_month(
        world.zone,
        files=load_files(world.zone, MONTH),
        correction=files,
        peers=world.peers,
        clock=world.clock,
        progress=progress,
    )


def sent_as(world, roster_id: str, revision: int) -> outbox.Outgoing:
    return outbox.load_outgoing(world.zone, outbox.upload_name(roster_id, MONTH, revision))


def platform_uploads(world) -> list[UploadManifest]:
    with write_session(world.grid.platform_zone.engine) as session:
        found = select(UploadRow).where(UploadRow.state == "committed")
        in_order = session.exec(found.order_by(col(UploadRow.id)))
        return [UploadManifest.parse(row.envelope.body) for row in in_order]


def readings_with(world, *rows: tuple[str, str, float]) -> pd.DataFrame:
    readings = world.simulated.readings()
    for name, start, kwh in rows:
        moment = pd.Timestamp(start, tz="Asia/Shanghai")
        place = (readings["meter_point_id"] == name) & (readings["start"] == moment)
        assert place.sum() == 1
        readings.loc[place, "energy_wh"] = round(kwh * 1000)
    return readings


def all_files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# --- one correction ----------------------------------------------------------------------------


def test_only_the_changed_roster_is_sent_and_names_its_slots(world):
    home, other = homes(world)[1], homes(world)[4]
    rows = (home, "2026-07-03 05:00", 1.234), (other, "2026-07-04 05:00", 0.5)
    report = correct(world, saved(world, corrected_csv(*rows)))
    assert (report.number, report.corrected, report.rosters, report.late) == (1, 2, 1, 0)
    assert report.bytes_uploaded > 0
    *first, second = platform_uploads(world)
    assert [upload.revision for upload in first] == [1, 1]
    assert second.revision == 2
    (earlier,) = [u for u in first if u.roster_id == second.roster_id]
    assert second.corrects == sent_as(world, earlier.roster_id, 1).manifest.digest
    manifest = sent_as(world, second.roster_id, 2).roster
    pseudonyms = json.loads(manifest.body)["pseudonyms"]
    names = world.identity_names()
    assert {pseudonyms[slot] for slot in second.corrected_slots} == {names[home], names[other]}
    assert [c.quantity for c in second.columns] == [c.quantity for c in earlier.columns]
    assert not any(find_family(c.quantity) is Family.INTERVALS for c in second.columns)


def test_every_version_stays_and_the_new_one_is_private(world):
    folder = world.folder / "months"
    before = all_files(folder)
    data = corrected_csv((homes(world)[0], "2026-07-03 05:00", 1.234))
    files = saved(world, data)
    correct(world, files)
    after = all_files(folder)
    assert before.items() <= after.items()
    assert after[f"{MONTH}/versions/{files.readings[0]}"] == data
    new = [path for path in folder.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in new} == {0o600}
    assert list((world.folder / "outbox").iterdir()) == []
    assert saved(world, data) == files
    with write_session(world.zone.engine) as session:
        verify_log(session)
        done = list_entries_of(session, "upload.committed", "correction.done")
    assert [one.action for one in done][-2:] == ["upload.committed", "correction.done"]


def test_the_expected_documents_are_those_of_the_plaintext_readings(world):
    home = homes(world)[2]
    row = (home, "2026-07-03 05:00", 3.5)
    files = saved(world, corrected_csv(row))
    correct(world, files)
    expected = compute_expected_corrections(
        world.zone, load_files(world.zone, MONTH), correction=files
    )
    frames = world.simulated.readings(), readings_with(world, row)
    old, new = (
        bill_readings(
            frame[frame["meter_point_id"] == home],
            tariff=load_tariff(catalogue_tariffs()["flat"]),
            contracts=world.contracts(),
            interval=HOUR,
        )[0]
        for frame in frames
    )
    tariff = load_tariff(catalogue_tariffs()["flat"])
    documents = corrections_to_json(
        correct_bills(old, new), version=2, meter_point_ids=[home], tariff=tariff
    )
    ((roster_id, meters),) = expected.items()
    assert meters == {world.settlement_names()[home]: documents["meters"][home]}
    statement = json.dumps({"roster_id": roster_id, "meters": meters}).encode()
    digests = bill_digests(expected)
    assert check_statements(digests, statements=[statement]).mismatches == 0
    changed = statement.replace(b'"version": 1', b'"version": 9')
    assert check_statements(digests, statements=[changed]).mismatches == 1


def test_a_single_late_reading_replaces_an_estimate(tmp_path):
    """A reading that was missing, and so estimated, comes late."""
    world = GatewayWorld(tmp_path, load_curves=False)
    try:
        home = homes(world)[0]
        lines = world.simulated.readings()
        gap = pd.Timestamp("2026-07-03 05:00", tz="Asia/Shanghai")
        missing = (lines["meter_point_id"] == home) & (lines["start"] == gap)
        local = lines["start"].dt.tz_convert("Asia/Shanghai").dt.strftime("%Y-%m-%d %H:%M")
        text = lines.assign(start=local, kwh=lines["energy_wh"] / 1000)[~missing]
        data = text[["meter_point_id", "start", "kwh"]].to_csv(index=False).encode()
        world.save(data)
        assert world.process().estimated == 1
        assert (
            platform_uploads(world)[0].estimated_readings
            + platform_uploads(world)[1].estimated_readings
            == 1
        )
        report = correct(world, saved(world, corrected_csv((home, "2026-07-03 05:00", 9.876))))
        assert report.corrected == 1
        assert platform_uploads(world)[-1].estimated_readings == 0
    finally:
        world.close()


def test_later_months_count_the_corrected_energy(world):
    """Tiers of a year add up what the corrected readings say, not what was first thought."""
    (home, *_) = homes(world)
    folder = load_files(world.zone, MONTH).folder
    correct(world, saved(world, corrected_csv((home, "2026-07-01 00:00", 7.5))))
    before, after = (
        pd.read_csv(folder / name, dtype={"meter_point_id": str}, index_col="meter_point_id")
        for name in ("totals.csv", "totals-corrected-000001.csv")
    )
    changed = (before["total_wh"] != after["total_wh"]).to_numpy()
    assert before.index[changed].tolist() == [home]
    contracts = default_contracts([home]).assign(service_from="2026-07")
    period = billing_month(2026, 8, timezone="Asia/Shanghai")
    starts = pd.DatetimeIndex([pd.Timestamp(period.start)])
    hour = pd.Timedelta(hours=1)
    august = IntervalEnergies(pd.Index([home]), starts, hour, np.ones((1, 1), dtype=np.int64))
    found = year_before_wh(folder.parent, energies=august, contracts=contracts, period=period)
    assert found.tolist() == [after["total_wh"][home]]


def test_the_same_readings_again_correct_nothing(world):
    data = world.simulated.wide_csv()
    report = correct(world, saved(world, data))
    assert (report.corrected, report.rosters, report.bytes_uploaded) == (0, 0, 0)
    assert world.wire.log == []


def test_another_price_table_seats_everybody_anew(world):
    report = correct(world, saved(world, tariffs=(CHEAPER_TEXT,)))
    assert (report.rosters, report.corrected) == (1, len(homes(world)))
    second = platform_uploads(world)[-1]
    assert second.corrected_slots == list(range(len(homes(world))))
    new = json.loads(sent_as(world, second.roster_id, 2).roster.body)
    (old,) = [
        roster
        for name in find_plan(world.zone, MONTH).names
        if (roster := json.loads(outbox.load_outgoing(world.zone, name).roster.body))["pseudonyms"]
        == new["pseudonyms"]
    ]
    assert {key for key in new if new[key] != old[key]} == {"roster_id", "tariff", "seats"}
    back = correct(world, saved(world, tariffs=(FLAT_TEXT,)))
    assert (back.number, back.rosters) == (2, 1)
    third = platform_uploads(world)[-1]
    assert third.revision == 3
    assert third.roster_id in find_plan(world.zone, MONTH).rosters


# --- one after another --------------------------------------------------------------------------


def test_corrections_build_on_each_other(world):
    home, shop = homes(world)[0], shops(world)[0]
    first = corrected_csv((home, "2026-07-03 05:00", 1), (shop, "2026-07-03 05:00", 2))
    assert correct(world, saved(world, first)).rosters == 2
    again = saved(world, corrected_csv((home, "2026-07-03 05:00", 4)))
    report = correct(world, again)
    assert (report.number, report.rosters, report.corrected) == (2, 1, 1)
    assert [u.revision for u in platform_uploads(world)] == [1, 1, 2, 2, 3]
    third = platform_uploads(world)[-1]
    second = sent_as(world, third.roster_id, 2)
    assert third.corrects == second.manifest.digest
    expected = compute_expected_corrections(
        world.zone, load_files(world.zone, MONTH), correction=again
    )
    ((period,),) = [d["periods"] for meters in expected.values() for d in meters.values()]
    assert (period["version"], period["cancels"]["version"]) == (3, 2)
    assert correct(world, again) == report
    assert len(platform_uploads(world)) == 5
    plans = list_corrections(world.zone, MONTH)
    assert [plan.number for plan in plans] == [1, 2]
    assert asdict(plans[0])["first_readings"] == asdict(plans[1])["first_readings"]


def test_back_to_the_first_readings_is_a_correction_too(world):
    home = homes(world)[0]
    readings = world.simulated.readings()
    moment = pd.Timestamp("2026-07-03 05:00", tz="Asia/Shanghai")
    place = (readings["meter_point_id"] == home) & (readings["start"] == moment)
    kwh = int(readings.loc[place, "energy_wh"].iloc[0]) / 1000
    correct(world, saved(world, corrected_csv((home, "2026-07-03 05:00", kwh + 1))))
    back = correct(world, saved(world, corrected_csv((home, "2026-07-03 05:00", kwh))))
    assert (back.number, back.corrected) == (2, 1)


# --- killed and started again -------------------------------------------------------------------


@pytest.mark.parametrize("stage", correction_run.STAGES)
def test_killed_as_a_stage_begins_the_next_run_completes_it(world, stage):
    rows = [(name, "2026-07-03 05:00", 1.5) for name in (homes(world)[0], shops(world)[0])]
    files = saved(world, corrected_csv(*rows))

    with pytest.raises(Killed):
        correct(world, files, kill_at(stage))
    plans = list_corrections(world.zone, MONTH)
    signed = {
        item.name: outbox.find(world.zone, item.name) for plan in plans for item in plan.rosters
    }
    world.restart()
    report = correct(world, files)
    assert report.rosters == 2
    assert [u.revision for u in platform_uploads(world)] == [1, 1, 2, 2]
    for name, item in signed.items():
        if item is not None:
            assert outbox.load_outgoing(world.zone, name).manifest == item.manifest
    if plans:
        assert list_corrections(world.zone, MONTH) == plans
    assert list((world.folder / "outbox").iterdir()) == []


@pytest.mark.parametrize("request_number", range(1, 10))
def test_killed_around_any_request_nothing_is_uploaded_twice(world, request_number):
    rows = [(name, "2026-07-03 05:00", 1.5) for name in (homes(world)[0], shops(world)[0])]
    files = saved(world, corrected_csv(*rows))
    world.wire.break_at[request_number] = "killed"
    with pytest.raises(Killed):
        correct(world, files)
    plans = list_corrections(world.zone, MONTH)
    world.restart()
    correct(world, files)
    assert list_corrections(world.zone, MONTH) == plans
    assert len(platform_uploads(world)) == 4
    assert world.wire.count("/objects") == 2


def test_an_unfinished_correction_comes_first(world):
    files = saved(world, corrected_csv((homes(world)[0], "2026-07-03 05:00", 1.5)))

    with pytest.raises(Killed):
        correct(world, files, kill_at("upload"))
    other = saved(world, corrected_csv((homes(world)[1], "2026-07-03 05:00", 1.5)))
    with pytest.raises(ConflictError) as refusal:
        correct(world, other)
    assert refusal.value.reason == "correction.unfinished"
    correct(world, files)
    assert correct(world, other).number == 2


def test_a_full_disk_fixes_or_signs_nothing_and_passes(world, monkeypatch):
    files = saved(world, corrected_csv((homes(world)[0], "2026-07-03 05:00", 1.5)))
    real = outbox.write_private

    def full(*_args, **_kwargs):
        raise StorageError("The outbox could not be written: No space left on device.")

    monkeypatch.setattr(outbox, "write_private", full)
    with pytest.raises(StorageError):
        correct(world, files)
    assert world.wire.log == []
    monkeypatch.setattr(outbox, "write_private", real)
    assert correct(world, files).rosters == 1


# --- what is refused ----------------------------------------------------------------------------


def test_a_month_that_is_not_done_is_not_corrected(tmp_path):
    world = GatewayWorld(tmp_path, load_curves=False)
    try:
        world.save()
        with pytest.raises(ConflictError) as refusal:
            saved(world, corrected_csv(("x", "2026-07-03 05:00", 1.5)))
        assert refusal.value.reason == "correction.month-open"
    finally:
        world.close()


def test_nothing_handed_in_is_nothing_to_correct(world):
    with pytest.raises(InputError) as refusal:
        saved(world)
    assert refusal.value.reason == "correction.nothing"


def test_half_hours_over_hours_are_refused(world):
    rows = [
        (homes(world)[0], f"2026-07-03 {hour:02d}:{m}", 1.0)
        for hour in (5, 6)
        for m in ("00", "30")
    ]
    with pytest.raises(InvalidReadingsError) as refusal:
        correct(world, saved(world, corrected_csv(*rows)))
    assert refusal.value.reason == "correction.interval"
    assert list_corrections(world.zone, MONTH) == []


def test_who_could_no_longer_be_billed_is_left_out_and_the_others_are_corrected(world):
    """An absurd value is quarantined; with most of the month so, the meter point has no bill."""
    home, other = homes(world)[:2]
    rows = [
        (home, f"2026-07-{day:02d} {hour:02d}:00", -1.0)
        for day in range(1, 29)
        for hour in range(24)
    ]
    fine = (other, "2026-07-03 05:00", 1.5)
    report = correct(world, saved(world, corrected_csv(*rows, fine)))
    assert report.corrected == 1
    (plan,) = list_corrections(world.zone, MONTH)
    assert plan.left_out == {home: "net-metered"}
    assert work_list(world)[home, "negative"] == "open"
    # Readings that can be billed take up what waited, and so the meter point is corrected.
    better = [(name, start, 0.7) for name, start, _ in rows]
    assert correct(world, saved(world, corrected_csv(*better))).corrected == 1
    assert list_corrections(world.zone, MONTH)[1].left_out == {}
    assert work_list(world)[home, "negative"] == "resolved"
    fixed = readings_with(world, *better)
    total = int(fixed.loc[fixed["meter_point_id"] == home, "energy_wh"].sum())
    assert load_totals(load_files(world.zone, MONTH).folder)[home] == total


def work_list(world) -> dict[tuple[str, str], str]:
    with write_session(world.zone.engine) as session:
        rows, _ = list_exceptions(session, PageAsked(), wanted=Wanted(month=MONTH))
        return {(row.meter_point_id, row.rule): row.state for row in rows}


def last_note(world, rule: str) -> str:
    with write_session(world.zone.engine) as session:
        rows, _ = list_exceptions(session, PageAsked(), wanted=Wanted(month=MONTH))
        (number,) = [row.id for row in rows if row.rule == rule]
    return load_exception(world.zone, number)[1][-1].text


def test_what_a_correction_brings_is_on_the_work_list_and_what_it_settles_is_closed(world):
    home = homes(world)[0]
    spiked, put_right = (
        corrected_csv((home, "2026-07-03 05:00", kwh), (home, "2026-07-03 06:00", 0.2))
        for kwh in (80.0, 0.4)
    )
    before = work_list(world)
    correct(world, saved(world, spiked))
    assert work_list(world) == before | {(home, "spike"): "open"}
    correct(world, saved(world, put_right))
    assert work_list(world) == before | {(home, "spike"): "resolved"}
    assert last_note(world, "spike") == "Correction 2: it is found no more."


def test_a_tariff_by_which_nobody_can_be_billed_corrects_nothing_and_leaves_the_work_list(world):
    home, before = homes(world)[0], work_list(world)
    spiked = corrected_csv((home, "2026-07-03 05:00", 80.0))
    later = re.sub(r"valid_from = \S+", "valid_from = 2026-08-01", FLAT_TEXT)
    with pytest.raises(InputError) as refusal:
        correct(world, saved(world, spiked, tariffs=(later,)))
    assert refusal.value.reason == "correction.unbillable"
    assert list_corrections(world.zone, MONTH) == []
    assert work_list(world) == before


def test_an_exception_of_who_was_left_out_is_closed_by_its_first_bill(short_world):
    world, readings = short_world
    home = homes(world)[0]
    assert work_list(world)[home, "no-readings"] == "open"
    files = saved(world, readings)
    with pytest.raises(Killed):
        correct(world, files, progress=kill_at("upload"))
    world.restart()
    correct(world, files)
    assert work_list(world)[home, "no-readings"] == "resolved"


@pytest.fixture
def short_world(tmp_path):
    """A month that was billed without one meter point, whose readings are there now."""
    world = GatewayWorld(tmp_path / "short")
    readings = world.simulated.readings()
    local = readings["start"].dt.tz_convert("Asia/Shanghai").dt.strftime("%Y-%m-%d %H:%M")
    lines = readings.assign(start=local, kwh=readings["energy_wh"] / 1000)
    lines = lines[["meter_point_id", "start", "kwh"]]
    own = lines["meter_point_id"] == homes(world)[0]
    world.save(lines[~own].to_csv(index=False).encode())
    assert world.process().billed_meters == 19
    yield world, lines[own].to_csv(index=False).encode()
    world.close()


def totals_of(bills) -> list[str]:
    return sorted(
        period["total_exact"]
        for roster in bills.values()
        for bill in roster.values()
        for period in bill["periods"]
    )


def test_who_was_left_out_is_billed_first_once_its_readings_are_there(short_world, world):
    complete = compute_expected_bills(world.zone, load_files(world.zone, MONTH))
    world, readings = short_world
    before = compute_expected_bills(world.zone, load_files(world.zone, MONTH))
    report = correct(world, saved(world, readings))
    assert (report.corrected, report.late, report.first_billed) == (0, 1, 1)
    after = compute_expected_bills(world.zone, load_files(world.zone, MONTH))
    assert before.items() < after.items()
    assert totals_of(after) == totals_of(complete)
    (added,) = after.keys() - before.keys()
    upload = platform_uploads(world)[-1]
    assert (upload.roster_id, upload.revision) == (added, 1)
    first = next(one for one in platform_uploads(world) if one.roster_id in before)
    assert len(upload.columns) >= len(first.columns) - 2  # days of interval columns among them

    # It is a bill like any other: it can be corrected, and nobody is billed first twice.
    row = (homes(world)[0], "2026-07-03 05:00", 7.5)
    again = correct(world, saved(world, corrected_csv(row)))
    assert (again.corrected, again.late, again.first_billed) == (1, 0, 0)
    proven = prove_settlements(world.zone, MONTH, challenge=b"c" * 32)
    assert homes(world)[0] in proven.pseudonyms


@pytest.mark.parametrize("stage", ["compare", "upload"])
def test_first_bills_that_were_interrupted_come_out_the_same(short_world, stage):
    world, readings = short_world
    files = saved(world, readings)
    with pytest.raises(Killed):
        correct(world, files, progress=kill_at(stage))
    sent = len(platform_uploads(world))
    report = correct(world, files)
    assert (report.first_billed, len(platform_uploads(world))) == (1, sent + 1)
    assert correct(world, files) == report
    assert len(platform_uploads(world)) == sent + 1


def test_a_refused_first_bill_is_refused_again_by_a_run_that_was_killed_at_its_report(
    short_world, monkeypatch
):
    world, readings = short_world
    files = saved(world, readings)
    with pytest.raises(Killed):
        correct(world, files, progress=kill_at("upload"))
    (plan,) = list_corrections(world.zone, MONTH)
    (name,) = plan.added_names
    (subject,) = outbox.load_outgoing(world.zone, name).seated.pseudonyms
    said = DenyList(sequence=1, issued_at=NOW.isoformat(), subjects=[subject])
    signed = sign_message(said, key=world.grid.identity_key)
    install_deny_list(world.grid.platform_zone, signed, at=NOW)

    def killed(*_zone, **_report):
        raise Killed

    with monkeypatch.context() as killing:
        killing.setattr(correction_run, "keep_correction_report", killed)
        with pytest.raises(Killed):
            correct(world, files)
    report = correct(world, files)
    assert (report.late, report.first_billed) == (1, 0)
    assert list((world.folder / "outbox").iterdir()) == []


@pytest.mark.parametrize("which", ["first", "corrected"])
def test_an_altered_version_is_noticed(world, which):
    files = saved(world, corrected_csv((homes(world)[0], "2026-07-03 05:00", 1.5)))
    correct(world, files)
    if which == "corrected":
        path = correction_plan.locate_version(world.zone, MONTH, files.readings[0])
    else:
        (path,) = load_files(world.zone, MONTH).readings
    path.write_bytes(path.read_bytes() + b"\n")
    other = saved(world, corrected_csv((homes(world)[1], "2026-07-03 05:00", 1.5)))
    with pytest.raises(AuditBrokenError) as refusal:
        correct(world, other)
    assert refusal.value.reason == "audit.version"


def test_a_tariff_that_is_none_is_not_kept(world):
    with pytest.raises(GridSecureError):
        saved(world, tariffs=("price = 1",))
    assert not (world.folder / "months" / MONTH / "versions").exists()
    assert parse_tariff(CHEAPER_TEXT).tariff_id == CHEAPER.tariff_id


def test_files_of_two_interval_lengths_are_corrected_each_in_its_own(tmp_path):
    """A meter point in quarter hours beside others in hours, and one that was never read."""
    world = GatewayWorld(tmp_path, load_curves=False)
    try:
        fine = "".join(
            f"fine,2026-07-{day:02d} {hour:02d}:{minute:02d},0.100\n"
            for day in range(1, 32)
            for hour in range(24)
            for minute in (0, 15, 30, 45)
        )
        header = "meter_point_id,start,kwh\n"
        contracts = world.contracts_csv() + b"fine,futian,household,flat,0,0\n"
        world.save(world.simulated.wide_csv(), (header + fine).encode(), contracts=contracts)
        assert world.process().billed_meters == 21
        quarter = saved(world, corrected_csv(("fine", "2026-07-03 05:15", 0.2)))
        assert correct(world, quarter).corrected == 1
        hour = corrected_csv(
            (homes(world)[0], "2026-07-03 05:00", 2.5),
            (homes(world)[0], "2026-07-03 06:00", 2.5),
            ("stranger", "2026-07-03 05:00", 1.0),
        )
        assert correct(world, saved(world, hour)).corrected == 1
    finally:
        world.close()


def test_a_version_that_is_gone_is_an_error_with_a_way_out(world):
    files = saved(world, corrected_csv((homes(world)[0], "2026-07-03 05:00", 1.5)))
    correction_plan.locate_version(world.zone, MONTH, files.readings[0]).unlink()
    with pytest.raises(StorageError) as refusal:
        correct(world, files)
    assert refusal.value.reason == "storage.read"


# --- through all parties ------------------------------------------------------------------------


def test_released_corrections_are_those_the_gateway_expects(world, tmp_path):
    """Gateway, platform, checker, vault, billing office, and back to the gateway's oracle."""
    month = load_files(world.zone, MONTH)
    with closing(authority_of(world, tmp_path)) as authority:
        opened = released(world, authority, "bill")
        rows = [(name, "2026-07-03 05:00", 2.5) for name in (homes(world)[0], shops(world)[0])]
        first = saved(world, corrected_csv(*rows))
        second = saved(world, tariffs=(CHEAPER_TEXT,))
        for files, count in ((first, 2), (second, len(homes(world)))):
            correct(world, files)
            statements = released(world, authority, "rebill")
            expected = compute_expected_corrections(world.zone, month, correction=files)
            found = check_statements(bill_digests(expected), statements=statements)
            assert (found.bills, found.corrections, found.mismatches) == (count, count, 0)
            opened += statements
        assert [v.version.revision for v in bill_versions(authority.zone)] == [1, 1, 2, 2, 3]

        # All of it as the billing office compares it, over every release of the month.
        digests = told(world, list_certificates(authority.zone))
        found = check_statements(digests, statements=opened)
        both = 2 + len(homes(world))
        assert (found.bills, found.corrections, found.mismatches) == (20 + both, both, 0)
        for place in (0, -1):
            wrong = json.loads(opened[place])
            name, bill = max(wrong["meters"].items())
            period = bill["periods"][0]
            lines = period.get("adjustment", period)["lines"]
            lines[0]["amount"] = str(Decimal(lines[0]["amount"]) + Decimal("0.01"))
            altered = [*opened]
            altered[place] = json.dumps(wrong).encode()
            found = check_statements(digests, statements=altered)
            assert (found.mismatches, found.differing) == (1, (name,))


def authority_of(world, folder: Path) -> Authority:
    """A key authority that files the world's bills under the names its agents prove."""
    filed = world.settlement_names()
    names = {subject: filed[name] for name, subject in world.identity_names().items()}

    def settlement(_domain: str, subjects: Sequence[str]) -> list[str]:
        return [names[subject] for subject in subjects]

    return Authority(
        world.grid, folder / "authority", settlement=settlement, gateway=world.gateway_key
    )


def told(world, certificates: Sequence[Signed]) -> Digests:
    """What the gateway tells the billing office of releases."""
    sealed = seal_expected(
        world.zone,
        load_files(world.zone, MONTH),
        certificates=certificates,
        office=OFFICE.public_key,
        at=NOW,
    )
    text = open_from(sealed, private_key=OFFICE, purpose=EXPECTED_PURPOSE)
    key = world.zone.signing_key.public_key
    answer = open_message(Signed.parse(text), expect=ExpectedBills, trusted={key.thumbprint: key})
    return answer.digests


def released(world, authority: Authority, plan: str) -> list[bytes]:
    """Run a plan at the platform, have it released, and open what is sealed."""
    zone = world.grid.platform_zone
    if plan == "bill":
        world.grid.close_month()
    with closing(WorkerPool(zone.objects.store, read_known_keys(zone.engine), workers=1)) as pool:
        order = world.grid.order(plan)
        request = run_plan(
            zone,
            replace(order, purpose="billing"),
            pool=pool,
            clock=world.clock,
            progress=lambda _done, _of: None,
        )
    outcome = authority.answer(request)
    assert (outcome.state, outcome.reason) == ("released", None)
    record_answer(zone, outcome.request_id, answer="released", at=world.now)
    return [
        open_from(
            read_sealed_statements(authority.zone, outcome.request_id, roster_id),
            private_key=OFFICE,
            purpose=STATEMENTS_PURPOSE,
        )
        for roster_id in authority.certificates[-1].statements
    ]
