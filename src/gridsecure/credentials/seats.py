"""Seats: that the holders of a roster's pseudonyms agreed to their slots, and with which gateway.

A meter point's holder signs once per roster, with the key registered under its pseudonym:

    delegation = purpose ‖ domain ‖ subject ‖ roster ‖ slot ‖ gateway, each after its length

The roster's id is a digest of everything else in it, so a signature covers the public facts of the
bill too. The gateway may then sign one manifest per upload, and a platform checks one signature
instead of thousands. A gateway can neither invent a meter point nor seat one that did not agree,
nor say of one what the identity authority does not: holders and gateway may be one's own, so their
signatures do not show that a zone, a class, who counts or who owns a gateway is true.

Whoever takes in a roster, platform or key authority, calls `verify_seats`; it starts from nothing
but the identity authority's key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from re import fullmatch
from typing import Any, Final
from zoneinfo import ZoneInfo

from gridsecure.credentials.batch_signatures import SignedText, find_unsigned
from gridsecure.credentials.issuer_keys import Role
from gridsecure.credentials.presentations import Domain
from gridsecure.credentials.suites import frame_parts
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import EnvelopeError, InvalidMessageError, SignatureError, UnknownMeterError
from gridsecure.identity_messages import Facts, Registrations, RosterSeats
from gridsecure.messages import RosterManifest, Signed, open_message, roster_name
from gridsecure.month_texts import MONTH_PATTERN, read_moment, year_text
from gridsecure.periods import is_day, month_around

BILLING: Final = ("platform", "billing")
"""Platform and purpose of the domain that rosters are in."""
SETTLEMENT: Final = ("authority", "settlement")
"""Platform and purpose of the domain that bills are in."""

MAX_FACT: Final = 2**53
LONGEST_MONTH: Final = 31
"""Far above any quota [Wh] or capacity [VA], far below what 64-bit arithmetic holds."""

_PURPOSE: Final = b"gridsecure-delegation-1"


@dataclass(frozen=True, slots=True)
class SeatedRoster:
    """A roster whose seats hold.

    Args:
        gateway: The key of the gateway that speaks for it.
        gateway_subject: That gateway's pseudonym.
        holders: Pseudonym and thumbprint of its key, by slot.
    """

    roster: RosterManifest
    gateway: Sm2PublicKey
    gateway_subject: str
    holders: tuple[tuple[str, str], ...]


def billing_domain(start: str) -> Domain:
    """The domain of rosters whose billing period starts then: one a calendar year.

    Args:
        start: Start of the period, ISO 8601 with the local offset.
    """
    return Domain(*BILLING, year_text(start))


def settlement_domain(start: str) -> Domain:
    """The domain of bills for a billing period that starts then."""
    return Domain(*SETTLEMENT, year_text(start))


def check_period(start: str, end: str, *, timezone: str, cycle_day: int) -> Domain:
    """Refuse a period that could be told to be of another year, or of another cycle.

    The year of a pseudonym is read from the text, so a moment must have one text only. A period
    that goes on into the next year is of the year that it begins in, and so are its days.

    Args:
        start: Start of a billing period or of a day in one, ISO 8601.
        timezone: Of the tariff that is billed [IANA name].
        cycle_day: Day of the month that the roster's billing periods begin on.

    Returns:
        The domain of the rosters of that time.

    Raises:
        InvalidMessageError: Not in local time, or neither a month of the cycle nor a day
            (`identity.period`).
    """
    tzinfo = ZoneInfo(timezone)
    begin, finish = read_moment(start), read_moment(end)
    if begin is not None and finish is not None and begin < finish:
        told = tuple(moment.astimezone(tzinfo).isoformat() for moment in (begin, finish))
        month = month_around(begin, timezone=timezone, cycle_day=cycle_day)
        own = (month.start.isoformat(), month.end.isoformat())
        if told == (start, end) and (told == own or is_day(start, end)):
            return billing_domain(own[0])
    raise InvalidMessageError(
        "A billing period is not written in local time, or is neither a month of its roster's"
        " cycle nor a day.",
        reason="identity.period",
        remedy="Write start and end with the local offset of the tariff's time zone. The roster"
        " says on which day of the month its periods begin.",
    )


def check_facts(roster: RosterManifest) -> None:
    """Refuse facts that no meter point has, before arithmetic meets them.

    Raises:
        InvalidMessageError: A quota, capacity or first month that is none (`release.roster`).
    """
    facts = (*roster.household_quota_wh, *roster.free_quota_wh, *roster.contracted_va)
    if min(facts) < 0 or max(facts) > MAX_FACT:
        raise InvalidMessageError(
            "A roster states a quota or capacity beyond that of any meter point.",
            reason="release.roster",
        )
    if any(not 0 <= days <= LONGEST_MONTH for days in roster.unheld_days):
        raise InvalidMessageError(
            "A roster states more days than a month has.", reason="release.roster"
        )
    if any(month and not fullmatch(MONTH_PATTERN, month) for month in roster.service_from):
        raise InvalidMessageError(
            "A roster states a first month that is not a month.", reason="release.roster"
        )


def registration_domains(
    role: Role, *, period: str, carry: str | None = None
) -> tuple[Domain, ...]:
    """Where a credential of a role and period is shown to register; both sides work it out.

    Args:
        carry: The earlier period whose pseudonyms are shown along, so that the new carry them on.

    Raises:
        InvalidMessageError: Carried from no earlier period, or for a gateway, which has nothing to
            carry on (`identity.domain`).
    """
    if carry is not None and (role != "meter-point" or carry >= period):
        raise InvalidMessageError("The domains are malformed.", reason="identity.domain")
    if role != "meter-point":
        return (billing_domain(period),)
    periods = [period] if carry is None else [period, carry]
    return tuple(domain(year) for year in periods for domain in (billing_domain, settlement_domain))


def delegation_text(roster: RosterManifest, slot: int) -> bytes:
    """What the holder in a slot signs.

    Args:
        roster: The roster, perhaps still without seats.
        slot: 0 to `roster.slots - 1`.
    """
    subject, place = roster.pseudonyms[slot], slot.to_bytes(4, "big")
    return frame_parts(_PURPOSE, roster.domain, subject, roster.roster_id, place, roster.gateway_id)


def verify_seats(
    envelope: Signed, *, seats: bytes, identity: Mapping[str, Sm2PublicKey]
) -> SeatedRoster:
    """Check a roster with its seats, from the identity authority's key alone.

    1. The seats are those the roster names, and the roster's id is that of its content.
    2. The identity authority vouches for the gateway and for each pseudonym, in this domain, and
       for the facts that the roster states of them.
    3. The roster is signed by that gateway.
    4. Each holder signed for its slot.

    Args:
        envelope: The roster as signed.
        identity: The identity authority's key by thumbprint.

    Raises:
        InvalidMessageError: A malformed roster or seats; an id that is not the content's
            (`roster.name`).
        EnvelopeError: Other seats than it names (`authenticity.seats`).
        UnknownMeterError: A pseudonym nobody vouches for, or in another order
            (`authenticity.seats`); other facts than it vouches for (`authenticity.facts`).
        SignatureError: A signature that does not verify.
    """
    # 1. what belongs together
    draft = RosterManifest.parse(envelope.body)
    if sm3_hex(seats) != draft.seats:
        raise EnvelopeError(
            "A roster came with the seats of another roster.", reason="authenticity.seats"
        )
    if roster_name(draft) != draft.roster_id:
        raise InvalidMessageError(
            "A roster's id is not the digest of its content.",
            reason="roster.name",
            remedy="Run the same release on both sides.",
        )
    shown = RosterSeats.parse(seats)
    # 2. registrations
    gateway = _registrations(shown.gateway, role="gateway", domain=draft.domain, identity=identity)
    holders = _registrations(
        shown.holders, role="meter-point", domain=draft.domain, identity=identity
    )
    named = [entry.subject for entry in holders.entries]
    if named != draft.pseudonyms or len(gateway.entries) != 1:
        raise _not_seated("The identity authority vouches for other pseudonyms than a roster has.")
    speaker = gateway.entries[0]
    _check_stated(draft, gateway=speaker.facts, members=[one.facts for one in holders.entries])
    key = Sm2PublicKey(bytes.fromhex(speaker.holder))
    # 3. the gateway
    if not key.thumbprint == draft.gateway_id == envelope.signer:
        raise _not_seated("A roster names another gateway than its signer.")
    roster = open_message(envelope, expect=RosterManifest, trusted={key.thumbprint: key})
    # 4. the holders
    if len(shown.delegations) != roster.slots:
        raise _not_seated("A roster has other delegations than slots.")
    _check_delegations(roster, [entry.holder for entry in holders.entries], shown.delegations)
    pairs = ((entry.subject, sm3_hex(bytes.fromhex(entry.holder))) for entry in holders.entries)
    return SeatedRoster(roster, key, speaker.subject, tuple(pairs))


@dataclass(frozen=True, slots=True)
class VouchedGateway:
    """A gateway, as the identity authority vouches for it.

    Args:
        domain: The billing domain in which it acts with that key.
        issued_at: When the authority said so.
    """

    key: Sm2PublicKey
    domain: str
    issued_at: datetime


def verify_gateway(envelope: Signed, *, identity: Mapping[str, Sm2PublicKey]) -> VouchedGateway:
    """The one gateway that signed registrations speak of, from the identity authority's key alone.

    Raises:
        UnknownMeterError: Not the identity authority's word, or not on one gateway in a billing
            domain (`authenticity.registration`).
        SignatureError: It does not verify.
        InvalidMessageError: Signed, but malformed.
    """
    found = open_message(envelope, expect=Registrations, trusted=identity)
    domain = Domain.parse(found.domain)
    is_billing = domain == Domain(*BILLING, domain.period)
    issued_at = read_moment(found.issued_at)
    if issued_at is None:
        raise InvalidMessageError("Registrations name no time.")
    if found.role != "gateway" or len(found.entries) != 1 or not is_billing:
        raise UnknownMeterError(
            "The registration does not name exactly one gateway in a billing domain.",
            reason="authenticity.registration",
            remedy="Send the registration of the gateway that asks, in the domain of the year.",
        )
    key = Sm2PublicKey(bytes.fromhex(found.entries[0].holder))
    return VouchedGateway(key, found.domain, issued_at)


def vouched_facts(gateway: Facts, members: Sequence[Facts]) -> dict[str, Any]:
    """The fields of a roster that follow from the identity authority's word, in their one form.

    Args:
        members: The meter points', in the order of the slots.
    """
    return {
        "owner": gateway.owner,
        "zones": [facts.zone for facts in members],
        "customer_classes": [facts.customer_class for facts in members],
        "counted": counted_slots([facts.counted for facts in members]),
    }


def counted_slots(counted: list[bool]) -> list[bool]:
    """Who counts, as a roster says it: nothing where every slot does, so that it has one id."""
    return [] if all(counted) else counted


def _check_stated(roster: RosterManifest, *, gateway: Facts, members: Sequence[Facts]) -> None:
    vouched = vouched_facts(gateway, members)
    if any(getattr(roster, name) != value for name, value in vouched.items()):
        raise UnknownMeterError(
            "A roster's facts differ from those the identity authority vouches for.",
            reason="authenticity.facts",
            remedy="Build the roster from the registrations, and correct the utility's books.",
        )


def _registrations(
    envelope: Signed, *, role: str, domain: str, identity: Mapping[str, Sm2PublicKey]
) -> Registrations:
    found = open_message(envelope, expect=Registrations, trusted=identity)
    if (found.role, found.domain) != (role, domain):
        raise _not_seated("Registrations are of another role or domain than a roster.")
    return found


def _check_delegations(
    roster: RosterManifest, holders: Sequence[str], signatures: Sequence[str]
) -> None:
    signed = []
    for slot, (holder, signature) in enumerate(zip(holders, signatures, strict=True)):
        try:
            key, data = Sm2PublicKey(bytes.fromhex(holder)), bytes.fromhex(signature)
        except (ValueError, InvalidMessageError) as malformed:
            raise _not_agreed(slot) from malformed
        signed.append(SignedText(key, delegation_text(roster, slot), data))
    for slot in find_unsigned(signed):
        raise _not_agreed(slot)


def _not_agreed(slot: int) -> SignatureError:
    return SignatureError(
        f"The holder in slot {slot} did not agree to its seat.",
        reason="authenticity.delegation",
        remedy="Have the meter point's agent sign for this roster and slot.",
    )


def _not_seated(why: str) -> UnknownMeterError:
    return UnknownMeterError(
        why,
        reason="authenticity.seats",
        remedy="Fetch the registrations anew and build the roster from them.",
    )
