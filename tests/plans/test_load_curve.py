"""The load-curve plan: cell totals are exact, and nothing smaller is in any output."""

from __future__ import annotations

import numpy as np
import pytest

from gridsecure.crypto.parameters import INTERVAL
from gridsecure.errors import OutOfRangeError
from gridsecure.messages import RosterManifest
from gridsecure.plans.load_curve import (
    MINIMUM_MEMBERS,
    SUPPRESSED,
    cell_layout,
    interval_totals,
    plan_interval,
    run_interval,
)
from tests.grid_simulator import grid_keys

SEED = bytes(range(32))


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
    layout = cell_layout(ROSTERS)
    assert [(c.zone, c.members, c.is_released) for c in layout.cells] == [
        ("futian", 16, True),
        ("luohu", 14, False),
    ]
    assert MINIMUM_MEMBERS == 15
    assert set(layout.groups[0].tolist()) == {0, SUPPRESSED}


def test_totals_are_exact_and_single_slots_are_noise() -> None:
    layout = cell_layout(ROSTERS)
    keys = grid_keys().secret[INTERVAL.name]
    random = np.random.default_rng(3)
    values = [random.integers(0, 60_000, r.slots) for r in ROSTERS]
    columns = [keys.public.encrypt(v, high=65_535) for v in values]
    blinded = run_interval(columns, layout=layout, seed=SEED, purpose="interval:0000")
    decrypted = [keys.decrypt(column) for column in blinded]
    expected = sum(int(v[g == 0].sum()) for v, g in zip(values, layout.groups, strict=True))
    assert interval_totals(decrypted, layout=layout) == {0: expected}
    for before, after in zip(values, decrypted, strict=True):
        assert not (before == after).any()
    # One roster's share of the total is as hidden as a single slot.
    assert interval_totals(decrypted[:1], layout=cell_layout([roster("one", [FUTIAN] * 17)]))[
        0
    ] != int(values[0].sum())


def test_every_interval_has_its_own_blinding() -> None:
    layout = cell_layout(ROSTERS)
    keys = grid_keys().secret[INTERVAL.name]
    columns = [keys.public.encrypt(np.zeros(r.slots, dtype=np.int64), high=1) for r in ROSTERS]
    first, second = (
        [
            keys.decrypt(column)
            for column in run_interval(columns, layout=layout, seed=SEED, purpose=purpose)
        ]
        for purpose in ("interval:0000", "interval:0001")
    )
    assert not any((a == b).any() for a, b in zip(first, second, strict=True))


def test_a_total_that_could_wrap_is_refused_before_it_runs() -> None:
    layout = cell_layout(ROSTERS)
    most = (INTERVAL.plain_modulus - 1) // 16
    assert plan_interval(layout, highs=[most, most]) >= 5
    with pytest.raises(OutOfRangeError):
        plan_interval(layout, highs=[most + 1, most + 1])
