"""A month in the cloud over links between its parties that are slow, and break.

Who asks is told that a service cannot be reached, and asks again, as people and commands do.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gridsecure.cli.run_result import MonthResult
from gridsecure.cli.services_client import ServicesClient
from gridsecure.errors import GridSecureError
from gridsecure.wire.connections import new_client
from tests.deploy.cloud_month import bill_month, home_of
from tests.deploy.loopback import PARTIES, cloud
from tests.deploy.slow_links import SlowLinks

PATIENCE_S: Final = 300.0
PASSING: Final = frozenset({"service.unreachable", "service.busy"})
"""What is said of a network that fails, to be asked again."""
LOST: Final = frozenset(f"{name}.unreachable" for name in PARTIES)
"""What a gateway says of a neighbour that it asked six times."""


@dataclass(slots=True)
class Patient(ServicesClient):
    """Asks again where the network failed.

    Args:
        again: How often, by the reason.
    """

    again: Counter[str] = field(default_factory=Counter)

    def call(self, user: str, service: Any, method: str, path: str, **options: Any) -> Any:
        """Call until an answer arrives."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                return ServicesClient.call(self, user, service, method, path, **options)
            except GridSecureError as error:
                if error.reason not in PASSING or time.monotonic() > until:
                    raise
                self.again[error.reason] += 1
            time.sleep(0.2)

    def poll(self, user: str, service: Any, path: str, *, each: Any) -> dict[str, Any]:
        """Ask on; a gateway's month that lost a neighbour is begun again, as its remedy says."""
        while True:
            try:
                return ServicesClient.poll(self, user, service, path, each=each)
            except GridSecureError as error:
                if service != "gateway" or error.reason not in LOST:
                    raise
                self.again[error.reason] += 1
            self.call(user, service, "POST", f"{path}/process")


def bill_slowly(folder: Path, links: SlowLinks) -> tuple[MonthResult, Patient, list[str]]:
    """A month over links, who asked for it, and the plans of all releases that came of it."""
    with (
        cloud(folder, show=lambda _: None, links=links.open) as made,
        new_client(timeout=600) as http,
    ):
        client = Patient(home_of(made), http)
        result = bill_month(made, client, folder)
        released = client.call("billing", "authority", "GET", "/releases")
        return result, client, sorted(one["plan"] for one in released)
