"""The vault service: `python -m gridsecure_api.vault`, started apart from the checker.

It makes the key-encryption key at its first start and reads it from a setting of its own. The
checker is never told that setting, and where the two run as different users it could not use it.
It speaks through a Unix-domain socket and has no port.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gridsecure.crypto.sm2 import cross_check
from gridsecure.errors import GridSecureError, StorageError
from gridsecure.key_authority.vault.decryption import Vault
from gridsecure.key_authority.vault.gate import ReleaseGate
from gridsecure.key_authority.vault.service import hold_folder, keep_memory_private, listen, serve
from gridsecure.policy.packs import load_policy
from gridsecure.zone_keys import load_secret, make_zone_folder
from gridsecure_api.approver_settings import read_approvers
from gridsecure_api.own_build import open_build
from gridsecure_api.process_memory import settle_objects
from gridsecure_api.settings import VaultSettings, public_key

KEK_BYTES: Final = 16


def utc_now() -> datetime:
    """The present."""
    return datetime.now(UTC)


def serve_vault(settings: VaultSettings, *, clock: Callable[[], datetime]) -> None:
    """Open the vault and answer the checker until the process ends.

    Raises:
        StorageError: The key-encryption key is lost or cannot be used (`vault.kek`), or the socket
            cannot be made.
        EnvelopeError: Another key-encryption key, or an altered key file.
        ConflictError: Another vault is already running on this folder.
        InputError: There is no such policy, or nobody to approve as it wants.
    """
    keep_memory_private()
    cross_check()
    open_build(settings, whose="the vault")
    policy = load_policy(settings.policy)
    with hold_folder(make_zone_folder(settings.folder)):
        vault = Vault(
            settings.folder,
            _key_encryption_key(settings),
            public_key(settings.checker_public_key),
            public_key(settings.billing_office_public_key),
            ReleaseGate(
                settings.folder,
                policy=policy,
                approvers=read_approvers(settings.approvers, policy=policy),
                clock=clock,
            ),
        )
        own = os.geteuid()
        checker = own if settings.checker_uid is None else settings.checker_uid
        with listen(settings.socket, is_shared=checker != own) as door:
            settle_objects()
            serve(vault, door, checker_uid=checker, file_seconds=settings.file_seconds)


def _key_encryption_key(settings: VaultSettings) -> bytes:
    """The key-encryption key; drawn now if there is none, and nothing is sealed under one yet."""
    path = settings.kek_file
    if not path.exists() and any(settings.folder.glob("*.keys")):
        raise _unusable_kek(path)
    try:
        kek = load_secret(path, lambda: secrets.token_bytes(KEK_BYTES))
    except StorageError as error:
        raise _unusable_kek(path) from error
    if len(kek) != KEK_BYTES:
        raise _unusable_kek(path)
    return kek


def _unusable_kek(path: Path) -> StorageError:
    return StorageError(
        f"The key-encryption key {path.name} is lost, is not {KEK_BYTES} bytes, or other users may "
        "read it.",
        reason="vault.kek",
        remedy="Restore it at the place GRIDSECURE_VAULT_KEK_FILE names, at mode 0600.",
    )


def main(*, clock: Callable[[], datetime] = utc_now) -> None:
    """The vault as the environment describes it."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        serve_vault(VaultSettings(), clock=clock)
    except GridSecureError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
