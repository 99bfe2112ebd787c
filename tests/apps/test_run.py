"""`gridsecure run` end to end: real processes, a user's own file, every bill against the oracle."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from apps.cli.home import create_home
from apps.cli.meters import RunMeters, meter_files
from apps.simulator.synthetic_meters import simulate
from gridsecure.billing.contracts import load_contracts
from gridsecure.errors import InputError, StorageError
from gridsecure.gateway.formats import read_readings

METERS = 20
PLAINTEXT_ZONES = {"gateway", "input"}


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    """Hourly readings of some households, with no contract."""
    path = tmp_path / "mine.csv"
    path.write_bytes(simulate(METERS, month="2026-06", interval_minutes=60).wide_csv())
    return path


def test_a_users_own_file_is_billed_through_all_services(own_file: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"
    command = ["run", "--readings", str(own_file), "--tariff", "flat", "--home", str(home)]
    done = subprocess.run(
        [sys.executable, "-m", "apps.cli", *command, "--no-serve"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={"COLUMNS": "200", "PATH": "/usr/bin:/bin"},
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{METERS} bills, 0 mismatches" in done.stdout
    assert "31 jobs" not in done.stdout, "June has thirty days"
    assert "30 jobs" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    _no_meter_number_left_the_gateway(next(home.iterdir()), own_file)


def _no_meter_number_left_the_gateway(folder: Path, own_file: Path) -> None:
    """The platform, the authority and all logs know pseudonyms only."""
    numbers = [
        name.encode() for name in read_readings(own_file).readings["meter_point_id"].unique()
    ]
    looked_at = 0
    for path in folder.rglob("*"):
        outside = path.relative_to(folder).parts[0] not in PLAINTEXT_ZONES
        if outside and path.is_file():
            data = path.read_bytes()
            assert not any(number in data for number in numbers), path.name
            looked_at += 1
    assert looked_at > 100


def test_simulated_and_measured_meters_stand_in_one_contract_file(tmp_path: Path) -> None:
    files = meter_files(RunMeters(meters=8), folder=tmp_path / "input")
    contracts = load_contracts(files.contracts)
    readings = [read_readings(path).readings for path in files.readings]
    named = {name for frame in readings for name in frame["meter_point_id"]}
    assert named == set(contracts["meter_point_id"])
    assert files.meters == len(named) > 8
    assert files.month == "2026-07"


def test_own_meters_take_the_month_and_interval_of_their_file(
    own_file: Path, tmp_path: Path
) -> None:
    files = meter_files(RunMeters(meters=4, readings=(own_file,)), folder=tmp_path / "input")
    assert files.month == "2026-06"
    assert {read_readings(path).interval.total_seconds() for path in files.readings} == {3600}


def test_an_unknown_tariff_is_refused_before_anything_starts(
    own_file: Path, tmp_path: Path
) -> None:
    order = RunMeters(meters=0, readings=(own_file,), tariff="nowhere")
    with pytest.raises(InputError) as refused:
        meter_files(order, folder=tmp_path / "input")
    assert refused.value.reason == "tariff.unknown"


@pytest.mark.parametrize("month", ["2026-13", "July", "2026-7-1", ""])
def test_a_month_that_is_none_is_refused(month: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        meter_files(RunMeters(meters=1, month=month), folder=tmp_path / "input")
    assert refused.value.reason == "run.month"


def test_a_folder_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError) as refused:
        create_home(tmp_path / "file", now=datetime(2026, 7, 1, tzinfo=UTC))
    assert refused.value.reason == "run.folder"
