"""`gridsecure rebill`: the issued bill, and beside it what cancels and replaces it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gridsecure.billing.bill_documents import bills_to_json
from gridsecure.billing.bills import bill_readings
from gridsecure.billing.contracts import load_contracts
from gridsecure.billing.corrections import correct_bills, corrections_to_json
from gridsecure.billing.reading_versions import overlay_readings
from gridsecure.cli.main import app
from gridsecure.gateway.formats import read_readings
from gridsecure.tariffs.tariff import catalogue_tariffs, load_tariff

CATALOGUE = catalogue_tariffs()
TIERS = "shenzhen-residential-tiers"
READINGS = """meter_point_id,start,kwh
a,2026-07-01 00:00,259.999
a,2026-07-01 01:00,0.001
b,2026-07-01 00:00,600
b,2026-07-01 01:00,0.001
two-months,2026-07-31 23:00,300
two-months,2026-08-01 00:00,1.5
"""
CORRECTED = """meter_point_id,start,kwh
a,2026-07-01 01:00,0.002
a,2026-07-01 02:00,10
two-months,2026-08-01 00:00,1
"""
CONTRACTS = """meter_point_id,zone,customer_class,tariff_id,household_quota_kwh,contracted_kva
a,futian,household,,0,0
b,futian,household,,0,0
two-months,futian,household,,0,0
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "readings.csv").write_text(READINGS)
    (tmp_path / "corrected.csv").write_text(CORRECTED)
    (tmp_path / "contracts.csv").write_text(CONTRACTS)
    return tmp_path


def rebill(files: Path, *arguments: str, tariff: str = "flat") -> Result:
    command = [
        "rebill",
        "--tariff",
        str(CATALOGUE[tariff]),
        "--readings",
        str(files / "readings.csv"),
        "--contract",
        str(files / "contracts.csv"),
    ]
    return CliRunner().invoke(app, [*command, *arguments])


def documents(result: Result) -> dict[str, list[Any]]:
    assert result.exit_code == 0, result.stderr
    return {name: m["periods"] for name, m in json.loads(result.stdout)["meters"].items()}


def test_both_versions_equal_the_plaintext_oracle(files: Path) -> None:
    found = documents(
        rebill(files, "--corrected", str(files / "corrected.csv"), "--format", "json", tariff=TIERS)
    )
    first, later = (read_readings(files / f"{n}.csv") for n in ("readings", "corrected"))
    tariff = load_tariff(CATALOGUE[TIERS])
    frames = first.readings, overlay_readings(first.readings, later=later.readings)
    before, after = (
        bill_readings(
            frame,
            tariff=tariff,
            contracts=load_contracts(files / "contracts.csv"),
            interval=first.interval,
        )
        for frame in frames
    )
    expected = {
        name: [{**period, "version": 1} for period in meter["periods"]]
        for name, meter in bills_to_json(before, tariff=load_tariff(CATALOGUE[TIERS]))[
            "meters"
        ].items()
    }
    for month, names in zip(range(2), (["a"], ["two-months"]), strict=True):
        correction = correct_bills(before[month], after[month])
        meters = corrections_to_json(
            correction,
            version=2,
            meter_point_ids=names,
            tariff=tariff,
        )["meters"]
        for name in names:
            expected[name] += meters[name]["periods"]
    beside = ("readings", "notices")
    figures = {
        name: [{k: v for k, v in bill.items() if k not in beside} for bill in periods]
        for name, periods in found.items()
    }
    assert figures == expected
    cancelled = found["a"][1]
    assert cancelled["cancels"]["total"] == found["a"][0]["total"] == "172.35"
    total = Decimal(cancelled["total"])
    assert Decimal("172.35") + Decimal(cancelled["adjustment"]["total"]) == total


def test_a_corrected_price_table_rebills_everybody(files: Path) -> None:
    result = rebill(
        files,
        "--corrected-tariff",
        str(CATALOGUE["flat"]),
        "--corrected",
        str(files / "corrected.csv"),
        "--format",
        "json",
        tariff="shenzhen-residential-peak-valley",
    )
    found = documents(result)
    assert [len(periods) for periods in found.values()] == [2, 2, 4]
    for periods in found.values():
        for first, second in zip(periods[::2], periods[1::2], strict=True):
            assert (first["version"], second["version"]) == (1, 2)
            assert first["start"] == second["start"]
            difference = Decimal(second["total"]) - Decimal(first["total"])
            assert Decimal(second["adjustment"]["total"]) == difference
            keys = {line["charge"] for line in second["adjustment"]["lines"]}
            assert keys >= {line["charge"] for line in first["lines"]}


def test_the_same_readings_correct_nothing(files: Path) -> None:
    result = rebill(files, "--corrected", str(files / "readings.csv"), "--format", "json")
    assert {len(periods) for periods in documents(result).values()} == {1, 2}
    assert "cancels" not in result.stdout
    assert "0 meter points corrected" in result.stderr


def test_one_meter_and_the_table_for_people(files: Path) -> None:
    result = rebill(files, "--corrected", str(files / "corrected.csv"), "--meter", "a")
    assert result.exit_code == 0, result.stderr
    assert "version 2, cancels 1" in result.stdout
    assert "退补" in result.stdout
    assert "two-months" not in result.stdout


def test_who_was_never_billed_is_said(files: Path) -> None:
    with (files / "corrected.csv").open("a") as file:
        file.write("new,2026-07-01 00:00,1\n")
    result = rebill(files, "--corrected", str(files / "corrected.csv"), "--format", "json")
    assert "new" not in documents(result)
    assert "1 bills of the corrected file have no first bill" in result.stderr


def test_refusals_have_a_reason_and_a_way_out(files: Path) -> None:
    nothing = rebill(files)
    assert nothing.exit_code == 1
    assert "correction.nothing" in nothing.stderr
    half_hours = "meter_point_id,start,kwh\n" + "".join(
        f"a,2026-07-01 {minute // 60:02d}:{minute % 60:02d},1\n" for minute in range(0, 240, 30)
    )
    (files / "corrected.csv").write_text(half_hours)
    result = rebill(files, "--corrected", str(files / "corrected.csv"))
    assert result.exit_code == 1
    assert "correction.interval" in result.stderr
    assert "What to do" in result.stderr
    assert "Traceback" not in result.output
