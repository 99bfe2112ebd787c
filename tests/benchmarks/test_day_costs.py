"""The benchmark of a sealed day runs, small, and its figures are of a day that was released."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.day_costs import day_costs
from benchmarks.sizes import BenchSizes


def test_a_day_goes_from_its_first_byte_to_a_released_curve():
    sizes = replace(BenchSizes.quick(), run_meters=32)
    sealed, released, asked, tried = day_costs(sizes=sizes)
    assert 0 < sealed.value < released.value
    assert asked.value > tried.value / 1000 > 0
    assert [one.must for one in (sealed, released, asked, tried)] == [15, 300, 10, 50]
