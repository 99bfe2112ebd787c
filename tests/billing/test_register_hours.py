"""Registers of a meter's own hours: what they tell exactly, and where they tell nothing."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridsecure.billing.readings import make_readings
from gridsecure.billing.register_hours import (
    PLACED,
    RegisterHours,
    parse_register_hours,
    place_registers,
    prices_apart,
)
from gridsecure.billing.registers import REGISTER
from gridsecure.billing.settlements import settle
from gridsecure.errors import InputError
from gridsecure.periods import month_period
from gridsecure.tariffs.tariff import catalogue_tariffs, load_tariff, parse_tariff

ZONE = "Asia/Shanghai"
ALWAYS = (date.min, date.max)
SHENZHEN = load_tariff(catalogue_tariffs()["shenzhen-commercial-four-period"])
SUMMER = (
    "sharp=11:00-12:00,15:00-17:00 peak=10:00-11:00,14:00-15:00,17:00-19:00"
    " flat=08:00-10:00,12:00-14:00,19:00-24:00 valley=00:00-08:00"
)
THREE = "peak=10:00-12:00,14:00-19:00 flat=08:00-10:00,12:00-14:00,19:00-24:00 valley=00:00-08:00"
TWO = "1=08:00-22:00 2=00:00-08:00,22:00-24:00"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "peak=08:00-24:00",
        "peak=00:00-12:00 valley=11:00-24:00",
        "peak=00:00-12:00 peak=12:00-24:00",
        "peak=00:00-12:03 valley=12:03-24:00",
        "total=00:00-24:00",
        "64=00:00-24:00",
        "peak=00:00-24:30",
        "peak",
        "peak=12:00-08:00 valley=00:00-24:00",
        f"peak=00:00-24:00 {'x' * 600}",
    ],
)
def test_hours_that_do_not_say_where_each_minute_is_counted_are_refused(text):
    with pytest.raises(InputError) as refused:
        parse_register_hours(text)
    assert refused.value.reason == "register-hours.text"
    assert "valley=00:00-08:00" in refused.value.remedy


def test_hours_are_read_in_either_language_and_their_step_is_the_longest_that_fits():
    hours = parse_register_hours("尖=9:15-10:00 谷=00:00-09:15,10:00-24:00")
    assert (hours.names, hours.step) == (("sharp", "valley"), 15)
    assert hours.of_minute[[554, 555, 599, 600]].tolist() == [1, 0, 0, 1]
    assert parse_register_hours(SUMMER).step == 60


def counted(intervals: pd.DataFrame, hours: RegisterHours) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Energies of days that the total and each register counted of intervals."""
    local = pd.DatetimeIndex(intervals["start"])
    register = np.array(hours.names)[hours.of_minute[local.hour * 60 + local.minute]]
    key = [intervals["meter_point_id"], local.normalize()]
    total = intervals.groupby(key)["energy_wh"].sum()
    by = intervals.groupby([*key, register])["energy_wh"].sum().unstack(fill_value=0)
    by = by.reindex(columns=list(hours.names), fill_value=0)
    return days_of(total), pd.concat(
        [days_of(by[name]).assign(**{REGISTER: name}) for name in hours.names], ignore_index=True
    )


def days_of(energies: pd.Series[int]) -> pd.DataFrame:
    names, days = (energies.index.get_level_values(level) for level in (0, 1))
    minutes = ((days + pd.Timedelta(hours=26)).normalize() - days) // pd.Timedelta(minutes=1)
    readings = make_readings(names.to_numpy(object), start=days, energy_wh=energies.to_numpy())
    return readings.assign(minutes=np.asarray(minutes, dtype=np.int64))


def month_of(
    month: str = "2026-07", *, minutes: int = 30, zone: str = ZONE, seed: int = 1
) -> pd.DataFrame:
    first = pd.Timestamp(f"{month}-01", tz=zone)
    end = first + pd.offsets.MonthBegin(1)
    starts = pd.date_range(first, end, freq=f"{minutes}min", inclusive="left").as_unit("us")
    energies = np.random.default_rng(seed).integers(0, 900, len(starts))
    return make_readings("m", start=starts, energy_wh=energies)


def said(text: str):
    return lambda names, _days: np.full(len(names), text, dtype=object)


