"""Each method of estimation by hand, their order, what they estimate beside energy."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.billing.estimation_methods import make_profile
from gridsecure.billing.readings import make_readings
from gridsecure.billing.rule_books import METHODS, parse_book
from gridsecure.billing.rule_policies import ValidationPolicy
from gridsecure.billing.validation import ValidationResult, validate_readings
from gridsecure.errors import InputError
from tests.billing.rule_inputs import book_text

ZONE = "Asia/Shanghai"
FIRST = pd.Timestamp("2026-07-01", tz=ZONE)  # a Wednesday
NOW = dt.datetime(2026, 9, 1, tzinfo=dt.UTC)
DAYS = 31
HOURS = 24 * DAYS
STARTS = pd.date_range(FIRST, periods=HOURS, freq="h")


def counted(first: pd.Timestamp = FIRST) -> pd.DataFrame:
    """A month in which hour h of day d used 1000 d + h Wh."""
    starts = pd.date_range(first, periods=HOURS, freq="h")
    hours = np.arange(HOURS)
    return make_readings("M", start=starts, energy_wh=hours // 24 * 1000 + hours % 24)


def fill(readings, *order, past=None, **more):
    period = (FIRST, FIRST + pd.Timedelta(days=DAYS))
    rules = {"order": [*order, "mean"]} | more
    policy = ValidationPolicy(parse_book(book_text(estimation=rules)), past=past or {})
    return validate_readings(readings, now=NOW, period=period, policy=policy)


def told(result: ValidationResult) -> list[tuple[int, str]]:
    rows = result.estimates
    return list(zip(rows["energy_wh"].tolist(), rows["method"].tolist(), strict=True))


@pytest.mark.parametrize(
    "wrong",
    [
        {"order": ["profile"]},
        {"order": ["mean", "profile"]},
        {"order": ["profile", "profile", "mean"]},
        {"order": ["guess", "mean"]},
        {"order": "mean"},
        {"interpolation_hours": 25},
        {"interpolation_hours": "2"},
        {"registers": ["heat"]},
        {"factor": 2},
    ],
)
def test_an_order_that_cannot_be_followed_is_refused(wrong):
    with pytest.raises(InputError) as refused:
        parse_book(book_text(estimation=wrong))
    assert refused.value.reason == "rules.estimation"


def test_a_short_gap_lies_on_the_line_between_its_neighbours():
    readings = counted()
    readings.loc[[99, 102], "energy_wh"] = [10, 21]
    result = fill(readings.drop(index=[100, 101]), "interpolation")
    assert told(result) == [(14, "interpolation"), (17, "interpolation")]  # 13.67 and 17.33


def test_what_cannot_be_interpolated_takes_the_next_method():
    readings = counted()
    longer = readings.drop(index=[100, 101, 102])
    assert {method for _, method in told(fill(longer, "interpolation", "profile"))} == {"profile"}
    assert {method for _, method in told(fill(longer, "interpolation", interpolation_hours=3))} == {
        "interpolation"
    }
    # Nothing is on one of the sides of a gap at the month's beginning.
    assert told(fill(readings.drop(index=[0]), "interpolation", "profile"))[0][1] == "profile"
    # What was estimated elsewhere is no neighbour to start from.
    readings.loc[99, "quality"] = "estimated"
    assert told(fill(readings.drop(index=[100]), "interpolation"))[0][1] == "mean"


def test_a_like_day_is_the_nearest_of_the_same_name():
    hour = 10 * 24 + 5  # Saturday the 11th, 5 o'clock
    result = fill(counted().drop(index=[hour]), "like-day")
    assert told(result) == [(3 * 1000 + 5, "like-day")]  # the Saturday before
    lost = counted().drop(index=[hour, hour - 168])
    assert told(fill(lost, "like-day")) == [(17005, "like-day"), (17005, "like-day")]


def test_a_profile_is_the_mean_of_that_time_of_day():
    hour = 10 * 24 + 5
    result = fill(counted().drop(index=[hour]), "profile")
    days = [day for day in range(DAYS) if day != 10]
    assert told(result) == [((2 * sum(1000 * d + 5 for d in days) + 30) // 60, "profile")]


def test_other_months_tell_working_days_from_weekends():
    june = counted(pd.Timestamp("2026-06-01", tz=ZONE)).iloc[: 30 * 24].assign(minutes=60)
    profile = make_profile(june)
    saturday, monday = 10 * 24 + 5, 12 * 24 + 5
    lost = counted().drop(index=[saturday, monday])
    # June 2026 begins on a Monday; the n-th of June is day n - 1 of `counted`.
    weekends = [day for day in range(30) if day % 7 >= 5]
    working = [day for day in range(30) if day % 7 < 5]
    wanted = [
        (2 * sum(1000 * day + 5 for day in days) + len(days)) // (2 * len(days))
        for days in (weekends, working)
    ]
    for method in ("previous-month", "last-year"):
        result = fill(lost, method, past={method: profile})
        assert told(result) == [(wh, method) for wh in wanted]
        # Nothing is known of another meter point, or where no profile was kept.
        strangers = {method: profile.assign(meter_point_id="N")}
        assert told(fill(lost, method, past=strangers))[0][1] == "mean"
        assert told(fill(lost, method))[0][1] == "mean"


def test_a_profile_is_of_actual_readings_alone():
    readings = counted().assign(minutes=60)
    readings.loc[readings.index >= 24, "quality"] = "estimated"
    profile = make_profile(readings)
    assert sorted(profile["energy_wh"]) == list(range(24))


@pytest.mark.parametrize("registers", [[], ["reactive"], ["reactive", "export"]])
def test_registers_are_estimated_where_the_book_says_so(registers):
    readings = counted().assign(reactive_varh=7, export_wh=np.int64(3))
    readings = readings.astype({"reactive_varh": "int64"})
    result = fill(readings.drop(index=[100, 200]), "interpolation", registers=registers)
    assert result.accepted["reactive_varh"].sum() == 7 * (HOURS - (0 if registers else 2))
    assert result.accepted["export_wh"].sum() == 3 * (HOURS - 2 * ("export" not in registers))


@pytest.mark.parametrize(("registers", "each"), [([], 0), (["export"], 3)])
def test_values_that_cannot_be_are_no_energy_fed_in(registers, each):
    readings = counted().assign(export_wh=np.int64(3))
    readings.loc[[10, 11], "export_wh"] = [-1, -500]
    result = fill(readings.drop(index=[100]), "profile", registers=registers)
    assert result.accepted["export_wh"].sum() == 3 * (HOURS - 3) + 3 * each
    read = result.accepted["quality"] == "actual"
    assert result.accepted.loc[read, "energy_wh"].sum() == counted()["energy_wh"].drop(100).sum()
    told = {one.rule: (one.meter_point_id, one.intervals) for one in result.problems}
    assert told["export-missing"] == ("M", 2)
    assert result.held == {}


def test_a_meter_point_whose_values_are_all_below_zero_has_no_such_register():
    readings = counted().assign(reactive_varh=np.int64(-7))
    result = fill(readings, "profile", registers=["reactive"])
    assert set(result.accepted["reactive_varh"]) == {-1}
    assert {one.rule for one in result.problems} == {"reactive-missing"}


def test_a_register_that_a_meter_point_lacks_is_not_invented():
    with_it = counted().assign(reactive_varh=np.int64(7))
    without = with_it.assign(meter_point_id="N", reactive_varh=np.int64(-1))
    both = pd.concat([with_it, without], ignore_index=True).drop(index=[100, HOURS + 100])
    result = fill(both, "profile", registers=["reactive"])
    sums = result.accepted.groupby("meter_point_id")["reactive_varh"].sum()
    assert sums.to_dict() == {"M": 7 * HOURS, "N": -HOURS}


@given(
    lost=st.sets(st.integers(0, HOURS - 1), min_size=1, max_size=60),
    order=st.permutations(METHODS[:-1]).flatmap(
        lambda names: st.integers(0, len(names)).map(lambda count: names[:count])
    ),
)
def test_every_gap_is_filled_by_a_declared_method_and_nothing_else_changes(lost, order):
    readings = counted()
    profile = make_profile(readings.assign(minutes=60))
    past = dict.fromkeys(("previous-month", "last-year"), profile)
    result = fill(readings.drop(index=sorted(lost)), *order, past=past)
    assert len(result.accepted) == HOURS
    assert set(result.estimates["method"]) <= {*order, "mean"}
    assert result.estimates["start"].tolist() == [STARTS[hour] for hour in sorted(lost)]
    assert (result.estimates["energy_wh"] >= 0).all()
    kept = [hour for hour in range(HOURS) if hour not in lost]
    assert (
        result.accepted["energy_wh"].to_numpy()[kept] == readings["energy_wh"].to_numpy()[kept]
    ).all()
