"""Zones made by `init` alone: whole or not at all, never overwritten, completed by cards."""

from __future__ import annotations

import json
import shlex
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import pytest
from typer.testing import CliRunner

from gridsecure.approvals import APPROVER_ROLES
from gridsecure.cli.doctor_checks import Patient, _peer, check_authorities, check_databases
from gridsecure.cli.main import app
from gridsecure.cli.online import utc_now
from gridsecure.cli.zone_cards import Neighbours, ZoneCard, read_card, sign_card
from gridsecure.cli.zone_setup import join_cards, read_facts
from gridsecure.cli.zone_units import read_settings_text, settings_text
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.transparency.checkpoints import LogSigner
from gridsecure.wire.certificates import make_authority
from gridsecure.zone_keys import load_log_signer, load_signing_key
from gridsecure_api.settings import (
    AuthoritySettings,
    EncryptionSettings,
    GatewaySettings,
    IdentitySettings,
    MarketSettings,
    PlatformSettings,
    VaultSettings,
)
from gridsecure_api.start import read_settings
from tests.attacks import Attacked, attack, cut, rule

PEOPLE = {
    "ann": ["custodian"],
    "bob": ["custodian"],
    "cleo": ["billing", "operator"],
    "analyst": ["analyst"],
    **{role: [role] for role in APPROVER_ROLES},
}
OFFICES = ("utility", "regulator", "billing-office", "registration-office")
JOINED = ("identity", "gateway", "platform", "authority", "market", "encryption", "dashboard")
SETTINGS = {
    "identity": IdentitySettings,
    "gateway": GatewaySettings,
    "platform": PlatformSettings,
    "authority": AuthoritySettings,
    "vault": VaultSettings,
    "market": MarketSettings,
    "encryption": EncryptionSettings,
}


def call(*words: str | Path, status: int = 0) -> dict[str, Any]:
    """What a command prints as JSON, or its reason code under `reason`."""
    done = CliRunner().invoke(app, [*map(str, words), "--format", "json"])
    assert done.exit_code == status, done.output
    if status:
        return {"reason": done.stderr.split()[0], "said": done.stderr}
    return json.loads(done.stdout)  # type: ignore[no-any-return] # a printed object


def card(folder: Path) -> Path:
    return folder / "setup" / "card.json"


def make_zones(folder: Path, *, ports: dict[str, int] | None = None) -> list[Path]:
    """Every zone, office and person by `init`, each joined with the cards of all others."""
    for name, roles in PEOPLE.items():
        words = [word for role in roles for word in ("--role", role)]
        call("init", "person", folder / "people" / name, "--name", name, *words)
    for office in OFFICES:
        call("init", office, folder / office)
    people = [card(folder / "people" / name) for name in PEOPLE]
    utility = card(folder / "utility")
    for zone in JOINED:
        at = [] if ports is None else ["--listen", f"127.0.0.1:{ports[zone]}"]
        at += [] if ports is None else ["--address", f"http://127.0.0.1:{ports[zone]}"]
        at += ["--policy", "uniform-15"] if zone == "authority" else []
        years = json.dumps(sorted({"2026", f"{utc_now():%Y}"}))
        at += ["--set", f"periods={years}"] if zone == "identity" else []
        call("init", zone, folder / zone, *at)
    (folder / "vault-door").mkdir(mode=0o711)
    socket = ["--socket", "../vault-door/vault.sock"]
    call("init", "vault", folder / "vault", *people, utility, *socket)
    zones = [card(folder / name) for name in (*JOINED, *OFFICES, "vault") if name != "dashboard"]
    for office in ("utility", "regulator"):
        call("join", folder / office, *(one for one in zones if one.parts[-3] != office))
    told = []
    for zone in (*JOINED, "vault"):
        others = [one for one in [*zones, *people] if one.parts[-3] != zone]
        told.append(call("join", folder / zone, *others))
    assert [one["missing"] for one in told] == [[]] * len(told)
    return [folder / zone for zone in (*JOINED, "vault")]


@pytest.fixture(scope="module")
def zones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zones")
    make_zones(folder)
    return folder


