"""Runs: the same transcripts whoever runs them, however often they were killed; exact bills."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlmodel import select

from gridsecure.billing.rules import CONTRACT
from gridsecure.compute import intake
from gridsecure.compute.jobs import WorkerPool
from gridsecure.compute.key_sets import read_known_keys
from gridsecure.compute.requests import list_waiting_requests, record_answer
from gridsecure.compute.runs import Progress, RunOrder, find_signed_message, keep_job_seed, run_plan
from gridsecure.compute.tables import JobSeedRow, TranscriptRow
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import (
    ConflictError,
    GridSecureError,
    InputError,
    KeyMismatchError,
    NotFoundError,
    StorageError,
)
from gridsecure.gateway.rosters import Roster
from gridsecure.homomorphic.column_files import open_column
from gridsecure.messages import ReleaseRequest, Signed, Transcript
from gridsecure.plans.execution import compile_bill, roster_data
from gridsecure.plans.load_curve import day_quantity, lay_out_cells, total_groups
from gridsecure.plans.recombination import recombine_outputs
from gridsecure.store.database import read_session, write_session
from gridsecure.store.log_tree import verify_log
from gridsecure.store.rows import keep
from tests.grid_simulator import (
    DAY_INTERVALS,
    NOW,
    TIERS,
    GridSimulator,
    delivered_grid,
    registry,
)
from tests.held_inputs import hold_inputs, release_inputs
from tests.held_policy import FIFTEEN


def quiet(_done: int, _of: int) -> None:
    """Nobody watches."""


def run(
    grid: GridSimulator, order: RunOrder, *, workers: int = 1, progress: Progress = quiet
) -> Signed:
    zone = grid.platform_zone
    with closing(
        WorkerPool(zone.objects.store, read_known_keys(zone.engine), workers=workers)
    ) as pool:
        return run_plan(zone, order, pool=pool, clock=lambda: NOW, progress=progress)


def request_of(envelope: Signed) -> ReleaseRequest:
    return ReleaseRequest.parse(envelope.body)


def transcript_bodies(grid: GridSimulator) -> dict[str, str]:
    with read_session(grid.platform_zone.engine) as session:
        return {row.job: row.envelope.body for row in session.exec(select(TranscriptRow))}


def seeds(grid: GridSimulator) -> dict[str, bytes]:
    with read_session(grid.platform_zone.engine) as session:
        return {row.job: row.seed for row in session.exec(select(JobSeedRow))}


@pytest.fixture(params=["bill", "load-curve"])
def plan(request) -> str:
    return request.param


@pytest.fixture
def delivered(tmp_path: Path) -> Iterator[GridSimulator]:
    with delivered_grid(tmp_path / "grid") as grid:
        yield grid


@pytest.fixture
def two_days(tmp_path: Path) -> Iterator[GridSimulator]:
    """A grid with two days of intervals: two load-curve jobs."""
    grid = GridSimulator(tmp_path / "grid")
    grid.install()
    for roster in grid.rosters:
        grid.deliver(grid.upload(roster, days=2))
    grid.close_month()
    yield grid
    grid.close()


def decrypted(
    grid: GridSimulator, transcript: Transcript, name: str, *, roster: Roster
) -> NDArray[np.uint64]:
    """An output column of a transcript, as only the vault may see it."""
    entry = transcript.outputs[name]
    key_set = grid.keys.secret[entry.parameters]
    column, _ = open_column(
        grid.platform_zone.objects.get(entry.digest),
        digest=entry.digest,
        evaluation=key_set.public.evaluation,
        roster_id=roster.manifest.roster_id,
    )
    return key_set.decrypt(column)


@pytest.mark.parametrize("household_tariff", ["flat", TIERS])
def test_bills_on_ciphertext_are_the_oracles_to_the_last_digit(tmp_path, household_tariff):
    with delivered_grid(tmp_path, household_tariff=household_tariff) as grid:
        envelope = run(grid, grid.order("bill"))
        by_digest = {grid.signed_roster(roster).digest: roster for roster in grid.rosters}
        checked = 0
        for signed_transcript in request_of(envelope).transcripts:
            transcript = Transcript.parse(signed_transcript.body)
            roster = by_digest[transcript.rosters[0]]
            data = roster_data(roster.manifest, grid.upload(roster).manifest)
            compiled = compile_bill(data, tariff=grid.tariff(roster))
            values = {
                name: decrypted(grid, transcript, name, roster=roster)
                for name in transcript.outputs
            }
            amounts = recombine_outputs(compiled, values=values).amounts
            bills = grid.bills(roster)
            places = [bills.meter_point_ids.index(name) for name in roster.meter_point_ids]
            for line, rule in enumerate(compiled.rules):
                if rule.basis != CONTRACT:
                    assert amounts[line].tolist() == bills.amounts[line][places].tolist()
                    checked += roster.manifest.slots
        assert checked > grid.contracts.shape[0]


def test_load_curve_totals_are_exact_and_no_slot_tells_anything(delivered):
    envelope = run(delivered, delivered.order("load-curve"))
    (signed_transcript,) = request_of(envelope).transcripts
    transcript = Transcript.parse(signed_transcript.body)
    rosters = sorted(delivered.rosters, key=lambda roster: roster.manifest.roster_id)
    layout = lay_out_cells([roster.manifest for roster in rosters], minima=FIFTEEN)
    readings = delivered.readings.pivot(index="start", columns="meter_point_id", values="energy_wh")
    day = day_quantity(f"{delivered.month}-01")
    values = [
        decrypted(delivered, transcript, f"{roster.manifest.roster_id}/{day}", roster=roster)
        for roster in rosters
    ]
    totals = total_groups(values, layout=layout, intervals=DAY_INTERVALS)
    assert len(totals) == DAY_INTERVALS
    for interval, found in enumerate(totals):
        row = readings.sort_index().iloc[interval]
        members = [m for r in rosters for m in r.meter_point_ids]
        # One cell of its own, and one of all that are too small for themselves.
        assert len(found) == 2
        for cell, total in found.items():
            inside = [m for m, g in zip(members, layout.joined, strict=True) if g == cell]
            assert len(inside) == layout.cells[cell].members >= 15
            assert total == int(row[inside].sum())
        plain = np.concatenate([row[list(r.meter_point_ids)].to_numpy() for r in rosters])
        own = [part.reshape(DAY_INTERVALS, -1)[interval] for part in values]
        assert not (np.concatenate(own).astype(np.int64) == plain).any()


def test_digests_do_not_depend_on_workers_or_on_the_run(tmp_path, plan):
    outcomes = []
    kept: dict[str, str] = {}
    for workers in (1, 2):
        with delivered_grid(tmp_path / str(workers)) as grid:
            if kept:  # the blinding seed is drawn once a platform; everything else must follow
                plant_seeds(grid, kept)
            envelope = run(grid, grid.order(plan), workers=workers)
            kept = seeds(grid)
            outcomes.append((request_of(envelope), transcript_bodies(grid)))
    (first, first_bodies), (second, second_bodies) = outcomes
    assert first_bodies == second_bodies
    assert first.request_id == second.request_id
    assert [t.digest for t in first.transcripts] == [t.digest for t in second.transcripts]


def plant_seeds(grid: GridSimulator, kept: dict[str, bytes]) -> None:
    """Keep seeds of another platform, as if this one had drawn them."""
    with write_session(grid.platform_zone.engine) as session:
        for job, seed in kept.items():
            keep(session, JobSeedRow(job=job, seed=seed, at=NOW))


# --- killed and started again ------------------------------------------------------------------


class Killer:
    """Kills the worker processes once `after` jobs are done."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.seen: list[tuple[int, int]] = []

    def __call__(self, done: int, of: int) -> None:
        self.seen.append((done, of))
        if done == self.after:
            for child in multiprocessing.active_children():
                os.kill(child.pid or 0, signal.SIGKILL)


