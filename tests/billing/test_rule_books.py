"""Rule books: what one must say, what each rule does to readings, and by which class."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.readings import make_readings
from gridsecure.billing.rule_books import KINDS, default_book, default_text, parse_book
from gridsecure.billing.rule_policies import ValidationPolicy
from gridsecure.billing.validation import ValidationResult, validate_readings
from gridsecure.errors import InputError
from tests.billing.rule_inputs import book_text

ZONE = "Asia/Shanghai"
FIRST = pd.Timestamp("2026-07-01", tz=ZONE)
NOW = dt.datetime(2026, 8, 1, tzinfo=dt.UTC)
DAYS = 20
STARTS = pd.date_range(FIRST, periods=24 * DAYS, freq="h")
SPIKED = 100


def month(meter: str = "A", **changed: int) -> pd.DataFrame:
    """Twenty days of 500 Wh an hour; a name as `h100` is another energy in that hour."""
    energy_wh = np.full(len(STARTS), 500, dtype=np.int64)
    for hour, wh in changed.items():
        energy_wh[int(hour[1:])] = wh
    return make_readings(meter, start=STARTS, energy_wh=energy_wh)


def contracts(**facts: tuple[str, int]) -> pd.DataFrame:
    """Meter point -> class and capacity [VA]."""
    frame = default_contracts(list(facts))
    frame["customer_class"] = [kind for kind, _ in facts.values()]
    frame["contracted_va"] = np.array([va for _, va in facts.values()], dtype=np.int64)
    return frame


def validate(readings, *, facts=None, waived=(), **changes) -> ValidationResult:
    policy = ValidationPolicy(parse_book(book_text(**changes)), facts, frozenset(waived))
    period = (FIRST, FIRST + pd.Timedelta(days=DAYS))
    return validate_readings(readings, now=NOW, period=period, policy=policy)


def test_the_packaged_book_has_every_rule():
    assert default_book().rules.keys() == KINDS.keys()
    assert parse_book(book_text()) == default_book()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("version = ", "rules.syntax"),
        (default_text().replace('version = "1"', ""), "rules.syntax"),
        ("#" * (1 << 20) + "\n", "rules.syntax"),
        (default_text() + "[" + "a." * 500_000 + "a]\n", "rules.syntax"),
        (default_text().replace("[height]", "[heigth]"), "rules.rule"),
        ('version = "1"\nspike = 3\n', "rules.rule"),
        (book_text(spike={"action": "drop"}), "rules.action"),
        (book_text(gap={"action": "quarantine"}), "rules.action"),
        (book_text(spike={"factor": 1}), "rules.limit"),
        (book_text(spike={"factor": True}), "rules.limit"),
        (book_text(spike={"shop": {"faktor": 3}}), "rules.limit"),
        (book_text(height={"shop": {"percent": 0}}), "rules.limit"),
    ],
)  # fmt: skip
def test_a_book_that_is_wrong_is_refused_with_its_reason(text, reason):
    with pytest.raises(InputError) as refused:
        parse_book(text)
    assert refused.value.reason == reason
    assert "rules default" in refused.value.remedy


def test_each_action_does_what_it_says():
    readings = month(h100=50_000)
    outcomes = {}
    for action in ("off", "flag", "quarantine", "hold"):
        result = validate(readings, spike={"action": action})
        kept = int(result.accepted["energy_wh"].max())
        outcomes[action] = (kept, result.counts().get("spike", 0), dict(result.held))
    assert outcomes == {
        "off": (50_000, 0, {}),
        "flag": (50_000, 1, {}),
        "quarantine": (500, 1, {}),
        "hold": (50_000, 1, {"A": "spike"}),
    }


def test_what_is_waived_holds_no_bill():
    result = validate(month(h100=50_000), spike={"action": "hold"}, waived=[("A", "spike")])
    assert (result.held, result.counts()["spike"]) == ({}, 1)


def test_limits_and_actions_are_those_of_the_class():
    readings = pd.concat([month(name, h100=50_000) for name in "ABC"], ignore_index=True)
    facts = contracts(A=("factory", 0), B=("shop", 0), C=("", 0))
    changes = {"factory": {"floor_w": 60_000}, "shop": {"action": "flag"}}
    result = validate(readings, facts=facts, spike=changes)
    highest = result.accepted.groupby("meter_point_id")["energy_wh"].max()
    assert highest.to_dict() == {"A": 50_000, "B": 50_000, "C": 500}
    told = {problem.meter_point_id for problem in result.problems if problem.rule == "spike"}
    assert told == {"B", "C"}


def test_height_is_measured_by_the_contracts_capacity():
    readings = pd.concat([month(name, h100=9_001) for name in "ABC"], ignore_index=True)
    facts = contracts(A=("", 6_000), B=("", 6_001), C=("", 0))
    result = validate(readings, facts=facts)
    found = [problem for problem in result.problems if problem.rule == "height"]
    assert [(one.meter_point_id, one.intervals) for one in found] == [("A", 1)]
    assert result.quarantined.empty
    out = validate(readings, facts=facts, height={"action": "quarantine"})
    assert out.quarantined["reason"].tolist() == ["height"]


@pytest.mark.parametrize(("zeros", "found"), [(335, 0), (336, 336)])
def test_a_long_run_of_nothing_is_told(zeros, found):
    readings = month(**{f"h{hour}": 0 for hour in range(50, 50 + zeros)})
    result = validate(readings)
    assert sum(one.intervals for one in result.problems if one.rule == "zero-run") == found
    # Two runs are not one, and no energy at all has a rule of its own.
    apart = readings.assign(energy_wh=readings["energy_wh"].where(readings.index != 60, 1))
    assert "zero-run" not in validate(apart).counts()
    assert "zero-run" not in validate(readings.assign(energy_wh=0)).counts()


def test_runs_of_neighbouring_meter_points_are_not_joined():
    ends = month("A", **{f"h{hour}": 0 for hour in range(300, 480)})
    begins = month("B", **{f"h{hour}": 0 for hour in range(200)})
    both = pd.concat([ends, begins], ignore_index=True)
    assert "zero-run" not in validate(both).counts()


def test_a_drifting_clock_is_put_right_within_its_limit():
    drifted = month().assign(start=STARTS + pd.Timedelta(seconds=40))
    refused = validate(drifted)
    assert set(refused.quarantined["reason"]) >= {"misaligned"}
    result = validate(drifted, time_drift={"action": "flag"})
    pd.testing.assert_frame_equal(result.accepted, validate(month()).accepted)
    assert result.counts()["time-drift"] == 1
    held = validate(drifted, time_drift={"action": "hold"})
    assert held.held == {"A": "time-drift"}
    narrow = validate(drifted, time_drift={"action": "flag", "tolerance_s": 39})
    assert "time-drift" not in narrow.counts()


def test_a_clock_that_jitters_hides_no_lengths():
    seconds = np.resize([20, -35, 0, 50], len(STARTS))
    jittered = month().assign(start=STARTS + pd.to_timedelta(seconds, unit="s"), minutes=0)
    result = validate(jittered, time_drift={"action": "flag"})
    assert (len(result.accepted), result.estimated_rows) == (len(STARTS), 0)
    assert set(result.accepted["minutes"]) == {60}


def test_only_what_is_below_zero_is_taken_out_where_the_rule_says_so():
    readings = month(h100=-5)
    assert validate(readings).left_out == {"A": "net-metered"}
    result = validate(readings, negative={"action": "quarantine"})
    assert (result.left_out, result.quarantined["reason"].tolist()) == ({}, ["negative"])
    assert (len(result.accepted), result.estimated_rows) == (len(STARTS), 1)


def test_readings_that_disagree_can_hold_the_bill():
    twin = month().iloc[[7]].assign(energy_wh=1)
    both = pd.concat([month(), twin], ignore_index=True)
    assert validate(both).held == {}
    assert validate(both, duplicate={"action": "hold"}).held == {"A": "duplicate"}


def test_a_gap_longer_than_allowed_holds_the_bill_and_a_waiver_lets_it_go():
    readings = month().drop(index=range(100, 125))
    assert validate(readings).held == {}
    held = validate(readings, gap={"longest_hours": 24})
    assert (held.held, held.estimated_rows) == ({"A": "gap"}, 25)
    assert validate(readings, gap={"longest_hours": 25}).held == {}
    let_go = validate(readings, gap={"longest_hours": 24}, waived=[("A", "gap")])
    assert let_go.held == {}


def test_a_share_above_what_may_be_estimated_is_let_go_by_a_waiver():
    readings = month().iloc[:100]
    assert validate(readings).accepted.empty
    let_go = validate(readings, waived=[("A", "incomplete")])
    assert (len(let_go.accepted), let_go.estimated_rows) == (len(STARTS), len(STARTS) - 100)
