"""Seats: nobody is put into a roster that did not agree, by a gateway or by whoever carries it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from gridsecure.credentials.seats import billing_domain, delegation_text, verify_seats
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import GridSecureError
from gridsecure.identity_messages import NO_FACTS, Registered, Registrations, RosterSeats
from gridsecure.messages import RosterManifest, Signed, roster_name, sign_message
from tests.identity.identity_world import HOME

SLOTS = 3
AUTHORITY, GATEWAY, STRANGER = (generate_private_key() for _ in range(3))
HOLDERS = tuple(generate_private_key() for _ in range(SLOTS))
DOMAIN = billing_domain("2026-03").text
OTHER_DOMAIN = billing_domain("2027-03").text
IDENTITY = {AUTHORITY.public_key.thumbprint: AUTHORITY.public_key}


def name_of(key: Sm2PrivateKey) -> str:
    """Any pseudonym; only the identity authority knows whose."""
    return sm3_hex(b"nym" + key.public_key.point)


def vouched(
    role: str,
    keys: tuple[Sm2PrivateKey, ...],
    *,
    domain: str = DOMAIN,
    by: Sm2PrivateKey = AUTHORITY,
) -> Signed:
    facts = NO_FACTS if role == "gateway" else HOME
    entries = [
        Registered(subject=name_of(key), holder=key.public_key.point.hex(), facts=facts)
        for key in keys
    ]
    said = {"domain": domain, "role": role, "issued_at": "2026-03-01", "entries": entries}
    return sign_message(Registrations.model_validate(said), key=by)


def named(roster: RosterManifest, **changes: Any) -> RosterManifest:
    """With changes, and the id that goes with them."""
    changed = roster.model_copy(update=changes)
    return changed.model_copy(update={"roster_id": roster_name(changed)})


ROSTER = named(
    RosterManifest(
        roster_id="",
        gateway_id=GATEWAY.public_key.thumbprint,
        domain=DOMAIN,
        tariff="0" * 64,
        pseudonyms=[name_of(key) for key in HOLDERS],
        zones=["futian"] * SLOTS,
        customer_classes=["household"] * SLOTS,
        household_quota_wh=[0] * SLOTS,
        contracted_va=[0] * SLOTS,
    )
)


def agreed(roster: RosterManifest = ROSTER) -> list[str]:
    """Every holder's agreement to a roster."""
    return [key.sign(delegation_text(roster, slot)).hex() for slot, key in enumerate(HOLDERS)]


@dataclass(frozen=True)
class Sent:
    """What a gateway sends; each test changes a part of it."""

    roster: RosterManifest = ROSTER
    gateway: Signed = field(default_factory=lambda: vouched("gateway", (GATEWAY,)))
    holders: Signed = field(default_factory=lambda: vouched("meter-point", HOLDERS))
    delegations: list[str] = field(default_factory=agreed)
    signer: Sm2PrivateKey = GATEWAY

    def parts(self) -> tuple[Signed, bytes]:
        seats = RosterSeats(
            gateway=self.gateway, holders=self.holders, delegations=self.delegations
        )
        data = seats.model_dump_json().encode()
        manifest = self.roster.model_copy(update={"seats": sm3_hex(data)})
        return sign_message(manifest, key=self.signer), data


def refusal(envelope: Signed, seats: bytes) -> str:
    with pytest.raises(GridSecureError) as refused:
        verify_seats(envelope, seats=seats, identity=IDENTITY)
    return refused.value.reason


def test_a_roster_with_everybodys_agreement_is_taken_in():
    envelope, seats = Sent().parts()
    found = verify_seats(envelope, seats=seats, identity=IDENTITY)
    assert found.roster == ROSTER.model_copy(update={"seats": sm3_hex(seats)})
    assert found.gateway == GATEWAY.public_key
    assert found.gateway_subject == name_of(GATEWAY)


ELSEWHERE = named(ROSTER, domain=OTHER_DOMAIN)
DEARER = named(ROSTER, contracted_va=[9] * SLOTS)
OTHERS = named(ROSTER, gateway_id=STRANGER.public_key.thumbprint)
GARBLED = ["", "zz", "00" * 64, "00" * 63, "ff" * 64]

DELEGATIONS = {
    "another's": lambda: [agreed()[0], STRANGER.sign(delegation_text(ROSTER, 1)).hex()],
    "the gateway's own": lambda: [agreed()[0], GATEWAY.sign(delegation_text(ROSTER, 1)).hex()],
    "a neighbour's": lambda: agreed()[:2][::-1],
    "the same twice": lambda: [agreed()[0]] * 2,
    "for another slot": lambda: [
        agreed()[0],
        HOLDERS[1].sign(delegation_text(ROSTER, 2)).hex(),
    ],
    "for another roster": lambda: agreed(DEARER)[:2],
    "for another gateway": lambda: agreed(OTHERS)[:2],
    "for another domain": lambda: agreed(ELSEWHERE)[:2],
    **{f"garbled {number}": lambda bad=bad: [bad, bad] for number, bad in enumerate(GARBLED)},
}


