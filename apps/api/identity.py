"""The identity service: a stub with static pseudonyms and passwords for the local demonstration.

It names meter points, signs people in and lets registered services prove themselves. It never sees
a reading. Whoever holds its pseudonym key can name every meter point in every domain; anonymous
credentials take its place.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from threading import BoundedSemaphore
from typing import Annotated, Final

from fastapi import APIRouter, Depends, FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Engine

from apps.api.deps import Clock, require, utc_now
from apps.api.serving import ServiceDescription, new_app
from apps.api.settings import IdentitySettings, ServiceEntry, UserEntry, public_key
from apps.api.zone_keys import kept_secret, signing_key, zone_folder
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import AuthenticityError, SignatureError
from gridsecure.identity.passwords import (
    FailedAttempts,
    check_record,
    decoy_record,
    password_matches,
)
from gridsecure.identity.pseudonyms import KEY_BYTES, pseudonyms
from gridsecure.identity.service_login import (
    SERVICE_TOKEN_LIFETIME,
    Audience,
    admit_service,
    give_token,
)
from gridsecure.messages import Signed
from gridsecure.store import evidence
from gridsecure.store.database import open_database, write_session
from gridsecure.store.records import create_tables

PSEUDONYM_KEY: Final = "pseudonym.key"
PARALLEL_SIGN_INS: Final = 2
"""Passwords being stretched at once; more would only slow each other down."""

DESCRIPTION: Final = ServiceDescription(
    zone="identity",
    title="GridSecure identity service (stub)",
    text="A stub until anonymous credentials take its place: pseudonyms are static (a keyed digest "
    "of domain and meter point), and people sign in with passwords, for the local demonstration "
    "only. It gives out access tokens signed with SM2 (SGD_SM3_SM2). It never sees a reading.",
    public_paths=frozenset({"/sign-in", "/service-tokens"}),
    facts={"stub": True, "pseudonyms": "static", "sign_in": "password, local demonstration only"},
)


@dataclass(frozen=True, slots=True)
class IdentityZone:
    """What the identity service holds.

    Args:
        engine: Its database.
        key: Signs tokens.
        pseudonym_key: Names meter points [32 bytes].
        users: Who may sign in, by name.
        services: Which services may ask for tokens, by thumbprint.
        service_keys: Their keys.
        decoy: The record that unknown names are checked against.
        person_lifetime: How long a person's token lasts.
        clock: Tells the time.
        failures: Failed attempts by name.
        stretching: Holds back more sign-ins at once than `PARALLEL_SIGN_INS`.
    """

    engine: Engine
    key: Sm2PrivateKey = field(repr=False)
    pseudonym_key: bytes = field(repr=False)
    users: Mapping[str, UserEntry]
    services: Mapping[str, ServiceEntry]
    service_keys: Mapping[str, Sm2PublicKey]
    decoy: str = field(repr=False)
    person_lifetime: timedelta
    clock: Clock
    failures: FailedAttempts
    stretching: BoundedSemaphore


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class SignIn(_Body):
    """A person signs in for one service."""

    user: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=1024, repr=False)
    audience: Audience


class PersonToken(_Body):
    """A person's token."""

    token: str = Field(repr=False)
    expires_at: str
    roles: list[str]


class ServiceToken(_Body):
    """A service's token."""

    token: str = Field(repr=False)
    expires_at: str


class PseudonymsWanted(_Body):
    """The gateway enrols meter points in a domain."""

    domain: str = Field(min_length=1, max_length=256)
    meter_point_ids: list[str] = Field(min_length=1, max_length=65536)


class Pseudonyms(_Body):
    """Pseudonyms in the order of the meter points asked for."""

    pseudonyms: list[str]


def _zone(request: Request) -> IdentityZone:
    zone: IdentityZone = request.app.state.zone
    return zone


Zone = Annotated[IdentityZone, Depends(_zone)]
Gateway = Annotated[TokenClaims, Depends(require("gateway"))]

router = APIRouter()


