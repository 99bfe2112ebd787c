"""The benchmark of a sealed day runs, small, and its figures are of a day that was released."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.day_costs import day_costs
from benchmarks.sizes import BenchSizes


def test_a_day_goes_from_its_first_byte_to_a_released_curve():
    sealed, released = day_costs(sizes=replace(BenchSizes.quick(), run_meters=32))
    assert 0 < sealed.value < released.value
    assert (sealed.must, released.must) == (15, 300)
