"""`gridsecure books` against real services: compare, apply, import, show."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from gridsecure.cli.main import app as command
from tests.cli.gateway_desk import ADDRESSES, open_desk


@pytest.fixture
def desk(tmp_path, monkeypatch):
    services = open_desk(tmp_path, monkeypatch)
    yield tmp_path
    services.close()


def run(desk, *arguments):
    given = ["books", *arguments, "--key", str(desk / "operator.key"), *ADDRESSES]
    return CliRunner(env={"COLUMNS": "200"}).invoke(command, given)


def test_books_are_compared_applied_and_shown(desk):
    file = desk / "books.csv"
    file.write_text("meter_point_id,account,tariff_id\nmp1,A-1,flat\nmp2,A-2,flat\n")
    told = run(desk, "diff", str(file), "--from", "2026-01-01")
    assert "2 lines: 2 added, 0 changed, 0 ended, 0 unchanged, 0 refused." in told.output
    digest = told.output.split("gridsecure books apply ")[1].split()[0]
    assert "The books are of revision 1: 2 added" in run(desk, "apply", digest).output
    file.write_text("meter_point_id,valid_from,account\nmp1,2026-07-15,A-3\n")
    made = json.loads(run(desk, "import", str(file), "--format", "json").stdout)
    assert (made["revision"], made["changed"], made["person"]) == (2, 1, "operator")
    shown = run(desk, "show", "mp1").output
    assert "2026-07-15" in shown
    assert "holder mp1~A-3" in shown
    assert "operator" in shown


def test_all_differences_are_shown_where_they_are_asked_for(desk):
    file = desk / "many.csv"
    lines = "".join(f"mp{number:02d},A{number}\n" for number in range(30))
    file.write_text(f"meter_point_id,account\n{lines}")
    few = run(desk, "diff", str(file), "--from", "2026-01-01").output
    assert ("mp19" in few, "mp20" in few, "10 more; --all shows them." in few) == (
        True,
        False,
        True,
    )
    every = run(desk, "diff", str(file), "--from", "2026-01-01", "--all").output
    assert ("mp29" in every, "more;" in every) == (True, False)


def test_lines_that_are_probably_not_meant_so_are_noted_and_taken(desk):
    file = desk / "books.csv"
    file.write_text(
        "meter_point_id,valid_from,account,tariff_id\n"
        "mp1,2026-01-01,,shenzhen-residential-tiers\n"
        "mp2,2026-01-01,A-2,no-such\nmp3,2026-01-01,A-3,no-such\n"
    )
    told = " ".join(run(desk, "diff", str(file)).output.split())
    assert "note, line 3 and 1 more (mp2): No tariff 'no-such' is in the catalogue" in told
    assert ("shenzhen" in told.split("note, ")[1], "names-holder" in told) == (False, False)
    made = run(desk, "import", str(file))
    assert (made.exit_code, "[unknown-tariff]" in made.stderr) == (0, True)
    # Somebody moves in where the books have no number of who was there before.
    file.write_text("meter_point_id,valid_from,account\nmp1,2026-07-15,A-9\n")
    told = " ".join(run(desk, "diff", str(file)).output.split())
    assert "note, line 2 (mp1): The books have no number of the account" in told
    file.write_text(
        "meter_point_id,valid_from,valid_to,account\nmp1,,2026-07-15,\nmp1,2026-07-15,,A-9\n"
    )
    assert "note, " not in run(desk, "diff", str(file)).output
    # A number from the holder's first day on names the holder, and nobody else.
    file.write_text("meter_point_id,valid_from,account\nmp1,2026-01-01,A-9\n")
    assert "note, " not in run(desk, "diff", str(file)).output


def test_a_refused_line_is_printed_and_nothing_applied(desk):
    file = desk / "books.csv"
    file.write_text("meter_point_id,valid_from\nmp1,2026-01-01\nmp2,soon\n")
    refused = run(desk, "import", str(file))
    assert refused.exit_code == 1
    assert "line 3: valid_from is not a date" in refused.output
    assert "books.refused-lines" in refused.output
    missing = run(desk, "import", str(desk / "none.csv"))
    assert (missing.exit_code, "books.file" in missing.output) == (1, True)
    unknown = run(desk, "show", "mp1")
    assert (unknown.exit_code, "not-found.meter-point" in unknown.output) == (1, True)
