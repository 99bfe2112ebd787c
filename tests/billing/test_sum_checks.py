"""Readings against registers, totals of days and the meter points behind them."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.readings import make_readings
from gridsecure.billing.registers import register_totals
from gridsecure.billing.rule_books import default_book, default_text, parse_book, parse_kept_book
from gridsecure.billing.rule_policies import ValidationPolicy
from gridsecure.billing.sum_checks import (
    NOT_COMPARED,
    compare_sums,
    compare_totals,
    lay_side_by_side,
)
from gridsecure.errors import InputError
from tests.billing.rule_inputs import book_text

ZONE = ZoneInfo("Europe/Berlin")
"""Its clock is put forward on 29 March 2026: a day of 23 hours."""
FIRST = pd.Timestamp("2026-03-28", tz=ZONE)
END = pd.Timestamp("2026-03-31", tz=ZONE)
STARTS = pd.date_range(FIRST, END, freq="h", inclusive="left")
EXACT = {"tolerance_wh": 0, "tolerance_percent": 0}


def hours(meter: str, wh: int, **changed: int) -> pd.DataFrame:
    """Three days of some Wh an hour; a name as `h30` is another energy in that hour."""
    energy_wh = np.full(len(STARTS), wh, dtype=np.int64)
    for hour, other in changed.items():
        energy_wh[int(hour[1:])] = other
    return make_readings(meter, start=STARTS, energy_wh=energy_wh, minutes=np.full(len(STARTS), 60))


def total(start, end, energy_wh: int, *, meter="A", rule="register") -> dict[str, object]:
    moments = {name: pd.Timestamp(at, tz=ZONE) for name, at in (("start", start), ("end", end))}
    return {"meter_point_id": meter, **moments, "energy_wh": energy_wh, "rule": rule}


def side_by_side(*parts: pd.DataFrame, **meter_points: str):
    readings = pd.concat(parts, ignore_index=True)
    return lay_side_by_side(readings, meter_points=meter_points, zone=ZONE)


def policy(facts=None, **changes) -> ValidationPolicy:
    return ValidationPolicy(parse_book(book_text(**changes)), facts)


def told(problems) -> set[tuple[str, str, int]]:
    return {(one.meter_point_id, one.rule, one.intervals) for one in problems}


def compared(counting, *totals, facts=None, **changes) -> set[tuple[str, str, int]]:
    rules = {"register": EXACT, "daily_total": EXACT} | changes
    return told(compare_totals(counting, pd.DataFrame(totals), policy=policy(facts, **rules)))


def test_intervals_that_add_up_to_the_register_are_in_order():
    counting = side_by_side(hours("A", 500), hours("B", 7))
    agree = total("2026-03-28", "2026-03-31", 71 * 500)
    assert compared(counting, agree) == set()
    off = total("2026-03-28", "2026-03-31", 71 * 500 + 1)
    assert compared(counting, off) == {("A", "register", 71)}


def test_a_days_total_is_of_its_own_hours():
    counting = side_by_side(hours("A", 500, h30=900))
    days = [
        total("2026-03-28", "2026-03-29", 12_000, rule="daily-total"),
        total("2026-03-29", "2026-03-30", 11_500, rule="daily-total"),
        total("2026-03-30", "2026-03-31", 12_000, rule="daily-total"),
    ]
    problems = compare_totals(
        counting, pd.DataFrame(days), policy=policy(daily_total={"tolerance_wh": 399})
    )
    assert told(problems) == {("A", "daily-total", 23)}
    assert problems[0].start == pd.Timestamp("2026-03-29", tz=ZONE)
    assert compared(counting, *days, daily_total={"tolerance_wh": 400}) == set()


def test_both_tolerances_have_to_be_passed():
    counting = side_by_side(hours("A", 500))
    off = total("2026-03-28", "2026-03-31", 35_000)  # 500 Wh and 1.4 % too much
    for wh, percent, is_found in ((499, 1, True), (500, 1, False), (0, 2, False)):
        limits = {"tolerance_wh": wh, "tolerance_percent": percent}
        assert bool(compared(counting, off, register=limits)) is is_found
    assert compared(counting, off, register={"action": "off"}) == set()


def test_a_class_can_have_a_tolerance_of_its_own():
    counting = side_by_side(hours("A", 500), hours("B", 500))
    facts = default_contracts(["A", "B"])
    facts["customer_class"] = ["factory", "household"]
    totals = [total("2026-03-28", "2026-03-31", 40_000, meter=name) for name in "AB"]
    lenient = EXACT | {"factory": {"tolerance_percent": 50}}
    assert compared(counting, *totals, facts=facts, register=lenient) == {("B", "register", 71)}


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-03-28 00:30", "2026-03-28 02:30"),
        ("2026-03-27", "2026-03-28"),
        ("2026-03-27", "2026-03-29"),
        ("2026-03-28 00:30", "2026-03-28 01:00"),
    ],
)
def test_a_total_that_the_intervals_do_not_fill_is_counted_and_not_compared(start, end):
    counting = side_by_side(hours("A", 500))
    assert compared(counting, total(start, end, 1)) == {("A", NOT_COMPARED, 0)}
    elsewhere = total("2026-03-28", "2026-03-31", 1, meter="C")
    assert compared(counting, elsewhere) == {("C", NOT_COMPARED, 0)}


def test_a_gap_in_the_intervals_is_no_energy_of_nothing():
    counting = side_by_side(hours("A", 500).drop(index=[10]))
    assert compared(counting, total("2026-03-28", "2026-03-31", 1)) == {("A", NOT_COMPARED, 0)}


def test_a_total_over_a_change_of_holders_names_both():
    readings = hours("old", 500)
    readings.loc[readings.index[30:], "meter_point_id"] = "new"
    counting = side_by_side(readings, old="A", new="A")
    assert compared(counting, total("2026-03-28", "2026-03-31", 71 * 500)) == set()
    off = total("2026-03-28", "2026-03-31", 1)
    assert compared(counting, off) == {("old", "register", 30), ("new", "register", 41)}
    assert compared(counting, total("2026-03-28", "2026-03-29", 1)) == {("old", "register", 24)}


# --- sums


def summed(counting, children, **changes):
    relations = {"children": children}
    return told(compare_sums(counting, policy=policy(sum_check=EXACT | relations | changes)))


def test_a_meter_point_is_the_sum_of_those_behind_it_day_by_day():
    behind = (hours("A", 500), hours("B", 300))
    assert summed(side_by_side(hours("P", 800), *behind), {"P": ["A", "B"]}) == set()
    # Two days that are wrong by as much as each other are still wrong.
    stolen = side_by_side(hours("P", 800, h2=900, h30=700), *behind)
    assert summed(stolen, {"P": ["A", "B"]}) == {("P", "sum-check", 47)}
    assert summed(stolen, {"P": ["A", "B"]}, tolerance_wh=100) == set()
    assert summed(stolen, {"P": ["A", "B"]}, tolerance_percent=1) == set()


def test_days_are_compared_that_all_of_them_have_whole():
    short = hours("B", 300).drop(index=[0])
    counting = side_by_side(hours("P", 900), hours("A", 500), short)
    assert summed(counting, {"P": ["A", "B"]}) == {("P", "sum-check", 47), ("P", NOT_COMPARED, 0)}
    assert summed(counting, {"P": ["A", "gone"]}) == {("P", NOT_COMPARED, 0)}


def test_a_meter_point_behind_others_can_have_some_behind_it_too():
    counting = side_by_side(hours("P", 800), hours("A", 800), hours("B", 300))
    relations = {"P": ["A"], "A": ["B"]}
    assert summed(counting, relations) == {("A", "sum-check", 71)}


# --- faces


def test_registers_tell_the_energy_between_faces_however_far_apart():
    moments = pd.to_datetime(["2026-03-01", "2026-03-02", "2026-03-20", "2026-03-31"])
    faces = make_readings(
        "A", start=moments.tz_localize(ZONE), energy_wh=[999_000_000, 999_500_000, 200_000, 900_000]
    )
    result = register_totals(faces)
    assert result.readings["energy_wh"].tolist() == [500_000, 700_000, 700_000]
    assert result.readings["end"].tolist() == [
        *result.readings["start"].tolist()[1:],
        pd.Timestamp("2026-03-31", tz=ZONE),
    ]
    assert [one.rule for one in result.problems] == ["rollover"]
    assert register_totals(faces.iloc[:1]).readings.empty


def test_missing_faces_tell_nothing():
    moments = pd.date_range("2026-03-01", periods=3, freq="D", tz=ZONE)
    quality = ["actual", "missing", "actual"]
    faces = make_readings("A", start=moments, energy_wh=[100, 0, 300], quality=quality)
    readings = register_totals(faces).readings
    assert (readings["energy_wh"].tolist(), readings["end"].tolist()) == ([200], [moments[2]])


# --- the book


@pytest.mark.parametrize(
    "children",
    [
        {"P": []},
        {"P": "A"},
        {"P": ["P", "A"]},
        {"P": ["A", "A"]},
        {"": ["A"]},
        {"P": ["A" * 129]},
        ["A"],
    ],
)
def test_relations_that_cannot_be_meant_are_refused(children):
    with pytest.raises(InputError) as refused:
        parse_book(book_text(sum_check={"children": children}))
    assert refused.value.reason == "rules.children"


def test_a_book_kept_before_there_were_these_rules_is_read_without_them():
    text = default_text()
    old = text[: text.index("# Faces are")] + text[text.index("[edits]") :]
    with pytest.raises(InputError) as refused:
        parse_book(old)
    assert refused.value.reason == "rules.rule"
    book = parse_kept_book(old)
    assert not any(map(book.is_applied, ("register", "daily-total", "sum-check")))
    assert parse_kept_book(text) == default_book()
