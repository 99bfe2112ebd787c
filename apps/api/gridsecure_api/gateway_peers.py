"""The gateway's zone and the clients of its peers, as the settings describe them.

To the identity service there are two connections: one with the gateway's token, for enrolment, and
one with none, for everything that has a pseudonym in it. To the key authority there is one with
none: a gateway asks it for key sets under its pseudonym. To the platform there is one for each
year whose months are sent, because the pseudonym changes with the year.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from functools import cache
from typing import Final

import httpx

from gridsecure.credentials.holder import SEED_BYTES
from gridsecure.errors import InputError, StorageError
from gridsecure.gateway.enrolment import IdentityClient
from gridsecure.gateway.identity_peer import IdentityPeer
from gridsecure.gateway.key_sets import KeySetClient, OwnKeySets
from gridsecure.gateway.months import Peers
from gridsecure.gateway.tables import SCHEMA
from gridsecure.gateway.upload import PlatformClient
from gridsecure.gateway.zone import GatewayZone, PinnedKeys
from gridsecure.store.database import open_database
from gridsecure.store.objects import ObjectStore
from gridsecure.store.schema import migrate
from gridsecure.whole_files import sweep_drafts
from gridsecure.wire.connections import new_client
from gridsecure.zone_keys import load_secret, load_signing_key, make_zone_folder
from gridsecure_api.deps import Clock
from gridsecure_api.holder_auth import HolderAuth
from gridsecure_api.service_tokens import ServiceAuth, ServiceLoginClient
from gridsecure_api.settings import GatewaySettings, key_registry, public_key

SEED_FILE: Final = "agents.seed"
"""What all of the gateway's holders follow from; whoever has it is all of them."""
TIMEOUT_S: Final = 120.0
"""How long a peer may take for one answer [s]."""

Connect = Callable[[str, httpx.Auth | None], httpx.Client]
"""Makes a client for a base URL with an authentication."""


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
    engine = open_database(settings.database_url)
    migrate(engine, SCHEMA)
    return GatewayZone(
        engine=engine,
        folder=folder,
        objects=ObjectStore(settings.objects_folder),
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
    )


def connect_over_http(url: str, auth: httpx.Auth | None) -> httpx.Client:
    """A client of a peer's address; redirects are never followed."""
    return new_client(base_url=url, auth=auth, timeout=TIMEOUT_S)


def open_peers(
    settings: GatewaySettings, *, zone: GatewayZone, connect: Connect, clock: Clock
) -> Peers:
    """Clients of the other services.

    Args:
        settings: Where they are.
        zone: The gateway.
        connect: Makes clients.
        clock: Tells the time.
    """
    unnamed = connect(settings.identity_url, None)
    login = ServiceLoginClient(connect(settings.identity_url, None), zone.signing_key, clock)
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
        platform=lambda start: platform_of(start[:4]),
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
