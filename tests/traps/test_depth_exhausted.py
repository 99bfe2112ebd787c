"""Trap: a computation too deep for its parameters decrypts to garbage without an error."""

from __future__ import annotations

import numpy as np
import pytest

from gridsecure.errors import DepthExceededError
from gridsecure.homomorphic.columns import Column
from gridsecure.homomorphic.parameters import INTERVAL, TIER
from gridsecure.homomorphic.planning import PlannedColumn
from gridsecure.homomorphic.secret_key import SecretKeySet


def power_of_eight(column: Column) -> Column:
    for _ in range(3):
        column = column.times(column).relinearise()
    return column


def test_library_decrypts_garbage(tier_keys: SecretKeySet) -> None:
    """1 to the eighth is 1, but not here."""
    ones = tier_keys.public.encrypt(np.ones(9, dtype=np.int64), high=1)
    assert tier_keys.decrypt(power_of_eight(ones)).tolist() != [1] * 9


def test_planning_refuses_it_before_it_runs() -> None:
    with pytest.raises(DepthExceededError) as refused:
        power_of_eight(PlannedColumn.fresh(TIER, high=1)).check(what="An output")
    assert refused.value.reason == "plan.noise"
    assert refused.value.remedy


def test_library_scales_into_garbage(interval_keys: SecretKeySet) -> None:
    ones = interval_keys.public.encrypt(np.ones(4096, dtype=np.int64), high=1)
    assert interval_keys.decrypt(ones.scale(100_000)).tolist() != [100_000] * 4096


def test_planning_refuses_a_factor_too_large_for_the_noise() -> None:
    with pytest.raises(DepthExceededError):
        PlannedColumn.fresh(INTERVAL, high=1).scale(100_000).check(what="An output")


def test_planning_refuses_too_many_sums() -> None:
    column = PlannedColumn.fresh(INTERVAL, high=1)
    result = column
    for _ in range(63):
        result = result.plus(column)
    with pytest.raises(DepthExceededError):
        result.check(what="A sum of 64 columns")
