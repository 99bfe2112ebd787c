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
from gridsecure.key_authority.checker.vault_counts import COUNTED
from gridsecure.store import evidence
from gridsecure.store.database import write_session
from gridsecure_api.platform import create_platform_app
from gridsecure_api.settings import PersonEntry
from tests.apps.test_api_queries import InProcess, authority_of
from tests.apps.zone_apps import TestClock, bearer, identity_app, platform_settings, point
from tests.authority_simulator import ask_for_key_sets
from tests.custodians import custodian_key
from tests.grid_simulator import NOW, GridSimulator
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
    folder: Path

    def run(self, *arguments: str, who: str = "anna") -> Result:
        given = ["--identity", "http://identity", "--authority", "http://authority"]
        wide = CliRunner(env={"COLUMNS": "250"})
        own = str(self.folder / f"{who}.key")
        return wide.invoke(command, ["keys", *arguments, *given, "--key", own])

    def page(self, *, limit: int = 100) -> httpx.Response:
        client = TestClient(self.apps["authority"], headers=bearer("authority", "custodian"))
        return client.get(f"/gateway-key-sets?limit={limit}")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    grid = GridSimulator(tmp_path / "platform")
    people = tuple(
        PersonEntry(name=name, roles=("custodian",), public_key=point(custodian_key(name)))
        for name in ("anna", "mallory")
    )
    platform = create_platform_app(platform_settings(tmp_path / "platform"), clock=TestClock())
    secret = vault_settings(tmp_path, grid.authority_key)
    apps = {
        "identity": identity_app(tmp_path / "identity", people=people),
        "platform": platform,
        "authority": authority_of(tmp_path / "authority", grid, platform, vault=secret.socket),
    }
    for name in ("anna", "mallory"):
        key = tmp_path / f"{name}.key"
        key.write_bytes(custodian_key(name).to_bytes())
        key.chmod(0o600)
    monkeypatch.setattr(online, "utc_now", lambda: NOW)
    monkeypatch.setattr(online, "open_connection", lambda: httpx.Client(transport=Carrier(apps)))
    with (
        running_vault(secret),
        TestClient(platform),
        TestClient(apps["authority"]) as authority,
    ):
        ask_for_key_sets(authority, grid)
        yield Desk(apps, grid, tmp_path)
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
    again = desk.run("rotate", first, "--until", "2027-02-01T00:00:00+08:00")
    assert "from 2027-01-01" in again.stdout, "what was signed first holds"
    states = {one.notice.key_id: one.state for one in list_key_sets(zone)}
    assert states[first] == "retired"

    platform = desk.apps["platform"].state.platform.zone
    for one in kept:
        keys = tuple(public_objects(zone, one.envelope))
        install_key_set(platform, one.envelope, keys=keys, at=NOW)
    # A token of the role alone, or a key of somebody who keeps no share, revokes nothing.
    client = TestClient(desk.apps["authority"], headers=bearer("authority", "custodian"))
    alone = client.post(f"/gateway-key-sets/{first}/revoke")
    assert (alone.status_code, alone.json()["reason"]) == (409, "conflict.key-set-state")
    for step in (("revoke", "--platform", "http://platform"), ("suspend",), ("rotate",)):
        second = kept[1].notice.key_id
        other = desk.run(step[0], second, *step[1:], who="mallory")
        assert "authenticity.refused" in other.output
    assert {one.state for one in list_key_sets(zone)} == {"retired", "in-force"}
    revoked = desk.run("revoke", first, "--platform", "http://platform")
    assert revoked.exit_code == 0, revoked.output
    tags.add(desk.page().headers["ETag"])
    assert len(tags) == 3, "a new state of a key set is another page"
    assert read_known_keys(platform.engine).revoked == {first}
    states = {one.notice.key_id: one.state for one in list_key_sets(zone)}
    assert states[first] == "revoked"
    assert desk.run("revoke", first, "--platform", "http://platform").exit_code == 0
    assert "not-found.key-set" in desk.run("rotate", "0" * 32).output


def test_a_vault_with_fewer_moves_than_the_log_is_told(desk: Desk) -> None:
    """As after an older copy of its folder was put back."""
    assert desk.run("list").exit_code == 0
    zone = desk.apps["authority"].state.authority.zone
    with write_session(zone.engine) as session:
        detail = {"moves": 3, "policies": 1, "revocations": 0}
        evidence.append(session, at=NOW, actor="checker", action=COUNTED, detail=detail)
    listed = desk.run("list")
    assert listed.exit_code == 1
    assert "key id" in listed.output, "the list comes first"
    assert "vault.rolled-back" in listed.output
    asked = ["--identity", "http://identity", "--authority", "http://authority"]
    key = str(desk.folder / "anna.key")
    status = CliRunner().invoke(command, ["vault", "status", *asked, "--key", key])
    assert status.exit_code == 1
    assert "0 moves of key sets, 1 policies" in status.output
    assert "vault.rolled-back" in status.output
