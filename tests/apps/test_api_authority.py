"""The key authority's service: rounds over a real platform zone, and who may read what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient

from gridsecure.credentials.queries import LONGEST_QUERY
from gridsecure.crypto.envelope import open_from
from gridsecure.messages import KeyNotice, ReleaseCertificate, Signed, open_message
from gridsecure.released_values import SignedCertificate, attach_values
from gridsecure.statement_checks import STATEMENTS_PURPOSE
from gridsecure.transparency.checkpoints import open_checkpoint
from gridsecure.transparency.notes import read_key
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
from tests.grid_simulator import (
    OFFICE,
    GridSimulator,
    GridUpload,
    delivered_grid,
    grid_keys,
    registry,
)
from tests.vault_services import running_vault, vault_settings


class Queue:
    """The platform as the service pulls it, without the transport."""

    def __init__(self, authority: Authority) -> None:
        self.requests: list[Signed] = []
        self.answers: list[tuple[str, str]] = []
        self.message = authority.view.message
        self.objects = authority.view.objects

    def list_waiting(self) -> list[Signed]:
        return self.requests

    def report(self, request_id: str, state: str) -> None:
        self.answers.append((request_id, state))
        self.requests = []


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    folder = tmp_path_factory.mktemp("authority-service")
    with delivered_grid(folder / "platform") as grid:
        maker = Authority(grid, folder / "maker")  # makes transcripts and requests
        queue = Queue(maker)
        with (
            running_vault(vault_settings(folder, grid.authority_key)) as vault,
            TestClient(_app(folder / "zone", grid, queue, vault.settings.socket)) as client,
        ):
            yield SimpleNamespace(
                grid=grid, uploads=grid.uploads, maker=maker, queue=queue, client=client
            )
        maker.close()


def _app(folder: Path, grid: GridSimulator, queue: Queue, vault: Path):
    settings = authority_settings(folder, vault=vault)
    return create_authority_app(
        settings,
        clock=TestClock(),
        pull=queue,
        settlement=settlement,
    )


def get(world: SimpleNamespace, path: str, *roles: str):
    return world.client.get(path, headers=bearer("authority", *roles))


def post(world: SimpleNamespace, path: str, *roles: str):
    return world.client.post(path, headers=bearer("authority", *roles))


@pytest.fixture(scope="module")
def released(world: SimpleNamespace) -> str:
    """The release id of the month's bills."""
    uploads: list[GridUpload] = world.uploads
    ask_for_key_sets(world.client, world.grid)
    world.queue.requests = [world.maker.bill_request(uploads)]
    (outcome,) = answered_round(world.client, bearer("authority", "billing")).json()
    assert (outcome["state"], outcome["reason"]) == ("released", None)
    assert world.queue.answers == [(outcome["request_id"], "released")]
    release_id: str = outcome["release_id"]
    return release_id


def test_key_sets_are_made_once_and_signed(world: SimpleNamespace, released: str) -> None:
    rows = get(world, "/gateway-key-sets", "custodian").json()
    trusted = registry(world.grid.authority_key)
    notices = [Signed.model_validate(row["notice"]) for row in rows]
    read = [open_message(notice, expect=KeyNotice, trusted=trusted) for notice in notices]
    assert {notice.key_id for notice in read} == {
        key_set.public.key_id for key_set in grid_keys().secret.values()
    }
    assert {notice.gateway for notice in read} == {world.grid.gateway_key.public_key.thumbprint}
    assert ask_for_key_sets(world.client, world.grid) == notices
    assert {row["state"] for row in rows} == {"in-force"}
    assert get(world, "/gateway-key-sets?gateway=" + "0" * 64, "custodian").json() == []


def test_billing_reads_certificates_and_statements(world: SimpleNamespace, released: str) -> None:
    (summary,) = get(world, "/releases", "analyst").json()
    assert (summary["release_id"], summary["plan"]) == (released, "bill")
    envelope = SignedCertificate(**get(world, f"/releases/{released}", "billing").json())
    trusted = registry(world.grid.authority_key)
    certificate = open_message(envelope, expect=ReleaseCertificate, trusted=trusted)
    certificate = attach_values(certificate, envelope)
    assert summary["cells"] == sum(cell.value is not None for cell in certificate.cells) > 0
    for roster_id in certificate.statements:
        sealed = get(world, f"/statements/{released}/{roster_id}", "billing").content
        document = json.loads(open_from(sealed, private_key=OFFICE, purpose=STATEMENTS_PURPOSE))
        assert document["roster_id"] == roster_id
        assert document["meters"]


