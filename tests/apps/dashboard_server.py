"""The dashboard's own process, which `gridsecure run` starts as well, over services in memory."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.analyst.zone_services import ZoneServices

SERVER: Final = (
    Path(__file__).resolve().parents[2] / "apps/dashboard/gridsecure_dashboard/server.py"
)
PATIENCE: Final = 60  # seconds; a busy machine starts the server in ten


@contextmanager
def dashboard(services: ZoneServices, *, folder: Path) -> Iterator[str]:
    """Start the dashboard from some folder, and give its address.

    Args:
        services: Already behind a socket; `address` says which.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    names = ("IDENTITY", "AUTHORITY", "PLATFORM", "GATEWAY", "MARKET", "ENCRYPTION")
    settings = {f"GRIDSECURE_DASHBOARD_{name}_URL": services.address for name in names}
    settings["GRIDSECURE_DASHBOARD_AUTHORITY_KEY"] = services.key.public_key.point.hex()
    child = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", str(SERVER), f"--server.port={port}"],
        env={**os.environ, **settings},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(address, child)
        yield address
    finally:
        child.terminate()
        child.wait(10)


def _wait(address: str, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert child.poll() is None, "the server ended by itself"
        try:
            if httpx.get(f"{address}/_stcore/health", timeout=2).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    pytest.fail("the server did not start")
