"""The states of key sets, kept by the vault and moved by custodians' signatures (NIST SP 800-57).

    active ──► suspended ──► active            suspended: decrypts nothing, may come back
       │           │
       ├───────────┴──► deactivated            decrypts what exists; nothing new is under it
       │                 │       │
       └──► compromised ◄┘       │             decrypts nothing, ever again; also from suspended
                 └───────────────┴──► destroyed   the secret half is overwritten and gone

A key set is *pre-active* from when the vault made it until its notice is published: nobody can
encrypt under it before. A gateway's next key set is made when a custodian's signature ended the
one before it, and not by the checker's word alone. One custodian may stop a key set; it takes as
many as unlock the vault to let a suspended one decrypt again, and to destroy one. What is signed
names the key set, the move and how many moves came before, so no signature moves it twice.

The list of all that were moved is a file beside the key sets, signed by the vault: it takes no
secret key, so a locked vault suspends and destroys as well. The key that signs it lies there in the
open. So the same list lies there once more, sealed under the key-encryption key whenever that is at
hand, with the custodians whose signatures count. Whoever unlocks the vault has the one held against
the other: a list that lacks what was sealed before was put back, and what it has beyond that is
played through once more, by the custodians' signatures (`replay`). If either fails nothing is
decrypted. Moves of custodians who left are under the seal: a splitting seals them all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Final

from pydantic import Field

from gridsecure.crypto.envelope import Kek, open_sealed, seal
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.errors import (
    ConflictError,
    GridSecureError,
    InputError,
    KeyMismatchError,
    NotFoundError,
    StorageError,
)
from gridsecure.key_authority.vault.key_files import (
    SUFFIX,
    KeyPlace,
    destroy_file,
    find_place,
)
from gridsecure.key_authority.vault.key_lock import KeyLock
from gridsecure.key_authority.vault.splitting import NewSplitting, open_custodians
from gridsecure.messages import Message, Signed, open_message, sign_message
from gridsecure.month_texts import read_moment
from gridsecure.vault_messages import (
    Custodian,
    KeyLife,
    KeyLives,
    KeyMove,
    KeyState,
    Splitting,
)
from gridsecure.whole_files import replace_file, sync_folder

ONE: Final = "one"
ENOUGH: Final = "enough"
"""As many custodians as unlock the vault."""

MOVES: Final[Mapping[tuple[KeyState, KeyState], str]] = {
    ("active", "suspended"): ONE,
    ("active", "deactivated"): ONE,
    ("suspended", "deactivated"): ONE,
    ("active", "compromised"): ONE,
    ("suspended", "compromised"): ONE,
    ("deactivated", "compromised"): ONE,
    ("suspended", "active"): ENOUGH,
    ("deactivated", "destroyed"): ENOUGH,
    ("compromised", "destroyed"): ENOUGH,
}
"""What may follow, and how many custodians it takes."""

LIST: Final = "states.json"
SEALED_LIST: Final = "states.sealed"
_PURPOSE: Final = "key-states"
_log = logging.getLogger(__name__)


class SealedStates(Message):
    """The list once more, with those who may add to it.

    Args:
        custodians: Of the splitting; none where an earlier release sealed it.
        needed: How many of them unlock the vault.
    """

    kind: ClassVar[str] = "vault-sealed-states"
    lives: list[KeyLife]
    custodians: list[Custodian] = Field(default_factory=list)
    needed: int = 0


class KeyStates:
    """The states of one vault's key sets.

    Args:
        key_lock: Names the custodians, the folder of key sets, and the key that signs states.
        clock: Tells the time.

    Raises:
        StorageError: The list is not there (`keys.state-missing`), or is not as the vault wrote it
            (`keys.state`).
    """

    def __init__(self, key_lock: KeyLock, *, clock: Callable[[], datetime]) -> None:
        self._own = key_lock
        self._clock = clock
        self._lives = {life.key_id: life for life in _read(self._keys, key=key_lock.key)}
        self._is_proven = False

    @property
    def lives(self) -> list[KeyLife]:
        """Of all key sets that were moved."""
        return list(self._lives.values())

    @property
    def moves(self) -> int:
        """How often custodians moved a key set, of all that the list knows."""
        return sum(len(life.moves) for life in self.lives)

    def prove(self, kek: Kek) -> None:
        """Hold the list against the one that was sealed before, once in a process.

        From then on the process goes by what it has in memory, whatever becomes of the files.

        Raises:
            StorageError: Moves are missing that were sealed, or the sealed list is
                (`keys.state-missing`); or something was added that no custodians signed, or others
                are custodians than before (`keys.state`).
        """
        if self._is_proven:
            return
        try:
            data = (self._keys / SEALED_LIST).read_bytes()
            before = SealedStates.parse(open_sealed(data, kek=kek, purpose=_PURPOSE))
        except (OSError, GridSecureError) as error:
            raise _missing() from error
        splitting = self._own.splitting
        now = _sealed_states(self.lives, splitting)
        if before.custodians and (before.custodians, before.needed) != (now.custodians, now.needed):
            raise _forged()
        earlier = {one.key_id: one for one in before.lives}
        if not all(_keeps(self._lives.get(one.key_id), one) for one in before.lives):
            raise _missing()
        for life in self.lives:
            self._check_added(life, earlier.get(life.key_id))
        self._is_proven = True
        if before != now:  # it was moved while it was locked
            self._seal()

    def _check_added(self, life: KeyLife, before: KeyLife | None) -> None:
        """Refuse what was added without custodians, or to another key set's place."""
        start = before or KeyLife(
            key_id=life.key_id, place=life.place, state="active", since="", moves=[], waiting=[]
        )
        signed = replay(life, start, splitting=self._own.splitting)
        if life.place != start.place or (before is None and not signed):
            raise _forged()
        for gateway in {KeyMove.parse(one.body).gateway for one in signed}:
            found = find_place(self._keys, gateway=gateway, key_id=life.key_id)
            # The file of a key set that was destroyed is gone, and with it what tells its place.
            if not life.place.startswith(f"{gateway}.") or (found and found.stem != life.place):
                raise _forged()

    def read(self, key_id: str, *, place: KeyPlace | None) -> KeyLife:
        """How a key set stands.

        Args:
            place: Where its file is; None where there is none any more.
        """
        stem = "" if place is None else place.stem
        return self._lives.get(key_id) or KeyLife(
            key_id=key_id, place=stem, state="active", since="", moves=[], waiting=[]
        )

    def check(self, key_id: str, *, kek: Kek) -> None:
        """Refuse to decrypt under a key set that is suspended, revoked or destroyed.

        Raises:
            GridSecureError: It is suspended (`keys.suspended`): what was asked can wait.
            KeyMismatchError: It was revoked (`keys.revoked`) or destroyed (`keys.destroyed`).
            StorageError: As `prove`.
        """
        self.prove(kek)
        life = self._lives.get(key_id)
        if life is not None and life.state == "suspended":
            raise GridSecureError(
                "The key set is suspended: nothing under it is decrypted.",
                reason="keys.suspended",
                remedy="Have custodians resume it (`gridsecure keys resume`), or rotate it.",
            )
        if life is not None:
            _check_withdrawn(life)

    def check_place(self, place: KeyPlace) -> None:
        """Refuse to make a key set anew in the place of one that was revoked or destroyed.

        Raises:
            KeyMismatchError: `keys.revoked`, `keys.destroyed`.
        """
        for life in self._lives.values():
            if life.place == place.stem:
                _check_withdrawn(life)

    def check_next(self, place: KeyPlace) -> None:
        """Refuse to make a gateway's next key set while the one before it is in force.

        Raises:
            ConflictError: No custodian rotated or revoked that one (`keys.in-force`).
        """
        before = replace(place, generation=place.generation - 1).stem
        ended = {one.place for one in self.lives if one.state not in {"active", "suspended"}}
        if place.generation > 1 and before not in ended:
            raise ConflictError(
                "The gateway's key set before this one is in force.",
                reason="keys.in-force",
                remedy="Have a custodian rotate or revoke it (`gridsecure keys rotate`, `revoke`).",
            )

    def move(self, envelope: Signed) -> KeyLife:
        """Move a key set by a custodian's signed `KeyMove`, or keep it until another's comes.

        Raises:
            AccessDeniedError: No custodian signed it (`vault.custodian`).
            ConflictError: It may not be moved so (`keys.move`), another move came before
                (`keys.moved`), or this custodian signed it already (`keys.signed`).
            NotFoundError: The gateway has no such key set (`not-found.key-set`).
            InputError: It is to end before now, or at no moment (`keys.until`).
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
        self._check_end(move)
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

    def _check_end(self, move: KeyMove) -> None:
        if not move.until:
            return
        end = read_moment(move.until)
        if move.target != "deactivated" or end is None or end <= self._clock():
            raise InputError(
                "A key set cannot end in the past, or at what is no moment.",
                reason="keys.until",
                remedy="Rotate it with a moment as 2026-12-31T00:00:00+08:00, which leaves the "
                "gateway time for what it has encrypted already.",
            )

    def sweep(self) -> None:
        """Overwrite and remove the files of key sets that were destroyed.

        A vault that was killed in the middle does so at its next start.

        Raises:
            StorageError: The disk refuses.
        """
        try:
            for life in (one for one in self.lives if one.state == "destroyed"):
                path = self._keys / f"{life.place}{SUFFIX}"
                if path.exists():
                    destroy_file(path)
            sync_folder(self._keys)
        except OSError as error:
            raise StorageError(
                "A key file could not be destroyed.",
                remedy="Check the vault's folder, and start the vault again.",
            ) from error

    @property
    def _keys(self) -> Path:
        return self._own.keys_folder

    def _keep(self, life: KeyLife) -> KeyLife:
        lives = {**self._lives, life.key_id: life}
        _write_list(self._keys, list(lives.values()), key=self._own.key)
        self._lives = lives
        if self._own.is_unlocked:
            self._seal()
        return life

    def _seal(self) -> None:
        """Seal the list, unless it was not proven; where that fails, the next time does it."""
        try:
            with self._own.use() as kek:
                self.prove(kek)
                states = _sealed_states(self.lives, self._own.splitting)
                _write_sealed(self._keys, states, kek=kek, at=self._clock())
        except GridSecureError as error:
            _log.warning("the states of key sets were not sealed: %s", error.reason)


def keep_states(keys: Path, lives: Sequence[KeyLife], *, new: NewSplitting) -> None:
    """Keep the states of key sets beside those of a splitting that is not in force yet.

    Raises:
        StorageError: The disk refuses.
    """
    _write_list(keys, lives, key=new.key)
    states = _sealed_states(lives, new.splitting)
    _write_sealed(keys, states, kek=new.kek, at=datetime.fromisoformat(new.splitting.created_at))


def replay(life: KeyLife, before: KeyLife, *, splitting: Splitting) -> list[Signed]:
    """Come from where a key set stood to where it is said to stand, by signatures alone.

    Args:
        before: Its moves are the first ones of `life`; what waited then counts as proven.
        splitting: Names who may move it, and how many it takes.

    Returns:
        What was signed since.

    Raises:
        StorageError: Its custodians did not sign it so (`keys.state`).
    """
    state, count, last = before.state, len(before.moves), before.since
    for number, signed in enumerate(life.moves[count:], start=count):
        target = _said(signed, life.key_id, after=number, splitting=splitting)
        wanted = MOVES.get((state, target))
        if wanted is None or len(signed) < (1 if wanted == ONE else splitting.needed):
            raise _forged()
        state, last = target, life.since
    known = before.waiting if life.moves == before.moves else []
    waits = any(one not in known for one in life.waiting)
    if waits:  # beside the word of a custodian who left, none is added: it is dropped then
        target = _said(life.waiting, life.key_id, after=len(life.moves), splitting=splitting)
        if MOVES.get((state, target)) != ENOUGH or len(life.waiting) >= splitting.needed:
            raise _forged()
    signers = {one.signer for one in life.waiting}
    if (state, last) != (life.state, life.since) or len(signers) != len(life.waiting):
        raise _forged()
    moved = [one for signed in life.moves[count:] for one in signed]
    return [*moved, *life.waiting] if waits else moved


def _said(signed: Sequence[Signed], key_id: str, *, after: int, splitting: Splitting) -> KeyState:
    """What all of these say, each in the name of another custodian.

    Raises:
        StorageError: `keys.state`.
    """
    try:
        said = [open_custodians(one, splitting, expect=KeyMove) for one in signed]
    except GridSecureError as error:
        raise _forged() from error
    targets, signers = {one.target for one in said}, {one.signer for one in signed}
    is_this = all((one.key_id, one.after) == (key_id, after) for one in said)
    ends = all(one.target == "deactivated" and read_moment(one.until) for one in said if one.until)
    if len(targets) != 1 or len(signers) != len(signed) or not (is_this and ends):
        raise _forged()
    return targets.pop()


def _read(keys: Path, *, key: Sm2PrivateKey) -> list[KeyLife]:
    path = keys / LIST
    if not path.exists():
        raise _missing()
    try:
        own = {key.public_key.thumbprint: key.public_key}
        return open_message(Signed.parse(path.read_bytes()), expect=KeyLives, trusted=own).lives
    except (OSError, GridSecureError) as error:
        raise StorageError(
            "The states of key sets cannot be read, or are not as the vault wrote them.",
            reason="keys.state",
            remedy="Restore the vault's folder as a whole from its newest backup.",
        ) from error


def _write_list(keys: Path, lives: Sequence[KeyLife], *, key: Sm2PrivateKey) -> None:
    envelope = sign_message(KeyLives(lives=list(lives)), key=key)
    _write(keys / LIST, envelope.model_dump_json(indent=1).encode())


def _sealed_states(lives: Sequence[KeyLife], splitting: Splitting) -> SealedStates:
    return SealedStates(lives=list(lives), custodians=splitting.custodians, needed=splitting.needed)


def _write_sealed(keys: Path, states: SealedStates, *, kek: Kek, at: datetime) -> None:
    data = states.model_dump_json().encode()
    _write(keys / SEALED_LIST, seal(data, kek=kek, purpose=_PURPOSE, owner="vault", created_at=at))


def _write(path: Path, data: bytes) -> None:
    try:
        replace_file(path, [data])
    except OSError as error:
        raise StorageError(
            "The state of a key set could not be written.",
            remedy="Free space on the vault's disk, then repeat it.",
        ) from error


def _keeps(life: KeyLife | None, before: KeyLife) -> bool:
    """Whether a key set still has every move that it had made before."""
    if life is None:
        return before.state == "active" and not before.moves  # somebody signed one, no more
    return life.moves[: len(before.moves)] == before.moves


def _check_withdrawn(life: KeyLife) -> None:
    if life.state == "compromised":
        raise KeyMismatchError("A key set was revoked.", reason="keys.revoked")
    if life.state == "destroyed":
        raise KeyMismatchError(
            "The key set was destroyed.",
            reason="keys.destroyed",
            remedy="Nothing under it can be decrypted any more.",
        )


def _missing() -> StorageError:
    return StorageError(
        "Moves of key sets are missing that the vault has sealed: an earlier state was put back.",
        reason="keys.state-missing",
        remedy="Nothing is decrypted. Restore the vault's folder as a whole from its newest "
        "backup, and find out who can write there.",
    )


def _forged() -> StorageError:
    return StorageError(
        "The states of key sets are not what their custodians signed: somebody wrote them anew.",
        reason="keys.state",
        remedy="Nothing is decrypted. Restore the vault's folder as a whole from its newest "
        "backup, and find out who can write there.",
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
