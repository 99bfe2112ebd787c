"""The states of key sets, kept by the vault and moved by custodians' signatures (NIST SP 800-57).

    active ──► suspended ──► active            suspended: decrypts nothing, may come back
       │           │
       ├───────────┴──► deactivated            decrypts what exists; nothing new is under it
       │                     │
       └──► compromised      │                 `keys revoke`: decrypts nothing, ever again
                 └───────────┴──► destroyed    the secret half is overwritten and gone

A key set is *pre-active* from when the vault made it until its notice is published: nobody can
encrypt under it before. One custodian may stop a key set; it takes as many as unlock the vault to
let a suspended one decrypt again, and to destroy one. What is signed names the key set, the move
and how many moves came before, so no signature moves it twice.

A state is a file beside the key sets, signed by the vault; without one a key set is active. It
takes no secret key: a locked vault suspends and destroys as well. When the key is split anew, and
the vault signs by another key, states are signed anew with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from re import fullmatch
from typing import Final

from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.errors import (
    ConflictError,
    GridSecureError,
    KeyMismatchError,
    NotFoundError,
    StorageError,
)
from gridsecure.key_authority.vault.key_files import (
    REVOKED,
    SUFFIX,
    KeyPlace,
    destroy_file,
    find_place,
    key_path,
)
from gridsecure.key_authority.vault.key_lock import KeyLock
from gridsecure.key_authority.vault.splitting import open_custodians
from gridsecure.messages import Signed, open_message, sign_message
from gridsecure.vault_messages import KeyLife, KeyMove, KeyState
from gridsecure.whole_files import replace_file, sync_folder

ONE: Final = "one"
ENOUGH: Final = "enough"
"""As many custodians as unlock the vault."""

MOVES: Final[Mapping[tuple[KeyState, KeyState], str]] = {
    ("active", "suspended"): ONE,
    ("active", "deactivated"): ONE,
    ("suspended", "deactivated"): ONE,
    ("suspended", "active"): ENOUGH,
    ("deactivated", "destroyed"): ENOUGH,
    ("compromised", "destroyed"): ENOUGH,
}
"""What may follow, and how many custodians it takes."""

_KEY_ID: Final = r"[0-9a-f]{32}"
_SUFFIX: Final = ".state"


class KeyStates:
    """The states of one vault's key sets.

    Args:
        key_lock: Names the custodians, the folder of key sets, and the key that signs states.
        clock: Tells the time.
    """

    def __init__(self, key_lock: KeyLock, *, clock: Callable[[], datetime]) -> None:
        self._own = key_lock
        self._clock = clock

    def read(self, key_id: str, *, place: KeyPlace | None) -> KeyLife:
        """How a key set stands.

        Args:
            place: Where its file is; None where there is none any more.

        Raises:
            StorageError: Its state cannot be read, or is not as the vault wrote it (`keys.state`).
        """
        stem = "" if place is None else place.stem
        life = self._kept(key_id) or KeyLife(
            key_id=key_id, place=stem, state="active", since="", moves=[], waiting=[]
        )
        if place is not None and key_path(self._keys, place, REVOKED).exists():
            return life.model_copy(update={"state": "compromised"})
        return life

    def check(self, key_id: str) -> None:
        """Refuse to decrypt under a key set that is suspended or destroyed.

        Raises:
            GridSecureError: It is suspended (`keys.suspended`): what was asked can wait.
            KeyMismatchError: It was destroyed (`keys.destroyed`).
            StorageError: As `read`.
        """
        life = self._kept(key_id)
        if life is None:
            return
        if life.state == "suspended":
            raise GridSecureError(
                "The key set is suspended: nothing under it is decrypted.",
                reason="keys.suspended",
                remedy="Have custodians resume it (`gridsecure keys resume`), or deactivate it.",
            )
        if life.state == "destroyed":
            raise _destroyed()

    def check_place(self, place: KeyPlace) -> None:
        """Refuse to make a key set anew in the place of one that was destroyed.

        Raises:
            KeyMismatchError: `keys.destroyed`.
        """
        if place.stem in {life.place for life in self._destroyed_sets()}:
            raise _destroyed()

    def move(self, envelope: Signed) -> KeyLife:
        """Move a key set by a custodian's signed `KeyMove`, or keep it until another's comes.

        Raises:
            AccessDeniedError: No custodian signed it (`vault.custodian`).
            ConflictError: It may not be moved so (`keys.move`), another move came before
                (`keys.moved`), or this custodian signed it already (`keys.signed`).
            NotFoundError: The gateway has no such key set (`not-found.key-set`).
            StorageError: The disk refuses; nothing has moved.
        """
        splitting = self._own.splitting
        move = open_custodians(envelope, splitting, expect=KeyMove)
        trusted = {one.key.thumbprint for one in splitting.custodians}
        place = find_place(self._keys, gateway=move.gateway, key_id=move.key_id)
        life = self.read(move.key_id, place=place)
        if place is None and life.state != "destroyed":
            raise NotFoundError("The vault holds no such key set.", reason="not-found.key-set")
        count = MOVES.get((life.state, move.target))
        if count is None:
            raise _no_move(life, move)
        if move.after != len(life.moves):
            raise _moved()
        # A word for another move counts no more: one at a time is agreed to.
        waiting = [one for one in life.waiting if KeyMove.parse(one.body).target == move.target]
        if envelope.signer in {one.signer for one in waiting}:
            raise _signed_before()
        waiting = [one for one in waiting if one.signer in trusted] + [envelope]
        if len(waiting) < (1 if count == ONE else splitting.needed):
            return self._keep(life.model_copy(update={"waiting": waiting}))
        moved = KeyLife(
            key_id=move.key_id,
            place=life.place,
            state=move.target,
            since=self._clock().isoformat(),
            moves=[*life.moves, waiting],
            waiting=[],
        )
        self._keep(moved)  # from here on it is destroyed, whatever becomes of this process
        if move.target == "destroyed":
            self.sweep()
        return moved

    def sweep(self) -> None:
        """Overwrite and remove the files of key sets that were destroyed.

        A vault that was killed in the middle does so at its next start.

        Raises:
            StorageError: The disk refuses, or as `read`.
        """
        try:
            for life in self._destroyed_sets():
                for suffix in (SUFFIX, REVOKED):
                    path = self._keys / f"{life.place}{suffix}"
                    if path.exists():
                        destroy_file(path)
            sync_folder(self._keys)
        except OSError as error:
            raise StorageError(
                "A key file could not be destroyed.",
                remedy="Check the vault's folder, and start the vault again.",
            ) from error

    def _destroyed_sets(self) -> list[KeyLife]:
        kept = (self._kept(path.stem) for path in _files_in(self._keys))
        return [life for life in kept if life is not None and life.state == "destroyed"]

    @property
    def _keys(self) -> Path:
        return self._own.keys_folder

    def _kept(self, key_id: str) -> KeyLife | None:
        path = self._keys / f"{key_id}{_SUFFIX}"
        if not fullmatch(_KEY_ID, key_id) or not path.exists():
            return None
        try:
            own = {self._own.key.public_key.thumbprint: self._own.key.public_key}
            envelope = Signed.parse(path.read_bytes())
            life = open_message(envelope, expect=KeyLife, trusted=own)
            if life.key_id != key_id:
                raise _moved()
        except (OSError, GridSecureError) as error:
            raise _unreadable() from error
        return life

    def _keep(self, life: KeyLife) -> KeyLife:
        _write(self._keys, life, key=self._own.key)
        return life


def sign_states_anew(source: Path, target: Path, *, key: Sm2PrivateKey) -> None:
    """Keep the states of one folder's key sets in another one, as a vault with another key.

    Raises:
        StorageError: The disk refuses, or one of them cannot be read.
    """
    for path in _files_in(source):
        try:
            life = KeyLife.parse(Signed.parse(path.read_bytes()).body)
        except (OSError, GridSecureError) as error:
            raise _unreadable() from error
        _write(target, life, key=key)


def _files_in(keys: Path) -> list[Path]:
    return sorted(keys.glob(f"*{_SUFFIX}"))


def _write(keys: Path, life: KeyLife, *, key: Sm2PrivateKey) -> None:
    text = sign_message(life, key=key).model_dump_json(indent=1)
    try:
        replace_file(keys / f"{life.key_id}{_SUFFIX}", [text.encode()])
    except OSError as error:
        raise StorageError(
            "The state of a key set could not be written.",
            remedy="Free space on the vault's disk, then repeat it.",
        ) from error


def _unreadable() -> StorageError:
    return StorageError(
        "The state of a key set cannot be read, or is not as the vault wrote it.",
        reason="keys.state",
        remedy="Restore the vault's folder from its backup.",
    )


def _no_move(life: KeyLife, move: KeyMove) -> ConflictError:
    may = sorted(target for source, target in MOVES if source == life.state)
    return ConflictError(
        f"The key set is {life.state} and cannot become {move.target}.",
        reason="keys.move",
        remedy=f"It may become: {', '.join(may) or 'nothing else any more'}.",
    )


def _moved() -> ConflictError:
    return ConflictError(
        "The key set was moved since this was signed.",
        reason="keys.moved",
        remedy="Look at its state, and sign again if it is still wanted.",
    )


def _signed_before() -> ConflictError:
    return ConflictError(
        "This custodian signed it already; another custodian's signature is needed.",
        reason="keys.signed",
        remedy="Have another custodian sign the same.",
    )


def _destroyed() -> KeyMismatchError:
    return KeyMismatchError(
        "The key set was destroyed.",
        reason="keys.destroyed",
        remedy="Nothing under it can be decrypted any more.",
    )
