"""An analyst's query through the three services, from wallet to answer; nobody learns who asks."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlmodel import delete, update
from typer.testing import CliRunner

from gridsecure.analyst.grants import QueryAddresses, QueryClient
from gridsecure.analyst.queries import Grant, QueryProgress
from gridsecure.analyst.releases import pin_authority
from gridsecure.cli import analyst, online
from gridsecure.cli.main import app as command
from gridsecure.compute import closings
from gridsecure.compute.tables import ReleaseRequestRow, RequestUploadRow, RunRow
from gridsecure.credentials.queries import RESULT_PURPOSE, parse_query
from gridsecure.crypto.envelope import open_from
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import EnvelopeError
from gridsecure.key_authority.checker.pull import PlatformPull
from gridsecure.policy.packs import UNIFORM
from gridsecure.store.database import write_session
from gridsecure.wire.client import service_client
from gridsecure_api.authority import create_authority_app
from gridsecure_api.platform import create_platform_app
from tests.apps.zone_apps import (
    TestClock,
    answered_round,
    authority_settings,
    bearer,
    identity_app,
    is_refused,
    platform_settings,
    point,
    refused_body,
)
from tests.authority_simulator import ask_for_key_sets
from tests.cli.in_process import InProcess, client_of
from tests.grid_simulator import NOW, GridSimulator, delivered_grid, grid_keys
from tests.identity.identity_world import keys
from tests.query_grants import grant_token, query_of
from tests.vault_services import running_vault, vault_settings

URLS = {name: f"http://{name}" for name in ("identity", "platform", "authority")}
BILLING = bearer("platform", "billing")
LIMIT = 3


class Services(httpx.BaseTransport):
    """Carries requests to the service they name, and keeps what was sent."""

    def __init__(self, apps: dict[str, FastAPI]) -> None:
        self.services = {name: InProcess(app) for name, app in apps.items()}
        self.sent: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.sent.append(request)
        return self.services[request.url.host].handle_request(request)


def authority_of(
    folder: Path,
    grid: GridSimulator,
    platform: FastAPI,
    *,
    vault: Path,
    policy: str = UNIFORM,
    **more: Any,
) -> FastAPI:
    """A key authority that pulls from a platform."""
    settings = authority_settings(folder, vault=vault, policy=policy)
    http = client_of(platform, headers=bearer("platform", "authority"))
    pull = PlatformPull(service_client(http, name="platform", pause=lambda _seconds: None))
    return create_authority_app(settings, clock=TestClock(), pull=pull, **more)


@dataclass
class World:
    """Three services around a grid whose uploads are committed."""

    grid: GridSimulator
    platform: TestClient
    authority: TestClient
    services: Services
    http: httpx.Client
    folder: Path
    outcomes: list[dict] = field(default_factory=list)

    def round(self) -> list[dict]:
        """A release round, ordered by staff."""
        answer = answered_round(self.authority, bearer("authority", "billing"))
        assert answer.status_code == 200, answer.text
        self.outcomes += answer.json()
        return answer.json()

    def pause(self, progress: QueryProgress) -> None:
        if progress.state == "done":
            self.round()
        else:
            time.sleep(0.05)

    @property
    def client(self) -> QueryClient:
        return QueryClient(
            self.http,
            addresses=QueryAddresses(**URLS),
            keys=keys().public,
            authority=pin_authority(point(self.grid.authority_key)),
        )

    def grant(self, *, text: str | None = None, **changes: object) -> Grant:
        """A grant as the identity service gives it."""
        query = query_of(self.grid)
        return Grant(
            query,
            grid_keys().holder,
            grant_token(text or query.text, audience="platform", **changes),
            grant_token(text or query.text, audience="authority", **changes),
            NOW,
        )

    def ask(self, grant: Grant, *, authority: str = "") -> httpx.Response:
        body = {"query": grant.query.text, "grant": authority or grant.authority}
        headers = {"Authorization": f"Bearer {grant.platform}"}
        return self.platform.post("/queries", json=body, headers=headers)

    def state(self, grant: Grant, *, digest: str = "") -> httpx.Response:
        headers = {"Authorization": f"Bearer {grant.platform}"}
        return self.platform.get(f"/queries/{digest or grant.digest.hex()}", headers=headers)

    def finished(self, grant: Grant) -> dict:
        until = time.monotonic() + 60
        while (said := self.state(grant).json())["state"] == "running":
            assert time.monotonic() < until, "the run does not end"
            time.sleep(0.05)
        return said

    def result(self, grant: Grant, *, query: str = "") -> httpx.Response:
        headers = {"Authorization": f"Bearer {grant.authority}"}
        body = {"query": query or grant.query.text}
        return self.authority.post("/query-results", json=body, headers=headers)


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of one vault for all worlds: it remembers nothing of what it was asked."""
    settings = vault_settings(tmp_path_factory.mktemp("vault"), grid_keys().authority)
    with running_vault(settings):
        yield settings.socket


