"""How much noise there is: its spelling, its scale, and what one customer may change."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from gridsecure.errors import InputError
from gridsecure.plans.noise import (
    LARGEST_SCALE,
    MILLION,
    find_sensitivity,
    half_width,
    laplace_scale,
    read_epsilon,
    spell_epsilon,
)
from gridsecure.plans.quantities import INTERVAL_BOUNDS_WH
from tests.plans.query_world import query_roster

VECTORS = Path(__file__).parents[1] / "vectors" / "dp_accounting.json"
WRONG = ["", "0", "0.0", ".5", "0.50", "1.", "01", "1e-1", "-1", "+1", "10.1", "0.0000001", "٥"]
HOMES = INTERVAL_BOUNDS_WH["household"]


@pytest.mark.parametrize("text", WRONG)
def test_an_epsilon_has_one_spelling(text):
    assert read_epsilon(text) is None


@pytest.mark.parametrize(("text", "millionths"), [("0.5", 500_000), ("10", 10**7), ("0.000001", 1)])
def test_an_epsilon_is_read_exactly(text, millionths):
    assert read_epsilon(text) == millionths
    assert spell_epsilon(millionths) == text


@pytest.mark.parametrize("sensitivity", [0, 1, 9_000, 65_535 * 2_976])
@pytest.mark.parametrize("epsilon", [1_000, 333_333, MILLION, 10 * MILLION])
def test_a_scale_never_costs_more_than_was_asked(sensitivity, epsilon):
    scale = laplace_scale(sensitivity, epsilon)
    assert Fraction(sensitivity, scale) < Fraction(epsilon, MILLION)
    assert scale <= sensitivity * MILLION / epsilon + 1


def test_noise_that_cannot_be_drawn_exactly_is_refused():
    with pytest.raises(InputError) as refused:
        laplace_scale(LARGEST_SCALE, 500_000)
    assert refused.value.reason == "query.private"


@pytest.mark.parametrize("case", json.loads(VECTORS.read_text())["compositions"])
def test_what_questions_cost_together_is_what_dp_accounting_says(case):
    ours = sum(Fraction(sensitivity, scale) for sensitivity, scale in case["parts"])
    assert float(ours) == pytest.approx(case["epsilon"], abs=1e-4)


@pytest.mark.parametrize("scale", [1, 2, 50, 5_000])
def test_a_half_width_is_the_smallest_that_holds_in_95_of_100_cases(scale):
    """Against the distribution itself, added up draw by draw."""
    decay = math.exp(-1 / scale)
    within, step, mass = 0, 0, (1 - decay) / (1 + decay)
    total = mass
    while total < 0.95:
        step += 1
        total += 2 * mass * decay**step
        within = step
    assert abs(half_width([scale]) - within) <= 1
    assert half_width([scale] * 3) > 3 * half_width([scale])


def test_one_customer_changes_as_much_as_gateways_let_it():
    """All that is asked about, once where each meter point is a customer, else as policy says."""
    steps = {"intervals:1": np.array([0, 0, 1, -1]), "intervals:2": np.array([-1, 2, 2, -1])}
    rows = [np.array([0, 1, -1])]
    alone = query_roster("homes", 3)
    found = find_sensitivity([alone], rows, steps, customer_points=4)
    assert found == 5 * HOMES
    several = alone.model_copy(update={"counted": [True, False, True]})
    assert find_sensitivity([several], rows, steps, customer_points=4) == 4 * 5 * HOMES
    classes = ["household", "shop", "factory"]
    beside = alone.model_copy(update={"customer_classes": classes})
    assert find_sensitivity([beside], rows, steps, customer_points=4) == (
        4 * 5 * INTERVAL_BOUNDS_WH["shop"]
    ), "a shop's, and the factory is in no group"
    assert find_sensitivity([alone], [np.array([-1, -1, -1])], steps, customer_points=4) == 0
