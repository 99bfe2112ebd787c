"""The lock on the vault's key-encryption key: two custodians of three open it for a time.

A vault starts locked and holds nothing that decrypts. What a custodian gives is taken only

1. as the answer to a challenge that this process stated, once and before it expires;
2. signed by a custodian of the splitting in force, in whose name no share was given yet;
3. with the very share that the splitting's file names for that custodian.

When enough are there the key is put together, kept until its time is over or somebody locks, and
then overwritten. Shares are overwritten as soon as they are used, and after `GATHER` at the latest:
a share that waits for another one is half of what it takes.
"""

from __future__ import annotations

import logging
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from threading import RLock
from typing import Final

from gridsecure.crypto.envelope import open_from
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.errors import (
    ConflictError,
    GridSecureError,
    InvalidMessageError,
    StorageError,
)
from gridsecure.key_authority.vault.splitting import (
    NewSplitting,
    SplitOrder,
    check_custodians,
    combine_shares,
    keep_splitting,
    keys_folder,
    open_custodians,
    read_splitting,
    read_vault_key,
    sealed_shares,
    share_digest,
)
from gridsecure.messages import Digest, Signed, sign_message
from gridsecure.policy.levels import Level, find_custody_shortfalls, refuse_shortfalls
from gridsecure.vault_messages import (
    Challenge,
    GivenShare,
    Purpose,
    SplitAgreement,
    VaultCounts,
    VaultStatus,
    answer_purpose,
)

ANSWER_WITHIN: Final = timedelta(minutes=5)
GATHER: Final = timedelta(minutes=30)
LONGEST_HOURS: Final = 168
"""The longest that a vault may stay open [h]."""
MOST_CHALLENGES: Final = 8
"""Of one asker, that wait for their answers."""
MOST_STATED: Final = 256
REMEMBERED: Final = 1024
"""Answered challenges that are known as such; an older one is not known at all."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A share that waits for others: for what, and what else its custodian agreed to."""

    terms: str
    until: datetime
    share: bytearray = field(repr=False)
    agreement: Signed | None


@dataclass(frozen=True, slots=True)
class _Stated:
    """A challenge that waits for its answer."""

    challenge: Challenge
    ephemeral: Sm2PrivateKey = field(repr=False)
    asker: str


def wipe(secret: bytearray) -> None:
    """Overwrite a secret where it lies. Copies that a library made are out of reach."""
    secret[:] = bytes(len(secret))