@router.post("/sign-in", tags=["people"])
def sign_in(wanted: SignIn, zone: Zone) -> PersonToken:
    """Sign in with a password for one service. Public; five failures lock a name for minutes."""
    now = zone.clock()
    zone.failures.claim(wanted.user, now=now)
    user = zone.users.get(wanted.user)
    with zone.stretching:
        matches = password_matches(wanted.password, record=user.password if user else zone.decoy)
    if user is None or not matches:
        if user is not None:
            _note(zone, actor=user.user, action="sign-in.refused", detail={})
        raise AuthenticityError("A sign-in failed.", reason="authenticity.sign-in")
    zone.failures.succeeded(wanted.user)
    given = give_token(
        user.user,
        roles=user.roles,
        audience=wanted.audience,
        key=zone.key,
        valid=(now, now + zone.person_lifetime),
    )
    _note(zone, actor=user.user, action="sign-in.done", detail={"audience": wanted.audience})
    return PersonToken(
        token=given.token, expires_at=given.expires_at.isoformat(), roles=list(user.roles)
    )


@router.post("/service-tokens", tags=["services"])
def give_service_token(envelope: Signed, zone: Zone) -> ServiceToken:
    """Give a registered service a token for five minutes. Public; the body is signed, once."""
    now = zone.clock()
    login = admit_service(envelope, trusted=zone.service_keys, engine=zone.engine, now=now)
    service = zone.services[envelope.signer]
    given = give_token(
        f"{service.role}:{envelope.signer}",
        roles=(service.role,),
        audience=login.audience,
        key=zone.key,
        valid=(now, now + SERVICE_TOKEN_LIFETIME),
    )
    return ServiceToken(token=given.token, expires_at=given.expires_at.isoformat())


@router.post("/pseudonyms", tags=["services"])
def give_pseudonyms(wanted: PseudonymsWanted, zone: Zone, claims: Gateway) -> Pseudonyms:
    """Name meter points in a domain; the evidence log keeps how many, not which."""
    names = pseudonyms(wanted.meter_point_ids, domain=wanted.domain, key=zone.pseudonym_key)
    detail: dict[str, evidence.JSON] = {"domain": wanted.domain, "enrolled": len(set(names))}
    _note(zone, actor=claims.subject, action="pseudonyms.given", detail=detail)
    return Pseudonyms(pseudonyms=names)


def _note(
    zone: IdentityZone, *, actor: str, action: str, detail: Mapping[str, evidence.JSON]
) -> None:
    with write_session(zone.engine) as session:
        evidence.append(session, at=zone.clock(), actor=actor, action=action, detail=detail)


def open_zone(settings: IdentitySettings, *, clock: Clock) -> IdentityZone:
    """Open the zone's folder; keys are made at first start.

    Raises:
        StorageError: The folder or database cannot be used.
        InputError: A password record is weak or malformed (`identity.password-record`).
        SignatureError: A service is registered twice (`authenticity.services`).
    """
    folder = zone_folder(settings.folder)
    for user in settings.users:
        check_record(user.password)
    keys = {public_key(entry.public_key).thumbprint: entry for entry in settings.services}
    if len(keys) != len(settings.services):
        raise SignatureError("A service key is registered twice.", reason="authenticity.services")
    engine = open_database(settings.database_url)
    create_tables(engine)
    return IdentityZone(
        engine=engine,
        key=signing_key(folder),
        pseudonym_key=kept_secret(folder / PSEUDONYM_KEY, lambda: secrets.token_bytes(KEY_BYTES)),
        users={user.user: user for user in settings.users},
        services=keys,
        service_keys={name: public_key(entry.public_key) for name, entry in keys.items()},
        decoy=decoy_record(),
        person_lifetime=timedelta(minutes=settings.person_token_minutes),
        clock=clock,
        failures=FailedAttempts(),
        stretching=BoundedSemaphore(PARALLEL_SIGN_INS),
    )


def create_identity_app(settings: IdentitySettings, *, clock: Clock = utc_now) -> FastAPI:
    """The identity service.

    Args:
        settings: What it is told.
        clock: Tells the time.

    Raises:
        GridSecureError: It must not start: engines, folder or settings are not sound.
    """
    zone = open_zone(settings, clock=clock)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        zone.engine.dispose()

    app = new_app(
        DESCRIPTION,
        identity_key=zone.key.public_key,
        max_body_bytes=settings.max_body_bytes,
        clock=clock,
        lifespan=lifespan,
    )
    app.state.zone = zone
    app.include_router(router)
    return app


def main_app() -> FastAPI:
    """The identity service as the environment describes it, for `uvicorn --factory`."""
    return create_identity_app(IdentitySettings())
