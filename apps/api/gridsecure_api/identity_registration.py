"""Routes of pseudonyms: registering, log-in, and what others are told of them.

Those who have a pseudonym come without any token: a token of theirs has their real name, and must
never be seen beside it. What they send proves itself. None of these routes knows an account.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from gridsecure.credentials.issuer_keys import Context
from gridsecure.credentials.presentations import Domain
from gridsecure.credentials.seats import registration_domains
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import GridSecureError
from gridsecure.identity.registrations.registrar import Outcome, ReceivedPresentation
from gridsecure.identity.registrations.vouching import (
    count_denied,
    vouch_deny_list,
    vouch_registrations,
    vouch_settlement_names,
)
from gridsecure.identity_messages import MAX_BATCH, NO_FACTS, Facts
from gridsecure.messages import MAX_SLOTS, Signed, sign_message
from gridsecure.wire.identity import (
    Challenge,
    Hex32,
    HolderToken,
    RegistrationList,
    RegistrationResult,
    RegistrationResults,
    Statements,
)
from gridsecure_api.deps import require
from gridsecure_api.identity_zone import Body, Zone
from gridsecure_api.lists import KEPT_ANSWERS, answer_page
from gridsecure_api.settings import Period

REGISTRATIONS: Final = "/registrations"
REGISTRATIONS_LIST: Final = "/registrations/list"
PUBLIC_PATHS: Final = frozenset(
    {
        "/identity-keys",
        "/challenges",
        REGISTRATIONS,
        REGISTRATIONS_LIST,
        "/logins",
        "/deny-list",
    }
)

BODY_LIMITS: Final = {REGISTRATIONS: 1 << 20, REGISTRATIONS_LIST: 2 << 20}
"""A batch of presentations, and the names of a roster's slots, in JSON [bytes]."""

Role = Literal["meter-point", "gateway"]
DomainText = Annotated[str, Field(min_length=5, max_length=128)]
Subjects = Annotated[list[Hex32], Field(min_length=1, max_length=MAX_SLOTS)]
Authority = Annotated[TokenClaims, Depends(require("authority"))]

router = APIRouter(tags=["pseudonyms"])


class Presented(Body):
    """One holder's presentation, and the facts that its credential certifies."""

    holder: str = Field(pattern=r"^04[0-9a-f]{128}$")
    presentation: str = Field(pattern=r"^(?:[0-9a-f]{2})+$", max_length=4096)
    facts: Facts = NO_FACTS


class RegistrationsWanted(Body):
    """Presentations that answer one challenge."""

    challenge: Hex32
    role: Role
    period: Period
    carry: Period | None = None
    items: list[Presented] = Field(min_length=1, max_length=MAX_BATCH)


class ListWanted(Body):
    """Which pseudonyms are asked about."""

    domain: DomainText
    role: Role
    subjects: Subjects


class LogIn(Body):
    """A pseudonym logs in."""

    subject: Hex32
    domain: DomainText
    challenge: Hex32
    signature: str = Field(pattern=r"^[0-9a-f]{128}$")


class NamesWanted(Body):
    """Whose settlement pseudonyms."""

    domain: DomainText
    subjects: Subjects


@router.get("/identity-keys")
def read_identity_keys(zone: Zone) -> Statements:
    """What holders pin, stated by the utility and by the regulator. Public."""
    return Statements(statements=list(zone.statements))


@router.post("/challenges")
def give_challenge(zone: Zone) -> Challenge:
    """Give out a challenge. Public."""
    return Challenge(challenge=zone.tokens.challenge(now=zone.clock()).hex())


@router.post(REGISTRATIONS, response_model_exclude_none=True)
def register(wanted: RegistrationsWanted, zone: Zone) -> RegistrationResults:
    """Register pseudonyms, each holder's together or not at all. Public; a body proves itself."""
    shown = [
        ReceivedPresentation(
            bytes.fromhex(item.holder), bytes.fromhex(item.presentation), item.facts
        )
        for item in wanted.items
    ]
    outcomes = zone.registrar.register_all(
        shown,
        context=Context(wanted.role, wanted.period),
        domains=registration_domains(wanted.role, period=wanted.period, carry=wanted.carry),
        challenge=bytes.fromhex(wanted.challenge),
        now=zone.clock(),
    )
    return RegistrationResults(items=[_result(outcome) for outcome in outcomes])


def _result(outcome: Outcome) -> RegistrationResult:
    if isinstance(outcome, GridSecureError):
        return RegistrationResult(reason=outcome.reason)
    return RegistrationResult(subjects=[entry.subject for entry in outcome])


@router.post(REGISTRATIONS_LIST)
def list_registrations(wanted: ListWanted, zone: Zone) -> RegistrationList:
    """Vouch for pseudonyms that may act. Public: who asks already knows their names."""
    said, refused = vouch_registrations(
        zone.registrations,
        wanted.subjects,
        domain=wanted.domain,
        role=wanted.role,
        now=zone.clock(),
    )
    envelope = None if said is None else sign_message(said, key=zone.key)
    return RegistrationList(registrations=envelope, refused=refused)


@router.post("/logins")
def log_in(wanted: LogIn, zone: Zone) -> HolderToken:
    """Give a pseudonym a token for five minutes. Public; signed by its holder's key."""
    given = zone.tokens.log_in(
        wanted.subject,
        domain=Domain.parse(wanted.domain),
        challenge=bytes.fromhex(wanted.challenge),
        signature=bytes.fromhex(wanted.signature),
        now=zone.clock(),
    )
    return HolderToken(token=given.token, expires_at=given.expires_at.isoformat())


@router.get("/deny-list", response_model=Signed, responses=KEPT_ANSWERS)
async def read_deny_list(request: Request, zone: Zone) -> Response:
    """Every pseudonym that was revoked, signed when it was first asked for. Public."""
    return await answer_page(
        request,
        zone.registrations,
        revision=count_denied,
        read=lambda session: (vouch_deny_list(session, now=zone.clock()), None),
        write=lambda said: sign_message(said, key=zone.key).model_dump_json().encode(),
    )


@router.post("/settlement-names", tags=["settlement"])
def read_settlement_names(wanted: NamesWanted, zone: Zone, claims: Authority) -> Signed:
    """Under which pseudonym each one's bill is; for the key authority alone, and noted."""
    said = vouch_settlement_names(
        zone.registrations,
        wanted.subjects,
        domain=wanted.domain,
        actor=claims.subject,
        now=zone.clock(),
    )
    return sign_message(said, key=zone.key)
