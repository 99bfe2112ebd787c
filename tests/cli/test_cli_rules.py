"""`gridsecure rules` against real services: the packaged book, a check, one of one's own."""

from __future__ import annotations

import httpx
import pytest
from typer.testing import CliRunner

from gridsecure.billing.rule_books import default_text
from gridsecure.cli.main import app as command
from tests.billing.rule_inputs import book_text
from tests.cli.gateway_desk import ADDRESSES, open_desk


@pytest.fixture
def desk(tmp_path, monkeypatch):
    services = open_desk(tmp_path, monkeypatch)
    yield tmp_path
    services.close()


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
