"""`gridsecure tariff import`: a file that bills, or a refusal that names the element."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import Result
from typer.testing import CliRunner

from gridsecure.cli import tariff_files
from gridsecure.cli.main import app
from gridsecure.tariffs.tariff import load_tariff
from tests.peer.oracle import case, load_wh

ZONE = ("--timezone", "Asia/Shanghai")
RATE = {
    "label": "example",
    "name": "Example [bold]rate[/bold]",
    "startdate": 1514764800,
    "energyratestructure": [[{"rate": 0.12}], [{"rate": 0.24}], [{"rate": 9}]],
    "energyweekdayschedule": [[0] * 8 + [1] * 16] * 12,
}


@pytest.fixture
def urdb(tmp_path: Path) -> Path:
    return tmp_path / "rate.json"


def run(urdb: Path, rate: Any, *arguments: str) -> Result:
    urdb.write_text(rate if isinstance(rate, str) else json.dumps(rate), encoding="utf-8")
    return invoke(urdb, *arguments)


def invoke(urdb: Path, *arguments: str) -> Result:
    output = urdb.with_name("tariff.toml")
    command = ["tariff", "import", "--urdb", str(urdb), "--output", str(output), *ZONE, *arguments]
    return CliRunner().invoke(app, command)


def test_imported_file_is_a_tariff(urdb: Path) -> None:
    result = run(urdb, RATE)
    assert result.exit_code == 0
    assert "no hour belongs to period 2" in result.stderr
    assert "tariff example 2018-01-01, 2 rates" in result.stderr
    tariff = load_tariff(urdb.with_name("tariff.toml"))
    assert tariff.name_en == "Example [bold]rate[/bold]"
    assert tariff.tou_periods == ("period-0", "period-1")


def test_options_reach_the_import(urdb: Path) -> None:
    tiers = [[{"max": 9, "rate": 1}, {"rate": 2}], [{"max": 9, "rate": 3}, {"rate": 5}]]
    rate = RATE | {
        "energyratestructure": tiers,
        "sell": None,
        "demandwindow": 15,
        "flatdemandstructure": [[{"rate": 1}]],
        "lookbackPercent": 0.5,
        "lookbackMonths": [1] * 12,
    }
    del rate["startdate"]
    result = run(
        urdb,
        rate,
        *("--year", "2019", "--tier-convention", "chronological", "--currency", "EUR"),
        *("--timezone", "Europe/Berlin", "--tariff-id", "mine", "--lookback-range", "11"),
        *("--set-aside", "demandwindow"),
    )
    assert result.exit_code == 0, result.stderr
    tariff = load_tariff(urdb.with_name("tariff.toml"))
    assert (tariff.tariff_id, tariff.version, tariff.timezone) == (
        "mine",
        "2019-01-01",
        "Europe/Berlin",
    )
    assert tariff.tier_convention == "chronological"
    assert tariff.rates[0].unit == "EUR/kWh"


@pytest.mark.parametrize(
    "case_id",
    [
        "C01",
        "C05",
        pytest.param("C02", marks=pytest.mark.slow),
        pytest.param("C04a", marks=pytest.mark.slow),
        pytest.param("C11", marks=pytest.mark.slow),
        pytest.param("C12", marks=pytest.mark.slow),
    ],
)
def test_published_case_is_billed_on_ciphertext(urdb: Path, case_id: str) -> None:
    """From the rate and January's load to the bill, as a user would."""
    known = case(case_id)
    tariff = json.dumps(known["tariff"], default=float)
    assert run(urdb, tariff, "--year", "2018", "--tariff-id", case_id).exit_code == 0
    wh = load_wh(known["load"])
    january = wh[: len(wh) * 31 // 365]
    starts = pd.date_range("2018-01-01", "2018-02-01", periods=len(january) + 1)[:-1]
    readings = urdb.with_name("readings.csv")
    lines = [
        f"M,{s:%Y-%m-%d %H:%M},{Decimal(e) / 1000}" for s, e in zip(starts, january, strict=True)
    ]
    readings.write_text("\n".join(["meter_point_id,start,kwh", *lines]))
    command = ["bill", "--tariff", str(urdb.with_name("tariff.toml")), "--readings", str(readings)]
    result = CliRunner().invoke(app, [*command, "--format", "json"])
    assert result.exit_code == 0, result.stderr
    (month,) = json.loads(result.stdout)["meters"]["M"]["periods"]
    expected = float(known["expected"]["total"][0])
    assert float(month["total_exact"]) == pytest.approx(expected, abs=1e-6, rel=0)


@pytest.mark.parametrize(
    ("rate", "reason", "shown"),
    [
        (RATE | {"coincidentratestructure": [[{"rate": 1}]]}, "urdb.coincidentratestructure", ""),
        (RATE | {"[/red]": 1}, "urdb.unknown-element", "[/red]: no element"),
        ("{", "urdb.syntax", "not valid JSON"),
        ('{"items": []}', "urdb.items", "getpage"),
    ],
)
def test_refusal_names_the_element_and_writes_nothing(
    urdb: Path, rate: Any, reason: str, shown: str
) -> None:
    result = run(urdb, rate)
    assert result.exit_code == 1
    assert reason in result.stderr
    assert shown in result.stderr
    assert "What to do:" in result.stderr
    assert not urdb.with_name("tariff.toml").exists()


def test_existing_file_is_kept(urdb: Path) -> None:
    output = urdb.with_name("tariff.toml")
    output.write_text("mine")
    result = run(urdb, RATE)
    assert (result.exit_code, output.read_text()) == (1, "mine")
    assert "conflict" in result.stderr


def test_file_that_is_not_there(urdb: Path) -> None:
    result = invoke(urdb)
    assert result.exit_code == 1
    assert "There is no file 'rate.json'" in result.stderr


def test_file_that_is_no_text(urdb: Path) -> None:
    urdb.write_bytes(b"\xff\xfe\xfa")
    assert "urdb.unreadable" in invoke(urdb).stderr


def test_file_that_is_too_large(urdb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tariff_files, "LARGEST_BYTES", 10)
    assert "urdb.too-large" in run(urdb, RATE).stderr


def test_output_that_cannot_be_written(urdb: Path) -> None:
    urdb.write_text(json.dumps(RATE))
    nowhere = urdb.parent / "missing" / "tariff.toml"
    result = CliRunner().invoke(
        app, ["tariff", "import", "--urdb", str(urdb), "--output", str(nowhere), *ZONE]
    )
    assert result.exit_code == 1
    assert "storage.failed" in result.stderr
