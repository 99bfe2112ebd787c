"""`gridsecure vault` and the routes below it, against real services and a vault that is locked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from click.testing import Result
from fastapi.testclient import TestClient
from sqlmodel import Session
from typer.testing import CliRunner

from gridsecure import frames
from gridsecure.cli import online
from gridsecure.cli.main import app as command
from gridsecure.messages import Signed
from gridsecure.store.evidence import list_entries_of
from gridsecure.vault_messages import VaultStatus
from gridsecure_api.platform import create_platform_app
from gridsecure_api.settings import PersonEntry, VaultSettings
from tests.apps.test_api_queries import authority_of
from tests.apps.zone_apps import TestClock, bearer, identity_app, platform_settings, point
from tests.authority_simulator import key_set_request
from tests.cli.test_cli_keys import Carrier
from tests.custodians import custodian, custodian_key
from tests.grid_simulator import NOW, GridSimulator
from tests.vault_services import RunningVault, vault_settings, why_not_started

PEOPLE = ("anna", "bert", "cleo", "dora")


@dataclass
class Custodians:
    """Four people with keys, three of them custodians of a vault that the command initialised."""

    folder: Path
    grid: GridSimulator
    authority: TestClient
    vault: RunningVault

    def keys(self, who: str, step: str, key_id: str) -> Result:
        """A command of `gridsecure keys` about one key set."""
        given = ["--identity", "http://identity", "--authority", "http://authority"]
        given += ["--key", str(self.folder / f"{who}.key")]
        return CliRunner().invoke(command, ["keys", step, key_id, *given])

    def run(self, who: str, step: str, *arguments: str, has_share: bool = True) -> Result:
        given = ["--identity", "http://identity", "--authority", "http://authority"]
        given += ["--key", str(self.folder / f"{who}.key")]
        if has_share:
            option = "--share" if step in {"unlock", "split"} else "--vault-key"
            given += [option, str(self.folder / "shares" / f"{who}.json")]
        wide = CliRunner(env={"COLUMNS": "250"})
        return wide.invoke(command, ["vault", step, *arguments, *given])

    def status(self) -> VaultStatus:
        told = self.run("anna", "status", "--format", "json")
        assert told.exit_code == 0, told.output
        said = json.loads(told.stdout)
        assert said.pop("is_verified")
        return VaultStatus.model_validate(said)

    def entries(self, action: str) -> list[dict[str, str]]:
        zone = self.authority.app.state.authority.zone
        with Session(zone.engine) as session:
            return [json.loads(one.detail) for one in list_entries_of(session, action)]

    def ask_for_keys(self, number: int) -> httpx.Response:
        """Ask for a gateway's key set; one that was made before is public."""
        name = list(self.grid.keys.secret)[number]
        parts = [part.model_dump_json().encode() for part in key_set_request(self.grid, name)]
        return self.authority.post("/key-sets", content=frames.join_frames(parts), headers={})


def named(*names: str) -> list[str]:
    return [
        part for name in names for part in ("--custodian", f"{name}={custodian(name).public_key}")
    ]


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Custodians]:
    grid = GridSimulator(tmp_path / "platform")
    for name in PEOPLE:
        path = tmp_path / f"{name}.key"
        path.write_bytes(custodian_key(name).to_bytes())
        path.chmod(0o600)
    people = tuple(
        PersonEntry(name=name, roles=("custodian",), public_key=point(custodian_key(name)))
        for name in PEOPLE
    )
    settings = fresh_vault(tmp_path, grid)
    platform = create_platform_app(platform_settings(tmp_path / "platform"), clock=TestClock())
    apps = {
        "identity": identity_app(tmp_path / "identity", people=people),
        "authority": authority_of(tmp_path / "authority", grid, platform, vault=settings.socket),
    }
    monkeypatch.setattr(online, "utc_now", lambda: NOW)
    monkeypatch.setattr(online, "open_connection", lambda: httpx.Client(transport=Carrier(apps)))
    vault = RunningVault(settings, is_locked=True)
    try:
        with TestClient(apps["authority"]) as authority:
            yield Custodians(tmp_path, grid, authority, vault)
    finally:
        vault.kill()
        apps["identity"].state.zone.close()
        platform.state.platform.zone.engine.dispose()
        grid.close()


