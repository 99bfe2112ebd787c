"""`gridsecure bill`: whose tariff a meter point is billed by, and on whose clock."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gridsecure.cli.main import app
from gridsecure.statements.document import Addressee, make_statement
from gridsecure.statements.wording import Language

SAMPLE = Path(__file__).parents[2] / "data" / "synthetic"
# The same loads through each tariff's formulas in exact decimals, outside this project's code.
FACTORY, FACTORY_TOTAL = "440300000000", "37331.02"
TIERS = "shenzhen-residential-tiers"
FOUR_PERIOD = "shenzhen-commercial-four-period"
OWN = """tariff_id = "own"
version = "1"
name_en = "Own"
name_zh = "自定"
city = "Test"
currency = "CNY"
timezone = "Asia/Shanghai"
valid_from = 2020-01-01
sources = [{ id = "s", title = "Invented", confidence = "unconfirmed" }]
rates = [{ charge = "energy", rate = "0.5", unit = "CNY/kWh", source = "s" }]
"""
# 14:00 to 19:00 on weekdays costs 0.22 USD, all else 0.08.
RATE: dict[str, Any] = {
    "label": "field",
    "energyratestructure": [[{"rate": 0.08}], [{"rate": 0.22}]],
    "energyweekdayschedule": [[0] * 14 + [1] * 5 + [0] * 5] * 12,
    "energyweekendschedule": [[0] * 24] * 12,
}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments), "--format", "json"])


def bill(*arguments: object) -> Result:
    return run("bill", "--readings", SAMPLE / "readings.csv", *arguments)


def periods(result: Result) -> dict[str, list[dict[str, Any]]]:
    assert result.exit_code == 0, result.output
    return {name: found["periods"] for name, found in json.loads(result.stdout)["meters"].items()}


def refused(result: Result, reason: str) -> str:
    assert result.exit_code == 1
    assert result.stderr.find(reason) >= 0, result.stderr
    assert "What to do" in result.stderr
    return result.stderr


def test_each_meter_point_is_billed_by_its_contracts_tariff() -> None:
    home = "440300000011"
    contract = ("--contract", SAMPLE / "contracts.csv", "--meter", FACTORY, "--meter", home)
    found = periods(bill(*contract))
    assert {name: bills[0]["tariff"]["id"] for name, bills in found.items()} == {
        FACTORY: FOUR_PERIOD,
        home: "shenzhen-residential-peak-valley",
    }
    assert found[FACTORY][0]["total"] == FACTORY_TOTAL
    assert "what_if" not in found[FACTORY][0]


def test_another_tariff_than_the_contracts_is_refused() -> None:
    contract = ("--contract", SAMPLE / "contracts.csv", "--meter", FACTORY)
    message = refused(bill(*contract, "--tariff", TIERS), "bill.other-tariff")
    assert FACTORY in message
    assert "--what-if" in message


def test_a_what_if_says_so_on_the_bill() -> None:
    contract = ("--contract", SAMPLE / "contracts.csv", "--meter", FACTORY)
    ((billed,),) = periods(bill(*contract, "--tariff", TIERS, "--what-if")).values()
    assert billed["tariff"]["id"] == TIERS
    assert billed["what_if"] == {"contract_tariff": FOUR_PERIOD}
    assert billed["notices"][0]["code"] == "what-if"
    english = make_statement(billed, addressee=Addressee(FACTORY), language=Language.ENGLISH)
    assert english.warning.startswith(
        f"A what-if by tariff {TIERS}; the contract names {FOUR_PERIOD}"
    )
    chinese = make_statement(billed, addressee=Addressee(FACTORY), language=Language.CHINESE)
    assert chinese.warning.startswith("试算，不是账单")


def test_a_what_if_is_of_one_tariff_and_contracts() -> None:
    refused(bill("--tariff", TIERS, "--what-if"), "bill.what-if")


def own_files(folder: Path, *rows: str) -> tuple[object, ...]:
    (folder / "own.toml").write_text(OWN, encoding="utf-8")
    lines = [f"M{n},2025-03-01 {hour:02d}:00,1.5" for n in (1, 2) for hour in range(4)]
    text = "\n".join(["meter_point_id,start,kwh", *lines])
    (folder / "readings.csv").write_text(f"{text}\n", encoding="utf-8")
    table = "\n".join(["meter_point_id,tariff_id", *rows])
    (folder / "contracts.csv").write_text(f"{table}\n", encoding="utf-8")
    files = ("--readings", folder / "readings.csv", "--contract", folder / "contracts.csv")
    return ("bill", *files)


def test_files_and_catalogue_ids_are_given_together(tmp_path: Path) -> None:
    command = own_files(tmp_path, "M1,own", "M2,flat")
    given = ("--tariff", tmp_path / "own.toml", "--tariff", "flat")
    found = periods(run(*command, *given))
    assert found["M1"][0]["total_exact"] == "3"
    assert [found[name][0]["tariff"]["id"] for name in ("M1", "M2")] == ["own", "flat"]


def test_a_contract_without_tariff_takes_the_only_one_given(tmp_path: Path) -> None:
    command = own_files(tmp_path, "M1,", "M2,own")
    found = periods(run(*command, "--tariff", tmp_path / "own.toml"))
    assert {bills[0]["total_exact"] for bills in found.values()} == {"3"}
    assert "M1" in refused(run(*command, "--tariff", "flat", "--tariff", TIERS), "bill.no-tariff")


def test_a_tariff_nobody_knows_is_refused_by_name(tmp_path: Path) -> None:
    command = own_files(tmp_path, "M1,flat", "M2,own")
    message = refused(run(*command), "bill.other-tariff")
    assert "'own'" in message
    assert "M2" in message
    refused(run(*own_files(tmp_path, "M1,own", "M2,own")), "bill.no-tariff")


def test_rebill_bills_by_contract_and_corrects_one_tariff(tmp_path: Path) -> None:
    command = own_files(tmp_path, "M1,own", "M2,flat")[1:]
    dearer = tmp_path / "dearer.toml"
    dearer.write_text(OWN.replace('"0.5"', '"0.75"'), encoding="utf-8")
    given = ("--tariff", tmp_path / "own.toml", "--tariff", "flat", "--corrected-tariff", dearer)
    found = periods(run("rebill", *command, *given))
    assert [bill["total_exact"] for bill in found["M1"]] == ["3", "4.5"]
    assert len(found["M2"]) == 1
    other = ("--tariff", tmp_path / "own.toml", "--tariff", "flat", "--corrected-tariff", TIERS)
    refused(run("rebill", *command, *other), "correction.other-tariff")


def urdb_files(folder: Path, *starts: str) -> tuple[object, ...]:
    (folder / "rate.json").write_text(json.dumps(RATE), encoding="utf-8")
    text = "\n".join(["meter_point_id,start,kwh", *(f"M1,{start},1" for start in starts)])
    (folder / "readings.csv").write_text(f"{text}\n", encoding="utf-8")
    return ("bill", "--tariff", folder / "rate.json", "--readings", folder / "readings.csv")


def total(result: Result) -> tuple[Decimal, str]:
    ((billed,),) = periods(result).values()
    return Decimal(billed["total_exact"]), billed["start"]


def test_a_rate_is_billed_on_the_readings_offset(tmp_path: Path) -> None:
    # A Tuesday; 14:00 and 15:00 local are peak, which no other zone's clock shows then.
    starts = ("2024-07-30T14:00:00-04:00", "2024-07-30T15:00:00-04:00")
    result = run(*urdb_files(tmp_path, *starts))
    assert total(result) == (Decimal("0.44"), "2024-07-01T00:00:00-04:00")
    assert "Etc/GMT+4" in result.stderr


def test_a_rate_is_billed_on_the_zone_that_is_passed(tmp_path: Path) -> None:
    starts = ("2024-07-30T18:00:00Z", "2024-07-30T19:00:00Z")
    command = urdb_files(tmp_path, *starts)
    assert "--timezone America/New_York" in refused(run(*command), "urdb.timezone")
    zone = ("--timezone", "America/New_York")
    assert total(run(*command, *zone)) == (Decimal("0.44"), "2024-07-01T00:00:00-04:00")


def test_a_rate_is_billed_over_a_clock_change_where_the_zone_is_passed(tmp_path: Path) -> None:
    starts = (*(f"2024-11-03T01:00:00-0{n}:00" for n in (4, 5)), "2024-11-04T14:00:00-05:00")
    command = urdb_files(tmp_path, *starts)
    refused(run(*command), "urdb.timezone")
    found, start = total(run(*command, "--timezone", "America/New_York"))
    assert (found, start) == (Decimal("0.38"), "2024-11-01T00:00:00-04:00")


def test_a_rate_is_billed_on_the_clock_of_local_times_and_says_so(tmp_path: Path) -> None:
    result = run(*urdb_files(tmp_path, "2024-07-30 14:00", "2024-07-30 15:00"))
    assert total(result)[0] == Decimal("0.44")
    assert "Pass --timezone" in result.stderr


def test_a_rate_that_is_no_tariff_file_is_sent_to_the_import(tmp_path: Path) -> None:
    urdb_files(tmp_path, "2024-07-30 14:00", "2024-07-30 15:00")
    explain = ("plan", "explain", "--tariff", tmp_path / "rate.json")
    message = refused(CliRunner().invoke(app, [*map(str, explain)]), "tariff.syntax")
    assert "gridsecure tariff import --urdb" in message


@pytest.mark.parametrize("zone", ["Mars/Olympus", "America/New_York"])
def test_a_zone_is_not_passed_against_a_tariffs_own(tmp_path: Path, zone: str) -> None:
    command = own_files(tmp_path, "M1,own", "M2,own")
    refused(run(*command, "--tariff", tmp_path / "own.toml", "--timezone", zone), "timezone")
