"""Who sits where and when: no pseudonym in two rosters at a time, and a refusal takes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from gridsecure.compute import intake
from gridsecure.compute.tables import BilledMembersRow, SeatRow, UploadRow
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import (
    ConflictError,
    InputError,
    InvalidMessageError,
    NotFoundError,
    StaleMessageError,
)
from gridsecure.gateway.rosters import Roster
from gridsecure.store.database import write_session
from gridsecure.store.log_tree import verify_log
from tests.compute.second_rosters import (
    AUGUST,
    STRADDLING,
    STRADDLING_DAY,
    known,
    part,
    upload_of,
)
from tests.correction_simulator import changed, correction
from tests.grid_simulator import NOW, GridSimulator, GridUpload, neighbours_keys

TABLES = (UploadRow, SeatRow, BilledMembersRow)


@pytest.fixture
def first(grid: GridSimulator) -> GridUpload:
    """The flat roster's upload of July, begun."""
    roster = max(grid.rosters, key=lambda roster: roster.manifest.slots)
    upload = grid.upload(roster, days=1)
    begin(grid, upload)
    return upload


@pytest.fixture
def second(grid: GridSimulator, first: GridUpload) -> Roster:
    """Another roster, which seats two of the same pseudonyms."""
    return known(grid, part(first.roster.manifest, [3, 30]))


@pytest.fixture
def apart(grid: GridSimulator, first: GridUpload) -> GridUpload:
    """The four-period roster's upload, not sent: it shares nobody with the flat one."""
    (roster,) = [one for one in grid.rosters if one is not first.roster]
    return upload_of(grid, roster, first)


@pytest.fixture
def neighbour(grid: GridSimulator) -> Iterator[GridSimulator]:
    """Another gateway, with meter points of its own, at the same platform."""
    keys = replace(
        grid.keys, gateway=generate_private_key(), packed={}, seated={}, secret=neighbours_keys()
    )
    other = GridSimulator(grid.folder, keys=keys)
    other.install_key_sets()
    other.pseudonyms = {
        name: sm3_hex(f"neighbour/{name}".encode()) for name in other.simulated.meter_point_ids
    }
    other.install_rosters()
    yield other
    other.close()


def begin(grid: GridSimulator, upload: GridUpload) -> intake.UploadStatus:
    return intake.begin_upload(grid.platform_zone, upload.message, at=NOW)


def refuse(grid: GridSimulator, upload: GridUpload) -> None:
    with pytest.raises(ConflictError) as refused:
        begin(grid, upload)
    assert refused.value.reason == "conflict.seat"
    assert not [name for name in upload.roster.manifest.pseudonyms if name in str(refused.value)]


def kept(grid: GridSimulator) -> tuple[dict[str, list[dict[str, Any]]], int]:
    """All rows of uploads, and how long the evidence log is."""
    with write_session(grid.platform_zone.engine) as session:
        rows = {
            table.__tablename__: [row.model_dump() for row in session.exec(select(table))]
            for table in TABLES
        }
        return rows, verify_log(session)


# --- refused -----------------------------------------------------------------------------------


def test_a_second_roster_seats_nobody_for_a_month_that_is_taken(grid, first, second):
    before = kept(grid)
    refuse(grid, upload_of(grid, second, first))
    assert kept(grid) == before


@pytest.mark.parametrize(("cycle_day", "start", "end"), [
    (28, "2026-06-28", "2026-07-28"), (2, "2026-07-02", "2026-08-02"),
    (28, "2026-07-28", "2026-08-28"), (2, "2026-06-02", "2026-07-02"),
])  # fmt: skip
def test_another_cycle_seats_nobody_for_a_time_that_is_taken(grid, first, cycle_day, start, end):
    other = known(grid, part(first.roster.manifest, [3, 30]), cycle_day=cycle_day)
    before = kept(grid)
    period = {"start": f"{start}T00:00:00+08:00", "end": f"{end}T00:00:00+08:00"}
    refuse(grid, upload_of(grid, other, first, **period))
    assert kept(grid) == before


@pytest.mark.parametrize(("cycle_day", "start", "end"), [
    (1, "2026-08-10", "2026-08-12"), (1, "2026-08-01", "2026-10-01"),
    (1, "2026-08-01", "2026-08-31"), (1, "2026-08-16", "2026-09-16"),
    (16, "2026-08-01", "2026-09-01"), (16, "2026-08-15", "2026-09-15"),
    (16, "2026-08-16", "2026-09-01"),
])  # fmt: skip
def test_an_upload_is_of_a_month_of_its_rosters_cycle(grid, first, cycle_day, start, end):
    """Anything else would be compared with neither days nor months."""
    other = known(grid, part(first.roster.manifest, range(5)), cycle_day=cycle_day)
    before = kept(grid)
    period = {"start": f"{start}T00:00:00+08:00", "end": f"{end}T00:00:00+08:00"}
    with pytest.raises(InvalidMessageError) as refused:
        begin(grid, upload_of(grid, other, first, **period))
    assert refused.value.reason == "identity.period"
    assert kept(grid) == before


def test_a_month_that_goes_on_into_the_next_year_is_of_the_one_it_begins_in(grid, first):
    other = known(grid, part(first.roster.manifest, range(5)), cycle_day=16)
    period = {"start": "2026-12-16T00:00:00+08:00", "end": "2027-01-16T00:00:00+08:00"}
    assert begin(grid, upload_of(grid, other, first, **period)).state == "pending"
    later = {"start": "2027-01-16T00:00:00+08:00", "end": "2027-02-16T00:00:00+08:00"}
    with pytest.raises(InputError) as refused:
        begin(grid, upload_of(grid, other, first, **later))
    assert refused.value.reason == "identity.period"


