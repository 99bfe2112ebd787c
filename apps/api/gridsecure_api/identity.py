"""The identity service: credentials for those it knows, tokens for those it does not.

It enrols meter points, gateways and analysts over an authenticated channel, and turns what they
later show into pseudonyms, log-ins and query grants, without learning who shows it. It never sees a
reading. Opening a pseudonym takes the utility and the regulator together.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI

from gridsecure.credentials.opening import Opener
from gridsecure.identity.access_tokens import SERVICE_TOKEN_LIFETIME
from gridsecure.identity.office_desk import OfficeDesk
from gridsecure.identity_messages import IdentityKeys
from gridsecure_api import (
    identity_enrolment,
    identity_grants,
    identity_people,
    identity_registration,
    identity_sources,
    identity_warrants,
)
from gridsecure_api.deps import Clock, utc_now
from gridsecure_api.identity_zone import IdentityZone, open_zone, signers
from gridsecure_api.log_pages import LOG, open_log
from gridsecure_api.readiness import database_check, disk_check
from gridsecure_api.serving import ServiceDescription, new_app
from gridsecure_api.settings import IdentitySettings
from gridsecure_api.start import start_app

TEXT: Final = (
    "Knows who is enrolled, and knows pseudonyms, in two databases, and cannot link them: meter "
    "points and gateways show anonymous credentials (keyed-verification, on SM2 with SM3), "
    "analysts grants that belong to nobody. It gives out access tokens signed with SM2 "
    "(SGD_SM3_SM2). It never sees a reading. Opening a pseudonym takes both openers."
)
PASSWORDS: Final = "POST /sign-in: people sign in with a password instead of a key of their own"
LONG_TOKENS: Final = "POST /service-tokens: a meter-data system's token is good for {} minutes"


def _description(zone: IdentityZone, folder: Path) -> ServiceDescription:
    demonstrated = [PASSWORDS] if zone.passwords else []
    if zone.source_lifetime > SERVICE_TOKEN_LIFETIME:
        demonstrated.append(LONG_TOKENS.format(zone.source_lifetime // timedelta(minutes=1)))
    facts: dict[str, Any] = {
        "periods": list(zone.desk.periods),
        "local_demonstration_only": demonstrated,
    }
    return ServiceDescription(
        zone="identity",
        title="GridSecure identity service",
        text=TEXT,
        public_paths=identity_people.PUBLIC_PATHS
        | identity_registration.PUBLIC_PATHS
        | identity_grants.PUBLIC_PATHS,
        body_limits=identity_registration.BODY_LIMITS,
        facts=facts,
        guests={"/": frozenset({"gateway", "analyst"})},
        checks=(
            database_check(zone.enrolments, name="enrolments"),
            database_check(zone.registrations, name="registrations"),
            disk_check(folder),
        ),
        logs={
            f"{LOG}/{name}": open_log(engine, folder, name=name, key=zone.key)
            for name, engine in (
                ("registrations", zone.registrations),
                ("enrolments", zone.enrolments),
            )
        },
    )


def _warrants(settings: IdentitySettings, zone: IdentityZone) -> identity_warrants.WarrantService:
    stated = IdentityKeys.parse(zone.statements[0].body)
    published: dict[Opener, bytes] = {
        "utility": bytes.fromhex(stated.utility),
        "regulator": bytes.fromhex(stated.regulator),
    }
    desk = OfficeDesk(zone.registrations, zone.enrolments, zone.registrar.suite, published)
    return identity_warrants.WarrantService(desk, zone.clock, signers(settings))


def create_identity_app(settings: IdentitySettings, *, clock: Clock = utc_now) -> FastAPI:
    """The identity service.

    Raises:
        GridSecureError: It must not start: engines, folder, keys or settings are not sound.
    """
    zone = open_zone(settings, clock=clock)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        zone.close()

    app = new_app(
        replace(_description(zone, settings.folder), tenant=settings.tenant),
        identity_key=zone.key.public_key,
        max_body_bytes=settings.max_body_bytes,
        clock=clock,
        build=zone.build,
        lifespan=lifespan,
    )
    app.state.zone = zone
    app.state.warrants = _warrants(settings, zone)
    for module in (
        identity_people,
        identity_enrolment,
        identity_sources,
        identity_registration,
        identity_grants,
        identity_warrants,
    ):
        app.include_router(module.router)
    if zone.passwords is not None:
        app.include_router(identity_people.password_router(zone.passwords))
    return app


def main_app() -> FastAPI:
    """The identity service as the environment describes it, for `uvicorn --factory`."""
    return start_app(create_identity_app, IdentitySettings)
