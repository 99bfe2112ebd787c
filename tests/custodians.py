"""Three custodians of a vault's key in tests, and how two of them unlock it.

The key that they split is always the same one, so that the session's key sets can be sealed under
it at once.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Protocol

from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.key_authority.vault.key_lock import KeyLock
from gridsecure.key_authority.vault.key_states import keep_states
from gridsecure.key_authority.vault.splitting import (
    SplitOrder,
    has_splitting,
    keep_splitting,
    keep_vault_key,
    keys_folder,
    read_splitting,
    sealed_shares,
    split_key,
)
from gridsecure.messages import Signed, sign_message
from gridsecure.offices.custodians import answer_challenge, open_share
from gridsecure.vault_messages import Custodian, KeyMove, KeyState, SecretShare
from tests.grid_simulator import NOW

KEK = bytes(range(16))
NAMES = ("anna", "bert", "cleo")


@cache
def custodian_key(name: str) -> Sm2PrivateKey:
    return generate_private_key()


def custodian(name: str) -> Custodian:
    return Custodian(name=name, public_key=custodian_key(name).public_key.point.hex())


def init_with_kek(folder: Path, *, kek: bytes = KEK) -> None:
    """Initialise a vault's folder with a key that the test knows."""
    order = SplitOrder([custodian(name) for name in NAMES], 2, generate_private_key())
    new = split_key(order, created_at=NOW, kek=kek)
    keys_folder(folder, new.splitting).mkdir(mode=0o700, parents=True)
    keep_vault_key(keys_folder(folder, new.splitting), new.key)
    keep_states(keys_folder(folder, new.splitting), [], new=new)
    keep_splitting(folder, new.splitting, key=new.key)


def signed_move(
    target: KeyState, *, key_set: tuple[str, str], after: int = 0, by: str = "anna", until: str = ""
) -> Signed:
    """A custodian's wish about a key set, named by its gateway and its id."""
    gateway, key_id = key_set
    said = KeyMove(
        key_id=key_id,
        gateway=gateway,
        target=target,
        after=after,
        signed_at=NOW.isoformat(),
        until=until,
    )
    return sign_message(said, key=custodian_key(by))


def keys_of(folder: Path) -> Path:
    """Where a vault's key sets are."""
    return keys_folder(folder, read_splitting(folder))


_SHARES: dict[tuple[str, str], SecretShare] = {}


def own_share(folder: Path, name: str) -> SecretShare:
    """A custodian's share, as it was when the vault was made."""
    splitting = read_splitting(folder)
    for owner, sealed in sealed_shares(splitting).items():
        if (splitting.splitting, owner) not in _SHARES:
            _SHARES[splitting.splitting, owner] = open_share(sealed, key=custodian_key(owner))
    return _SHARES[splitting.splitting, name]


class Door(Protocol):
    """A vault, or the checker's way to one."""

    def state_challenge(self, purpose: str, /) -> Signed: ...

    def give_share(self, envelope: Signed, /) -> Signed: ...


def give_shares(door: Door, folder: Path, *, names: tuple[str, ...] = NAMES[:2]) -> None:
    """Unlock a vault as these custodians."""
    for name in names:
        stated = door.state_challenge("unlock")
        own = own_share(folder, name)
        door.give_share(answer_challenge(stated, own, key=custodian_key(name), now=NOW))


def unlocked(folder: Path) -> KeyLock:
    """The lock of a vault in this folder, new unless it is there, as two custodians opened it."""
    if not has_splitting(folder):
        init_with_kek(folder)
    lock = KeyLock(folder, hours=12, clock=lambda: NOW, uptime=lambda: 0.0)
    unlock(lock, folder)
    return lock


def unlock(lock: KeyLock, folder: Path) -> None:
    """As two custodians."""
    for name in NAMES[:2]:
        stated = lock.state_challenge("unlock")
        own = own_share(folder, name)
        lock.take_share(answer_challenge(stated, own, key=custodian_key(name), now=NOW))
