"""`gridsecure bill --register-hours`: bills of registers are those of their intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from gridsecure.cli.main import app
from tests.gateway.register_exports import (
    CHINESE,
    HOURS,
    OTHER_HOURS,
    columns_csv,
    daily_faces,
    half_hours,
)

TARIFF = "shenzhen-commercial-four-period"
INTERVALS = half_hours("A", "B")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rows = zip(*(INTERVALS[name] for name in ("meter_point_id", "start", "energy_wh")), strict=True)
    lines = [f"{m},{at:%Y-%m-%d %H:%M},{wh // 1000}.{wh % 1000:03d}" for m, at, wh in rows]
    (tmp_path / "intervals.csv").write_text("\n".join(["meter_point_id,start,kwh", *lines, ""]))
    text = columns_csv(daily_faces(INTERVALS), headers=CHINESE)
    (tmp_path / "registers.csv").write_bytes(text.encode("gb18030"))
    (tmp_path / "contracts.csv").write_text(
        f"meter_point_id,tariff_id,contracted_kva\nA,{TARIFF},200\nB,{TARIFF},150.5\n"
    )
    return tmp_path


def run(files: Path, readings: str, *more: str, command: str = "bill") -> Any:
    named = ["--readings", str(files / readings), "--contract", str(files / "contracts.csv")]
    return CliRunner().invoke(app, [command, *named, *more, "--format", "json"])


def lines_of(result: Any) -> dict[str, Any]:
    assert result.exit_code == 0, result.stderr
    meters = json.loads(result.stdout)["meters"]
    return {name: [bill["lines"] for bill in own["periods"]] for name, own in meters.items()}


def test_registers_are_billed_on_ciphertext_as_the_half_hours_that_they_counted(files):
    found = run(files, "registers.csv", "--register-hours", HOURS)
    assert lines_of(found) == lines_of(run(files, "intervals.csv"))
    (bill,) = json.loads(found.stdout)["meters"]["A"]["periods"]
    noted = [one for one in bill["notices"] if one["code"] == "readings-noted"]
    assert [one["values"]["rule"] for one in noted] == ["register-hours"]
    assert "31 days" in noted[0]["text"]


@pytest.mark.parametrize(
    ("hours", "reason"),
    [
        (OTHER_HOURS, "readings.register-hours"),
        ("", "readings.daily"),
        ("peak=08:00-20:00", "register-hours.text"),
    ],
)
def test_registers_that_the_tariff_prices_apart_are_refused_by_name(files, hours, reason):
    found = run(files, "registers.csv", "--register-hours", hours)
    assert found.exit_code != 0
    assert reason in found.stderr
    assert found.stdout == ""


def test_a_corrected_tariff_with_other_hours_is_refused_and_a_corrected_file_is_billed(files):
    later = INTERVALS.assign(
        energy_wh=INTERVALS["energy_wh"]
        + 10_000 * (INTERVALS["start"] == pd.Timestamp("2026-07-31 12:30", tz="Asia/Shanghai"))
    )
    text = columns_csv(daily_faces(later), headers=CHINESE)
    (files / "later.csv").write_text(text)
    more = ["--register-hours", HOURS, "--corrected", str(files / "later.csv")]
    found = run(files, "registers.csv", *more, command="rebill")
    rows = zip(*(later[name] for name in ("meter_point_id", "start", "energy_wh")), strict=True)
    lines = [f"{m},{at:%Y-%m-%d %H:%M},{wh // 1000}.{wh % 1000:03d}" for m, at, wh in rows]
    (files / "truth.csv").write_text("\n".join(["meter_point_id,start,kwh", *lines, ""]))
    truth = lines_of(run(files, "truth.csv"))
    assert {name: own[1] for name, own in lines_of(found).items()} == {
        name: own[0] for name, own in truth.items()
    }
    more = ["--register-hours", HOURS, "--corrected-tariff", "shenzhen-residential-peak-valley"]
    found = run(files, "registers.csv", *more, command="rebill")
    assert "readings.register-hours" not in found.stderr  # sharp and peak have one price there
    tariff = files / "other.toml"
    from_catalogue = Path("src/gridsecure/tariffs/catalogue") / f"{TARIFF}.toml"
    moved = from_catalogue.read_text(encoding="utf-8").replace('"19:00"', '"20:00"')
    tariff.write_text(moved, encoding="utf-8")
    more = ["--register-hours", HOURS, "--corrected-tariff", str(tariff)]
    found = run(files, "registers.csv", *more, command="rebill")
    assert found.exit_code != 0
    assert "readings.register-hours" in found.stderr
