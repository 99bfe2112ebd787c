"""A vault's key is drawn and split: at first, and again when a custodian leaves.

1. a new key is drawn and split; every key set is sealed anew under it, in a folder of its own,
   where a new signing key of the vault lies as well, and what that one signs anew: the list of
   their states, which is also sealed under the new key, the policies that were taken in, and what
   was counted of budgets; all as the process has them in memory, so that nothing is signed anew
   that somebody put in a file;
2. the file that names the splitting is replaced: from then on the new one is in force;
3. what was sealed under the old key is overwritten and removed, with the old signing key, and so is
   a key file of releases before there were custodians.

Killed before step 2, the vault is as it was; after it, the next start ends step 3. What the file
names is never removed, also where an error came after the file had been replaced: whether the new
splitting is in force is read from the file, and not from the error. The key is a new one each time.
Under the old one, shares of custodians who left open old backups, and nothing that is sealed from
now on; and what an old backup signs as the vault is answered by nobody who has a new share.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from re import fullmatch
from typing import Final

from gridsecure.crypto.envelope import Kek, kek_id
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import ConflictError, GridSecureError, StorageError
from gridsecure.key_authority.vault.held_policies import KeptPolicy, keep_policies
from gridsecure.key_authority.vault.key_files import (
    REVOKED,
    destroy_file,
    list_key_files,
    read_key_file,
    reseal_key_files,
)
from gridsecure.key_authority.vault.key_lock import KeyLock, wipe
from gridsecure.key_authority.vault.key_states import keep_states
from gridsecure.key_authority.vault.spent_budgets import KeptSpending, keep_spent
from gridsecure.key_authority.vault.splitting import (
    KEK_BYTES,
    NewSplitting,
    SplitOrder,
    has_splitting,
    keep_splitting,
    keep_vault_key,
    keys_folder,
    read_splitting,
    sealed_shares,
    split_key,
)
from gridsecure.messages import Signed
from gridsecure.vault_messages import Custodian, KeyLife
from gridsecure.whole_files import sweep_drafts, sync_folder
from gridsecure.zone_keys import make_zone_folder

_KEYS_FOLDER: Final = r"keys-[0-9a-f]{32}"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Initialised:
    """A vault that was given its key.

    Args:
        vault_key: What custodians pin, 130 hexadecimal digits.
        shares: By custodian's name.
        key_sets: How many key sets of an earlier release were taken over.
    """

    vault_key: str
    shares: dict[str, Signed]
    key_sets: int


@dataclass(frozen=True, slots=True)
class Carried:
    """What a vault signs anew when its key is split, as its process knows it.

    Args:
        lives: How its key sets stand.
        policies: Those that it took in.
        spent: What it counted of the month's budgets.
    """

    lives: Sequence[KeyLife]
    policies: Sequence[KeptPolicy] = ()
    spent: KeptSpending | None = None


def init_vault(
    folder: Path,
    custodians: Sequence[Custodian],
    *,
    needed: int,
    created_at: datetime,
    old_kek: Path | None = None,
) -> Initialised:
    """Draw a vault's key and split it, and take over what an earlier release sealed.

    Args:
        folder: Held by the caller.
        old_kek: The key file of such a release; it is overwritten and removed.

    Raises:
        ConflictError: The vault has a key (`vault.initialised`). What an earlier call that was
            killed left of the old key is gone then.
        InputError, InvalidMessageError: As `check_custodians`.
        EnvelopeError: The old key does not open what is sealed; nothing was changed.
        StorageError: There are key sets and no old key (`vault.kek`), or the disk refuses.
    """
    if has_splitting(folder):
        _end_earlier(folder, old_kek)
        raise ConflictError(
            "This vault has a key already.",
            reason="vault.initialised",
            remedy="Split it anew with `gridsecure vault split`, which takes its custodians.",
        )
    old = _old_key(folder, old_kek)
    new = split_key(SplitOrder(custodians, needed, generate_private_key()), created_at=created_at)
    if old is not None:
        named = new.splitting.model_copy(update={"replaced": kek_id(old).hex()})
        new = replace(new, splitting=named)
    try:
        carried = Carried(_revoked_in(folder))
        count = _put_in_force(folder, new, source=folder, old=old, carried=carried)
    finally:
        wipe(new.kek)
    finish(folder, old_kek=old_kek)
    return Initialised(new.splitting.vault_key, sealed_shares(new.splitting), count)


def split_anew(
    lock: KeyLock,
    order: SplitOrder,
    *,
    folder: Path,
    created_at: datetime,
    carried: Carried,
) -> None:
    """Split a new key among custodians that those of the old one agreed to.

    The vault stays open until its time is over. Shares are handed out by `KeyLock.splitting`. Where
    what is old cannot be removed, the next start does it: the new splitting is in force all the
    same.

    Args:
        folder: The vault's own.
        carried: What goes from the old splitting into the new one.

    Raises:
        InputError, InvalidMessageError: As `check_custodians`. The vault is locked.
        StorageError, EnvelopeError: The old splitting stays in force. The vault is locked.
    """
    try:
        new = split_key(order, created_at=created_at)
        with lock.use() as old:
            _put_in_force(folder, new, source=lock.keys_folder, old=old, carried=carried)
            lock.replace(new)
    except BaseException:  # whatever ends it: custodians agreed to split, and not to unlock
        lock.lock()
        raise
    try:
        finish(folder)
    except StorageError as error:
        _log.warning("old keys are left until the next start: %s", type(error.__cause__).__name__)


def finish(folder: Path, *, old_kek: Path | None = None) -> None:
    """Remove what is sealed under a key that is not in force any more.

    Args:
        folder: The vault's own; it was initialised.

    Raises:
        StorageError: The disk refuses, or the key sets of the splitting are not there
            (`vault.splitting`): then nothing is removed.
    """
    # Where somebody restored an older file alone, this raises: what it does not name may be all.
    current = keys_folder(folder, read_splitting(folder))
    try:
        sync_folder(folder)  # what names the new key is on the disk before the old one goes
        sweep_drafts(folder)
        for path in list_key_files(folder):  # of releases before there were custodians
            destroy_file(path)
        for old in folder.glob("keys-*"):
            if old != current and fullmatch(_KEYS_FOLDER, old.name):
                for path in old.iterdir():
                    destroy_file(path)
                shutil.rmtree(old)
        if old_kek is not None and old_kek.exists():
            destroy_file(old_kek)
        sync_folder(folder)
    except OSError as error:
        raise StorageError(
            "What was sealed under the old key could not be removed.",
            remedy="Check the vault's folder, and start the vault again.",
        ) from error


def _end_earlier(folder: Path, old_kek: Path | None) -> None:
    """End what a killed `init_vault` left, and destroy no key but the one that it took over."""
    try:
        key = old_kek.read_bytes() if old_kek is not None and old_kek.exists() else b""
    except OSError as error:
        raise _lost(old_kek) from error
    is_replaced = len(key) == KEK_BYTES and kek_id(key).hex() == read_splitting(folder).replaced
    finish(folder, old_kek=old_kek if is_replaced else None)


def _revoked_in(folder: Path) -> list[KeyLife]:
    """Key sets that a release revoked which had no custodians, as their files' names say it."""
    return [
        KeyLife(
            key_id=read_key_file(path).key_id,
            place=path.stem,
            state="compromised",
            since="",
            moves=[],
            waiting=[],
        )
        for path in list_key_files(folder)
        if path.suffix == REVOKED
    ]


