"""Group totals over all cells of one interval, by zero-sum blinding."""

from __future__ import annotations

from typing import Final

import numpy as np

from apps.cli.bench.figures import Figure
from apps.cli.bench.key_sets import BenchKeys
from apps.cli.bench.sizes import BenchSizes
from apps.cli.bench.timing import best_of
from gridsecure.crypto.blinding import SEED_SIZE
from gridsecure.crypto.parameters import INTERVAL
from gridsecure.messages import RosterManifest
from gridsecure.plans.load_curve import (
    CellLayout,
    cell_layout,
    day_totals,
    plan_day,
    run_day,
)

_ZONES: Final = ("futian", "luohu", "nanshan", "baoan", "longgang", "yantian")
_CLASSES: Final = ("household", "shop", "factory")
_HIGH_WH: Final = 65_535


def group_totals(keys: BenchKeys, *, sizes: BenchSizes) -> list[Figure]:
    """Figures of one interval's totals: the platform's blinding, and the release.

    Raises:
        AssertionError: A total is not the sum of its members.
    """
    slots = sizes.roster_slots
    layout = _layout(slots)
    plan_day(layout, highs=[_HIGH_WH])
    energy = np.random.default_rng(21).integers(0, _HIGH_WH, slots, endpoint=True)
    key_set = keys.secret[INTERVAL.name]
    column = key_set.public.encrypt(energy, high=_HIGH_WH)
    # A fixed seed only here: nothing is hidden in a benchmark, and its time is the same.
    seed = bytes(SEED_SIZE)
    run, blinded = best_of(
        lambda: run_day([column], layout=layout, intervals=1, seed=seed, purpose="bench"),
        sizes=sizes,
    )
    release, totals = best_of(
        lambda: day_totals([key_set.decrypt(part) for part in blinded], layout=layout, intervals=1),
        sizes=sizes,
    )
    expected = np.bincount(layout.joined, weights=energy).astype(np.int64)
    if totals != [dict(enumerate(expected.tolist()))]:
        raise AssertionError("a timed total differs from the sum of its members")
    return [
        Figure(
            name="group_totals",
            title="group totals over all cells",
            unit="µs per meter",
            value=run / slots * 1e6,
            must=0.5,
            try_for=0.02,
            note=f"one core, one interval, {slots:,} slots in {len(layout.cells)} cells: blinding"
            " drawn from the seed, encoded and added",
        ),
        Figure(
            name="group_totals_release",
            title="group totals: release",
            unit="µs per meter",
            value=release / slots * 1e6,
            note="vault: decrypt and add up the slots of every cell",
        ),
    ]


def _layout(slots: int) -> CellLayout:
    places = [(zone, name) for zone in _ZONES for name in _CLASSES]
    chosen = sorted(places[slot % len(places)] for slot in range(slots))
    roster = RosterManifest(
        roster_id="bench",
        gateway_id="bench",
        domain="bench",
        tariff="0" * 64,
        pseudonyms=[f"p{slot:05d}" for slot in range(slots)],
        zones=[zone for zone, _ in chosen],
        customer_classes=[name for _, name in chosen],
        household_quota_wh=[0] * slots,
        contracted_va=[0] * slots,
    )
    return cell_layout([roster])
