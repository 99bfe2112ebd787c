"""A roster whose holders all agreed to their slots, for timing the check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gridsecure.credentials.seats import billing_domain, delegation_text
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey, generate_private_key
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.identity.registrations.vouching import ActingRole
from gridsecure.identity_messages import NO_FACTS, Facts, Registered, Registrations, RosterSeats
from gridsecure.messages import RosterManifest, Signed, roster_name, sign_message

_ISSUED_AT = "2026-03-01T08:00:00+00:00"
_FACTS: Final = Facts(zone="futian", customer_class="household", counted=True)


@dataclass(frozen=True, slots=True)
class SeatedSlots:
    """What a gateway sends, and whom the platform believes.

    Args:
        envelope: The roster as signed.
        seats: The object it names.
        identity: The identity authority's key by thumbprint.
    """

    envelope: Signed
    seats: bytes
    identity: Mapping[str, Sm2PublicKey]


def seated_slots(count: int, *, start: str) -> SeatedSlots:
    """A roster with every holder's agreement.

    Args:
        count: Slots.
        start: Start of the billing period, ISO 8601.
    """
    authority, gateway = generate_private_key(), generate_private_key()
    holders = [generate_private_key() for _ in range(count)]
    roster = _roster(holders, gateway, domain=billing_domain(start).text)
    data = (
        RosterSeats(
            gateway=_vouched("gateway", [gateway], domain=roster.domain, by=authority),
            holders=_vouched("meter-point", holders, domain=roster.domain, by=authority),
            delegations=[
                key.sign(delegation_text(roster, slot)).hex() for slot, key in enumerate(holders)
            ],
        )
        .model_dump_json()
        .encode()
    )
    manifest = roster.model_copy(update={"seats": sm3_hex(data)})
    identity = {authority.public_key.thumbprint: authority.public_key}
    return SeatedSlots(sign_message(manifest, key=gateway), data, identity)


def _roster(
    holders: Sequence[Sm2PrivateKey], gateway: Sm2PrivateKey, *, domain: str
) -> RosterManifest:
    count = len(holders)
    draft = RosterManifest(
        roster_id="",
        gateway_id=gateway.public_key.thumbprint,
        domain=domain,
        tariff="0" * 64,
        pseudonyms=[sm3_hex(key.public_key.point) for key in holders],
        zones=["futian"] * count,
        customer_classes=["household"] * count,
        household_quota_wh=[0] * count,
        contracted_va=[0] * count,
    )
    return draft.model_copy(update={"roster_id": roster_name(draft)})


def _vouched(
    role: ActingRole, keys: Sequence[Sm2PrivateKey], *, domain: str, by: Sm2PrivateKey
) -> Signed:
    points = [key.public_key.point for key in keys]
    facts = NO_FACTS if role == "gateway" else _FACTS
    entries = [
        Registered(subject=sm3_hex(point), holder=point.hex(), facts=facts) for point in points
    ]
    said = Registrations(domain=domain, role=role, issued_at=_ISSUED_AT, entries=entries)
    return sign_message(said, key=by)
