"""Counts above edges and sums of squares, from the digits that tier tariffs have anyway."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gridsecure.errors import NotFoundError, OutOfRangeError
from gridsecure.homomorphic.parameters import PRODUCT, TIER, Parameters
from gridsecure.homomorphic.plain import PlainColumn
from gridsecure.homomorphic.thresholds import MONTH_DIGITS, thermometer
from gridsecure.plans.bills import PlannedInputs
from gridsecure.plans.execution import OpenedColumns, RosterData
from gridsecure.plans.quantities import (
    MAX_TIER_WH,
    MONTH_MEASURE,
    TIER_TOTAL,
    TOTAL_QUANTITY,
    Divisor,
    hours_measure,
)
from gridsecure.plans.query_counts import (
    CAP_KWH,
    CAP_WH,
    CountRecipe,
    MomentRecipe,
    add_up_moments,
    edge_name,
)
from gridsecure.plans.query_parts import Recipe, add_up_parts, execute_parts, lay_out_parts
from tests.held_policy import FEWEST
from tests.plans.query_world import QueryWorld, plain_totals, query_roster

SEED = bytes(range(32))
SLOTS = 200
EDGES = (1, 15, 16, 17, 100, 256, 257, 1000, 3583, 3584, 3838, 3839)
ROSTER = query_roster("homes", SLOTS)
ROWS = np.arange(SLOTS) % 3 - 1


@pytest.fixture(scope="module")
def world() -> QueryWorld:
    return QueryWorld()


@pytest.fixture(scope="module")
def kwh() -> NDArray[np.int64]:
    """Around every edge and the cap, the largest household, and any between."""
    edges = [edge + step for edge in (*EDGES, CAP_KWH) for step in (-1, 0, 1)]
    known = np.array([0, 8388, 4095, 4096, 4097, *edges])
    rest = np.random.default_rng(4).integers(0, 4500, SLOTS - len(known))
    return np.random.default_rng(5).permutation(np.concatenate([known, rest]))


def digits_of(kwh: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    return {
        MONTH_MEASURE.digit(*place): bits
        for place, bits in thermometer(kwh, digits=MONTH_DIGITS).items()
    }


@pytest.fixture(scope="module")
def energy(kwh: NDArray[np.int64]) -> NDArray[np.int64]:
    """Wh of the same meter points: every kind of rest."""
    rest = np.random.default_rng(6).choice([0, 1, 500, 999], SLOTS)
    return np.minimum(kwh * 1000 + rest, MAX_TIER_WH)


@pytest.fixture(scope="module")
def data(world: QueryWorld, energy: NDArray[np.int64]) -> RosterData:
    columns = {n: (bits, 1, TIER.name) for n, bits in digits_of(energy // 1000).items()}
    return world.upload(ROSTER, {**columns, TIER_TOTAL: (energy, MAX_TIER_WH, TIER.name)})


def answer(
    world: QueryWorld, data: RosterData, recipe: Recipe, *, seed: bytes = SEED
) -> tuple[dict[str, list[int]], dict[str, bytes]]:
    layout = lay_out_parts([ROSTER], recipes=[recipe], rows=[ROWS], minima=[FEWEST] * 2)
    _, outputs = execute_parts(
        [data], layout=layout, seed=seed, load=world.objects.__getitem__, keys=world.ring
    )
    made = list(outputs)
    totals = add_up_parts(world.decrypt(made), layout=layout)
    files = {name: output.data for name, output in made}
    return {name: own.tolist() for name, own in totals.items()}, files


def test_counts_above_edges_are_exact(
    world: QueryWorld, data: RosterData, kwh: NDArray[np.int64]
) -> None:
    totals, files = answer(world, data, CountRecipe(EDGES, TIER))
    assert totals == {
        edge_name(edge): plain_totals([(kwh >= edge).astype(int)], [ROWS], groups=2)
        for edge in EDGES
    }
    assert answer(world, data, CountRecipe(EDGES, TIER))[1] == files
    again, others = answer(world, data, CountRecipe(EDGES, TIER), seed=bytes(32))
    assert again == totals
    assert not set(others.values()) & set(files.values())


def test_sums_and_squares_are_exact_to_the_watt_hour_up_to_the_cap(
    world: QueryWorld, data: RosterData, energy: NDArray[np.int64]
) -> None:
    totals, _ = answer(world, data, MomentRecipe(TIER))
    sums = add_up_moments({name: np.array(own, dtype=object) for name, own in totals.items()})
    kept = np.minimum(energy, CAP_WH).astype(object)
    assert [own.tolist() for own in sums] == [
        plain_totals([values], [ROWS], groups=2) for values in (kept, kept**2)
    ]


@pytest.mark.parametrize("parameters", [TIER, PRODUCT], ids=lambda own: own.name)
def test_every_number_of_kwh_is_counted_and_squared_right(parameters: Parameters) -> None:
    """In the clear, over the whole range of a household; the noise is proven for both sets."""
    energy = np.arange(0, MAX_TIER_WH, 333)
    whole = energy // 1000
    inputs: dict[str, Any] = {n: PlainColumn.of(own) for n, own in digits_of(whole).items()}
    inputs[TIER_TOTAL] = PlainColumn.of(energy)
    every = CountRecipe(tuple(range(1, 3840, 7)), parameters, counts_capped=True).compute(inputs)
    assert (every.pop("capped").values == (energy >= CAP_WH)).all()
    for name, column in every.items():
        assert (column.values == (whole >= int(name.partition(":")[2]))).all()
    moments = MomentRecipe(parameters).compute(inputs)
    sums = add_up_moments({name: column.values for name, column in moments.items()})
    kept = np.minimum(energy, CAP_WH)
    assert (sums.energy_wh == kept).all()
    assert (sums.squares_wh2 == kept**2).all()
    for recipe in (CountRecipe(EDGES, parameters), MomentRecipe(parameters)):
        lay_out_parts([ROSTER], recipes=[recipe], rows=[ROWS], minima=[FEWEST] * 2)


@pytest.mark.parametrize("recipe", [CountRecipe(EDGES, TIER), MomentRecipe(TIER)])
def test_noise_is_within_what_was_proven(
    world: QueryWorld, data: RosterData, recipe: Recipe
) -> None:
    """By the library's own measurement, which counts whole bits."""
    planned = recipe.compute(PlannedInputs(recipe.published))
    inputs = OpenedColumns(data.columns, data, world.objects.__getitem__, world.ring)
    for name, column in recipe.compute(inputs).items():
        assert planned[name].margin <= world.secret[TIER.name].noise_margin(column) + 4


