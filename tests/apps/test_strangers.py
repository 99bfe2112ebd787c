"""What strangers cost a service: bodies, slowness and sign-ins have few places, of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import httpx
import pytest
from fastapi import FastAPI

from gridsecure.errors import GridSecureError
from gridsecure.identity.enrolments.passwords import decoy_record
from gridsecure.identity_messages import MAX_BATCH
from gridsecure.messages import MAX_SLOTS
from gridsecure_api import deps, identity_people, identity_registration, lanes
from gridsecure_api.deps import AccessRules, RawBody
from gridsecure_api.own_build import open_build
from gridsecure_api.serving import ServiceDescription, new_app
from gridsecure_api.settings import BuildSettings, UserEntry
from tests.apps.zone_apps import TestClock, bearer, grid_keys, identity_app


@pytest.fixture
def app() -> FastAPI:
    """A service with a route that everybody may send a body to."""
    description = ServiceDescription(
        "platform",
        "t",
        "t",
        public_paths=frozenset({"/open", "/short"}),
        body_limits={"/short": 100},
    )
    made = new_app(
        description,
        identity_key=grid_keys().identity.public_key,
        max_body_bytes=4000,
        clock=TestClock(),
        build=open_build(BuildSettings(), whose="the tests"),
    )

    for path in ("/open", "/short", "/own"):

        @made.post(path)
        def take(body: RawBody) -> int:
            return len(body)

    return made


class Sending:
    """A request whose body comes piece by piece."""

    def __init__(
        self, app: FastAPI, path: str, *, address: str = "198.51.100.7", **headers: str
    ) -> None:
        self.pieces: asyncio.Queue[tuple[bytes, bool]] = asyncio.Queue()
        self.status = 0
        named = {"transfer-encoding": "chunked", **headers}
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(n.lower().encode(), v.encode()) for n, v in named.items()],
            "client": (address, 1),
            "server": ("p", 80),
            "scheme": "http",
            "http_version": "1.1",
            "root_path": "",
        }
        self.answered = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, object]:
        body, more = await self.pieces.get()
        return {"type": "http.request", "body": body, "more_body": more}

    async def _send(self, message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]

    async def send(self, size: int, *, more: bool = True) -> None:
        self.pieces.put_nowait((b"x" * size, more))
        while not self.pieces.empty():
            await asyncio.sleep(0)
        for _ in range(20):  # what was taken is looked at
            await asyncio.sleep(0)

    async def end(self) -> int:
        self.pieces.put_nowait((b"", False))
        await self.answered
        return self.status


def test_what_strangers_bodies_hold_together_is_bounded_and_given_back(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "STRANGERS_BYTES", 3000)
    monkeypatch.setattr(lanes, "STRANGERS_SHARE", 1)

    async def ask() -> list[int]:
        held = [Sending(app, "/open") for _ in range(3)]
        for one in held:
            await one.send(1000)
        late = Sending(app, "/open")
        await late.send(1)
        await late.answered
        known = Sending(app, "/own", **bearer("platform", "billing"))
        await known.send(1000)
        met = [late.status, await known.end()]
        met += [await one.end() for one in held]
        again = Sending(app, "/open")
        await again.send(3000)
        return [*met, await again.end()]

    assert asyncio.run(ask()) == [503, 200, 200, 200, 200, 200]


@pytest.mark.parametrize(
    ("near", "far"),
    [("198.51.100.7", "198.51.100.8"), ("2001:db8::7", "2001:db8:0:1::7")],
)
def test_one_strangers_bodies_leave_room_for_others(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, near: str, far: str
) -> None:
    monkeypatch.setattr(lanes, "STRANGERS_BYTES", 4000)
    monkeypatch.setattr(lanes, "STRANGERS_SHARE", 2)

    async def ask() -> list[int]:
        held = [Sending(app, "/open", address=near) for _ in range(2)]
        for one in held:
            await one.send(1000)
        late = Sending(app, "/open", address=near.replace(":7", ":8"))
        await late.send(1)
        await late.answered
        met = [late.status]
        for address in (far, "127.0.0.1"):  # the own machine speaks for many
            other = Sending(app, "/open", address=address)
            await other.send(2000)
            met.append(await other.end())
        met += [await one.end() for one in held]
        again = Sending(app, "/open", address=near)
        await again.send(2000)
        return [*met, await again.end()]

    assert asyncio.run(ask()) == [503, 200, 200, 200, 200, 200]


def test_one_holder_of_a_token_leaves_room_for_others() -> None:
    held = lanes.Lanes(body_bytes=lanes.OWN_BYTES).own_bytes
    held.add(lanes.OWN_BYTES, "gateway-1")
    with pytest.raises(GridSecureError):
        held.add(lanes.OWN_BYTES, "gateway-1")
    held.add(lanes.OWN_BYTES // 2, "gateway-2")
    held.release(lanes.OWN_BYTES, "gateway-1")
    held.add(lanes.OWN_BYTES, "gateway-1")


def test_a_public_path_takes_little_unless_it_says_more() -> None:
    rules = AccessRules(
        audience="identity",
        identity_key=grid_keys().identity.public_key,
        public_paths=identity_registration.PUBLIC_PATHS,
        max_body_bytes=8 << 20,
        clock=TestClock(),
        body_limits=identity_registration.BODY_LIMITS,
    )
    share = lanes.STRANGERS_BYTES // lanes.STRANGERS_SHARE
    for path in identity_registration.PUBLIC_PATHS:
        assert rules.most_bytes(path) <= share // 2
    assert rules.most_bytes("/logins") == deps.PUBLIC_BYTES
    assert rules.most_bytes("/enrolments") == 8 << 20
    batch = {"holder": "04" + "0" * 128, "presentation": "0" * 4096, "facts": {}}
    items = len(json.dumps({"items": [batch] * MAX_BATCH}))
    assert items < rules.most_bytes("/registrations") - MAX_BATCH * 1024  # of facts
    names = len(json.dumps({"subjects": ["0" * 64] * MAX_SLOTS}))
    assert names < rules.most_bytes("/registrations/list") - 1024


def test_only_with_a_token_a_long_body_may_take_longer(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deps, "BODY_S", 0.05)
    monkeypatch.setattr(deps, "BODY_RATE", 0.01)

    async def ask() -> list[int]:
        known = Sending(app, "/own", **bearer("platform", "billing"))
        await known.send(10)
        stranger = Sending(app, "/open")
        await stranger.send(10)
        await stranger.answered
        return [stranger.status, await known.end()]

    assert asyncio.run(ask()) == [408, 200]


def test_a_path_may_take_less_than_others(app: FastAPI) -> None:
    async def ask() -> list[int]:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://p"
        ) as http:
            sizes = [("/short", 100), ("/short", 101), ("/open", 4000), ("/open", 4001)]
            return [(await http.post(path, content=b"x" * n)).status_code for path, n in sizes]

    assert asyncio.run(ask()) == [200, 413, 200, 413]


@pytest.mark.parametrize(("limit", "value"), [("PAUSE_S", 0.05), ("BODY_S", 0.05)])
def test_a_body_that_does_not_come_is_not_waited_for(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, limit: str, value: float
) -> None:
    monkeypatch.setattr(deps, limit, value)

    async def ask() -> int:
        slow = Sending(app, "/open")
        await slow.send(10)
        await slow.answered
        return slow.status

    assert asyncio.run(ask()) == 408


def test_one_caller_leaves_others_a_place_to_wait() -> None:
    async def ask() -> list[str]:
        lane = lanes.Lane(1, waiting=4)
        leave = await lane.take("a")
        waiting = [asyncio.create_task(lane.take("a")) for _ in range(4)]
        await asyncio.sleep(0)
        refused = [one for one in waiting if one.done()]
        other = asyncio.create_task(lane.take("b"))
        await asyncio.sleep(0)
        assert len(refused) == 1
        assert not other.done()
        for one in [*waiting, other]:
            if one not in refused:
                leave()
                leave = await one
        return [type(one.exception()).__name__ for one in refused]

    assert asyncio.run(ask()) == ["GridSecureError"]


@contextmanager
def stretching(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Passwords are stretched until the block ends."""
    go = Event()
    monkeypatch.setattr(
        identity_people, "password_matches", lambda *_args, **_named: go.wait(60) and False
    )
    try:
        yield
    finally:
        go.set()


