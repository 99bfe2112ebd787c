"""How each service of a local run is started: its module, its settings, its address."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gridsecure.cli.home import APPROVERS, BUILD, USERS, Home
from gridsecure.cli.processes import ServiceSpec, python_command
from gridsecure.cli.run_source import TOKEN_MINUTES
from gridsecure.identity.enrolments.passwords import password_record
from gridsecure.policy.packs import UNIFORM

MAX_FILES_BYTES = 4 << 30
"""Meter data files of one month, handed in over loopback [bytes]."""

# Counted from the folders of checker and vault alike: short enough for a socket's name wherever the
# run's folder is, and nothing above that folder needs to be passed through.
_SOCKET = "../vault-door/vault.sock"
_STORES = ("database", "objects")
_IDENTITY_STORES = ("enrolments_url", "registrations_url")


def service_specs(home: Home, *, years: list[str]) -> Iterator[ServiceSpec]:
    """The four services and the vault, each told only what it may know.

    The identity service comes last: others start while passwords are stretched, which takes
    seconds.

    Args:
        years: The periods that credentials are issued for.
    """
    offices = {
        "utility_public_key": home.office("utility"),
        "regulator_public_key": home.office("regulator"),
    }
    settings: dict[str, dict[str, Any]] = {
        "platform": {
            "authority_public_key": home.point("authority"),
            "warm_up": "true",
            "policy": UNIFORM,
            "approvers": _approvers(home),
            "engine": "processes:",  # like the stores below: whatever a shell names
            "billing_office_public_key": home.point("billing-office"),
        },
        "gateway": {
            "max_body_bytes": str(MAX_FILES_BYTES),
            "identity_url": home.url("identity"),
            "platform_url": home.url("platform"),
            "authority_url": home.url("authority"),
            "authority_public_key": home.point("authority"),
            "billing_office_public_key": home.point("billing-office"),
            **offices,
        },
        "authority": {
            "identity_url": home.url("identity"),
            "platform_url": home.url("platform"),
            "platform_public_key": home.point("platform"),
            "billing_office_public_key": home.point("billing-office"),
            "vault_socket": _SOCKET,
            "policy": UNIFORM,
            "approvers": _approvers(home),
            **({} if home.users.vault is None else {"vault_uid": home.users.vault}),
        },
    }
    yield _vault(home)
    for zone, own in settings.items():
        yield _service(home, zone, own)
    yield _service(home, "identity", _identity(home, offices, years))


def _identity(home: Home, offices: dict[str, str], years: list[str]) -> dict[str, Any]:
    """Named people with their keys, and with passwords for the browser; services by their keys."""
    return {
        "users": [
            {"user": user, "password": password_record(password), "roles": list(USERS[user])}
            for user, password in home.passwords.items()
        ],
        "services": [
            {"role": role, "public_key": home.point(role)}
            for role in ("gateway", "platform", "authority")
        ],
        "people": [
            {
                "name": user,
                "roles": list(roles),
                "public_key": home.people[user].public_key.point.hex(),
            }
            for user, roles in USERS.items()
        ],
        "statements": list(home.statements),
        "periods": years,
        **({"source_token_minutes": TOKEN_MINUTES} if home.passwords else {}),
        **offices,
    }


def _build(home: Home) -> dict[str, str]:
    """The statement of this run's build, and who signed it."""
    if home.maker is None:
        return {}
    return {"maker_public_key": home.maker, "build_statement": f"../{BUILD}"}


def _approvers(home: Home) -> list[dict[str, str]]:
    """The officers who approve releases, with the keys that were drawn for them."""
    return [
        {"person": role, "role": role, "public_key": home.people[role].public_key.point.hex()}
        for role in APPROVERS
    ]


def _vault(home: Home) -> ServiceSpec:
    """The vault, which starts locked. It has no address but its socket."""
    settings: dict[str, Any] = {
        "folder": ".",
        "socket": _SOCKET,
        "checker_public_key": home.point("authority"),
        "billing_office_public_key": home.point("billing-office"),
        "policy": UNIFORM,
        "approvers": _approvers(home),
        **_build(home),
    }
    if home.users.checker is not None:
        settings["checker_uid"] = home.users.checker
    return ServiceSpec(
        name="vault",
        command=python_command("-P", "-m", "gridsecure_api.vault"),
        environment=_environment("vault", settings),
        log=home.folder / "vault.log",
        folder=home.zone("vault"),
        uid=home.users.vault,
        ready_path=home.zone("vault") / _SOCKET,
    )


def dashboard_spec(home: Home) -> ServiceSpec:
    """The dashboard, which sees the services' addresses and the authority's public key."""
    settings = {
        "identity_url": home.url("identity"),
        "gateway_url": home.url("gateway"),
        "platform_url": home.url("platform"),
        "authority_url": home.url("authority"),
        "authority_key": home.point("authority"),
    }
    return ServiceSpec(
        name="dashboard",
        command=python_command(
            "-m",
            "streamlit",
            "run",
            str(_dashboard_script()),
            "--server.address=127.0.0.1",
            f"--server.port={home.ports['dashboard']}",
        ),
        environment=_environment("dashboard", settings),
        ready_url=f"{home.url('dashboard')}/_stcore/health",
        log=home.folder / "dashboard.log",
    )


def _service(home: Home, zone: str, own: dict[str, Any]) -> ServiceSpec:
    settings: dict[str, Any] = {"folder": ".", **own, **_build(home)}  # where it is started
    if zone != "identity":
        settings["identity_public_key"] = home.point("identity")
    # All in the run's folder, also where a shell names the stores of a service in production.
    stores = _IDENTITY_STORES if zone == "identity" else _STORES
    settings |= dict.fromkeys(stores, "")
    settings |= {"host": "127.0.0.1", "port": str(home.ports[zone])}
    return ServiceSpec(
        name=zone,
        command=python_command("-P", "-m", "gridsecure_api.serve", zone),
        environment=_environment(zone, settings),
        ready_url=f"{home.url(zone)}/health",
        log=home.folder / f"{zone}.log",
        folder=home.zone(zone),
        uid=home.users.checker if zone == "authority" else None,
    )


def _environment(zone: str, settings: dict[str, Any]) -> dict[str, str]:
    prefix = f"GRIDSECURE_{zone.upper()}_"
    return {
        prefix + name.upper(): value if isinstance(value, str) else json.dumps(value)
        for name, value in settings.items()
    }


def _dashboard_script() -> Path:
    spec = find_spec("gridsecure_dashboard")  # found, not imported: the command stays below it
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("gridsecure_dashboard")
    return Path(spec.origin).with_name("server.py")