def place(intervals: pd.DataFrame, text: str, *, unit: int = 1):
    totals, registers = counted(intervals, parse_register_hours(text))
    return place_registers(totals, registers, hours_of=said(text), units_wh={"m": unit})


EDGES = st.lists(st.integers(1, 47), min_size=1, max_size=8, unique=True)


@settings(max_examples=25, deadline=None)
@given(EDGES, st.integers(1, 4), st.randoms(use_true_random=False))
def test_a_bill_of_registers_is_the_bill_of_the_intervals_wherever_their_prices_agree(
    edges, count, chance
):
    """Any hours of any meter, and a tariff that prices one or several of its registers alike."""
    bounds = [0, *sorted(edges), 48]
    names = [str(number + 1) for number in range(count)]
    of_span = [chance.choice(names) for _ in bounds[1:]]
    clock = [f"{half // 2:02d}:{half % 2 * 30:02d}" for half in bounds]
    times: dict[str, list[str]] = {}
    for name, first, end in zip(of_span, clock, clock[1:], strict=False):
        times.setdefault(name, []).append(f"{first}-{end}")
    text = " ".join(f"{name}={','.join(own)}" for name, own in times.items())
    price_of = {name: chance.choice(["low", "high"]) for name in names}
    windows = ",".join(
        f'{{ from = "{first}", to = "{end}", tou_period = "{price_of[name]}" }}'
        for name, first, end in zip(of_span, clock, clock[1:], strict=False)
    )
    used = sorted({price_of[name] for name in times})
    rates = ",".join(
        f'{{ charge = "energy", rate = "0.{place}1", unit = "CNY/kWh", source = "s",'
        f' tou_period = "{name}" }}'
        for place, name in enumerate(used)
    )
    tariff = parse_tariff(
        'tariff_id = "t"\nversion = "1"\nname_en = "T"\nname_zh = "T"\ncity = "C"\n'
        'currency = "CNY"\ntimezone = "Asia/Shanghai"\nvalid_from = 2020-01-01\n'
        f"windows = [{windows}]\nrates = [{rates}]\n"
        '[[sources]]\nid = "s"\ntitle = "T"\nconfidence = "confirmed"\n'
        '[figure_sources]\nwindows = "s"\n'
    )
    july = month_period("2026-07", timezone=ZONE)
    assert not prices_apart(tariff, july, spans=[(*ALWAYS, text)])
    intervals = month_of(seed=chance.randrange(99))
    found = place(intervals, text)
    assert [one.rule for one in found.problems] == [PLACED]
    assert found.placed == {"m"}
    wanted = settle(intervals, tariff=tariff, interval=pd.Timedelta(minutes=30))
    got = settle(found.readings, tariff=tariff, interval=pd.Timedelta(0))
    pd.testing.assert_frame_equal(got, wanted)


@pytest.mark.parametrize(
    ("month", "text", "apart"),
    [
        ("2026-07", SUMMER, False),
        ("2026-06", SUMMER, False),  # sharp and peak have one price each, if another one
        ("2026-07", TWO, True),
        ("2026-07", SUMMER.replace("19:00-24:00", "20:00-24:00").replace("-19:00", "-20:00"), True),
        # A meter that knows no sharp hours counts them among those of the peak.
        (
            "2026-07",
            THREE,
            True,
        ),
        (
            "2026-06",
            THREE,
            False,
        ),
    ],
)
def test_a_tariff_prices_hours_of_one_register_alike_or_apart(month, text, apart):
    period = month_period(month, timezone=ZONE)
    assert prices_apart(SHENZHEN, period, spans=[(*ALWAYS, text)]) is apart


@pytest.mark.parametrize(("turn", "apart"), [(1, False), (2, True)])
def test_register_hours_are_compared_on_the_days_that_they_are_of(turn, apart):
    """The meter changes its hours for the season, on the day that the tariff does or after it."""
    july = month_period("2026-07", timezone=ZONE)
    day = date(2026, 7, turn)
    spans = [(date(2020, 1, 1), day, THREE), (day, date.max, SUMMER)]
    assert prices_apart(SHENZHEN, july, spans=spans) is apart


def test_demand_is_never_told_by_registers():
    tariff = load_tariff(catalogue_tariffs()["shenzhen-commercial-demand"])
    period = month_period("2025-02", timezone=ZONE)
    whole = "1=00:00-24:00"
    assert prices_apart(tariff, period, spans=[(*ALWAYS, whole)])
    flat = load_tariff(catalogue_tariffs()["flat"])
    assert not prices_apart(flat, month_period("2026-07", timezone=ZONE), spans=[(*ALWAYS, whole)])


