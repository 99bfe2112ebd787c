"""What a service could tell two requests of one client by: connections and cookies."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from gridsecure.analyst.grants import QueryAddresses
from gridsecure.client.analysts import Analyst
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.wire import connections
from gridsecure.wire.connections import new_client
from tests.attacks import WITHHELD, Attacked, attack, cut, rule

CLIENT = "gridsecure.wire.connections:"


class Service(ThreadingHTTPServer):
    """Gives each connection a cookie, and writes down what comes back over which."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Numbering)
        self.seen: list[tuple[int, str]] = []


class Numbering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert isinstance(self.server, Service)
        self.server.seen.append((self.client_address[1], self.headers.get("cookie", "")))
        self.send_response(200)
        self.send_header("Set-Cookie", "asker=42; Path=/")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Not to the screen of the tests."""


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def seen_twice(service: Service, http) -> list[tuple[int, str]]:
    service.seen.clear()
    with http:
        for _ in range(2):
            http.get(f"http://127.0.0.1:{service.server_port}/queries/x")
    return service.seen


def test_what_stays_on_this_machine_goes_to_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://proxy.example:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with new_client() as http:
        direct = http._transport_for_url(httpx.URL("http://elsewhere.example"))
        assert direct is not http._transport
        for host in ("127.0.0.1", "localhost", "[::1]"):
            assert http._transport_for_url(httpx.URL(f"http://{host}:1")) is http._transport


@attack(
    "an analyst's questions numbered by a cookie",
    rule(
        "No client keeps a cookie.",
        WITHHELD,
        cut(CLIENT + "new_client", "DefaultCookiePolicy(allowed_domains=[])", "None"),
    ),
)
def test_a_cookie_is_not_given_back(service: Service, attacked: Attacked) -> None:
    _, (_, cookie) = seen_twice(service, connections.unlinked_client())
    attacked.ends(None if cookie == "asker=42" else WITHHELD)


@attack(
    "an analyst's questions joined by the connection that they come over",
    rule(
        "Each anonymous request has a connection of its own.",
        WITHHELD,
        cut(CLIENT + "unlinked_client", "max_keepalive_connections=0", "max_connections=9"),
    ),
)
def test_an_analysts_requests_share_no_connection(
    service: Service, attacked: Attacked, tmp_path: Path
) -> None:
    analyst = Analyst(
        QueryAddresses("", "", ""),
        authority_key=generate_private_key().public_key.point.hex(),
        wallet=tmp_path / "wallet.json",
    )
    (first, _), (second, _) = seen_twice(service, analyst._http)
    attacked.ends(None if first == second else WITHHELD)