@contextmanager
def stuck_second_job(grid: GridSimulator, plan: str) -> Iterator[None]:
    """The second job waits for ever."""
    roster = sorted(grid.rosters, key=lambda roster: roster.manifest.roster_id)[1]
    columns = grid.upload(roster, days=2).manifest.columns
    second = day_quantity(f"{grid.month}-02")
    wanted = second if plan == "load-curve" else ("register:", "total")
    held = [column.digest for column in columns if column.quantity.startswith(wanted)]
    lay_in = hold_inputs(grid.folder, held)
    yield
    release_inputs(grid.folder, lay_in)


def test_a_run_whose_workers_were_killed_goes_on_with_identical_transcripts(two_days, plan):
    grid = two_days
    order = grid.order(plan)
    killer = Killer(after=1)
    with stuck_second_job(grid, plan), pytest.raises(GridSecureError) as killed:
        run(grid, order, progress=killer)
    assert killed.value.reason == "job.killed"
    assert killer.seen == [(0, 2), (1, 2)]
    assert list_waiting_requests(grid.platform_zone) == []
    before, kept_seeds = transcript_bodies(grid), seeds(grid)
    assert len(before) == 1

    grid.restart_platform()
    seen: list[tuple[int, int]] = []
    envelope = run(grid, order, progress=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 2), (2, 2)]
    after = transcript_bodies(grid)
    assert before.items() <= after.items()
    assert seeds(grid) == kept_seeds
    assert len(request_of(envelope).transcripts) == len(after) == 2

    undisturbed = undisturbed_bodies(grid, kept_seeds, plan)
    assert after == undisturbed


