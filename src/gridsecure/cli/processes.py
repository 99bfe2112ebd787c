"""The services as child processes: started together, watched, and stopped together.

Each child leads a process group of its own, so that stopping it stops its workers too, and asks the
kernel to end it if this process dies without having the chance. One that says so in its
specification is started again when it ends by itself, but not for ever.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from gridsecure.errors import GridSecureError
from gridsecure.wire.connections import new_client

READY_SECONDS: Final = 120.0
STOP_SECONDS: Final = 10.0
MOST_RESTARTS: Final = 5
"""How often one service is started again."""
_PR_SET_PDEATHSIG: Final = 1
_NO_LOG: Final = "It wrote nothing. Run again when the machine has free memory and processors."


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """How one service is started.

    Args:
        environment: Its settings, added to this process's environment.
        log: Where its output goes.
        ready_url: Answers 200 once it works; without it or a path nobody waits for it.
        folder: Where it works; names in its settings count from there.
        uid: The user it runs as; this process's own by default.
        ready_path: Is there once it works, for a service without an address.
        restarts: Whether it is started again when it ends by itself.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    ready_url: str = ""
    folder: Path | None = None
    uid: int | None = None
    ready_path: Path | None = None
    restarts: bool = False


class Services:
    """Running services. Use as a context manager: leaving it stops everything that was started."""

    def __init__(self) -> None:
        self._running: list[tuple[ServiceSpec, subprocess.Popen[bytes]]] = []
        self._restarts: Counter[str] = Counter()

    def __enter__(self) -> Services:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def start(self, specs: Iterable[ServiceSpec]) -> None:
        """Start services and wait until they are ready.

        Raises:
            GridSecureError: One did not start (`run.service`); its log says why.
        """
        self.launch(specs)
        self.wait_ready()

    def launch(self, specs: Iterable[ServiceSpec]) -> None:
        """Start services, each as soon as it is specified, and do not wait for them."""
        for spec in specs:
            spec.log.unlink(missing_ok=True)
            self._running.append((spec, _open(spec)))

    def revive(self) -> list[str]:
        """Start again what ended by itself and may be, and wait until it works.

        Returns:
            Their names.

        Raises:
            GridSecureError: One ended for the `MOST_RESTARTS`-th time, or does not start
                (`run.service`).
        """
        revived = []
        for place, (spec, child) in enumerate(self._running):
            if not spec.restarts or child.poll() is None:
                continue
            self._restarts[spec.name] += 1
            if self._restarts[spec.name] > MOST_RESTARTS:
                raise _failed(spec, "stopped again and again")
            if spec.ready_path is not None:
                spec.ready_path.unlink(missing_ok=True)  # a killed process leaves its socket
            self._running[place] = (spec, _open(spec))
            revived.append(spec.name)
        if revived:
            self.wait_ready()
        return revived

    def wait_ready(self) -> None:
        """Wait until every service that was launched answers.

        Raises:
            GridSecureError: One did not start (`run.service`); its log says why.
        """
        with new_client(timeout=2) as http:
            for spec, child in self._running:
                _wait_ready(http, spec, child)

    def check(self) -> None:
        """Raise when a service has ended by itself.

        Raises:
            GridSecureError: `run.service`.
        """
        for spec, child in self._running:
            if child.poll() is not None:
                raise _failed(spec, "stopped")

    def stop(self) -> None:
        """Ask every service to end, in reverse order, and end those that do not."""
        for _spec, child in reversed(self._running):
            _signal(child, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for _spec, child in reversed(self._running):
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal(child, signal.SIGKILL)
                child.wait()
            _signal(child, signal.SIGKILL)  # whatever is left of its group
        self._running.clear()


def _open(spec: ServiceSpec) -> subprocess.Popen[bytes]:
    """Start a process, whose output goes behind what its log has."""
    with spec.log.open("ab") as log:
        return subprocess.Popen(
            list(spec.command),
            env={**os.environ, **spec.environment},
            cwd=spec.folder,  # entered before the user changes, so no path leads there
            user=spec.uid,
            group=spec.uid,
            extra_groups=None if spec.uid is None else [],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - no other thread holds a lock that it needs
        )


def python_command(*arguments: str) -> list[str]:
    """A command line for this very interpreter."""
    return [sys.executable, *arguments]


def _die_with_parent() -> None:
    """Let the kernel send SIGTERM to this child when its parent dies (Linux; elsewhere nothing)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def _wait_ready(http: httpx.Client, spec: ServiceSpec, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise _failed(spec, "did not start")
        if _is_ready(http, spec):
            return
        time.sleep(0.1)
    raise _failed(spec, "did not answer in time")


def _is_ready(http: httpx.Client, spec: ServiceSpec) -> bool:
    if spec.ready_path is not None:
        return spec.ready_path.exists()
    if not spec.ready_url:
        return True
    with suppress(httpx.HTTPError):
        return http.get(spec.ready_url).status_code == httpx.codes.OK
    return False


def _failed(spec: ServiceSpec, what: str) -> GridSecureError:
    return GridSecureError(
        f"The {spec.name} service {what}.",
        reason="run.service",
        remedy=f"Its log is {spec.log}." if spec.log.stat().st_size else _NO_LOG,
    )
