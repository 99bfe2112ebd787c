"""Every rule, the gap policy, and that no row is ever lost."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.billing import estimation
from gridsecure.billing.readings import NO_REGISTER, make_readings
from gridsecure.billing.registers import registers_to_readings
from gridsecure.billing.rule_books import parse_book
from gridsecure.billing.rule_policies import ValidationPolicy
from gridsecure.billing.validation import validate_readings
from gridsecure.errors import InvalidReadingsError
from tests.billing.rule_inputs import book_text

ZONE = "Asia/Shanghai"
NOW = dt.datetime(2026, 8, 1, tzinfo=dt.UTC)
FIRST = pd.Timestamp("2026-07-01", tz=ZONE)
FOUR_DAYS = (FIRST, FIRST + pd.Timedelta(days=4))


def clean(meter="A", *, days=4, energy_wh=250):
    starts = pd.date_range(FIRST, periods=48 * days, freq="30min")
    return make_readings(meter, start=starts, energy_wh=np.full(len(starts), energy_wh))


def changed(row, **cells):
    readings = clean()
    for column, value in cells.items():
        readings.loc[row, column] = value
    return readings


def with_row(**cells):
    extra = clean().iloc[[10]].assign(**cells)
    return pd.concat([clean(), extra], ignore_index=True)


def validate(readings, **options):
    return validate_readings(readings, **({"now": NOW} | options))


def policy(*, contracts=None, waived=(), **changes):
    """The packaged rules with changed settings; a hyphen of a rule is an underscore here."""
    book = parse_book(book_text(**changes))
    return ValidationPolicy(book, contracts, frozenset(waived))


def test_clean_readings_pass_unchanged():
    result = validate(clean(), period=FOUR_DAYS, known_meters={"A"})
    pd.testing.assert_frame_equal(result.accepted, clean())
    assert result.quarantined.empty
    assert result.problems == ()
    assert result.estimated_rows == 0


@pytest.mark.parametrize(
    ("readings", "reason"),
    [
        (changed(10, quality="guessed"), "quality-flag"),
        (changed(10, quality="missing", energy_wh=0), "missing"),
        (changed(10, energy_wh=7_501), "spike"),
        (with_row(start=FIRST + pd.Timedelta(minutes=7)), "misaligned"),
        (with_row(start=pd.Timestamp("2026-09-01", tz=ZONE)), "future"),
        (with_row(), "duplicate"),
        (with_row(quality="estimated", energy_wh=9), "superseded"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_row_is_quarantined_with_its_reason(readings, reason):
    result = validate(readings)
    assert result.quarantined["reason"].tolist() == [reason]
    assert result.counts()[reason] == 1
    # The month is whole all the same: the good row stays, or an estimate stands in.
    assert len(result.accepted) == len(clean())
    assert set(result.accepted["energy_wh"]) == {250}


def test_a_spike_needs_both_the_factor_and_the_floor():
    assert validate(changed(10, energy_wh=7_500)).quarantined.empty
    assert validate(
        changed(10, energy_wh=7_501), policy=policy(spike={"floor_w": 15_002})
    ).quarantined.empty
    assert len(
        validate(changed(10, energy_wh=7_501), policy=policy(spike={"floor_w": 15_001})).quarantined
    )


def test_a_kettle_in_an_idle_home_is_no_spike():
    assert validate(changed(10, energy_wh=4_000)).quarantined.empty


def test_readings_that_disagree_in_feed_in_alone_are_all_quarantined():
    def sent(export_wh):
        whole = clean().assign(export_wh=0)
        return pd.concat([whole, whole.iloc[[10]].assign(export_wh=export_wh)], ignore_index=True)

    result = validate(sent(5))
    assert result.quarantined["reason"].tolist() == ["duplicate-conflict"] * 2
    assert result.accepted.loc[10, "quality"] == "estimated"
    for same in (0, NO_REGISTER):
        assert validate(sent(same)).quarantined["reason"].tolist() == ["duplicate"]


def test_conflicting_readings_are_all_quarantined_and_the_interval_estimated():
    result = validate(with_row(energy_wh=251))
    assert result.quarantined["reason"].tolist() == ["duplicate-conflict"] * 2
    assert result.quarantined["row"].tolist() == [10, 192]
    assert result.accepted.loc[10, "quality"] == "estimated"


def test_a_negative_twin_of_worse_quality_does_not_condemn_the_good_reading():
    result = validate(with_row(energy_wh=-3, quality="estimated"))
    assert result.quarantined["reason"].tolist() == ["superseded"]
    assert result.estimated_rows == 0
    assert result.left_out == {}


def test_a_meter_point_with_a_reading_below_zero_is_left_out_and_nothing_invented():
    readings = pd.concat([changed(10, energy_wh=-1), clean("B")], ignore_index=True)
    result = validate(readings, period=FOUR_DAYS)
    assert result.left_out == {"A": "net-metered"}
    assert set(result.accepted["meter_point_id"]) == {"B"}
    assert result.estimated_rows == 0
    assert result.quarantined["reason"].value_counts().to_dict() == {
        "net-metered": 191,
        "negative": 1,
    }


def test_an_interval_that_ends_now_is_not_in_the_future():
    end = FIRST + pd.Timedelta(days=4)
    assert validate(clean(), now=end).quarantined.empty
    late = validate(clean(), now=end - pd.Timedelta(microseconds=1))
    assert late.quarantined["row"].tolist() == [191]


def test_unknown_and_absent_meter_points_are_both_named():
    readings = pd.concat([clean(), clean("B")], ignore_index=True)
    result = validate(readings, known_meters={"A", "C"})
    assert set(result.quarantined["reason"]) == {"unknown-meter-point"}
    assert set(result.accepted["meter_point_id"]) == {"A"}
    assert [p.meter_point_id for p in result.problems if p.rule == "no-readings"] == ["C"]


def test_a_meter_on_another_interval_is_not_billed_for_half_its_energy():
    quarters = pd.date_range(FIRST, periods=96 * 4, freq="15min")
    hours = pd.date_range(FIRST, periods=24 * 4, freq="60min")
    readings = pd.concat(
        [
            *(clean(name) for name in "ABCDEFGH"),
            make_readings("Q", start=quarters, energy_wh=np.ones(384, dtype=int)),
            make_readings("H", start=hours, energy_wh=np.ones(96, dtype=int)).assign(
                meter_point_id="X"
            ),
        ],
        ignore_index=True,
    )
    result = validate(readings)
    totals = result.accepted.groupby("meter_point_id")["energy_wh"].sum()
    assert (totals["Q"], totals["X"]) == (384, 96)
    assert result.estimated_rows == 0
    assert result.counts() == {}


def test_rows_outside_the_billing_period_are_kept_apart():
    result = validate(clean(days=5), period=FOUR_DAYS)
    assert result.quarantined["reason"].tolist() == ["outside-period"] * 48
    assert len(result.accepted) == 192


def test_gaps_are_filled_with_the_mean_of_that_time_of_day_rounded_half_up():
    readings = clean()
    readings["energy_wh"] = np.repeat([100, 201, 300, 400], 48)
    readings = readings.drop(index=[144 + 5, 144 + 6]).reset_index(drop=True)
    result = validate(readings, period=FOUR_DAYS)
    filled = result.accepted[result.accepted["quality"] == "estimated"]
    # (100 + 201 + 300) / 3 = 200.33 -> 200
    assert filled["energy_wh"].tolist() == [200, 200]
    assert filled["start"].tolist() == [
        FIRST + pd.Timedelta(days=3, minutes=30 * n) for n in (5, 6)
    ]
    [gap] = result.problems
    assert (gap.rule, gap.detail) == ("gap", "2 intervals without a usable reading")
    assert gap.start == FIRST + pd.Timedelta(days=3, minutes=150)
    assert result.estimated_rows == 2


def test_half_a_wh_is_rounded_up():
    readings = clean(days=3)
    readings["energy_wh"] = np.repeat([1, 2, 7], 48)
    result = validate(readings.drop(index=100), period=(FIRST, FIRST + pd.Timedelta(days=3)))
    assert result.accepted.loc[100, "energy_wh"] == 2


@pytest.mark.parametrize("block", [1, 10])
def test_gaps_are_found_in_any_blocks_of_rows(monkeypatch, block):
    readings = pd.concat([clean(), clean("B")], ignore_index=True).drop(index=[7, 30, 200])
    whole = validate(readings)
    monkeypatch.setattr(estimation, "_BLOCK", block)
    parts = validate(readings)
    assert len(whole.estimates) == 3
    assert parts.estimates.equals(whole.estimates)
    assert parts.accepted.equals(whole.accepted)


def test_a_time_of_day_never_read_takes_the_mean_of_the_meter():
    readings = clean()
    readings.loc[0, "energy_wh"] = 250 + 188
    result = validate(readings.drop(index=[7, 55, 103, 151]), period=FOUR_DAYS)
    assert result.accepted.loc[[7, 55, 103, 151], "energy_wh"].tolist() == [251] * 4


def test_estimates_do_not_feed_estimates():
    readings = clean()
    readings.loc[5, ["energy_wh", "quality"]] = [99_00, "estimated"]
    result = validate(readings.drop(index=53), period=FOUR_DAYS)
    assert result.accepted.loc[53, "energy_wh"] == 250


def test_without_filling_a_meter_with_a_gap_is_left_out_whole():
    readings = pd.concat([clean("A").drop(index=5), clean("B")], ignore_index=True)
    result = validate(readings, period=FOUR_DAYS, policy=policy(gap={"max_percent": 0}))
    assert set(result.accepted["meter_point_id"]) == {"B"}
    assert result.quarantined["reason"].tolist() == ["incomplete"] * 191
    assert result.counts() == {"incomplete": 1, "no-readings": 1}


@pytest.mark.parametrize(("kept", "billed"), [(96, True), (95, False)])
def test_a_bill_never_rests_mostly_on_estimates(kept, billed):
    result = validate(clean().iloc[:kept], period=FOUR_DAYS)
    assert len(result.accepted) == (192 if billed else 0)
    assert len(result.quarantined) == (0 if billed else 95)


def test_a_meter_without_any_energy_is_reported_and_accepted():
    result = validate(clean(energy_wh=0), period=FOUR_DAYS)
    assert result.counts() == {"zero-consumption": 1}
    assert len(result.accepted) == 192


def test_a_day_with_a_changed_clock_has_no_gap():
    spring = pd.date_range("2026-03-28", "2026-03-30", freq="30min", tz="Europe/London")[:-1]
    readings = make_readings("A", start=spring, energy_wh=np.full(len(spring), 5))
    assert len(spring) == 94
    result = validate(readings, period=(spring[0], spring[-1] + pd.Timedelta(minutes=30)))
    assert result.problems == ()
    pd.testing.assert_frame_equal(result.accepted, readings)


def test_no_problem_repeats_an_energy():
    readings = changed(10, energy_wh=987_654)
    readings.loc[11, "energy_wh"] = -123_457
    text = " ".join(repr(problem) for problem in validate(readings).problems)
    assert "987" not in text
    assert "123" not in text


def test_a_frame_with_nulls_cannot_be_validated():
    readings = clean().astype({"energy_wh": float})
    readings.loc[3, "energy_wh"] = np.nan
    with pytest.raises(InvalidReadingsError, match="int64"):
        validate(readings)


dirty_rows = st.lists(
    st.tuples(
        st.sampled_from("AB"),
        st.integers(0, 60),
        st.integers(-2, 3),
        st.sampled_from(["actual", "estimated", "missing", "odd"]),
        st.sampled_from([0, 0, 0, 7]),
    ),
    max_size=30,
)


@given(dirty_rows, st.randoms(use_true_random=False))
def test_every_row_goes_to_one_side_whatever_the_order(rows, shuffler):
    base = pd.concat([clean("A", days=1), clean("B", days=1)], ignore_index=True)
    if rows:
        meters, places, energies, flags, minutes = zip(*rows, strict=True)
        starts = [
            FIRST + pd.Timedelta(minutes=30 * place + late)
            for place, late in zip(places, minutes, strict=True)
        ]
        dirt = make_readings(
            list(meters), start=starts, energy_wh=list(energies), quality=list(flags)
        )
        base = pd.concat([base, dirt], ignore_index=True)
    order = list(range(len(base)))
    shuffler.shuffle(order)
    period = (FIRST, FIRST + pd.Timedelta(days=1))
    result = validate(base, period=period)
    again = validate(base.iloc[order].reset_index(drop=True), period=period)

    assert len(result.accepted) - result.estimated_rows + len(result.quarantined) == len(base)
    assert result.quarantined["row"].is_unique
    assert (result.quarantined["reason"] != "").all()
    assert not result.accepted.duplicated(["meter_point_id", "start"]).any()
    assert set(result.accepted.groupby("meter_point_id").size()) <= {48}
    assert (result.accepted["energy_wh"] >= 0).all()
    pd.testing.assert_frame_equal(result.accepted, again.accepted)
    assert result.problems == again.problems
    values = base.iloc[result.quarantined["row"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(result.quarantined[list(values.columns)], values)


def faces(*energies_wh, quality="actual"):
    starts = pd.date_range(FIRST, periods=len(energies_wh), freq="60min")
    return make_readings("A", start=starts, energy_wh=list(energies_wh), quality=quality)


def test_register_faces_become_the_energy_between_them():
    result = registers_to_readings(faces(1_000, 1_250, 1_250, 2_000))
    assert result.readings["energy_wh"].tolist() == [250, 0, 750]
    assert result.readings["start"].iloc[0] == FIRST
    assert result.problems == ()


def test_a_full_register_starts_again_from_zero():
    result = registers_to_readings(faces(999_999_990, 40, 90))
    assert result.readings["energy_wh"].tolist() == [50, 50]
    assert [problem.rule for problem in result.problems] == ["rollover"]


def test_a_register_that_runs_backwards_is_not_a_rollover():
    result = registers_to_readings(faces(500_000_000, 40, 90, 140))
    assert result.readings["energy_wh"].tolist() == [50, 50]
    assert [problem.rule for problem in result.problems] == ["register-exchange"]


def test_where_a_face_is_missing_the_energy_is_known_and_its_place_estimated():
    flags = ["actual", "missing", "actual", "actual", "estimated", "actual"]
    result = registers_to_readings(faces(100, 0, 300, 400, 500, 600, quality=flags))
    assert result.readings["quality"].tolist() == [
        *("estimated", "estimated", "actual", "estimated", "estimated")
    ]
    assert result.readings["energy_wh"].tolist() == [100] * 5


def test_the_same_face_twice_is_passed_over():
    twice = pd.concat([faces(100, 200, 300), faces(100)], ignore_index=True)
    assert registers_to_readings(twice).readings["energy_wh"].tolist() == [100, 100]