def undisturbed_bodies(grid: GridSimulator, kept: dict[str, str], plan: str) -> dict[str, str]:
    """Transcripts of the same uploads on a platform where nothing was ever killed."""
    other = GridSimulator(grid.folder.parent / "undisturbed")
    try:
        other.install()
        for roster in other.rosters:
            other.deliver(other.upload(roster, days=2))
        other.close_month()
        plant_seeds(other, kept)
        run(other, other.order(plan))
        return transcript_bodies(other)
    finally:
        other.close()


def test_a_restarted_load_curve_blinds_with_the_same_seeds(two_days):
    first = keep_job_seed(two_days.platform_zone, "load-curve/x/2026-07-01", at=NOW)
    two_days.restart_platform()
    assert keep_job_seed(two_days.platform_zone, "load-curve/x/2026-07-01", at=NOW) == first
    assert keep_job_seed(two_days.platform_zone, "load-curve/x/2026-07-02", at=NOW) != first


def test_seeds_reach_the_checker_as_the_transcripts_commit_to_them(two_days):
    request = request_of(run(two_days, two_days.order("load-curve")))
    assert len(request.seeds) == len(set(request.seeds)) == 2
    for text, envelope in zip(request.seeds, request.transcripts, strict=True):
        transcript = Transcript.parse(envelope.body)
        assert transcript.seed_commitment == sm3_hex(bytes.fromhex(text))
        assert text not in envelope.body


def test_a_repeated_run_computes_nothing_and_asks_nothing_new(delivered, plan):
    first = run(delivered, delivered.order(plan))
    with write_session(delivered.platform_zone.engine) as session:
        entries = verify_log(session)
    seen: list[tuple[int, int]] = []
    again = run(delivered, delivered.order(plan), progress=lambda *count: seen.append(count))
    assert again == first
    assert len(seen) == 1
    assert seen[0][0] == seen[0][1]
    with write_session(delivered.platform_zone.engine) as session:
        assert verify_log(session) == entries
    assert list_waiting_requests(delivered.platform_zone) == [first]


def test_a_store_that_takes_nothing_fails_the_run_which_then_goes_on(delivered):
    """In the worker process itself: a file stands where a folder for its outputs is needed."""
    root = delivered.folder / "objects"
    shards = [root / f"{number:02x}" for number in range(256)]
    blockers = [shard for shard in shards if not shard.exists()]
    for blocker in blockers:
        blocker.touch()
    with pytest.raises(StorageError) as refused:
        run(delivered, delivered.order("bill"))
    assert refused.value.reason == "storage.write"
    assert list_waiting_requests(delivered.platform_zone) == []
    for blocker in blockers:
        blocker.unlink()
    assert len(request_of(run(delivered, delivered.order("bill"))).transcripts) == 2


