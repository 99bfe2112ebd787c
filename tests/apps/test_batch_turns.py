"""Turns of small batches beside the service: in a process that is asked for, and may be killed."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient

from gridsecure.errors import ConflictError
from gridsecure.gateway.ingestion.batch_groups import SmallBatch
from gridsecure.gateway.ingestion.batches import BatchName, TakenIn
from gridsecure.gateway.ingestion.sources import Source
from gridsecure_api import gateway_turns
from gridsecure_api.gateway_turns import BatchTurns
from tests.apps.queue_world import KEY, OTHER, Queueing, body
from tests.apps.zone_apps import bearer, gateway_app, point
from tests.grid_simulator import NOW

WAIT_S = 60.0


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = Queueing(tmp_path_factory.mktemp("gateway"), batch_processes=1)
    yield made
    made.app.state.intake.turns.close()
    made.end()


@pytest.fixture
def turns(world):
    """Its turns, with a process there, and the turn of the service taken by somebody."""
    made = world.app.state.intake.turns
    with made._here, ThreadPoolExecutor(2) as pool:
        waits = None if made._are_there else pool.submit(made.take_in, [])
        wait_until(lambda: made._are_there)
        yield made, pool
        made._here.release()  # whoever waits for the service's turn has it now
        if waits is not None:
            assert waits.result(WAIT_S) == []
        made._here.acquire()


def batches(first, *, count, key=KEY):
    return [
        SmallBatch(
            key.public_key.thumbprint, BatchName(f"b{number}", number), NOW, body(number)
        )
        for number in range(first, first + count)
    ]  # fmt: skip


def test_processes_are_asked_for_once_there_is_a_source(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(BatchTurns, "prepare", lambda _turns: asked.append(len(asked)))
    counts = []
    for _ in range(2):  # as after any end of the one before
        with TestClient(gateway_app(tmp_path), headers=bearer("gateway", "operator")) as client:
            counts.append(len(asked))
            client.put("/v1/sources/headend", json={"public_key": point(KEY)}).raise_for_status()
    assert counts == [0, 2], "at registrations, and at a start with a source"


def test_a_turn_beside_the_service_is_taken_as_its_own(world, turns, monkeypatch):
    made, _ = turns
    sent = batches(1, count=2)
    with monkeypatch.context() as patched:
        own = []
        patched.setattr(
            gateway_turns, "take_in_together", lambda _zone, sent, **_: own.extend(sent) or []
        )
        made._here.release()
        try:
            outcomes = made.take_in(sent)
        finally:
            made._here.acquire()
    assert own == [], "turns of the service"
    assert [type(one) for one in outcomes] == [TakenIn, TakenIn]
    assert {"b1", "b2"} <= {one.batch_id for one in world.receipts()}
    gateway = made._zone.signing_key.public_key
    for one in outcomes:
        one.receipt.verify(gateway)
    again, altered, unread = made.take_in(
        [sent[0], SmallBatch(sent[1].thumbprint, sent[1].name, NOW, body(9)),
         SmallBatch(sent[1].thumbprint, BatchName("odd", 9), NOW, b"no table")]
    )  # fmt: skip
    assert again == outcomes[0]
    assert isinstance(altered, ConflictError)
    assert altered.reason == "conflict.batch"
    assert altered.remedy
    assert isinstance(unread, Source)


def test_what_waits_of_a_source_is_known_beside_the_service(world, turns, monkeypatch):
    made, _ = turns
    monkeypatch.setattr(made._queue, "waiting_sources", lambda: frozenset({"headend"}))
    behind, other = made.take_in([*batches(50, count=1), *batches(1, count=1, key=OTHER)])
    assert isinstance(behind, Source)
    assert isinstance(other, TakenIn)


def test_batches_of_a_process_that_is_killed_are_each_taken_in_once(world, turns):
    made, pool = turns
    before = len(world.receipts())
    sent = batches(100, count=400)
    executor = made._workers._executor
    (worker,) = executor._processes.values()
    turn = pool.submit(made.take_in, sent)
    time.sleep(0.05)
    worker.kill()
    wait_until(lambda: made._workers._executor not in {None, executor})  # its end was noticed
    made._here.release()
    try:
        outcomes = turn.result(WAIT_S)
    finally:
        made._here.acquire()
    assert all(isinstance(one, TakenIn) for one in outcomes)
    assert len(world.receipts()) == before + 400


def test_a_turn_that_a_replaced_process_never_began_is_taken_by_the_service(
    world, turns, monkeypatch
):
    made, pool = turns
    dropped = Future()
    dropped.cancel()
    given, submit = [], made._submit

    def drop_the_first(turn):
        given.append(turn)
        return dropped if len(given) == 1 else submit(turn)

    monkeypatch.setattr(made, "_submit", drop_the_first)
    turn = pool.submit(made.take_in, batches(600, count=2))
    wait_until(lambda: len(given) > 1)  # processes were asked for again
    made._here.release()
    try:
        outcomes = turn.result(WAIT_S)
    finally:
        made._here.acquire()
    assert [type(one) for one in outcomes] == [TakenIn, TakenIn]


def wait_until(happened):
    limit = time.monotonic() + WAIT_S
    while not happened():
        assert time.monotonic() < limit
        time.sleep(0.01)
