"""A month in the cloud in which clocks of its parties are set an hour on or back, one at a time.

Before each step that changes something the clock of the next party jumps while its processes run,
by libfaketime. What is refused then is asked again once the clock is right, as an operator's doctor
says; what is not refused stays. Clocks of the system that count up are never touched: what jumps is
what they tell.
"""

from __future__ import annotations

import itertools
import os
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

import httpx

from gridsecure.cli.run_result import MonthResult
from gridsecure.cli.services_client import ServicesClient
from gridsecure.errors import GridSecureError
from gridsecure.wire.connections import new_client
from tests.deploy.cloud_month import REPLICAS, bill_month, home_of
from tests.deploy.loopback import Cloud, cloud, wait_for

LIBRARY: Final = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
"""Of Debian's package libfaketime."""
SLEEPS: Final = Path(__file__).with_name("clocks")
"""What Python reads as it starts, to sleep beside that library."""
FOLDER: Final = "clocks"
HOUR_S: Final = 3600
CLOCKS: Final = {
    "identity": ("identity",),
    "gateway": ("gateway",),
    "platform": REPLICAS,
    "authority": ("authority", "vault"),
}
"""By party, the services on its machines."""
ROUNDS: Final = "/release-rounds"
WRONG: Final = tuple((party, ahead) for ahead in (HOUR_S, -HOUR_S) for party in CLOCKS)
"""What is wrong during one step after the other."""
_SEEN_AFTER_S: Final = 1.5
"""When a process reads its clock's file again, at the earliest."""


@dataclass(slots=True)
class Refused:
    """A step that was refused while a clock was wrong."""

    party: str
    ahead_s: int
    step: str
    reason: str


@dataclass(slots=True)
class Clocks(ServicesClient):
    """Sets a clock wrong before each step, and right again before the next one.

    Args:
        ring: What is wrong during the next steps.
        steps: How many steps were taken.
        refused: What was refused while a clock was wrong.
    """

    cloud: Cloud = field(kw_only=True)
    ring: Iterator[tuple[str, int]] = field(kw_only=True)
    steps: int = 0
    refused: list[Refused] = field(default_factory=list)
    _wrong: tuple[str, int] = ("", 0)

    def call(self, user: str, service: Any, method: str, path: str, **options: Any) -> Any:
        """Call while a clock is wrong, and again with right ones where that was refused."""
        step = f"{method} {path}"
        if method != "GET":
            self.steps += 1
            self._set_right()
            self._set_wrong(*next(self.ring))
        try:
            answer = ServicesClient.call(self, user, service, method, path, **options)
            if path != ROUNDS or not (held := [one["reason"] for one in answer if is_held(one)]):
                return answer
            self._refuse(step, held[0])
        except GridSecureError as error:
            self._refuse(step, error.reason)
        return ServicesClient.call(self, user, service, method, path, **options)

    def poll(self, user: str, service: Any, path: str, *, each: Any) -> dict[str, Any]:
        """Ask on; work that failed by a clock is begun again, as its remedy says."""
        try:
            return ServicesClient.poll(self, user, service, path, each=each)
        except GridSecureError as error:
            if service != "gateway":
                raise
            self._refuse(f"work on {path}", error.reason)
        ServicesClient.call(self, user, service, "POST", f"{path}/process")
        return ServicesClient.poll(self, user, service, path, each=each)

    def _refuse(self, step: str, reason: str) -> None:
        """Note what was refused by a wrong clock, and set it right."""
        assert self._wrong[1], (step, reason)
        self.refused.append(Refused(*self._wrong, step, reason))
        self._set_right()

    def _set_wrong(self, party: str, ahead_s: int) -> None:
        set_clock(self.cloud, party, ahead_s)
        self._wrong = party, ahead_s
        self._calls.clear()  # else a token is used that was given before

    def _set_right(self) -> None:
        if self._wrong[1]:
            set_clock(self.cloud, self._wrong[0], 0)
        self._wrong = "", 0
        self._calls.clear()


def is_held(outcome: Mapping[str, Any]) -> bool:
    """Whether a request was neither released nor waits for approvals."""
    return outcome["state"] != "released" and outcome["reason"] != "approval.missing"


def set_clock(made: Cloud, party: str, ahead_s: int) -> None:
    """Have a party's processes tell another time, and wait until all of them do."""
    (made.folder / FOLDER / party).write_text(f"{ahead_s:+d}\n", encoding="ascii")
    time.sleep(_SEEN_AFTER_S)
    for name in CLOCKS[party]:
        wait_for(lambda name=name: abs(read_clock(made, name) - ahead_s) < HOUR_S / 2)


def read_clock(made: Cloud, name: str) -> float:
    """How far ahead the clock of a service that is asked for it is [s]."""
    at = made.place.hosts.get(name)
    if at is None:  # the vault has its clock from the same file
        return float((made.folder / FOLDER / "authority").read_text(encoding="ascii"))
    context = ssl.create_default_context(cafile=made.authorities)
    answer = httpx.get(f"https://{at}/health", verify=context, trust_env=False)
    return (parsedate_to_datetime(answer.headers["date"]) - datetime.now(UTC)).total_seconds()


def make_clocks(folder: Path) -> dict[str, dict[str, str]]:
    """Clocks that are right; what each service is started with to have one."""
    folder.mkdir()
    told = {}
    for party, names in CLOCKS.items():
        (folder / party).write_text("+0\n", encoding="ascii")
        for name in names:
            told[name] = {
                "LD_PRELOAD": str(LIBRARY),
                "FAKETIME_TIMESTAMP_FILE": str(folder / party),
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "PYTHONPATH": f"{SLEEPS}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            }
    return told


def bill_by_wrong_clocks(folder: Path, *, first: int = 0) -> tuple[MonthResult, Clocks, list[str]]:
    """A month, what was refused in it, and the plans of all releases that came of it.

    Args:
        first: What of `WRONG` is wrong first.
    """
    clocks = make_clocks(folder / FOLDER)
    with (
        cloud(folder, show=lambda _: None, clocks=clocks) as made,
        new_client(timeout=600) as http,
    ):
        ring = itertools.islice(itertools.cycle(WRONG), first, None)
        client = Clocks(home_of(made), http, cloud=made, ring=ring)
        result = bill_month(made, client, folder)
        released = client.call("billing", "authority", "GET", "/releases")
        return result, client, sorted(one["plan"] for one in released)
