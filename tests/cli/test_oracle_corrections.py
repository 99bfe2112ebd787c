"""Statements of corrections against independently computed bills: NREL PySAM's, on real loads.

A home is billed wrongly first, by half a month of lost readings or by another rate, and then
corrected to what the oracle billed. What its statement shows is compared with the oracle, and with
the difference of two of its bills.
"""

from __future__ import annotations

import html
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gridsecure.cli.main import app
from tests.cli.test_oracle_cases import CASES, RATES, TOLERANCE, write_inputs

CENT = Decimal("0.01")
JANUARY = 0


def command(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == 0, result.output + result.stderr
    return result.stdout


def corrected(folder: Path, *arguments: object) -> tuple[dict[str, Any], str]:
    """The correction of January as a document, and the text of its statement."""
    order = folder / "rate.json", folder / "first.csv"
    told = command("rebill", "--tariff", order[0], "--readings", order[1], *arguments,
                   "--format", "json")  # fmt: skip
    (folder / "bills.json").write_text(told, encoding="utf-8")
    shown = folder / "statements"
    command("statement", "--bill", folder / "bills.json", "--language", "en", "--output", shown)
    (page,) = shown.glob("*-v2-en.html")
    text = html.unescape(re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8")))
    bill = next(one for one in json.loads(told)["meters"]["home"]["periods"] if "cancels" in one)
    return bill, re.sub(r"\s+", " ", text.replace(",", ""))


def check_statement(bill: dict[str, Any], text: str, *, case: str) -> Decimal:
    """The correction is the oracle's bill to the cent, as it is shown; return its total."""
    expected = CASES[case]["expected"]["total"][JANUARY]
    assert abs(Decimal(bill["total_exact"]) - expected) <= TOLERANCE
    total, before = Decimal(bill["total"]), Decimal(bill["cancels"]["total"])
    assert abs(total - expected) <= CENT / 2 * len(bill["lines"])
    difference = Decimal(bill["adjustment"]["total"])
    assert difference == total - before
    for amount in (total, before, difference):
        assert f"{abs(amount):.2f}" in text, (amount, text)
    return total


@pytest.mark.parametrize("case", ["C01", "C02"])
def test_lost_readings_that_come_late_make_the_bill_of_the_oracle(case, tmp_path):
    whole = write_inputs(CASES[case], tmp_path, months=1).readings.read_text().splitlines()
    lost = [line for line in whole if "2018-01-10 00:00" <= line.split(",")[1] < "2018-01-25 00:00"]
    (tmp_path / "first.csv").write_text("\n".join(one for one in whole if one not in lost))
    (tmp_path / "late.csv").write_text("\n".join([whole[0], *lost]))
    bill, text = corrected(tmp_path, "--corrected", tmp_path / "late.csv")
    total = check_statement(bill, text, case=case)
    assert total > Decimal(bill["cancels"]["total"])


def test_a_rate_put_right_is_the_difference_of_two_bills_of_the_oracle(tmp_path):
    first = write_inputs(CASES["C01"], tmp_path, months=1).readings
    first.rename(tmp_path / "first.csv")
    (tmp_path / "right.json").write_text(json.dumps(RATES["C02"]), encoding="utf-8")
    bill, text = corrected(tmp_path, "--corrected-tariff", tmp_path / "right.json")
    check_statement(bill, text, case="C02")
    before, after = (CASES[case]["expected"]["total"][JANUARY] for case in ("C01", "C02"))
    lines = len(bill["lines"]) + len(bill["adjustment"]["lines"])
    assert abs(Decimal(bill["adjustment"]["total"]) - (after - before)) <= CENT / 2 * lines