@contextmanager
def world_in(
    tmp_path: Path, *, vault: Path, policy: str = UNIFORM, grants: int = LIMIT, **choices: Any
) -> Iterator[World]:
    folder = tmp_path / "platform"
    with delivered_grid(folder, days=2, **choices) as grid:
        platform = create_platform_app(platform_settings(folder), clock=TestClock())
        identity = identity_app(tmp_path / "identity", grants_per_epoch=grants)
        folder = tmp_path / "authority"
        authority = authority_of(folder, grid, platform, vault=vault, policy=policy)
        services = Services({"identity": identity, "platform": platform, "authority": authority})
        with (
            TestClient(platform) as first,
            TestClient(authority) as second,
            httpx.Client(transport=services) as http,
        ):
            ask_for_key_sets(second, grid)
            yield World(grid, first, second, services, http, tmp_path)
        identity.state.zone.close()


@pytest.fixture
def world(tmp_path: Path, vault: Path) -> Iterator[World]:
    with world_in(tmp_path, vault=vault) as made:
        yield made


@pytest.fixture(scope="module")
def resting(tmp_path_factory: pytest.TempPathFactory, vault: Path) -> Iterator[World]:
    """A world for tests in which nothing may start: each of them proves that nothing did."""
    with world_in(tmp_path_factory.mktemp("resting"), vault=vault) as made:
        yield made


# --- from wallet to answer ---------------------------------------------------------------------


@pytest.fixture
def cli(world, monkeypatch):
    """The command, its connections carried to the services, its clock the grid's."""
    for opened in ("open_connection", "open_unlinked"):
        monkeypatch.setattr(online, opened, lambda: httpx.Client(transport=world.services))
    monkeypatch.setattr(online, "utc_now", lambda: NOW)
    monkeypatch.setattr(analyst, "patience", lambda _seconds: world.pause)

    def run(*arguments: str, status: int = 0):
        result = CliRunner().invoke(command, ["analyst", *arguments])
        assert result.exit_code == status, result.output
        return result

    return run


def enrol_arguments(world: World, name: str = "lin") -> list[str]:
    key = world.folder / f"{name}.key"
    key.write_bytes(keys().people[name].to_bytes())
    key.chmod(0o600)
    signers = keys().staters
    return [
        "enrol", "--identity-url", URLS["identity"], "--key", str(key), "--name", name,
        "--identity-key", point(grid_keys().identity), "--utility-key", point(signers["utility"]),
        "--regulator-key", point(signers["regulator"]), "--period", "2026",
        "--wallet", str(world.folder / "wallet.json"),
    ]  # fmt: skip


def ask_arguments(world: World, *more: str) -> list[str]:
    return [
        "ask", "--identity-url", URLS["identity"], "--platform-url", URLS["platform"],
        "--authority-url", URLS["authority"], "--authority-key", point(grid_keys().authority),
        "--wallet", str(world.folder / "wallet.json"),
        *(() if "--day" in more else ("--month", "2026-07")), *more,
    ]  # fmt: skip


