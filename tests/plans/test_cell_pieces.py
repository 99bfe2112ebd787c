"""Cells too large for one total of an interval: exact in pieces, none of which is about few."""

from __future__ import annotations

import numpy as np
import pytest

from gridsecure.errors import OutOfRangeError
from gridsecure.homomorphic.parameters import INTERVAL
from gridsecure.messages import RosterManifest
from gridsecure.plans.cells import Crowd, Member, is_enough
from gridsecure.plans.load_curve import (
    SUPPRESSED,
    CellLayout,
    day_quantity,
    join_pieces,
    lay_out_cells,
    plan_day,
    run_day,
    total_groups,
)
from gridsecure.plans.quantities import interval_bound_wh
from tests.grid_simulator import grid_keys
from tests.held_policy import APART, FEWEST

MOST = interval_bound_wh("factory")
MODULUS = INTERVAL.plain_modulus


def roster(
    name: str, factories: int, *, owner: str = "utility", shops: int = 0, counted: int | None = None
) -> RosterManifest:
    slots = factories + shops
    return RosterManifest(
        roster_id=name,
        gateway_id="g" * 64,
        domain="test",
        tariff="0" * 64,
        pseudonyms=[f"{name}-{i}" for i in range(slots)],
        zones=["longgang"] * slots,
        customer_classes=["factory"] * factories + ["shop"] * shops,
        household_quota_wh=[0] * slots,
        contracted_va=[0] * slots,
        owner=owner,
        counted=[True] * slots if counted is None else [n < counted for n in range(slots)],
    )


LARGE = [roster("one", 700, shops=20), roster("two", 9), roster("three", 600)]


def pieces_of(layout: CellLayout, cell: int) -> list[int]:
    return [group for group, own in enumerate(layout.cell_of) if own == cell]


def test_a_cell_beyond_the_modulus_is_totalled_exactly() -> None:
    layout = lay_out_cells(LARGE, minima=APART)
    assert [(c.customer_class, c.members) for c in layout.cells] == [
        ("factory", 1309),
        ("shop", 20),
    ]
    assert (len(pieces_of(layout, 0)), pieces_of(layout, 1)) == (3, [1])
    assert plan_day(layout, highs=[MOST] * 3) >= 5
    random = np.random.default_rng(5)
    values = [random.integers(MOST - 100, MOST + 1, (2, own.slots)) for own in LARGE]
    keys = grid_keys().secret[INTERVAL.name]
    columns = [keys.public.encrypt(own.ravel(), high=MOST) for own in values]
    blinded = run_day(
        columns, layout=layout, intervals=2, seed=bytes(32), purpose=day_quantity("2026-07-01")
    )
    groups = total_groups([keys.decrypt(c) for c in blinded], layout=layout, intervals=2)
    bounds = layout.bounds([MOST] * 3)
    assert all(total <= bounds[group] for own in groups for group, total in own.items())
    totals = join_pieces(groups, layout=layout)
    factories = [values[0][:, :700], values[1], values[2]]
    assert totals == [
        {0: sum(int(own[n].sum()) for own in factories), 1: int(values[0][n, 700:].sum())}
        for n in range(2)
    ]
    assert totals[0][0] > MODULUS


def test_no_piece_can_wrap_or_is_about_few_and_all_are_in_one() -> None:
    layout = lay_out_cells(LARGE, minima=APART)
    assert max(layout.bounds([MOST] * 3)) < MODULUS
    assert sum(layout.bounds([1] * 3)) == 1329
    sizes = [int((layout.joined == group).sum()) for group in pieces_of(layout, 0)]
    assert max(sizes) - min(sizes) <= len(LARGE)
    for own in layout.groups:  # few runs, by which blinding is fast
        assert np.count_nonzero(np.diff(own)) <= len(layout.cell_of) + 1


def test_cells_below_the_modulus_are_numbered_as_ever() -> None:
    most = (MODULUS - 1) // MOST
    layout = lay_out_cells([roster("one", most, shops=3)], minima=APART)
    assert layout.cell_of == (0, 1)
    assert layout.groups[0].tolist() == [0] * most + [SUPPRESSED] * 3
    assert len(lay_out_cells([roster("one", most + 1)], minima=APART).cell_of) == 2


@pytest.mark.parametrize(
    "rosters",
    [
        pytest.param(
            [roster("a", 600), roster("b", 600, owner="park", counted=FEWEST)], id="another owner"
        ),
        pytest.param([roster("a", 600, counted=FEWEST + 5)], id="one customer's many"),
    ],
)
def test_a_cell_whose_pieces_would_be_about_few_is_not_divided(
    rosters: list[RosterManifest],
) -> None:
    """A piece with fewer than fifteen of the others would tell the rest's owner about them."""
    layout = lay_out_cells(rosters, minima=APART)
    assert layout.cells[0].is_released
    assert layout.cell_of == (0,)
    with pytest.raises(OutOfRangeError, match="too few customers"):
        plan_day(layout, highs=[MOST] * len(rosters))


@pytest.mark.parametrize("few", [FEWEST, 2 * FEWEST - 1])
def test_the_few_customers_of_an_owner_stay_together(few: int) -> None:
    """Spread over both pieces they would be too few beside the rest in each of them."""
    rosters = [roster("a", 600), roster("b", few, owner="park")]
    layout = lay_out_cells(rosters, minima=APART)
    assert layout.cell_of == (0, 0)
    assert layout.groups[1].tolist() == [0] * few
    assert set(layout.groups[0].tolist()) == {0, 1}
    assert plan_day(layout, highs=[MOST] * 2) >= 5


def test_pieces_have_enough_customers_besides_those_of_each_owner() -> None:
    rosters = [roster("a", 900), roster("b", 3 * FEWEST + 3, owner="park")]
    layout = lay_out_cells(rosters, minima=APART)
    assert len(pieces_of(layout, 0)) == 2
    for group in pieces_of(layout, 0):
        crowd = Crowd()
        for own, groups in zip(rosters, layout.groups, strict=True):
            crowd.add(Member("", own.owner, counts=True), times=int((groups == group).sum()))
        assert is_enough(crowd, minimum=FEWEST)