# --- what a run needs ---------------------------------------------------------------------------


def test_nothing_committed_is_nothing_to_run(grid, plan):
    upload = grid.upload(grid.rosters[0])
    intake.begin_upload(grid.platform_zone, upload.message, at=NOW)
    with pytest.raises(NotFoundError) as refused:
        run(grid, grid.order(plan))
    assert refused.value.reason == "run.empty"


def test_a_load_curve_needs_one_grid_of_intervals(grid):
    """Days that one roster lacks are left out (`test_sealed_days`); the others divide alike."""
    second = grid.upload(grid.rosters[1], days=1)
    *settled, day = second.manifest.columns
    halves = day.model_copy(update={"intervals": 2 * day.intervals})
    manifest = second.manifest.model_copy(update={"columns": [*settled, halves]})
    second = replace(second, manifest=manifest, message=grid.sign(manifest))
    grid.deliver(grid.upload(grid.rosters[0], days=1))
    grid.deliver(second)
    grid.close_month()
    with pytest.raises(InputError) as refused:
        run(grid, grid.order("load-curve"))
    assert refused.value.reason == "load-curve.grid"


def test_an_object_damaged_on_the_disk_is_noticed(delivered):
    columns = delivered.upload(delivered.rosters[0]).manifest.columns
    digest = next(c.digest for c in columns if c.quantity == "total")
    extent = delivered.platform_zone.objects.find_extents([digest])[digest]
    path = delivered.folder / "objects" / extent.container[:2] / extent.container[2:]
    data = bytearray(path.read_bytes())
    data[extent.offset + extent.length // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(GridSecureError) as refused:
        run(delivered, delivered.order("bill"))
    assert refused.value.reason == "audit.object"


# --- requests and their answers -----------------------------------------------------------------


def test_the_request_is_signed_by_the_platform_and_names_who_asked(delivered):
    envelope = run(delivered, delivered.order("bill", requested_by="clerk-7"))
    envelope.verify(delivered.platform_key.public_key)
    request = request_of(envelope)
    assert (request.plan, request.requested_by) == ("bill", "clerk-7")
    for transcript in request.transcripts:
        body = Transcript.parse(transcript.body)
        for kind, digests in (("roster", body.rosters), ("upload", body.uploads)):
            for digest in digests:
                message = find_signed_message(delivered.platform_zone, kind=kind, digest=digest)
                message.verify(registry(delivered.gateway_key)[message.signer])
    with pytest.raises(NotFoundError):
        find_signed_message(delivered.platform_zone, kind="roster", digest="0" * 64)


def test_an_answer_is_kept_once_and_a_refused_request_waits_again(delivered):
    zone = delivered.platform_zone
    envelope = run(delivered, delivered.order("bill"))
    answer = partial(record_answer, zone, request_of(envelope).request_id, at=NOW)
    for _ in range(2):
        answer(answer="refused")
    assert list_waiting_requests(zone) == []
    with pytest.raises(ConflictError):
        answer(answer="released")
    assert run(delivered, delivered.order("bill")) == envelope
    assert list_waiting_requests(zone) == [envelope]
    answer(answer="released")
    with pytest.raises(NotFoundError) as again:
        run(delivered, delivered.order("bill"))
    assert again.value.reason == "run.released"
    assert request_of(envelope).request_id in str(again.value)
    assert list_waiting_requests(zone) == []
    with pytest.raises(NotFoundError):
        record_answer(zone, "f" * 32, answer="released", at=NOW)


def test_a_settlement_column_of_several_intervals_is_not_billed(grid):
    for roster in grid.rosters:
        upload = grid.upload(roster, days=0)
        columns = [c.model_copy(update={"intervals": 2}) for c in upload.manifest.columns]
        manifest = upload.manifest.model_copy(update={"columns": columns})
        grid.deliver(replace(upload, manifest=manifest, message=grid.sign(manifest)))
    grid.close_month()
    with pytest.raises(KeyMismatchError) as refused:
        run(grid, grid.order("bill"))
    assert refused.value.reason == "plan.input"