def test_an_analyst_enrols_asks_and_reads_and_nobody_learns_who(world, cli):
    assert "Enrolled for 2026" in cli(*enrol_arguments(world)).output
    named = len(world.services.sent)
    answer = json.loads(cli(*ask_arguments(world, "--format", "json")).stdout)
    asked = [one for one in world.services.sent if one.url.path == "/queries"]
    query = json.loads(asked[0].content)["query"]
    assert answer["requested_by"] == f"query/{sm3_hex(query.encode())}"
    same = query_of(world.grid).asks_like(parse_query(query))
    assert same
    assert parse_query(query).reader != keys().people["lin"].public_key.point.hex()
    assert (answer["purpose"], answer["grants_left"]) == ("research", LIMIT - 1)
    readings = world.grid.readings
    starts = readings["start"].map(lambda moment: moment.isoformat())
    released = [cell for cell in answer["cells"] if cell["value"] is not None]
    assert released
    for cell in released:
        members = _members(world.grid, cell)
        chosen = readings["meter_point_id"].isin(members) & (starts == cell["start"])
        assert int(readings.loc[chosen, "energy_wh"].sum()) == cell["value"]
    assert_anonymous(world.services.sent[named:])
    anonymous = {request.url.path.split("/")[1] for request in world.services.sent[named:]}
    assert anonymous == {"grants", "queries", "query-results"}


def test_an_analyst_asks_for_a_sealed_day(world, cli):
    grid = world.grid
    span = {"start": "2026-07-03T00:00:00+08:00", "end": "2026-07-04T00:00:00+08:00"}
    for roster in grid.rosters:
        packed = [column.entry for column in grid.packed(roster, days=3)]
        grid.deliver(grid.upload(roster, days=3, columns=packed[-1:], **span))
    opened = [one.upload for one in closings.open_uploads(grid.platform_zone, **span)]
    closings.close_period(grid.platform_zone, grid.closing_list(opened, **span), at=NOW)
    cli(*enrol_arguments(world))
    asked = ask_arguments(world, "--day", "2026-07-03", "--format", "json")
    answer = json.loads(cli(*asked).stdout)
    assert {cell["start"][:10] for cell in answer["cells"]} == {"2026-07-03"}
    assert [cell for cell in answer["cells"] if cell["value"] is not None]
    assert answer["grants_left"] == LIMIT - 1
    both = cli(*ask_arguments(world, "--day", "2026-07-03", "--month", "2026-07"), status=1)
    assert "period.one" in both.output


def _members(grid: GridSimulator, cell: dict) -> list[str]:
    """Of every zone and class that a cell is made of."""
    contracts = grid.contracts
    places = set(map(tuple, cell["parts"]))
    own = zip(contracts["zone"], contracts["customer_class"], strict=True)
    return list(contracts.loc[[place in places for place in own], "meter_point_id"])


def assert_anonymous(sent: list[httpx.Request]) -> None:
    """No request has the analyst's name or key in it, nor a token that has."""
    key = keys().people["lin"].public_key
    for request in sent:
        token = request.headers.get("authorization", "").partition(" ")[2]
        if token:
            payload = _payload(token)
            assert set(payload) == {"sub", "roles", "aud", "iss", "iat", "exp", "jti"}
            assert payload["sub"].startswith("query/")
            assert payload["roles"] == ["query-grant"]
        else:
            assert request.url.path.startswith(("/grants", "/returned-grants"))
        whole = bytes(request.url.raw_path) + request.content + str(request.headers.raw).encode()
        assert b'lin"' not in whole
        assert key.point.hex().encode() not in whole
        assert key.thumbprint.encode() not in whole
        assert "cookie" not in request.headers


def _payload(token: str) -> dict:
    part = token.split(".")[1]
    return json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_the_table_shows_cells_and_how_many_grants_are_left(world, cli):
    cli(*enrol_arguments(world))
    shown = cli(*ask_arguments(world)).output
    assert f"{LIMIT - 1} of {LIMIT} grants are left this month" in shown
    assert "futian" in shown
    assert " + " in shown, "zones that were merged"


