"""The session's key sets as fixtures, one real key set for each parameter set."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from gridsecure.homomorphic.parameters import INTERVAL, REGISTER, TIER
from gridsecure.homomorphic.secret_key import SecretKeySet
from tests.grid_simulator import grid_keys


@pytest.fixture(scope="session")
def key_sets() -> Mapping[str, SecretKeySet]:
    return grid_keys().secret


@pytest.fixture(scope="session")
def interval_keys(key_sets: Mapping[str, SecretKeySet]) -> SecretKeySet:
    return key_sets[INTERVAL.name]


@pytest.fixture(scope="session")
def register_keys(key_sets: Mapping[str, SecretKeySet]) -> SecretKeySet:
    return key_sets[REGISTER.name]


@pytest.fixture(scope="session")
def tier_keys(key_sets: Mapping[str, SecretKeySet]) -> SecretKeySet:
    return key_sets[TIER.name]
