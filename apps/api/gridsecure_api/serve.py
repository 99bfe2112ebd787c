"""A service's process: `python -m gridsecure_api.serve platform`.

Where it listens, what it shows and whom it believes are settings of its zone, as
`GRIDSECURE_PLATFORM_PORT`. Outside the own machine it speaks TLS or does not start. A certificate
that was renewed is read within a minute, without a restart.
"""

from __future__ import annotations

import resource
import ssl
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from prometheus_client import start_http_server
from starlette.types import ASGIApp

from gridsecure.errors import GridSecureError, InputError, StorageError
from gridsecure.loopback import is_loopback
from gridsecure.wire.certificates import read_validity
from gridsecure.wire.connections import TlsFiles, trust
from gridsecure_api.bounded_connections import (
    IDLE_S,
    ConnectionLimits,
    bounded_by,
    bounded_over_tls,
)
from gridsecure_api.json_logs import log_as_json
from gridsecure_api.metrics import ServiceMetrics
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
from gridsecure_api.traces import start_traces

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
_OTHER_FILES: Final = 256
"""Open files beside connections of others: databases, objects, logs, connections to peers."""


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
            # OpenSSL forgets the key in use at the sight of a certificate that is another's.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(found.certificate, found.key)
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
    limits = _limits(settings)
    config = uvicorn.Config(
        app,
        factory=True,
        host=settings.host,
        port=settings.port,
        http=bounded_by(limits) if listener is None else bounded_over_tls(limits, listener.context),  # type: ignore[arg-type] # called alike
        loop="asyncio",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=settings.stop_seconds,
    )
    return Server(config, listener)


def _limits(settings: ListenSettings) -> ConnectionLimits:
    return ConnectionLimits(
        most=settings.most_connections,
        of_one=max(1, settings.most_connections // 4),
        headers_s=settings.header_seconds,
        proxies=tuple(ip_network(one) for one in settings.trusted_proxies),
        asks_certificate=settings.tls_certificate is not None and settings.tls_ca is not None,
    )


def allow_files(settings: ListenSettings) -> None:
    """Let the process have as many open files as it lets strangers have connections, and others.

    Raises:
        InputError: The system allows it fewer (`server.files`).
    """
    needed = _limits(settings).below_tls.most + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise InputError(
            f"The service may need {needed} open files, and the system allows it {hard}.",
            reason="server.files",
            remedy="Raise LimitNOFILE of its unit (`ulimit -n`), or lower MOST_CONNECTIONS.",
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _open(zone: str, settings: ListenSettings) -> ASGIApp:
    """The application of a zone, with its metrics given out and its spans sent."""
    app: FastAPI = import_module(f"gridsecure_api.{zone}").main_app()
    publish_metrics(app.state.metrics, settings)
    start_traces(app.state.traces, zone, settings.traces_url)
    return app


def _ends(certificate: Path) -> float:
    """When a certificate ends, as it is in its file now; 0 where none is there."""
    try:
        return read_validity(certificate).ends.timestamp()
    except StorageError:
        return 0.0


def publish_metrics(metrics: ServiceMetrics, settings: ListenSettings) -> int | None:
    """Give metrics out at a port of their own, if there is one, until the process ends.

    Returns:
        The port.

    Raises:
        InputError: They would go to other machines without TLS on both sides (`metrics.plain`), or
            the port is taken (`metrics.port`).
    """
    if settings.tls_certificate is not None:
        metrics.watch_certificate(partial(_ends, settings.tls_certificate))
    if settings.metrics_port is None:
        return None
    tls: dict[str, Any] = {}
    if not is_loopback(settings.metrics_host):
        files = (settings.tls_certificate, settings.tls_key, settings.tls_ca)
        if not all(files):
            raise InputError(
                f"Metrics would go to other machines from {settings.metrics_host}, and there is no "
                "TLS on both sides.",
                reason="metrics.plain",
                remedy="Name TLS_CERTIFICATE, TLS_KEY and TLS_CA, or leave METRICS_HOST out.",
            )
        names = ("certfile", "keyfile", "client_cafile")
        tls = dict(zip(names, map(str, files), strict=True)) | {"client_auth_required": True}
    try:
        server, _ = start_http_server(
            settings.metrics_port, settings.metrics_host, metrics.registry, **tls
        )
    except OSError as error:
        raise InputError(
            f"Port {settings.metrics_port} is in use, or may not be used.",
            reason="metrics.port",
            remedy="Choose another METRICS_PORT.",
        ) from error
    return server.server_port


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
    log_as_json(zone)
    try:
        settings = read_settings(ZONES[zone])
        trust(_files(settings))
        allow_files(settings)
        make_server(lambda: _open(zone, settings), settings).run()
    except GridSecureError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
