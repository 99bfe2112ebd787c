"""`gridsecure keys` against a real identity service, key authority and platform."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from click.testing import Result
from fastapi import FastAPI
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from gridsecure.cli import online
from gridsecure.cli.main import app as command
from gridsecure.compute.key_sets import install_key_set, read_known_keys
from gridsecure.key_authority.checker.key_sets import list_key_sets, public_objects
from gridsecure_api.platform import create_platform_app
from gridsecure_api.settings import PersonEntry
from tests.apps.test_api_queries import InProcess, authority_of
from tests.apps.zone_apps import TestClock, bearer, identity_app, platform_settings, point
from tests.authority_simulator import ask_for_key_sets
from tests.grid_simulator import NOW, GridSimulator, grid_keys
from tests.vault_services import running_vault, vault_settings


class Carrier(httpx.BaseTransport):
    """Carries requests to the service they name."""

    def __init__(self, apps: dict[str, FastAPI]) -> None:
        self.services = {name: InProcess(app) for name, app in apps.items()}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        return self.services[request.url.host].handle_request(request)


@dataclass
class Desk:
    """A custodian with a key, and the services."""

    apps: dict[str, FastAPI]
    grid: GridSimulator
    key: Path

    def run(self, *arguments: str) -> Result:
        given = ["--identity", "http://identity", "--authority", "http://authority"]
        wide = CliRunner(env={"COLUMNS": "250"})
        return wide.invoke(command, ["keys", *arguments, *given, "--key", str(self.key)])

    def page(self, *, limit: int = 100) -> httpx.Response:
        client = TestClient(self.apps["authority"], headers=bearer("authority", "custodian"))
        return client.get(f"/gateway-key-sets?limit={limit}")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    grid = GridSimulator(tmp_path / "platform")
    person = PersonEntry(name="kate", roles=("custodian",), public_key=point(grid_keys().stranger))
    platform = create_platform_app(platform_settings(tmp_path / "platform"), clock=TestClock())
    secret = vault_settings(tmp_path, grid.authority_key)
    apps = {
        "identity": identity_app(tmp_path / "identity", people=(person,)),
        "platform": platform,
        "authority": authority_of(tmp_path / "authority", grid, platform, vault=secret.socket),
    }
    key = tmp_path / "kate.key"
    key.write_bytes(grid_keys().stranger.to_bytes())
    key.chmod(0o600)
    monkeypatch.setattr(online, "utc_now", lambda: NOW)
    monkeypatch.setattr(online, "open_connection", lambda: httpx.Client(transport=Carrier(apps)))
    with (
        running_vault(secret),
        TestClient(platform),
        TestClient(apps["authority"]) as authority,
    ):
        ask_for_key_sets(authority, grid)
        yield Desk(apps, grid, key)
    apps["identity"].state.zone.close()
    grid.close()


def test_a_custodian_lists_rotates_and_revokes(desk: Desk) -> None:
    zone = desk.apps["authority"].state.authority.zone
    kept = list_key_sets(zone)
    shown = desk.run("list").stdout
    assert all(one.notice.key_id in shown for one in kept)
    assert shown.count("in-force") == len(kept) == 4
    first = kept[0].notice.key_id
    tags = {desk.page().headers["ETag"]}
    assert [len(desk.page(limit=limit).json()) for limit in (3, 4, 100)] == [3, 4, 4]
    assert desk.page(limit=3).links.keys() == {"next"}
    assert "keys.until" in desk.run("rotate", first, "--until", "tomorrow").output
    ended = desk.run("rotate", first, "--until", "2027-01-01T00:00:00+08:00")
    assert "No upload under it begins" in ended.stdout, ended.output
    tags.add(desk.page().headers["ETag"])
    assert desk.run("rotate", first).exit_code != 0
    states = {one.notice.key_id: one.state for one in list_key_sets(zone)}
    assert states[first] == "retired"
    assert len(states) == 5

    platform = desk.apps["platform"].state.platform.zone
    for one in kept:
        keys = tuple(public_objects(zone, one.envelope))
        install_key_set(platform, one.envelope, keys=keys, at=NOW)
    revoked = desk.run("revoke", first, "--platform", "http://platform")
    assert revoked.exit_code == 0, revoked.output
    tags.add(desk.page().headers["ETag"])
    assert len(tags) == 3, "a new state of a key set is another page"
    assert read_known_keys(platform.engine).revoked == {first}
    states = {one.notice.key_id: one.state for one in list_key_sets(zone)}
    assert states[first] == "revoked"
    assert desk.run("revoke", first, "--platform", "http://platform").exit_code == 0
    assert "not-found.key-set" in desk.run("rotate", "0" * 32).output
