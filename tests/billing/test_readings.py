"""kWh text to exact Wh, the readings frame and its interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.billing import readings as readings_module
from gridsecure.billing.energy_text import EnergyStatus, kwh_to_wh
from gridsecure.billing.interval_lengths import interval_minutes, resample_readings
from gridsecure.billing.readings import (
    as_categories,
    check_readings,
    make_readings,
    neighbour_steps,
    take_rows,
)
from gridsecure.errors import InvalidReadingsError

ZONE = "Asia/Shanghai"
NAMES = pd.CategoricalDtype([f"M{number}-{row}" for number in range(3) for row in range(2)])


@pytest.mark.parametrize("last", ["2026-07-02", "9999-12-31"])
def test_rows_are_sorted_by_meter_point_and_time_and_keep_their_order_where_both_are_equal(last):
    starts_us = pd.DatetimeIndex(["2026-07-01 12:00", last, "2026-07-01"]).as_unit("us").asi8
    rng = np.random.default_rng(7)
    meters, starts_us = rng.integers(0, 60, 500), rng.choice(starts_us, 500)
    expected = sorted(range(500), key=lambda row: (meters[row], starts_us[row], row))
    order, steps = neighbour_steps(meters, starts_us)
    assert order.tolist() == expected
    for here, after, step in zip(expected, [*expected[1:], None], steps, strict=True):
        if after is None or meters[here] != meters[after]:
            assert step == -1
        else:
            assert step == starts_us[after] - starts_us[here]


@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=3),
    cut=st.integers(0, 27),
    left_out=st.sets(st.integers(0, 27)),
    swapped=st.tuples(st.integers(0, 27), st.integers(0, 27)),
    long=st.integers(1, 6),
)
def test_rows_taken_in_runs_are_those_taken_one_by_one(sizes, cut, left_out, swapped, long):
    """Blocks the other way round, rows left out, two swapped: over one, two and three frames."""
    parts = [
        as_categories(
            make_readings(
                [f"M{number}-{row % 2}" for row in range(size)],
                start=half_hours(size),
                energy_wh=list(range(10 * number, 10 * number + size)),
            )
        ).assign(meter_point_id=lambda frame: frame["meter_point_id"].astype(NAMES))
        for number, size in enumerate(sizes)
    ]
    rows = [*range(sum(sizes))]
    rows = rows[cut:] + rows[:cut]
    if max(swapped) < len(rows):
        one, other = swapped
        rows[one], rows[other] = rows[other], rows[one]
    order = np.array([row for row in rows if row not in left_out], dtype=np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readings_module, "_LONG_RUN", long)
        taken = take_rows(parts, order)
    pd.testing.assert_frame_equal(taken, pd.concat(parts).iloc[order])


def half_hours(count, *, first="2026-07-01", freq="30min"):
    return pd.date_range(first, periods=count, freq=freq, tz=ZONE)


@pytest.mark.parametrize(
    ("text", "energy_wh"),
    [
        ("0", 0),
        ("0.1", 100),
        ("0.001", 1),
        ("12.345", 12_345),
        ("12.3", 12_300),
        (".5", 500),
        ("7.", 7_000),
        ("-0.25", -250),
        ("+1", 1_000),
        ("007.010", 7_010),
        ("999999999.999", 999_999_999_999),
    ],
)
def test_exact_text_becomes_exactly_its_wh(text, energy_wh):
    energy = kwh_to_wh(np.array([text], dtype=object))
    assert energy.status.tolist() == [EnergyStatus.EXACT]
    assert energy.energy_wh.tolist() == [energy_wh]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", EnergyStatus.MISSING),
        ("NaN", EnergyStatus.MISSING),
        ("null", EnergyStatus.MISSING),
        ("0.0001", EnergyStatus.TOO_MANY_DECIMALS),
        ("1.2341", EnergyStatus.TOO_MANY_DECIMALS),
        ("1.23400001", EnergyStatus.TOO_MANY_DECIMALS),
        ("0.028999999999999998", EnergyStatus.TOO_MANY_DECIMALS),
        ("1000000000", EnergyStatus.TOO_LARGE),
        ("1" * 20, EnergyStatus.TOO_LARGE),
        ("1" * 60, EnergyStatus.NOT_A_NUMBER),
        ("1e3", EnergyStatus.NOT_A_NUMBER),
        ("1..2", EnergyStatus.NOT_A_NUMBER),
        ("1-2", EnergyStatus.NOT_A_NUMBER),
        ("-", EnergyStatus.NOT_A_NUMBER),
        (".", EnergyStatus.NOT_A_NUMBER),
        ("1,5", EnergyStatus.NOT_A_NUMBER),
        ("inf", EnergyStatus.NOT_A_NUMBER),
        ("0x10", EnergyStatus.NOT_A_NUMBER),
        ("1.5 kWh", EnergyStatus.NOT_A_NUMBER),
        ("１２", EnergyStatus.NOT_A_NUMBER),
    ],
)
def test_other_text_says_what_it_is_and_is_never_rounded(text, status):
    energy = kwh_to_wh(np.array([text, "1.5"], dtype=object))
    assert energy.status.tolist() == [status, EnergyStatus.EXACT]
    assert energy.energy_wh.tolist() == [0, 1_500]


@given(st.lists(st.integers(-(10**12) + 1, 10**12 - 1), min_size=1))
def test_every_wh_survives_the_way_through_text(energies_wh):
    texts = [f"{'-' * (wh < 0)}{abs(wh) // 1000}.{abs(wh) % 1000:03d}" for wh in energies_wh]
    energy = kwh_to_wh(np.array(texts, dtype=object))
    assert energy.energy_wh.tolist() == energies_wh
    assert not energy.status.any()


def test_a_frame_longer_than_one_chunk_keeps_its_order():
    texts = np.array([f"{number}.{number % 1000:03d}" for number in range(300_000)], dtype=object)
    energy = kwh_to_wh(texts)
    assert np.array_equal(energy.energy_wh, np.arange(300_000) * 1000 + np.arange(300_000) % 1000)


def test_a_made_frame_passes_its_own_check():
    readings = make_readings("A", start=half_hours(3), energy_wh=[1, 2, 3])
    check_readings(readings)
    assert readings["quality"].tolist() == ["actual"] * 3


def test_an_empty_frame_is_a_readings_frame():
    assert make_readings([], start=half_hours(0), energy_wh=[], quality=[]).empty


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("energy_wh", [0.5, 1.0, 2.0]),
        ("start", pd.date_range("2026-07-01", periods=3, freq="30min")),
        ("quality", [1, 2, 3]),
        ("meter_point_id", [1, 2, 3]),
        ("meter_point_id", ["A", "", "A"]),
        ("meter_point_id", ["A", None, "A"]),
        ("amount", ["1", "2", "3"]),
    ],
)
def test_a_frame_of_another_shape_is_refused(column, values):
    readings = make_readings("A", start=half_hours(3), energy_wh=[1, 2, 3])
    readings[column] = values
    with pytest.raises(InvalidReadingsError, match=r"readings\.schema"):
        check_readings(readings)


@pytest.mark.parametrize("minutes", [5, 10, 15, 30, 60])
def test_the_interval_is_found_in_any_row_order_and_despite_dirt(minutes):
    starts = half_hours(40, freq=f"{minutes}min").delete([5, 6, 20]).append(half_hours(1))
    readings = make_readings("A", start=starts, energy_wh=range(38))
    shuffled = readings.sample(frac=1, random_state=3)
    assert set(interval_minutes(shuffled)) == {minutes}


def test_readings_that_show_no_interval_are_refused():
    one_each = make_readings(["A", "B"], start=half_hours(2), energy_wh=[1, 2])
    with pytest.raises(InvalidReadingsError, match=r"readings\.interval"):
        interval_minutes(one_each)


def test_resampling_adds_parts_exactly_and_keeps_gaps_and_estimates():
    starts = half_hours(8, freq="15min").delete(3)
    readings = make_readings(
        "A",
        start=starts,
        energy_wh=[1, 2, 4, 8, 16, 32, 64],
        quality=["actual"] * 6 + ["estimated"],
    )
    halves = resample_readings(readings, interval=pd.Timedelta(minutes=30))
    assert halves["energy_wh"].tolist() == [3, 24, 96]
    assert halves["start"].tolist() == half_hours(4).delete(1).tolist()
    assert halves["quality"].tolist() == ["actual", "actual", "estimated"]


def test_resampling_to_a_length_that_does_not_fit_is_refused():
    readings = make_readings("A", start=half_hours(4), energy_wh=[1, 2, 3, 4])
    with pytest.raises(InvalidReadingsError, match="multiple"):
        resample_readings(readings, interval=pd.Timedelta(minutes=45))
