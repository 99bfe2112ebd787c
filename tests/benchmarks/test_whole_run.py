"""Figures that a full-size benchmark alone measures keep the limits of their issue."""

from __future__ import annotations

import pytest

from benchmarks.whole_run import OFFICES, WatchedRun, figure_of_many, figures_of


def test_limits_of_a_run_go_by_the_machine_and_those_of_a_meter_point_do_not() -> None:
    run = WatchedRun(output="compared: 1,000 bills, 0 mismatches")
    run.seconds["gateway: encrypt", "gateway"] = 9.0
    run.seconds["gateway: enrol", "identity"] = 100.0
    run.seconds["start services", OFFICES] = 100.0
    wall, month = figures_of(run, wall=140.0, speed=2.0)
    assert (wall.value, wall.must, wall.try_for, wall.meets_must) == (140.0, 150, 80, True)
    assert (month.value, month.must, month.try_for, month.meets_must) == (9.0, 8, 4, False)


def test_ten_million_cost_the_slope_and_a_share_of_a_full_roster() -> None:
    few = WatchedRun(output="3 rosters; 50 bills, 0 mismatches")
    many = WatchedRun(output="3 rosters; 1,050 bills, 0 mismatches")
    few.seconds["gateway: encrypt", "gateway"] = 4.9152
    many.seconds["gateway: encrypt", "gateway"] = 4.9152 + 8.9
    many.seconds["gateway: enrol", "identity"] = 100.0
    found = figure_of_many(many, few=few, two_workers=1.6)
    # 8.9 ms, and 4.9152 s ÷ 3 rosters ÷ 16,384 slots = 0.1 ms; × 10⁷ ÷ 64 cores ÷ 0.8 ÷ 60
    assert (round(found.value, 2), found.must, found.try_for) == (29.3, 20, 10)
    few.output = few.output.replace("3 rosters", "2 rosters")
    with pytest.raises(AssertionError, match="no slope"):
        figure_of_many(many, few=few, two_workers=1.6)
