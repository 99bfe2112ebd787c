"""Figures that a full-size benchmark alone measures keep the limits of their issue."""

from __future__ import annotations

from benchmarks.list_readers import _figures
from benchmarks.whole_run import OFFICES, WatchedRun, figures_of


def test_limits_of_a_run_go_by_the_machine_and_those_of_a_meter_point_do_not() -> None:
    run = WatchedRun(output="compared: 1,000 bills, 0 mismatches")
    run.seconds["gateway: encrypt", "gateway"] = 9.0
    run.seconds["gateway: enrol", "identity"] = 100.0
    run.seconds["start services", OFFICES] = 100.0
    wall, month, many = figures_of(run, wall=140.0, speed=2.0, two_workers=1.6)
    assert (wall.value, wall.must, wall.try_for, wall.meets_must) == (140.0, 150, 80, True)
    assert (month.value, month.must, month.try_for, month.meets_must) == (9.0, 8, 4, False)
    # 9 ms × 10⁷ ÷ 64 cores ÷ 0.8 ÷ 60
    assert (round(many.value, 2), many.must, many.try_for) == (29.3, 20, 10)


def test_the_slowest_hundredth_of_the_readers_is_told() -> None:
    p99, rate, _ = _figures(
        "platform", "/runs", [0.1] * 98 + [2.0] * 2, seconds=10, grown=0, readers=2
    )
    assert (p99.value, p99.must, p99.meets_must, rate.value) == (2.0, 1.0, False, 10)
