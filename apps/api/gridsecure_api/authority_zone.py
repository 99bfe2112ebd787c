"""The key authority's folder opened, the door to its vault, and its clients of other services."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

import httpx

from gridsecure.errors import StorageError
from gridsecure.key_authority.checker.pull import PlatformPull
from gridsecure.key_authority.checker.seating import SettlementClient
from gridsecure.key_authority.checker.tables import SCHEMA
from gridsecure.key_authority.checker.vault_client import VaultClient
from gridsecure.key_authority.checker.zone import AuthorityZone, Settlement
from gridsecure.store.database import open_database
from gridsecure.store.objects import ObjectStore
from gridsecure.store.schema import migrate
from gridsecure.wire.client import service_client
from gridsecure.wire.connections import new_client
from gridsecure.zone_keys import load_signing_key, make_zone_folder
from gridsecure_api.deps import Clock
from gridsecure_api.service_tokens import ServiceAuth, ServiceLoginClient
from gridsecure_api.settings import AuthoritySettings, key_registry

TIMEOUT_S: Final = 120.0


def open_zone(settings: AuthoritySettings, *, settlement: Settlement) -> AuthorityZone:
    """Open the zone's folder. The vault is found at the first order.

    Args:
        settings: What it is told.
        settlement: Where settlement pseudonyms come from.

    Raises:
        StorageError: Keys of a vault lie in the folder (`vault.beside`).
        GridSecureError: The folder or database cannot be used.
    """
    folder = make_zone_folder(settings.folder)
    _refuse_keys_beside(folder)
    engine = open_database(settings.database_url)
    migrate(engine, SCHEMA)
    uid = os.geteuid() if settings.vault_uid is None else settings.vault_uid
    return AuthorityZone(
        engine=engine,
        objects=ObjectStore(settings.objects_folder),
        signing_key=load_signing_key(folder),
        platform=key_registry(settings.platform_public_key),
        identity=key_registry(settings.identity_public_key),
        office=key_registry(settings.billing_office_public_key),
        settlement=settlement,
        vault=VaultClient(settings.vault_socket, uid=uid),
    )


def _refuse_keys_beside(folder: Path) -> None:
    """Refuse a folder of earlier releases, where the vault's keys lay with the checker's."""
    if (folder / "vault").exists():
        raise StorageError(
            "The vault's keys lie in the folder of the checker, which must not hold them.",
            reason="vault.beside",
            remedy="Move its folder `vault` to the vault's own user, and start the vault there "
            "with GRIDSECURE_VAULT_FOLDER and GRIDSECURE_VAULT_KEK_FILE (docs/deployment.md).",
        )


def open_pull(settings: AuthoritySettings, *, login: ServiceLoginClient) -> PlatformPull:
    """A client of the platform, which logs in with the authority's key."""
    auth = ServiceAuth(login, audience="platform")
    return PlatformPull(
        service_client(_connect(settings.platform_url, auth), name="platform", pause=time.sleep)
    )


def open_settlement(settings: AuthoritySettings, *, login: ServiceLoginClient) -> Settlement:
    """A client of the identity authority, which logs in with the authority's key."""
    auth = ServiceAuth(login, audience="identity")
    peer = service_client(_connect(settings.identity_url, auth), name="identity", pause=time.sleep)
    return SettlementClient(peer, identity=key_registry(settings.identity_public_key))


def open_login(settings: AuthoritySettings, *, clock: Clock) -> ServiceLoginClient:
    """How the authority proves itself to others, with its signing key."""
    key = load_signing_key(make_zone_folder(settings.folder))
    return ServiceLoginClient(_connect(settings.identity_url, None), key, clock)


def _connect(url: str, auth: httpx.Auth | None) -> httpx.Client:
    return new_client(base_url=url, auth=auth, timeout=TIMEOUT_S)
