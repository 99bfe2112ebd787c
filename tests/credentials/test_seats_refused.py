"""Seats: what a roster must come with, and everything near it that is refused.

Four meter points with keys of their own; each case is what a gateway, platform or stranger could
send instead of the genuine roster and seats.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import pytest

from gridsecure.credentials.seats import (
    SeatedRoster,
    billing_domain,
    delegation_text,
    settlement_domain,
    verify_seats,
)
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import (
    AuthenticityError,
    EnvelopeError,
    InvalidMessageError,
    SignatureError,
    UnknownMeterError,
)
from gridsecure.identity_messages import NO_FACTS, Facts, Registered, Registrations, RosterSeats
from gridsecure.messages import RosterManifest, Signed, SupplyTerms, roster_name, sign_message
from tests.grid_simulator import stated
from tests.identity.identity_world import HOME

SLOTS = 4
START = "2026-07-01T00:00:00+08:00"
DOMAIN = billing_domain(START).text


@dataclass(frozen=True)
class Cast:
    """Who takes part; made once."""

    identity: Sm2PrivateKey
    gateway: Sm2PrivateKey
    stranger: Sm2PrivateKey
    holders: tuple[Sm2PrivateKey, ...]


@cache
def cast() -> Cast:
    return Cast(*(generate_private_key() for _ in range(3)), _keys(SLOTS))


def _keys(count: int) -> tuple[Sm2PrivateKey, ...]:
    return tuple(generate_private_key() for _ in range(count))


def names(count: int = SLOTS, *, first: int = 0) -> list[str]:
    return [sm3_hex(f"pseudonym {number}".encode()) for number in range(first, first + count)]


def draft(**changes: object) -> RosterManifest:
    manifest = RosterManifest(
        roster_id="",
        gateway_id=cast().gateway.public_key.thumbprint,
        domain=DOMAIN,
        tariff="ab" * 32,
        pseudonyms=names(),
        zones=["futian"] * SLOTS,
        customer_classes=["household"] * SLOTS,
        household_quota_wh=[0] * SLOTS,
        contracted_va=[0] * SLOTS,
    ).model_copy(update=changes)
    return manifest.model_copy(update={"roster_id": roster_name(manifest)})


def _facts(role: str, count: int) -> list[Facts]:
    return [HOME if role == "meter-point" else NO_FACTS] * count


def vouched_as_stated(roster: RosterManifest) -> Signed:
    """The identity authority's word for whatever a roster says of its meter points."""
    facts = list(stated(roster).values())
    return vouched(roster.pseudonyms, cast().holders, facts=facts)


def vouched(
    subjects: Sequence[str],
    holders: Sequence[Sm2PrivateKey],
    *,
    role: str = "meter-point",
    domain: str = DOMAIN,
    key: Sm2PrivateKey | None = None,
    facts: Sequence[Facts] = (),
) -> Signed:
    said = Registrations(
        domain=domain,
        role=role,
        issued_at=START,
        entries=[
            Registered(subject=name, holder=holder.public_key.point.hex(), facts=own)
            for name, holder, own in zip(
                subjects, holders, facts or _facts(role, len(subjects)), strict=True
            )
        ],
    )
    return sign_message(said, key=key or cast().identity)


def agreed(roster: RosterManifest, *, holders: Sequence[Sm2PrivateKey] | None = None) -> list[str]:
    return [
        holder.sign(delegation_text(roster, slot)).hex()
        for slot, holder in enumerate(holders or cast().holders)
    ]


@dataclass
class Sent:
    """What is sent: a test changes a part before it is put together."""

    roster: RosterManifest = field(default_factory=draft)
    gateway: Signed | None = None
    holders: Signed | None = None
    delegations: list[str] | None = None
    signer: Sm2PrivateKey | None = None
    seats: bytes | None = None
    late: dict[str, object] = field(default_factory=dict)
    """Facts changed after everybody signed."""

    def checked(self) -> SeatedRoster:
        seats = RosterSeats(
            gateway=self.gateway
            or vouched(
                ["a" * 64],
                [cast().gateway],
                role="gateway",
                facts=[Facts(owner=self.roster.owner)],
            ),
            holders=self.holders or vouched_as_stated(self.roster),
            delegations=agreed(self.roster) if self.delegations is None else self.delegations,
        )
        data = seats.model_dump_json().encode()
        named = self.roster.model_copy(update={"seats": sm3_hex(data), **self.late})
        envelope = sign_message(named, key=self.signer or cast().gateway)
        key = cast().identity.public_key
        return verify_seats(envelope, seats=self.seats or data, identity={key.thumbprint: key})


