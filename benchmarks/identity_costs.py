"""What anonymised identity costs the services that check: how many of each a second, on one core.

Every message is made once before anything is timed, and no message is checked twice in a
repetition, so that nothing is remembered from the one before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from benchmarks.credential_parts import ANALYST, METER, CredentialParts
from benchmarks.figures import Figure
from benchmarks.sizes import BenchSizes
from benchmarks.timing import best_of
from gridsecure.credentials.access import ISSUER
from gridsecure.credentials.seats import (
    billing_domain,
    delegation_text,
    settlement_domain,
    verify_seats,
)
from gridsecure.credentials.uploads import Upload, check_upload, sign_upload
from gridsecure.crypto.sm2 import (
    Sm2PrivateKey,
    Sm2PublicKey,
    generate_private_key,
    select_engine,
)
from gridsecure.crypto.sm3 import sm3_digest, sm3_hex
from gridsecure.crypto.tokens import TokenClaims, issue_token, verify_token
from gridsecure.identity.registrations.vouching import ActingRole
from gridsecure.identity_messages import NO_FACTS, Facts, Registered, Registrations, RosterSeats
from gridsecure.messages import RosterManifest, Signed, roster_name, sign_message

_START: Final = "2026-03"
_NOW: Final = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
_QUOTA: Final = 256
_LIMITS: Final = (80.0, 250.0)  # presentations of one domain: must, try for

ResultT = TypeVar("ResultT")


def identity_costs(*, sizes: BenchSizes) -> list[Figure]:
    """Figures of presentations, tokens, uploads, grants and seats.

    Args:
        sizes: How many of each.

    Raises:
        AssertionError: Something that was timed gave a wrong result.
        GridSecureError: A check refused what was made for it.
    """
    parts = CredentialParts.made()
    return [
        *_presentations(parts, sizes),
        *_grants(parts, sizes),
        *_tokens_and_uploads(sizes),
        _seats(sizes),
    ]


def _presentations(parts: CredentialParts, sizes: BenchSizes) -> list[Figure]:
    credential, holder = parts.enrolled(METER), generate_private_key().public_key
    billing, settlement = billing_domain(_START), settlement_domain(_START)
    figures = []
    for name, title, domains, limits in (
        ("presentations", "presentations verified", (billing,), _LIMITS),
        ("registrations", "presentations of two domains verified", (billing, settlement), None),
    ):
        occasions = [
            parts.occasion(holder, *domains, challenge=sm3_digest(bytes([number])))
            for number in range(sizes.identity_messages)
        ]
        sent = [(parts.shown(credential, occasion), occasion) for occasion in occasions]
        rate, shown = _rate(
            lambda sent=sent: [parts.verified(*one) for one in sent],  # type: ignore[misc]
            count=len(sent),
            sizes=sizes,
        )
        if len({one.nyms for one in shown}) != 1 or len(shown[0].nyms) != len(domains):
            raise AssertionError("one holder's presentations show several pseudonyms")
        note = f"{parts.backend} (picked by auto), {len(sent[0][0])} bytes each"
        figures.append(_figure(name, title, rate, note, limits=limits))
    return figures


def _grants(parts: CredentialParts, sizes: BenchSizes) -> list[Figure]:
    member = parts.enrolled(ANALYST)
    asked = [
        parts.question(_QUOTA, digest=sm3_digest(bytes([number])))
        for number in range(sizes.identity_messages)
    ]
    sent = [
        (parts.requested(member, question, nonce=nonce), question)
        for nonce, question in enumerate(asked)
    ]
    rate, tags = _rate(lambda: [parts.granted(*one) for one in sent], count=len(sent), sizes=sizes)
    if len(set(tags)) != len(sent):
        raise AssertionError("two nonces gave one tag")
    note = f"{parts.backend} (picked by auto), {_QUOTA} an epoch, {len(sent[0][0])} bytes each"
    return [_figure("grants", "query grants checked", rate, note)]


def _tokens_and_uploads(sizes: BenchSizes) -> list[Figure]:
    service, holder = generate_private_key(), generate_private_key()
    claims = [_claims(number, holder) for number in range(sizes.identity_messages)]
    issued, tokens = _rate(
        lambda: [issue_token(one, key=service) for one in claims], count=len(claims), sizes=sizes
    )
    verified, said = _rate(
        lambda: [_verified(token, service) for token in tokens], count=len(tokens), sizes=sizes
    )
    if said != claims:
        raise AssertionError("a token says something else than was signed")
    return [
        _figure("tokens_issued", "access tokens issued", issued, f"SM2 signature, {_engine()}"),
        _figure("tokens_verified", "access tokens verified", verified, f"{_engine()}, claims read"),
        _uploads(list(zip(tokens, claims, strict=True)), holder, sizes),
    ]


def _uploads(
    given: list[tuple[str, TokenClaims]], holder: Sm2PrivateKey, sizes: BenchSizes
) -> Figure:
    public, signed = holder.public_key, []
    for number, (token, claims) in enumerate(given, 1):
        digest = sm3_digest(token.encode())
        upload = Upload("PUT", f"/columns/{number}", token, number, digest)
        signed.append((upload, sign_upload(upload, key=holder), claims))

    def check() -> None:
        for upload, signature, claims in signed:
            # The key comes with every upload and is read anew each time.
            key = Sm2PublicKey(public.point)
            check_upload(upload, signature=signature, claims=claims, holder=key)

    rate, _ = _rate(check, count=len(signed), sizes=sizes)
    note = f"{_engine()}, holder key read with each, over token, counter and body digest"
    return _figure("uploads", "upload signatures checked", rate, note)


def _claims(number: int, holder: Sm2PrivateKey) -> TokenClaims:
    return TokenClaims(
        subject=f"{number:064x}",
        roles=("gateway",),
        audience="platform",
        issuer=ISSUER,
        issued_at=_NOW,
        expires_at=_NOW + timedelta(minutes=5),
        token_id=f"{number:032x}",
        holder_thumbprint=holder.public_key.thumbprint,
    )


def _verified(token: str, service: Sm2PrivateKey) -> TokenClaims:
    return verify_token(token, key=service.public_key, audience="platform", issuer=ISSUER, now=_NOW)


def _seats(sizes: BenchSizes) -> Figure:
    slots = seated_slots(sizes.seats, start=_START)
    rate, seated = _rate(
        lambda: verify_seats(slots.envelope, seats=slots.seats, identity=slots.identity),
        count=sizes.seats,
        sizes=sizes,
    )
    if seated.roster.slots != sizes.seats:
        raise AssertionError("a roster came back with other seats")
    note = f"{_engine()}, {sizes.seats} slots: registrations, roster and every holder's signature"
    return _figure("seats", "seats of a roster checked", rate, note)


def _engine() -> str:
    """Who computes signatures, as services pick it."""
    return f"{select_engine('auto').name} (picked by auto)"


def _rate(
    operation: Callable[[], ResultT], *, count: int, sizes: BenchSizes
) -> tuple[float, ResultT]:
    seconds, result = best_of(operation, sizes=sizes, clock=time.process_time)
    return count / seconds, result


def _figure(
    name: str, title: str, rate: float, note: str, *, limits: tuple[float, float] | None = None
) -> Figure:
    must, try_for = limits or (None, None)
    told = f"one core by its own clock, {note}"
    return Figure(name, title, "per second", rate, must, try_for, ">=", told)


_ISSUED_AT = "2026-03-01T08:00:00+00:00"
_FACTS: Final = Facts(zone="futian", customer_class="household", counted=True)


@dataclass(frozen=True, slots=True)
class SeatedSlots:
    """What a gateway sends, and whom the platform believes.

    Args:
        envelope: The roster as signed.
        identity: The identity authority's key by thumbprint.
    """

    envelope: Signed
    seats: bytes
    identity: Mapping[str, Sm2PublicKey]


def seated_slots(count: int, *, start: str) -> SeatedSlots:
    """A roster with every holder's agreement.

    Args:
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
