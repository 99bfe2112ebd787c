"""Noise as OpenDP draws it: of the distribution that it says, and never the same twice."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from gridsecure.errors import InputError
from gridsecure.key_authority.vault.laplace_noise import add_noise
from gridsecure.plans.noise import LARGEST_EPSILON, LARGEST_SCALE, MILLION

DRAWS = 4_000


def test_draws_have_the_distribution_that_is_stated():
    """Kolmogorov's distance of four thousand draws from the discrete Laplace distribution."""
    drawn, said = add_noise([0] * DRAWS, sensitivity=50, epsilon=MILLION // 2)
    assert (said.epsilon, said.sensitivity, said.scale, said.delta) == ("0.5", 50, 101, "0")
    decay = math.exp(-1 / said.scale)
    found, reached, far = Counter(drawn), 0, 0.0
    for value in sorted(found):
        reached += found[value]
        tail = decay ** (abs(value) + (value >= 0)) / (1 + decay)
        far = max(far, abs(reached / DRAWS - (1 - tail if value >= 0 else tail)))
    assert far < 2.2 / math.sqrt(DRAWS), "once in ten thousand runs by chance"
    within = np.mean(np.abs(drawn) <= said.accuracy)
    assert 0.93 < within < 0.97


def test_totals_of_billions_keep_their_size():
    """`int` has 32 bits at OpenDP: three billion Wh would be refused."""
    drawn, said = add_noise([3_000_000_000, -5], sensitivity=9_000, epsilon=MILLION)
    assert abs(drawn[0] - 3_000_000_000) < 60 * said.scale
    assert said.accuracy < drawn[0]


def test_the_mechanism_is_stated_in_its_librarys_words():
    _, said = add_noise([7], sensitivity=9, epsilon=MILLION)
    mechanism = json.loads(said.mechanism)
    assert mechanism["__function__"] == "make_laplace"
    assert mechanism["__kwargs__"]["scale"] == said.scale == 10
    assert Fraction(said.sensitivity, said.scale) < 1


def test_nothing_that_a_caller_holds_repeats_the_noise():
    """OpenDP asks the operating system; no seed of Python's or numpy's is in it."""
    runs = []
    for _ in range(2):
        random.seed(7)
        np.random.seed(7)
        runs.append(add_noise([0] * 20, sensitivity=10**6, epsilon=MILLION)[0])
    assert runs[0] != runs[1]


@pytest.mark.parametrize(
    ("sensitivity", "epsilon"),
    [
        (356_997_047_993_195, 999_999),
        (3_250_122_892_094_328, 9_999_999),
        (2_694_465_019_400_456, 5_000_001),
        ((LARGEST_SCALE - 2) * 10, LARGEST_EPSILON),
    ],
)
def test_what_can_be_charged_can_be_drawn(sensitivity, epsilon):
    """Of the first three the mechanism's sum, rounded up, is above ε at the next whole number."""
    _, said = add_noise([0], sensitivity=sensitivity, epsilon=epsilon)
    assert said.scale - sensitivity * MILLION // epsilon in (1, 2)


def test_noise_larger_than_can_be_drawn_is_refused_before_anything_is():
    with pytest.raises(InputError) as refused:
        add_noise([1], sensitivity=2**53, epsilon=1)
    assert refused.value.reason == "query.private"
