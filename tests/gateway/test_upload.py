"""Calling peers: every lost message leads to exactly one upload, every refusal keeps its reason."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select

from gridsecure import frames
from gridsecure.compute.tables import UploadRow
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import (
    AccessDeniedError,
    AuditBrokenError,
    AuthenticityError,
    CiphertextError,
    ConflictError,
    GridSecureError,
    InputError,
    InvalidMessageError,
    KeyMismatchError,
    NotFoundError,
    ReleaseRefusedError,
    StorageError,
)
from gridsecure.gateway import outbox
from gridsecure.gateway.upload import PlatformClient, deliver, group_objects
from gridsecure.homomorphic.parameters import INTERVAL
from gridsecure.homomorphic.secret_key import generate_key_set
from gridsecure.messages import KeyNotice, sign_message
from gridsecure.store.database import write_session
from gridsecure.wire.client import LONGEST_PAUSE_S, PAUSES_S, Client, service_client
from gridsecure.wire.words import PeopleWords
from tests.gateway.gateway_world import MONTH, YEAR, GatewayWorld

REQUESTS = 9
"""Tariff, roster, two key sets asked about and sent, manifest, one batch of objects, commit."""


@pytest.fixture
def world(tmp_path):
    made = GatewayWorld(tmp_path)
    yield made
    made.close()


def send(world, *, upload=None):
    """One roster's upload over the wire."""
    upload = upload or world.outgoing()
    client = world.peers.platform(MONTH)
    client.send_tariff(world.zone.objects.get(upload.seated.tariff).decode())
    return deliver(
        client,
        outbox.make_delivery(world.zone, upload),
        load=lambda wanted: outbox.read_columns(world.zone, upload, wanted=wanted),
        load_object=world.zone.objects.get,
        sent=lambda _objects: None,
    )


def states(world):
    with write_session(world.grid.platform_zone.engine) as session:
        return list(session.exec(select(UploadRow.state)))


@pytest.mark.parametrize("fate", ["request lost", "answer lost", "fault"])
@pytest.mark.parametrize("number", range(1, REQUESTS + 1))
def test_whatever_one_request_suffers_there_is_one_committed_upload(world, number, fate):
    world.wire.break_at = {number: fate}
    assert send(world) > 0
    assert states(world) == ["committed"]
    assert len(world.wire.log) == REQUESTS + 1
    assert world.pauses == [PAUSES_S[0]]


def test_every_request_may_fail_several_times(world):
    world.wire.break_at = dict.fromkeys(
        (number for number in range(1, 3 * REQUESTS) if number % 3), "answer lost"
    )
    send(world)
    assert (states(world), len(world.wire.log)) == (["committed"], 3 * REQUESTS)


def test_the_same_upload_again_sends_nothing(world):
    upload = world.outgoing()
    assert send(world, upload=upload) > 0
    assert send(world, upload=upload) == 0
    assert world.wire.count("/objects") == world.wire.count("/commit") == 1


def test_another_upload_for_the_same_roster_and_month_is_a_conflict(world):
    upload = world.outgoing()
    send(world, upload=upload)
    another = upload.upload.model_copy(update={"sequence": 99})
    manifest = sign_message(another, key=world.gateway_key)
    with pytest.raises(ConflictError) as refusal:
        send(world, upload=replace(upload, manifest=manifest))
    assert refusal.value.reason == "conflict.upload"
    assert states(world) == ["committed"]


def test_only_missing_objects_are_sent(world):
    upload = world.outgoing(days=2)
    first, *rest = upload.upload.columns
    ((_, data),) = outbox.read_columns(world.zone, upload, wanted=frozenset({first.digest}))
    world.grid.platform_zone.objects.put(data)
    assert send(world, upload=upload) == sum(entry.size for entry in rest)


def test_unreachable_for_good_is_given_up_after_the_same_pauses(world):
    world.wire.break_at = dict.fromkeys(range(1, 100), "request lost")
    with pytest.raises(GridSecureError) as refusal:
        send(world)
    assert refusal.value.reason == "platform.unreachable"
    assert world.pauses == list(PAUSES_S)
    assert len(world.wire.log) == len(PAUSES_S) + 1


def test_bodies_that_break_off_are_sent_as_smaller_ones(world):
    upload = world.outgoing(days=2)
    sizes = [entry.size for entry in upload.upload.columns]
    world.wire.most_bytes = max(sizes) + 100
    assert send(world, upload=upload) == sum(sizes)
    assert (states(world), world.wire.count("/commit")) == (["committed"], 1)
    assert world.wire.count("/objects") > len(PAUSES_S) + 2, (
        "a whole body, six times, and its parts"
    )


