"""`gridsecure usage`: the services' totals for people and programs, and their reconciliation."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import Result
from fastapi.testclient import TestClient
from sqlmodel import delete
from typer.testing import CliRunner

from gridsecure.cli import online
from gridsecure.cli.main import app as command
from gridsecure.compute.tables import UsageRow
from gridsecure.compute.usage import BOOK
from gridsecure.store.database import open_database, read_session, write_session
from gridsecure_api.platform import create_platform_app
from gridsecure_api.settings import PersonEntry
from tests.apps.test_api_queries import authority_of
from tests.apps.zone_apps import TestClock, identity_app, platform_settings, point
from tests.cli.test_cli_keys import Carrier
from tests.grid_simulator import NOW, delivered_grid, grid_keys

MONTH = f"{NOW:%Y-%m}"
Usage = Callable[..., Result]


@pytest.fixture
def usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Usage]:
    """The command of a regulator with a key, beside a platform with uploads."""
    person = PersonEntry(name="rita", roles=("regulator",), public_key=point(grid_keys().stranger))
    key = tmp_path / "rita.key"
    key.write_bytes(grid_keys().stranger.to_bytes())
    key.chmod(0o600)
    with delivered_grid(tmp_path / "platform") as grid:
        platform = create_platform_app(platform_settings(tmp_path / "platform"), clock=TestClock())
        apps = {
            "identity": identity_app(tmp_path / "identity", people=(person,)),
            "platform": platform,
            "authority": authority_of(
                tmp_path / "authority", grid, platform, vault=tmp_path / "no-vault"
            ),
        }
        monkeypatch.setattr(online, "utc_now", lambda: NOW)
        carrier = Carrier(apps)
        monkeypatch.setattr(online, "open_connection", lambda: httpx.Client(transport=carrier))

        def show(*arguments: str) -> Result:
            given = ["--month", MONTH, "--identity", "http://identity", "--key", str(key)]
            wide = CliRunner(env={"COLUMNS": "250"})
            return wide.invoke(command, ["usage", "show", *given, *arguments])

        with TestClient(platform), TestClient(apps["authority"]):
            yield show
        apps["identity"].state.zone.close()


def test_a_months_usage_is_shown_in_three_forms(usage: Usage, tmp_path: Path) -> None:
    services = ["--platform", "http://platform", "--authority", "http://authority"]
    said = {form: usage(*services, "--format", form).stdout for form in ("csv", "json", "table")}
    rows = list(csv.DictReader(io.StringIO(said["csv"])))
    assert [{**row, "amount": int(row["amount"])} for row in rows] == json.loads(said["json"])
    found = {(row["zone"], row["measure"]): int(row["amount"]) for row in rows}
    assert {row["month"] for row in rows} == {MONTH}
    assert found["platform", "uploads"] == 2
    assert found["platform", "bytes_taken_in"] > found["platform", "columns_taken_in"] > 0
    for row in rows:
        assert row["party"] in said["table"]
        assert f"{int(row['amount']):,}" in said["table"]


def test_a_command_without_a_service_says_what_to_name(usage: Usage) -> None:
    refused = usage()
    assert refused.exit_code == 1
    assert "usage.service" in refused.output


@pytest.mark.parametrize("zone", ["platform", "authority"])
def test_a_zone_that_reconciles_is_said_to(usage: Usage, tmp_path: Path, zone: str) -> None:
    done = CliRunner().invoke(command, ["usage", "check", str(tmp_path / zone), "--zone", zone])
    assert (done.exit_code, "reconcile" in done.stdout) == (0, True), done.output


def test_what_does_not_reconcile_is_named(usage: Usage, tmp_path: Path) -> None:
    folder = tmp_path / "platform"
    engine = open_database(f"sqlite:///{folder / 'zone.db'}")
    with read_session(engine) as session:
        lost = BOOK.read_month(session, MONTH)
    with write_session(engine) as session:
        session.exec(delete(UsageRow))
    engine.dispose()
    done = CliRunner().invoke(command, ["usage", "check", str(folder), "--zone", "platform"])
    assert done.exit_code == 1
    assert "usage.differs" in done.output
    assert done.stdout.count("total: ") == len(lost)
    elsewhere = ["usage", "check", str(tmp_path), "--zone", "platform"]
    assert "objects.zone" in CliRunner().invoke(command, elsewhere).output