def test_a_seated_roster_names_its_gateway() -> None:
    seated = Sent().checked()
    assert seated.roster.pseudonyms == names()
    assert seated.gateway == cast().gateway.public_key
    assert seated.gateway_subject == "a" * 64


def test_billing_and_settlement_are_domains_of_the_year() -> None:
    assert DOMAIN == "platform/billing/2026"
    assert settlement_domain(START).text == "authority/settlement/2026"


def unsigned() -> Sent:
    return Sent(delegations=[""] * SLOTS)


def one_did_not_agree() -> Sent:
    sent = Sent()
    return replace(sent, delegations=[*agreed(sent.roster)[:-1], "00" * 64])


def foreign_delegation() -> Sent:
    """Somebody else signed for the last slot."""
    keys = [*cast().holders[:-1], cast().stranger]
    sent = Sent()
    return replace(sent, delegations=agreed(sent.roster, holders=keys))


def gateway_signs_for_all() -> Sent:
    sent = Sent()
    return replace(sent, delegations=agreed(sent.roster, holders=[cast().gateway] * SLOTS))


def swapped_slots() -> Sent:
    """Two meter points change seats, with the signatures they gave before."""
    old = agreed(draft())
    one, two, *rest = names()
    roster = draft(pseudonyms=[two, one, *rest])
    keys = [cast().holders[1], cast().holders[0], *cast().holders[2:]]
    return Sent(
        roster=roster,
        holders=vouched(roster.pseudonyms, keys),
        delegations=[old[1], old[0], *old[2:]],
    )


def swapped_signatures() -> Sent:
    one, two, *rest = agreed(draft())
    return Sent(delegations=[two, one, *rest])


def changed_fact(**fact: object) -> Callable[[], Sent]:
    """A fact is changed after the holders signed; the id is that of the new content."""
    return lambda: Sent(roster=draft(**fact), delegations=agreed(draft()))


def another_gateways_roster() -> Sent:
    """Agreed to with one gateway, sent by another that is registered too."""
    return Sent(
        roster=draft(gateway_id=cast().stranger.public_key.thumbprint),
        delegations=agreed(draft()),
        gateway=vouched(["b" * 64], [cast().stranger], role="gateway"),
        signer=cast().stranger,
    )


def fewer_delegations() -> Sent:
    return Sent(delegations=agreed(draft())[:-1])


def more_delegations() -> Sent:
    return Sent(delegations=[*agreed(draft()), "00" * 64])


def registrations_of_a_stranger() -> Sent:
    return Sent(holders=vouched(names(), cast().holders, key=cast().stranger))


def registrations_by_the_gateway() -> Sent:
    return Sent(holders=vouched(names(), cast().holders, key=cast().gateway))


def registrations_of_last_year() -> Sent:
    return Sent(holders=vouched(names(), cast().holders, domain="platform/billing/2025"))


def registrations_for_settlement() -> Sent:
    domain = settlement_domain(START).text
    return Sent(holders=vouched(names(), cast().holders, domain=domain))


def gateways_among_the_meter_points() -> Sent:
    return Sent(holders=vouched(names(), cast().holders, role="gateway"))


def a_meter_point_as_gateway() -> Sent:
    return Sent(gateway=vouched(["a" * 64], [cast().gateway]))


def gateway_of_another_domain() -> Sent:
    domain = "platform/billing/2025"
    return Sent(gateway=vouched(["a" * 64], [cast().gateway], role="gateway", domain=domain))


def gateway_nobody_registered() -> Sent:
    """Its own word for itself."""
    return Sent(gateway=vouched(["a" * 64], [cast().gateway], role="gateway", key=cast().gateway))


def two_gateways() -> Sent:
    keys = [cast().gateway, cast().stranger]
    return Sent(gateway=vouched(["a" * 64, "b" * 64], keys, role="gateway"))


def one_not_vouched_for() -> Sent:
    return Sent(holders=vouched(names()[:-1], cast().holders[:-1]))


