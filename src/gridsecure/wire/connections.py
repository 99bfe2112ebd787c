"""HTTP clients that share what their process trusts: reading the roots takes 90 ms a client.

Outside the own machine everything goes over TLS: a request to another address by plain HTTP is
refused before a byte is sent. What a process believes and what it shows of itself is said once,
when it starts (`trust`). A client shows its certificate only where it is asked to: one that acts
under a pseudonym, or under no name, would show whose it is.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, Final

import httpx

from gridsecure.errors import InputError, StorageError
from gridsecure.loopback import is_loopback
from gridsecure.wire.request_ids import CURRENT, HEADER, PARENT, PARENT_HEADER


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Certificates of a process, files in PEM.

    Args:
        ca: The authorities that it believes, its own and its neighbours'; without, the world's.
        certificate: What it shows, with its authority's behind it.
        key: Of that certificate.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


_LOOPBACK: Final = ("all://localhost", "all://127.0.0.1", "all://[::1]")
"""This machine, as a client's mounts name it."""


class _Trust:
    """What this process was told; one for all its clients."""

    files = TlsFiles()


def trust(files: TlsFiles) -> None:
    """Say what this process believes and shows, before it connects to anybody.

    Raises:
        InputError: A certificate without its key, or the reverse (`certificate.pair`).
        StorageError: A file cannot be used (`certificate.files`).
    """
    if (files.certificate is None) != (files.key is None):
        raise InputError(
            "A certificate and its key are named together or not at all.",
            reason="certificate.pair",
            remedy="Name both files (docs/tls.md).",
        )
    _Trust.files = files
    for made in (trusted_roots, shown_context, outside_roots, _stamp):
        made.cache_clear()
    trusted_roots()
    shown_context()


@cache
def trusted_roots() -> ssl.SSLContext:
    """What TLS connections to peers believe, read once; such a connection shows no certificate."""
    if _Trust.files.ca is None:
        return httpx.create_ssl_context()
    return _believing(_Trust.files.ca)


@cache
def outside_roots() -> ssl.SSLContext:
    """What connections to anybody's address believe: the world's authorities, and the peers'."""
    made = httpx.create_ssl_context()
    if _Trust.files.ca is not None:
        _load(made.load_verify_locations, _Trust.files.ca)
    return made


@cache
def shown_context() -> ssl.SSLContext:
    """What connections believe that show who this process is, if it has a certificate."""
    files = _Trust.files
    made = httpx.create_ssl_context() if files.ca is None else _believing(files.ca)
    if files.certificate is not None:
        _load(made.load_cert_chain, files.certificate, files.key)
    return made


def new_client(*, is_named: bool = False, **options: Any) -> httpx.Client:
    """A client that follows no redirect and keeps no cookie: one would number its requests.

    Args:
        is_named: Whether it says whose it is in any case: then it shows the process's certificate,
            and the number of the request that it asks for.
        options: As `httpx.Client` takes them.
    """
    jar = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    context = shown_context() if is_named else trusted_roots()
    hooks = [_prepare, _number] if is_named else [_prepare]
    return httpx.Client(
        verify=context,
        follow_redirects=False,
        cookies=jar,
        event_hooks={"request": hooks},
        # What stays on this machine goes to no proxy, whatever the environment names.
        mounts=dict.fromkeys(_LOOPBACK),
        **options,
    )


def unlinked_client(**options: Any) -> httpx.Client:
    """A client whose every request has a connection of its own, so that none shows the next.

    Args:
        options: As `httpx.Client` takes them.
    """
    return new_client(limits=httpx.Limits(max_keepalive_connections=0), **options)


def _prepare(request: httpx.Request) -> None:
    """Refuse plain HTTP to another machine, and show a certificate that was renewed meanwhile."""
    if request.url.scheme == "https":
        _renew()
    elif not is_loopback(request.url.host.strip("[]")):
        raise InputError(
            f"{request.url.host} is another machine, and its address is plain HTTP.",
            reason="connection.plain",
            remedy="Name its https:// address. Nothing was sent (docs/tls.md).",
        )


def _number(request: httpx.Request) -> None:
    """Send along the number of the request that is being answered."""
    if number := CURRENT.get():
        request.headers[HEADER] = number
    if parent := PARENT.get():
        request.headers[PARENT_HEADER] = parent


def _renew() -> None:
    """Read a certificate again that another took the place of; open connections go on."""
    files = _Trust.files
    if files.certificate is None:
        return
    stamp = files.certificate.stat().st_mtime_ns
    if _stamp().setdefault("at", stamp) != stamp:
        _load(shown_context().load_cert_chain, files.certificate, files.key)
        _stamp()["at"] = stamp


@cache
def _stamp() -> dict[str, int]:
    """When the certificate that is shown was written."""
    return {}


def _believing(ca: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # TLS 1.2 or later, names are compared
    _load(made.load_verify_locations, ca)
    return made


def _load(load: Any, *files: Path | None) -> None:
    try:
        load(*files)
    except (OSError, ssl.SSLError) as error:
        raise StorageError(
            f"{files[0]} cannot be used for TLS.",
            reason="certificate.files",
            remedy="Check who may read it, and that certificate and key belong together.",
        ) from error
