"""How each service of a local run is started: its module, its settings, its address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from gridsecure.cli.home import BUILD, SOCKET, USERS, Home
from gridsecure.cli.processes import ServiceSpec
from gridsecure.cli.run_encryption import PEOPLE
from gridsecure.cli.run_source import TOKEN_MINUTES
from gridsecure.cli.zone_cards import Neighbours
from gridsecure.cli.zone_settings import neighbour_settings, variables
from gridsecure.cli.zone_units import dashboard_command, service_command
from gridsecure.identity.enrolments.passwords import password_record
from gridsecure.policy.packs import UNIFORM

MAX_FILES_BYTES = 4 << 30
"""Meter data files of one month, handed in over loopback [bytes]."""

_HOST: Final = "127.0.0.1"
_STORES = ("database", "objects")
_IDENTITY_STORES = ("enrolments_url", "registrations_url")


def service_specs(home: Home, *, years: list[str]) -> Iterator[ServiceSpec]:
    """The four services and the vault, each told only what it may know.

    The identity service comes last: others start while passwords are stretched, which takes
    seconds.

    Args:
        years: The periods that credentials are issued for.
    """
    known = home.neighbours(policy=UNIFORM)
    own: dict[str, dict[str, Any]] = {
        "platform": {
            "warm_up": "true",
            "engine": "processes:",  # like the stores below: whatever a shell names
        },
        "gateway": {"max_body_bytes": str(MAX_FILES_BYTES)},
        "authority": {"policy": UNIFORM},
        "identity": _identity(home, years),
    }
    yield _vault(home, known)
    for zone, settings in own.items():
        yield _service(home, zone, {**neighbour_settings(zone, known), **settings})


def _identity(home: Home, years: list[str]) -> dict[str, Any]:
    """People sign in with keys, and for the browser with passwords."""
    return {
        "users": [
            {"user": user, "password": password_record(password), "roles": list(USERS[user])}
            for user, password in home.passwords.items()
        ],
        "periods": years,
        **({"source_token_minutes": TOKEN_MINUTES} if home.passwords else {}),
        # The dashboard, which says for whom it asks.
        "trusted_proxies": ["127.0.0.1"],
    }


def _build(home: Home) -> dict[str, str]:
    """The statement of this run's build, and who signed it."""
    if home.maker is None:
        return {}
    return {"maker_public_key": home.maker, "build_statement": f"../{BUILD}"}


def _vault(home: Home, known: Neighbours) -> ServiceSpec:
    """The vault, which starts locked. It has no address but its socket."""
    settings: dict[str, Any] = {
        "folder": ".",
        "socket": SOCKET,
        **neighbour_settings("vault", known),
        **_build(home),
    }
    return ServiceSpec(
        name="vault",
        command=service_command("vault"),
        environment=variables("vault", settings),
        log=home.folder / "vault.log",
        folder=home.zone("vault"),
        uid=home.users.vault,
        ready_path=home.zone("vault") / SOCKET,
        restarts=True,
    )


def market_spec(home: Home) -> ServiceSpec:
    """The data market of a run that is served."""
    return _service(home, "market", neighbour_settings("market", home.neighbours(policy=UNIFORM)))


def encryption_spec(home: Home) -> ServiceSpec:
    """The encryption service of a run that is served."""
    known = home.neighbours(policy=UNIFORM)
    people = [
        {
            "person": user,
            "organisation": organisation,
            "duties": list(duties),
            "public_key": home.people[user].public_key.point.hex(),
        }
        for user, (organisation, duties) in PEOPLE.items()
    ]
    settings = {**neighbour_settings("encryption", known), "people": people}
    return _service(home, "encryption", settings)


def dashboard_spec(home: Home) -> ServiceSpec:
    """The dashboard, which sees the services' addresses and the authority's public key."""
    settings = neighbour_settings("dashboard", home.neighbours(policy=UNIFORM))
    return ServiceSpec(
        name="dashboard",
        command=dashboard_command(host=_HOST, port=home.ports["dashboard"]),
        environment=variables("dashboard", settings),
        ready_url=f"{home.url('dashboard')}/_stcore/health",
        log=home.folder / "dashboard.log",
    )


def _service(home: Home, zone: str, own: dict[str, Any]) -> ServiceSpec:
    settings: dict[str, Any] = {"folder": ".", **own, **_build(home)}  # where it is started
    # All in the run's folder, also where a shell names the stores of a service in production.
    stores = {"identity": _IDENTITY_STORES, "market": _STORES[:1], "encryption": _STORES[:1]}.get(
        zone, _STORES
    )
    settings |= dict.fromkeys([*stores, *(f"{name}_file" for name in stores)], "")
    settings |= {"host": _HOST, "port": str(home.ports[zone])}
    return ServiceSpec(
        name=zone,
        command=service_command(zone),
        environment=variables(zone, settings),
        ready_url=f"{home.url(zone)}/health",
        log=home.folder / f"{zone}.log",
        folder=home.zone(zone),
        uid=home.users.checker if zone == "authority" else None,
    )
