"""The ports of a run, all on this machine alone."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from gridsecure.errors import InputError

USUAL_PORTS: Final = {
    "identity": 8441,
    "gateway": 8442,
    "platform": 8443,
    "authority": 8444,
    "market": 8445,
    "encryption": 8446,
    "dashboard": 8501,
}
SERVICES: Final = ("identity", "gateway", "platform", "authority", "market", "encryption")
_HERE: Final = "127.0.0.1"
LAST_PORT: Final = 65535 - len(SERVICES)
"""The last port of the dashboard that leaves room for the services' behind it."""


@contextmanager
def claim_ports(dashboard: int | None) -> Iterator[dict[str, int]]:
    """Choose every port before anything is started, and keep other runs from choosing them.

    Services bind theirs seconds later, so each port is claimed until the end: a name that the
    kernel gives to one process at a time, and takes back when that ends. Whoever is no run of ours
    heeds no claim; its ports are seen because they are bound.

    Args:
        dashboard: The dashboard's port, and the services' are the next six; None takes the usual
            ones, each replaced by a free one where it is taken.

    Returns:
        Service -> port.

    Raises:
        InputError: A port that was asked for cannot be used (`run.port`).
    """
    with ExitStack() as claims:
        if dashboard is None:
            yield {
                name: port if _claim(port, claims) else _claim_any(claims)
                for name, port in USUAL_PORTS.items()
            }
            return
        ports = {"dashboard": dashboard}
        ports |= {name: dashboard + place for place, name in enumerate(SERVICES, start=1)}
        for name, port in ports.items():
            if not _claim(port, claims):
                raise InputError(
                    f"Port {port} ({name}) is in use, or may not be used.",
                    reason="run.port",
                    remedy=f"Choose another --port (it and the next {len(SERVICES)} must be "
                    "free), or leave it out.",
                )
        yield ports


def _claim_any(claims: ExitStack) -> int:
    """A port that is free and that no run has claimed."""
    while True:
        with socket.socket() as probe:
            probe.bind((_HERE, 0))
            port = int(probe.getsockname()[1])
        if _claim(port, claims):
            return port


def _claim(port: int, claims: ExitStack) -> bool:
    """Claim a port that a service could listen at; False where that is not possible."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HERE, port))
        except OSError:
            return False
    if sys.platform != "linux":
        return True  # names without a file are Linux's
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0gridsecure-port-{port}")
    except OSError:
        claim.close()
        return False
    claims.enter_context(claim)
    return True
