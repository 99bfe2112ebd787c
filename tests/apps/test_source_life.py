"""A source's life: registered, its key replaced, suspended, resumed, removed, services running."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlmodel import select

from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.gateway.ingestion import batch_groups, batch_queue, batches
from gridsecure.gateway.ingestion.batch_groups import SmallBatch, take_in_together
from gridsecure.gateway.ingestion.batches import BatchName
from gridsecure.identity_messages import service_login
from gridsecure.store.database import read_session
from gridsecure.store.evidence import EvidenceRow
from gridsecure_api.settings import ServiceEntry
from tests.apps.identity_peers import person_token, service_token
from tests.apps.queue_world import ASYNC, Queueing
from tests.apps.test_api_readings import HEADER, LINE, Sources
from tests.apps.zone_apps import bearer, identity_app, point
from tests.cli.in_process import client_of
from tests.grid_simulator import NOW, grid_keys

BODY = (HEADER + LINE).encode()
PLAIN = b"meter_point_id,start,kwh\nMP-1,2026-07-01T00:00+08:00,0.412\n"
SEQUENCES = iter(range(1, 10_000))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    made = Sources(tmp_path_factory.mktemp("life"))
    yield made
    made.close()


@pytest.fixture
def source(gateway):
    """A source of its own, its key, and a token that it got while all was well."""
    name, key = f"system-{next(SEQUENCES)}", generate_private_key()
    gateway.register(name, key=key, stamps="start")
    gateway.give_key(name, key=key)
    return name, key, token_of(gateway, key)


def token_of(gateway, key):
    identity = client_of(gateway.identity)
    return service_token(identity, key, audience="gateway", now=gateway.world.clock())


def change(gateway, method, path, *, role="operator", **body):
    headers = gateway.token(role)
    options = {"json": body} if body else {}
    url = f"/v1/sources/{path}".rstrip("/")
    return gateway.client.request(method, url, headers=headers, **options)


def send(gateway, token, *, body=BODY):
    number = next(SEQUENCES)
    named = token | {"Idempotency-Key": f"b{number}", "Batch-Sequence": str(number)}
    return gateway.client.post("/v1/readings", content=body, headers=named)


def reason(answer):
    return answer.status_code, answer.json()["reason"]


def logged(engine, action):
    with read_session(engine) as session:
        rows = session.exec(select(EvidenceRow).where(EvidenceRow.action == action)).all()
    return [row.detail for row in rows]


@pytest.mark.parametrize("body", [BODY, PLAIN], ids=["any form", "plainest form"])
def test_a_suspended_sources_next_batch_is_refused_and_an_operator_still_reads(
    gateway, source, body
):
    name, _, token = source
    assert send(gateway, token, body=body).status_code == 200
    before = change(gateway, "GET", f"{name}/batches").json()
    suspended = change(gateway, "PUT", f"{name}/state", state="suspended")
    assert suspended.json()["state"] == "suspended"
    refused = send(gateway, token, body=body)
    assert reason(refused) == (409, "conflict.source-suspended")
    assert "resume" in refused.json()["remedy"]
    own = gateway.client.get(f"/v1/sources/{name}/batches", headers=token)
    assert reason(own) == (409, "conflict.source-suspended")
    assert change(gateway, "GET", f"{name}/batches").json() == before
    assert len(before) == 1
    # What it declares may change meanwhile, and resumes nothing.
    again = gateway.register(name, key=source[1], stamps="start", meter_points=["MP"])
    assert again.json()["state"] == "suspended"
    assert send(gateway, token, body=body).status_code == 409
    assert change(gateway, "PUT", f"{name}/state", state="active").json()["state"] == "active"
    assert send(gateway, token, body=body).status_code == 200


STOPS = {
    "suspend": (409, "conflict.source-suspended"),
    "remove": (403, "authenticity.refused"),
    "rotate": (403, "authenticity.refused"),
}


def stop(gateway, name, how):
    if how == "suspend":
        return change(gateway, "PUT", f"{name}/state", state="suspended")
    if how == "remove":
        return change(gateway, "DELETE", name)
    return change(gateway, "PUT", f"{name}/key", public_key=point(generate_private_key()))


@pytest.mark.parametrize("how", STOPS)
@pytest.mark.parametrize(
    "way",
    [
        (batches, "_write", BODY, {}),
        (batch_groups, "_write", PLAIN, {}),
        (batch_queue, "is_taken_in", BODY, ASYNC),
    ],
    ids=["any form", "plainest form", "answered before it is read"],
)
def test_an_upload_that_began_before_its_source_was_stopped_is_refused(
    gateway, source, monkeypatch, how, way
):
    name, _, token = source
    module, step, body, wish = way
    whole = getattr(module, step)

    def stopping(*given, **more):
        assert stop(gateway, name, how).status_code == 200
        return whole(*given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(module, step, stopping)
        assert reason(send(gateway, token | wish, body=body)) == STOPS[how]
    assert change(gateway, "GET", f"{name}/batches").json() == []
    waits = gateway.client.get("/v1/waiting-batches", headers=gateway.token("operator")).json()
    assert name not in {one["source"] for one in waits}


@pytest.mark.parametrize("how", STOPS)
def test_what_was_answered_for_is_read_whatever_became_of_its_source(tmp_path, how):
    world = Queueing(tmp_path)
    assert world.send(PLAIN, batch="a", sequence=1, **ASYNC).status_code == 202
    operator = bearer("gateway", "operator")
    url = "/v1/sources/headend"
    new = {"public_key": point(generate_private_key())}
    method, path, sent = {
        "suspend": ("PUT", f"{url}/state", {"state": "suspended"}),
        "remove": ("DELETE", url, None),
        "rotate": ("PUT", f"{url}/key", new),
    }[how]
    assert world.client.request(method, path, json=sent, headers=operator).status_code == 200
    world.read()
    done = world.client.get(f"{url}/batches/a", headers=operator).json()
    world.end()
    assert done["state"] == "done"


def test_a_stolen_key_is_of_no_use_once_it_was_replaced(gateway, source):
    name, stolen, token = source
    assert send(gateway, token).status_code == 200
    new = generate_private_key()
    by_mistake = gateway.register(name, key=new)
    assert reason(by_mistake) == (409, "conflict.source-key")
    given = gateway.give_key(name, key=new, replaces=stolen.public_key.thumbprint)
    assert given.json()["thumbprint"] == new.public_key.thumbprint
    replaced = change(gateway, "PUT", f"{name}/key", public_key=point(new))
    assert replaced.json()["thumbprint"] == new.public_key.thumbprint
    # A token from before ends with its key, and the key signs in nowhere.
    assert send(gateway, token).status_code == 403
    with pytest.raises(KeyError):
        token_of(gateway, stolen)
    # It does not come back, as its own or as another's.
    assert reason(gateway.give_key(name, key=stolen)) == (409, "conflict.source-key")
    assert reason(gateway.give_key("another", key=stolen)) == (409, "conflict.source-key")
    own = token_of(gateway, new)
    assert send(gateway, own).status_code == 200
    assert len(gateway.client.get(f"/v1/sources/{name}/batches", headers=own).json()) == 2
    # Repeating either step, as after a lost answer, changes nothing.
    again = gateway.give_key(name, key=new, replaces=stolen.public_key.thumbprint)
    assert again.json() == given.json()
    assert change(gateway, "PUT", f"{name}/key", public_key=point(new)).json() == replaced.json()


def test_no_source_replaces_anothers_key(gateway, source):
    name, key, _ = source
    new, theirs = generate_private_key(), key.public_key.thumbprint
    refused = gateway.give_key("another", key=new, replaces=theirs)
    assert reason(refused) == (409, "conflict.source-key")
    assert send(gateway, token_of(gateway, key)).status_code == 200
    with pytest.raises(KeyError):  # nothing was kept
        token_of(gateway, new)
    assert gateway.give_key(name, key=new, replaces=theirs).status_code == 200


def test_a_removed_source_sends_nothing_and_its_batches_and_name_stay(gateway, source):
    name, key, token = source
    assert send(gateway, token).status_code == 200
    before = change(gateway, "GET", f"{name}/batches").json()
    removed = change(gateway, "DELETE", name).json()
    assert (removed["state"], removed["webhook"]) == ("removed", "")
    assert send(gateway, token).status_code == 403
    assert change(gateway, "GET", f"{name}/batches").json() == before
    assert change(gateway, "DELETE", name).json() == removed
    for answer in (
        gateway.register(name, key=generate_private_key()),
        gateway.register(name, key=key),
        change(gateway, "PUT", f"{name}/state", state="active"),
        change(gateway, "PUT", f"{name}/key", public_key=point(generate_private_key())),
    ):
        assert reason(answer) == (409, "conflict.source-removed")
    # Nor is its key another's.
    assert reason(gateway.register("heir", key=key)) == (409, "conflict.source-key")
    beside = gateway.register("headend").json()["overlaps"]
    assert name not in beside


def test_a_withdrawn_key_signs_in_no_more_and_withdrawing_again_changes_nothing(gateway, source):
    _, key, _ = source
    identity = client_of(gateway.identity)
    headers = gateway.token("operator", audience="identity")
    path = f"/source-keys/{key.public_key.thumbprint}"
    listed = identity.get("/source-keys", headers=headers).json()
    assert key.public_key.thumbprint in {one["thumbprint"] for one in listed}
    assert identity.delete(path, headers=headers).json() == {"withdrawn": True}
    assert identity.delete(path, headers=headers).json() == {"withdrawn": False}
    with pytest.raises(KeyError):
        token_of(gateway, key)
    listed = identity.get("/source-keys", headers=headers).json()
    assert key.public_key.thumbprint not in {one["thumbprint"] for one in listed}


def test_a_key_of_a_service_or_of_another_source_is_no_sources_key(gateway, source):
    name, key, _ = source
    assert reason(gateway.give_key("meters", key=gateway.key)) == (409, "conflict.source-key")
    assert reason(gateway.give_key("meters", key=key)) == (409, "conflict.source-key")
    another = change(gateway, "PUT", "headend/key", public_key=point(key))
    assert reason(another) == (409, "conflict.source-key")
    assert change(gateway, "PUT", "nobody/state", state="active").status_code == 404
    assert change(gateway, "PUT", "nobody/key", public_key=point(key)).status_code == 404
    assert change(gateway, "DELETE", "nobody").status_code == 404
    assert name in {one["name"] for one in change(gateway, "GET", "").json()}


def test_only_an_operator_changes_sources(gateway, source):
    name, key, token = source
    for role in ("billing", "meter-data", "custodian"):
        body = {"public_key": point(key)}
        assert change(gateway, "PUT", f"{name}/key", role=role, **body).status_code == 403
        assert change(gateway, "PUT", f"{name}/state", role=role, state="active").status_code == 403
        assert change(gateway, "DELETE", name, role=role).status_code == 403
        identity = client_of(gateway.identity)
        headers = gateway.token(role, audience="identity")
        body["name"] = name
        assert identity.post("/source-keys", json=body, headers=headers).status_code == 403
        path = f"/source-keys/{key.public_key.thumbprint}"
        assert identity.delete(path, headers=headers).status_code == 403
        assert identity.get("/source-keys", headers=headers).status_code == 403
    assert send(gateway, token).status_code == 200


def test_both_evidence_logs_say_who_changed_what(gateway, source):
    name, key, _ = source
    change(gateway, "PUT", f"{name}/state", state="suspended")
    change(gateway, "PUT", f"{name}/state", state="suspended")
    change(gateway, "PUT", f"{name}/state", state="active")
    change(gateway, "DELETE", name)
    at_gateway = logged(gateway.app.state.service.zone.engine, "source.changed")
    told = [str(detail) for detail in at_gateway if name in str(detail)]
    assert len(told) == 4
    for text, word in zip(told, ("declared", "suspended", "resumed", "removed"), strict=True):
        assert word in text
        assert "person" in text
    at_identity = logged(gateway.identity.state.zone.enrolments, "identity.source-key-registered")
    assert any(key.public_key.thumbprint in str(detail) for detail in at_identity)


def test_small_batches_of_one_turn_are_each_refused_by_their_own_source(gateway, source):
    name, key, _ = source
    change(gateway, "PUT", f"{name}/state", state="suspended")
    zone = gateway.app.state.service.zone
    other = gateway.keys["headend"].public_key.thumbprint
    sent = [
        SmallBatch(thumbprint, BatchName(f"turn-{place}", 9000 + place), NOW, PLAIN)
        for place, thumbprint in enumerate((key.public_key.thumbprint, "ab" * 32, other))
    ]
    gateway.register("headend", stamps="start")
    outcomes = take_in_together(zone, sent, waiting=frozenset())
    assert [one.reason for one in outcomes[:2]] == ["conflict.source-suspended", "access.source"]
    assert outcomes[2].source == "headend"


def test_the_setting_that_named_sources_is_gone():
    with pytest.raises(ValueError, match="role"):
        ServiceEntry(role="meter-data", public_key=point(generate_private_key()))


def test_longer_tokens_of_sources_are_called_a_demonstration(tmp_path):
    app = identity_app(tmp_path, source_token_minutes=600)
    identity, key = client_of(app), generate_private_key()
    told = identity.get("/about").json()["local_demonstration_only"]
    assert told == ["POST /service-tokens: a meter-data system's token is good for 600 minutes"]
    body = {"name": "headend", "public_key": point(key)}
    assert identity.post(
        "/source-keys", json=body, headers=person_token(identity, "ops")
    ).is_success
    login = service_login(audience="gateway", key=key, now=NOW)
    given = identity.post("/service-tokens", json=login.model_dump()).json()
    assert given["expires_at"] == (NOW + timedelta(minutes=600)).isoformat()
    # A service's stays as short as it was.
    login = service_login(audience="platform", key=grid_keys().gateway, now=NOW)
    given = identity.post("/service-tokens", json=login.model_dump()).json()
    assert given["expires_at"] == (NOW + timedelta(minutes=5)).isoformat()
    app.state.zone.close()
