"""Connections that strangers hold: how many there are, and how long one may take to say something.

Uvicorn waits for the rest of a request's headers, and for a reader of an answer, as long as the
connection stands. Here a connection that has not said a whole request `HEADERS_S` after its first
byte, or after it was opened, is closed; so is one whose answer nobody takes off for `STALLED_S`.
Beyond so many connections, of all or of one address, a new one is told to come again and closed.

A proxy that is trusted speaks for many, and is not counted as one address; nor is the own machine.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from gridsecure.loopback import is_loopback
from gridsecure.wire.certificates import service_names

HEADERS_S: Final = 10.0
"""How long a request's headers may take [s]."""
STALLED_S: Final = 60.0
"""How long an answer may wait for a reader who does not read [s]."""
IDLE_S: Final = 30
"""How long a connection is kept for another request [s]: longer than clients keep theirs, which
would else send one into a connection that is just being closed."""

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


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 of a connection that is not waited for without end."""

    limits: ClassVar = ConnectionLimits()
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        self._headers_due: asyncio.TimerHandle | None = None
        self._reader_due: asyncio.TimerHandle | None = None
        if self._is_too_many():
            transport.write(_FULL)
            transport.close()
            return
        if self.limits.asks_certificate:
            self.app_state = {**self.app_state, PEER_NAMES: _shown(transport)}
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        """Read on; what has begun and is no whole request yet has its time."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            _cancel(self._headers_due)
            self._headers_due = None
        else:
            self._expect_headers()

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
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, with the headers of every answer and without its words."""
        del msg
        self.transport.write(_MALFORMED)
        self.transport.close()

    def _expect_headers(self) -> None:
        if self._headers_due is None and not self.transport.is_closing():
            self._headers_due = self.loop.call_later(self.limits.headers_s, self._give_up)

    def _give_up(self) -> None:
        self.transport.abort()

    def _is_too_many(self) -> bool:
        if len(self.connections) > self.limits.most:
            return True
        own = self.client[0] if self.client else ""
        if not own or is_loopback(own) or self._is_proxy(own):
            return False
        others = [one for one in self.connections if isinstance(one, BoundedProtocol)]
        return sum(one.client is not None and one.client[0] == own for one in others) > (
            self.limits.of_one
        )

    def _is_proxy(self, address: str) -> bool:
        return any(ip_address(address) in network for network in self.limits.proxies)


def bounded_by(limits: ConnectionLimits) -> type[BoundedProtocol]:
    """The protocol of a server with such limits, as uvicorn makes one for each connection."""
    return type("Bounded", (BoundedProtocol,), {"limits": limits})


def _shown(transport: asyncio.Transport) -> frozenset[str]:
    """What the certificate that a peer showed says it acts as; TLS has checked it."""
    shown: dict[str, Any] = transport.get_extra_info("peercert") or {}
    names = shown.get("subjectAltName", ())
    return service_names([text for kind, text in names if kind == "URI"])


def _cancel(due: asyncio.TimerHandle | None) -> None:
    if due is not None:
        due.cancel()
