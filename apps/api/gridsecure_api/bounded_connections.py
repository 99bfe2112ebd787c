"""Connections that strangers hold: how many there are, and how long one may take to say something.

Uvicorn waits for the rest of a request's headers, and for a reader of an answer, as long as the
connection stands. Here a connection that has not said a whole request `HEADERS_S` after its first
byte, or after it was opened, is closed; so is one whose answer nobody takes off for `STALLED_S`.
Beyond so many connections, of all or of one address, a new one is told to come again and closed.

Under TLS nobody can be told anything before both sides shook hands, and asyncio tells a protocol
nothing before either. So what comes in is counted below TLS, too, and closed without a word beyond
half as many again; shaking hands may take as long as headers.

A proxy that is trusted speaks for many, and is not counted as one address; nor is the own machine.

The parser is llhttp's, which bounds nothing by itself. Here a connection may send `MOST_UNSAID`
bytes in a row that neither begin or end a request's headers nor belong to a body, and have
`MOST_PIPELINED` requests wait for the answers before theirs. What comes behind a chunked body is no
header. A wish for another protocol is passed over, as it may be (RFC 9110, 7.8); the parser would
take the rest of the connection for that protocol's.
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, ClassVar, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gridsecure.loopback import is_loopback, source_of
from gridsecure.wire.certificates import service_names

HEADERS_S: Final = 10.0
"""How long a request's headers may take [s]."""
STALLED_S: Final = 60.0
"""How long an answer, or the end of a connection, may wait for a reader who does not read [s]."""
IDLE_S: Final = 30
"""How long a connection is kept for another request [s]: longer than clients keep theirs, which
would else send one into a connection that is just being closed."""

MOST_UNSAID: Final = 16 * 1024
"""How much of a request's headers, of a chunk's or of what stands behind chunks may come in further
pieces [bytes]."""
MOST_PIPELINED: Final = 64
"""How many requests of a connection may wait for the answers before theirs."""

PEER_NAMES: Final = "peer_names"
"""In a request's state: what the peer's certificate says; absent where none is asked for."""

