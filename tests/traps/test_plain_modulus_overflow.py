"""Trap: a value beyond the plain modulus wraps round without a word."""

from __future__ import annotations

import numpy as np
import pytest

from gridsecure.errors import OutOfRangeError
from gridsecure.homomorphic.parameters import INTERVAL, REGISTER
from gridsecure.homomorphic.plain import PlainColumn
from gridsecure.homomorphic.planning import PlannedColumn
from gridsecure.homomorphic.secret_key import SecretKeySet

TOP = INTERVAL.plain_modulus - 1


def test_library_wraps_silently(interval_keys: SecretKeySet) -> None:
    column = interval_keys.public.encrypt(np.array([TOP]), high=TOP)
    assert interval_keys.decrypt(column.raise_by(1)).tolist() == [0]
    assert interval_keys.noise_margin(column.raise_by(1)) > 0, "and it looks healthy"


def test_planning_refuses_it_before_it_runs() -> None:
    column = PlannedColumn.fresh(INTERVAL, high=TOP)
    with pytest.raises(OutOfRangeError) as refused:
        column.raise_by(1).check(what="An output")
    assert refused.value.reason == "plan.range"
    assert refused.value.remedy


def test_planning_refuses_a_difference_below_zero() -> None:
    column = PlannedColumn.fresh(INTERVAL, high=1)
    with pytest.raises(OutOfRangeError):
        column.minus(column).check(what="An output")


def test_planning_refuses_a_bill_that_would_wrap() -> None:
    energy = PlannedColumn.fresh(REGISTER, high=2**36)
    energy.scale(2**23).check(what="A bill line")
    with pytest.raises(OutOfRangeError):
        energy.scale(2**24).check(what="A bill line")


def test_encryption_refuses_a_value_beyond_its_bound(interval_keys: SecretKeySet) -> None:
    with pytest.raises(OutOfRangeError):
        interval_keys.public.encrypt(np.array([TOP + 1]), high=TOP + 1)


def test_plain_column_does_not_wrap_with_it() -> None:
    """So a plan that slipped past planning would still differ from its clear twin."""
    assert PlainColumn.of(np.array([TOP])).raise_by(1).values.tolist() == [TOP + 1]