@pytest.mark.parametrize(("query", "role"), [
    ("", "regulator"), ("?values=true", "regulator"), ("?values=false", "billing"),
])  # fmt: skip
def test_a_regulator_and_who_asks_for_it_get_a_signed_copy_without_values(
    world: SimpleNamespace, released: str, query: str, role: str
) -> None:
    """Gateways are shown the one that the billing office asks for."""
    envelope = Signed.model_validate(get(world, f"/releases/{released}{query}", role).json())
    certificate = open_message(
        envelope, expect=ReleaseCertificate, trusted=registry(world.grid.authority_key)
    )
    assert certificate.cells
    assert all(cell.value is None for cell in certificate.cells)
    assert certificate.statements
    assert get(world, f"/statements/{released}/x", "regulator").status_code == 403


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("GET", "/gateway-key-sets", "billing"),
        ("POST", "/gateway-key-sets/x/revoke", "operator"),
        ("POST", "/release-rounds", "analyst"),
        ("POST", "/release-rounds", "regulator"),
        ("GET", "/statements/a/b", "analyst"),
        ("GET", "/releases", "gateway"),
    ],
)
def test_other_roles_are_told_who_may(
    world: SimpleNamespace, method: str, path: str, role: str
) -> None:
    answer = world.client.request(method, path, headers=bearer("authority", role))
    assert answer.status_code == 403
    assert answer.json()["reason"] == "authenticity.role"


def test_unknown_releases_are_not_found(world: SimpleNamespace, released: str) -> None:
    assert get(world, "/releases/nothing", "billing").status_code == 404
    assert get(world, f"/statements/{released}/..%2fkek", "billing").status_code == 404


def test_a_refused_request_is_answered_as_refused(world: SimpleNamespace, released: str) -> None:
    world.queue.answers.clear()
    world.queue.requests = [
        world.maker.request([world.maker.bill_transcript(world.uploads[0])], purpose="curiosity")
    ]
    (outcome,) = answered_round(world.client, bearer("authority", "custodian")).json()
    assert (outcome["state"], outcome["reason"]) == ("refused", "release.purpose")
    assert world.queue.answers == [(outcome["request_id"], "refused")]
    assert outcome["release_id"] is None


def test_one_round_at_a_time(world: SimpleNamespace) -> None:
    lock = world.client.app.state.authority.round_lock
    with lock:
        answer = post(world, "/release-rounds", "custodian")
    assert (answer.status_code, answer.json()["reason"]) == (409, "conflict.release-round")


def test_no_route_takes_a_ciphertext(world: SimpleNamespace) -> None:
    """Nothing anybody sends can be decrypted: the service reads few bodies.

    Officers and custodians send signed messages of their own, and a policy's text with officers'
    signatures. An analyst's query is one short text,
    which is compared with the grant it came with, or, for a trial, opened and computed without a
    vault. A grant that came back is used by three digests. A gateway's request for a key set is two
    signed messages that name a domain and a parameter set.
    """
    pages = world.client.get("/openapi.json").json()
    assert len(pages["paths"]) >= 8
    bodies = {
        (method, path): operation["requestBody"]
        for path, methods in pages["paths"].items()
        for method, operation in methods.items()
        if "requestBody" in operation
    }
    signed = {
        ("post", path)
        for path in ("/approvals", "/authorisations", "/vault/shares", "/key-set-moves")
    }
    for name in signed:
        (shape,) = bodies[name]["content"].values()
        assert shape["schema"] == {"$ref": "#/components/schemas/Signed"}
    purpose = {("post", "/vault/challenges")}
    policy = {("put", "/policy")}
    (shape,) = bodies["put", "/policy"]["content"].values()
    assert shape["schema"] == {"$ref": "#/components/schemas/SignedPolicy"}
    questions = {("post", "/query-results"), ("post", "/query-trials")}
    returned = {("post", "/returned-grants")}
    receivers = {("put", "/v1/receivers/{name}")}  # an address, and names of events
    named = {("post", "/release-agreements")}  # signed documents of the market, and nothing else
    (shape,) = bodies["post", "/release-agreements"]["content"].values()
    assert shape["schema"] == {"$ref": "#/components/schemas/AgreementProof"}
    rest = questions | returned | receivers | named | {("post", "/key-sets")}
    assert set(bodies) - signed - purpose - policy == rest
    for name in questions | returned:
        (content,) = bodies[name]["content"].items()
        assert content[0] == "application/json"
        schema = pages["components"]["schemas"][content[1]["schema"]["$ref"].rpartition("/")[2]]
        fields = schema["properties"]
        assert schema["additionalProperties"] is False
        if name in questions:
            (field,) = fields.values()
            assert (field["type"], field["maxLength"]) == ("string", LONGEST_QUERY)
        else:
            assert set(fields) == {"seed", "digest", "code"}
            assert {field["pattern"] for field in fields.values()} == {"^[0-9a-f]{64}$"}


def test_the_log_is_everybodys(world: SimpleNamespace, released: str) -> None:
    client = world.client
    keys = [read_key(text) for text in client.get("/about").json()["logs"]["/log"]]
    checkpoint = open_checkpoint(client.get("/log/checkpoint").content, keys)
    assert checkpoint.size > 3, "three key sets and a release"
    assert checkpoint.origin.startswith("gridsecure/authority/")
