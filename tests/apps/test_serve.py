"""A service's own server: TLS between machines, and connections that nobody may hold for good."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from unittest.mock import patch

import httpx
import pytest
from fastapi import Depends, FastAPI, Request
from pydantic import ValidationError
from uvicorn.server import ServerState

from gridsecure.errors import InputError, StorageError
from gridsecure.wire.certificates import (
    CA,
    CERTIFICATE,
    KEY,
    CertificateOrder,
    issue,
    make_authority,
)
from gridsecure.wire.connections import TlsFiles, new_client, shown_context, trust
from gridsecure_api import serve
from gridsecure_api.bounded_connections import (
    IDLE_S,
    MOST_UNSAID,
    ConnectionLimits,
    bounded_by,
    bounded_over_tls,
)
from gridsecure_api.deps import require
from gridsecure_api.own_build import open_build
from gridsecure_api.peer_connections import connecting
from gridsecure_api.serve import Server, make_server
from gridsecure_api.serving import ServiceDescription, new_app
from gridsecure_api.settings import BuildSettings, ListenSettings
from tests.apps.zone_apps import TestClock, bearer, grid_keys
from tests.attacks import WITHHELD, Attacked, attack, cut, rule

SOON = timedelta(days=1)
PROTECTED = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


def small_app() -> FastAPI:
    app = new_app(
        ServiceDescription("platform", "t", "t"),
        identity_key=grid_keys().identity.public_key,
        max_body_bytes=1000,
        clock=TestClock(),
        build=open_build(BuildSettings(), whose="the tests"),
    )

    @app.get("/own", dependencies=[Depends(require("gateway", "authority", "billing"))])
    def read() -> str:
        return "x"

    @app.get("/long")
    def read_long() -> str:
        return "x" * (64 << 20)

    @app.post("/said", dependencies=[Depends(require("billing"))])
    async def repeat(request: Request) -> str:
        return f"{(await request.body()).decode()} {'x-late' in request.headers}"

    @app.get("/broken")
    def fail() -> str:
        raise ValueError("of ours")

    return app


@contextmanager
def served(**settings: object) -> Iterator[tuple[Server, int]]:
    told = ListenSettings(port=0, stop_seconds=1, **settings)
    server = make_server(small_app, told)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 120
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield server, server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@dataclass(frozen=True)
class Zones:
    """Certificates of two zones, each under an authority of its own."""

    folder: Path

    def files(self, name: str, *, ca: str = "both.pem") -> TlsFiles:
        own = self.folder / name
        return TlsFiles(self.folder / ca, own / CERTIFICATE, own / KEY)

    def issue(self, name: str) -> None:
        order = CertificateOrder(name, ("127.0.0.1",), SOON)
        issue(self.folder / f"{name}-ca", order, output=self.folder / name, now=datetime.now(UTC))


@pytest.fixture(scope="module")
def zones(tmp_path_factory: pytest.TempPathFactory) -> Zones:
    made = Zones(tmp_path_factory.mktemp("zones"))
    for name in ("platform", "authority", "stranger"):
        authority = made.folder / f"{name}-ca"
        make_authority(authority, zone=name, hosts=["127.0.0.1"], now=datetime.now(UTC))
        made.issue(name)
    known = [(made.folder / f"{name}-ca" / CA).read_bytes() for name in ("platform", "authority")]
    (made.folder / "both.pem").write_bytes(b"".join(known))
    (made.folder / "strange.pem").write_bytes((made.folder / "stranger-ca" / CA).read_bytes())
    return made


@pytest.fixture(scope="module")
def over_tls(zones: Zones) -> Iterator[tuple[Server, str]]:
    own = zones.files("platform")
    with served(tls_certificate=own.certificate, tls_key=own.key, tls_ca=own.ca) as (server, port):
        yield server, f"https://127.0.0.1:{port}"


@pytest.fixture
def trusting() -> Iterator[None]:
    yield
    trust(TlsFiles())


def ask(url: str, *roles: str, shows: bool = False) -> httpx.Response:
    headers = bearer("platform", *roles) if roles else {}
    with new_client(is_named=shows, base_url=url, headers=headers, timeout=60) as http:
        return http.get("/own" if roles else "/health")


@pytest.mark.usefixtures("trusting")
def test_a_services_token_works_with_its_certificate_alone(
    zones: Zones, over_tls: tuple[Server, str]
) -> None:
    _, url = over_tls
    trust(zones.files("authority"))
    assert ask(url, "authority", shows=True).status_code == 200
    assert ask(url, "authority").status_code == 403
    assert ask(url, "gateway", shows=True).status_code == 403, "of another service"
    person = ask(url, "billing")
    assert person.status_code == 200
    assert person.headers["strict-transport-security"]


@pytest.mark.usefixtures("trusting")
def test_certificates_of_strangers_open_nothing_either_way(
    zones: Zones, over_tls: tuple[Server, str]
) -> None:
    _, url = over_tls
    trust(zones.files("stranger"))
    with pytest.raises(httpx.TransportError):
        ask(url, "authority", shows=True)
    trust(zones.files("authority", ca="strange.pem"))
    with pytest.raises(httpx.ConnectError):
        ask(url)


def shaken(server: ssl.SSLContext, client: ssl.SSLContext, *, host: str) -> None:
    """A handshake in memory; raises as the client does."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    asks = client.wrap_bio(to_client, to_server, server_hostname=host)
    answers = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (asks, answers):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()


