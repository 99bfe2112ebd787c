"""A service's process: `python -m gridsecure_api.serve platform`.

Where it listens, what it shows and whom it believes are settings of its zone, as
`GRIDSECURE_PLATFORM_PORT`. Outside the own machine it speaks TLS or does not start. A certificate
that was renewed is read within a minute, without a restart.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from gridsecure.errors import GridSecureError, InputError, StorageError
from gridsecure.loopback import is_loopback
from gridsecure.wire.connections import TlsFiles, trust
from gridsecure_api.bounded_connections import IDLE_S, ConnectionLimits, bounded_by
from gridsecure_api.settings import (
    AuthoritySettings,
    EncryptionSettings,
    GatewaySettings,
    IdentitySettings,
    ListenSettings,
    MarketSettings,
    PlatformSettings,
)
from gridsecure_api.start import read_settings

ZONES: Final[Mapping[str, type[ListenSettings]]] = {
    "authority": AuthoritySettings,
    "encryption": EncryptionSettings,
    "gateway": GatewaySettings,
    "identity": IdentitySettings,
    "market": MarketSettings,
    "platform": PlatformSettings,
}
"""Services by zone, and what each reads."""
_TICKS_A_MINUTE: Final = 600


@dataclass(frozen=True, slots=True)
class Listener:
    """TLS of a server.

    Args:
        context: What it listens with.
        certificate: The files that are read again when they change.
    """

    context: ssl.SSLContext
    certificate: Path
    key: Path

    def written_at(self) -> int:
        """When the certificate was written [ns]."""
        return self.certificate.stat().st_mtime_ns


class Server(uvicorn.Server):
    """Uvicorn's server, which reads a renewed certificate."""

    def __init__(self, config: uvicorn.Config, listener: Listener | None) -> None:
        super().__init__(config)
        self._listener = listener
        self._read_at = 0 if listener is None else listener.written_at()

    async def on_tick(self, counter: int) -> bool:
        """Look once a minute whether there is another certificate."""
        if counter % _TICKS_A_MINUTE == 0:
            self.read_certificate()
        return await super().on_tick(counter)

    def read_certificate(self) -> None:
        """Show from now on what is in the files, if they changed and belong together."""
        found = self._listener
        try:
            if found is None or (written := found.written_at()) == self._read_at:
                return
            found.context.load_cert_chain(found.certificate, found.key)
            self._read_at = written
        except (OSError, ssl.SSLError):  # half renewed: the one that is shown holds on
            return


def make_server(app: str | Callable[[], ASGIApp], settings: ListenSettings) -> Server:
    """A server that waits to be run.

    Args:
        app: What makes the application, or where it is, as `module:function`.

    Raises:
        InputError: It would speak plain HTTP to other machines (`server.plain`).
        StorageError: A certificate cannot be used (`certificate.files`).
    """
    listener = _listener(settings)
    if listener is None and not is_loopback(settings.host):
        raise InputError(
            f"{settings.host} is reached from other machines, and there is no certificate.",
            reason="server.plain",
            remedy="Name TLS_CERTIFICATE and TLS_KEY, or listen at 127.0.0.1 behind a proxy that "
            "speaks TLS (docs/tls.md).",
        )
    limits = ConnectionLimits(
        most=settings.most_connections,
        of_one=max(1, settings.most_connections // 4),
        headers_s=settings.header_seconds,
        proxies=tuple(ip_network(one) for one in settings.trusted_proxies),
        asks_certificate=listener is not None and settings.tls_ca is not None,
    )
    config = uvicorn.Config(
        app,
        factory=True,
        host=settings.host,
        port=settings.port,
        http=bounded_by(limits),
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=settings.stop_seconds,
        ssl_context_factory=None if listener is None else lambda *_: listener.context,
    )
    return Server(config, listener)


def _files(settings: ListenSettings) -> TlsFiles:
    return TlsFiles(settings.tls_ca, settings.tls_certificate, settings.tls_key)


def _listener(settings: ListenSettings) -> Listener | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
        if settings.tls_ca is not None:
            context.load_verify_locations(settings.tls_ca)
            context.verify_mode = ssl.CERT_OPTIONAL  # people have tokens and no certificates
    except (OSError, ssl.SSLError) as error:
        raise StorageError(
            "The certificates of this service cannot be used.",
            reason="certificate.files",
            remedy="Check who may read them, and that certificate and key belong together.",
        ) from error
    return Listener(context, settings.tls_certificate, settings.tls_key)


def main(arguments: list[str]) -> None:
    """Serve a zone until the process is ended."""
    if len(arguments) != 1 or arguments[0] not in ZONES:
        sys.exit(f"usage: python -m gridsecure_api.serve {{{','.join(ZONES)}}}")
    (zone,) = arguments
    try:
        settings = read_settings(ZONES[zone])
        trust(_files(settings))
        make_server(f"gridsecure_api.{zone}:main_app", settings).run()
    except GridSecureError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