def test_registers_that_do_not_add_up_to_the_total_leave_the_day_as_it_is():
    """Faces are cut down to 0.01 kWh: two registers and a total differ by less than 30 Wh."""
    intervals = month_of()
    totals, registers = counted(intervals, parse_register_hours(TWO))
    for off, placed in ((20, 31), (30, 30)):
        wrong = totals.assign(
            energy_wh=totals["energy_wh"].mask(totals.index == 4, totals["energy_wh"] + off)
        )
        found = place_registers(wrong, registers, hours_of=said(TWO), units_wh={"m": 10})
        days = found.readings.loc[found.readings["minutes"] == 1440]
        assert len(found.readings) - len(days) == placed * 24
        assert days["start"].tolist() == totals["start"][4:5].tolist() * (31 - placed)
        rules = {one.rule: one.start for one in found.problems}
        assert ("register-sum" in rules) == (placed == 30)
        assert all("kWh" not in one.detail for one in found.problems)


@pytest.mark.parametrize("change", ["missing", "negative", "stranger"])
def test_a_day_whose_registers_are_not_those_of_the_meter_stays_as_it_is(change):
    totals, registers = counted(month_of(), parse_register_hours(TWO))
    third = (registers["start"] == totals["start"][2]) & (registers[REGISTER] == "2")
    if change == "missing":
        registers = registers[~third]
    elif change == "negative":
        registers = registers.assign(energy_wh=registers["energy_wh"].mask(third, -1))
    else:
        registers = pd.concat([registers, registers[third].assign(**{REGISTER: "3"})])
    found = place_registers(totals, registers, hours_of=said(TWO), units_wh={"m": 1})
    assert found.readings.loc[found.readings["minutes"] == 1440, "start"].tolist() == [
        totals["start"][2]
    ]
    assert {one.rule: one.start for one in found.problems}["register-names"] == totals["start"][2]


def test_nothing_is_placed_of_meters_whose_hours_nobody_said():
    totals, registers = counted(month_of(), parse_register_hours(TWO))
    found = place_registers(totals, registers, hours_of=said(""), units_wh={"m": 1})
    assert (len(found.readings), found.problems, found.placed) == (31, (), frozenset())


def test_days_of_another_length_keep_their_energy_to_the_wh():
    """Berlin, March and October 2026, and what is fed in stands evenly over the day."""
    for month, hours in (("2026-03", 743), ("2026-10", 745)):
        intervals = month_of(month, minutes=60, zone="Europe/Berlin")
        totals, registers = counted(intervals, parse_register_hours(TWO))
        totals = totals.assign(export_wh=np.arange(len(totals)) * 7)
        totals["minutes"] = totals["minutes"].where(totals["minutes"] != 0, 1440)
        found = place_registers(totals, registers, hours_of=said(TWO), units_wh={"m": 1})
        assert len(found.readings) == hours
        assert found.readings["energy_wh"].sum() == intervals["energy_wh"].sum()
        own = found.readings.groupby(found.readings["start"].dt.normalize())["export_wh"]
        assert own.sum().tolist() == totals["export_wh"].tolist()
        assert (own.max() - own.min()).max() <= 1


def test_a_register_whose_only_hour_the_clock_skips_is_not_spread_over_others():
    text = "1=02:00-03:00 2=00:00-02:00,03:00-24:00"
    totals, registers = counted(
        month_of("2026-03", minutes=60, zone="Europe/Berlin"), parse_register_hours(text)
    )
    spring = totals["start"] == pd.Timestamp("2026-03-29", tz="Europe/Berlin")
    there = registers["start"].isin(totals["start"][spring]) & (registers[REGISTER] == "1")
    registers = registers.assign(energy_wh=registers["energy_wh"].mask(there, 5))
    totals = totals.assign(energy_wh=totals["energy_wh"] + spring * 5)
    found = place_registers(totals, registers, hours_of=said(text), units_wh={"m": 1})
    assert {one.rule for one in found.problems} == {PLACED, "register-names"}
    assert found.readings["energy_wh"].sum() == totals["energy_wh"].sum()
