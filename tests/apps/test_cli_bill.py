"""`gridsecure bill`: the contract for scripts, and what a user sees when something is wrong."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from apps.cli.main import app
from gridsecure.billing.bill_documents import bills_to_json
from gridsecure.billing.bills import bill_readings
from gridsecure.billing.contracts import load_contracts
from gridsecure.billing.tariffs import catalogue_tariffs, load_tariff
from gridsecure.gateway.formats import read_readings

CATALOGUE = catalogue_tariffs()
EDGES = """meter_point_id,start,kwh
at-tier-1,2026-07-01 00:00,259.999
at-tier-1,2026-07-01 01:00,0.001
over-tier-1,2026-07-01 00:00,260
over-tier-1,2026-07-01 01:00,0.001
over-tier-2,2026-07-01 00:00,600
over-tier-2,2026-07-01 01:00,0.001
two-months,2026-07-31 23:00,300
two-months,2026-08-01 00:00,1.5
"""
CONTRACTS = """meter_point_id,zone,customer_class,tariff_id,household_quota_kwh,contracted_kva
at-tier-1,futian,household,,0,0
over-tier-1,futian,household,,100,0
over-tier-2,futian,household,,0,0
two-months,futian,household,,0,0
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "readings.csv").write_text(EDGES)
    (tmp_path / "contracts.csv").write_text(CONTRACTS)
    return tmp_path


def bill(files: Path, *arguments: str, tariff: str = "shenzhen-residential-tiers") -> object:
    command = [
        "bill",
        "--tariff",
        str(CATALOGUE[tariff]),
        "--readings",
        str(files / "readings.csv"),
    ]
    return CliRunner().invoke(app, [*command, *arguments])


@pytest.mark.parametrize(
    "tariff", ["shenzhen-residential-tiers", "shenzhen-residential-peak-valley"]
)
def test_json_on_ciphertext_equals_the_plaintext_oracle(files: Path, tariff: str) -> None:
    contract = files / "contracts.csv"
    result = bill(files, "--contract", str(contract), "--format", "json", tariff=tariff)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)

    file = read_readings(files / "readings.csv")
    oracle = bill_readings(
        file.readings,
        tariff=load_tariff(CATALOGUE[tariff]),
        contracts=load_contracts(contract),
        interval=file.interval,
    )
    assert document == bills_to_json(oracle, tariff=load_tariff(CATALOGUE[tariff]))
    july, august = document["meters"]["two-months"]["periods"]
    assert (july["start"][:7], august["start"][:7]) == ("2026-07", "2026-08")


def test_one_meter_and_the_exact_line(files: Path) -> None:
    result = bill(files, "--meter", "over-tier-2", "--format", "json")
    (period,) = json.loads(result.stdout)["meters"]["over-tier-2"]["periods"]
    last = period["lines"][-1]
    assert last["quantity"] == "0.001"
    assert Decimal(last["amount_exact"]) == Decimal("0.0003")
    assert period["total"] == "414.72"


def test_table_for_people(files: Path) -> None:
    result = bill(files, "--meter", "at-tier-1")
    assert "172.35" in result.stdout
    assert "billed as read" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--meter", "nobody"], "not-found"),
        (["--contract", "missing.csv"], "contract.file"),
    ],
)
def test_refusals_have_a_reason_and_a_way_out(
    files: Path, arguments: list[str], reason: str
) -> None:
    result = bill(files, *arguments)
    assert result.exit_code == 1
    assert reason in result.stderr
    assert "What to do" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("meter_point_id,start,kwh\nA,2026-07-01 00:00,1.2345\n", "readings.energy"),
        ("meter_point_id,start,kwh,colour\nA,2026-07-01 00:00,1,red\n", "readings.columns"),
        ("meter_point_id,start,kwh,unit\nA,2026-07-01 00:00,1,MWh\n", "readings.unit"),
        ("", "readings.empty"),
        ('meter_point_id,start,kwh\nA,"2026-07-01 00:00,1\n', "readings.malformed"),
    ],
)
def test_bad_files_are_refused_without_their_values(files: Path, content: str, reason: str) -> None:
    (files / "readings.csv").write_text(content)
    result = bill(files)
    assert result.exit_code == 1
    assert reason in result.stderr
    assert "1.2345" not in result.output
    assert "Traceback" not in result.output


def test_broken_tariff_names_the_row(files: Path, tmp_path: Path) -> None:
    text = CATALOGUE["shenzhen-residential-tiers"].read_text(encoding="utf-8")
    broken = tmp_path / "broken.toml"
    broken.write_text(text.replace("upper_limit_kwh = 600", "upper_limit_kwh = 100"))
    command = ["bill", "--tariff", str(broken), "--readings", str(files / "readings.csv")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert "tiers[" in result.stderr


def test_repeated_lines_count_once_and_contradictions_are_refused(files: Path) -> None:
    (files / "readings.csv").write_text(EDGES + EDGES.splitlines()[1] + "\n")
    result = bill(files, "--meter", "at-tier-1", "--format", "json")
    assert json.loads(result.stdout)["meters"]["at-tier-1"]["periods"][0]["total"] == "172.35"
    assert "1 repeated lines" in result.stderr
    (files / "readings.csv").write_text(EDGES + "at-tier-1,2026-07-01 00:00,5\n")
    result = bill(files)
    assert result.exit_code == 1
    assert "What to do" in result.stderr
    assert "259.999" not in result.output


def test_a_file_from_the_future_is_a_what_if_and_says_so(files: Path) -> None:
    (files / "readings.csv").write_text(EDGES.replace("2026", "2096"))
    result = bill(files, "--meter", "at-tier-1")
    assert result.exit_code == 0, result.stderr
    assert "in the future" in result.stderr


def test_the_table_marks_what_nobody_confirmed(files: Path) -> None:
    result = bill(files, "--meter", "at-tier-1", tariff="shenzhen-commercial-four-period")
    assert result.exit_code == 0, result.stderr
    assert "*1 capacity" in result.stdout
    assert "*1 UNCONFIRMED: Basic fee by transformer capacity" in result.stdout
    sure = bill(files, "--meter", "at-tier-1")
    assert "UNCONFIRMED" not in sure.stdout