def test_another_who_asks_the_same_is_told_so_and_reads_nothing(world, cli):
    """A second wallet has a reader of its own, and the answer was sealed to the first."""
    cli(*enrol_arguments(world))
    cli(*ask_arguments(world, "--format", "json"))
    (world.folder / "wallet.json").rename(world.folder / "first.json")
    cli(*enrol_arguments(world, "wei"))
    second = cli(*ask_arguments(world, "--format", "json"), status=1)
    assert "conflict.asked" in second.output
    assert len(world.outcomes) == 1


def test_the_command_says_what_is_wrong(world, cli):
    missing = cli(*ask_arguments(world), status=1)
    assert "wallet.missing" in missing.output
    arguments = enrol_arguments(world)
    arguments[arguments.index("--utility-key") + 1] = "04"
    assert "settings.key" in cli(*arguments, status=1).output
    arguments = enrol_arguments(world)
    arguments[arguments.index("--key") + 1] = "nowhere"
    assert "keys.missing" in cli(*arguments, status=1).output


# --- the platform ------------------------------------------------------------------------------


def test_the_same_request_is_the_same_run_and_another_is_refused(world):
    grant = world.grant()
    first = world.ask(grant)
    assert first.status_code == 202
    assert world.ask(grant).json() == first.json()
    said = world.finished(grant)
    assert (said["run_id"], said["state"]) == (first.json()["run_id"], "done")
    assert said["request_state"] == "waiting"
    assert world.ask(grant).json() == first.json()

    another = world.ask(grant, authority=world.grant().authority)
    assert (another.status_code, another.json()) == (401, refused_body(401))
    second = world.ask(world.grant())
    assert (second.status_code, second.json()["reason"]) == (409, "conflict.asked")
    assert "another period" in second.json()["remedy"]
    assert len(world.platform.get("/runs", headers=BILLING).json()) == 1


def test_a_run_at_work_takes_no_second_grant(world):
    first, second = world.grant(), world.grant()
    assert world.ask(first).status_code == 202
    answer = world.ask(second)
    assert answer.json()["reason"] in {"conflict.run", "conflict.asked"}
    assert world.state(second).json()["reason"] == "not-found.query"
    world.finished(first)


def test_a_run_that_was_interrupted_goes_on_with_the_same_grant(world):
    grant = world.grant()
    run_id = world.ask(grant).json()["run_id"]
    world.finished(grant)
    # as a platform that was killed before it kept the request would find it
    with write_session(world.grid.platform_zone.engine) as session:
        running = {"state": "running", "jobs": 0, "jobs_done": 0, "request_id": None}
        moved = session.exec(update(RunRow).filter_by(run_id=run_id, state="done").values(running))
        assert moved.rowcount == 1
        session.exec(delete(RequestUploadRow))
        session.exec(delete(ReleaseRequestRow))
    settings = platform_settings(world.folder / "platform")
    with TestClient(create_platform_app(settings, clock=TestClock())) as again:
        world.platform = again
        assert world.ask(grant).json()["run_id"] == run_id
        assert world.finished(grant)["request_state"] == "waiting"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"text": "another query"}, 401),
        ({"roles": ("billing",)}, 403),
        ({"roles": ("query-grant", "analyst")}, 401),
        ({"subject": "lin"}, 401),
        ({"expires_at": NOW, "issued_at": NOW.replace(day=1)}, 401),
    ],
    ids=["another-query", "clerk", "two-roles", "person", "expired"],
)
def test_bearers_without_a_grant_for_it_start_nothing(resting, changes, status):
    answer = resting.ask(resting.grant(**changes))
    assert is_refused(answer, status)
    assert resting.platform.get("/runs", headers=BILLING).json() == []