def _put_in_force(
    folder: Path, new: NewSplitting, *, source: Path, old: Kek | None, carried: Carried
) -> int:
    target = keys_folder(make_zone_folder(folder), new.splitting)
    try:
        target.mkdir(mode=0o700)
    except OSError as error:
        raise StorageError(
            "A folder for the vault's key sets cannot be made.",
            remedy=f"Check the vault's folder ({error.strerror}).",
        ) from error
    count = 0
    try:
        keep_vault_key(target, new.key)
        if old is not None:
            count = reseal_key_files(source, target, kek=old, new_kek=new.kek)
        keep_states(target, carried.lives, new=new)
        keep_policies(target, carried.policies, key=new.key)
        if carried.spent is not None:
            keep_spent(target, carried.spent, key=new.key)
        sync_folder(target)
        sync_folder(folder)
        keep_splitting(folder, new.splitting, key=new.key)
    except BaseException as error:  # also an interrupt, which may come after the file was replaced
        named = _named_folder(folder)
        if named not in {None, target}:
            shutil.rmtree(target, ignore_errors=True)
        if named != target or not isinstance(error, Exception):
            wipe(new.kek)
            raise
        # The file was replaced before the error: the new splitting is in force, and `finish` makes
        # that durable before it removes anything.
    return count


def _named_folder(folder: Path) -> Path | None:
    """The key sets that the vault's file names; None where it cannot be read."""
    if not has_splitting(folder):
        return folder
    try:
        return keys_folder(folder, read_splitting(folder))
    except GridSecureError:
        return None


def _old_key(folder: Path, path: Path | None) -> bytes | None:
    """The key of an earlier release; none where nothing is sealed under one."""
    data = None
    try:
        if path is not None and path.exists():
            data = path.read_bytes()
    except OSError as error:
        raise _lost(path) from error
    if data is None:
        if any(list_key_files(folder)):
            raise _lost(path)
        return None
    if len(data) != KEK_BYTES:
        raise _lost(path)
    return data


def _lost(path: Path | None) -> StorageError:
    return StorageError(
        "There are key sets in the folder, and no key-encryption key of 16 bytes that opens them.",
        reason="vault.kek",
        remedy="Name the earlier release's key file with --old-kek"
        + (f"; {path.name} is none." if path else "."),
    )
