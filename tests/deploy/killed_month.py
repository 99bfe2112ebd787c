"""A month in the cloud in which every process is killed, between and within steps.

Before each step that changes something the next process of a ring is killed (SIGKILL) and started
again, as its supervisor would. Within steps: the replica that has an order in hand, the gateway
while it works on a month, key authority and vault while they release. Before the month is closed
all of them are killed at once, and started in the opposite order.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from typing import Any, Final

from gridsecure.cli.run_result import MonthResult
from gridsecure.cli.services_client import ServicesClient
from gridsecure.errors import GridSecureError
from gridsecure.wire.connections import new_client
from tests.deploy.cloud_month import REPLICAS, WORKERS, Interrupted, bill_month, home_of, unlock
from tests.deploy.loopback import cloud, wait_for

PROCESSES: Final = (
    *("gateway", "scheduler", "identity", *WORKERS, "authority", "vault", *REPLICAS, "platform"),
)
"""All but the servers of database and object store, whose ends have tests of their own; "platform"
is the proxy."""
ROUNDS: Final = "/release-rounds"
WITHIN: Final = {"/process": ("gateway",), ROUNDS: ("authority", "vault")}
"""By the end of a path, what is killed while its steps are under way, one a step."""
WITHIN_S: Final = 0.4
ALL_BEFORE: Final = "/closing-lists"
PATIENCE_S: Final = 120.0
PASSING: Final = frozenset(
    {"service.unreachable", "vault.down", "vault.locked", "storage.connection", "service.busy"}
)
"""What is said while something is down, to be asked again."""
CUT_OFF: Final = frozenset({"waiting", "interrupted"})
"""States of a gateway's month that nobody works on, before and after its plan was fixed."""


@dataclass(slots=True)
class Killing(Interrupted):
    """Kills processes before and within steps and has them started again.

    Args:
        ring: What is killed before the next steps.
        kills: What was killed when.
    """

    ring: Iterator[str] = field(default_factory=lambda: itertools.cycle(PROCESSES))
    kills: list[tuple[str, str]] = field(default_factory=list)
    _within: list[str] = field(default_factory=list)
    _is_mending: bool = False

    def call(self, user: str, service: Any, method: str, path: str, **options: Any) -> Any:
        """Call when something was killed before, and again while something is down."""
        is_step = method != "GET" and not self._is_mending
        if is_step:
            every = PROCESSES if path == ALL_BEFORE else (next(self.ring),)
            for name in every:
                self._kill(name, f"before {method} {path}")
            self._mend(is_reversed=len(every) > 1)
            self._kill_within(path)
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = Interrupted.call(self, user, service, method, path, **options)
                if path != ROUNDS or not any(one["reason"] in PASSING for one in answer):
                    return answer
            except GridSecureError as error:
                if error.reason not in PASSING or time.monotonic() > until:
                    raise
            self._mend()
            time.sleep(0.2)

    def poll(self, user: str, service: Any, path: str, *, each: Any) -> dict[str, Any]:
        """Ask on; a gateway's month that was cut off is begun again, as an operator would."""

        def follow(answer: dict[str, Any]) -> None:
            if service == "gateway" and answer["state"] in CUT_OFF:
                self._is_mending = True
                self.call(user, service, "POST", f"{path}/process")
                self._is_mending = False
            each(answer)

        answer = ServicesClient.poll(self, user, service, path, each=follow)
        return self.poll(user, service, path, each=each) if answer["state"] in CUT_OFF else answer

    def _kill_within(self, path: str) -> None:
        for end, names in WITHIN.items():
            at = self._within.count(end)
            if path.endswith(end) and at < len(names):
                self._within.append(end)
                Timer(WITHIN_S, self._kill, (names[at], f"within {path}")).start()

    def _kill(self, name: str, when: str) -> None:
        assert self.cloud is not None
        self.kills.append((name, when))
        print(time.strftime("%H:%M:%S"), name, when, flush=True)
        self.cloud.process(name).kill()
        self.cloud.process(name).wait()

    def _mend(self, *, is_reversed: bool = False) -> None:
        """Start what ended, and unlock a vault that was started."""
        assert self.cloud is not None
        if is_reversed:
            self.cloud.services._running.reverse()
        revived = self._revived()
        if not revived:
            return
        self._calls.clear()
        was_mending, self._is_mending = self._is_mending, True
        if "vault" in revived:
            unlock(self, self.cloud.place.srv)
        wait_for(lambda: self.cloud is not None and self.cloud.is_ready("platform"))
        self._is_mending = was_mending

    def _revived(self) -> list[str]:
        """Start what ended; a worker ends again as long as its scheduler is not there."""
        assert self.cloud is not None
        until, revived = time.monotonic() + PATIENCE_S, list[str]()
        while True:
            try:
                return revived + self.cloud.services.revive()
            except GridSecureError as error:
                if error.reason != "run.service" or time.monotonic() > until:
                    raise
            time.sleep(0.5)


def kill_through(folder: Path, *, first: int = 0) -> tuple[MonthResult, Killing, list[str]]:
    """A month, what was killed in it, and the plans of all releases that came of it.

    Args:
        first: The process that the ring begins with.
    """
    with cloud(folder, show=lambda _: None) as made, new_client(timeout=600) as http:
        ring = itertools.islice(itertools.cycle(PROCESSES), first, None)
        client = Killing(home_of(made), http, cloud=made, ring=ring)
        result = bill_month(made, client, folder)
        released = client.call("billing", "authority", "GET", "/releases")
        return result, client, sorted(one["plan"] for one in released)