def fresh_vault(folder: Path, grid: GridSimulator) -> VaultSettings:
    """A vault's settings, on a folder that the command itself initialised."""
    settings = vault_settings(folder, grid.authority_key, has_keys=False)
    for path in settings.folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    init = ["vault", "init", str(settings.folder), "--output", str(folder / "shares")]
    made = CliRunner().invoke(command, [*init, *named("anna", "bert", "cleo")])
    assert made.exit_code == 0, made.output
    assert sorted(path.name for path in (folder / "shares").iterdir()) == [
        f"{name}.json" for name in ("anna", "bert", "cleo")
    ]
    again = CliRunner().invoke(command, [*init, *named("anna", "bert", "dora")])
    assert "vault.initialised" in again.output
    return settings


def test_custodians_unlock_lock_and_split(room: Custodians) -> None:
    assert room.status().state == "locked"
    refused = room.ask_for_keys(0)
    assert (refused.status_code, refused.json()["reason"]) == (503, "vault.locked")
    assert "vault unlock" in refused.json()["remedy"]

    first = room.run("anna", "unlock")
    assert first.exit_code == 0, first.output
    assert "anna; 2 are needed" in first.stdout
    assert "vault.given" in room.run("anna", "unlock").output
    assert "vault.share-file" in room.run("dora", "unlock", "--share", str(
        room.folder / "shares" / "anna.json"), has_share=False).output  # fmt: skip
    second = room.run("cleo", "unlock")
    assert "unlocked" in second.stdout
    assert room.ask_for_keys(0).status_code == 200

    agreed = named("anna", "bert", "dora")
    assert "Another custodian" in room.run("anna", "split", *agreed).stdout
    done = room.run("bert", "split", *agreed)
    assert "gridsecure vault share dora" in done.stdout, done.output
    got = room.run("anna", "share", "anna", "--output", str(room.folder / "anna-new.json"))
    assert got.exit_code == 0, got.output
    assert "vault.signer" in room.run("anna", "status").output, "by the share of before"
    shutil.move(room.folder / "anna-new.json", room.folder / "shares" / "anna.json")
    again = room.run("anna", "share", "anna", "--output", str(room.folder / "x"))
    assert "vault.splitting-old" in again.output
    fetch = ("share", "dora", "--output", str(room.folder / "shares" / "dora.json"))
    assert "--vault-key" in room.run("dora", *fetch, has_share=False).output
    strange = ("--vault-key", custodian("dora").public_key)
    assert "vault.pin" in room.run("dora", *fetch, *strange, has_share=False).output
    pin = room.run("anna", "status", "--format", "json").stdout
    known = ("--vault-key", json.loads(pin)["vault_key"])
    got = room.run("dora", *fetch, *known, has_share=False)
    assert got.exit_code == 0, got.output
    wrong = room.run("anna", "share", "dora", "--output", str(room.folder / "x"))
    assert "vault.share-file" in wrong.output
    assert not (room.folder / "x").exists()

    assert room.run("dora", "lock").stdout == "The vault is locked.\n"
    unpinned = room.run("anna", "lock", has_share=False).stdout
    assert "--vault-key" in unpinned
    assert "--vault-key" in room.run("bert", "status", has_share=False).stdout
    assert room.ask_for_keys(0).status_code == 200, "it is published, and takes no secret"
    assert room.ask_for_keys(1).json()["reason"] == "vault.locked"
    assert "vault.signer" in room.run("cleo", "unlock").output
    for name in ("anna", "dora"):
        assert room.run(name, "unlock").exit_code == 0
    assert room.ask_for_keys(1).status_code == 200
    assert room.status().state == "unlocked"

    given = [one["state"] for one in room.entries("vault-share.given")]
    assert given == ["locked", "unlocked", "unlocked", "unlocked", "locked", "unlocked"]
    assert [one["reason"] for one in room.entries("vault-share.refused")] == ["vault.given"]
    assert len(room.entries("vault-lock.ordered")) == 2