def one_more_vouched_for() -> Sent:
    return Sent(holders=vouched(names(SLOTS + 1), [*cast().holders, cast().stranger]))


def vouched_in_another_order() -> Sent:
    return Sent(holders=vouched(names()[::-1], cast().holders[::-1]))


def signed_by_another() -> Sent:
    return Sent(signer=cast().stranger)


def signed_by_a_holder() -> Sent:
    return Sent(signer=cast().holders[0])


def names_another_gateway() -> Sent:
    return Sent(roster=draft(gateway_id="f" * 64))


def seats_of_another_roster() -> Sent:
    other = RosterSeats(
        gateway=vouched(["a" * 64], [cast().gateway], role="gateway"),
        holders=vouched(names(first=9), cast().holders),
        delegations=agreed(draft(pseudonyms=names(first=9))),
    )
    return Sent(seats=other.model_dump_json().encode())


def roster_and_seats_of_another() -> Sent:
    """The other's seats are named and signed for, so only its members betray them."""
    other = draft(pseudonyms=names(first=9))
    return Sent(holders=vouched(other.pseudonyms, cast().holders), delegations=agreed(other))


def no_seats() -> Sent:
    return Sent(late={"seats": ""})


def a_changed_id() -> Sent:
    return Sent(late={"roster_id": "0" * 32})


def a_fact_changed_at_the_end() -> Sent:
    return Sent(late={"zones": ["luohu"] * SLOTS})


def empty_seats() -> Sent:
    return Sent(seats=b"{}", late={"seats": sm3_hex(b"{}")})


