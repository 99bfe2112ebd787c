"""Inputs in the shape of public reports, from the file to the bill.

Each folder of `tests/data/cases` holds the files, where the shape was reported, and the exact total
of each meter point and month, computed apart from this project in exact decimals. The numbers in
the files are invented.
"""

from __future__ import annotations

import json
import os
from decimal import Decimal
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gridsecure.billing.bill_documents import bills_to_json
from gridsecure.billing.bills import compute_bills
from gridsecure.cli.bill import BillOrder, prepare_bills
from gridsecure.cli.bill_tariffs import TariffOptions
from gridsecure.cli.main import app

CASES = Path(__file__).parents[1] / "data" / "cases"
# What a notice on the error stream says, of those that are billed.
BILLED = {
    "blank-line-inside": "",
    "cim-meter-readings": "",
    "datadis-hour-24": "",
    "excel-semicolon-decimal-comma": "",
    "full-width-digits": "",
    "naive-doubled-hour": "",
    "scientific-notation": "",
    "wide-96-chinese-header": "",
    "cells-padded-with-blanks": "",
    "duplicate-estimated-and-actual": "superseded",
    "green-button-days": "",
    "header-capitals-blanks": "",
    "hourly-then-half-hourly": "60 minutes before and 30 from here (interval-change)",
    "id-trailing-blank": "",
    "iso-milliseconds-z": "",
    "nem12": "",
    "nem13": "",
    "nan-text": "1 lines or cells hold no reading",
    "one-empty-cell": "1 lines or cells hold no reading",
    "quality-letters": "",
    "register-one-face-missing": "(register-gap)",
    "register-rollover-five-digits": "the register of 5 digits started again from zero",
    "sgcc-theft-shape": "1 lines or cells hold no reading",
    "tabs": "",
    "two-meters-two-intervals": "",
    "urdb-residential-real-shape": "Pass --timezone",
    "urdb-us-offset-stamps": "Etc/GMT+4",
    "wide-48-fall-doubled": "both hours together, and divided equally (clock-change)",
    "wide-96-one-empty-cell": "1 lines or cells hold no reading",
    "wide-date-slashes": "",
}
# Reason, and what the refusal names.
REFUSED = {
    "sdge-preamble": ("readings.columns", "Meter Number is meant to be meter_point_id"),
    "annual-tiers-december-alone-no-ytd": ("bill.year-to-date", "--year-to-date"),
    "end-of-interval-stamps": ("readings.stamps", "--stamps"),
    "wide-24-register-faces": ("readings.cumulative", "--values"),
    "green-button-days-time-of-use": ("readings.daily", "one price"),
    "green-button-xml": ("readings.unit", "ReadingType"),
    "nem13-time-of-use": ("readings.daily", "one price"),
    "net-negative-hours": ("readings.negative", "export_kwh"),
    "register-export-beside": ("readings.columns", "export_kwh"),
    "tariff-begins-mid-month": ("tariff.not-valid", "2025-03-15"),
    "thirteen-seconds-past": ("readings.misaligned", "line 2, 2025-03-01 00:00"),
    "two-channels-same-day-wide": ("readings.conflict", "column channel"),
    "urdb-limit-binary-tail": ("urdb.decimals", "energyratestructure[0][0].max"),
    "urdb-numbers-as-text": ("urdb.number", "energyratestructure[0][0].max"),
    "xlsx": ("readings.malformed", "XLSX"),
}


def bill_case(name: str, *options: str) -> tuple[dict[str, Any], Result]:
    """Run a case's command in its folder: what is expected, and what came out."""
    expected = json.loads((CASES / name / "expected.json").read_text(encoding="utf-8"))
    before = Path.cwd()
    os.chdir(CASES / name)
    try:
        return expected, CliRunner().invoke(app, [*expected["command"], *options])
    finally:
        os.chdir(before)


def totals(result: Result) -> dict[str, dict[str, Decimal]]:
    assert result.exit_code == 0, result.stderr
    return {
        name: {bill["start"][:7]: Decimal(bill["total_exact"]) for bill in meter["periods"]}
        for name, meter in json.loads(result.stdout)["meters"].items()
    }


def wanted_totals(expected: dict[str, Any]) -> dict[str, dict[str, Decimal]]:
    return {
        name: {month: Decimal(total) for month, total in months.items()}
        for name, months in expected["total_exact"].items()
    }


def open_bills(command: list[str]) -> tuple[list[str], dict[str, dict[str, Decimal]]]:
    """What `gridsecure bill` says of a file and its exact totals, in plaintext.

    That ciphertext says the same to the last digit is for `test_one_way_to_a_bill`.
    """
    options = dict(zip(command[1::2], command[2::2], strict=True))
    order = BillOrder(Path(options["--readings"]), TariffOptions((options["--tariff"],)))
    said: list[str] = []
    first = prepare_bills(order, report=said.append)
    found: dict[str, dict[str, Decimal]] = {}
    for part, period in product(first.parts, first.periods):
        own = {"tariff": part.billed.tariff, "contracts": part.contracts, "period": period}
        bills = compute_bills(part.settle(period), **own)
        for name, meter in bills_to_json([bills])["meters"].items():
            total = Decimal(meter["periods"][0]["total_exact"])
            found.setdefault(name, {})[f"{period.start:%Y-%m}"] = total
    return said, found


