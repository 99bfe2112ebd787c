"""The key authority's folder opened, its vault started, and its clients of other services."""

from __future__ import annotations

import secrets
import time
from typing import Final

import httpx

from apps.api.deps import Clock
from apps.api.service_tokens import ServiceAuth, ServiceLoginClient
from apps.api.settings import AuthoritySettings, key_registry, public_key
from apps.api.zone_keys import kept_secret, signing_key, zone_folder
from apps.http_clients import new_client
from gridsecure.key_authority.pull import PlatformPull
from gridsecure.key_authority.seating import SettlementClient
from gridsecure.key_authority.vault_process import VaultClient, VaultSettings
from gridsecure.key_authority.zone import AuthorityZone, Settlement
from gridsecure.peer import Peer
from gridsecure.store.database import open_database
from gridsecure.store.objects import ObjectStore
from gridsecure.store.records import create_tables

KEK_BYTES: Final = 16
TIMEOUT_S: Final = 120.0


def open_zone(settings: AuthoritySettings, *, settlement: Settlement) -> AuthorityZone:
    """Open the zone's folder and start its vault.

    Args:
        settings: What it is told.
        settlement: Where settlement pseudonyms come from.

    Raises:
        GridSecureError: The folder, database or vault cannot be used.
    """
    folder = zone_folder(settings.folder)
    vault_folder = zone_folder(folder / "vault")
    kept_secret(vault_folder / "kek", lambda: secrets.token_bytes(KEK_BYTES))
    key = signing_key(folder)
    engine = open_database(settings.database_url)
    create_tables(engine)
    return AuthorityZone(
        engine=engine,
        objects=ObjectStore(settings.objects_folder),
        signing_key=key,
        platform=key_registry(settings.platform_public_key),
        identity=key_registry(settings.identity_public_key),
        office=key_registry(settings.billing_office_public_key),
        settlement=settlement,
        vault=VaultClient(
            VaultSettings(
                folder=vault_folder,
                kek_file=vault_folder / "kek",
                checker=key.public_key.point,
                billing_office=public_key(settings.billing_office_public_key).point,
            )
        ),
    )


def open_pull(settings: AuthoritySettings, *, login: ServiceLoginClient) -> PlatformPull:
    """A client of the platform, which logs in with the authority's key."""
    auth = ServiceAuth(login, audience="platform")
    return PlatformPull(
        Peer(_connect(settings.platform_url, auth), name="platform", pause=time.sleep)
    )


def open_settlement(settings: AuthoritySettings, *, login: ServiceLoginClient) -> Settlement:
    """A client of the identity authority, which logs in with the authority's key."""
    auth = ServiceAuth(login, audience="identity")
    peer = Peer(_connect(settings.identity_url, auth), name="identity", pause=time.sleep)
    return SettlementClient(peer, identity=key_registry(settings.identity_public_key))


def own_login(settings: AuthoritySettings, *, clock: Clock) -> ServiceLoginClient:
    """How the authority proves itself to others, with its signing key."""
    key = signing_key(zone_folder(settings.folder))
    return ServiceLoginClient(_connect(settings.identity_url, None), key, clock)


def _connect(url: str, auth: httpx.Auth | None) -> httpx.Client:
    return new_client(base_url=url, auth=auth, timeout=TIMEOUT_S)
