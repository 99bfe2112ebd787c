"""The gateway's zone and the clients of its peers, as the settings describe them.

To the identity service there are two connections: one with the gateway's token, for enrolment, and
one with none, for everything that has a pseudonym in it. To the key authority there is one with
none: a gateway asks it for key sets under its pseudonym. To the platform there is one for each
year whose months are sent, because the pseudonym changes with the year.

Every request to the platform is signed. A token names the key that must sign; a stolen one is of no
use. Each attempt has a counter and a signature of its own, because the platform takes a counter
once, even if its answer was lost. The counter follows the clock, so it rises over restarts.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

import httpx
from sqlalchemy import Engine

from gridsecure.credentials.holder import SEED_BYTES
from gridsecure.credentials.uploads import (
    COUNTER_HEADER,
    HOLDER_HEADER,
    SIGNATURE_HEADER,
    Upload,
    digest_body,
    digest_objects,
    sign_upload,
)
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.errors import InputError, StorageError
from gridsecure.gateway.enrolment import IdentityClient
from gridsecure.gateway.identity_peer import HolderLogin, IdentityPeer
from gridsecure.gateway.key_sets import KeySetClient, OwnKeySets
from gridsecure.gateway.months import Peers
from gridsecure.gateway.tables import SCHEMA
from gridsecure.gateway.upload import OBJECTS, PlatformClient
from gridsecure.gateway.zone import GatewayZone, PinnedKeys
from gridsecure.messages import SupplyTerms
from gridsecure.month_texts import year_text
from gridsecure.policy.signed_policies import load_policy
from gridsecure.store.database import open_database
from gridsecure.store.objects import open_objects
from gridsecure.store.schema import migrate
from gridsecure.whole_files import sweep_drafts
from gridsecure.wire.service_tokens import RENEW_BEFORE, ServiceAuth, ServiceLoginClient
from gridsecure.zone_keys import load_secret, load_signing_key, make_zone_folder
from gridsecure_api.deps import Clock
from gridsecure_api.own_build import OwnBuild
from gridsecure_api.peer_connections import Connect, connecting
from gridsecure_api.settings import GatewaySettings, key_registry, public_key

SEED_FILE: Final = "agents.seed"
"""What all of the gateway's holders follow from; whoever has it is all of them."""


def open_zone(settings: GatewaySettings) -> GatewayZone:
    """Open the gateway's folder; its key and seed are made at first start.

    Raises:
        StorageError: The folder or database cannot be used, or the seed is damaged
            (`keys.damaged`).
        InputError: One key is named for both openers (`identity.openers`).
    """
    if settings.utility_public_key == settings.regulator_public_key:
        raise InputError(
            "The utility and the regulator have the same key.",
            reason="identity.openers",
            remedy="Give each its own key. One key alone must not open anything.",
        )
    folder = make_zone_folder(settings.folder)
    sweep_drafts(folder)
    engine = open_database(settings.database_url, connections=settings.connections)
    migrate(engine, SCHEMA)
    zone = _zone(settings, folder=folder, engine=engine)
    zone.keep_cycle()
    return zone


def _zone(settings: GatewaySettings, *, folder: Path, engine: Engine) -> GatewayZone:
    return GatewayZone(
        engine=engine,
        folder=folder,
        objects=open_objects(settings.objects_url),
        signing_key=load_signing_key(folder),
        authority=key_registry(settings.authority_public_key),
        pinned=PinnedKeys(
            identity=public_key(settings.identity_public_key),
            signers={
                "utility": public_key(settings.utility_public_key),
                "regulator": public_key(settings.regulator_public_key),
            },
        ),
        max_readings=settings.max_readings,
        seed=_seed(settings),
        timezone=settings.timezone,
        cycle_day=settings.cycle_day,
        supply=_supply(settings),
    )


