"""Whole months of the field at the gateway: from the file to the energy and demand that are billed.

Expected energies are worked out here from the lines of the files, in plain integers.
"""

from __future__ import annotations

import csv
import datetime as dt
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.rule_policies import ValidationPolicy
from gridsecure.billing.settlements import settle
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.admission import SeenMeters, admit
from gridsecure.gateway.collection import Collected, collect
from gridsecure.gateway.energies import IntervalEnergies, lay_out_energies
from gridsecure.gateway.formats import read_readings
from gridsecure.gateway.packing import settle_energies
from gridsecure.periods import BillingPeriod, billing_month
from gridsecure.tariffs.tariff import parse_tariff

ZONE = "Asia/Shanghai"
CASES = Path(__file__).parents[1] / "data" / "cases"
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DAY = billing_month(2025, 3, timezone=ZONE)
HEAD = """
tariff_id = "t"
version = "1"
name_en = "T"
name_zh = "测"
city = "Test"
currency = "CNY"
timezone = "Asia/Shanghai"
valid_from = 2010-01-01

[[sources]]
id = "s"
title = "Invented"
confidence = "unconfirmed"
"""
DEMAND = (
    HEAD
    + """
[[rates]]
charge = "energy"
rate = "0.5"
unit = "CNY/kWh"
source = "s"

[[rates]]
charge = "demand"
rate = "40"
unit = "CNY/kW-month"
source = "s"
"""
)
HALF_PAST = (
    HEAD
    + """
[[windows]]
from = "00:00"
to = "08:30"
tou_period = "valley"

[[windows]]
from = "08:30"
to = "24:00"
tou_period = "peak"

[[rates]]
charge = "energy"
tou_period = "valley"
rate = "0.2"
unit = "CNY/kWh"
source = "s"

[[rates]]
charge = "energy"
tou_period = "peak"
rate = "0.6"
unit = "CNY/kWh"
source = "s"
"""
)


def collected(*files: bytes | Path, period: BillingPeriod = DAY) -> Collected:
    sources = [read_readings(file, timezone=ZONE) for file in files]
    names = frozenset().union(*(set(one.readings["meter_point_id"]) for one in sources))
    policy = ValidationPolicy(contracts=default_contracts(sorted(names)))
    return collect(sources, policy=policy, period=period, now=NOW)


def totals(energies: IntervalEnergies) -> dict[str, int]:
    return dict(zip(energies.meter_point_ids, energies.totals_wh.tolist(), strict=True))


@pytest.mark.parametrize(
    "name", ["run-hourly-then-half-hourly", "run-net-negative-hours", "run-register-gap"]
)
def test_a_month_of_the_field_has_its_energy_and_no_other(name: str) -> None:
    expected = json.loads((CASES / name / "expected.json").read_text(encoding="utf-8"))
    found = collected(CASES / name / "readings.csv")
    assert totals(lay_out_energies(found.readings, period=DAY)) == expected["totals_wh"]
    assert found.estimated_rows == 0


def test_a_net_meter_is_left_out_by_name() -> None:
    found = collected(CASES / "run-net-negative-hours" / "readings.csv")
    assert found.left_out == {"NET": "net-metered"}
    energies = lay_out_energies(found.readings, period=DAY)
    admission = admit(
        energies,
        seen=SeenMeters(found.seen, found.left_out),
        contracts=default_contracts(sorted(found.seen), tariff_id="t"),
        tariffs={"t": parse_tariff(DEMAND)},
        period=DAY,
    )
    assert admission.excluded.to_dict("records") == [
        {"meter_point_id": "NET", "reason": "net-metered"}
    ]


