"""Small batches are taken in before their route, and whatever is not one is left to the route."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from gridsecure.gateway.ingestion.batch_groups import take_in_together
from gridsecure_api import gateway_turns, lanes
from gridsecure_api.gateway_small_batches import _small_batch
from tests.apps.queue_world import ASYNC, KEY, OTHER, Queueing, body, token
from tests.apps.zone_apps import bearer

LENGTH = (b"content-length", b"100")
ID, SEQUENCE = (b"idempotency-key", b"a"), (b"batch-sequence", b"1")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = Queueing(tmp_path_factory.mktemp("gateway"), queued_body_bytes=10_000)
    yield made
    made.end()


@pytest.fixture
def groups(monkeypatch, tmp_path):
    """A gateway, and how many batches each of its turns was for."""
    sizes = []

    def counted(zone, sent, **asked):
        sizes.append(len(sent))
        return take_in_together(zone, sent, **asked)

    monkeypatch.setattr(gateway_turns, "take_in_together", counted)
    made = Queueing(tmp_path / "gateway", queued_body_bytes=10_000)
    yield made, sizes
    made.end()


def test_a_small_batch_passes_the_route_by_and_is_told_the_same_by_it(groups):
    world, sizes = groups
    before = world.send(body(1), batch="a", sequence=1)
    assert (before.status_code, sizes) == (200, [1])
    by_route = world.send(body(1), batch="a", sequence=1, Prefer="wait=5")
    assert (by_route.status_code, sizes) == (200, [1])
    assert by_route.json() == before.json()
    assert by_route.headers["location"] == before.headers["location"]
    assert by_route.headers["content-type"] == before.headers["content-type"]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Idempotency-Key": ""}, 400),
        ({"Idempotency-Key": "x" * 129}, 422),
        ({"Idempotency-Key": "no name"}, 400),
        ({"Batch-Sequence": "0"}, 422),
        ({"Batch-Sequence": "-1"}, 422),
        ({"Batch-Sequence": "9" * 40}, 422),
        ({"Batch-Sequence": "one"}, 422),
        (ASYNC, 202),
        (bearer("gateway", "operator"), 403),
        ({"Authorization": "Bearer x"}, 401),
    ],
)
def test_what_is_no_small_batch_of_a_source_is_answered_by_the_route(world, headers, code):
    headers = token(OTHER) | {"Idempotency-Key": "odd2", "Batch-Sequence": "3"} | headers
    answer = world.client.post("/v1/readings", content=body(3), headers=headers)
    assert answer.status_code == code, answer.text
    world.read()


@pytest.mark.parametrize(
    ("headers", "is_small"),
    [
        ([LENGTH, ID, SEQUENCE], True),
        ([LENGTH, ID, SEQUENCE, (b"accept", b"*/*")], True),
        ([LENGTH, ID, ID, SEQUENCE], False),
        ([LENGTH, LENGTH, ID, SEQUENCE], False),
        ([ID, SEQUENCE, (b"transfer-encoding", b"chunked")], False),
        ([LENGTH, ID, SEQUENCE, (b"transfer-encoding", b"chunked")], False),
        ([LENGTH, ID, SEQUENCE, (b"prefer", b"respond-async")], False),
        ([(b"content-length", b"1001"), ID, SEQUENCE], False),
        ([LENGTH, ID, (b"batch-sequence", "٣".encode())], False),
        ([LENGTH, ID, (b"batch-sequence", str(2**53 + 1).encode())], False),
        ([LENGTH, (b"idempotency-key", b"\xff"), SEQUENCE], False),
    ],
)
def test_a_small_batch_says_all_once_and_wishes_nothing_else(headers, is_small):
    assert (_small_batch({"headers": headers}, most=1000) is not None) == is_small


def test_a_body_of_another_form_and_one_behind_a_batch_that_waits_reach_the_route(groups):
    world, sizes = groups
    local = body(1).replace(b"+08:00", b"")
    assert world.send(local, batch="local", sequence=1).status_code == 200
    assert world.send(body(2), batch="b", sequence=2, **ASYNC).status_code == 202
    assert world.send(body(3), batch="c", sequence=3).status_code == 202
    assert world.send(body(4, readings=480), batch="d", sequence=4, key=OTHER).status_code == 202
    assert sizes == [1, 1]
    refused = world.send(b"no table", batch="bad", sequence=9)
    assert refused.status_code == 202  # it waits, too, and is refused when it is read
    world.read()
    assert [one.batch_id for one in world.receipts()] == ["local", "b", "c"]


def test_batches_that_come_while_one_is_taken_in_share_the_next_turn(groups):
    world, sizes = groups

    def send(number):
        return world.send(body(number), batch=f"b{number}", sequence=number)

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(send, range(1, 25)))
    assert {one.status_code for one in answers} == {200}
    assert len({one.json()["receipt"]["signature"] for one in answers}) == 24
    assert sum(sizes) == 24
    assert [one.readings for one in world.receipts()] == [48] * 24


def test_one_name_at_once_is_taken_in_once_whoever_is_first(groups):
    world, sizes = groups

    def send(number):
        return world.send(body(number), batch="one", sequence=1)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, [1, 2] * 8))
    taken = [one for one in answers if one.status_code == 200]
    assert {one.status_code for one in answers} == {200, 409}
    assert len(taken) == 8
    assert len({one.json()["receipt"]["signature"] for one in taken}) == 1
    assert (len(world.receipts()), sum(sizes)) == (1, 16)


def test_small_batches_wait_for_no_other_change_and_what_is_left_of_them_does(world, monkeypatch):
    """With no turn left for other changes."""
    monkeypatch.setattr(lanes, "CHANGES_AT_ONCE", 0)
    monkeypatch.setattr(lanes, "PATIENCE_S", 0.05)
    world.app.middleware_stack = None  # so that it begins with these lanes

    async def ask():
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://g") as http:
            return [
                await http.post(
                    "/v1/readings",
                    content=data,
                    headers=token(KEY) | {"Idempotency-Key": name, "Batch-Sequence": name[1:]},
                )
                for name, data in (("t70", body(70)), ("t71", body(71).replace(b"+08:00", b"")))
            ]

    taken, left = asyncio.run(ask())
    assert taken.status_code == 200, taken.text
    assert (left.status_code, left.json()["reason"]) == (503, "service.busy")
    monkeypatch.undo()
    world.app.middleware_stack = None
    assert world.send(body(71), batch="t71", sequence=71).status_code == 200
