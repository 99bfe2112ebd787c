"""A service as its users run it, in a process of its own, that a load comes to over loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Final

import httpx

from gridsecure.credentials.access import ISSUER
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.crypto.tokens import TokenClaims, issue_token

_LONGEST_S: Final = 60.0
_LOOK_S: Final = 0.5
_REST_S: Final = 0.02  # of the processor, that a service takes meanwhile which has nothing to do


@contextmanager
def serving(zone: str, told: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """A service of a zone; its port and its process.

    Args:
        told: Its settings.

    Raises:
        AssertionError: It did not start.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    heard = {**told, "port": port}
    said = {f"GRIDSECURE_{zone}_{name}".upper(): str(value) for name, value in heard.items()}
    command = [sys.executable, "-m", "gridsecure_api.serve", zone]
    with (
        TemporaryFile() as log,
        subprocess.Popen(command, env=os.environ | said, stderr=log) as service,
    ):
        try:
            _wait_ready(port, service, log)
            yield port, service.pid
        finally:
            service.terminate()


def _wait_ready(port: int, service: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    deadline = time.monotonic() + _LONGEST_S
    while time.monotonic() < deadline and service.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(f"http://127.0.0.1:{port}/health").is_success:
                return
        time.sleep(0.1)
    log.seek(0)
    raise AssertionError(f"the service did not start: {log.read().decode()[-2000:]}")


def bench_token(key: Sm2PrivateKey, zone: str, *, role: str, subject: str = "clerk") -> str:
    """A token for a service, which lasts an hour.

    Args:
        key: Of the identity service, as the other one was told.
    """
    now = datetime.now(UTC)
    until = now + timedelta(hours=1)
    return issue_token(TokenClaims(subject, (role,), zone, ISSUER, now, until, "1"), key=key)


def peak_mb(pid: int) -> float:
    """The most memory a process had [MB]."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM:"))


def processor_s(pid: int) -> float:
    """The processor time that a process and those it started took so far [s]."""
    parents, worked = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
            number = int(stat.parent.name)
            parents[number] = int(fields[1])
            worked[number] = int(fields[11]) + int(fields[12])
    own = {pid}
    while more := {number for number, parent in parents.items() if parent in own} - own:
        own |= more
    return sum(worked[number] for number in own) / os.sysconf("SC_CLK_TCK")


def wait_for_rest(pid: int) -> None:
    """Wait until a service and the processes that it starts have started.

    Raises:
        AssertionError: They compute all the time.
    """
    deadline = time.monotonic() + _LONGEST_S
    worked = processor_s(pid)
    while time.monotonic() < deadline:
        time.sleep(_LOOK_S)
        before, worked = worked, processor_s(pid)
        if worked - before <= _REST_S:
            return
    raise AssertionError("the service found no rest")