@pytest.mark.parametrize("name", DELEGATIONS)
def test_every_holder_agrees_to_its_own_seat(name):
    delegations = [*DELEGATIONS[name](), agreed()[2]]
    assert refusal(*Sent(delegations=delegations).parts()) == "authenticity.delegation"


@pytest.mark.parametrize(
    "roster",
    [DEARER, named(ROSTER, large=True), named(ROSTER, tariff="1" * 64)],
    ids=["capacity", "large", "tariff"],
)
def test_agreement_covers_the_facts_of_the_bill(roster):
    assert refusal(*Sent(roster=roster).parts()) == "authenticity.delegation"
    assert verify_seats(
        (parts := Sent(roster=roster, delegations=agreed(roster)).parts())[0],
        seats=parts[1],
        identity=IDENTITY,
    )
    under_the_old_name = roster.model_copy(update={"roster_id": ROSTER.roster_id})
    assert refusal(*Sent(roster=under_the_old_name).parts()) == "roster.name"


@pytest.mark.parametrize("count", [SLOTS - 1, SLOTS + 1])
def test_there_are_as_many_delegations_as_slots(count):
    delegations = (agreed() * 2)[:count]
    assert refusal(*Sent(delegations=delegations).parts()) == "authenticity.seats"


REGISTRATIONS = {
    "another order": {"holders": lambda: vouched("meter-point", HOLDERS[::-1])},
    "one too few": {"holders": lambda: vouched("meter-point", HOLDERS[:2])},
    "one too many": {"holders": lambda: vouched("meter-point", (*HOLDERS, STRANGER))},
    "one other": {"holders": lambda: vouched("meter-point", (*HOLDERS[:2], STRANGER))},
    "gateways as holders": {"holders": lambda: vouched("gateway", HOLDERS)},
    "a meter point as gateway": {"gateway": lambda: vouched("meter-point", (GATEWAY,))},
    "two gateways": {"gateway": lambda: vouched("gateway", (GATEWAY, STRANGER))},
    "another gateway": {"gateway": lambda: vouched("gateway", (STRANGER,))},
    "holders of another year": {
        "holders": lambda: vouched("meter-point", HOLDERS, domain=OTHER_DOMAIN)
    },
    "a gateway of another year": {
        "gateway": lambda: vouched("gateway", (GATEWAY,), domain=OTHER_DOMAIN)
    },
}


@pytest.mark.parametrize("name", REGISTRATIONS)
def test_the_identity_authority_vouches_for_exactly_these(name):
    changes = {part: made() for part, made in REGISTRATIONS[name].items()}
    assert refusal(*replace(Sent(), **changes).parts()) == "authenticity.seats"


@pytest.mark.parametrize("part", ["gateway", "holders"])
@pytest.mark.parametrize("by", ["stranger", "gateway", "posing"])
def test_nobody_else_vouches(part, by):
    key = GATEWAY if by == "gateway" else STRANGER
    keys = {"gateway": (GATEWAY,), "holders": HOLDERS}[part]
    word = vouched("gateway" if part == "gateway" else "meter-point", keys, by=key)
    if by == "posing":
        word = word.model_copy(update={"signer": AUTHORITY.public_key.thumbprint})
    assert refusal(*replace(Sent(), **{part: word}).parts()).startswith("authenticity.")


def test_the_gateway_that_is_named_signs():
    assert refusal(*Sent(signer=STRANGER).parts()) == "authenticity.seats"
    envelope, seats = Sent(signer=STRANGER).parts()
    posing = envelope.model_copy(update={"signer": GATEWAY.public_key.thumbprint})
    assert refusal(posing, seats) == "authenticity.signature"
    assert refusal(*Sent(roster=OTHERS, delegations=agreed(OTHERS)).parts()) == (
        "authenticity.seats"
    )


def test_seats_are_those_the_roster_names():
    envelope, seats = Sent().parts()
    assert refusal(envelope, seats + b" ") == "authenticity.seats"
    assert refusal(envelope, Sent().parts()[1]) == "authenticity.seats"  # signed anew
    unnamed = sign_message(ROSTER, key=GATEWAY)
    assert refusal(unnamed, b"") == "authenticity.seats"
    for rubbish in (b"", b"{}", b"\xff", seats[:-1]):
        manifest = ROSTER.model_copy(update={"seats": sm3_hex(rubbish)})
        assert refusal(sign_message(manifest, key=GATEWAY), rubbish).startswith("message.")
