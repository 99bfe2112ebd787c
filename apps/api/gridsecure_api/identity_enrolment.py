"""Routes of enrolment: sessions, orders, the books, and accounts' keys for the billing office.

All of them need a token, and none of them knows a pseudonym.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from pydantic import Field

from gridsecure.crypto.tokens import TokenClaims
from gridsecure.identity.enrolments.accounts import Account
from gridsecure.identity.enrolments.books import find_days, write_books, write_owners
from gridsecure.identity.enrolments.enrolled_keys import keys_of
from gridsecure.identity.enrolments.orders import SESSIONS
from gridsecure.identity_messages import FactText
from gridsecure.wire.identity import AccountDays, Books, GatewayBooks, Keys, Session
from gridsecure_api.deps import RawBody, require
from gridsecure_api.identity_zone import Body, Zone
from gridsecure_api.serving import binary

MAX_ACCOUNTS: Final = 16_384
ENVELOPE: Final = "application/vnd.gridsecure.envelope"
"""Content type of a sealed envelope."""

_SEALED: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {ENVELOPE: {"schema": {"type": "string", "format": "binary"}}},
    }
}

Enroller = Annotated[TokenClaims, Depends(require("gateway", "analyst"))]
Gateway = Annotated[TokenClaims, Depends(require("gateway"))]
Operator = Annotated[TokenClaims, Depends(require("operator"))]
Billing = Annotated[TokenClaims, Depends(require("billing"))]
AccountId = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^/]+$")]
"""A meter point. Without a slash, so that it never has the name of a gateway or a person."""

router = APIRouter(tags=["enrolment"])


class AccountEntry(Body):
    """One account of the books."""

    meter_point_id: AccountId
    gateway: str = Field(pattern=r"^[0-9a-f]{64}$")
    name: str = Field(max_length=256, repr=False)
    address: str = Field(max_length=1024, repr=False)
    customer_id: str = Field(min_length=1, max_length=256, repr=False)
    zone: FactText
    customer_class: FactText
    valid_from: str = Field(default="", max_length=10)
    valid_to: str = Field(default="", max_length=10)


class GatewayEntry(Body):
    """Who runs a gateway: gateways of one owner count as one."""

    gateway: str = Field(pattern=r"^[0-9a-f]{64}$")
    owner: str = Field(max_length=256)


class AccountsAsked(Body):
    """Whose keys or days."""

    identities: list[AccountId] = Field(min_length=1, max_length=MAX_ACCOUNTS)


@router.post("/enrolments/sessions")
def open_session(zone: Zone, claims: Enroller) -> Session:
    """Give out a session, good for ten minutes and one order of this token's bearer."""
    given = SESSIONS.give(zone.enrolments, now=zone.clock(), owner=claims.subject)
    return Session(session=given.hex())


@router.post(
    "/enrolments",
    response_class=Response,
    responses={200: binary(ENVELOPE)},
    openapi_extra=_SEALED,
)
def enrol(body: RawBody, zone: Zone, claims: Enroller) -> Response:
    """Carry out a sealed, signed order; the answer is sealed to its sender and signed."""
    answer = zone.desk.answer(body, bearer=claims.subject, now=zone.clock())
    return Response(answer, media_type=ENVELOPE)


@router.put("/books")
def put_books(
    accounts: Annotated[list[AccountEntry], Field(min_length=1, max_length=MAX_ACCOUNTS)],
    zone: Zone,
    claims: Operator,
) -> Books:
    """Write accounts, each in place of an earlier one of its name.

    No day of a meter point is two gateways': an id before a `~` and names with more after it are
    one meter point.
    """
    entries = [Account(**entry.model_dump()) for entry in accounts]
    write_books(zone.enrolments, entries, actor=claims.subject, now=zone.clock())
    return Books(accounts=len(entries))


@router.put("/books/gateways")
def put_gateways(
    gateways: Annotated[list[GatewayEntry], Field(min_length=1, max_length=MAX_ACCOUNTS)],
    zone: Zone,
    claims: Operator,
) -> GatewayBooks:
    """Write who runs gateways; one that is not named, or whose owner is empty, runs itself."""
    owners = {entry.gateway: entry.owner for entry in gateways}
    write_owners(zone.enrolments, owners, actor=claims.subject, now=zone.clock())
    return GatewayBooks(gateways=len(owners))


@router.post("/accounts/keys")
def read_keys(wanted: AccountsAsked, zone: Zone, claims: Billing) -> Keys:
    """Enrolled keys of accounts, for checking whose a settlement pseudonym is."""
    found = keys_of(zone.enrolments, wanted.identities)
    detail = {"asked": len(wanted.identities), "found": len(found)}
    zone.note(actor=claims.subject, action="identity.keys-read", detail=detail)
    return Keys(keys=found)


@router.post("/accounts/days")
def read_days(wanted: AccountsAsked, zone: Zone, claims: Gateway) -> AccountDays:
    """On which days accounts are the asking gateway's; those that are not are left out."""
    gateway = claims.subject.removeprefix("gateway:")
    return AccountDays(days=find_days(zone.enrolments, wanted.identities, gateway=gateway))