_PRIVATE: Final = (
    b"Cache-Control: no-store\r\nContent-Security-Policy: default-src 'none'; frame-ancestors "
    b"'none'\r\nReferrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n"
    b"X-Frame-Options: DENY\r\nConnection: close\r\nContent-Length: 0\r\n"
)
_FULL: Final = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n" + _PRIVATE + b"\r\n"
_MALFORMED: Final = b"HTTP/1.1 400 Bad Request\r\n" + _PRIVATE + b"\r\n"


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What connections may take.

    Args:
        most: Connections at once.
        of_one: Of them of one address.
        headers_s: How long a request's headers may take [s].
        stalled_s: How long an answer may wait for its reader [s].
        proxies: Networks of proxies, which speak for many.
        asks_certificate: Whether peers are asked for a certificate.
    """

    most: int = 1024
    of_one: int = 256
    headers_s: float = HEADERS_S
    stalled_s: float = STALLED_S
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    asks_certificate: bool = False

    def are_passed(self, address: str, *, of_all: int, of_one: int) -> bool:
        """Whether there are too many connections.

        Args:
            address: Where the newest comes from; empty where a socket has none.
            of_all: How many there are.
            of_one: How many come from there.
        """
        return of_all > self.most or (of_one > self.of_one and not self._speaks_for_many(address))

    @property
    def below_tls(self) -> ConnectionLimits:
        """Those that are held where nobody can be told anything."""
        return replace(self, most=self.most + self.most // 2, of_one=self.of_one + self.of_one // 2)

    def _speaks_for_many(self, address: str) -> bool:
        if not address or is_loopback(address):
            return True
        return any(ip_address(address) in network for network in self.proxies)


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 of a connection that is not waited for without end.

    Attributes:
        source: Whose connection it is, as `source_of` says it.
    """

    limits: ClassVar = ConnectionLimits()
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        self._is_in_headers = self._has_said = False
        self._unsaid = 0
        self._headers_due: asyncio.TimerHandle | None = None
        self._reader_due: asyncio.TimerHandle | None = None
        self._end_due: asyncio.TimerHandle | None = None
        self.source = source_of(self._address)
        if self._is_too_many():
            transport.write(_FULL)
            self._end()
            return
        if self.limits.asks_certificate:
            self.app_state = {**self.app_state, PEER_NAMES: _shown(transport)}
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        """Read on; what has begun and is no whole request yet has its time."""
        self._unset_keepalive_if_required()
        self._has_said = False
        try:
            self._parse(data)
        except HttpParserError:
            self.send_400_response("")
            return
        self._unsaid = 0 if self._has_said else self._unsaid + len(data)
        if self._unsaid > MOST_UNSAID:
            self.send_400_response("")
        elif self.cycle is not None and not self.cycle.response_complete:
            _cancel(self._headers_due)
            self._headers_due = None
        else:
            self._expect_headers()

    def on_message_begin(self) -> None:
        """Begin a request's headers."""
        self._is_in_headers = self._has_said = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what stands behind a body is none."""
        if self._is_in_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End a request's headers, and answer it when its turn comes."""
        if len(self.pipeline) >= MOST_PIPELINED:
            raise HttpParserError("too many requests wait for the answers before theirs")
        self._is_in_headers, self._has_said = False, True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._has_said = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._has_said = True
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Nobody takes off what was sent."""
        super().pause_writing()
        self._reader_due = self.loop.call_later(self.limits.stalled_s, self._give_up)

    def resume_writing(self) -> None:
        """Somebody does again."""
        super().resume_writing()
        _cancel(self._reader_due)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was waited for."""
        _cancel(self._headers_due)
        _cancel(self._reader_due)
        _cancel(self._end_due)
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for another request, which may have begun, or end; not for a reader without end."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._end()
        elif self.cycle.response_complete and self._is_in_headers:
            self._expect_headers()

    def timeout_keep_alive_handler(self) -> None:
        """End a connection that was kept for long enough."""
        super().timeout_keep_alive_handler()
        self._end()

    def shutdown(self) -> None:
        """End with the server, after the answer under way."""
        super().shutdown()
        if self.transport.is_closing():
            self._end()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, with the headers of every answer and without its words.

        Whoever has a whole request in work is told nothing: it would be read as that one's answer.
        """
        del msg
        known = self.cycle
        is_coming = known is not None and known.more_body and not known.response_started
        if known is None or known.response_complete or (is_coming and not self.pipeline):
            self.transport.write(_MALFORMED)
        self._end()

    def _should_upgrade(self) -> bool:
        """Whether the parser stopped at these headers, which are then read again (`_parse`)."""
        return True

    def _parse(self, data: bytes) -> None:
        """Parse on; headers that wish for another protocol once more without that wish."""
        while data:
            try:
                self.parser.feed_data(data)
                return
            except HttpParserUpgrade as wished:
                method, version = self.scope["method"], self.scope["http_version"]
                if method == "CONNECT":
                    raise HttpParserError("this is no proxy") from wished
                kept = [one for one in self.headers if one[0] != b"upgrade"]
                lines = [b"%s: %s\r\n" % one for one in kept]
                begins = b"%s %s HTTP/%s\r\n" % (method.encode(), self.url, version.encode())
                data = b"".join([begins, *lines, b"\r\n", data[wished.args[0] :]])
                self.parser = HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def _expect_headers(self) -> None:
        if self._headers_due is None and not self.transport.is_closing():
            self._headers_due = self.loop.call_later(self.limits.headers_s, self._give_up)

    def _give_up(self) -> None:
        self.transport.abort()

    def _end(self) -> None:
        """Close: what was sent may wait for its reader, and not without end."""
        self.transport.close()
        if self._end_due is None:
            self._end_due = self.loop.call_later(self.limits.stalled_s, self._give_up)

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else ""

    def _is_too_many(self) -> bool:
        others = [one for one in self.connections if isinstance(one, BoundedProtocol)]
        of_one = sum(one.source == self.source for one in others)
        return self.limits.are_passed(self._address, of_all=len(others), of_one=of_one)


class BoundedTls(SSLProtocol):
    """TLS of a connection, counted from its first moment on.

    Args:
        inner: What speaks in it.
        counted: How many there are of each address, of the whole server.
    """

    def __init__(
        self, inner: BoundedProtocol, context: ssl.SSLContext, counted: Counter[str]
    ) -> None:
        super().__init__(
            inner.loop,
            inner,
            context,
            None,  # type: ignore[arg-type] # nobody waits, as in asyncio's own `start_tls`
            server_side=True,
            ssl_handshake_timeout=inner.limits.headers_s,  # type: ignore[arg-type] # any number
            ssl_shutdown_timeout=inner.limits.stalled_s,
        )
        self._limits = inner.limits.below_tls
        self._counted = counted
        self._source = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as above
        """Count it, and shake hands unless there are too many."""
        address = (transport.get_extra_info("peername") or ("",))[0]
        self._source = source_of(address)
        self._counted[self._source] += 1
        of_all, of_one = self._counted.total(), self._counted[self._source]
        if self._limits.are_passed(address, of_all=of_all, of_one=of_one):
            transport.abort()
        else:
            super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count it no more."""
        self._counted[self._source] -= 1
        if not self._counted[self._source]:
            del self._counted[self._source]
        super().connection_lost(exc)


def bounded_by(limits: ConnectionLimits) -> type[BoundedProtocol]:
    """The protocol of a server with such limits, as uvicorn makes one for each connection."""
    return type("Bounded", (BoundedProtocol,), {"limits": limits})


def bounded_over_tls(
    limits: ConnectionLimits, context: ssl.SSLContext
) -> Callable[..., asyncio.BaseProtocol]:
    """The same in TLS, as `bounded_by`: uvicorn's own would begin to count after the handshake."""
    inner, counted = bounded_by(limits), Counter[str]()
    return lambda **named: BoundedTls(inner(**named), context, counted)


def _shown(transport: asyncio.Transport) -> frozenset[str]:
    """What the certificate that a peer showed says it acts as; TLS has checked it."""
    shown: dict[str, Any] = transport.get_extra_info("peercert") or {}
    names = shown.get("subjectAltName", ())
    return service_names([text for kind, text in names if kind == "URI"])


def _cancel(due: asyncio.TimerHandle | None) -> None:
    if due is not None:
        due.cancel()
