"""The SM2 signatures of anonymised identity that are timed: tokens, uploads, seats.

As in `identity_steps`, every message of a step is another one, by another key.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from apps.cli.bench.identity_steps import DOMAINS, Step
from gridsecure.credentials.access import ISSUER
from gridsecure.credentials.seats import delegation_text, seated_roster
from gridsecure.credentials.uploads import Upload, check_upload, sign_upload
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey, generate_private_key
from gridsecure.crypto.sm3 import sm3_digest, sm3_hex
from gridsecure.crypto.tokens import TokenClaims, issue_token, verify_token
from gridsecure.identity_messages import Registered, Registrations, RosterSeats
from gridsecure.messages import RosterManifest, Signed, roster_name, signed

_NOW: Final = datetime(2026, 3, 1, tzinfo=UTC)
_BILLING: Final = DOMAINS[0].text
_BODY: Final = sm3_digest(b"body")
_Role = Literal["meter-point", "gateway"]


def token_steps(signer: Sm2PrivateKey, *, count: int) -> Iterator[Step]:
    """Signing access tokens, checking them, and checking uploads that are made with them."""
    holders = [generate_private_key() for _ in range(count)]
    claims = [
        TokenClaims(
            subject=_subject(holder),
            roles=("gateway",),
            audience="platform",
            issuer=ISSUER,
            issued_at=_NOW,
            expires_at=_NOW + timedelta(minutes=5),
            token_id=f"{number:032x}",
            holder_thumbprint=holder.public_key.thumbprint,
        )
        for number, holder in enumerate(holders)
    ]

    def issue() -> list[str]:
        return [issue_token(one, key=signer) for one in claims]

    yield Step("token_issue", "access tokens issued", count, issue)
    tokens, public = issue(), signer.public_key

    def check() -> list[TokenClaims]:
        return [
            verify_token(token, key=public, audience="platform", issuer=ISSUER, now=_NOW)
            for token in tokens
        ]

    yield Step("token_check", "access tokens verified", count, check, claims)
    yield _upload_step(holders, claims, tokens)


def _upload_step(
    holders: list[Sm2PrivateKey], claims: list[TokenClaims], tokens: list[str]
) -> Step:
    sent = []
    for holder, said, token in zip(holders, claims, tokens, strict=True):
        upload = Upload("PUT", "/columns/1", token, 1, _BODY)
        sent.append((upload, sign_upload(upload, key=holder), said, holder.public_key.point))

    def check() -> int:
        for upload, signature, said, point in sent:
            # the key comes with the request, so parsing it belongs to the check
            check_upload(upload, signature=signature, claims=said, holder=Sm2PublicKey(point))
        return len(sent)

    return Step("upload_check", "upload signatures checked", len(sent), check, len(sent))


def seat_step(signer: Sm2PrivateKey, *, slots: int) -> Step:
    """Checking that every holder of a roster agreed to its slot, as platform and authority do."""
    gateway, holders = generate_private_key(), [generate_private_key() for _ in range(slots)]
    envelope, seats = _seated(signer, gateway=gateway, holders=holders)
    identity = {signer.public_key.thumbprint: signer.public_key}

    def check() -> tuple[int, str]:
        found = seated_roster(envelope, seats=seats, identity=identity)
        return found.roster.slots, found.gateway.thumbprint

    expected = (slots, gateway.public_key.thumbprint)
    return Step("seat_check", "seats checked", slots, check, expected)


def _seated(
    signer: Sm2PrivateKey, *, gateway: Sm2PrivateKey, holders: list[Sm2PrivateKey]
) -> tuple[Signed, bytes]:
    """A signed roster with the object of its seats."""
    slots = len(holders)
    draft = RosterManifest(
        roster_id="",
        gateway_id=gateway.public_key.thumbprint,
        domain=_BILLING,
        tariff=sm3_hex(b"tariff"),
        pseudonyms=[_subject(holder) for holder in holders],
        zones=["zone"] * slots,
        customer_classes=["household"] * slots,
        household_quota_wh=[0] * slots,
        contracted_va=[0] * slots,
    )
    draft = draft.model_copy(update={"roster_id": roster_name(draft)})
    seats = RosterSeats(
        gateway=_vouched(signer, [gateway], "gateway"),
        holders=_vouched(signer, holders, "meter-point"),
        delegations=[
            holder.sign(delegation_text(draft, slot)).hex() for slot, holder in enumerate(holders)
        ],
    )
    data = seats.model_dump_json().encode()
    return signed(draft.model_copy(update={"seats": sm3_hex(data)}), key=gateway), data


def _vouched(signer: Sm2PrivateKey, holders: list[Sm2PrivateKey], role: _Role) -> Signed:
    entries = [
        Registered(subject=_subject(holder), holder=holder.public_key.point.hex())
        for holder in holders
    ]
    said = Registrations(domain=_BILLING, role=role, issued_at=_NOW.isoformat(), entries=entries)
    return signed(said, key=signer)


def _subject(holder: Sm2PrivateKey) -> str:
    """A name of the right shape; what it is the name of does not change the time."""
    return sm3_hex(holder.public_key.point)
