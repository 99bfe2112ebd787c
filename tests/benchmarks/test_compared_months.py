"""A rule on consecutive months: nobody moves, everybody does, or a few at a time."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.compared_months import FEWEST, error_of_guess, share_told


@pytest.mark.parametrize(
    ("homes", "moves", "expected"),
    [(60, 0.0, 1.0), (60, 1.0, 1.0), (FEWEST - 1, 1.0, 0.0)],
)
def test_months_are_told_when_nobody_or_enough_have_moved(
    homes: int, moves: float, expected: float
) -> None:
    random = np.random.default_rng(1)
    assert share_told(random, homes, moves=moves, cells=3, months=5) == expected


def test_a_cell_waits_until_those_who_moved_hide_each_other() -> None:
    """About one of sixty moves a month, and fifteen have to: some months in ten are told."""
    found = share_told(np.random.default_rng(1), 60, moves=1 / 60, cells=200)
    assert 0.02 < found < 0.2


def test_the_guess_is_off_by_the_others() -> None:
    assert error_of_guess(101, spread=0.2) == pytest.approx(2)