def test_an_object_that_always_breaks_off_is_given_up(world):
    world.wire.most_bytes = 100
    with pytest.raises(GridSecureError) as refusal:
        send(world)
    assert (refusal.value.reason, states(world)) == ("platform.unreachable", ["pending"])


def peer(answer, *, pauses=None):
    http = httpx.Client(
        transport=httpx.MockTransport(answer), base_url="http://p", follow_redirects=True
    )
    pause = (pauses if pauses is not None else []).append
    return service_client(http, name="platform", pause=pause)


REFUSAL = {"reason": "some.reason", "detail": "No.", "remedy": "Do."}


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (400, "upload.gateway", InputError),
        (401, "authenticity.refused", AuthenticityError),
        (403, "authenticity.refused", AccessDeniedError),
        (403, "release.too-small", ReleaseRefusedError),
        (404, "not-found.upload", NotFoundError),
        (409, "conflict.upload", ConflictError),
        (409, "ciphertext.key-id", CiphertextError),
        (413, "message.too-large", GridSecureError),
        (422, "message.invalid", InvalidMessageError),
        (507, "storage.write", StorageError),
    ],
)
def test_a_refusal_keeps_its_reason_and_is_not_retried(status, reason, kind):
    seen, pauses = [], []

    def answer(request):
        seen.append(request)
        return httpx.Response(status, json=REFUSAL | {"reason": reason})

    with pytest.raises(kind) as refusal:
        peer(answer, pauses=pauses).get("/x")
    assert (refusal.value.reason, refusal.value.remedy) == (reason, "Do.")
    assert (len(seen), pauses) == (1, [])


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_fault_that_stays_is_reported_after_the_last_attempt(status):
    pauses = []
    with pytest.raises(GridSecureError) as refusal:
        peer(lambda _r: httpx.Response(status, text="<html>"), pauses=pauses).get("/x")
    assert refusal.value.reason == "platform.failed"
    assert refusal.value.remedy
    assert pauses == list(PAUSES_S)


@pytest.mark.parametrize(("said", "waited"), [("1", 1.0), ("3600", LONGEST_PAUSE_S)])
def test_a_busy_service_is_asked_again_when_it_says_also_by_who_repeats_nothing_else(
    monkeypatch, said, waited
):
    pauses = []
    answers = [httpx.Response(503, headers={"Retry-After": said}), httpx.Response(200)]
    http = httpx.Client(transport=httpx.MockTransport(lambda _r: answers.pop(0)))
    monkeypatch.setattr("gridsecure.wire.client.time.sleep", pauses.append)
    assert Client(http, PeopleWords("platform")).call("POST", "http://p/x").is_success
    assert pauses == [waited]


def test_a_service_that_stays_busy_is_given_up():
    pauses = []
    busy = httpx.Response(503, headers={"Retry-After": "1"}, json=REFUSAL)
    with pytest.raises(GridSecureError, match=r"some\.reason"):
        peer(lambda _r: busy, pauses=pauses).get("/x")
    assert pauses == [max(pause, 1.0) for pause in PAUSES_S]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_refused_even_by_a_client_that_would_follow(status):
    seen = []

    def answer(request):
        seen.append(str(request.url))
        return httpx.Response(status, headers={"Location": "http://elsewhere/x"})

    with pytest.raises(GridSecureError) as refusal:
        peer(answer).post("/x", body=b"data", content_type="text/plain")
    assert (refusal.value.reason, seen) == ("platform.redirect", ["http://p/x"])


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b'{"reason": 5}', b'{"reason": "<b>\\u0007"}', b'{"detail": []}']
)
def test_a_refusal_in_another_form_gets_a_reason_of_our_own(body):
    with pytest.raises(InputError) as refusal:
        peer(lambda _r: httpx.Response(400, content=body)).get("/x")
    assert refusal.value.reason == "platform.failed"


def test_what_a_peer_says_is_cut_and_cleaned():
    said = REFUSAL | {"detail": "\x1b[31m" + "a" * 1000}
    with pytest.raises(InputError) as refusal:
        peer(lambda _r: httpx.Response(400, json=said)).get("/x")
    assert "\x1b" not in refusal.value.message
    assert len(refusal.value.message) < 600


