"""Packing: what is decrypted from a column is what was read, slot by slot, Wh by Wh."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.billing.readings import as_categories
from gridsecure.billing.rules import line_rules
from gridsecure.billing.settlement_columns import register_column
from gridsecure.billing.settlements import settle
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import InvalidReadingsError, NotFoundError, OutOfRangeError
from gridsecure.gateway import energies as energies_module
from gridsecure.gateway.energies import lay_out_energies
from gridsecure.gateway.packing import (
    pack_energies,
    pack_settlements,
    packed_columns,
)
from gridsecure.homomorphic.column_files import open_column
from gridsecure.homomorphic.thresholds import MONTH_DIGITS, WH_PER_KWH, thermometer
from gridsecure.periods import billing_month
from gridsecure.plans.load_curve import day_quantity
from gridsecure.plans.needs import published_needs
from gridsecure.plans.quantities import INTERVAL_BOUNDS_WH, MONTH_MEASURE, register_quantity
from tests.grid_simulator import DAY_INTERVALS, HOUR, TIERS, GridSimulator, grid_keys

PERIOD = billing_month(2026, 2, timezone="Asia/Shanghai")
STARTS = pd.date_range(PERIOD.start, PERIOD.end, freq="h", inclusive="left")


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    made = GridSimulator(tmp_path_factory.mktemp("grid"), household_tariff=TIERS)
    yield made
    made.close()


@pytest.fixture(scope="module")
def public_keys():
    return {name: key_set.public for name, key_set in grid_keys().secret.items()}


def decrypted(column, roster):
    entry = column.entry
    secret = grid_keys().secret[entry.parameters]
    opened, label = open_column(
        column.data,
        digest=entry.digest,
        evaluation=secret.public.evaluation,
        roster_id=roster.manifest.roster_id,
    )
    assert (label.quantity, label.start, label.end) == (entry.quantity, entry.start, entry.end)
    return secret.decrypt(opened).tolist()


def test_settlement_columns_hold_what_the_plaintext_oracle_settles(grid):
    for roster in grid.rosters:
        tariff = grid.tariff(roster)
        own = grid.readings[grid.readings["meter_point_id"].isin(roster.meter_point_ids)]
        settled = settle(own, tariff=tariff, interval=HOUR).set_index("meter_point_id")
        ordered = settled.loc[list(roster.meter_point_ids)]
        total = ordered["total_wh"].to_numpy()
        expected = {"total": total, "tier:total": total}
        for name in tariff.tou_periods:
            expected[register_quantity(name)] = ordered[register_column(name)].to_numpy()
        expected |= {
            MONTH_MEASURE.digit(*p): bits
            for p, bits in thermometer(total // WH_PER_KWH, digits=MONTH_DIGITS).items()
        }
        rules = line_rules(tariff, grid.period)
        needs = published_needs(rules, tou_periods=tariff.tou_periods)
        columns = grid.packed(roster)[: len(needs)]
        assert [c.entry.quantity for c in columns] == [need.quantity for need in needs]
        for column in columns[:8]:
            assert decrypted(column, roster) == expected[column.entry.quantity].tolist()


def test_interval_columns_hold_the_readings(grid):
    roster = grid.rosters[0]
    columns = grid.packed(roster, days=2)[-2:]
    table = grid.readings.set_index(["start", "meter_point_id"])["energy_wh"]
    assert [c.entry.quantity for c in columns] == [
        day_quantity(f"{grid.month}-{day}") for day in ("01", "02")
    ]
    for column in columns:
        start = pd.Timestamp(column.entry.start)
        assert (column.entry.intervals, start.hour) == (DAY_INTERVALS, 0)
        expected = [
            int(table[start + hour * HOUR].loc[name])
            for hour in range(DAY_INTERVALS)
            for name in roster.meter_point_ids
        ]
        assert decrypted(column, roster) == expected
        assert pd.Timestamp(column.entry.end) == start + DAY_INTERVALS * HOUR


def test_entries_name_the_file_its_bound_and_its_key(grid):
    roster = grid.rosters[0]
    classes = set(roster.manifest.customer_classes)
    column = grid.packed(roster)[-1]
    assert column.entry.digest == sm3_hex(column.data)
    assert column.entry.size == len(column.data)
    assert column.entry.high == max(INTERVAL_BOUNDS_WH[name] for name in classes)
    assert column.entry.key_id == grid.keys.secret[column.entry.parameters].public.key_id


def test_settlements_alone_give_the_same_quantities_as_the_whole_roster(grid, public_keys):
    roster = grid.rosters[0]
    tariff = grid.tariff(roster)
    settled = settle(grid.readings, tariff=tariff, interval=HOUR)
    columns = pack_settlements(
        settled, roster=roster, tariff=tariff, period=grid.period, keys=public_keys
    )
    for column, other in islice(zip(columns, grid.packed(roster), strict=False), 3):
        assert column.entry.quantity == other.entry.quantity
        assert decrypted(column, roster) == decrypted(other, roster)


def test_a_slot_without_settlement_is_refused(grid, public_keys):
    roster = grid.rosters[0]
    tariff = grid.tariff(roster)
    others = grid.readings[grid.readings["meter_point_id"] != roster.meter_point_ids[0]]
    settled = settle(others, tariff=tariff, interval=HOUR)
    with pytest.raises(InvalidReadingsError) as refusal:
        next(
            pack_settlements(
                settled, roster=roster, tariff=tariff, period=grid.period, keys=public_keys
            )
        )
    assert refusal.value.reason == "readings.incomplete"


def packing(grid, readings, *, keys, roster=None):
    roster = roster or grid.rosters[0]
    energies = lay_out_energies(readings, period=grid.period)
    return pack_energies(
        energies, roster=roster, tariff=grid.tariff(roster), period=grid.period, keys=keys
    )


def own_row(grid, place):
    """Position of one reading of the first roster's first meter point."""
    own = grid.readings["meter_point_id"] == grid.rosters[0].meter_point_ids[0]
    return np.flatnonzero(own)[place]