@pytest.fixture
def read_zone(zones: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    def read(zone: str) -> Any:
        text = (zones / zone / "setup" / f"gridsecure-{zone}.env").read_text()
        for name, value in read_settings_text(text).items():
            monkeypatch.setenv(name, value)
        return read_settings(SETTINGS[zone])

    return read


def files_of(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_every_zone_has_settings_that_its_service_starts_with(read_zone) -> None:
    read = {zone: read_zone(zone) for zone in SETTINGS}
    assert [one.role for one in read["identity"].services] == ["gateway", "platform", "authority"]
    assert {one.name for one in read["identity"].people} == {*PEOPLE, "utility", "regulator"}
    for zone in ("platform", "authority", "vault", "market"):
        assert [one.role for one in read[zone].approvers] == sorted(APPROVER_ROLES)
        assert read[zone].policy == "uniform-15"
    assert read["gateway"].platform_url == "http://127.0.0.1:8443"


def test_the_same_calls_change_nothing(zones: Path) -> None:
    before = files_of(zones / "platform"), files_of(zones / "utility")
    told = call("init", "platform", zones / "platform", card(zones / "identity"))
    assert not told["is_new"]
    call("join", zones / "utility", card(zones / "identity"))
    assert (files_of(zones / "platform"), files_of(zones / "utility")) == before


def test_only_cards_and_units_are_for_others_and_no_card_has_a_secret(zones: Path) -> None:
    for path in zones.rglob("*"):
        if path.is_file() and path.stat().st_mode & 0o077:
            assert path.name == "card.json" or path.suffix == ".service"
        if path.is_dir() and path.name != "vault-door":
            is_ours = path.name != "people"
            assert not (is_ours and path.stat().st_mode & 0o077), path
    secrets = [path.read_bytes() for path in zones.rglob("*.key")]
    assert len(secrets) >= 20
    told = [path for path in zones.rglob("setup/*") if path.is_file() and path.suffix != ".key"]
    public = b"".join(path.read_bytes() for path in told)
    for secret in secrets:
        assert secret not in public
        assert secret.hex().encode() not in public


def test_a_card_of_another_key_an_older_one_and_an_altered_one_are_refused(
    zones: Path, tmp_path: Path
) -> None:
    call("init", "platform", tmp_path / "other")
    kept = files_of(zones / "gateway")
    refused = call("join", zones / "gateway", card(tmp_path / "other"), status=1)
    assert refused["reason"] == "setup.other-key"
    altered = tmp_path / "altered.json"
    altered.write_text(card(zones / "platform").read_text().replace("8443", "8449"))
    assert call("join", zones / "gateway", altered, status=1)["reason"] == "setup.card"
    old = tmp_path / "old.json"
    old.write_bytes(card(tmp_path / "other").read_bytes())
    call("join", tmp_path / "other", "--address", "https://platform.example")
    call("init", "dashboard", tmp_path / "board", card(tmp_path / "other"))
    assert call("join", tmp_path / "board", old, status=1)["reason"] == "setup.older-card"
    assert files_of(zones / "gateway") == kept


CLERK = generate_private_key()


def handed_in(
    path: Path,
    *,
    name: str = "clerk",
    roles: tuple[str, ...] = ("billing",),
    made_at: str = "",
) -> Path:
    """A card of the clerk's key, with whatever the clerk likes on it; each is newer by itself."""
    said = ZoneCard(
        zone="person",
        name=name,
        made_at=made_at or utc_now().isoformat(),
        public_key=CLERK.public_key.point.hex(),
        roles=roles,
    )
    path.write_text(sign_card(said, key=CLERK).model_dump_json())
    return path


@attack(
    "an officer's role on a newer card of a clerk's key",
    rule(
        "A known key gets no other name and no other roles by a card that it signed itself.",
        "setup.other-roles",
        cut(
            "gridsecure.cli.zone_cards:_check_newer",
            "card.key.thumbprint not in accepted",
            "False",
        ),
    ),
)
def test_a_clerk_does_not_become_an_officer_by_a_newer_card(
    zones: Path, tmp_path: Path, attacked: Attacked
) -> None:
    folder = tmp_path / "vault"
    shutil.copytree(zones / "vault", folder)
    call("join", folder, handed_in(tmp_path / "clerk.json"))
    kept = files_of(folder)
    newer = handed_in(tmp_path / "newer.json", name="data-owner-2", roles=("data-owner",))
    attacked.tries(lambda: join_cards(folder, [newer], {}, now=utc_now()))
    settings = (folder / "setup" / "gridsecure-vault.env").read_text()
    assert ("data-owner-2" in settings) == attacked.goes_through
    assert (files_of(folder) == kept) != attacked.goes_through


def test_other_roles_are_taken_of_the_key_that_is_named_and_said_in_a_line(
    zones: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "platform"
    shutil.copytree(zones / "platform", folder)
    thumbprint = CLERK.public_key.thumbprint
    first, newer = (
        handed_in(tmp_path / "1.json"),
        handed_in(tmp_path / "2.json", name="boss\x1b[2J"),
    )
    (told,) = call("join", folder, first)["cards"]
    assert (told["is_new"], told["roles"], told["thumbprint"]) == (True, ["billing"], thumbprint)
    other = call("join", folder, card(zones / "gateway"))["cards"]
    assert [(one["is_new"], one["was"]) for one in other] == [(False, {})]
    refused = call("join", folder, newer, "--accept-roles", "0" * 64, status=1)
    assert refused["reason"] == "setup.other-roles"
    assert thumbprint in refused["said"]
    done = CliRunner().invoke(app, ["join", str(folder), str(newer), "--accept-roles", thumbprint])
    (line,) = [one for one in done.stdout.splitlines() if thumbprint in one]
    assert line == f"Card of    person boss\ufffd[2J (billing): {thumbprint}, was: name clerk"
    shown = call("card", "show", folder, newer)["cards"]
    assert shown[0]["zone"] == "platform"
    assert [one["name"] for one in shown if one["thumbprint"] == thumbprint] == ["boss\x1b[2J"] * 2


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"name": "analyst"}, "setup.other-key"),
        ({"roles": ("data-owner", "privacy-officer")}, "setup.roles"),
        ({"roles": ("billing", "privacy-officer")}, "setup.roles"),
        ({"roles": ("platform",)}, "setup.roles"),
        ({"made_at": "newest"}, "setup.made-at"),
        ({"made_at": "2026-12-01T01:00:00"}, "setup.made-at"),
        ({"made_at": (utc_now() + timedelta(days=2)).isoformat()}, "setup.made-at"),
    ],
)
def test_a_card_is_refused_that_says_what_no_card_may(
    zones: Path, tmp_path: Path, said: dict[str, Any], reason: str
) -> None:
    before = files_of(zones / "market")
    one = handed_in(tmp_path / "1.json", **said)
    refused = call(
        *("join", zones / "market", one, "--accept-roles", CLERK.public_key.thumbprint), status=1
    )
    assert refused["reason"] == reason
    assert files_of(zones / "market") == before