def test_custodians_move_a_key_set_through_its_states(room: Custodians) -> None:
    for name in ("anna", "bert"):
        assert room.run(name, "unlock").exit_code == 0
    assert room.ask_for_keys(0).status_code == 200
    (listed,) = room.authority.get(
        "/gateway-key-sets", headers=bearer("authority", "custodian")
    ).json()
    key_id = listed["key_id"]
    assert "is active." in room.keys("anna", "show", key_id).stdout
    assert "is suspended." in room.keys("anna", "suspend", key_id).stdout
    refused = room.ask_for_keys(0)
    assert (refused.status_code, refused.json()["reason"]) == (409, "conflict.key-set-state")
    assert "until another custodian signs" in room.keys("bert", "resume", key_id).stdout
    assert "wants it active" in room.keys("cleo", "show", key_id).stdout
    assert "keys.signed" in room.keys("bert", "resume", key_id).output
    assert "is active." in room.keys("cleo", "resume", key_id).stdout
    assert "keys.move" in room.keys("anna", "destroy", key_id).output
    assert "authenticity.refused" in room.keys("dora", "suspend", key_id).output
    assert "is deactivated." in room.keys("anna", "rotate", key_id).stdout
    room.keys("anna", "destroy", key_id)
    done = room.keys("bert", "destroy", key_id)
    assert "is destroyed." in done.stdout, done.output
    shown = room.keys("anna", "show", key_id).stdout
    assert shown.count("signed by") == 4
    assert "not-found.key-set" in room.keys("anna", "show", "0" * 32).output


def test_what_was_carried_before_is_refused_and_entered(room: Custodians) -> None:
    """Somebody at the checker kept a custodian's answer and sends it once more."""
    sent: list[bytes] = []
    give = room.authority.app.state.authority.zone.vault.give_share

    def kept(envelope: Signed) -> Signed:
        sent.append(envelope.model_dump_json().encode())
        return give(envelope)

    room.authority.app.state.authority.zone.vault.give_share = kept
    room.run("anna", "unlock")
    headers = bearer("authority", "custodian")
    again = room.authority.post("/vault/shares", json=json.loads(sent[0]), headers=headers)
    assert (again.status_code, again.json()["reason"]) == (409, "vault.replayed")
    assert [one["reason"] for one in room.entries("vault-share.refused")] == ["vault.replayed"]
    assert room.status().given == ["anna"]


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("GET", "/vault", "analyst"),
        ("POST", "/vault/challenges", "operator"),
        ("POST", "/vault/shares", "regulator"),
        ("GET", "/vault/shares/anna", "billing"),
        ("POST", "/vault/lock", "billing"),
        ("GET", "/gateway-key-sets/x/life", "analyst"),
        ("POST", "/key-set-moves", "operator"),
    ],
)
def test_other_roles_are_refused(room: Custodians, method: str, path: str, role: str) -> None:
    answer = room.authority.request(method, path, headers=bearer("authority", role))
    assert answer.status_code == 403


def test_a_folder_that_was_not_initialised(room: Custodians) -> None:
    """Nor does the command touch a folder whose vault is running."""
    (room.vault.settings.folder / "splitting.json").rename(room.folder / "away.json")
    init = ["vault", "init", str(room.vault.settings.folder), "--output", str(room.folder / "o")]
    running = CliRunner().invoke(command, [*init, *named("anna", "bert", "cleo")])
    assert "vault.running" in running.output
    room.vault.kill()
    assert "vault.uninitialised" in why_not_started(room.vault.settings)
