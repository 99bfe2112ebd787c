"""Synthetic meters are the same everywhere; real ones keep their dirt."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import zipfile

import numpy as np
import pandas as pd
import pytest

from gridsecure.billing.contracts import load_contracts
from gridsecure.billing.validation import validate_readings
from gridsecure.gateway.formats import read_readings
from gridsecure.plans.cells import MONEY, Member, cell_sets
from gridsecure.simulator import __main__ as sample
from gridsecure.simulator.accounts import invented_accounts
from gridsecure.simulator.extract_real import FACTORIES, HOMES, factories_csv, homes_csv
from gridsecure.simulator.extract_real import main as extract
from gridsecure.simulator.profiles import day_shapes, season_of
from gridsecure.simulator.real_meters import real_contracts, real_readings
from gridsecure.simulator.synthetic_meters import ZONES, month_days, simulate
from tests.held_policy import BY_MEASURE

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)


def period_of(month):
    days = month_days(month)
    first = pd.Timestamp(days[0], tz="Asia/Shanghai")
    return first, first + pd.Timedelta(days=len(days))


def test_the_committed_sample_regenerates_byte_for_byte():
    assert sample.differing_files(sample.DATA) == []
    assert sample.main(["--check"]) == 0


def test_a_changed_byte_is_noticed(tmp_path, capsys):
    assert sample.main(["--folder", str(tmp_path)]) == 0
    assert sample.main(["--check", "--folder", str(tmp_path)]) == 0
    readings = tmp_path / "readings.csv"
    readings.write_bytes(readings.read_bytes().replace(b"0.0", b"0.1", 1))
    assert sample.main(["--check", "--folder", str(tmp_path)]) == 1
    assert "readings.csv differs" in capsys.readouterr().err


def test_the_manifest_names_what_is_needed_to_make_it_again():
    manifest = json.loads((sample.DATA / "manifest.json").read_text())
    assert manifest["seed"] == sample.SEED
    assert set(manifest["sha256"]) == {"readings.csv", "contracts.csv"}


def test_the_first_words_of_the_generator_are_those_of_the_algorithm():
    # Philox4x64-10, counter and key zero: known answer of the Random123 distribution. numpy
    # counts up before the first block, so that block is reached from the counter's maximum.
    counter = np.full(4, 2**64 - 1, dtype=np.uint64)
    words = np.random.Philox(key=0, counter=counter).random_raw(4)
    assert [f"{int(word):016x}" for word in words] == [
        "16554d9eca36314c",
        "db20fe9d672d0fdc",
        "d7e772cee186176b",
        "7e68b68aec7ba23b",
    ]


def test_a_meter_does_not_depend_on_how_many_others_there_are():
    few, many = simulate(5, month="2026-07"), simulate(40, month="2026-07")
    assert np.array_equal(few.energy_wh, many.energy_wh[:5])
    assert few.contracts.equals(many.contracts.iloc[:5])
    assert not np.array_equal(few.energy_wh, simulate(5, month="2026-07", seed=1).energy_wh)


@pytest.mark.parametrize("minutes", [15, 30, 60])
def test_simulated_readings_are_clean_and_survive_their_file(minutes):
    month = simulate(17, month="2026-02", interval_minutes=minutes)
    file = read_readings(month.wide_csv())
    pd.testing.assert_frame_equal(file.readings, month.readings())
    result = validate_readings(file.readings, now=NOW, period=period_of("2026-02"))
    assert result.counts() == {}
    assert len(result.accepted) == 17 * 28 * 1440 // minutes


def test_the_contract_file_is_one_the_house_reads(tmp_path):
    path = tmp_path / "contracts.csv"
    path.write_bytes(simulate(2048, month="2026-07").contracts_csv())
    contracts = load_contracts(path)
    cells = contracts.groupby(["zone", "customer_class"]).size()
    assert cells["yantian", "factory"] == 7
    assert (cells.drop(("yantian", "factory")) >= 15).all()
    factories = contracts[contracts["customer_class"] != "household"]
    assert factories["contracted_va"].between(101_000, 3_000_000).all()
    assert contracts["meter_point_id"].str.fullmatch(r"\d{12}").all()


@pytest.mark.parametrize(
    ("meters", "shown", "energy_only"),
    [
        (64, {("futian", "household")}, set()),
        (300, {(zone, "household") for zone in ZONES[:4]}, set()),
        (
            4096,
            {(zone, name) for zone in ZONES for name in ("household", "shop", "factory")}
            - {("longgang", "household")},
            {("longgang", "household")},
        ),
    ],
)
def test_a_run_shows_money_of_most_cells_and_withholds_some(meters, shown, energy_only):
    """By the rule of the releases themselves, for the whole demonstration."""
    contracts = pd.concat(
        [real_contracts(), simulate(meters, month="2026-07").contracts], ignore_index=True
    )
    customers = [row["customer_id"] for row in invented_accounts(contracts, gateway="utility")]
    counts = ~pd.Series(customers).duplicated().to_numpy()
    sets = cell_sets(
        (
            (row.zone, row.customer_class),
            Member(row.meter_point_id, "utility", bool(counted)),
            (row.tariff_id, row.household_quota_kwh),
        )
        for row, counted in zip(contracts.itertuples(), counts, strict=True)
    )
    withheld = {place: found.list_withheld(minima=BY_MEASURE) for place, found in sets.items()}
    assert {place for place, names in withheld.items() if not names} == shown
    assert {place for place, names in withheld.items() if names == {MONEY}} == energy_only


def test_bills_will_reach_every_tier():
    month = simulate(512, month="2026-07")
    homes = (month.contracts["customer_class"] == "household").to_numpy()
    energy_kwh = month.energy_wh.sum(axis=(1, 2))[homes] / 1000
    shares = np.histogram(energy_kwh, bins=[0, 260, 600, np.inf])[0] / homes.sum()
    assert (shares > 0.1).all()


@pytest.mark.parametrize(("meters", "minutes"), [(0, 30), (5, 20)])
def test_what_cannot_be_simulated_is_refused(meters, minutes):
    with pytest.raises(ValueError, match="simulate needs"):
        simulate(meters, month="2026-07", interval_minutes=minutes)


@pytest.mark.parametrize(
    ("day", "season"),
    [
        ("2026-03-20", "winter"),
        ("2026-03-21", "transition"),
        ("2026-05-14", "transition"),
        ("2026-05-15", "summer"),
        ("2026-09-14", "summer"),
        ("2026-09-15", "transition"),
        ("2026-10-31", "transition"),
        ("2026-11-01", "winter"),
    ],
)
def test_seasons_change_on_the_days_of_the_profiles(day, season):
    assert season_of(dt.date.fromisoformat(day)) == season


def test_profiles_keep_their_energy_at_every_interval_length():
    days = month_days("2026-07")
    totals = {day_shapes("shop", days, points=points).sum() for points in (24, 48, 96)}
    assert len(totals) == 1
    # H0, summer weekday, first quarter of an hour in the published table: 0.08636.
    assert day_shapes("household", [dt.date(2026, 7, 1)], points=96)[0, 0] == 8_636


@pytest.mark.parametrize("month", ["2026-07", "2026-02", "2024-12", "2012-11"])
def test_real_meters_can_be_billed_in_any_month_with_their_dirt(month):
    readings = real_readings(month)
    first, end = period_of(month)
    result = validate_readings(readings, now=NOW, period=(first, end))
    counts = result.counts()
    assert set(counts) == {"duplicate", "gap"}
    assert counts["duplicate"] == 5
    assert set(result.accepted["meter_point_id"]) == set(HOMES) | set(FACTORIES)
    assert len(result.accepted) == 9 * 48 * len(month_days(month))


def test_moving_keeps_weekdays_and_times_of_day():
    weekday = {}
    for month in ("2026-07", "2026-09"):
        readings = real_readings(month)
        own = readings[readings["meter_point_id"] == "990000000102"]
        weekday[month] = (
            own.groupby([own["start"].dt.day_of_week, own["start"].dt.time]).size().index
        )
    assert weekday["2026-07"].equals(weekday["2026-09"])
    moved = real_readings("2013-06")
    home = moved[moved["meter_point_id"] == "990000000102"].reset_index(drop=True)
    source = read_readings(sample.DATA.parent / "real" / "uk-homes.csv").readings
    source = source[source["meter_point_id"] == "990000000102"].iloc[: len(home)]
    pd.testing.assert_frame_equal(home, source.reset_index(drop=True))


def test_factories_in_hours_have_the_energy_of_their_half_hours():
    hours, halves = real_readings("2026-07", interval_minutes=60), real_readings("2026-07")
    totals = halves.groupby("meter_point_id")["energy_wh"].sum()
    assert hours.groupby("meter_point_id")["energy_wh"].sum().equals(totals.loc[list(FACTORIES)])
    with pytest.raises(ValueError, match="30 or 60"):
        real_readings("2026-07", interval_minutes=15)


@pytest.fixture
def wheels(tmp_path):
    """Archives shaped like the published packages, with two days and one year of made-up loads."""
    homes, works = tmp_path / "homes.whl", tmp_path / "works.whl"
    samples = "opendsm/eemeter/samples/uk-electricity-hdd-only-hourly-sample-{}.csv.gz"
    with zipfile.ZipFile(homes, "w") as archive:
        for number, day in ((1, "2012-11-01"), (2, "2012-02-01")):
            text = (
                f"start,value\n{day} 00:00:00,1.4529999\n{day} 00:00:00,1.4529999\n"
                f"{day} 01:00:00,0.5\n2011-01-01 00:00:00,9.999\n"
            )
            archive.writestr(samples.format(number), gzip.compress(text.encode()))
    lines = ["Normalized", "Date\tTime", *["\t00:00\t1.1\t0.002\t100.0"] * 35_040]
    with zipfile.ZipFile(works, "w") as archive:
        path = "pycity_base/inputs/measured_el_loads/non_res_annual_el_profiles.txt"
        archive.writestr(path, "\n".join(lines))
    return homes, works


def test_the_extract_keeps_repeated_lines_and_undoes_single_precision(wheels):
    assert homes_csv(wheels[0]).splitlines() == [
        "meter_point_id,start,kwh",
        "990000000101,2012-11-01 00:00,1.453",
        "990000000101,2012-11-01 00:00,1.453",
        "990000000101,2012-11-01 01:00,0.500",
        "990000000201,2012-02-01 00:00,1.453",
        "990000000201,2012-02-01 00:00,1.453",
        "990000000201,2012-02-01 01:00,0.500",
    ]


def test_the_industrial_year_is_scaled_and_rounded_half_up_once(wheels, tmp_path):
    readings = read_readings(factories_csv(wheels[1]).encode()).readings
    energies = readings.groupby("meter_point_id")["energy_wh"].unique().map(list)
    # 1.1 W x 1000 / 4 = 275 Wh; 0.002 W x 500 / 4 = 0.25 Wh; 100 W x 400 / 4 = 10 000 Wh.
    assert energies.tolist() == [[275], [0], [10_000]]
    extract([str(wheels[0]), str(wheels[1]), str(tmp_path)])
    assert (tmp_path / "uk-homes.csv").read_text() == homes_csv(wheels[0])


def test_a_value_that_is_not_three_decimals_is_not_silently_rounded(wheels):
    text = "start,value\n2012-11-01 00:00:00,1.4525\n"
    with zipfile.ZipFile(wheels[0], "w") as archive:
        for number in (1, 2):
            name = f"opendsm/eemeter/samples/uk-electricity-hdd-only-hourly-sample-{number}.csv.gz"
            archive.writestr(name, gzip.compress(text.encode()))
    with pytest.raises(ValueError, match="three decimals"):
        homes_csv(wheels[0])


def test_every_real_meter_has_a_contract():
    assert set(real_contracts()["meter_point_id"]) == set(HOMES) | set(FACTORIES)