@pytest.mark.parametrize(
    "answer",
    [
        "text",
        [],
        {"upload_id": "other", "state": "committed", "missing": []},
        {"upload_id": None, "state": "gone", "missing": []},
        {"upload_id": None, "state": "pending", "missing": "all"},
        {"upload_id": None, "state": "pending", "missing": [1]},
    ],
)
def test_an_answer_about_something_else_is_refused(world, answer):
    upload = world.outgoing()
    if isinstance(answer, dict) and answer["upload_id"] is None:
        answer = answer | {"upload_id": upload.manifest.digest}
    http = httpx.Client(
        transport=httpx.MockTransport(lambda _r: httpx.Response(200, json=answer)),
        base_url="http://p",
    )
    with pytest.raises(InvalidMessageError) as refusal:
        PlatformClient(http, pause=world.pauses.append).begin_upload(upload.manifest)
    assert refusal.value.reason == "platform.answer"


def test_a_tariff_stored_as_other_bytes_is_noticed():
    http = httpx.Client(
        transport=httpx.MockTransport(lambda _r: httpx.Response(200, json={"digest": "0" * 64})),
        base_url="http://p",
    )
    with pytest.raises(AuditBrokenError):
        PlatformClient(http, pause=lambda _s: None).send_tariff("text")


@given(st.lists(st.binary(max_size=40)), st.integers(1, 100))
def test_batches_keep_order_and_their_limit(objects, limit):
    named = [(str(number), data) for number, data in enumerate(objects)]
    made = list(group_objects(named, limit=limit))
    assert [item for batch in made for item in batch.items()] == named
    assert all(made)
    sizes = [[4 + len(data) for data in batch.values()] for batch in made]
    assert all(len(batch) == 1 or sum(batch) <= limit for batch in sizes)
    # None could take the first of the next one.
    assert all(sum(batch) + following[0] > limit for batch, following in pairwise(sizes))


def test_key_sets_are_verified_and_asked_for_once(world):
    keys = world.peers.key_sets(YEAR)
    assert set(keys) == set(world.grid.keys.secret)
    found = {name: keys[name].key_id for name in keys}
    assert found == {n: k.public.key_id for n, k in world.grid.keys.secret.items()}
    asked = len(world.authority.log)
    assert [keys[name].key_id for name in keys] == list(found.values())
    assert keys.get("bfv_weak") is None
    assert len(world.authority.log) == asked == len(found)


def offered(world, notice, *objects):
    """What a gateway makes of an answer of the key authority."""
    body = frames.join_frames([notice.model_dump_json().encode(), *objects])
    world.authority.answer = lambda _request: httpx.Response(200, content=body)
    return world.peers.key_sets(YEAR)[INTERVAL.name]


def own_notice(world, key_set, *, key=None, gateway=None):
    return world.grid.key_notice(key_set, key=key, gateway=gateway or world.gateway_key)


def test_a_notice_of_a_stranger_is_refused(world):
    key_set = world.grid.keys.secret[INTERVAL.name]
    forged = own_notice(world, key_set, key=world.grid.keys.stranger)
    with pytest.raises(AuthenticityError):
        offered(world, forged, key_set.public.public_key)


def test_a_tampered_notice_is_refused(world):
    key_set = world.grid.keys.secret[INTERVAL.name]
    notice = own_notice(world, key_set)
    other = notice.model_copy(update={"body": notice.body.replace("2026", "2027")})
    with pytest.raises(AuthenticityError):
        offered(world, other, key_set.public.public_key)


def test_other_key_bytes_than_named_are_refused_and_not_kept(world):
    other = generate_key_set(INTERVAL).public.public_key
    notice = own_notice(world, world.grid.keys.secret[INTERVAL.name])
    with pytest.raises(KeyMismatchError) as refusal:
        offered(world, notice, other)
    assert refusal.value.reason == "keys.id"
    assert not world.zone.objects.has(sm3_hex(other))


def test_a_key_id_that_is_not_the_keys_is_refused(world):
    key_set = world.grid.keys.secret[INTERVAL.name]
    body = own_notice(world, key_set).body.replace(key_set.public.key_id, "0" * 32)
    lying = world.grid.sign(KeyNotice.parse(body), key=world.grid.authority_key)
    with pytest.raises(KeyMismatchError):
        offered(world, lying, key_set.public.public_key)


def test_a_key_set_of_another_gateway_is_refused(world):
    key_set = world.grid.keys.secret[INTERVAL.name]
    theirs = own_notice(world, key_set, gateway=world.grid.keys.stranger)
    with pytest.raises(KeyMismatchError) as refusal:
        offered(world, theirs, key_set.public.public_key)
    assert refusal.value.reason == "keys.id"


def test_notices_of_another_shape_are_refused(world):
    world.authority.answer = lambda _request: httpx.Response(200, json=[{"a": 1}])
    with pytest.raises(InvalidMessageError):
        world.peers.key_sets(YEAR)[INTERVAL.name]
