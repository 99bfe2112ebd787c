"""The vault at work: what its program starts once it is confined."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import datetime

from gridsecure.crypto.sm2 import cross_check
from gridsecure.garbage import settle_objects
from gridsecure.key_authority.vault.ceremony import finish
from gridsecure.key_authority.vault.decryption import Vault
from gridsecure.key_authority.vault.gate import ReleaseGate
from gridsecure.key_authority.vault.held_policies import VaultPolicies
from gridsecure.key_authority.vault.key_lock import KeyLock
from gridsecure.key_authority.vault.service import hold_folder, keep_memory_private, listen, serve
from gridsecure.zone_keys import make_zone_folder
from gridsecure_api.approver_settings import check_approvers, read_approvers, read_proved_by
from gridsecure_api.own_build import open_build
from gridsecure_api.settings import VaultSettings, public_key
from gridsecure_api.worker_sandboxes import hold_sandbox


def serve_vault(settings: VaultSettings, *, clock: Callable[[], datetime]) -> None:
    """Open the vault and answer the checker until the process ends.

    Raises:
        StorageError: Its folder was not initialised (`vault.uninitialised`) or cannot be used, or
            the socket cannot be made.
        ConflictError: Another vault is already running on this folder.
        InputError: Its settings, or the custodians of its key, fall below the security level
            (`level.below`).
        GridSecureError: The policy may not hold, as `VaultPolicies.open`, or there is nobody to
            approve as it wants.
    """
    keep_memory_private()
    cross_check()
    level = open_build(settings, whose="the vault").level
    hold_sandbox(level, settings.sandbox, whose="the vault")
    with hold_folder(make_zone_folder(settings.folder)):
        finish(settings.folder)
        key_lock = KeyLock(
            settings.folder,
            hours=settings.unlocked_hours,
            clock=clock,
            uptime=time.monotonic,
            level=level,
        )
        approvers = read_approvers(settings.approvers)
        policies = VaultPolicies(key_lock, clock=key_lock.now, level=level)
        gate = ReleaseGate(
            settings.folder,
            policies=policies,
            approvers=approvers,
            clock=key_lock.now,
            agreements_by=read_proved_by(settings),
        )
        check_approvers(approvers, gate.open_policies(settings.policy))
        vault = Vault(
            settings.folder,
            key_lock,
            public_key(settings.checker_public_key),
            public_key(settings.billing_office_public_key),
            gate,
        )
        own = os.geteuid()
        checker = own if settings.checker_uid is None else settings.checker_uid
        with listen(settings.socket, is_shared=checker != own) as door:
            settle_objects()
            serve(vault, door, checker_uid=checker, file_seconds=settings.file_seconds)
