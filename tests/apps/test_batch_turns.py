"""Turns of small batches beside the service: in a process that is asked for, and may be killed."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest
from fastapi.testclient import TestClient

from gridsecure.errors import ConflictError, GridSecureError, InvalidMessageError
from gridsecure.gateway.ingestion.batch_groups import SmallBatch
from gridsecure.gateway.ingestion.batches import BatchName, TakenIn
from gridsecure.gateway.ingestion.sources import Source
from gridsecure_api import gateway_turns
from gridsecure_api.gateway_turns import BatchTurns
from tests.apps.queue_world import KEY, OTHER, Queueing, body
from tests.apps.zone_apps import bearer, gateway_app, point
from tests.fork_servers import fork_server_of
from tests.grid_simulator import NOW

WAIT_S = 60.0


@pytest.fixture(scope="module", autouse=True)
def fork_server():
    with fork_server_of("gateway"):
        yield


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


def test_a_turn_that_a_replaced_process_never_began_is_taken_by_others(world, turns, monkeypatch):
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


@pytest.fixture
def own(monkeypatch):
    """Turns that the service takes itself."""
    found = []
    monkeypatch.setattr(
        gateway_turns, "take_in_together", lambda _zone, sent, **_: found.append(sent) or []
    )
    return found


def test_what_ends_its_process_is_never_read_by_the_service(world, turns, own, monkeypatch):
    made, _ = turns
    sent, submit, ended = batches(700, count=5), made._submit, []

    def end_with_the_third(turn):
        if sent[2] not in turn.sent:
            return submit(turn)
        ended.append(len(turn.sent))
        lost = Future()
        lost.set_exception(BrokenProcessPool())
        return lost

    monkeypatch.setattr(made, "_submit", end_with_the_third)
    monkeypatch.setattr(made, "_lose", lambda _started: None)  # none did end
    made._here.release()
    try:
        outcomes = made.take_in(sent)
    finally:
        made._here.acquire()
    assert ended == [5, 3, 1, 1, 1, 1]
    refused = outcomes.pop(2)
    assert (type(refused), refused.reason) == (InvalidMessageError, "batch.reader")
    assert [type(one) for one in outcomes] == [TakenIn] * 4
    assert own == []


def test_a_service_that_must_confine_waits_for_its_processes(tmp_path, own, monkeypatch):
    world = Queueing(tmp_path, batch_processes=1, sandbox="required")
    made = world.app.state.intake.turns
    assert [type(one) for one in made.take_in(batches(1, count=2))] == [TakenIn, TakenIn]
    monkeypatch.setattr(gateway_turns, "_START_S", 0.1)
    made.close()
    with pytest.raises(GridSecureError) as busy:
        made.take_in(batches(3, count=1))
    assert (busy.value.reason, own) == ("service.busy", [])
    world.end()


def test_a_process_that_lost_the_database_ends_and_another_takes_its_place(tmp_path, postgres_url):
    """It is confined, so it cannot connect anew; and it needs no network while it is connected."""
    world = Queueing(tmp_path, batch_processes=1, database=postgres_url, sandbox="required")
    made = world.app.state.intake.turns
    wait_until(lambda: made._are_there)
    assert all(isinstance(one, TakenIn) for one in beside(made, batches(1, count=2)))
    executor = made._workers._executor
    with made._zone.engine.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert all(isinstance(one, TakenIn) for one in made.take_in(batches(3, count=2)))
    wait_until(lambda: made._are_there and made._workers._executor is not executor)
    assert all(isinstance(one, TakenIn) for one in beside(made, batches(5, count=2)))
    assert len(world.receipts()) == 6
    made.close()
    world.end()


def beside(made, sent):
    """A turn while the service can take none."""
    with made._here:
        return made._submit(gateway_turns._Turn(sent, frozenset())).result(WAIT_S)


def test_what_is_no_answer_is_not_read_as_one():
    for text in ("[1]", '[{"kind":"Path","message":"","reason":"","remedy":""}]'):
        with pytest.raises(GridSecureError) as refused:
            gateway_turns._read_outcomes(text)
        assert refused.value.reason == "batch.answer"


def test_processes_that_do_not_start_are_tried_again_later(tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(gateway_turns, "_PAUSE_S", 0.2)
    monkeypatch.setattr(
        gateway_turns.TurnProcesses, "submit", lambda _self, _jobs: tried.append(1) or broken()
    )
    world = Queueing(tmp_path, batch_processes=1)
    made = world.app.state.intake.turns
    wait_until(lambda: len(tried) == 1 and not made._is_asked_for)
    made.prepare()
    assert (len(tried), made._is_asked_for) == (1, False), "it waits"
    time.sleep(0.2)
    made.prepare()
    wait_until(lambda: len(tried) == 2)
    made.close()
    world.end()


def broken():
    raise BrokenProcessPool


def wait_until(happened):
    limit = time.monotonic() + WAIT_S
    while not happened():
        assert time.monotonic() < limit
        time.sleep(0.01)
