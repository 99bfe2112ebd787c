"""The product set's deepest circuits: exact, and never noisier than planned, key after key."""

from __future__ import annotations

import numpy as np
import pytest

from gridsecure.homomorphic.columns import EncryptedColumn
from gridsecure.homomorphic.parameters import PRODUCT, TIER
from gridsecure.homomorphic.planning import MARGIN_BITS, PlannedColumn
from gridsecure.homomorphic.secret_key import SecretKeySet, generate_key_set
from gridsecure.homomorphic.thresholds import GATED_LEVEL
from tests.homomorphic import product_circuits
from tests.homomorphic.product_circuits import BY_SLOT, CIRCUITS, GATED, UNIFORM, roster

MEASURED = 3 + 1  # as in test_planning.py: a maximum for a deviation, and rounding down
LIMITS = {"one limit": UNIFORM, "limit by slot": BY_SLOT}


@pytest.fixture(scope="session")
def product_keys(key_sets: dict[str, SecretKeySet]) -> SecretKeySet:
    return key_sets[PRODUCT.name]


def check(keys: SecretKeySet, *, kind: str, seed: int) -> None:
    limits = LIMITS[kind]
    inputs = roster(limits=limits, seed=seed)
    encrypted, planned, plain = inputs.encrypted(keys), inputs.planned(), inputs.plain()
    for name, circuit in CIRCUITS.items():
        column, bound = circuit(encrypted, limits), circuit(planned, limits)
        assert (column.primes, column.size) == (bound.primes, bound.size) == (1, 2), name
        bound.check(what=name, signed=bound.low < 0)
        assert bound.margin <= keys.noise_margin(column) + MEASURED, name
        expected = circuit(plain, limits).values
        assert bound.low <= min(expected) <= max(expected) <= bound.high, name
        residues = np.array([int(value) % PRODUCT.plain_modulus for value in expected])
        assert np.array_equal(keys.decrypt(column), residues.astype(np.uint64)), name


@pytest.mark.parametrize("kind", LIMITS)
def test_the_deepest_products_are_exact_and_within_their_margin(
    product_keys: SecretKeySet, kind: str
) -> None:
    check(product_keys, kind=kind, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_the_margin_holds_for_other_keys(seed: int) -> None:
    """Sixty keys were tried once: planned 13.5, 8.0, 12.7 and 11.0 bits; at the least 11, 5, 10 and
    15 were measured, a maximum over the coefficients, rounded down.
    """
    keys = generate_key_set(PRODUCT)
    for kind in LIMITS:
        check(keys, kind=kind, seed=seed)


@pytest.mark.parametrize("primes", [5, 4, 3, 2, 1])
def test_the_margin_holds_at_every_level(product_keys: SecretKeySet, primes: int) -> None:
    column = product_keys.public.encrypt(np.arange(9), high=9).switch_down(primes)
    planned = PlannedColumn.fresh(PRODUCT, high=9).switch_down(primes)
    assert planned.margin <= product_keys.noise_margin(column) + MEASURED


@pytest.mark.parametrize("name", ["share", "gated share", "percentage of a sum"])
def test_the_tier_set_is_too_small_for_one_product_more(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why there is a second set: 45 bits are missing after the last product."""
    for parameters, fits in ((TIER, False), (PRODUCT, True)):
        monkeypatch.setattr(product_circuits, "PRODUCT", parameters)
        monkeypatch.setattr(product_circuits, "GATED", parameters.fresh_primes - GATED_LEVEL)
        bound = CIRCUITS[name](roster(limits=UNIFORM, seed=1).planned(), UNIFORM)
        assert (bound.margin >= MARGIN_BITS) is fits


def test_a_forgotten_relinearisation_shows_in_the_plan(product_keys: SecretKeySet) -> None:
    """Rounding a size-3 ciphertext adds the square of the secret: planned, and seen."""
    column = product_keys.public.encrypt(np.arange(9), high=9).switch_down(GATED)
    planned = PlannedColumn.fresh(PRODUCT, high=9).switch_down(GATED)
    wrong: EncryptedColumn = column.times(column).switch_down(1)
    bound = planned.times(planned).switch_down(1)
    assert bound.margin < planned.times(planned).relinearise().switch_down(1).margin - 5
    assert bound.margin <= product_keys.noise_margin(wrong) + MEASURED
