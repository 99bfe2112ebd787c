"""A counting column proves what a planned one proves, and notes every operation once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gridsecure.homomorphic.counting import (
    ADD,
    ADD_ARRAY,
    ADD_CONSTANT,
    MULTIPLY,
    RELINEARISE,
    SCALE,
    SELECT,
    SWITCH,
    CountedColumn,
    Operation,
    Tally,
    count_since,
)
from gridsecure.homomorphic.parameters import TIER
from gridsecure.homomorphic.planning import PlannedColumn

FRESH = TIER.fresh_primes
ARRAY = np.arange(3)

OPERATIONS: dict[str, tuple[Callable[[Any], Any], list[Operation]]] = {
    "plus": (lambda c: c.plus(c), [Operation(ADD, TIER, FRESH, 2)]),
    "minus": (lambda c: c.minus(c), [Operation(ADD, TIER, FRESH, 2)]),
    "times": (lambda c: c.times(c), [Operation(MULTIPLY, TIER, FRESH, 3)]),
    "scaled": (lambda c: c.scale(7), [Operation(SCALE, TIER, FRESH, 2)]),
    "raised by one": (lambda c: c.raise_by(7), [Operation(ADD_CONSTANT, TIER, FRESH, 2)]),
    "raised by many": (lambda c: c.raise_by(ARRAY), [Operation(ADD_ARRAY, TIER, FRESH, 2)]),
    "complement": (
        lambda c: c.complement(),
        [Operation(ADD, TIER, FRESH, 2), Operation(ADD_CONSTANT, TIER, FRESH, 2)],
    ),
    "selected": (lambda c: c.select(ARRAY), [Operation(SELECT, TIER, FRESH, 2)]),
    "blinded": (
        lambda c: c.blind(ARRAY.astype(np.uint64)),
        [Operation(ADD_ARRAY, TIER, FRESH, 2)],
    ),
    "lowered": (
        lambda c: c.switch_down(FRESH - 2),
        [Operation(SWITCH, TIER, FRESH, 2), Operation(SWITCH, TIER, FRESH - 1, 2)],
    ),
    "within": (lambda c: c.narrow(0, 5), []),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_is_proven_as_planned_and_counted_once(name: str) -> None:
    operation, expected = OPERATIONS[name]
    planned, tally = PlannedColumn.fresh(TIER, high=9), Tally()
    counted = operation(CountedColumn(planned, tally))
    assert counted.planned == operation(planned)
    assert (counted.primes, counted.size) == (counted.planned.primes, counted.planned.size)
    assert counted.parameters is TIER
    assert tally == Tally(expected)


def test_a_product_is_relinearised_at_size_three() -> None:
    tally = Tally()
    column = CountedColumn(PlannedColumn.fresh(TIER, high=9), tally)
    product = column.times(column)
    before = tally.copy()
    assert product.relinearise().size == 2
    assert list(count_since(tally, before)) == [(Operation(RELINEARISE, TIER, FRESH, 3), 1)]
