"""One real key set per parameter set and session, for the traps that need ours beside theirs."""

from __future__ import annotations

import pytest

from gridsecure.homomorphic.parameters import INTERVAL, REGISTER, TIER
from gridsecure.homomorphic.secret_key import SecretKeySet, generate_key_set


@pytest.fixture(scope="session")
def interval_keys() -> SecretKeySet:
    return generate_key_set(INTERVAL)


@pytest.fixture(scope="session")
def register_keys() -> SecretKeySet:
    return generate_key_set(REGISTER)


@pytest.fixture(scope="session")
def tier_keys() -> SecretKeySet:
    return generate_key_set(TIER)