REFUSED: dict[str, tuple[Callable[[], Sent], type[Exception], str]] = {
    f.__name__.replace("_", " "): (f, kind, reason)
    for f, kind, reason in (
        (unsigned, SignatureError, "authenticity.delegation"),
        (one_did_not_agree, SignatureError, "authenticity.delegation"),
        (foreign_delegation, SignatureError, "authenticity.delegation"),
        (gateway_signs_for_all, SignatureError, "authenticity.delegation"),
        (swapped_slots, SignatureError, "authenticity.delegation"),
        (swapped_signatures, SignatureError, "authenticity.delegation"),
        (another_gateways_roster, SignatureError, "authenticity.delegation"),
        (fewer_delegations, UnknownMeterError, "authenticity.seats"),
        (more_delegations, UnknownMeterError, "authenticity.seats"),
        (registrations_of_a_stranger, UnknownMeterError, "authenticity.unknown"),
        (registrations_by_the_gateway, UnknownMeterError, "authenticity.unknown"),
        (registrations_of_last_year, UnknownMeterError, "authenticity.seats"),
        (registrations_for_settlement, UnknownMeterError, "authenticity.seats"),
        (gateways_among_the_meter_points, UnknownMeterError, "authenticity.seats"),
        (a_meter_point_as_gateway, UnknownMeterError, "authenticity.seats"),
        (gateway_of_another_domain, UnknownMeterError, "authenticity.seats"),
        (gateway_nobody_registered, UnknownMeterError, "authenticity.unknown"),
        (two_gateways, UnknownMeterError, "authenticity.seats"),
        (one_not_vouched_for, UnknownMeterError, "authenticity.seats"),
        (one_more_vouched_for, UnknownMeterError, "authenticity.seats"),
        (vouched_in_another_order, UnknownMeterError, "authenticity.seats"),
        (signed_by_another, UnknownMeterError, "authenticity.seats"),
        (signed_by_a_holder, UnknownMeterError, "authenticity.seats"),
        (names_another_gateway, UnknownMeterError, "authenticity.seats"),
        (seats_of_another_roster, EnvelopeError, "authenticity.seats"),
        (roster_and_seats_of_another, UnknownMeterError, "authenticity.seats"),
        (no_seats, EnvelopeError, "authenticity.seats"),
        (a_changed_id, InvalidMessageError, "roster.name"),
        (a_fact_changed_at_the_end, InvalidMessageError, "roster.name"),
        (empty_seats, InvalidMessageError, "message.invalid"),
    )
}
FACTS: dict[str, object] = {
    "tariff": "cd" * 32,
    "zones": ["luohu"] * SLOTS,
    "customer_classes": ["factory"] * SLOTS,
    "household_quota_wh": [1000] * SLOTS,
    "contracted_va": [1] * SLOTS,
    "free_quota_wh": [1] * SLOTS,
    "service_from": ["2026-01"] * SLOTS,
    "unheld_days": [1] * SLOTS,
    "large": True,
    "owner": "0e" * 32,
    "counted": [False] * SLOTS,
    "cycle_day": 16,
    "supply": SupplyTerms(officers=["0f" * 32]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_seated_is_refused(name: str) -> None:
    make, kind, reason = REFUSED[name]
    with pytest.raises(kind) as refused:
        make().checked()
    assert refused.value.reason == reason


INVENTED: dict[str, object] = {
    "zones": ["futian"] * (SLOTS - 1) + ["luohu"],
    "customer_classes": ["household"] * (SLOTS - 1) + ["factory"],
    "counted": [True] * (SLOTS - 1) + [False],
    "counted, said twice": [True] * SLOTS,
    "owner": "0e" * 32,
}


@pytest.mark.parametrize("fact", INVENTED)
def test_a_fact_that_nobody_vouches_for_is_refused_whoever_agreed(fact: str) -> None:
    """Sixteen meter points of a rogue would pad a cell: its own agents sign whatever it says."""
    roster = draft(**{fact.split(",", maxsplit=1)[0]: INVENTED[fact]})
    holders = vouched(names(), cast().holders)
    gateway = vouched(["a" * 64], [cast().gateway], role="gateway")
    with pytest.raises(UnknownMeterError) as refused:
        Sent(roster=roster, holders=holders, gateway=gateway).checked()
    assert refused.value.reason == "authenticity.facts"


def test_a_slot_that_does_not_count_cannot_be_said_to() -> None:
    """By leaving the list empty, which says that every slot counts."""
    facts = [HOME, *[HOME.model_copy(update={"counted": False})] * (SLOTS - 1)]
    holders = vouched(names(), cast().holders, facts=facts)
    with pytest.raises(UnknownMeterError) as refused:
        Sent(holders=holders).checked()
    assert refused.value.reason == "authenticity.facts"
    told = draft(counted=[True, *[False] * (SLOTS - 1)])
    assert Sent(roster=told, holders=holders).checked().roster.counted == told.counted


def test_a_gateway_cannot_leave_out_whose_it_is() -> None:
    gateway = vouched(["a" * 64], [cast().gateway], role="gateway", facts=[Facts(owner="0e" * 32)])
    with pytest.raises(UnknownMeterError) as refused:
        Sent(gateway=gateway).checked()
    assert refused.value.reason == "authenticity.facts"


@pytest.mark.parametrize("fact", FACTS)
def test_every_fact_of_a_bill_is_agreed_to(fact: str) -> None:
    with pytest.raises(SignatureError) as refused:
        changed_fact(**{fact: FACTS[fact]})().checked()
    assert refused.value.reason == "authenticity.delegation"


def test_every_field_of_a_roster_is_agreed_to_or_named() -> None:
    """A field added to rosters later is signed too, or this table says why not."""
    covered = set(FACTS) | {"roster_id", "seats", "gateway_id", "domain", "pseudonyms"}
    assert covered == set(RosterManifest.model_fields)


def test_a_holder_key_that_is_none_is_refused() -> None:
    """The identity authority would have to sign it, and still nobody could act under it."""
    said = Registrations(
        domain=DOMAIN,
        role="meter-point",
        issued_at=START,
        entries=[Registered(subject=name, holder="04" + "0" * 128) for name in names()],
    )
    with pytest.raises((AuthenticityError, InvalidMessageError)):
        Sent(holders=sign_message(said, key=cast().identity)).checked()


def test_a_roster_of_before_there_were_cycles_keeps_its_name() -> None:
    """Months that wait and corrections of old ones name it so."""
    text = draft().model_dump(mode="json")
    named = {key: value for key, value in text.items() if key not in ("roster_id", "seats")}
    named.pop("cycle_day")
    named.pop("unheld_days")
    named.pop("supply")
    old = json.dumps(named, ensure_ascii=False, separators=(",", ":"))
    assert roster_name(draft()) == sm3_hex(old.encode())[:32]
    assert roster_name(draft(cycle_day=2)) != roster_name(draft())
    assert roster_name(draft(supply=SupplyTerms())) != roster_name(draft())
    assert roster_name(draft(unheld_days=[1] * SLOTS)) != roster_name(draft())