def test_a_register_gap_keeps_what_the_faces_tell() -> None:
    """Last face minus first, of the file's own lines."""
    path = CASES / "run-register-gap" / "readings.csv"
    faces: dict[str, list[int]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            face = round(float(line["register_kwh"]) * 1000)
            faces.setdefault(line["meter_point_id"], []).append(face)
    energies = lay_out_energies(collected(path).readings, period=DAY)
    assert totals(energies) == {name: own[-1] - own[0] for name, own in faces.items()}


def lines(meter: str, first: str, *, minutes: int, energies: list[int]) -> list[str]:
    start = pd.Timestamp(first)
    step = pd.Timedelta(minutes=minutes)
    return [
        f"{meter},{start + n * step:%Y-%m-%d %H:%M},{wh // 1000}.{wh % 1000:03d}"
        for n, wh in enumerate(energies)
    ]


def file_of(rows: list[str]) -> bytes:
    return "\n".join(["meter_point_id,start,kwh", *rows, ""]).encode()


def changing(before: int, after: int, *, at: str) -> tuple[bytes, int, int]:
    """A month that goes over from one length to another: file, energy and demand [Wh, W]."""
    first = pd.Timestamp("2025-03-01")
    change, end = pd.Timestamp(at), pd.Timestamp("2025-04-01")
    rows, energy, demand = [], 0, 0
    for minutes, begin, stop in ((before, first, change), (after, change, end)):
        count = (stop - begin) // pd.Timedelta(minutes=minutes)
        own = [10 * minutes + (7 * n) % 50 for n in range(count)]
        energy += sum(own)
        demand = max(demand, max(own) * 60 // minutes)
        rows += lines("M", f"{begin}", minutes=minutes, energies=own)
    return file_of(rows), energy, demand


@pytest.mark.parametrize("at", ["2025-03-11 00:00", "2025-03-11 13:00", "2025-03-31 12:00"])
@pytest.mark.parametrize(("before", "after"), [(60, 30), (30, 60), (60, 15), (15, 60), (30, 15)])
def test_a_meter_that_goes_over_to_another_length_is_billed_for_what_it_read(
    before: int, after: int, at: str
) -> None:
    data, energy, demand = changing(before, after, at=at)
    found = collected(data)
    assert (found.estimated_rows, len(found.quarantined)) == (0, 0)
    energies = lay_out_energies(found.readings, period=DAY)
    tariff, contracts = parse_tariff(DEMAND), default_contracts(["M"])
    run = settle_energies(energies, tariff=tariff, period=DAY, contracts=contracts)
    bill = settle(read_readings(data).readings, tariff=tariff, interval=pd.Timedelta(hours=1))
    for settled in (run, bill):
        assert (int(settled["total_wh"].iloc[0]), int(settled["demand_w"].iloc[0])) == (
            energy,
            demand,
        )
    grid = energies.on_grid(energies.grid)
    assert grid.step == pd.Timedelta(minutes=max(before, after))
    assert totals(grid) == {"M": energy}


def test_an_estimate_after_a_change_is_as_long_as_the_new_interval() -> None:
    data, _, _ = changing(60, 30, at="2025-03-11 00:00")
    rows = data.decode().strip().split("\n")
    assert rows[400].startswith("M,2025-03-14")
    found = collected("\n".join([*rows[:400], *rows[401:], ""]).encode())
    assert found.estimated_rows == 1
    estimated = found.readings[found.readings["quality"] == "estimated"]
    assert estimated["minutes"].tolist() == [30]


def test_a_lost_reading_is_no_change_of_length() -> None:
    rows = lines("M", "2025-03-01", minutes=30, energies=[100] * 1488)
    for lost in (700, 500, 300):
        del rows[lost]
    found = collected(file_of(rows))
    assert found.estimated_rows == 3
    assert set(found.readings["minutes"]) == {30}


def test_the_length_of_one_meter_point_says_nothing_of_another() -> None:
    quarters = lines("Q", "2025-03-01", minutes=15, energies=[250] * 2976)
    hours = lines("H", "2025-03-01", minutes=60, energies=[1000] * 744)
    tariff = parse_tariff(DEMAND)
    for rows in (quarters + hours, hours + quarters, (quarters + hours)[::-1]):
        readings = read_readings(file_of(rows)).readings
        settled = settle(readings, tariff=tariff, interval=pd.Timedelta(minutes=15))
        assert settled["demand_w"].tolist() == [1000, 1000]
        assert settled["total_wh"].tolist() == [744_000, 744_000]


def test_an_interval_across_two_prices_leaves_only_its_meter_point_out() -> None:
    rows = lines("FINE", "2025-03-01", minutes=30, energies=[100] * 1488)
    rows += lines("COARSE", "2025-03-01", minutes=60, energies=[200] * 744)
    found = collected(file_of(rows))
    tariff = parse_tariff(HALF_PAST)
    admission = admit(
        lay_out_energies(found.readings, period=DAY),
        seen=SeenMeters(found.seen, found.left_out),
        contracts=default_contracts(["COARSE", "FINE"], tariff_id="t"),
        tariffs={"t": tariff},
        period=DAY,
    )
    assert admission.excluded.to_dict("records") == [
        {"meter_point_id": "COARSE", "reason": "interval-length"}
    ]
    with pytest.raises(InvalidReadingsError) as refused:
        settle(read_readings(file_of(rows)).readings, tariff=tariff, interval=pd.Timedelta(0))
    assert refused.value.reason == "calendar.straddles-window"


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.integers(0, 900), min_size=48, max_size=48),
    st.sampled_from([2, 4]),
    st.randoms(use_true_random=False),
)
def test_splitting_intervals_changes_no_energy_and_no_price_by_time(
    energies, parts, random
) -> None:
    """Two days of hours, each divided at random into half or quarter hours."""
    fine = []
    for energy in energies:
        cuts = sorted(random.randint(0, energy) for _ in range(parts - 1))
        edges = [0, *cuts, energy]
        fine += [end - begin for begin, end in pairwise(edges)]
    tariff = parse_tariff(HALF_PAST.replace("08:30", "08:00"))
    frames = [
        settle(
            read_readings(file_of(lines("M", "2025-03-01", minutes=m, energies=own))).readings,
            tariff=tariff,
            interval=pd.Timedelta(hours=1),
        )
        for m, own in ((60, energies), (60 // parts, fine))
    ]
    pd.testing.assert_frame_equal(*frames)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 3000), min_size=60, max_size=90),
    st.sets(st.integers(1, 58), max_size=12),
    st.sets(st.integers(1, 58), max_size=2),
    st.integers(10_000_000, 90_000_000),
)
def test_the_energy_of_a_register_is_last_minus_first(gains, lost, zeros, first):
    """Faces lost, and faces that read zero among good ones, change nothing of the total."""
    faces = np.cumsum([first, *gains]).tolist()
    rows = ["meter_point_id,start,register_kwh"]
    for hour, face in enumerate(faces):
        if hour in lost and hour not in zeros:
            continue
        shown = 0 if hour in zeros else face
        start = pd.Timestamp("2025-03-01") + pd.Timedelta(hours=hour)
        rows.append(f"M,{start:%Y-%m-%d %H:%M},{shown // 1000}.{shown % 1000:03d}")
    file = read_readings("\n".join([*rows, ""]).encode())
    assert int(file.readings["energy_wh"].sum()) == faces[-1] - faces[0]
    assert (file.readings["energy_wh"] >= 0).all()
    assert int(file.readings["minutes"].sum()) == 60 * (len(faces) - 1)
    named = {problem.rule for problem in file.problems}
    assert ("zero-face" in named) == bool(zeros)
