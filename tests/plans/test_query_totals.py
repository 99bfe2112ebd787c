"""Totals of any groups and steps: exact, deterministic, and nothing else is in any output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gridsecure.errors import KeyMismatchError, NotFoundError, OutOfRangeError
from gridsecure.homomorphic.parameters import INTERVAL, REGISTER
from gridsecure.homomorphic.secret_key import generate_key_set
from gridsecure.plans.execution import RosterData
from gridsecure.plans.key_ring import KeyRing, KnownKeys
from gridsecure.plans.quantities import MAX_REGISTER_WH, interval_bound_wh
from gridsecure.plans.query_totals import (
    OUTSIDE,
    TotalsLayout,
    add_up,
    execute_totals,
    lay_out_totals,
)
from tests.held_policy import FEWEST
from tests.plans.query_world import QueryWorld, plain_totals, query_roster

SEED = bytes(range(32))
FIRST, SECOND = "intervals:2026-07-01", "intervals:2026-07-02"
HOME = interval_bound_wh("household")
HOURS = 24
MODULUS = INTERVAL.plain_modulus
ROSTERS = [query_roster("one", 300), query_roster("two", 70)]
QUANTILE_63 = 121.1
"""The 0.99999 quantile of chi-square with 63 degrees of freedom. Seeds are fixed."""


def random_rows(groups: int, *, seed: int = 1) -> list[NDArray[np.int64]]:
    """A group of each slot; groups - 1 is none."""
    random = np.random.default_rng(seed)
    return [random.integers(OUTSIDE, groups, own.slots) for own in ROSTERS]


@pytest.fixture(scope="module")
def world() -> QueryWorld:
    return QueryWorld()


@pytest.fixture(scope="module")
def energy() -> dict[str, list[NDArray[np.int64]]]:
    random = np.random.default_rng(7)
    return {
        day: [random.integers(0, HOME, (HOURS, own.slots), endpoint=True) for own in ROSTERS]
        for day in (FIRST, SECOND)
    }


@pytest.fixture(scope="module")
def datas(world: QueryWorld, energy: Mapping[str, list[NDArray[np.int64]]]) -> list[RosterData]:
    return [
        world.upload(own, {day: (values[n], HOME, INTERVAL.name) for day, values in energy.items()})
        for n, own in enumerate(ROSTERS)
    ]


def run(
    world: QueryWorld, datas: list[RosterData], layout: TotalsLayout, *, seed: bytes = SEED
) -> list[tuple[str, bytes]]:
    _, outputs = execute_totals(
        datas, layout=layout, seed=seed, load=world.objects.__getitem__, keys=world.ring
    )
    return [(name, output.data) for name, output in outputs]


def answer(world: QueryWorld, datas: list[RosterData], layout: TotalsLayout) -> list[list[int]]:
    _, outputs = execute_totals(
        datas, layout=layout, seed=SEED, load=world.objects.__getitem__, keys=world.ring
    )
    return add_up(world.decrypt(outputs), layout=layout).tolist()


def day_steps(**steps: list[int]) -> dict[str, NDArray[np.int64]]:
    days = {"first": FIRST, "second": SECOND}
    return {days[name]: np.array(own) for name, own in steps.items()}


def test_groups_by_steps_of_any_intervals_and_days_are_exact(
    world: QueryWorld, datas: list[RosterData], energy: dict[str, list[NDArray[np.int64]]]
) -> None:
    """Peak hours of two days are one step; nights are another; the rest is in none."""
    steps = day_steps(
        first=[1] * 6 + [OUTSIDE] * 11 + [0] * 4 + [OUTSIDE] * 3,
        second=[OUTSIDE] * 17 + [0] * 4 + [1] * 3,
    )
    rows = random_rows(3)
    layout = lay_out_totals(ROSTERS, rows=rows, steps=steps, minima=[FEWEST] * 3)
    expected = [
        plain_totals(
            [
                sum(energy[day][n][own == step].sum(axis=0) for day, own in steps.items())
                for n in range(len(ROSTERS))
            ],
            rows,
            groups=3,
        )
        for step in (0, 1)
    ]
    assert answer(world, datas, layout) == expected


@given(data=st.data())
def test_any_numbering_tells_each_slot_and_interval_once(data: st.DataObject) -> None:
    """Without ciphertexts: the blinded columns' sums are those of the values."""
    groups, steps = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    whole = st.integers(OUTSIDE, groups - 1)
    rows = [np.array(data.draw(st.lists(whole, min_size=n, max_size=n))) for n in (5, 3)]
    of_interval = st.lists(st.integers(OUTSIDE, steps - 1), min_size=1, max_size=6)
    days = {day: np.array(data.draw(of_interval)) for day in (FIRST, SECOND)}
    rosters = [query_roster("one", 5), query_roster("two", 3)]
    high = data.draw(st.sampled_from([HOME, MODULUS // 40, MODULUS // 9]))
    layout = lay_out_totals(rosters, rows=rows, steps=days, minima=[1] * groups, bound=high)
    assert max(layout.limits, default=0) < MODULUS
    random = np.random.default_rng(data.draw(st.integers(0, 9)))
    values = {
        day: [random.integers(0, high, (len(own), r.slots), endpoint=True) for r in rosters]
        for day, own in days.items()
    }
    flat = [values[day][n].ravel().astype(np.uint64) for n in range(2) for day in days]
    expected = np.zeros(layout.shape, dtype=object)
    for day, own in days.items():
        for interval in np.flatnonzero(own >= 0):
            of_day = [values[day][n][interval] for n in range(2)]
            expected[own[interval]] += np.array(plain_totals(of_day, rows, groups=groups))
    assert add_up(flat, layout=layout).tolist() == expected.tolist()


def test_the_same_twice_and_in_parts_and_another_seed(
    world: QueryWorld, datas: list[RosterData]
) -> None:
    steps = day_steps(first=list(range(HOURS)), second=list(range(HOURS)))
    layout = lay_out_totals(ROSTERS, rows=random_rows(2), steps=steps, minima=[FEWEST] * 2)
    once, again = run(world, datas, layout), run(world, datas, layout)
    assert once == again
    assert [name for name, _ in once] == [
        f"{own.roster_id}/{day}" for own in ROSTERS for day in (FIRST, SECOND)
    ]
    halves: dict[str, bytes] = {}
    for own in ROSTERS:
        _, outputs = execute_totals(
            datas, layout=layout, seed=SEED, load=world.objects.__getitem__, keys=world.ring,
            only={own.roster_id},
        )  # fmt: skip
        halves |= {name: output.data for name, output in outputs}
    assert halves == dict(once)
    other = run(world, datas, layout, seed=bytes(32))
    assert not {data for _, data in other} & {data for _, data in once}
    _, outputs = execute_totals(
        datas, layout=layout, seed=bytes(32), load=world.objects.__getitem__, keys=world.ring
    )
    totals = add_up(world.decrypt(outputs), layout=layout)
    assert totals.tolist() == answer(world, datas, layout)


def chi_square(residues: NDArray[np.uint64]) -> float:
    bins = np.bincount((residues.astype(object) * 64 // MODULUS).astype(int), minlength=64)
    expected = len(residues) / 64
    return float(((bins - expected) ** 2 / expected).sum())


def test_a_decrypted_column_is_uniform_wherever_no_total_is_told(world: QueryWorld) -> None:
    """Slots of no group and intervals of no step; and a group's slots but any one of them."""
    own = query_roster("many", 2000)
    data = world.upload(own, {FIRST: (np.full((3, 2000), 7), HOME, INTERVAL.name)})
    rows = np.where(np.arange(2000) % 2 == 0, 0, OUTSIDE)
    layout = lay_out_totals(
        [own], rows=[rows], steps={FIRST: np.array([0, OUTSIDE, 0])}, minima=[FEWEST]
    )
    _, outputs = execute_totals(
        [data], layout=layout, seed=SEED, load=world.objects.__getitem__, keys=world.ring
    )
    (seen,) = world.decrypt(outputs)
    assert add_up([seen], layout=layout).tolist() == [[7 * 1000 * 2]]
    by_interval = seen.reshape(3, 2000)
    for part in (by_interval[:, rows < 0].ravel(), by_interval[1], by_interval[0][rows == 0]):
        assert chi_square(part) < QUANTILE_63
    # The test has eyes: the same columns unblinded are anything but uniform.
    assert chi_square(np.full(2000, 7, dtype=np.uint64)) > QUANTILE_63
    # Outside, nothing adds up to anything: the sum is a residue like any other.
    assert int(by_interval[1].sum()) % MODULUS != 7 * 2000


def test_a_step_beyond_the_modulus_is_taken_in_pieces_of_all_members(world: QueryWorld) -> None:
    """110 households could use 2^31 Wh in 300 intervals; the pieces have all 110 of them."""
    own = query_roster("one", 110)
    values = np.full((300, 110), HOME) - np.arange(110)
    data = world.upload(own, {FIRST: (values, HOME, INTERVAL.name)})
    layout = lay_out_totals(
        [own],
        rows=[np.zeros(110, dtype=np.int64)],
        steps={FIRST: np.zeros(300, dtype=np.int64)},
        minima=[FEWEST],
    )
    assert (len(layout.told), set(layout.pieces[0].tolist())) == (2, {0})
    assert max(layout.limits) < MODULUS < sum(layout.limits)
    assert answer(world, [data], layout) == [[int(values.sum())]]


def test_groups_beyond_the_modulus_are_divided_where_pieces_are_large_enough(
    world: QueryWorld,
) -> None:
    most = interval_bound_wh("factory")
    own = query_roster("one", 1100, customer_class="factory")
    values = np.full((2, 1100), most) - np.arange(1100)
    data = world.upload(own, {FIRST: (values, most, INTERVAL.name)})
    rows, steps = [np.zeros(1100, dtype=np.int64)], {FIRST: np.array([0, 0])}
    layout = lay_out_totals([own], rows=rows, steps=steps, minima=[FEWEST])
    assert len(set(layout.pieces[0].tolist())) == 3
    assert answer(world, [data], layout) == [[int(values.sum())]]
    with pytest.raises(OutOfRangeError) as refusal:
        lay_out_totals([own], rows=rows, steps=steps, minima=[500])
    assert refusal.value.reason == "query.large"


def test_a_month_of_registers_needs_no_pieces(world: QueryWorld) -> None:
    """Registers are columns of one value a slot in another set; each is a step of its own."""
    names = ["register:peak", "register:valley"]
    random = np.random.default_rng(3)
    values = {
        name: [random.integers(0, MAX_REGISTER_WH, own.slots, endpoint=True) for own in ROSTERS]
        for name in names
    }
    datas = [
        world.upload(
            own, {name: (values[name][n], MAX_REGISTER_WH, REGISTER.name) for name in names}
        )
        for n, own in enumerate(ROSTERS)
    ]
    rows = random_rows(2)
    layout = lay_out_totals(
        ROSTERS,
        rows=rows,
        steps={name: np.array([n]) for n, name in enumerate(names)},
        minima=[FEWEST] * 2,
        parameters=REGISTER,
        bound=MAX_REGISTER_WH,
    )
    assert len(layout.told) == 4
    expected = [plain_totals(values[name], rows, groups=2) for name in names]
    assert answer(world, datas, layout) == expected


def test_steps_and_groups_without_members_are_zero(
    world: QueryWorld, datas: list[RosterData]
) -> None:
    nobody = [np.full(own.slots, OUTSIDE) for own in ROSTERS]
    steps = day_steps(first=[2] * HOURS)
    layout = lay_out_totals(ROSTERS, rows=nobody, steps=steps, minima=[FEWEST])
    assert answer(world, datas, layout) == [[0]] * 3


def _layout() -> TotalsLayout:
    return lay_out_totals(
        ROSTERS, rows=random_rows(1), steps=day_steps(first=[0] * HOURS), minima=[FEWEST]
    )


def test_other_rosters_are_refused(world: QueryWorld, datas: list[RosterData]) -> None:
    for others in (datas[::-1], datas[:1]):
        with pytest.raises(KeyMismatchError) as refusal:
            run(world, others, _layout())
        assert refusal.value.reason == "query.roster"
    with pytest.raises(KeyMismatchError) as refusal:
        lay_out_totals(ROSTERS, rows=random_rows(1)[::-1], steps={}, minima=[FEWEST])
    assert refusal.value.reason == "query.roster"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"intervals": HOURS * 2}, "query.grid"),
        ({"end": "2026-08-02T00:00:00+08:00"}, "query.grid"),
        ({"high": HOME + 1}, "plan.input"),
        ({"parameters": REGISTER.name}, "parameters.digest"),
    ],
)
def test_columns_of_another_kind_are_refused_before_anything_runs(
    world: QueryWorld, datas: list[RosterData], change: dict[str, object], reason: str
) -> None:
    entry = datas[1].entry(FIRST).model_copy(update=change)
    changed = replace(datas[1], columns={FIRST: entry})
    with pytest.raises(KeyMismatchError) as refusal:
        execute_totals(
            [datas[0], changed], layout=_layout(), seed=SEED, load=dict[str, bytes]().__getitem__,
            keys=world.ring,
        )  # fmt: skip
    assert refusal.value.reason == reason


def test_a_missing_column_and_foreign_keys_are_refused(
    world: QueryWorld, datas: list[RosterData]
) -> None:
    load = dict[str, bytes]().__getitem__
    missing = [datas[0], replace(datas[1], columns={})]
    with pytest.raises(NotFoundError) as lacking:
        execute_totals(missing, layout=_layout(), seed=SEED, load=load, keys=world.ring)
    assert lacking.value.reason == "upload.incomplete"
    nobody = KeyRing(KnownKeys(()), load)
    with pytest.raises(KeyMismatchError) as refusal:
        execute_totals(datas, layout=_layout(), seed=SEED, load=load, keys=nobody)
    assert refusal.value.reason == "ciphertext.key-id"


def test_a_column_under_another_key_gives_no_total(
    world: QueryWorld, datas: list[RosterData]
) -> None:
    """What the wrong key gives is a residue like any other, and those are beyond the bounds."""
    layout = lay_out_totals(
        ROSTERS, rows=random_rows(1), steps=day_steps(first=list(range(HOURS))), minima=[FEWEST]
    )
    others = QueryWorld({INTERVAL.name: generate_key_set(INTERVAL)})
    values = world.decrypt(
        execute_totals(
            datas, layout=layout, seed=SEED, load=world.objects.__getitem__, keys=world.ring
        )[1]
    )
    stranger = others.secret[INTERVAL.name]
    foreign = replace(
        world.secret[INTERVAL.name].public.encrypt(np.zeros(300 * HOURS, dtype=int), high=1),
        evaluation=stranger.public.evaluation,
    )
    with pytest.raises(OutOfRangeError) as refusal:
        add_up([stranger.decrypt(foreign), *values[1:]], layout=layout)
    assert refusal.value.reason == "query.inconsistent"
