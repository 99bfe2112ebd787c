"""Steps: which interval a question counts when, also where the clock is set."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from gridsecure.errors import InputError
from gridsecure.plans.load_curve import interval_times
from gridsecure.queries.steps import find_steps, step_end, step_minutes
from tests.queries.questions import question


def times(day: str = "2026-07-01", *, intervals: int = 48) -> list[str]:
    start, end = f"{day}T00:00:00+08:00", f"{day[:-2]}{int(day[-2:]) + 1:02d}T00:00:00+08:00"
    return interval_times(start, end, intervals=intervals, timezone="Asia/Shanghai")


def berlin(start: str, end: str, *, intervals: int) -> list[str]:
    return interval_times(start, end, intervals=intervals, timezone="Europe/Berlin")


SET_BACK = berlin("2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00", intervals=50)
SET_ON = berlin("2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00", intervals=46)


def steps(moments: list[str], **fields: Any) -> tuple[list[int], tuple[str, ...]]:
    numbers, starts = find_steps(question(**fields), moments)
    return numbers.tolist(), starts


def test_intervals_hours_days_and_the_month() -> None:
    day = times()
    assert steps(day, every="interval") == (list(range(48)), tuple(day[:-1]))
    assert steps(day, every="hour") == ([n // 2 for n in range(48)], tuple(day[:-1:2]))
    assert steps(day, every="day") == ([0] * 48, (day[0],))
    for one in (day, times("2026-07-31"[:-2] + "30")):
        assert steps(one) == ([0] * 48, ("2026-07-01T00:00:00+08:00",))


def test_days_that_are_not_asked_about_have_no_step() -> None:
    nothing = ([-1] * 48, ())
    assert steps(times(), when={"days": ["2026-07-02"]}) == nothing
    assert steps(times(), when={"weekdays": ["thursday"]}) == nothing, "it was a Wednesday"
    assert steps(times(), when={"weekdays": ["wednesday"]})[0] == [0] * 48
    assert steps(times("2026-06-01")) == nothing


def test_windows_of_the_clock_leave_intervals_out() -> None:
    clock = [{"start": "18:00", "end": "19:30"}, {"start": "23:00", "end": "24:00"}]
    numbers, starts = steps(times(), every="hour", when={"clock": clock})
    assert numbers == [-1] * 36 + [0, 0, 1] + [-1] * 7 + [2, 2]
    assert [start[11:16] for start in starts] == ["18:00", "19:00", "23:00"]


def test_a_saving_has_the_days_that_it_names() -> None:
    saving = {"name": "saving", "event": ["2026-07-03"], "baseline": ["2026-07-01"]}
    assert steps(times(), every="hour", statistic=saving)[0] == [n // 2 for n in range(48)]
    assert steps(times("2026-07-02"), every="hour", statistic=saving)[1] == ()


def test_an_hour_that_the_clock_shows_twice_is_two() -> None:
    asked = {"period": {"month": "2026-10", "timezone": "Europe/Berlin"}, "every": "hour"}
    numbers, starts = steps(SET_BACK, **asked)
    assert numbers == [n // 2 for n in range(50)]
    assert [s for s in starts if "T02" in s] == [
        "2026-10-25T02:00:00+02:00",
        "2026-10-25T02:00:00+01:00",
    ]
    spring = {"period": {"month": "2026-03", "timezone": "Europe/Berlin"}, "every": "hour"}
    assert len(steps(SET_ON, **spring)[1]) == 23


@pytest.mark.parametrize(
    ("intervals", "fields"),
    [
        (48, {"when": {"clock": [{"start": "08:15", "end": "09:00"}]}}),
        (12, {"every": "hour"}),
        (32, {"every": "hour"}),
    ],
    ids=["window", "two hours", "45 minutes"],
)
def test_what_would_cut_an_interval_is_refused(intervals: int, fields: dict[str, Any]) -> None:
    with pytest.raises(InputError) as refused:
        steps(times(intervals=intervals), **fields)
    assert refused.value.reason == "query.interval"


def test_the_time_of_a_step_is_what_is_asked_about_of_it() -> None:
    clock = [{"start": "18:30", "end": "24:00"}]
    july = ("2026-07-01T00:00:00+08:00", "2026-08-01T00:00:00+08:00")
    assert step_minutes(question(), *july) == 31 * 1440
    assert step_minutes(question(when={"clock": clock}), *july) == 31 * 330
    assert step_minutes(question(when={"weekdays": ["sunday"]}), *july) == 4 * 1440
    for day in (SET_BACK, SET_ON):
        zone = {"month": day[0][:7], "timezone": "Europe/Berlin"}
        whole = sum(step_minutes(question(period=zone), *ends) for ends in pairwise(day))
        assert step_minutes(question(period=zone), day[0], day[-1]) == whole == 30 * (len(day) - 1)


def test_steps_end_where_the_next_one_may_begin() -> None:
    spring = {"period": {"month": "2026-03", "timezone": "Europe/Berlin"}}
    hours = question(every="hour", **spring)
    assert step_end(hours, "2026-03-29T01:00:00+01:00") == "2026-03-29T03:00:00+02:00"
    day = question(every="day", **spring)
    assert step_end(day, "2026-03-29T00:00:00+01:00") == "2026-03-30T00:00:00+02:00"
    assert step_end(question(), "2026-07-01T00:00:00+08:00") == "2026-08-01T00:00:00+08:00"
    with pytest.raises(ValueError, match="intervals"):
        step_end(question(every="interval"), "2026-07-01T00:00:00+08:00")
