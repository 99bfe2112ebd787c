"""A server that speaks the S3 protocol, on loopback, one for a session: moto's.

Each worker of a parallel run starts a server of its own, when its first test asks.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import httpx
import pytest

from tests.postgres_server import free_port

SECONDS = 60
SECRET = "no-log-shows-this"


@dataclass
class S3Server:
    """A server and how it is reached.

    Args:
        port: On loopback.
        process: It.
    """

    port: int
    process: subprocess.Popen[bytes]
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process is told that uses it."""
        return {
            "AWS_ENDPOINT": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "grid",
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }

    def new_bucket(self) -> str:
        """Make an empty bucket; its URL with a prefix."""
        name = f"bucket-{next(self._numbers)}"
        signed = "AWS4-HMAC-SHA256 Credential=grid/20260803/us-east-1/s3/aws4_request"
        answer = httpx.put(f"{self.endpoint}/{name}", headers={"Authorization": signed})
        answer.raise_for_status()
        return f"s3://{name}/some/prefix"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """The session's server."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        yield S3Server(port, process)
    finally:
        process.terminate()
        process.wait(timeout=SECONDS)


@pytest.fixture
def s3_url(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket, and an environment in which it is found."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server.new_bucket()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("moto's server did not start")
