"""Sealed days at the platform: load curves of days that all rosters have, and no bills of a day."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gridsecure.compute import closings
from gridsecure.compute.runs import plan_run
from gridsecure.errors import ConflictError, InputError
from gridsecure.gateway.rosters import Roster
from gridsecure.plans.quantities import Family, find_family
from tests.grid_simulator import NOW, GridSimulator, GridUpload

FIRST = ("2026-07-01T00:00:00+08:00", "2026-07-02T00:00:00+08:00")


@pytest.fixture
def grid(tmp_path: Path):
    made = GridSimulator(tmp_path / "platform")
    made.install()
    yield made
    made.close()


def days_of(grid: GridSimulator, number: int, *, days: int, without: int = 0) -> GridUpload:
    """A roster's month with the intervals of its first days, but for the very first ones."""
    roster = grid.rosters[number]
    columns = [c.entry for c in grid.packed(roster, days=days)]
    loads = [c for c in columns if find_family(c.quantity) is Family.INTERVALS]
    left = [c for c in columns if c not in loads[:without]]
    return grid.upload(roster, days=days, columns=left)


def load_days(grid: GridSimulator, *uploads: GridUpload) -> list[str]:
    for upload in uploads:
        grid.deliver(upload)
    grid.close_month()
    run = plan_run(grid.platform_zone, grid.order("load-curve"), at=NOW)
    return sorted(spec.quantities[0] for spec in run.specs.values())


def test_a_months_curve_is_of_the_days_that_all_rosters_have(grid):
    found = load_days(grid, days_of(grid, 0, days=2), days_of(grid, 1, days=2, without=1))
    assert found == ["intervals:2026-07-02"]


def test_without_such_a_day_there_is_none(grid):
    with pytest.raises(InputError) as refused:
        load_days(grid, days_of(grid, 0, days=2), days_of(grid, 1, days=2, without=2))
    assert refused.value.reason == "load-curve.by-day"


def test_a_day_is_closed_and_run_alone_and_has_no_bills(grid):
    roster = grid.rosters[0]
    loads = [c.entry for c in grid.packed(roster, days=1)][-1:]
    span = {"start": FIRST[0], "end": FIRST[1]}
    grid.deliver(grid.upload(roster, days=1, columns=loads, **span))
    zone = grid.platform_zone
    (open_one,) = closings.open_uploads(zone, **span)
    closings.close_period(zone, grid.closing_list([open_one.upload], **span), at=NOW)
    order = replace(grid.order("load-curve"), **span)
    assert len(plan_run(zone, order, at=NOW).specs) == 1
    with pytest.raises(InputError) as refused:
        plan_run(zone, replace(order, plan="bill"), at=NOW)
    assert refused.value.reason == "run.day"
    # The month of the same roster begins with the same moment, and is another upload.
    grid.deliver(days_of(grid, 0, days=1, without=1))
    with pytest.raises(ConflictError):
        grid.deliver(grid.upload(roster, days=1, columns=loads, estimated_readings=1, **span))
    with pytest.raises(InputError) as refused:
        grid.deliver(grid.upload(roster, days=1, **span))
    assert refused.value.reason == "upload.day"


def test_a_day_is_closed_once_for_each_cycle(grid):
    span = {"start": FIRST[0], "end": FIRST[1]}
    for number, cycle_day in enumerate((1, 16)):
        manifest = grid.rosters[number].manifest.model_copy(update={"cycle_day": cycle_day})
        roster = Roster(grid.seated(manifest), grid.rosters[number].meter_point_ids)
        grid.register(roster)
        loads = [c.entry for c in grid.packed(roster, days=1)][-1:]
        grid.deliver(grid.upload(roster, days=1, columns=loads, **span))
    zone = grid.platform_zone
    found = closings.open_uploads(zone, **span)
    assert [one.cycle_day for one in found] == [1, 16]
    with pytest.raises(InputError) as refused:
        closings.close_period(zone, grid.closing_list([u.upload for u in found], **span), at=NOW)
    assert refused.value.reason == "closing.cycle"
    for number, one in enumerate(found, start=1):
        listed = grid.closing_list([one.upload], number=number, **span)
        closings.close_period(zone, listed, at=NOW)
    order = replace(grid.order("load-curve"), **span)
    assert len(plan_run(zone, order, at=NOW).sources) == 1


@pytest.mark.parametrize("order", [0, 1], ids=["days-first", "bills-first"])
def test_days_of_one_cycle_and_bills_of_another_do_not_seat_the_same(grid, order):
    own = grid.rosters[0]
    manifest = own.manifest.model_copy(update={"cycle_day": 16})
    other = Roster(grid.seated(manifest), own.meter_point_ids)
    grid.register(other)
    loads = [c.entry for c in grid.packed(other, days=1)][-1:]
    day = grid.upload(other, days=1, columns=loads, start=FIRST[0], end=FIRST[1])
    uploads = [day, days_of(grid, 0, days=1)]
    grid.deliver(uploads[order])
    with pytest.raises(ConflictError) as refused:
        grid.deliver(uploads[1 - order])
    assert refused.value.reason == "conflict.seat"
