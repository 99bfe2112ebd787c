"""`gridsecure correction` against real services: order, approve by another person, reject."""

from __future__ import annotations

import json
from itertools import islice

import pytest
from typer.testing import CliRunner

from gridsecure.billing.rule_books import default_text
from gridsecure.cli.main import app as command
from gridsecure.gateway import preparation
from tests.apps.test_api_readings import REAL_PACKING
from tests.cli.gateway_desk import ADDRESSES, open_desk
from tests.gateway.gateway_world import MONTH


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with two operators' keys, beside services that billed a month."""
    folder = tmp_path_factory.mktemp("desk")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            preparation, "pack_energies", lambda *a, **k: islice(REAL_PACKING(*a, **k), 3)
        )
        services = open_desk(folder, patched, people=("ann", "bob"))
        services.put_files()
        assert services.processed()["state"] == "done"
        names = services.world.simulated.meter_point_ids
        sizes = {"much": 190, "more": 191, "little": 49}
        for name, (file, kwh) in zip(names[:3], sizes.items(), strict=True):
            text = f"meter_point_id,start,kwh\n{name},2026-07-01 00:00,{kwh}\n"
            (folder / f"{file}.csv").write_text(text)
        contracts = services.world.contracts()
        shop = contracts.loc[contracts["customer_class"] != "household", "meter_point_id"].iloc[0]
        text = f"meter_point_id,valid_from,contracted_kva\n{shop},{MONTH}-01,77\n"
        (folder / "right.csv").write_text(text)
        yield folder
        services.close()


def run(desk, person, *arguments):
    own = ("--key", str(desk / f"{person}.key"), *ADDRESSES)
    done = CliRunner(env={"COLUMNS": "240"}).invoke(command, ["correction", *arguments, *own])
    return done.exit_code, done.output


def start(desk, file, *more):
    why = ("--reason", "meter exchanged")
    return run(desk, "ann", "start", MONTH, "--readings", str(desk / file), *why, *more)


def test_a_large_order_is_carried_out_once_another_operator_approved_it(desk):
    code, told = start(desk, "much.csv")
    assert (code, "pending" in told) == (0, True), told
    number = told.partition("Order ")[2].partition(" ")[0]
    assert f"gridsecure correction approve {number}" in told
    code, told = run(desk, "ann", "approve", number)
    assert (code, "approval.same-person" in told) == (1, True), told
    code, told = run(desk, "bob", "orders", "--month", MONTH, "--state", "pending")
    assert "meter exchanged" in told, told
    code, told = run(desk, "bob", "approve", number, "--reason", "seen", "--format", "json")
    assert (code, json.loads(told)["state"]) == (0, "done")
    code, told = run(desk, "bob", "orders", "--format", "json")
    found = next(one for one in json.loads(told)["orders"] if one["id"] == int(number))
    assert (found["state"], found["person"], found["approver"]) == ("applied", "ann", "bob")


def test_a_rejected_order_changes_nothing(desk):
    _, told = start(desk, "more.csv", "--format", "json")
    number = str(json.loads(told)["order"])
    code, told = run(desk, "bob", "reject", number, "--reason", "wrong meter")
    assert (code, "rejected" in told, "wrong meter" in told) == (0, True, True), told
    code, told = run(desk, "bob", "approve", number)
    assert (code, "conflict.approval" in told) == (1, True), told


def test_a_small_order_is_carried_out_at_once_and_says_why(desk):
    code, told = start(desk, "little.csv", "--format", "json")
    assert (code, json.loads(told)["state"]) == (0, "done"), told
    unsaid = run(desk, "ann", "start", MONTH, "--readings", str(desk / "little.csv"))
    assert (unsaid[0], "approval.reason" in unsaid[1]) == (1, True), unsaid


def test_corrected_books_wait_for_another_operator_and_say_how_many_they_differ_in(desk):
    given = ("start", MONTH, "--books", "--reason", "another transformer")
    code, told = run(desk, "ann", *given)
    assert (code, "correction.same-books" in told) == (1, True), told
    own = ("--key", str(desk / "ann.key"), *ADDRESSES)
    done = CliRunner().invoke(command, ["books", "import", str(desk / "right.csv"), *own])
    assert done.exit_code == 0, done.output
    code, told = run(desk, "ann", *given, "--format", "json")
    assert (code, json.loads(told)["state"]) == (0, "pending"), told
    number = str(json.loads(told)["order"])
    code, told = run(desk, "bob", "orders", "--state", "pending", "--format", "json")
    (waits,) = json.loads(told)["orders"]
    assert (waits["meter_points"], waits["intervals"]) == (1, 0)
    assert waits["books"] > 0
    code, told = run(desk, "bob", "approve", number, "--format", "json")
    assert (code, json.loads(told)["report"]["corrected"]) == (0, 1), told


def test_a_corrected_rule_book_waits_for_another_operator(desk):
    book = desk / "book.toml"
    book.write_text(default_text().replace("factor = 30", "factor = 29"))
    given = ("start", MONTH, "--rules", str(book), "--reason", "spikes were missed")
    code, told = run(desk, "ann", *given, "--format", "json")
    assert (code, json.loads(told)["state"]) == (0, "pending"), told
    number = str(json.loads(told)["order"])
    code, told = run(desk, "bob", "reject", number, "--reason", "as it was")
    assert (code, "rejected" in told) == (0, True), told
    book.write_text("no = book")
    code, told = run(desk, "ann", *given)
    assert (code, "rules." in told) == (1, True), told
