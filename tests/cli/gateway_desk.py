"""Real services on a folder, which commands of a gateway's operator reach."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from gridsecure.cli import online
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure_api.identity import create_identity_app
from gridsecure_api.settings import PersonEntry, ServiceEntry
from tests.apps.gateway_services import Services
from tests.apps.office_services import write_secret
from tests.apps.zone_apps import identity_settings, point
from tests.cli.test_cli_keys import Carrier

ADDRESSES = ("--identity", "http://identity", "--gateway", "http://gateway/")


def open_desk(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    people: tuple[str, ...] = ("operator",),
) -> Services:
    """Services, and the key of each operator in `<name>.key` of the folder.

    Args:
        people: Names of operators.
    """
    services = Services(folder)
    entries = []
    for name in people:
        key = generate_private_key()
        write_secret(folder / f"{name}.key", key.to_bytes())
        entries.append(PersonEntry(name=name, roles=("operator",), public_key=point(key)))
    systems = (ServiceEntry(role="gateway", public_key=point(services.key)),)
    services.identity.state.zone.close()
    services.identity = create_identity_app(
        identity_settings(folder / "identity", services=systems, people=tuple(entries)),
        clock=services.world.clock,
    )
    carrier = Carrier({"identity": services.identity, "gateway": services.app})
    monkeypatch.setattr(online, "open_connection", lambda: httpx.Client(transport=carrier))
    monkeypatch.setattr(online, "utc_now", services.world.clock)
    return services
