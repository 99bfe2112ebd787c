"""Which rule book a month is validated by: the one in force, and once fixed always the same."""

from __future__ import annotations

import pytest

from gridsecure.billing.rule_books import default_text
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ConflictError, InputError
from gridsecure.gateway.month_files import load_files
from gridsecure.gateway.month_plan import find_plan
from gridsecure.gateway.rule_sets import keep_rules, rules_of
from tests.billing.rule_inputs import book_text
from tests.gateway.gateway_world import MONTH, GatewayWorld, Killed, kill_at
from tests.gateway.reading_tables import long_table

STRICT = book_text(version="strict", spike={"action": "hold"})


@pytest.fixture
def world(tmp_path):
    made = GatewayWorld(tmp_path, load_curves=False)
    yield made
    made.close()


def keep(world, text, month=""):
    return keep_rules(world.zone, text, month=month, person="op", at=world.clock())


def with_a_spike(world) -> bytes:
    """The simulated month with one reading far above the others of its home."""
    table = long_table(world)
    homes = world.simulated.contracts.query("customer_class == 'household'")
    row = table.index[table["meter_point_id"] == homes["meter_point_id"].iloc[0]][100]
    table.loc[row, "kwh"] = "60.000"
    return table.to_csv(index=False).encode()


def test_a_months_own_book_comes_before_that_of_all(world):
    assert rules_of(world.zone, MONTH) == default_text()
    keep(world, STRICT)
    assert rules_of(world.zone, MONTH) == STRICT
    keep(world, default_text(), MONTH)
    keep(world, book_text(version="3"))
    assert rules_of(world.zone, MONTH) == default_text()
    assert rules_of(world.zone, "2026-08") == book_text(version="3")


def test_what_is_no_book_changes_nothing(world):
    with pytest.raises(InputError) as refused:
        keep(world, "version = 1")
    assert refused.value.reason == "rules.syntax"
    with pytest.raises(InputError):
        keep(world, STRICT, "2026-13")
    assert rules_of(world.zone, MONTH) == default_text()


def test_a_killed_month_is_completed_by_the_rules_that_it_was_fixed_with(world):
    world.save(with_a_spike(world))
    keep(world, STRICT)
    with pytest.raises(Killed):
        world.process(progress=kill_at("encrypt"))
    keep(world, default_text())
    with pytest.raises(ConflictError) as refused:
        keep(world, default_text(), MONTH)
    assert refused.value.reason == "conflict.month-rules"
    world.restart()
    assert load_files(world.zone, MONTH).rules == STRICT
    report = world.process()
    digest = sm3_hex(STRICT.encode())
    assert (report.rules, find_plan(world.zone, MONTH).rules) == (digest, digest)
    assert (report.billed_meters, report.excluded) == (19, {"held": 1})
    assert (report.problems["spike"], report.quarantined, report.estimated) == (1, 0, 0)
    exceptions = (world.folder / "months" / MONTH / "exceptions.csv").read_text()
    assert exceptions.splitlines()[1].endswith(",held")
