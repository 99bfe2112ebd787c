"""The load-curve plan: cell totals are exact, and nothing smaller is in any output."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from weakref import ref

import numpy as np
import pytest

from gridsecure.errors import InputError, OutOfRangeError
from gridsecure.homomorphic.parameters import INTERVAL
from gridsecure.messages import RosterManifest
from gridsecure.plans.load_curve import (
    SUPPRESSED,
    day_quantity,
    interval_times,
    lay_out_cells,
    plan_day,
    run_day,
    total_groups,
)
from tests.grid_simulator import grid_keys
from tests.held_policy import APART, FEWEST

SEED = bytes(range(32))
DAY = day_quantity("2026-07-01")


def roster(name: str, cells: list[tuple[str, str]]) -> RosterManifest:
    slots = len(cells)
    return RosterManifest(
        roster_id=name,
        gateway_id="g" * 64,
        domain="test",
        tariff="0" * 64,
        pseudonyms=[f"{name}-{i}" for i in range(slots)],
        zones=[zone for zone, _ in cells],
        customer_classes=[customer_class for _, customer_class in cells],
        household_quota_wh=[0] * slots,
        contracted_va=[0] * slots,
    )


FUTIAN, SMALL = ("futian", "household"), ("luohu", "shop")
ROSTERS = [
    roster("one", [FUTIAN] * 9 + [SMALL] * 8),
    roster("two", [FUTIAN] * 6 + [SMALL] * 6 + [FUTIAN]),
]


def test_cells_run_over_rosters_and_small_ones_have_no_total() -> None:
    layout = lay_out_cells(ROSTERS, minima=APART)
    assert [(c.zone, c.members, c.is_released) for c in layout.cells] == [
        ("futian", 16, True),
        ("luohu", 14, False),
    ]
    assert FEWEST == 15
    assert set(layout.groups[0].tolist()) == {0, SUPPRESSED}


def test_rosters_are_laid_out_one_after_the_other_and_not_kept() -> None:
    made_so_far: list[ref[RosterManifest]] = []
    most = []

    def made() -> Iterator[RosterManifest]:
        for number in range(5):
            most.append(sum(one() is not None for one in made_so_far))
            one = roster(f"r{number}", [FUTIAN] * 4)
            made_so_far.append(ref(one))
            yield one
            del one

    (cell,) = lay_out_cells(made(), minima=APART).cells
    assert (cell.members, cell.is_released) == (20, True)
    assert max(most) <= 1, "the one before, which the loop still names"


@pytest.mark.parametrize(("intervals", "chunks"), [(24, 1), (300, 2)], ids=["hours", "longest"])
def test_totals_are_exact_and_single_slots_are_noise(intervals: int, chunks: int) -> None:
    layout = lay_out_cells(ROSTERS, minima=APART)
    keys = grid_keys().secret[INTERVAL.name]
    random = np.random.default_rng(3)
    values = [random.integers(0, 60_000, (intervals, r.slots)) for r in ROSTERS]
    columns = [keys.public.encrypt(v.ravel(), high=65_535) for v in values]
    assert max(len(column.chunks) for column in columns) == chunks
    blinded = run_day(columns, layout=layout, intervals=intervals, seed=SEED, purpose=DAY)
    decrypted = [keys.decrypt(column) for column in blinded]
    totals = total_groups(decrypted, layout=layout, intervals=intervals)
    assert totals == [
        {0: sum(int(v[n, g == 0].sum()) for v, g in zip(values, layout.groups, strict=True))}
        for n in range(intervals)
    ]
    for before, after in zip(values, decrypted, strict=True):
        assert not (before.ravel() == after).any()
    # One roster's share of a total is as hidden as a single slot.
    alone = lay_out_cells([roster("one", [FUTIAN] * 17)], minima=APART)
    shares = total_groups(decrypted[:1], layout=alone, intervals=intervals)
    assert all(share[0] != int(v.sum()) for share, v in zip(shares, values[0], strict=True))


def test_no_two_intervals_and_no_two_days_share_a_blinding() -> None:
    layout = lay_out_cells(ROSTERS, minima=APART)
    keys = grid_keys().secret[INTERVAL.name]
    columns = [keys.public.encrypt(np.zeros(2 * r.slots, dtype=np.int64), high=1) for r in ROSTERS]
    seen = [
        keys.decrypt(column).reshape(2, -1)
        for day in (DAY, day_quantity("2026-07-02"))
        for column in run_day(columns, layout=layout, intervals=2, seed=SEED, purpose=day)
    ]
    for first, second in (seen[::2], seen[1::2]):
        rows = [*first, *second]
        assert not any((a == b).any() for a, b in itertools.combinations(rows, 2))


def test_a_total_that_could_wrap_is_refused_before_it_runs() -> None:
    layout = lay_out_cells(ROSTERS, minima=APART)
    most = (INTERVAL.plain_modulus - 1) // 16
    assert plan_day(layout, highs=[most, most]) >= 5
    with pytest.raises(OutOfRangeError):
        plan_day(layout, highs=[most + 1, most + 1])


def test_intervals_of_a_day_are_named_in_local_time_when_the_clock_changes() -> None:
    berlin = {"timezone": "Europe/Berlin"}
    spring = interval_times(
        "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00", intervals=23, **berlin
    )
    assert spring[1:4] == [
        f"2026-03-29T{clock}" for clock in ("01:00:00+01:00", "03:00:00+02:00", "04:00:00+02:00")
    ]
    autumn = interval_times(
        "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00", intervals=25, **berlin
    )
    assert autumn[2:4] == [f"2026-10-25T02:00:00+0{offset}:00" for offset in (2, 1)]
    assert (autumn[-2], autumn[-1]) == ("2026-10-25T23:00:00+01:00", "2026-10-26T00:00:00+01:00")


@pytest.mark.parametrize(
    ("start", "end", "timezone"),
    [
        ("2026-07-01T00:00:00+08:00", "2026-07-01T00:00:00+08:00", "Asia/Shanghai"),
        ("2026-07-02T00:00:00+08:00", "2026-07-01T00:00:00+08:00", "Asia/Shanghai"),
        ("2026-07-01T00:00:00+08:00", "2026-07-01T00:00:30+08:00", "Asia/Shanghai"),
        ("2026-07-01T00:00:00", "2026-07-02T00:00:00+08:00", "Asia/Shanghai"),
        ("yesterday", "2026-07-02T00:00:00+08:00", "Asia/Shanghai"),
        ("0001-01-01T00:00:00+14:00", "0001-01-02T00:00:00+14:00", "Asia/Shanghai"),
        ("2026-07-01T00:00:00+08:00", "2026-07-02T00:00:00+08:00", "Asia/Nowhere"),
    ],
)
def test_a_day_that_its_intervals_do_not_fill_is_refused(
    start: str, end: str, timezone: str
) -> None:
    with pytest.raises(InputError) as refusal:
        interval_times(start, end, intervals=24, timezone=timezone)
    assert refusal.value.reason == "load-curve.grid"
