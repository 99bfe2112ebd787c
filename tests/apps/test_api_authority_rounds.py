"""Release rounds: no bad request and no broken platform keeps the other requests waiting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from gridsecure.errors import GridSecureError
from gridsecure.key_authority.checker.event_receivers import receivers_of
from gridsecure.key_authority.checker.usage import GRANTED
from gridsecure.messages import Signed, sign_message
from gridsecure.store.database import read_session
from gridsecure.store.evidence import list_entries_of
from gridsecure_api.authority import create_authority_app
from tests.apps.zone_apps import (
    TestClock,
    answered_round,
    authority_settings,
    bearer,
)
from tests.authority_simulator import (
    Authority,
    ask_for_key_sets,
    settlement,
)
from tests.grid_simulator import GridSimulator, delivered_grid
from tests.vault_services import RunningVault, running_vault, vault_settings


class Queue:
    """The platform as the service pulls it; it may be out of reach for answers."""

    def __init__(self, maker: Authority) -> None:
        self.requests: list[Signed] = []
        self.answers: list[tuple[str, str]] = []
        self.is_deaf = False
        self.message = maker.view.message
        self.objects = maker.view.objects

    def list_waiting(self) -> list[Signed]:
        return self.requests

    def report(self, request_id: str, state: str) -> None:
        if self.is_deaf:
            raise GridSecureError("The platform cannot be reached.", reason="platform.unreachable")
        self.answers.append((request_id, state))


class World:
    """One authority's service, and the maker of requests to it."""

    def __init__(self, folder: Path, grid: GridSimulator, vault: RunningVault) -> None:
        self.grid, self.uploads = grid, grid.uploads
        self.folder = folder / "zone"
        self.maker = Authority(grid, folder / "maker")
        self.queue = Queue(self.maker)
        self.vault = vault
        settings = authority_settings(self.folder, vault=vault.settings.socket)
        self.app = create_authority_app(
            settings,
            clock=TestClock(),
            pull=self.queue,
            settlement=settlement,
        )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with (
        delivered_grid(tmp_path / "platform", days=0) as grid,
        running_vault(vault_settings(tmp_path, grid.authority_key)) as vault,
    ):
        made = World(tmp_path, grid, vault)
        yield made
        made.maker.close()


@pytest.fixture
def client(world: World) -> Iterator[TestClient]:
    with TestClient(world.app, headers=bearer("authority", "custodian")) as started:
        ask_for_key_sets(started, world.grid)
        yield started


def test_poisoned_requests_do_not_stop_the_round(world: World, client: TestClient) -> None:
    maker, (first, second) = world.maker, world.uploads
    good = [maker.request([maker.bill_transcript(upload)]) for upload in (first, second)]
    forged = good[0].model_copy(update={"signature": "00" * 64})
    foreign = sign_message(world.uploads[0].manifest, key=world.grid.keys.stranger)
    shapeless = world.grid.sign(first.manifest, key=world.grid.platform_key)
    shapeless = signed_as_request(shapeless, world)
    world.queue.requests = [forged, good[0], foreign, shapeless, good[1]]
    outcomes = answered_round(client).json()
    assert [(o["state"], o["reason"]) for o in outcomes] == [
        ("refused", "authenticity.signature"),
        ("released", None),
        ("refused", "authenticity.unknown"),
        ("refused", "message.invalid"),
        ("released", None),
    ]
    # Nobody is told about what nobody can be believed to have asked.
    assert [state for _, state in world.queue.answers] == ["released", "released"]
    assert [o["release_id"] is None for o in outcomes] == [True, False, True, True, False]
    assert all(o["seconds"] >= 0 for o in outcomes)


def signed_as_request(envelope: Signed, world: World) -> Signed:
    """The platform's valid signature over text that is no request."""
    unsigned = envelope.model_copy(update={"body_kind": "release-request", "body": '{"x": 1}'})
    signature = world.grid.platform_key.sign(unsigned._signed_bytes).hex()
    return unsigned.model_copy(update={"signature": signature})


def test_a_receiver_is_told_of_a_release_by_the_entry_that_says_so(
    world: World, client: TestClient
) -> None:
    operator = {"headers": bearer("authority", "operator")}
    wanted = {"address": "http://127.0.0.1:9/events", "events": ["release.done"]}
    registered = client.put("/v1/receivers/desk", json=wanted, **operator).json()
    zone = world.app.state.authority.zone
    assert registered["service_key"] == zone.signing_key.public_key.point.hex()
    assert client.put("/v1/receivers/desk", json=wanted).status_code == 403, "a custodian's"
    world.queue.requests = [world.maker.bill_request(world.uploads)]
    (outcome,) = answered_round(client).json()
    receivers_of(zone).announce(at=TestClock()())  # unless the courier was faster
    (notice,) = client.get("/v1/receivers/desk/notices", **operator).json()
    assert (notice["event"], notice["subject"]) == ("release.done", outcome["release_id"])
    with read_session(zone.engine) as session:
        (granted,) = list_entries_of(session, GRANTED)
    assert notice["entry"] == granted.index


def test_an_answer_the_platform_misses_is_told_again(world: World, client: TestClient) -> None:
    world.queue.requests = [world.maker.bill_request(world.uploads)]
    world.queue.is_deaf = True
    (outcome,) = answered_round(client).json()
    assert (outcome["state"], outcome["reason"]) == ("released", "platform.unreachable")
    world.queue.is_deaf = False
    (again,) = answered_round(client).json()
    assert (again["state"], again["reason"]) == ("released", None)
    assert again["release_id"] == outcome["release_id"]
    assert world.queue.answers == [(outcome["request_id"], "released")]
    assert len(client.get("/releases", headers=bearer("authority", "billing")).json()) == 1


def test_with_the_vault_gone_requests_wait(world: World, client: TestClient) -> None:
    world.queue.requests = [world.maker.bill_request(world.uploads)]
    world.vault.kill()
    (outcome,) = answered_round(client).json()
    assert (outcome["state"], outcome["reason"]) == ("failed", "vault.down")
    assert outcome["release_id"] is None
    assert world.queue.answers == []
    assert client.get("/releases", headers=bearer("authority", "billing")).json() == []
    world.vault.start()
    (outcome,) = answered_round(client).json()
    assert (outcome["state"], outcome["reason"]) == ("released", None)
    assert len(client.get("/releases", headers=bearer("authority", "billing")).json()) == 1


def test_the_vault_outlives_the_checker(world: World) -> None:
    with TestClient(world.app) as started:
        assert started.get("/health").status_code == 200
    assert world.vault.process.poll() is None


def test_secrets_of_the_checker_are_its_owners_alone(world: World, client: TestClient) -> None:
    assert (world.folder / "signing.key").stat().st_mode & 0o077 == 0
    assert not [path for path in world.folder.rglob("*") if "kek" in path.name]