def _supply(settings: GatewaySettings) -> SupplyTerms | None:
    """The terms of the gateway's owner, in each roster from now on.

    Raises:
        GridSecureError: The policy that is named is none, as `load_policy`.
    """
    policy, officers = settings.supply_policy, settings.supply_officers
    if not policy and not officers:
        return None
    return SupplyTerms(
        policy=load_policy(policy).text if policy else "",
        officers=[public_key(point).thumbprint for point in officers],
    )


def open_peers(
    settings: GatewaySettings,
    *,
    zone: GatewayZone,
    build: OwnBuild,
    connect: Connect | None,
    clock: Clock,
) -> Peers:
    """Clients of the other services.

    Args:
        settings: Where they are.
        build: The gateway's own.
        connect: How to connect to them; by default over HTTP.
    """
    connect = connect or connecting(build)
    unnamed = connect(settings.identity_url, None)
    login = ServiceLoginClient(
        connect(settings.identity_url, None),
        zone.signing_key,
        clock,
        *build.shows,
    )
    service = connect(settings.identity_url, ServiceAuth(login, audience="identity"))
    authority = connect(settings.authority_url, None)
    identity = IdentityClient(
        zone,
        IdentityPeer(unnamed, service, pause=time.sleep),
        clock=clock,
        carry=settings.carry,
    )
    key_sets = KeySetClient(authority, pause=time.sleep)

    @cache
    def platform_of(year: str) -> PlatformClient:
        auth = HolderAuth(lambda: identity.log_in(year), clock=clock)
        return PlatformClient(connect(settings.platform_url, auth), pause=time.sleep)

    return Peers(
        identity=identity,
        key_sets=lambda start: OwnKeySets(
            zone, key_sets, identity=identity, start=start, clock=clock
        ),
        platform=lambda start: platform_of(year_text(start)),
    )


def _seed(settings: GatewaySettings) -> bytes:
    seed = load_secret(settings.folder / SEED_FILE, lambda: secrets.token_bytes(SEED_BYTES))
    if len(seed) != SEED_BYTES:
        raise StorageError(
            f"{SEED_FILE} does not hold a seed.",
            reason="keys.damaged",
            remedy="Restore the gateway's folder from its backup.",
        )
    return seed


LogIn = Callable[[], tuple[HolderLogin, Sm2PrivateKey]]
"""Gives a pseudonym's fresh token, and the key that acts with it."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class HolderAuth(httpx.Auth):
    """Attaches a pseudonym's token, a counter and a signature to every attempt. Safe for threads.

    Args:
        log_in: Where tokens come from.
    """

    requires_request_body = True

    def __init__(self, log_in: LogIn, *, clock: Clock) -> None:
        self._log_in = log_in
        self._clock = clock
        self._lock = threading.Lock()
        self._held: tuple[HolderLogin, Sm2PrivateKey] | None = None
        self._counter = 0

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send signed; after a refusal once more, with a new token."""
        self._sign(request)
        answer = yield request
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._sign(request, renew=True)
            yield request

    def _sign(self, request: httpx.Request, *, renew: bool = False) -> None:
        (login, key), counter = self._next(renew=renew)
        path, objects = request.url.path, request.extensions.get(OBJECTS)
        digest = digest_objects(objects) if objects else digest_body(path, request.content)
        upload = Upload(request.method, path, login.token, counter, digest)
        request.headers["Authorization"] = f"Bearer {login.token}"
        request.headers[HOLDER_HEADER] = key.public_key.point.hex()
        request.headers[COUNTER_HEADER] = str(counter)
        request.headers[SIGNATURE_HEADER] = sign_upload(upload, key=key).hex()

    def _next(self, *, renew: bool) -> tuple[tuple[HolderLogin, Sm2PrivateKey], int]:
        with self._lock:
            now = self._clock()
            if renew or self._held is None or self._held[0].expires_at <= now + RENEW_BEFORE:
                self._held = self._log_in()
            self._counter = max(self._counter + 1, (now - _EPOCH) // _MICROSECOND)
            return self._held, self._counter
