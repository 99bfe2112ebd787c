"""The oracle bills what readings say; against its digests, whatever differs is found."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.billing.bill_documents import bills_to_json
from gridsecure.billing.bills import bill_readings
from gridsecure.errors import InvalidMessageError, NotFoundError
from gridsecure.gateway.month_files import load_files
from gridsecure.gateway.reconciliation import compute_expected_bills
from gridsecure.statement_checks import MAX_NAMED, StatementCheck, bill_digests, check_statements
from gridsecure.tariffs.tariff import catalogue_tariffs, load_tariff
from tests.gateway.gateway_world import MONTH, GatewayWorld, finished_month
from tests.grid_simulator import HOUR


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = GatewayWorld.after(finished_month(), tmp_path_factory.mktemp("world"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def expected(world):
    return compute_expected_bills(world.zone, load_files(world.zone, MONTH))


def checked(expected, *, statements) -> StatementCheck:
    return check_statements(bill_digests(expected), statements=statements)


def documents(bills):
    return [
        json.dumps({"roster_id": name, "meters": meters}).encode() for name, meters in bills.items()
    ]


def test_the_oracle_bills_by_settlement_pseudonym_what_the_readings_say(world, expected):
    pseudonyms = world.settlement_names()
    by_pseudonym = {p: bill for meters in expected.values() for p, bill in meters.items()}
    readings = world.simulated.readings()
    contracts = world.contracts()
    for tariff_id in set(contracts["tariff_id"]):
        names = contracts.loc[contracts["tariff_id"] == tariff_id, "meter_point_id"]
        tariff = load_tariff(catalogue_tariffs()[tariff_id])
        bills = bill_readings(
            readings[readings["meter_point_id"].isin(names)],
            tariff=tariff,
            contracts=contracts,
            interval=HOUR,
        )
        for name, bill in bills_to_json(bills, tariff=tariff)["meters"].items():
            assert by_pseudonym.pop(pseudonyms[name]) == bill
    assert by_pseudonym == {}


def test_equal_statements_checked(expected):
    found = checked(expected, statements=documents(expected))
    assert (found.bills, found.mismatches, found.differing) == (20, 0, ())
    assert found.lines == sum(
        len(bill["periods"][0]["lines"]) for meters in expected.values() for bill in meters.values()
    )


FIELDS = ("quantity", "rate", "amount_exact", "amount", "charge", "tou_period", "tier")


@given(st.data())
def test_any_changed_field_of_any_bill_is_found(expected, data):
    changed = copy.deepcopy(expected)
    roster = data.draw(st.sampled_from(sorted(changed)))
    name = data.draw(st.sampled_from(sorted(changed[roster])))
    period = changed[roster][name]["periods"][0]
    field = data.draw(st.sampled_from([*FIELDS, "total_exact", "total", "start", "end"]))
    place = period if field not in FIELDS else data.draw(st.sampled_from(period["lines"]))
    place[field] = f"{place[field]}1"
    found = checked(expected, statements=documents(changed))
    assert (found.bills, found.mismatches, found.differing) == (20, 1, (name,))


def test_missing_statements_and_rosters_are_mismatches(expected):
    first = sorted(expected)[0]
    changed = copy.deepcopy(expected)
    name = sorted(changed[first])[0]
    del changed[first][name]
    assert checked(expected, statements=documents(changed)).differing == (name,)
    del changed[first]
    assert checked(expected, statements=documents(changed)).mismatches == len(expected[first])
    nothing = checked(expected, statements=[])
    assert (nothing.mismatches, nothing.bills) == (20, 0)
    assert len(nothing.differing) == min(20, MAX_NAMED)


def test_statements_that_no_gateway_expects_are_mismatches(expected):
    changed = copy.deepcopy(expected) | {"unknown": {"name": {}}}
    found = checked(expected, statements=documents(changed))
    assert (found.bills, found.mismatches, found.differing) == (21, 1, ("name",))


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 9999,
        b'{"roster_id": 1, "meters": {}}',
        b'{"meters": {}}',
        b"\xff",
        b'{"roster_id": "r", "meters": []}',
        b'{"roster_id": "r", "meters": {"name": 1}}',
        b'{"roster_id": "r", "meters": {}, "more": 1}',
        b'{"roster_id": "r", "meters": {"name": {"periods": [{"version": "2"}]}}}',
    ],
)
def test_what_is_no_statement_is_refused(expected, document):
    with pytest.raises(InvalidMessageError) as refusal:
        checked(expected, statements=[document])
    assert refusal.value.reason == "message.statement"


def test_a_roster_given_twice_is_refused(expected):
    with pytest.raises(InvalidMessageError):
        checked(expected, statements=[*documents(expected), documents(expected)[0]])


def test_versions_of_one_roster_are_compared_each_with_its_own(expected):
    roster = sorted(expected)[0]
    name, bill = min(expected[roster].items())

    def version(number: int) -> dict:
        return {roster: {name: {"periods": [bill["periods"][0] | {"version": number}]}}}

    digests = bill_digests(expected, version(2), version(3))
    statements = [*documents(expected), *documents(version(3)), *documents(version(2))]
    found = check_statements(digests, statements=statements)
    assert (found.bills, found.corrections, found.mismatches) == (22, 2, 0)
    unexpected = check_statements(bill_digests(expected, version(2)), statements=statements)
    assert (unexpected.mismatches, unexpected.differing) == (1, (name,))
    with pytest.raises(InvalidMessageError):
        check_statements(digests, statements=[*statements, *documents(version(2))])


def test_a_month_that_was_not_processed_has_no_oracle(tmp_path):
    world = GatewayWorld(tmp_path)
    world.save()
    with pytest.raises(NotFoundError) as refusal:
        compute_expected_bills(world.zone, load_files(world.zone, MONTH))
    assert refusal.value.reason == "month.not-processed"
    world.close()