@pytest.mark.parametrize("place", [0, 100, -1])
def test_a_missing_interval_is_refused(grid, public_keys, place):
    readings = grid.readings.drop(index=own_row(grid, place))
    with pytest.raises(InvalidReadingsError) as refusal:
        next(packing(grid, readings, keys=public_keys))
    assert refusal.value.reason == "readings.incomplete"


def test_a_repeated_interval_is_refused(grid, public_keys):
    again = grid.readings.iloc[[own_row(grid, 5)]]
    readings = pd.concat([grid.readings, again], ignore_index=True)
    with pytest.raises(InvalidReadingsError):
        next(packing(grid, readings, keys=public_keys))


def test_the_order_of_readings_changes_nothing(grid, public_keys):
    column = next(packing(grid, grid.readings.sample(frac=1, random_state=1), keys=public_keys))
    assert decrypted(column, grid.rosters[0]) == decrypted(
        grid.packed(grid.rosters[0])[0], grid.rosters[0]
    )


def test_a_missing_key_set_is_named(grid):
    with pytest.raises(NotFoundError) as refusal:
        next(packing(grid, grid.readings, keys={}))
    assert refusal.value.reason == "keys.missing"


def test_an_energy_above_its_bound_is_refused_and_not_told(grid, public_keys):
    readings = grid.readings.copy()
    readings.loc[own_row(grid, 0), "energy_wh"] = 2**31
    with pytest.raises(OutOfRangeError) as refusal:
        next(packing(grid, readings, keys=public_keys))
    assert str(2**31) not in str(refusal.value)


def test_the_number_of_columns_is_known_before_packing(grid, public_keys):
    roster = grid.rosters[-1]
    tariff = grid.tariff(roster)
    columns = packing(grid, grid.readings, keys=public_keys, roster=roster)
    assert sum(1 for _ in columns) == packed_columns(
        roster, tariff=tariff, period=grid.period, days=31
    )


@given(st.integers(1, 4), st.randoms(use_true_random=False))
def test_energies_lay_out_readings_in_any_order(meters, random):
    names = [f"m{number}" for number in range(meters)]
    values = np.arange(meters * len(STARTS)).reshape(meters, -1)
    frame = pd.DataFrame(
        {
            "meter_point_id": np.repeat(names, len(STARTS)),
            "start": STARTS.append([STARTS] * (meters - 1)),
            "energy_wh": values.ravel(),
        }
    ).sample(frac=1, random_state=random.randrange(2**32))
    energies = lay_out_energies(frame, period=PERIOD)
    assert energies.energy_wh.tolist() == values.tolist()
    assert energies.totals_wh.tolist() == values.sum(axis=1).tolist()
    assert (energies.starts == STARTS).all()
    assert energies.of(names[::-1]).energy_wh.tolist() == values[::-1].tolist()
    with pytest.raises(InvalidReadingsError):
        energies.of(["stranger"])


def test_a_shifted_grid_is_refused():
    frame = pd.DataFrame(
        {"meter_point_id": "m", "start": STARTS + pd.Timedelta(minutes=1), "energy_wh": 1}
    )
    with pytest.raises(InvalidReadingsError):
        lay_out_energies(frame, period=PERIOD)


@pytest.mark.parametrize("block", [1, 7, 1 << 16])
def test_readings_find_their_places_in_any_blocks(monkeypatch, block):
    """Of two lengths: half of the hours of one meter point are two half-hours."""
    monkeypatch.setattr(energies_module, "_BLOCK", block)
    fine = pd.date_range(PERIOD.start, PERIOD.end, freq="30min", inclusive="left")[:48]
    parts = [("a", STARTS, 60), ("b", fine, 30), ("b", STARTS[24:], 60)]
    frame = pd.concat(
        pd.DataFrame({"meter_point_id": name, "start": starts, "minutes": minutes})
        for name, starts, minutes in parts
    ).sample(frac=1, random_state=block, ignore_index=True)
    frame["energy_wh"] = np.arange(len(frame))
    laid = lay_out_energies(as_categories(frame.assign(quality="actual")), period=PERIOD)
    for row in frame.sample(50, random_state=1).itertuples():
        place = laid.meter_point_ids.get_loc(row.meter_point_id), laid.starts.get_loc(row.start)
        assert (laid.energy_wh[place], laid.lengths[place]) == (row.energy_wh, row.minutes)
    assert laid.totals_wh.sum() == frame["energy_wh"].sum()


@pytest.mark.parametrize(("lost", "twice"), [(3, 4), (0, -1), (-1, 0)])
def test_as_many_readings_as_places_are_not_enough(lost, twice):
    """One interval is there twice and another not at all, for one length and for two."""
    frame = pd.DataFrame({"meter_point_id": "m", "start": STARTS, "energy_wh": 1, "minutes": 60})
    frame.iloc[lost] = frame.iloc[twice]
    for minutes in (60, np.where(np.arange(len(frame)) == len(frame) // 2, 30, 60)):
        with pytest.raises(InvalidReadingsError) as refusal:
            lay_out_energies(frame.assign(minutes=minutes), period=PERIOD)
        assert refusal.value.reason == "readings.incomplete"
