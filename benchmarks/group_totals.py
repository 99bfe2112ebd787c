"""Group totals over all cells of one interval, by zero-sum blinding; also over many gateways.

Every gateway has key sets of its own, so a total over gateways costs a ciphertext and a decryption
for each of them, and each costs the key authority a key set.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure
from benchmarks.key_sets import BenchKeys, make_gateway_keys, receive
from benchmarks.sizes import BenchSizes
from benchmarks.timing import best_of
from gridsecure.homomorphic.blinding import SEED_SIZE
from gridsecure.homomorphic.parameters import INTERVAL, PARAMETER_SETS
from gridsecure.messages import RosterManifest
from gridsecure.plans.cells import ENERGY, OTHER_CLASSES, Minima
from gridsecure.plans.load_curve import (
    CellLayout,
    lay_out_cells,
    plan_day,
    run_day,
    total_groups,
)

_ZONES: Final = ("futian", "luohu", "nanshan", "baoan", "longgang", "yantian")
_CLASSES: Final = ("household", "shop", "factory")
_FIFTEEN: Final = Minima({OTHER_CLASSES: {ENERGY: 15}})
_HIGH_WH: Final = 65_535
_GATEWAYS: Final = (1, 10, 100)
_GATEWAY_SLOTS: Final = 90
"""Meter points of each of several gateways: five a cell."""


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
    column = receive(key_set.public.encrypt(energy, high=_HIGH_WH))
    # A fixed seed only here: nothing is hidden in a benchmark, and its time is the same.
    seed = bytes(SEED_SIZE)
    run, blinded = best_of(
        lambda: list(run_day([column], layout=layout, intervals=1, seed=seed, purpose="bench")),
        sizes=sizes,
    )
    release, totals = best_of(
        lambda: total_groups(
            [key_set.decrypt(part) for part in blinded], layout=layout, intervals=1
        ),
        sizes=sizes,
    )
    _check(totals, layout, energy)
    return [
        Figure(
            name="group_totals",
            title="group totals over all cells",
            unit="µs per meter",
            value=run / slots * 1e6,
            must=0.06,
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
        *_key_set_costs(sizes),
        *(figure for gateways in _GATEWAYS for figure in _over_gateways(gateways, sizes)),
    ]


def _key_set_costs(sizes: BenchSizes) -> list[Figure]:
    """What the key sets of one more gateway cost, all parameter sets together."""
    seconds, made = best_of(
        lambda: [make_gateway_keys(p, gateways=1)[0] for p in PARAMETER_SETS.values()], sizes=sizes
    )
    size = sum(
        len(one.to_bytes()) + len(one.public.public_key) + len(one.public.relinearisation_keys)
        for one in made
    )
    note = f"{len(made)} key sets; made one by one, when a gateway first asks for it"
    return [
        Figure(
            name="gateway_key_sets",
            title="key sets of a gateway: made",
            unit="s",
            value=seconds,
            note=note,
        ),
        Figure(
            name="gateway_key_sets_bytes",
            title="key sets of a gateway: size",
            unit="MB",
            value=size / 1e6,
            note="secret, public and relinearisation keys",
        ),
    ]


def _over_gateways(gateways: int, sizes: BenchSizes) -> list[Figure]:
    """One interval's totals over gateways with key sets of their own.

    Raises:
        AssertionError: A total is not the sum of its members.
    """
    roster = _roster(_GATEWAY_SLOTS)
    layout = lay_out_cells([roster] * gateways, minima=_FIFTEEN)
    keys = make_gateway_keys(INTERVAL, gateways=gateways)
    energy = np.random.default_rng(22).integers(
        0, _HIGH_WH // 2, (gateways, _GATEWAY_SLOTS), endpoint=True
    )
    columns = [
        receive(own.public.encrypt(row, high=_HIGH_WH // 2))
        for own, row in zip(keys, energy, strict=True)
    ]
    plan_day(layout, highs=[_HIGH_WH // 2] * gateways)
    run, blinded = best_of(
        lambda: list(
            run_day(columns, layout=layout, intervals=1, seed=bytes(SEED_SIZE), purpose="bench")
        ),
        sizes=sizes,
    )
    release, totals = best_of(
        lambda: total_groups(
            [own.decrypt(part) for own, part in zip(keys, blinded, strict=True)],
            layout=layout,
            intervals=1,
        ),
        sizes=sizes,
    )
    _check(totals, layout, energy.ravel())
    note = f"one core, one interval, {_GATEWAY_SLOTS} slots each, {len(totals[0])} cells released"
    return _gateway_figures(gateways, run, release, note=note)


def _gateway_figures(gateways: int, run: float, release: float, *, note: str) -> list[Figure]:
    return [
        Figure(
            name=f"group_totals_{gateways}_gateways",
            title=f"group totals over {gateways} gateways: blinding",
            unit="ms",
            value=run * 1e3,
            note=note,
        ),
        Figure(
            name=f"group_totals_{gateways}_gateways_release",
            title=f"group totals over {gateways} gateways: release",
            unit="ms",
            value=release * 1e3,
            note="vault: decrypt under each gateway's key and add up",
        ),
    ]


def _check(totals: list[dict[int, int]], layout: CellLayout, energy: NDArray[np.int64]) -> None:
    cells, known = layout.joined, layout.joined >= 0
    sums = np.bincount(cells[known], weights=energy[known], minlength=len(layout.cells))
    if totals != [{n: int(sums[n]) for n in set(cells[known].tolist())}]:
        raise AssertionError("a timed total differs from the sum of its members")


def _layout(slots: int) -> CellLayout:
    return lay_out_cells([_roster(slots)], minima=_FIFTEEN)


def _roster(slots: int) -> RosterManifest:
    places = [(zone, name) for zone in _ZONES for name in _CLASSES]
    chosen = sorted(places[slot % len(places)] for slot in range(slots))
    return RosterManifest(
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