def test_the_period_is_one_with_data(resting):
    query = query_of(resting.grid)
    other = query.model_copy(update={"start": "2026-06-01T00:00:00+08:00", "end": query.start})
    tokens = (grant_token(other.text, audience="platform"), grant_token(other.text))
    grant = Grant(other, grid_keys().holder, *tokens, NOW)
    answer = resting.ask(grant)
    assert (answer.status_code, answer.json()["reason"]) == (404, "run.empty")
    assert resting.platform.get("/runs", headers=BILLING).json() == []


def test_a_query_is_read_with_its_grant_alone(world):
    grant = world.grant()
    world.ask(grant)
    assert world.state(grant, digest="0" * 64).status_code == 403
    other = world.state(world.grant())
    assert (other.status_code, other.json()["reason"]) == (404, "not-found.query")
    for path in ("/runs", "/release-requests", "/status"):
        headers = {"Authorization": f"Bearer {grant.platform}"}
        assert world.platform.get(path, headers=headers).status_code == 403
    assert world.platform.get(f"/queries/{grant.digest.hex()}", headers=BILLING).status_code == 403
    world.finished(grant)


@pytest.mark.parametrize("purpose", ["research", "monthly bills", "billing"])
def test_staff_order_no_load_curve_for_another_purpose(resting, purpose):
    query = query_of(resting.grid)
    body = {"plan": "load-curve", "start": query.start, "end": query.end, "purpose": purpose}
    answer = resting.platform.post("/runs", json=body, headers=BILLING)
    assert (answer.status_code, answer.json()["reason"]) == (400, "run.purpose")
    assert resting.platform.get("/runs", headers=BILLING).json() == []


# --- the authority -----------------------------------------------------------------------------


def test_results_are_for_the_bearer_of_a_grant_for_the_query(world):
    grant = world.grant()
    world.ask(grant)
    world.finished(grant)
    early = world.result(grant)
    assert (early.status_code, early.json()["reason"]) == (404, "not-found.query-result")
    (outcome,) = world.round()
    assert (outcome["state"], outcome["reason"]) == ("released", None)
    assert world.state(grant).json()["request_state"] == "released"
    release = world.client.result(grant)
    assert release.release_id == outcome["release_id"]
    assert any(cell.value is not None for cell in release.cells)
    own = query_of(world.grid, reader=world.grid.platform_key.public_key).text
    assert world.result(grant, query=own).status_code == 401
    assert world.result(world.grant(text="another query")).status_code == 401
    headers = {"Authorization": f"Bearer {grant.authority}"}
    for path in ("/releases", f"/releases/{release.release_id}"):
        assert world.authority.get(path, headers=headers).status_code == 403
    for role in ("analyst", "billing", "regulator"):
        body, headers = {"query": grant.query.text}, bearer("authority", role)
        assert world.authority.post("/query-results", json=body, headers=headers).status_code == 403


def test_the_platform_has_the_grant_and_gets_bytes_it_cannot_open(world):
    """Whoever bears the grant is answered; who has not the reader's key learns no figure."""
    grant = world.grant()
    world.ask(grant)
    world.finished(grant)
    carried = world.platform.get("/release-requests", headers=bearer("platform", "authority"))
    assert grant.authority in carried.text, "the platform has it"
    world.round()
    answer = world.result(grant)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/octet-stream")
    for piece in (b"futian", b"household", b"research", b"cells"):
        assert piece not in answer.content
    for key in (world.grid.platform_key, generate_private_key()):
        with pytest.raises(EnvelopeError):
            open_from(answer.content, private_key=key, purpose=RESULT_PURPOSE)
    opened = open_from(answer.content, private_key=grant.reader, purpose=RESULT_PURPOSE)
    assert b"futian" in opened


def test_a_query_whose_reader_is_no_point_is_refused(resting):
    query = query_of(resting.grid).model_copy(update={"reader": "04" + "0" * 127 + "1"})
    tokens = [grant_token(query.text, audience=name) for name in ("platform", "authority")]
    grant = Grant(query, grid_keys().holder, *tokens, NOW)
    for answer in (resting.ask(grant), resting.result(grant)):
        assert answer.status_code in (400, 422), answer.text
    assert resting.platform.get("/runs", headers=BILLING).json() == []