def test_which_card_is_newer_is_told_by_the_moment_and_not_by_its_text(tmp_path: Path) -> None:
    now = utc_now()
    earlier = (now - timedelta(hours=1)).astimezone(timezone(timedelta(hours=8)))
    early = handed_in(tmp_path / "1.json", made_at=earlier.isoformat())
    late = handed_in(tmp_path / "2.json", made_at=now.isoformat())
    call("init", "worker", tmp_path / "worker", late)
    assert call("join", tmp_path / "worker", early, status=1)["reason"] == "setup.older-card"


def test_a_zone_whose_clock_was_set_back_has_a_newer_card(tmp_path: Path) -> None:
    call("init", "platform", tmp_path / "platform")
    ahead = utc_now() + timedelta(hours=3)
    join_cards(tmp_path / "platform", [], {"address": "https://a.example"}, now=ahead)
    first = shutil.copy(card(tmp_path / "platform"), tmp_path / "first.json")
    call("join", tmp_path / "platform", "--address", "https://b.example")
    told = call("init", "dashboard", tmp_path / "board", first, card(tmp_path / "platform"))
    assert [one["address"] for one in told["cards"]] == ["https://a.example", "https://b.example"]


def test_cards_that_contradict_each_other_make_no_zone(tmp_path: Path) -> None:
    cards = [handed_in(tmp_path / "1.json"), handed_in(tmp_path / "2.json", roles=("custodian",))]
    refused = call("init", "identity", tmp_path / "new", *cards, status=1)
    assert refused["reason"] == "setup.other-roles"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["init", "gateway", "{new}", "--address", "gateway"], "setup.address"),
        (["init", "gateway", "{new}", "--listen", "8442"], "setup.listen"),
        (["init", "dashboard", "{new}", "--listen", "0.0.0.0:8501"], "setup.plain"),
        (["init", "person", "{new}", "--name", "eve"], "setup.roles"),
        (["init", "gateway", "{new}", "--set", "x"], "setup.setting"),
        (["init", "vault", "{new}"], "vault.custodians"),
        (["init", "gateway", "{full}"], "setup.folder"),
        (["init", "gateway", "{zones}/platform"], "setup.made"),
        (["join", "{new}"], "setup.none"),
        (
            ["init", "platform", "{new}", "--set", "database=postgresql+psycopg://gs:hush@db/x"],
            "setup.secret",
        ),
        (
            ["init", "platform", "{new}", "--set", "database=postgresql://h/x?password=y"],
            "setup.secret",
        ),
        (
            ["init", "platform", "{new}", "--set", "objects=s3://b?secret_access_key=y"],
            "setup.secret",
        ),
        (["init", "platform", "{new}", "--set", "database=mysql://db/x"], "storage.database"),
        (["init", "platform", "{new}", "--set", "database=sqlite:////zone.db"], "setup.root"),
    ],
)
def test_what_cannot_be_made_leaves_nothing(
    zones: Path, tmp_path: Path, words: list[str], reason: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    places = {"new": tmp_path / "new", "full": tmp_path / "full", "zones": zones}
    before = files_of(zones)
    refused = call(*(word.format(**places) for word in words), status=1)
    assert refused["reason"] == reason
    assert "hush" not in refused["said"]
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "full", tmp_path / "full" / "file"]
    assert files_of(zones) == before


