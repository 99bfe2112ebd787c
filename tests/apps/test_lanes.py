"""Turns at a service: readers do not wait for changes, and too many are told when to come again."""

from __future__ import annotations

import asyncio
from threading import Event

import httpx
import pytest

from gridsecure.store.database import open_database
from gridsecure_api import lanes
from gridsecure_api.own_build import open_build
from gridsecure_api.readiness import ReadyCheck
from gridsecure_api.serving import ServiceDescription, new_app
from gridsecure_api.settings import BuildSettings
from tests.apps.zone_apps import TestClock, bearer, grid_keys


@pytest.fixture
def held(monkeypatch):
    """An application whose changes wait until they are let go."""
    monkeypatch.setattr(lanes, "WAITING", 2)

    def waits():
        app.state.go.wait(30)

    app = new_app(
        ServiceDescription("platform", "t", "t", checks=(ReadyCheck("thing", waits),)),
        identity_key=grid_keys().identity.public_key,
        max_body_bytes=1000,
        clock=TestClock(),
        build=open_build(BuildSettings(), whose="the tests"),
    )
    app.state.go = Event()

    @app.get("/list")
    def read() -> list[int]:
        return [1]

    @app.get("/log/checkpoint")
    def read_log() -> bool:
        return app.state.go.wait(30)

    @app.post("/change")
    def change() -> bool:
        return app.state.go.wait(30)

    @app.post("/told")
    def tell(told: list[int]) -> int:
        return len(told) + change()

    yield app
    app.state.go.set()


async def send_all(app, *requests):
    """Send requests, then reads and pages while they wait, then let them go."""
    transport = httpx.ASGITransport(app=app)
    headers = bearer("platform", "billing")
    async with httpx.AsyncClient(transport=transport, base_url="http://p", headers=headers) as http:
        tasks = [
            asyncio.create_task(http.request("POST", path, json=[1] if path == "/told" else None))
            for path in requests
        ]
        await asyncio.sleep(0.2)
        met = [await http.get(path) for path in ("/list", "/health", "/reasons/service.busy")]
        app.state.go.set()
        return met, await asyncio.gather(*tasks)


@pytest.mark.parametrize("path", ["/change", "/told"])
def test_readers_are_answered_while_changes_wait_and_those_too_many_are_told_when_to_come(
    held, path
):
    met, answers = asyncio.run(send_all(held, *[path] * (lanes.CHANGES_AT_ONCE + 4)))
    assert [answer.status_code for answer in met] == [200, 200, 200]
    assert "Try again" in met[2].json()["meanings"][0]["remedy"]
    refused = [answer for answer in answers if not answer.is_success]
    assert len(refused) == 2
    for answer in refused:
        assert (answer.status_code, answer.json()["reason"]) == (503, "service.busy")
        assert answer.headers["Retry-After"] == "1"


def test_operators_are_answered_while_strangers_read_a_log(held, monkeypatch):
    monkeypatch.setattr(lanes, "LOGS_WAITING", 2)
    most = lanes.LOGS_AT_ONCE + lanes.LOGS_WAITING

    async def ask():
        transport = httpx.ASGITransport(app=held)
        async with httpx.AsyncClient(transport=transport, base_url="http://p") as http:
            tasks = [asyncio.create_task(http.get("/log/checkpoint")) for _ in range(most + 5)]
            await asyncio.sleep(0.2)
            operator = bearer("platform", "billing")
            met = [(await http.get("/list", headers=operator)).status_code for _ in range(10)]
            held.state.go.set()
            return met, [answer.status_code for answer in await asyncio.gather(*tasks)]

    met, strangers = asyncio.run(ask())
    assert met == [200] * 10
    assert (strangers.count(200), strangers.count(503)) == (most, 5)


def test_a_service_is_alive_while_it_is_looked_at_what_it_lacks(held):
    async def ask():
        transport = httpx.ASGITransport(app=held)
        async with httpx.AsyncClient(transport=transport, base_url="http://p") as http:
            count = lanes.PAGES_AT_ONCE + 2
            tasks = [asyncio.create_task(http.get("/ready")) for _ in range(count)]
            await asyncio.sleep(0.2)
            met = [(await http.get(path)).status_code for path in ("/health", "/about")]
            is_over = any(one.done() for one in tasks)
            held.state.go.set()
            return met, is_over, {answer.status_code for answer in await asyncio.gather(*tasks)}

    assert asyncio.run(ask()) == ([200, 200], False, {200})


def test_a_body_that_nobody_reads_passes_no_lane(held, monkeypatch):
    """A route without a body is asked with one: it waits for its turn like any other."""
    monkeypatch.setattr(lanes, "READS_AT_ONCE", 0)

    async def ask():
        transport = httpx.ASGITransport(app=held)
        headers = bearer("platform", "billing")
        async with httpx.AsyncClient(
            transport=transport, base_url="http://p", headers=headers
        ) as http:
            return await http.request("GET", "/list", content=b"x")

    monkeypatch.setattr(lanes, "PATIENCE_S", 0.05)
    assert asyncio.run(ask()).status_code == 503


def test_who_waits_too_long_is_told_so_and_a_turn_is_never_lost(held, monkeypatch):
    monkeypatch.setattr(lanes, "PATIENCE_S", 0.05)
    _, answers = asyncio.run(send_all(held, *["/change"] * (lanes.CHANGES_AT_ONCE + 2)))
    assert [answer.status_code for answer in answers].count(503) == 2
    _, again = asyncio.run(send_all(held, *["/change"] * lanes.CHANGES_AT_ONCE))
    assert {answer.status_code for answer in again} == {200}


def test_who_has_a_turn_waits_for_no_thread_and_no_connection(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path / 'zone.db'}")
    connections = engine.pool.size() + engine.pool._max_overflow
    engine.dispose()
    at_once = lanes.READS_AT_ONCE + lanes.CHANGES_AT_ONCE + lanes.LOGS_AT_ONCE
    at_once += 1  # of those done together
    assert at_once <= connections
    assert at_once + lanes.PAGES_AT_ONCE < 40  # threads of anyio
