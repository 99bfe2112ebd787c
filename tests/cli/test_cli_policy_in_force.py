"""`gridsecure policy sign`, `put`, `show` and `diff` against real services and a real vault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace

import httpx
import pytest
from click.testing import Result
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from gridsecure.cli import online
from gridsecure.cli.main import app as command
from gridsecure.errors import AuthenticityError
from gridsecure.key_authority.vault.splitting import read_splitting, sealed_shares
from gridsecure.messages import sign_message
from gridsecure.offices import files as office_files
from gridsecure.offices.custodians import KnownVault
from gridsecure.offices.policies import read_vault_policy
from gridsecure.policy.packs import load_pack
from gridsecure.policy.signed_policies import PolicyNamed, SignedPolicy, VaultPolicy
from gridsecure_api.authority import create_authority_app
from gridsecure_api.settings import PersonEntry
from tests.approving import ENTRIES, officer_key, signed_policy
from tests.apps.office_services import write_secret
from tests.apps.test_api_authority import Queue
from tests.apps.zone_apps import (
    TestClock,
    approve_waiting,
    authority_settings,
    bearer,
    identity_app,
    officer,
    platform_app,
    point,
)
from tests.authority_simulator import Authority, ask_for_key_sets, settlement
from tests.cli.test_cli_keys import Carrier
from tests.custodians import custodian, custodian_key
from tests.grid_simulator import NOW, delivered_grid, grid_keys
from tests.store.test_held_policies import DAY, number, text_of
from tests.vault_services import running_vault, vault_settings, why_not_started

OWNER, PRIVACY = "data-owner", "privacy-officer"


@pytest.fixture
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    folder = tmp_path_factory.mktemp("policies")
    for one in ENTRIES:
        write_secret(folder / f"{one.role}.key", officer_key(one.role).to_bytes())
    write_secret(folder / "clerk.key", grid_keys().stranger.to_bytes())
    people = [
        PersonEntry(name=one.person, roles=(one.role,), public_key=one.public_key)
        for one in ENTRIES
    ]
    write_secret(folder / "anna.key", custodian_key("anna").to_bytes())
    anna = PersonEntry(name="anna", roles=("custodian",), public_key=custodian("anna").public_key)
    clerk = PersonEntry(name="zhou", roles=("billing",), public_key=point(grid_keys().stranger))
    with delivered_grid(folder / "grid", days=0) as grid:
        maker = Authority(grid, folder / "maker")
        queue, clock = Queue(maker), TestClock()
        identity = identity_app(folder / "identity", people=(*people, clerk, anna))
        own = vault_settings(folder, grid.authority_key)
        share = sealed_shares(read_splitting(own.folder))["anna"]
        office_files.write_signed(folder / "anna.json", share)
        with running_vault(own) as vault:
            settings = authority_settings(folder / "zone", vault=vault.settings.socket)
            app = create_authority_app(settings, clock=clock, pull=queue, settlement=settlement)
            platform = platform_app(folder / "platform")
            carried = Carrier({"identity": identity, "authority": app, "platform": platform})
            with (
                pytest.MonkeyPatch.context() as patch,
                TestClient(app) as client,
                TestClient(platform) as beside,
            ):
                patch.setattr(online, "utc_now", lambda: NOW)
                patch.setattr(online, "open_connection", lambda: httpx.Client(transport=carried))
                ask_for_key_sets(client, grid)
                yield SimpleNamespace(
                    grid=grid, maker=maker, queue=queue, http=client, platform=beside, at=folder,
                    vault=vault, settings=settings, clock=clock,
                )  # fmt: skip
        maker.close()
        identity.state.zone.close()


def run(desk: SimpleNamespace, *arguments: str, who: str = OWNER) -> Result:
    called = ["policy", *arguments, "--key", str(desk.at / f"{who}.key")]
    return CliRunner(env={"COLUMNS": "200"}).invoke(command, called)


def at(*services: str) -> list[str]:
    return [word for name in ("identity", *services) for word in (f"--{name}", f"http://{name}")]


def sign(desk: SimpleNamespace, source: str, *, role: str) -> Result:
    output = str(desk.at / "own.json")
    return run(desk, "sign", source, "--person", role, "--role", role, "--output", output, who=role)


def officers_sign_a_policy_and_put_it_in_force_everywhere(desk: SimpleNamespace) -> None:
    written, signed = desk.at / "own.toml", str(desk.at / "own.json")
    written.write_text(text_of(4, minimum=10))
    first = sign(desk, str(written), role=OWNER)
    assert (first.exit_code, "is signed by: data-owner." in first.stdout) == (0, True)
    alone = run(desk, "put", signed, *at("authority", "platform"))
    assert (alone.exit_code, "policy.unsigned" in alone.output) == (1, True)
    second = sign(desk, signed, role=PRIVACY)
    assert "is signed by: data-owner, privacy-officer." in second.stdout
    document = SignedPolicy.parse((desk.at / "own.json").read_bytes())

    asked = json.loads(run(desk, "diff", signed, *at("authority"), "--format", "json").stdout)[
        "changes"
    ]
    looser = sum(one["is_looser"] for one in asked)
    assert looser == len(asked) > 0
    clerk = run(desk, "put", signed, *at("authority", "platform"), who="clerk")
    assert (clerk.exit_code, "authenticity.role" in clerk.output) == (1, True)
    put = run(desk, "put", signed, *at("authority", "platform"), who=PRIVACY)
    assert put.exit_code == 0, put.output
    assert f"{looser} cases are looser than before." in put.stdout
    assert "interval energy_wh of *, for operations: 15 to 10" in put.stdout
    again = run(desk, "put", signed, *at("authority", "platform"))
    assert "0 cases are looser" in again.stdout

    for service in ("authority", "platform"):
        shown = run(desk, "show", *at(service), "--text", who="clerk")
        assert shown.stdout == document.text
        assert "Signed by privacy-officer, privacy-officer" in shown.stderr
    assert "The vault holds to the same." in run(desk, "show", *at("authority")).stderr
    alike = run(desk, "diff", signed, *at("platform"))
    assert "decide every case alike" in alike.stdout

    # A release goes by it, and says so; no service was started anew.
    desk.queue.requests = [desk.maker.bill_request(desk.grid.uploads)]
    assert round_of(desk) == [("released", None)]
    (release,) = desk.http.get("/releases", headers=bearer("authority", "billing")).json()
    path = f"/releases/{release['release_id']}"
    certificate = desk.http.get(path, headers=bearer("authority", "regulator")).json()
    assert json.loads(certificate["body"])["policy"] == document.digest


def who_knows_the_vault_believes_no_other(desk: SimpleNamespace) -> None:
    shown = run(desk, "show", *at("authority"))
    assert "The vault holds to the same. The key authority says so." in shown.stderr
    share = ("--vault-key", str(desk.at / "anna.json"))
    known = run(desk, "show", *at("authority"), *share, who="anna")
    assert "The vault holds to the same.\n" in known.stderr, known.output
    other = run(desk, "show", *at("authority"), "--vault-key", custodian("bert").public_key)
    assert (other.exit_code, "vault.signer" in other.output) == (1, True)


def test_a_vault_of_before_its_key_was_split_anew_is_not_believed() -> None:
    old, new = (custodian_key(name) for name in ("bert", "cleo"))

    def answer(*_: object, params: dict[str, str]) -> dict[str, object]:
        held = PolicyNamed(digest="0" * 64, name="own", version=1)
        said = VaultPolicy(
            in_force=held, waiting=[], taken_in=1, at=NOW.isoformat(), nonce=params["nonce"]
        )
        return sign_message(said, key=old).model_dump()

    known = KnownVault(new.public_key.point.hex(), earlier=[old.public_key.thumbprint])
    with pytest.raises(AuthenticityError) as refused:
        read_vault_policy(answer, known=known)
    assert refused.value.reason == "vault.superseded"
    before = KnownVault(old.public_key.point.hex())
    assert read_vault_policy(answer, known=before).taken_in == 1


def round_of(desk: SimpleNamespace) -> list[tuple[str, str | None]]:
    headers = bearer("authority", "billing")
    answer = desk.http.post("/release-rounds", headers=headers).json()
    if any(one["state"] == "waiting" for one in answer):
        approve_waiting(desk.http)
        answer = desk.http.post("/release-rounds", headers=headers).json()
    return [(one["state"], one["reason"]) for one in answer]


def a_vault_that_is_started_with_an_older_or_looser_policy_does_not_start(
    desk: SimpleNamespace,
) -> None:
    desk.vault.kill()
    own = desk.vault.settings
    loose, altered = desk.at / "loose.json", desk.at / "altered.json"
    loose.write_text(signed_policy(text_of(2, minimum=5)).model_dump_json())
    altered.write_text(signed_policy(text_of(4, minimum=5)).model_dump_json())
    unsigned = desk.at / "unsigned.toml"
    unsigned.write_text(text_of(9, minimum=5))
    for named, reason in (
        ("small-demonstration", "policy.rollback"),
        (str(loose), "policy.rollback"),
        (str(altered), "policy.altered"),
        (str(unsigned), "policy.unsigned"),
    ):
        own.socket.unlink(missing_ok=True)
        assert reason in why_not_started(own.model_copy(update={"policy": named}))
    # A setting that was lost, or that names what held before, changes nothing.
    for named in ("", "uniform-15"):
        desk.vault.settings = own.model_copy(update={"policy": named})
        desk.vault.start(is_locked=True)
        told = desk.http.get("/vault/policy", headers=bearer("authority", "regulator")).json()
        found = VaultPolicy.parse(told["body"])
        assert (found.in_force.name, found.in_force.version, found.taken_in) == (
            "own",
            number(4),
            3,
        )
        desk.vault.kill()


def the_checkers_word_puts_nothing_in_force_at_the_vault(desk: SimpleNamespace) -> None:
    """As whoever has the checker's process: at the vault's own door."""
    door = desk.vault.client()
    for document, reason in (
        (SignedPolicy(text=text_of(3, minimum=5)), "policy.unsigned"),
        (signed_policy(text_of(3, minimum=5), roles=[OWNER]), "policy.unsigned"),
        (SignedPolicy(text=load_pack("small-demonstration").text), "policy.rollback"),
    ):
        with pytest.raises(Exception, match=reason):
            door.hold_policy(document)
    door.close()
    told = VaultPolicy.parse(desk.http.get("/vault/policy", headers=officer(OWNER)).json()["body"])
    assert (told.in_force.digest, told.taken_in) == (load_pack("uniform-15").digest, 1)


def where_the_vault_is_down_nothing_is_put_in_force(desk: SimpleNamespace) -> None:
    desk.vault.kill()
    body = signed_policy(text_of(3)).model_dump()
    answer = desk.http.put("/policy", json=body, headers=officer(OWNER))
    assert (answer.status_code, answer.json()["reason"]) == (503, "vault.down")
    told = desk.http.get("/policy", headers=officer(OWNER)).json()
    assert told["in_force"]["name"] == "uniform-15"
    desk.vault.start()
    assert desk.http.put("/policy", json=body, headers=officer(OWNER)).status_code == 200


def a_policy_takes_over_on_its_day_and_a_tag_says_whether_it_changed(
    desk: SimpleNamespace,
) -> None:
    start = (NOW + DAY).isoformat()
    desk.vault.start(is_locked=True)
    body = signed_policy(text_of(5, minimum=30, start=NOW + DAY)).model_dump()
    operator = bearer("authority", "operator")
    taken = desk.http.put("/policy", json=body, headers=operator).json()
    assert (taken["name"], taken["looser"]) == ("own", [])
    reader = bearer("authority", "billing", valid=(NOW, NOW + 3 * DAY))
    told = desk.http.get("/policy", headers=reader)
    assert (told.json()["in_force"]["name"], told.json()["waiting"][0]["begins_at"]) == (
        "own", start,
    )  # fmt: skip
    tag = {"If-None-Match": told.headers["ETag"]}
    assert desk.http.get("/policy", headers=reader | tag).status_code == 304
    waiting = run(desk, "show", *at("authority"))
    assert f"Waiting: own, version {number(5)}, from {start}." in waiting.stderr
    desk.clock.advance(days=1)
    later = desk.http.get("/policy", headers=reader | tag)
    assert (later.status_code, later.json()["in_force"]["version"]) == (200, number(5))
    policy = desk.http.get("/about").json()["policy"]
    assert policy == {key: later.json()["in_force"][key] for key in ("name", "version", "digest")}
    assert later.json()["waiting"] == []


def test_a_policys_way_from_officers_to_vault_checker_and_platform(desk: SimpleNamespace) -> None:
    """Of one set of services, because a vault and its keys take seconds."""
    the_checkers_word_puts_nothing_in_force_at_the_vault(desk)
    where_the_vault_is_down_nothing_is_put_in_force(desk)
    officers_sign_a_policy_and_put_it_in_force_everywhere(desk)
    who_knows_the_vault_believes_no_other(desk)
    a_vault_that_is_started_with_an_older_or_looser_policy_does_not_start(desk)
    a_policy_takes_over_on_its_day_and_a_tag_says_whether_it_changed(desk)


@pytest.mark.parametrize(("arguments", "reason"), [
    (["show", "--authority", "http://authority"], "policy.sign-in"),
    (["show", *at("authority", "platform")], "policy.sign-in"),
    (["diff", "strict"], "policy.diff"),
    (["diff", "strict", "uniform-15", *at("authority")], "policy.diff"),
])  # fmt: skip
def test_what_cannot_be_asked(tmp_path, arguments, reason):
    write_secret(tmp_path / "data-owner.key", officer_key(OWNER).to_bytes())
    answer = run(SimpleNamespace(at=tmp_path), *arguments)
    assert (answer.exit_code, reason in answer.output) == (1, True)


def test_a_role_that_signs_no_policy(tmp_path):
    write_secret(tmp_path / "clerk.key", officer_key(OWNER).to_bytes())
    desk = SimpleNamespace(at=tmp_path)
    output = str(tmp_path / "own.json")
    answer = run(
        desk, "sign", "strict", "--person", "li", "--role", "billing", "--output", output,
        who="clerk",
    )  # fmt: skip
    assert (answer.exit_code, "policy.role" in answer.output) == (1, True)
    assert not (tmp_path / "own.json").exists()
