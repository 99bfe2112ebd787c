"""The ports of a run, all on this machine alone."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import Final

from gridsecure.errors import InputError

USUAL_PORTS: Final = {
    "identity": 8441,
    "gateway": 8442,
    "platform": 8443,
    "authority": 8444,
    "dashboard": 8501,
}
SERVICES: Final = ("identity", "gateway", "platform", "authority")
LAST_PORT: Final = 65535 - len(SERVICES)
"""The last port of the dashboard that leaves room for the services' behind it."""


def choose_ports(dashboard: int | None) -> dict[str, int]:
    """Choose every port before anything is started.

    Args:
        dashboard: The dashboard's port, and the services' are the next four; None takes the usual
            ones, each replaced by a free one where it is taken.

    Returns:
        Service -> port.

    Raises:
        InputError: A port that was asked for cannot be used (`run.port`).
    """
    if dashboard is None:
        with ExitStack() as held:
            return {name: _held(port, held) or _held(0, held) for name, port in USUAL_PORTS.items()}
    ports = {"dashboard": dashboard}
    ports |= {name: dashboard + place for place, name in enumerate(SERVICES, start=1)}
    for name, port in ports.items():
        with ExitStack() as held:
            if not _held(port, held):
                raise InputError(
                    f"Port {port} ({name}) is in use, or may not be used.",
                    reason="run.port",
                    remedy=f"Choose another --port (it and the next {len(SERVICES)} must be "
                    "free), or leave it out.",
                )
    return ports


def _held(port: int, held: ExitStack) -> int:
    """The port that a service could listen at, taken by nobody else meanwhile; or 0."""
    probe = held.enter_context(socket.socket())
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        return 0
    return int(probe.getsockname()[1])