class KeyLock:
    """The lock of one vault, for as long as its process runs.

    Args:
        folder: The vault's own; it was initialised.
        hours: How long the vault stays open [h].
        clock: Tells the time.
        uptime: Seconds that never run backwards [s]. Whoever sets the clock back keeps no vault
            open by it.
        level: The security level below which no key is split, nor open.

    Raises:
        StorageError: As `read_splitting`.
        InputError: The custodians, or the hours, fall below the level (`level.below`).
    """

    def __init__(
        self,
        folder: Path,
        *,
        hours: float,
        clock: Callable[[], datetime],
        uptime: Callable[[], float],
        level: Level | None = None,
    ) -> None:
        self._folder, self._level, self._hours = folder, level, hours
        self._window = timedelta(hours=hours)
        self._clock, self._uptime = clock, uptime
        self._began = clock() - timedelta(seconds=uptime())
        self.splitting = read_splitting(folder)
        self._hold_to_level(len(self.splitting.custodians), self.splitting.needed)
        self._key = read_vault_key(folder, self.splitting)
        self._next = generate_private_key()  # its secret half is in no file before it is in force
        self._stated: OrderedDict[str, _Stated] = OrderedDict()
        self._answered: deque[str] = deque(maxlen=REMEMBERED)
        self._waiting: dict[int, _Waiting] = {}  # the last one that came last
        self._kek: bytearray | None = None
        self._until: datetime | None = None
        self._forget: Callable[[], None] = lambda: None
        self._lock = RLock()

    def now(self) -> datetime:
        """The time, and no earlier than what it was by any answer before, and has passed since.

        The gate for approvals and the policies go by it too: officers' signatures that are over do
        not count again where somebody sets the clock back.
        """
        passed = timedelta(seconds=self._uptime())
        self._began = max(self._began, self._clock() - passed)
        return self._began + passed

    @property
    def keys_folder(self) -> Path:
        """Where the key sets are that its key opens."""
        return keys_folder(self._folder, self.splitting)

    def when_locked(self, forget: Callable[[], None]) -> None:
        """Have what the key opened forgotten as well, whenever the vault is locked."""
        self._forget = forget

    @contextmanager
    def use(self) -> Iterator[bytearray]:
        """The key-encryption key of an unlocked vault, for as long as the block lasts.

        Whoever locks the vault meanwhile waits: a key that is overwritten while something is sealed
        would seal it under zeros.

        Raises:
            GridSecureError: It is locked (`vault.locked`).
        """
        with self._lock:
            self.lock_in_time()
            if self._kek is None:
                raise GridSecureError(
                    "The vault is locked: it holds no key that decrypts.",
                    reason="vault.locked",
                    remedy=f"Have {self.splitting.needed} custodians unlock it with `gridsecure "
                    "vault unlock`; nothing was released, and the order can be repeated.",
                )
            yield self._kek

    @property
    def is_unlocked(self) -> bool:
        """Whether it holds its key now."""
        with self._lock:
            self.lock_in_time()
            return self._kek is not None

    def status(self, nonce: str = "", *, counts: VaultCounts | None = None) -> Signed:
        """How it stands, signed by the vault, in answer to a question.

        Args:
            counts: What else the vault says of itself.
        """
        with self._lock:
            self.lock_in_time()
            own = self.splitting
            names = [one.name for one in own.custodians]
            given = self._agreed()
            said = VaultStatus(
                state="locked" if self._kek is None else "unlocked",
                splitting=own.splitting,
                needed=own.needed,
                custodians=names,
                given=[names[number - 1] for number in sorted(given)],
                until="" if self._until is None else self._until.isoformat(),
                uncollected=list(sealed_shares(own)),
                vault_key=own.vault_key,
                at=self.now().isoformat(),
                nonce=nonce,
                counts=counts or VaultCounts(),
            )
            return sign_message(said, key=self._key)

    def state_challenge(self, purpose: Purpose, *, asker: str = "") -> Signed:
        """A challenge for one answer, signed by the vault.

        Args:
            asker: Whose it is, as the checker says: who asks for many loses only own ones.
        """
        with self._lock:
            now, ephemeral = self.now(), generate_private_key()
            challenge = Challenge(
                challenge=secrets.token_hex(16),
                purpose=purpose,
                splitting=self.splitting.splitting,
                ephemeral=ephemeral.public_key.point.hex(),
                issued_at=now.isoformat(),
                expires_at=(now + ANSWER_WITHIN).isoformat(),
                next_key=self._next.public_key.point.hex() if purpose == "split" else "",
            )
            own = [name for name, one in self._stated.items() if one.asker == asker]
            if len(own) >= MOST_CHALLENGES:
                del self._stated[own[0]]
            while len(self._stated) >= MOST_STATED:
                self._stated.popitem(last=False)
            self._stated[challenge.challenge] = _Stated(challenge, ephemeral, asker)
            return sign_message(challenge, key=self._key)

    def take_share(self, envelope: Signed) -> SplitOrder | None:
        """Take a custodian's share; with enough of them the vault is unlocked.

        Returns:
            What the custodians agreed to, where enough of them want the key split anew.

        Raises:
            AccessDeniedError: No custodian signed it (`vault.custodian`).
            ConflictError: The challenge was answered before (`vault.replayed`), is over
                (`vault.expired`) or unknown (`vault.challenge`), the share is of another splitting
                (`vault.splitting-old`), or this custodian gave one already (`vault.given`).
            InvalidMessageError: It is not the custodian's share (`vault.share`).
            InputError: The key cannot be split as they want (`vault.custodians`), or not under the
                security level (`level.below`).
            SignatureError: It is not signed as it says.
        """
        with self._lock:
            self.lock_in_time()
            given = open_custodians(envelope, self.splitting, expect=GivenShare)
            challenge, ephemeral = self._challenge_of(given)
            agreement = self._agreement_in(given, signer=envelope.signer)
            number = [one.key.thumbprint for one in self.splitting.custodians].index(
                envelope.signer
            ) + 1
            share = self._open(given, challenge, ephemeral, number=number)
            terms = "" if agreement is None else agreement.model_dump_json()
            self._let_wait(number, _Waiting(terms, self.now() + GATHER, share, given.agreement))
            agreed = self._agreed()
            return None if len(agreed) < self.splitting.needed else self._unlock(agreement, agreed)

    def lock(self) -> None:
        """Forget the key and every share that waits."""
        with self._lock:
            if self._kek is not None:
                wipe(self._kek)
            self._kek, self._until = None, None
            self._forget_shares()
            self._forget()

    def lock_in_time(self) -> None:
        """Lock if the time is over, and forget shares that waited too long."""
        with self._lock:
            now = self.now()
            for number in [one for one, own in self._waiting.items() if now >= own.until]:
                wipe(self._waiting.pop(number).share)
            if self._until is not None and now >= self._until:
                self.lock()

    def replace(self, new: NewSplitting) -> None:
        """Go over to a splitting that is in force now, for the rest of the time."""
        with self._lock:
            if self._kek is not None:
                wipe(self._kek)
            # The key before the splitting: whoever asks for the folder first signs by its key.
            self._kek, self._key = new.kek, new.key
            self.splitting = new.splitting
            self._next = generate_private_key()
            self._stated.clear()

    @property
    def key(self) -> Sm2PrivateKey:
        """The vault's own key, which signs what it says until the next splitting."""
        return self._key

    def _agreement_in(self, given: GivenShare, *, signer: Digest) -> SplitAgreement | None:
        """What a custodian agreed to beside the share, where the key is split anew."""
        if given.purpose != "split" or given.agreement is None:
            if given.purpose == "split" or given.agreement is not None:
                raise _wrong_share()
            return None
        agreement = open_custodians(given.agreement, self.splitting, expect=SplitAgreement)
        check_custodians(agreement.custodians, needed=agreement.needed)
        self._hold_to_level(len(agreement.custodians), agreement.needed)
        keys = (self.splitting.vault_key, self._next.public_key.point.hex())
        if given.agreement.signer != signer or (agreement.vault_key, agreement.next_key) != keys:
            raise _wrong_share()
        return agreement

    def _hold_to_level(self, custodians: int, needed: int) -> None:
        """Refuse a splitting among fewer people than the level wants, or open for longer."""
        level, hours = self._level, self._hours
        if level is not None:
            found = find_custody_shortfalls(
                level, custodians=custodians, needed=needed, hours=hours
            )
            refuse_shortfalls(level, found, whose="the vault")

    def _challenge_of(self, given: GivenShare) -> tuple[Challenge, Sm2PrivateKey]:
        """The challenge that is answered, which is used up by it whatever comes of it."""
        if given.challenge in self._answered:
            raise ConflictError(
                "This challenge was answered before.",
                reason="vault.replayed",
                remedy="Ask for a new one; if you did not answer it, somebody repeats messages.",
            )
        if given.splitting != self.splitting.splitting:
            raise ConflictError(
                "The share is of another splitting of the key than the one in force.",
                reason="vault.splitting-old",
                remedy="Use the newest share file that you were given.",
            )
        if given.challenge not in self._stated:
            raise ConflictError(
                "The vault stated no such challenge, or was started anew since.",
                reason="vault.challenge",
                remedy="Ask for a new challenge.",
            )
        stated = self._stated.pop(given.challenge)
        self._answered.append(given.challenge)
        if self.now() >= datetime.fromisoformat(stated.challenge.expires_at):
            raise ConflictError(
                "The challenge is over.",
                reason="vault.expired",
                remedy="Ask for a new one and answer it within five minutes.",
            )
        return stated.challenge, stated.ephemeral

    def _open(
        self, given: GivenShare, challenge: Challenge, ephemeral: Sm2PrivateKey, *, number: int
    ) -> bytearray:
        if given.number != number or given.purpose != challenge.purpose:
            raise _wrong_share()
        try:
            sealed, purpose = bytes.fromhex(given.sealed), answer_purpose(challenge.challenge)
            share = bytearray(open_from(sealed, private_key=ephemeral, purpose=purpose))
        except (GridSecureError, ValueError) as error:
            raise _wrong_share() from error
        named = self.splitting.shares[number - 1]
        if share_digest(self.splitting.splitting, number, share) != named:
            wipe(share)
            raise _wrong_share()
        return share

    def _let_wait(self, number: int, given: _Waiting) -> None:
        """Keep a share, in place of one that its custodian gave for something else."""
        earlier = self._waiting.get(number)
        if earlier is not None and earlier.terms == given.terms:
            wipe(given.share)
            raise _given_before()
        if earlier is not None:
            wipe(self._waiting.pop(number).share)
        self._waiting[number] = given

    def _agreed(self) -> dict[int, _Waiting]:
        """The shares that wait for the same as the one that came last, by number."""
        terms = next((own.terms for own in reversed(self._waiting.values())), None)
        return {number: own for number, own in self._waiting.items() if own.terms == terms}

    def _unlock(
        self, agreement: SplitAgreement | None, agreed: Mapping[int, _Waiting]
    ) -> SplitOrder | None:
        came = {self.splitting.custodians[number - 1].name for number in agreed}
        said = [own.agreement for own in agreed.values() if own.agreement is not None]
        try:
            shares = {number: own.share for number, own in agreed.items()}
            kek = combine_shares(self.splitting, shares)
        finally:
            self._forget_shares()
        if self._kek is not None:
            wipe(self._kek)
        self._kek, self._until = kek, self.now() + self._window
        if agreement is not None:
            told = (*self.splitting.successions, said)
            return SplitOrder(agreement.custodians, agreement.needed, self._next, told)
        self._hand_out_no_more(came)
        return None

    def _hand_out_no_more(self, came: Set[str]) -> None:
        """Keep no sealed share of custodians who have shown that they have theirs."""
        shares = sealed_shares(self.splitting)
        if came & set(shares):
            left = [one for name, one in shares.items() if name not in came]
            told = self.splitting.model_copy(update={"sealed": left})
            try:
                keep_splitting(self._folder, told, key=self._key)
            except StorageError as error:  # unlocked all the same; the next time does it
                _log.warning("shares are still handed out: %s", type(error.__cause__).__name__)
            else:
                self.splitting = told

    def _forget_shares(self) -> None:
        for own in self._waiting.values():
            wipe(own.share)
        self._waiting.clear()


def _given_before() -> ConflictError:
    return ConflictError(
        "This custodian gave a share already; another custodian's is needed.",
        reason="vault.given",
        remedy="Have another custodian unlock the vault.",
    )


def _wrong_share() -> InvalidMessageError:
    return InvalidMessageError(
        "This is not the custodian's share, or it was given for something else.",
        reason="vault.share",
        remedy="Use the share file that the vault made for you.",
    )
