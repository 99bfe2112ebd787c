"""`gridsecure rules` against real services: the packaged book, a check, one of one's own."""

from __future__ import annotations

import json

import httpx
import pytest
from typer.testing import CliRunner

from gridsecure.billing.rule_books import default_text
from gridsecure.cli.main import app as command
from gridsecure.errors import StorageError
from gridsecure_api import gateway_trials
from tests.billing.rule_inputs import book_text
from tests.cli.gateway_desk import ADDRESSES, open_desk
from tests.gateway.gateway_world import MONTH


@pytest.fixture
def services(tmp_path, monkeypatch):
    made = open_desk(tmp_path, monkeypatch)
    yield made
    made.close()


@pytest.fixture
def desk(services, tmp_path):
    return tmp_path


def run(*arguments):
    return CliRunner(env={"COLUMNS": "200"}).invoke(command, ["rules", *arguments])


def test_rules_are_checked_handed_in_and_shown(desk):
    assert run("default").stdout == default_text()
    book = desk / "rules.toml"
    book.write_text(book_text(version="2", spike={"factor": 25}))
    assert "Rule book 2 has every rule" in run("check", str(book)).output
    given = ("--key", str(desk / "operator.key"), *ADDRESSES)
    put = run("put", str(book), *given, "--month", "2026-03")
    assert "Rule book 2 holds for 2026-03" in put.output
    assert run("show", *given, "--month", "2026-03").stdout == book.read_text()
    assert run("show", *given).stdout == default_text()


def test_a_bad_book_is_explained_before_anybody_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(httpx, "Client", None)
    book = tmp_path / "rules.toml"
    book.write_text(default_text().replace("factor = 30", "factor = 0"))
    for name in ("check", "put"):
        given = ("--key", str(book), *ADDRESSES) if name == "put" else ()
        refused = run(name, str(book), *given)
        assert (refused.exit_code, "rules.limit" in refused.output) == (1, True)
    missing = run("check", str(tmp_path / "none.toml"))
    assert (missing.exit_code, "rules.file" in missing.output) == (1, True)


def test_rules_are_tried_on_a_month_and_the_difference_is_shown(services, desk):
    services.put_files()
    book = desk / "rules.toml"
    book.write_text(book_text(version="2", spike={"factor": 2, "floor_w": 0}))
    given = ("--key", str(desk / "operator.key"), *ADDRESSES, "--month", MONTH)
    tried = run("try", str(book), *given, "--format", "json")
    assert tried.exit_code == 0, tried.output
    found = json.loads(run("compare", *given, "--format", "json").stdout)
    assert found == json.loads(tried.stdout)
    counts = {one["rule"]: (one["before"], one["after"]) for one in found["problems"]}
    assert counts["spike"][0] == 0 < counts["spike"][1]
    shown = run("compare", *given).output
    assert f"+{counts['spike'][1]}" in shown
    assert run("try", *given).exit_code == 0  # nothing is at work any more
    none = run("compare", *given[:-1], "2026-06")
    assert (none.exit_code, "not-found.rule-trial" in none.output) == (1, True)


def test_a_trial_that_fails_says_why(services, desk, monkeypatch):
    services.put_files()

    def fail(*_given: object, **_more: object) -> None:
        raise StorageError("The disk is full.", remedy="Free disk space.")

    monkeypatch.setattr(gateway_trials, "try_rules", fail)
    refused = run("try", "--key", str(desk / "operator.key"), *ADDRESSES, "--month", MONTH)
    assert (refused.exit_code, "storage.failed" in refused.output) == (1, True), refused.output
