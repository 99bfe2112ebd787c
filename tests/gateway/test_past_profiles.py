"""Estimates from other months: what is kept of a month, and what another one finds of it."""

from __future__ import annotations

import csv
import stat

import pytest

from gridsecure.billing.rule_books import parse_book
from gridsecure.errors import StorageError
from gridsecure.gateway.month_files import month_folder
from gridsecure.gateway.past_profiles import keep_profiles
from gridsecure.gateway.private_files import private_folder
from gridsecure.gateway.rule_sets import keep_rules
from tests.billing.rule_inputs import book_text
from tests.gateway.gateway_world import MONTH, GatewayWorld
from tests.gateway.reading_tables import long_table

ORDER = ["interpolation", "previous-month", "last-year", "mean"]
BOOK = book_text(estimation={"order": ORDER})
LOST = range(200, 260)  # hours of the first meter point
DROPPED = 300


@pytest.fixture
def world(tmp_path):
    made = GatewayWorld(tmp_path, load_curves=False)
    keep_rules(made.zone, BOOK, person="op", at=made.clock())
    table = long_table(made).drop(index=[*LOST, DROPPED])
    made.save(table.to_csv(index=False).encode())
    yield made
    made.close()


def keep(world, month):
    """Profiles of a month in which everybody used twice of what they use in July."""
    readings = world.simulated.readings().assign(minutes=60)
    readings = readings.assign(energy_wh=readings["energy_wh"] * 2)
    folder = private_folder(month_folder(world.zone, month))
    keep_profiles(folder, readings, parse_book(BOOK).estimation)
    return folder / "profiles.parquet"


def estimates(world):
    path = month_folder(world.zone, MONTH) / "estimates.csv"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("month", "method"), [("2026-06", "previous-month"), ("2025-07", "last-year"), (None, "mean")]
)
def test_a_gap_is_filled_from_the_month_that_was_kept(world, month, method):
    if month:
        keep(world, month)
    report = world.process()
    assert report.estimated_by == {"interpolation": 1, method: len(LOST)}
    assert report.estimated == len(LOST) + 1
    told = estimates(world)
    assert [row["method"] for row in told] == [method] * len(LOST) + ["interpolation"]
    # This month is there for the next one.
    assert (month_folder(world.zone, MONTH) / "profiles.parquet").exists()


def test_a_damaged_profile_is_said_and_nothing_is_fixed(world):
    keep(world, "2026-06").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(StorageError) as refused:
        world.process()
    assert refused.value.reason == "storage.read"


def test_rules_that_look_into_no_other_month_keep_nothing(tmp_path):
    rules = parse_book(book_text()).estimation
    keep_profiles(tmp_path, None, rules)
    assert list(tmp_path.iterdir()) == []