@attack(
    "a neighbour's server certificate, signed by the authority of another neighbour",
    rule(
        "An authority signs for the hosts that it names and no others.",
        WITHHELD,
        cut(
            "gridsecure.wire.certificates:make_authority",
            ".add_extension(bounds, critical=True)",
            "",
        ),
    ),
)
@pytest.mark.parametrize("host", ["authority.example", "10.0.0.7"])
@pytest.mark.usefixtures("trusting")
def test_an_authority_vouches_for_no_other_hosts(
    tmp_path: Path, host: str, attacked: Attacked
) -> None:
    """It is believed, and its own software would sign anything."""
    own, folder = "platform.example", tmp_path / "tls"
    make_authority(tmp_path / "ca", zone="platform", hosts=[own], now=datetime.now(UTC))
    trust(TlsFiles(ca=tmp_path / "ca" / CA))
    ends = []
    with patch("gridsecure.wire.certificates._check_bounds"):
        for name in (own, host):
            order = CertificateOrder("authority", (name,), SOON)
            issue(tmp_path / "ca", order, output=folder, now=datetime.now(UTC))
            server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.load_cert_chain(folder / CERTIFICATE, folder / KEY)
            try:
                shaken(server, shown_context(), host=name)
                ends.append("")
            except ssl.SSLCertVerificationError:
                ends.append(WITHHELD)
    assert ends[0] == "", "what it signs for its own hosts is believed"
    attacked.ends(ends[1])


@pytest.mark.usefixtures("trusting")
def test_a_renewed_certificate_is_shown_by_server_and_client_without_a_restart(
    zones: Zones, over_tls: tuple[Server, str]
) -> None:
    server, url = over_tls
    port = int(url.rpartition(":")[2])
    trust(zones.files("authority"))

    def shown() -> bytes:
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            shown_context().wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            return secure.getpeercert(binary_form=True) or b""

    first = shown()
    server.read_certificate()
    assert shown() == first
    zones.issue("platform")
    zones.issue("authority")
    server.read_certificate()
    assert shown() != first
    assert ask(url, "authority", shows=True).status_code == 200
    strange = (zones.folder / "stranger" / CERTIFICATE).read_bytes()
    (zones.folder / "platform" / CERTIFICATE).write_bytes(strange)  # and its key comes later
    server.read_certificate()
    assert ask(url).status_code == 200
    zones.issue("platform")


