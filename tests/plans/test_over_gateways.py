"""A total over gateways with keys of their own: exact, and no proper part of it tells anything."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from gridsecure.errors import KeyMismatchError
from gridsecure.homomorphic.blinding import SEED_SIZE, SlotGroups, zero_sum_blinding
from gridsecure.homomorphic.parameters import INTERVAL
from gridsecure.homomorphic.secret_key import generate_key_set
from gridsecure.messages import RosterManifest
from gridsecure.plans.load_curve import lay_out_cells, plan_day, run_day, total_groups
from tests.held_policy import APART

MODULUS = 5
DRAWS = 3_000
OWNERS = np.array([0, 0, 1, 2, 2])
"""Which of three gateways each of a cell's five slots is at."""
VALUES = np.array([4, 1, 3, 2, 2])
# 0.9999 quantiles of chi-square by degrees of freedom. Seeds are fixed: no chance is left.
QUANTILE = {4: 23.51, 24: 59.7}


def blinded() -> np.ndarray:
    """The slots that a vault sees, for many seeds [draws, slots]."""
    rows = []
    for number in range(DRAWS):
        seed = number.to_bytes(SEED_SIZE, "big")
        groups = [SlotGroups.of(VALUES[owner == OWNERS] * 0) for owner in range(3)]
        parts = zero_sum_blinding(seed, groups=groups, modulus=MODULUS, purpose="test")
        vector = np.concatenate(list(parts))
        rows.append((VALUES + vector.astype(np.int64)) % MODULUS)
    return np.array(rows)


def chi_square(values: np.ndarray, *, kinds: int) -> float:
    expected = len(values) / kinds
    return float(((np.bincount(values, minlength=kinds) - expected) ** 2 / expected).sum())


def test_all_gateways_give_the_sum_and_fewer_give_a_uniform_residue() -> None:
    seen = blinded()
    assert set((seen.sum(axis=1) % MODULUS).tolist()) == {int(VALUES.sum()) % MODULUS}
    for size in (1, 2):
        for chosen in combinations(range(3), size):
            part = seen[:, np.isin(OWNERS, chosen)].sum(axis=1) % MODULUS
            assert chi_square(part, kinds=MODULUS) < QUANTILE[4]


def test_one_gateways_vector_alone_is_uniform() -> None:
    """Each slot by itself, and both slots of a gateway together."""
    seen = blinded()
    for slot in range(len(VALUES)):
        assert chi_square(seen[:, slot], kinds=MODULUS) < QUANTILE[4]
    for first, second in ((0, 1), (3, 4)):
        pair = seen[:, first] * MODULUS + seen[:, second]
        assert chi_square(pair, kinds=MODULUS**2) < QUANTILE[24]


def test_each_vector_under_its_own_key_adds_up_exactly() -> None:
    slots, gateways = 8, 3
    roster = RosterManifest(
        roster_id="r", gateway_id="g", domain="d", tariff="0" * 64,
        pseudonyms=[f"p{slot}" for slot in range(slots)], zones=["futian"] * slots,
        customer_classes=["household"] * slots, household_quota_wh=[0] * slots,
        contracted_va=[0] * slots,
    )  # fmt: skip
    layout = lay_out_cells([roster] * gateways, minima=APART)
    energy = np.random.default_rng(5).integers(0, 4_000, (gateways, slots))
    keys = [generate_key_set(INTERVAL) for _ in range(gateways)]
    columns = [own.public.encrypt(row, high=4_000) for own, row in zip(keys, energy, strict=True)]
    plan_day(layout, highs=[4_000] * gateways)
    day = run_day(columns, layout=layout, intervals=1, seed=bytes(SEED_SIZE), purpose="test")
    parts = list(day)
    values = [own.decrypt(part) for own, part in zip(keys, parts, strict=True)]
    assert total_groups(values, layout=layout, intervals=1) == [{0: int(energy.sum())}]
    with pytest.raises(KeyMismatchError):
        keys[0].decrypt(parts[1])
