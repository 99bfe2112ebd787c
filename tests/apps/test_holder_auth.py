"""Signed requests: one counter and one signature an attempt, tokens renewed in time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import httpx
import pytest

from gridsecure.credentials.uploads import (
    COUNTER_HEADER,
    HOLDER_HEADER,
    SIGNATURE_HEADER,
    Upload,
)
from gridsecure.crypto.sm2 import Sm2PublicKey, generate_private_key
from gridsecure.crypto.sm3 import sm3_digest
from gridsecure.errors import SignatureError
from gridsecure.gateway.identity_peer import HolderLogin
from gridsecure_api.gateway_peers import HolderAuth
from tests.grid_simulator import NOW

KEY = generate_private_key()
LIFETIME = timedelta(minutes=5)
MICROSECONDS = int(NOW.timestamp()) * 1_000_000


class Platform:
    """Keeps what it is sent, and answers with the statuses it is told."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.requests: list[httpx.Request] = []
        self.bodies: list[bytes] = []
        self.logins = 0
        self.now: datetime = NOW

    def __call__(self, request: httpx.Request) -> httpx.Response:
        # as sent: the next attempt changes the headers of this very request
        self.requests.append(httpx.Request(request.method, request.url, headers=request.headers))
        self.bodies.append(request.read())
        return httpx.Response(self.statuses.pop(0) if self.statuses else 200)

    def log_in(self):
        self.logins += 1
        return HolderLogin(f"token-{self.logins}", self.now + LIFETIME), KEY

    def client(self) -> httpx.Client:
        auth = HolderAuth(self.log_in, clock=lambda: self.now)
        return httpx.Client(
            transport=httpx.MockTransport(self), base_url="http://platform/", auth=auth
        )

    @property
    def counters(self) -> list[int]:
        return [int(request.headers[COUNTER_HEADER]) for request in self.requests]

    @property
    def tokens(self) -> list[str]:
        return [request.headers["Authorization"] for request in self.requests]

    def check(self, number: int, **changes) -> None:
        """Verify a request's signature, over what it says or something else."""
        request = self.requests[number]
        said = {
            "method": request.method,
            "path": request.url.path,
            "token": request.headers["Authorization"].removeprefix("Bearer "),
            "counter": int(request.headers[COUNTER_HEADER]),
            "body_digest": sm3_digest(self.bodies[number]),
        }
        holder = Sm2PublicKey(bytes.fromhex(request.headers[HOLDER_HEADER]))
        assert holder == KEY.public_key
        signature = bytes.fromhex(request.headers[SIGNATURE_HEADER])
        holder.verify(Upload(**{**said, **changes}).text(), signature)


def test_a_request_is_signed_over_all_it_says():
    platform = Platform()
    platform.client().post("/uploads?x=1", content=b"body")
    platform.check(0)
    for changes in (
        {"method": "PUT"},
        {"path": "/rosters"},
        {"path": "/uploads?x=1"},
        {"token": "other"},
        {"counter": 1},
        {"body_digest": sm3_digest(b"")},
    ):
        with pytest.raises(SignatureError):
            platform.check(0, **changes)


def test_a_streamed_and_an_empty_body_are_signed_too():
    platform = Platform()
    client = platform.client()
    client.post("/rosters", content=iter([b"a", b"b"]))
    client.get("/uploads/1")
    platform.check(0)
    platform.check(1)
    assert platform.bodies == [b"ab", b""]


def test_counters_follow_the_clock_and_rise_when_it_stands_or_goes_back():
    platform = Platform()
    client = platform.client()
    for step in (0, 0, -10, 5):
        platform.now = NOW + timedelta(seconds=step)
        client.get("/x")
    first = platform.counters[0]
    assert first == MICROSECONDS
    assert platform.counters[1:3] == [first + 1, first + 2]
    assert platform.counters[3] == first + 5_000_000


def test_after_a_restart_counters_go_on_above_those_before():
    platform = Platform()
    platform.client().get("/x")
    platform.now += timedelta(milliseconds=1)
    platform.client().get("/x")
    assert platform.counters[0] < platform.counters[1]


def test_threads_never_share_a_counter():
    platform = Platform()
    client = platform.client()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _n: client.get("/x"), range(40)))
    assert len(set(platform.counters)) == 40
    assert platform.logins == 1


def test_a_token_is_kept_until_shortly_before_it_ends():
    platform = Platform()
    client = platform.client()
    for minutes in (0, 3, 4, 5):
        platform.now = NOW + timedelta(minutes=minutes)
        client.get("/x")
    assert platform.tokens == [f"Bearer token-{n}" for n in (1, 1, 2, 2)]


def test_a_refused_token_is_renewed_once():
    platform = Platform(401, 200, 401, 401)
    client = platform.client()
    assert client.post("/x", content=b"b").status_code == 200
    platform.check(1)
    assert platform.tokens == ["Bearer token-1", "Bearer token-2"]
    assert platform.bodies == [b"b", b"b"]
    assert client.post("/x").status_code == 401
    assert platform.logins == 3
    assert platform.counters == sorted(set(platform.counters))


def test_another_refusal_is_not_tried_again():
    platform = Platform(403)
    assert platform.client().get("/x").status_code == 403
    assert (platform.logins, len(platform.requests)) == (1, 1)
