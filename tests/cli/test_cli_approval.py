"""`gridsecure approval`: officers with keys of their own, at the real services."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace

import httpx
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from gridsecure.cli import online
from gridsecure.cli.main import app as command
from gridsecure_api.authority import create_authority_app
from gridsecure_api.settings import PersonEntry
from tests.approving import APPROVERS, ENTRIES, officer_key
from tests.apps.office_services import write_secret
from tests.apps.test_api_authority import Queue
from tests.apps.zone_apps import (
    TestClock,
    authority_settings,
    bearer,
    identity_app,
    point,
)
from tests.authority_simulator import Authority, ask_for_key_sets, settlement
from tests.cli.test_cli_keys import Carrier
from tests.grid_simulator import NOW, delivered_grid, grid_keys
from tests.vault_services import running_vault, vault_settings

OWNER, PRIVACY = "data-owner", "privacy-officer"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    folder = tmp_path_factory.mktemp("approvals")
    for role in APPROVERS.values():
        write_secret(folder / f"{role.role}.key", officer_key(role.role).to_bytes())
    write_secret(folder / "clerk.key", grid_keys().stranger.to_bytes())
    people = [
        PersonEntry(name=one.person, roles=(one.role,), public_key=one.public_key)
        for one in ENTRIES
    ]
    people.append(
        PersonEntry(name="zhou", roles=("billing",), public_key=point(grid_keys().stranger))
    )
    with delivered_grid(folder / "platform", days=0) as grid:
        maker = Authority(grid, folder / "maker")
        queue = Queue(maker)
        identity = identity_app(folder / "identity", people=tuple(people))
        with running_vault(vault_settings(folder, grid.authority_key)) as vault:
            settings = authority_settings(folder / "zone", vault=vault.settings.socket)
            app = create_authority_app(
                settings, clock=TestClock(), pull=queue, settlement=settlement
            )
            carried = Carrier({"identity": identity, "authority": app})
            with pytest.MonkeyPatch.context() as patch, TestClient(app) as client:
                patch.setattr(online, "utc_now", lambda: NOW)
                patch.setattr(online, "open_connection", lambda: httpx.Client(transport=carried))
                ask_for_key_sets(client, grid)
                yield SimpleNamespace(grid=grid, maker=maker, queue=queue, http=client, at=folder)
        maker.close()
        identity.state.zone.close()


def run(desk: SimpleNamespace, *arguments: str, who: str = OWNER, group: str = "approval"):
    services = ["--identity", "http://identity", "--authority", "http://authority"]
    key = ["--key", str(desk.at / f"{who}.key")]
    called = [group, *arguments, *services, *key]
    return CliRunner(env={"COLUMNS": "200"}).invoke(command, called)


def rounds(desk: SimpleNamespace) -> list[tuple[str, str | None]]:
    answer = desk.http.post("/release-rounds", headers=bearer("authority", "billing"))
    assert answer.status_code == 200, answer.text
    return [(one["state"], one["reason"]) for one in answer.json()]


def waiting(desk: SimpleNamespace) -> list[dict]:
    return json.loads(run(desk, "list", "--format", "json").stdout)["requests"]


def two_officers_look_at_a_release_and_sign_it(desk: SimpleNamespace) -> None:
    desk.queue.requests = [desk.maker.bill_request(desk.grid.uploads)]
    assert rounds(desk) == [("waiting", "approval.missing")]
    assert desk.queue.answers == [], "the platform is told nothing yet"
    (asked,) = waiting(desk)
    assert asked["missing"] == [OWNER, PRIVACY]
    listed = run(desk, "list").stdout
    assert asked["subject"][:12] in listed
    shown = run(desk, "show", asked["subject"][:12], who=PRIVACY).stdout
    for said in ("billing, asked by clerk", "uniform-15, version 3", "futian", "household"):
        assert said in shown

    refused = run(desk, "sign", asked["subject"], who="clerk")
    assert (refused.exit_code, "approval.nobody" in refused.output) == (1, True)
    unknown = run(desk, "sign", "0123")
    assert (unknown.exit_code, "approval.which" in unknown.output) == (1, True)
    first = run(desk, "sign", asked["subject"][:12], "--note", "as agreed")
    assert first.exit_code == 0, first.output
    assert f"It still lacks: {PRIVACY}." in first.stdout
    again = run(desk, "sign", asked["subject"], "--days", "3")
    assert (again.exit_code, "approval.repeated" in again.output) == (1, True)
    assert rounds(desk) == [("waiting", "approval.missing")]
    second = run(desk, "sign", asked["subject"], who=PRIVACY)
    assert "The next release round releases it." in second.stdout
    assert rounds(desk) == [("released", None)]
    assert "Nothing waits." in run(desk, "list").stdout
    assert "released" in run(desk, "list", "--all").stdout

    (release,) = desk.http.get("/releases", headers=bearer("authority", "billing")).json()
    path, headers = f"/releases/{release['release_id']}", bearer("authority", "regulator")
    (desk.at / "certificate.json").write_text(desk.http.get(path, headers=headers).text)
    officers = [f"--approver={one.role}={one.key.point.hex()}" for one in APPROVERS.values()]
    key = f"--authority-key={point(desk.grid.authority_key)}"
    file = str(desk.at / "certificate.json")
    checked = CliRunner().invoke(command, ["approval", "check", file, key, *officers])
    assert "2 officers approved it." in checked.stdout, checked.output
    one = CliRunner().invoke(command, ["approval", "check", file, key, officers[0]])
    assert (one.exit_code, "approval.signature" in one.output) == (1, True)


def a_rejected_release_is_refused_and_the_platform_told(desk: SimpleNamespace) -> None:
    maker, first = desk.maker, desk.grid.uploads[0]
    desk.queue.requests = [maker.request([maker.bill_transcript(first)], requested_by="li")]
    desk.queue.answers.clear()
    assert rounds(desk) == [("waiting", "approval.missing")]
    (asked,) = waiting(desk)
    done = run(desk, "reject", asked["subject"], "--note", "not this month", who=PRIVACY)
    assert "Rejected" in done.stdout, done.output
    assert rounds(desk) == [("refused", "approval.rejected")]
    assert [state for _, state in desk.queue.answers] == ["refused"]


def officers_approve_in_advance_and_take_it_back(desk: SimpleNamespace) -> None:
    """So a month is released by one command a night, until an officer says otherwise."""
    maker, second = desk.maker, desk.grid.uploads[1]

    def advance(*arguments: str, who: str = OWNER):
        return run(desk, *arguments, who=who, group="authorisation")

    for scope in (
        [],
        ["--domain", "water"],
        ["--purpose", "fun"],
        ["--everything", "--domain", "bills"],
    ):
        wrong = advance("give", "--policy", "uniform-15", *scope)
        assert (wrong.exit_code, "approval.scope" in wrong.output) == (1, True)
    other = advance("give", "--policy", "strict", "--everything")
    assert (other.exit_code, "approval.policy" in other.output) == (1, True)
    assert advance("list").stdout.startswith("Nobody approves in advance.")
    given = advance("give", "--policy", "uniform-15", "--domain", "bills", "--days", "366")
    assert given.exit_code == 0, given.output
    done = advance("give", "--policy", "uniform-15", "--purpose", "billing", who=PRIVACY)
    assert done.exit_code == 0, done.output
    listed = json.loads(advance("list", "--format", "json").stdout)["authorisations"]
    assert [(one["role"], one["domain"], one["purpose"], one["state"]) for one in listed] == [
        (OWNER, "bills", "", "in-force"),
        (PRIVACY, "", "billing", "in-force"),
    ]
    taken = advance("revoke", listed[0]["digest"][:12], who=PRIVACY)
    assert "nothing more is released by it" in taken.stdout, taken.output
    desk.queue.requests = [maker.request([maker.bill_transcript(second)], requested_by="wu")]
    assert rounds(desk) == [("waiting", "approval.missing")]
    assert advance("give", "--policy", "uniform-15", "--everything").exit_code == 0
    assert rounds(desk) == [("refused", "release.repeated")], "they were released above"
    assert waiting(desk) == [], "what was refused waits no more"
    unknown = advance("revoke", "0123")
    assert (unknown.exit_code, "approval.which" in unknown.output) == (1, True)
    shown = advance("list").stdout
    assert "revoked" in shown
    assert "everything" in shown


def a_lost_key_is_revoked_over_the_running_services(desk: SimpleNamespace) -> None:
    done = run(desk, "revoke-key", PRIVACY)
    assert done.exit_code == 0, done.output
    rows = desk.http.get("/approvers", headers=bearer("authority", "regulator")).json()
    assert {row["person"]: row["is_revoked"] for row in rows} == {OWNER: False, PRIVACY: True}
    unknown = run(desk, "revoke-key", "nobody")
    assert (unknown.exit_code, "not-found.approver" in unknown.output) == (1, True)


def test_officers_work_by_command(desk: SimpleNamespace) -> None:
    """One after the other: each step leaves the services as the next one finds them."""
    two_officers_look_at_a_release_and_sign_it(desk)
    a_rejected_release_is_refused_and_the_platform_told(desk)
    officers_approve_in_advance_and_take_it_back(desk)
    a_lost_key_is_revoked_over_the_running_services(desk)


@pytest.mark.parametrize("role", ["billing", "analyst", "custodian", "gateway"])
def test_only_officers_send_approvals(desk: SimpleNamespace, role: str) -> None:
    body = {"body_kind": "release-approval", "body": "{}", "signer": "", "signature": ""}
    answer = desk.http.post("/approvals", json=body, headers=bearer("authority", role))
    assert answer.status_code == 403