@pytest.mark.parametrize("edge", [0, -1, 3840])
def test_edges_that_no_digits_compare_are_refused(edge: int) -> None:
    with pytest.raises(OutOfRangeError) as refusal:
        lay_out_parts(
            [ROSTER], recipes=[CountRecipe((edge,), TIER)], rows=[ROWS], minima=[FEWEST] * 2
        )
    assert refusal.value.reason == "plan.threshold"


def test_squares_of_a_large_group_are_taken_in_pieces() -> None:
    """2,331 meter points at the cap could reach 2^35."""
    roster = query_roster("one", 2400)
    rows = [np.zeros(2400, dtype=np.int64)]
    layout = lay_out_parts([roster], recipes=[MomentRecipe(TIER)], rows=rows, minima=[FEWEST])
    assert (
        sorted(len(b.layout.told) for b in layout.blocks if len(b.layout.quantities) == 1)[-1] == 2
    )


def test_digits_that_a_roster_does_not_have_are_refused(
    world: QueryWorld, data: RosterData
) -> None:
    hours = CountRecipe((100,), TIER, hours_measure(TOTAL_QUANTITY, per=Divisor.CAPACITY))
    with pytest.raises(NotFoundError) as refusal:
        answer(world, data, hours)
    assert refusal.value.reason == "query.columns"