def test_a_server_beyond_the_own_machine_has_a_certificate_or_does_not_start(
    zones: Zones,
) -> None:
    with pytest.raises(InputError) as refused:
        make_server(small_app, ListenSettings(host="0.0.0.0", port=0))  # noqa: S104 - refused
    assert refused.value.reason == "server.plain"
    own = zones.files("platform")
    beyond = ListenSettings(
        host="0.0.0.0",  # noqa: S104 - it is not run
        port=0,
        tls_certificate=own.certificate,
        tls_key=own.key,
    )
    assert make_server(small_app, beyond).config.host == "0.0.0.0"  # noqa: S104 - it is not run
    with pytest.raises(StorageError):
        make_server(small_app, beyond.model_copy(update={"tls_key": zones.folder / "no.pem"}))


@pytest.mark.usefixtures("trusting")
def test_half_a_pair_and_files_that_are_none_are_refused(zones: Zones, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        trust(TlsFiles(certificate=zones.files("platform").certificate))
    with pytest.raises(StorageError):
        trust(TlsFiles(ca=tmp_path / "missing.pem"))


def test_nothing_is_sent_to_another_machine_by_plain_http() -> None:
    with new_client() as http, pytest.raises(InputError) as refused:
        http.get("http://platform.example/health")
    assert refused.value.reason == "connection.plain"
    with new_client() as http, pytest.raises(httpx.ConnectError):
        http.get("http://[::1]:1/health")


def test_only_who_says_its_name_shows_its_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    build = open_build(BuildSettings(), whose="the tests")
    asked = []

    def made(*, is_named: bool, **_: object) -> None:
        asked.append(is_named)

    monkeypatch.setattr("gridsecure_api.peer_connections.new_client", made)
    connect = connecting(build)
    connect("https://p", None)
    connect("https://p", httpx.BasicAuth("a", "b"))
    assert asked == [False, False]


def test_a_proxy_is_named_by_address_and_never_everybody() -> None:
    assert ListenSettings(trusted_proxies=["10.0.0.0/8"]).trusted_proxies == ("10.0.0.0/8",)
    with pytest.raises(ValidationError):
        ListenSettings(trusted_proxies=["*"])


def rest_of(connection: socket.socket) -> bytes:
    """All that comes until the other side closes; asyncio ends a handshake after a minute."""
    connection.settimeout(50)
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def test_half_a_request_is_not_held_and_a_kept_connection_is() -> None:
    with served(header_seconds=1) as (_, port):
        halves = [b"", b"GET /health HTTP/1.1\r\nHost: x\r\n"]
        halves.append(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /hea")
        held = []
        for half in halves:
            held.append(socket.create_connection(("127.0.0.1", port)))
            held[-1].sendall(half)
        answers = [rest_of(one) for one in held]
        assert [one.startswith(b"HTTP/1.1 200") for one in answers] == [False, False, True]
        for one in held:
            one.close()
    with served() as (_, port), httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
        for _ in range(2):
            assert http.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("more", "body", "answer"),
    [
        (
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nContent-Length: 5",
            "GET /",
            '"GET / False"',
        ),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nX-Late: 1\r\n\r\n", '"hello False"'),
    ],
    ids=["upgrade", "trailer"],
)
def test_a_body_is_read_whole_and_what_stands_beside_it_is_passed_over(
    more: str, body: str, answer: str
) -> None:
    token = bearer("platform", "billing")["Authorization"]
    head = f"POST /said HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n{more}\r\n\r\n"
    last = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with served() as (_, port), socket.create_connection(("127.0.0.1", port)) as held:
        held.sendall(f"{head}{body}{last}".encode())
        answers = rest_of(held).decode()
    assert answers.count("HTTP/1.1 200") == 2
    assert answer in answers


_GET = b"GET /health HTTP/1.1\r\nHost: x\r\n"
_CHUNKS = b"POST /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "piece", "is_told"),
    [
        (_GET, b"X: " + b"y" * 1000 + b"\r\n", True),
        (_GET + b"X: ", b"y" * 1000, True),
        (b"GET /", b"y" * 1000, True),
        (b"\r\n", b"\r\n" * 500, True),
        (_CHUNKS + b"1;", b"y" * 1000, True),
        (_CHUNKS + b"1\r\nx\r\n0\r\n", b"X: " + b"y" * 1000 + b"\r\n", True),
        (_GET + b"\r\n" + _GET, b"X: " + b"y" * 1000 + b"\r\n", False),
        (b"", (_GET + b"\r\n") * 100, False),
        (_GET + b"\r\n", b"no HTTP at all\r\n\r\n", False),
        (b"", b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", True),
    ],
    ids=["headers", "header", "path", "lines", "chunk", "trailers", "next", "many", "not", "proxy"],
)
def test_what_a_connection_may_say_without_end_is_bounded(
    first: bytes, piece: bytes, is_told: bool
) -> None:
    """Whoever has a whole request in work is told nothing: it would be read as its answer."""

    async def said() -> tuple[int, bytes]:
        peer, connection = Peer("198.51.100.7"), bounded_by(ConnectionLimits())(**parts())
        connection.connection_made(peer)
        connection.data_received(first)
        pieces = 0
        while not peer.is_closing() and pieces < 100:
            connection.data_received(piece)
            pieces += 1
        connection.connection_lost(ConnectionAbortedError())
        return pieces, peer.written

    pieces, written = asyncio.run(said())
    assert pieces <= MOST_UNSAID // 1000 + 1
    assert written.startswith(b"HTTP/1.1 400") == is_told
    assert is_told or not written


def test_an_answer_that_nobody_reads_is_given_up() -> None:
    with served() as (server, port), socket.create_connection(("127.0.0.1", port)) as slow:
        protocol = server.config.http_protocol_class
        protocol.limits = replace(protocol.limits, stalled_s=0.3)
        token = bearer("platform", "billing")["Authorization"]
        slow.sendall(f"GET /long HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode())
        deadline = time.monotonic() + 120
        while not server.server_state.connections and time.monotonic() < deadline:
            time.sleep(0.01)
        while server.server_state.connections and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not server.server_state.connections


def test_beyond_so_many_connections_a_new_one_is_told_to_come_again() -> None:
    with served(most_connections=8) as (_, port):
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
        with socket.create_connection(("127.0.0.1", port)) as late:
            answer = rest_of(late)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"\r\nRetry-After: 5\r\n" in answer
        for one in held:
            one.close()


def test_under_tls_who_shakes_no_hands_is_counted_and_ended(zones: Zones) -> None:
    own = zones.files("platform")
    shown = {"tls_certificate": own.certificate, "tls_key": own.key}
    with served(most_connections=8, header_seconds=600, **shown) as (_, port):
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(12)]
        with socket.create_connection(("127.0.0.1", port)) as late:
            assert rest_of(late) == b""
        for one in held:
            one.close()
    with (
        served(header_seconds=0.3, **shown) as (_, port),
        socket.create_connection(("127.0.0.1", port)) as silent,
    ):
        assert rest_of(silent) == b""


class Peer(asyncio.Transport):
    """A connection whose other side takes nothing off."""

    def __init__(self, address: str) -> None:
        super().__init__({"peername": (address, 1)})
        self.is_ended = self._is_closing = False
        self.written = b""

    def pause_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True

    def abort(self) -> None:
        self._is_closing = self.is_ended = True

    def write(self, data: bytes) -> None:
        self.written += data


def parts() -> dict[str, object]:
    """What uvicorn makes a connection of, but for its loop."""
    config = make_server(small_app, ListenSettings(port=0)).config
    return {"config": config, "server_state": ServerState(), "app_state": {}}


def test_of_one_address_no_more_than_a_share_shake_hands() -> None:
    limits = ConnectionLimits(most=8, of_one=2, proxies=(ip_network("203.0.113.0/24"),))

    async def ended(*addresses: str) -> list[bool]:
        make = bounded_over_tls(limits, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        peers, shields = [Peer(one) for one in addresses], []
        for peer in peers:
            shields.append(make(**parts()))
            shields[-1].connection_made(peer)
        met = [one.is_ended for one in peers]
        for shield in shields:
            shield.connection_lost(None)
        again = Peer(addresses[0])
        shield = make(**parts())
        shield.connection_made(again)
        shield.connection_lost(None)
        return [*met, again.is_ended]

    home, other, proxy = "198.51.100.7", "198.51.100.8", "203.0.113.1"
    assert asyncio.run(ended(*[home] * 4, other)) == [False, False, False, True, False, False]
    assert not any(asyncio.run(ended(*[proxy] * 5)))
    assert not any(asyncio.run(ended(*["127.0.0.1"] * 5)))
    network = [f"2001:db8::{number}" for number in range(4)]
    assert asyncio.run(ended(*network)) == [False, False, False, True, False]


def test_a_kept_connection_ends_though_nobody_takes_off_its_answers() -> None:
    limits = ConnectionLimits(stalled_s=0.01)

    async def end() -> None:
        for name in ("timeout_keep_alive_handler", "shutdown"):
            peer, connection = Peer("198.51.100.7"), bounded_by(limits)(**parts())
            connection.connection_made(peer)
            getattr(connection, name)()
            assert peer.is_closing()
            while not peer.is_ended:
                await asyncio.sleep(0.01)
            connection.connection_lost(ConnectionAbortedError())

    asyncio.run(asyncio.wait_for(end(), 60))


def test_a_service_has_files_for_its_connections_or_does_not_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    had, given = [(1024, 1024)], []
    monkeypatch.setattr(serve.resource, "getrlimit", lambda _: had[-1])
    monkeypatch.setattr(serve.resource, "setrlimit", lambda _, limits: given.append(limits))
    with pytest.raises(InputError) as refused:
        serve.allow_files(ListenSettings())
    assert refused.value.reason == "server.files"
    serve.allow_files(ListenSettings(most_connections=256))
    assert given == []
    had.append((1024, 65536))
    serve.allow_files(ListenSettings())
    assert given == [(1792, 65536)]


def test_a_server_keeps_a_connection_for_longer_than_clients_do() -> None:
    """Else one in a thousand requests meets a connection that is just being closed."""
    with served() as (server, _), new_client() as http:
        pool = http._transport._pool  # type: ignore[attr-defined] # httpx says it nowhere else
        assert server.config.timeout_keep_alive == IDLE_S
        assert pool._keepalive_expiry < IDLE_S


def test_every_answer_protects_who_reads_it() -> None:
    with served() as (_, port), httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
        person = bearer("platform", "billing")
        answers = [
            http.get("/health"),
            http.get("/nothing"),
            http.get("/nothing", headers=person),
            http.get("/own", headers=person),
            http.get("/broken", headers=person),
            http.post("/own", headers=person, content=b"x" * 2000),
            http.put("/health"),
        ]
        assert [one.status_code for one in answers] == [200, 401, 404, 200, 500, 413, 405]
        for one in answers:
            assert PROTECTED.items() <= dict(one.headers).items(), one.status_code
        page = http.get("/docs")
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert page.headers["x-frame-options"] == "DENY"
        with socket.create_connection(("127.0.0.1", port)) as other:
            other.sendall(b"no HTTP at all\r\n\r\n")
            malformed = rest_of(other).decode().lower()
        assert malformed.startswith("http/1.1 400")
        for name, text in PROTECTED.items():
            assert f"\r\n{name}: {text.lower()}\r\n" in malformed