@pytest.mark.parametrize("name", sorted(BILLED))
def test_a_file_of_the_field_is_billed_to_the_last_digit(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = json.loads((CASES / name / "expected.json").read_text(encoding="utf-8"))
    monkeypatch.chdir(CASES / name)
    said, found = open_bills(expected["command"])
    assert found == wanted_totals(expected)
    assert BILLED[name] in " ".join(said)


@pytest.mark.parametrize(
    ("name", "choice", "code"),
    [
        ("datadis-hour-24", (), "stamps-at-end"),
        ("end-of-interval-stamps", ("--stamps", "end"), "stamps-at-end"),
        ("wide-24-register-faces", ("--values", "register"), "register-values"),
    ],
)
def test_what_leaves_a_doubt_is_billed_as_the_reader_says(
    name: str, choice: tuple[str, ...], code: str
) -> None:
    expected, result = bill_case(name, *choice)
    assert totals(result) == wanted_totals(expected)
    for meter in json.loads(result.stdout)["meters"].values():
        for bill in meter["periods"]:
            assert code in {notice["code"] for notice in bill["notices"]}


def test_an_export_that_names_no_meter_point_is_billed_as_the_one_that_is_named(
    tmp_path: Path,
) -> None:
    hours = [f"2025-03-01T{at // 2:02}:{30 * (at % 2):02}:00+08:00" for at in range(48)]
    rows = [f"0.250000, {start}, {end}" for start, end in pairwise(hours)]
    path = tmp_path / "octopus.csv"
    path.write_text("\n".join([" Consumption (kwh), Start, End", *rows, ""]), encoding="utf-8")
    command = ["bill", "--readings", str(path), "--format", "json"]
    command += ["--tariff", str(CASES / "register-rollover-five-digits" / "tariff.toml")]
    refused = CliRunner().invoke(app, command)
    assert (refused.exit_code, "readings.meter-point" in refused.stderr) == (1, True)
    billed = totals(CliRunner().invoke(app, [*command, "--meter-point", "1900000000001"]))
    assert billed == {"1900000000001": {"2025-03": Decimal("0.25") * len(rows) * Decimal("0.5")}}


def test_where_a_meter_is_exchanged_its_last_interval_is_missing_and_said_so() -> None:
    """The reference bills the hour before the new meter's first face, which no face tells."""
    name = "register-meter-exchange"
    lines = (CASES / name / "readings.csv").read_text(encoding="utf-8").split("\n")[1:]
    faces = [Decimal(line.split(",")[2]) for line in lines if line]
    ordinary = [end - begin for begin, end in pairwise(faces) if end >= begin]
    assert len(ordinary) == len(faces) - 2
    _, result = bill_case(name)
    assert totals(result) == {"M1": {"2025-03": sum(ordinary) * Decimal("0.5")}}
    bill = json.loads(result.stdout)["meters"]["M1"]["periods"][0]
    assert bill["readings"]["missing"] == 1
    assert "register-exchange" in {one["values"].get("rule") for one in bill["notices"]}


def test_tiers_of_a_year_begin_with_what_is_given() -> None:
    name = "annual-tiers-december-alone-no-ytd"
    # The first tier ends at 3,120 kWh, the second at 4,800.
    lines = (CASES / name / "readings.csv").read_text(encoding="utf-8").split()[1:]
    used = sum(Decimal(line.split(",")[-1]) for line in lines if "," in line and ":" in line)
    for before in (Decimal(0), Decimal("4000.5")):
        result = bill_case(name, "--year-to-date", str(before))[1]
        lows = (Decimal(0), Decimal(3120), Decimal(4800))
        highs = (*lows[1:], Decimal(10**9))
        prices = (Decimal("0.5"), Decimal("0.55"), Decimal("0.8"))
        total = sum(
            price * max(min(before + used, high) - max(before, low), Decimal(0))
            for low, high, price in zip(lows, highs, prices, strict=True)
        )
        assert totals(result)["M1"] == {"2024-12": total}
        (bill,) = json.loads(result.stdout)["meters"]["M1"]["periods"]
        values = [n["values"] for n in bill["notices"] if n["code"] == "year-to-date-given"]
        assert values == [{"kwh": str(before)}]


def test_a_skipped_month_is_not_counted_as_nothing(tmp_path: Path) -> None:
    tariff = CASES / "annual-tiers-december-alone-no-ytd" / "tariff.toml"
    rows = [f"M1,2024-{month}-01 0{hour}:00,1" for month in ("01", "03") for hour in range(3)]
    readings = tmp_path / "readings.csv"
    readings.write_text("\n".join(["meter_point_id,start,kwh", *rows, ""]), encoding="utf-8")
    command = ["bill", "--tariff", str(tariff), "--readings", str(readings)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert "bill.year-to-date" in result.stderr
    assert "2024-03" in result.stderr
    text = readings.read_text(encoding="utf-8").replace("2024-03", "2025-01")
    readings.write_text(text, encoding="utf-8")
    assert CliRunner().invoke(app, command).exit_code == 0


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_file_of_the_field_is_refused_by_what_it_is(name: str) -> None:
    _, result = bill_case(name)
    reason, words = REFUSED[name]
    assert result.exit_code == 1
    assert reason in result.stderr
    assert words in result.stderr
    assert "What to do" in result.stderr
    assert "ReadingProblem(" not in result.output
    assert not result.stdout