def test_one_shared_pseudonym_is_enough(grid, first):
    shops = min(grid.rosters, key=lambda roster: roster.manifest.slots)
    both = part(shops.manifest, range(2))
    shared = part(first.roster.manifest, [5])
    mixed = both.model_copy(
        update={
            name: getattr(both, name) + getattr(shared, name)
            for name in (
                "pseudonyms", "zones", "customer_classes", "household_quota_wh", "contracted_va",
            )
        }
    )  # fmt: skip
    refuse(grid, upload_of(grid, known(grid, mixed), first))


def test_another_gateway_does_not_seat_them_either(grid, first, neighbour):
    """Its holders' agreement is there, but the household sits with the first gateway that month."""
    manifest = part(first.roster.manifest, [3]).model_copy(
        update={"gateway_id": neighbour.gateway_key.public_key.thumbprint}
    )
    stolen = known(neighbour, manifest)
    refuse(neighbour, upload_of(neighbour, stolen, first))


def test_after_a_refusal_nothing_is_half_kept(grid, first, second, apart):
    bad = upload_of(grid, second, first)
    before = kept(grid)
    refuse(grid, bad)
    refuse(grid, bad)
    assert kept(grid) == before
    for step in (
        lambda: intake.read_upload_status(grid.platform_zone, bad.upload_id),
        lambda: intake.receive_objects(grid.platform_zone, bad.upload_id, objects={}),
        lambda: intake.commit_upload(grid.platform_zone, bad.upload_id, at=NOW),
    ):
        with pytest.raises(NotFoundError):
            step()
    # a number that was signed once stays that manifest's; the next one is free
    taken = upload_of(grid, apart.roster, first, sequence=bad.manifest.sequence)
    with pytest.raises(StaleMessageError):
        begin(grid, taken)
    assert begin(grid, upload_of(grid, apart.roster, first)).state == "pending"
    assert begin(grid, first).state == "pending"


def test_a_refused_roster_takes_no_seat_from_others(grid, first, second):
    """What it would have seated besides stays free for a roster that may have it."""
    shops = min(grid.rosters, key=lambda roster: roster.manifest.slots)
    later = known(grid, part(first.roster.manifest, [3, 30]), cycle_day=STRADDLING_DAY)
    refuse(grid, upload_of(grid, later, first, **STRADDLING))
    free = known(grid, part(shops.manifest, range(3)), cycle_day=STRADDLING_DAY)
    assert begin(grid, upload_of(grid, free, first, **STRADDLING)).state == "pending"
    refuse(grid, upload_of(grid, shops, first))
    assert begin(grid, upload_of(grid, second, first, **AUGUST | {
        "start": "2026-09-01T00:00:00+08:00", "end": "2026-10-01T00:00:00+08:00",
    })).state == "pending"  # fmt: skip


def test_of_two_at_the_same_moment_one_is_seated(grid, first):
    rosters = [known(grid, part(first.roster.manifest, [2, slot])) for slot in (20, 21, 22, 23)]
    uploads = [upload_of(grid, roster, first, **AUGUST) for roster in rosters]

    def reason(upload: GridUpload) -> str:
        try:
            return begin(grid, upload).state
        except ConflictError as error:
            return error.reason

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(reason, uploads))
    assert sorted(outcomes) == ["conflict.seat"] * 3 + ["pending"]


def test_seats_are_kept_over_a_restart(grid, first, second):
    grid.restart_platform()
    refuse(grid, upload_of(grid, second, first))


# --- accepted ----------------------------------------------------------------------------------


def test_another_month_is_free(grid, first, second):
    """July ends where August begins."""
    assert begin(grid, upload_of(grid, second, first, **AUGUST)).state == "pending"
    refuse(grid, upload_of(grid, first.roster, first, **AUGUST))
    june = {"start": "2026-06-01T00:00:00+08:00", "end": "2026-07-01T00:00:00+08:00"}
    assert begin(grid, upload_of(grid, second, first, **june)).state == "pending"


def test_the_same_roster_again_is_no_second_one(grid, first):
    assert begin(grid, first).state == "pending"
    assert begin(grid, upload_of(grid, first.roster, first, **AUGUST)).state == "pending"
    with pytest.raises(ConflictError) as refused:
        begin(grid, upload_of(grid, first.roster, first))
    assert refused.value.reason == "conflict.upload"


def test_a_correction_takes_no_seat(grid, first):
    grid.deliver(first)
    before = kept(grid)[0]
    readings = changed(grid, grid.readings, first, slots=[3])
    second = correction(grid, first, readings=readings, slots=[3])
    assert grid.deliver(second).state == "committed"
    after = kept(grid)[0]
    assert [row["digest"] for row in after["upload"]] == [first.upload_id, second.upload_id]
    assert after["seat"] == before["seat"]


def test_the_other_rosters_and_gateways_months_go_on(grid, first, second, apart, neighbour):
    refuse(grid, upload_of(grid, second, first))
    assert begin(grid, apart).state == "pending"
    for roster in neighbour.rosters:
        assert begin(neighbour, upload_of(neighbour, roster, first)).state == "pending"
        later = upload_of(neighbour, roster, first, **AUGUST)
        assert begin(neighbour, later).state == "pending"
    assert grid.deliver(first).state == "committed"


def test_two_platforms_do_not_share_seats(grid, first, second, tmp_path: Path):
    elsewhere = GridSimulator(tmp_path / "elsewhere")
    elsewhere.install()
    elsewhere.register(second)
    assert begin(elsewhere, upload_of(elsewhere, second, first)).state == "pending"
    elsewhere.close()
