"""Routes for those who have names: people, services, and for the demonstration passwords."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from gridsecure.errors import AuthenticityError
from gridsecure.identity.access_tokens import SERVICE_TOKEN_LIFETIME, give_token
from gridsecure.identity.enrolments.passwords import password_matches
from gridsecure.identity.enrolments.signed_logins import admit_login
from gridsecure.identity.enrolments.source_keys import find_source
from gridsecure.identity_messages import Audience, PersonLogin, ServiceLogin
from gridsecure.messages import Signed
from gridsecure.wire.identity import PersonToken, PersonTokens, ServiceToken
from gridsecure_api.identity_zone import Body, IdentityZone, PasswordDoor, Zone
from gridsecure_api.lanes import Lanes, Turn

PUBLIC_PATHS: Final = frozenset({"/person-tokens", "/service-tokens", "/sign-in"})

router = APIRouter()


class SignIn(Body):
    """A person signs in for one service."""

    user: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=1024, repr=False)
    audience: Audience


@router.post("/person-tokens", tags=["people"])
def give_person_tokens(envelope: Signed, zone: Zone) -> PersonTokens:
    """Give a registered person tokens. Public; the body is signed, once."""
    now, people = zone.clock(), zone.desk.people
    trusted = {name: person.key for name, person in people.items()}
    login = admit_login(
        envelope, expect=PersonLogin, trusted=trusted, engine=zone.enrolments, now=now
    )
    person, expires_at = people[envelope.signer], now + zone.person_lifetime
    tokens = {
        audience: give_token(
            person.name,
            roles=person.roles,
            audience=audience,
            key=zone.key,
            valid=(now, expires_at),
            tenant=person.tenant,
        ).token
        for audience in login.audiences
    }
    zone.note(
        actor=person.name,
        action="person-login.done",
        detail={"audiences": sorted(login.audiences)},
    )
    return PersonTokens(
        name=person.name,
        roles=list(person.roles),
        tokens=tokens,
        expires_at=expires_at.isoformat(),
    )


@router.post("/service-tokens", tags=["services"])
def give_service_token(envelope: Signed, zone: Zone) -> ServiceToken:
    """Give a registered service or meter-data system a token. Public; the body is signed, once.

    It lasts five minutes.
    """
    now, service = zone.clock(), zone.desk.services.get(envelope.signer)
    is_service = service is not None
    lifetime = zone.source_lifetime if service is None else SERVICE_TOKEN_LIFETIME
    service = service or find_source(zone.enrolments, envelope.signer)
    trusted = {envelope.signer: service.key}
    login = admit_login(
        envelope, expect=ServiceLogin, trusted=trusted, engine=zone.enrolments, now=now
    )
    if is_service:
        zone.build.check_caller(
            login.statement, level=login.level, whose=f"the service {service.name}"
        )
    given = give_token(
        service.name,
        roles=service.roles,
        audience=login.audience,
        key=zone.key,
        valid=(now, now + lifetime),
        tenant=service.tenant,
    )
    return ServiceToken(token=given.token, expires_at=given.expires_at.isoformat())


def password_router(door: PasswordDoor) -> APIRouter:
    """The route that exists only where users were configured.

    Args:
        door: Who may sign in.
    """
    demonstration = APIRouter(tags=["local demonstration"])

    @demonstration.post("/sign-in")
    async def sign_in(wanted: SignIn, zone: Zone, request: Request) -> PersonToken:
        """Sign in with a password. For the local demonstration only: people have keys.

        Public; after five failures, a name is refused from that address for minutes (429).
        """
        turn: Turn = request.state.turn
        lanes: Lanes = request.state.lanes
        address = request.client.host if request.client else ""
        with door.failures.attempt(wanted.user, address=address, now=zone.clock()):
            await turn.move(lanes.sign_ins)
            return await run_in_threadpool(_signed_in, wanted, zone, door)

    return demonstration


def _signed_in(wanted: SignIn, zone: IdentityZone, door: PasswordDoor) -> PersonToken:
    now = zone.clock()
    user = door.users.get(wanted.user)
    matches = password_matches(wanted.password, record=user.password if user else door.decoy)
    if user is None or not matches:
        if user is not None:
            zone.note(actor=user.user, action="sign-in.refused", detail={})
        raise AuthenticityError("A sign-in failed.", reason="authenticity.sign-in")
    given = give_token(
        user.user,
        roles=user.roles,
        audience=wanted.audience,
        key=zone.key,
        valid=(now, now + zone.person_lifetime),
        tenant=user.tenant,
    )
    zone.note(actor=user.user, action="sign-in.done", detail={"audience": wanted.audience})
    return PersonToken(
        token=given.token, expires_at=given.expires_at.isoformat(), roles=list(user.roles)
    )