def test_a_shell_and_the_reader_see_the_same_settings() -> None:
    hard = {"A_B": "plain", "C": '[{"a": "$HOME `x` \\\\ \\" é"}]', "D": "", "E": "a b'c"}
    text = settings_text(hard)
    assert read_settings_text(text) == hard

    program = "set -a; . /dev/stdin; env -0"
    done = subprocess.run(
        ["sh", "-c", program], input=text.encode(), capture_output=True, check=True
    )
    said = dict(line.split("=", 1) for line in done.stdout.decode().split("\0") if line)
    assert {name: said[name] for name in hard} == hard


def test_a_unit_starts_the_zones_own_program_and_takes_what_it_does_not_need(zones: Path) -> None:
    programs = {"vault": ["gridsecure_api.vault"]}
    for zone in (*JOINED, "vault"):
        lines = (zones / zone / "setup" / f"gridsecure-{zone}.service").read_text().splitlines()
        unit = dict(line.split("=", 1) for line in lines if "=" in line)
        command = shlex.split(unit["ExecStart"])
        if zone == "dashboard":
            assert "--server.port=8501" in command
        else:
            assert command[2:] == ["-m", *programs.get(zone, ["gridsecure_api.serve", zone])]
        assert unit["WorkingDirectory"] == str(zones / zone)
        assert unit["ProtectSystem"] == "strict"
        assert unit["NoNewPrivileges"] == unit["PrivateTmp"] == "yes"
        assert (unit.get("PrivateNetwork") == "yes") == (zone == "vault")
        assert ("LimitNOFILE" in unit) == (zone != "vault")


def test_drafts_of_others_are_left(tmp_path: Path) -> None:
    """Of a zone whose name goes on, of a backup that is under way; one of a killed call goes."""
    killed = tmp_path / ".init-draft-clerk-0123abcd"
    others = (".init-draft-clerk-2-0123abcd", ".draft-clerk-0123abcd")
    for name in (killed.name, *others):
        (tmp_path / name).mkdir()
    call("init", "person", tmp_path / "clerk", "--name", "clerk", "--role", "billing")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted((*others, "clerk"))


def test_the_doctor_tells_who_answers_by_the_signature_of_the_log(
    zones: Path, tmp_path: Path
) -> None:
    """Whoever answers at the address shows the same `/about`, and has not the neighbour's key."""
    facts = read_facts(zones / "platform")
    card = read_card(zones / "authority" / "setup" / "card.json")
    signers: dict[str, LogSigner] = {
        name: load_log_signer(zones / zone, log="authority", key=load_signing_key(zones / zone))
        for name, zone in (("right", "authority"), ("wrong", "identity"))
    }
    about = {"zone": "authority", "title": "", "description": "", "version": "0"}
    about["sm2_engines"] = []

    def found(logs: dict[str, list[str]], name: str) -> set[str]:
        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path == "/about":
                return httpx.Response(200, json={**about, "logs": logs})
            return httpx.Response(200, content=signers[name].sign(0, sha256(b"").digest()))

        patient = Patient(tmp_path, facts, Neighbours(), utc_now)
        with httpx.Client(transport=httpx.MockTransport(answer)) as http:
            told = list(_peer(http, card, patient))
        return {one.said for one in told if one.state == "failure"}

    another = {f"{card.address} is another service than its card says."}
    keys = {"/log": [key.text for key in signers["right"].keys]}
    assert found(keys, "right") == set()
    assert found(keys, "wrong") == another
    assert found({}, "right") == another