def test_sign_ins_of_strangers_keep_nobody_else_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = UserEntry(user="lin", password=decoy_record(), roles=("billing",))
    app = identity_app(tmp_path / "identity", users=(user,))
    most = lanes.SIGN_INS_AT_ONCE + lanes.SIGN_INS_WAITING

    async def sign_in(number: int) -> httpx.Response:
        carrier = httpx.ASGITransport(app=app, client=(f"198.51.100.{number}", 1))
        body = {"user": f"n{number}", "password": "x", "audience": "platform"}
        async with httpx.AsyncClient(transport=carrier, base_url="http://p") as http:
            return await http.post("/sign-in", json=body)

    async def ask() -> tuple[list[int], list[httpx.Response]]:
        with stretching(monkeypatch):
            tasks = [asyncio.create_task(sign_in(number)) for number in range(most + 12)]
            while sum(one.done() for one in tasks) < 12:
                await asyncio.sleep(0.01)
            carrier = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=carrier, base_url="http://p") as http:
                met = [(await http.get("/health")).status_code]
                met.append((await http.post("/service-tokens", json={})).status_code)
                met.append((await http.post("/challenges")).status_code)
        return met, await asyncio.gather(*tasks)

    met, answers = asyncio.run(ask())
    assert met == [200, 422, 200]
    refused = [one for one in answers if one.status_code == 503]
    assert len(refused) == 12
    assert {one.headers["Retry-After"] for one in refused} == {"1"}
    assert {one.status_code for one in answers if one not in refused} == {401}
