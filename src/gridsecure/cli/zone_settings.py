"""The settings that follow from a zone's neighbours: one way, for `init` and for `gridsecure run`.

Nothing here is a choice of an operator's: keys and addresses of others, who may log in, whose
approvals count. What an operator chooses is added by whoever calls.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from gridsecure.approvals import APPROVER_ROLES
from gridsecure.cli.zone_cards import Neighbours, ZoneCard, check_roles
from gridsecure.errors import InputError

_SERVICE_ROLES: Final = ("platform", "authority")
NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "identity": ("gateway", "platform", "authority", "utility", "regulator"),
    "gateway": (
        *("identity", "platform", "authority", "billing-office"),
        *("utility", "regulator"),
    ),
    "platform": ("identity", "authority", "billing-office"),
    "authority": ("identity", "platform", "billing-office", "vault"),
    "vault": ("authority", "billing-office"),
    "market": ("identity", "authority", "registration-office"),
    "encryption": ("identity", "authority"),
    "dashboard": ("identity", "gateway", "platform", "authority"),
    "utility": ("identity", "regulator"),
    "regulator": ("identity", "utility"),
}
"""Whose cards a zone cannot do without."""


def missing_cards(zone: str, known: Neighbours) -> list[str]:
    """Whose cards a zone still needs, in words."""
    missing = [name for name in NEEDED.get(zone, ()) if name not in known.zones]
    if zone == "identity":
        stated = {card.zone for card in known.people if card.statement}
        missing += [
            f"{name} with its statement"
            for name in ("utility", "regulator")
            if name in known.zones and name not in stated
        ]
    return missing


def neighbour_settings(zone: str, known: Neighbours) -> dict[str, Any]:
    """A zone's settings that follow from its neighbours.

    Raises:
        InputError: A card is missing (`setup.neighbours`).
    """
    missing = missing_cards(zone, known)
    if missing:
        raise InputError(
            f"The {zone} does not know all of its neighbours: {', '.join(missing)}.",
            reason="setup.neighbours",
            remedy="Join their cards first: `gridsecure join FOLDER CARD…`.",
        )
    make = _MAKERS.get(zone)
    return make(known) if make else {}


def variables(zone: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings as the environment has them: names in full, lists as JSON."""
    prefix = f"GRIDSECURE_{zone.upper()}_"
    return {
        prefix + name.upper(): value if isinstance(value, str) else json.dumps(value)
        for name, value in settings.items()
    }


def _identity(known: Neighbours) -> dict[str, Any]:
    services = [*known.gateways, *(known.zones[role] for role in _SERVICE_ROLES)]
    return {
        "services": [{"role": card.zone, "public_key": card.public_key} for card in services],
        "people": [
            {"name": card.name, "roles": list(card.roles), "public_key": card.public_key}
            for card in known.people
        ],
        "statements": [known.zones[name].statement for name in ("utility", "regulator")],
        **_offices(known),
    }


def _gateway(known: Neighbours) -> dict[str, Any]:
    return {
        **_identity_key(known),
        **_urls(known, "identity", "platform", "authority"),
        **_keys(known, "authority", "billing-office"),
        **_offices(known),
    }


def _platform(known: Neighbours) -> dict[str, Any]:
    return {
        **_identity_key(known),
        **_keys(known, "authority", "billing-office"),
        **_approvers(known),
        **_policy(known),
    }


def _authority(known: Neighbours) -> dict[str, Any]:
    vault = known.zones["vault"]
    return {
        **_identity_key(known),
        **_urls(known, "identity", "platform"),
        **_keys(known, "platform", "billing-office"),
        **_approvers(known),
        **_agreements(known),
        "vault_socket": vault.socket,
        **({} if vault.user is None else {"vault_uid": vault.user}),
    }


def _agreements(known: Neighbours) -> dict[str, Any]:
    """What proves agreements, where there is a market: other policies want none."""
    if not {"market", "registration-office"} <= known.zones.keys():
        return {}
    office = known.zones["registration-office"].public_key
    return {**_keys(known, "market"), "registrar_public_key": office}


def _vault(known: Neighbours) -> dict[str, Any]:
    checker = known.zones["authority"]
    return {
        "checker_public_key": checker.public_key,
        **_keys(known, "billing-office"),
        **_approvers(known),
        **_agreements(known),
        **_policy(known),
        **({} if checker.user is None else {"checker_uid": checker.user}),
    }


def _market(known: Neighbours) -> dict[str, Any]:
    return {
        **_identity_key(known),
        "registrar_public_key": known.zones["registration-office"].public_key,
        **_keys(known, "authority"),
        **_approvers(known),
        **_policy(known),
    }


def _encryption(known: Neighbours) -> dict[str, Any]:
    return {**_identity_key(known), **_keys(known, "authority")}


def _dashboard(known: Neighbours) -> dict[str, Any]:
    return {
        **_urls(known, "identity", "gateway", "platform", "authority"),
        "authority_key": known.zones["authority"].public_key,
        **_urls(known, *(zone for zone in ("market", "encryption") if zone in known.zones)),
    }


_MAKERS: Final[Mapping[str, Callable[[Neighbours], dict[str, Any]]]] = {
    "identity": _identity,
    "gateway": _gateway,
    "platform": _platform,
    "authority": _authority,
    "vault": _vault,
    "market": _market,
    "encryption": _encryption,
    "dashboard": _dashboard,
}


def _identity_key(known: Neighbours) -> dict[str, str]:
    return {"identity_public_key": known.zones["identity"].public_key}


def _keys(known: Neighbours, *zones: str) -> dict[str, str]:
    return {f"{zone.replace('-', '_')}_public_key": known.zones[zone].public_key for zone in zones}


def _urls(known: Neighbours, *zones: str) -> dict[str, str]:
    return {f"{zone}_url": known.zones[zone].address for zone in zones}


def _offices(known: Neighbours) -> dict[str, str]:
    return _keys(known, "utility", "regulator")


def _policy(known: Neighbours) -> dict[str, str]:
    policy = known.zones["authority"].policy
    return {"policy": policy} if policy else {}


def _approvers(known: Neighbours) -> dict[str, Any]:
    def entry(card: ZoneCard) -> dict[str, str]:
        check_roles(card.roles)  # of cards that were kept before joining looked at roles
        (role,) = set(card.roles) & set(APPROVER_ROLES)
        return {"person": card.name, "role": role, "public_key": card.public_key}

    found = [entry(card) for card in known.with_role(*APPROVER_ROLES)]
    return {"approvers": found} if found else {}