def test_the_doctor_names_authorities_that_sign_for_anybody(zones: Path, tmp_path: Path) -> None:
    made = make_authority(tmp_path / "ca", zone="platform", hosts=["p.example"], now=utc_now())
    facts = read_facts(zones / "platform")
    own = facts.model_copy(update={"own": {"tls_ca": str(made)}})
    patient = Patient(tmp_path, own, Neighbours(), utc_now)
    assert [one.state for one in check_authorities(patient)] == ["ok"]
    with patch("gridsecure.wire.certificates._allowed", return_value=[]):
        assert [one.state for one in check_authorities(patient)] == ["warning"]
    late = replace(patient, now=lambda: utc_now() + timedelta(days=4 * 365))
    assert [one.state for one in check_authorities(late)] == ["failure"]


def test_a_unit_may_write_where_settings_put_objects_and_databases(tmp_path: Path) -> None:
    folder = tmp_path / "platform"
    (tmp_path / "data").mkdir()
    words = ("--set", f"objects=file://{tmp_path}/the%20objects")
    call("init", "platform", folder, *words, "--set", f"database=sqlite:///{tmp_path}/data/zone.db")
    (line,) = (
        line
        for line in (folder / "setup" / "gridsecure-platform.service").read_text().splitlines()
        if line.startswith("ReadWritePaths=")
    )
    said = shlex.split(line.removeprefix("ReadWritePaths="))
    assert said == [str(folder), f"{tmp_path}/data", f"{tmp_path}/the objects"]


def test_the_doctor_finds_a_database_that_was_set_back(zones: Path, tmp_path: Path) -> None:
    folder = tmp_path / "identity"
    shutil.copytree(zones / "identity", folder)
    shown = {"size": 3, "root": "00" * 32}
    (folder / "registrations.head").write_text(json.dumps(shown))
    patient = Patient(folder, read_facts(folder), Neighbours(), utc_now)
    found = {one.said.partition(" ")[0]: one for one in check_databases(patient)}
    assert found["enrolments"].state == "ok"
    assert found["registrations:"].state == "failure"
    assert "showed 3" in found["registrations:"].said


def found_in(folder: Path, *, status: int = 1) -> dict[str, str]:
    """The state of each check of a zone that nobody runs, but for the peers'."""
    done = CliRunner().invoke(app, ["doctor", str(folder), "--format", "json"])
    assert done.exit_code == status, done.output
    told = json.loads(done.stdout)
    assert told["is_well"] == (status == 0)
    assert all(one["remedy"] for one in told["checks"] if one["state"] != "ok")
    checks = [one for one in told["checks"] if not one["check"].startswith("peer ")]
    return {one["check"]: one["state"] for one in checks}


def test_the_doctor_finds_nothing_wrong_with_a_vault_but_its_user(zones: Path) -> None:
    found = found_in(zones / "vault", status=0)
    bad = {name for name, state in found.items() if state != "ok"}
    assert bad <= {"folder", "kernel", "disk"}, "what this machine lacks, as a warning"
    assert found.keys() >= {"folder", "keys", "neighbours", "settings", "disk", "kernel"}


def test_the_doctor_finds_what_was_broken_and_says_what_to_do(zones: Path, tmp_path: Path) -> None:
    folder = tmp_path / "market"
    shutil.copytree(zones / "market", folder)
    (folder / "log.key").unlink()
    (folder / "setup" / "neighbours" / "authority.json").unlink()
    (folder / "zone.db").chmod(0o644)
    settings = folder / "setup" / "gridsecure-market.env"
    settings.write_text(settings.read_text().replace("PORT=", "PROT="))
    with closing(sqlite3.connect(folder / "zone.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'market_9999'")
    found = found_in(folder)
    broken = {"folder", "keys", "neighbours", "settings", "databases"}
    assert {name for name, state in found.items() if state == "failure"} == broken
