"""The release policies that the vault took in: one file, signed by the vault, beside its keys.

It lies in the folder of key sets. When the key is split anew and the vault signs by another key, it
is written from memory into the next one, whatever somebody made of the file (`keep_policies`).

The vault takes a policy in by the officers' signatures under keys of its own settings, whoever
carries it, and compares it with what it took in before (`policy.succession`). Its settings name a
policy for the first start alone. Started with another one later, it takes that in like one that is
carried to it, or does not start. What ships is the same by its name: a release that words it anew
stops no vault that holds to something stricter by now.

    taken in ──► waiting ──► begun        on its day; from then on for good

The newest that has begun is in force. A clock that is set back brings none back that it replaced.

Without the file the vault takes in nothing that is looser than `uniform-15` unless officers signed
it lately, if it has key sets: what it decrypted before policies were kept was of 15 customers.

Not handled: an older copy of the whole folder (docs/threat-model.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import ClassVar, Final

from pydantic import Field

from gridsecure.approvals import Approvers
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.errors import GridSecureError, StorageError
from gridsecure.key_authority.vault.key_files import SUFFIX
from gridsecure.key_authority.vault.key_lock import KeyLock
from gridsecure.messages import Message, Signed, open_message, sign_message
from gridsecure.policy.language import Policy, parse_policy
from gridsecure.policy.levels import Level, find_policy_shortfalls, refuse_shortfalls
from gridsecure.policy.packs import STRICT, UNIFORM, load_pack
from gridsecure.policy.signed_policies import (
    PolicyNamed,
    SignedPolicy,
    VaultPolicy,
    open_policy,
    read_document,
)
from gridsecure.policy.succession import Predecessors, begins_at, check_successor
from gridsecure.whole_files import replace_file

FILE: Final = "policies.json"


class KeptPolicy(Message):
    """A policy that the vault took in.

    Args:
        taken_in_at: ISO 8601, aware.
        begun: Whether its day came.
    """

    kind: ClassVar[str] = "vault-kept-policy"
    document: SignedPolicy
    taken_in_at: str
    begun: bool


class KeptPolicies(Message):
    """All of them, in the order in which they were taken in."""

    kind: ClassVar[str] = "vault-kept-policies"
    policies: list[KeptPolicy] = Field(min_length=1)


class VaultPolicies:
    """The policies of one vault.

    Args:
        key_lock: Names the folder of key sets, and the key that signs the file.
        clock: Tells the time.
        level: The security level below which no policy is taken in.

    Raises:
        StorageError: The file cannot be read, or is not as the vault wrote it (`policy.kept`).
    """

    def __init__(
        self,
        key_lock: KeyLock,
        *,
        clock: Callable[[], datetime],
        level: Level | None = None,
    ) -> None:
        self._own = key_lock
        self._clock = clock
        self.level = level
        self._lock = Lock()
        self._kept = self._read()
        self._policies = [parse_policy(one.document.text) for one in self._kept]

    @property
    def key_lock(self) -> KeyLock:
        """Names the folder that they lie in."""
        return self._own

    @property
    def kept(self) -> list[KeptPolicy]:
        """All that were taken in, in their order, as this process knows them."""
        with self._lock:
            return self._kept

    def open(self, named: str, *, approvers: Approvers) -> Policy:
        """What the vault starts with.

        Args:
            named: The setting: a policy that ships, or a file. One that was taken in before
                changes nothing, in whatever words an earlier release had what ships; and so does
                an empty one, but at the first start: then the strict policy is taken in.

        Raises:
            GridSecureError: As `hold`, or as `read_document`; or one that holds, or waits, falls
                below the level (`level.below`).
        """
        if not named and not self._kept:
            named = STRICT
        if named:
            document = read_document(named)
            # One that ships is known by its name: a new release may have changed its text.
            known = {word for one in self._policies for word in (one.digest, one.name)}
            if known.isdisjoint((document.digest, named)):
                self.hold(document, approvers=approvers)
        policy = self.find()
        for one in self._policies[self._in_force() or 0 :]:
            self._hold_to_level(one)
        return policy

    def hold(self, document: SignedPolicy, *, approvers: Approvers) -> None:
        """Take a policy in; the one that was taken in last stays as it is.

        Args:
            approvers: Officers whose keys were not revoked.

        Raises:
            InputError, AuthenticityError, ReleaseRefusedError: As `open_policy` and
                `check_successor`; or it falls below the level (`level.below`).
            StorageError: It cannot be kept; then it does not hold.
        """
        now = self._clock()
        opened = open_policy(document, approvers=approvers, now=now)
        self._hold_to_level(opened.policy)
        with self._lock:
            self._take_over(now)
            if self._policies and self._policies[-1].digest == opened.policy.digest:
                return
            check_successor(opened, self._before(opened.policy))
            begun = begins_at(opened.policy, taken_in=now) <= now
            one = KeptPolicy(document=document, taken_in_at=now.isoformat(), begun=begun)
            self._keep([*self._kept, one])
            self._policies.append(opened.policy)

    def find(self) -> Policy:
        """What holds now; before the first one's day that one, under which nothing is released.

        Raises:
            StorageError: That a policy took over cannot be kept.
        """
        now = self._clock()
        with self._lock:
            self._take_over(now)
            return self._policies[self._in_force() or 0].at(now)

    def stand(self, nonce: str = "") -> VaultPolicy:
        """What holds, what waits, and how many were taken in.

        Raises:
            StorageError: As `find`.
        """
        now = self._clock()
        with self._lock:
            self._take_over(now)
            place = self._in_force()
            later = self._policies[0 if place is None else place + 1 :]
            return VaultPolicy(
                in_force=None if place is None else _named(self._policies[place]),
                waiting=[_named(one) for one in later],
                taken_in=len(self._policies),
                at=now.isoformat(),
                nonce=nonce,
            )

    def _hold_to_level(self, policy: Policy) -> None:
        if self.level is not None:
            found = find_policy_shortfalls(self.level, policy)
            refuse_shortfalls(self.level, found, whose="the vault")

    def _in_force(self) -> int | None:
        return max((n for n, one in enumerate(self._kept) if one.begun), default=None)

    def _take_over(self, now: datetime) -> None:
        """Let policies begin whose day has come, for good."""
        kept = [
            one.model_copy(update={"begun": one.begun or _begins(one, policy) <= now})
            for one, policy in zip(self._kept, self._policies, strict=True)
        ]
        if kept != self._kept:
            self._keep(kept)

    def _before(self, policy: Policy) -> Predecessors:
        place = self._in_force()
        others = [one for one in self._policies if one.digest != policy.digest]
        if self._policies:
            replaced = self._policies[0 if place is None else place :]
        else:
            replaced = [load_pack(UNIFORM)] if self._has_keys() else []
        return Predecessors(
            replaced=tuple(replaced),
            altered=any((one.name, one.version) == (policy.name, policy.version) for one in others),
            is_known=len(others) < len(self._policies),
            newest=max((one.version for one in others), default=0),
        )

    def _has_keys(self) -> bool:
        return any(path.suffix == SUFFIX for path in self._own.keys_folder.rglob("*"))

    def _read(self) -> list[KeptPolicy]:
        path = self._own.keys_folder / FILE
        if not path.exists():
            return []
        key = self._own.key.public_key
        own = {key.thumbprint: key}
        try:
            envelope = Signed.parse(path.read_bytes())
            return open_message(envelope, expect=KeptPolicies, trusted=own).policies
        except (OSError, GridSecureError) as error:
            raise _unreadable() from error

    def _keep(self, kept: list[KeptPolicy]) -> None:
        folder = self._own.keys_folder  # first: a splitting changes the key before the folder
        _write(folder, KeptPolicies(policies=kept), key=self._own.key)
        self._kept = kept


def keep_policies(keys: Path, kept: Sequence[KeptPolicy], *, key: Sm2PrivateKey) -> None:
    """Keep policies beside the key sets of a splitting that is not in force yet.

    Raises:
        StorageError: The disk refuses.
    """
    if kept:
        _write(keys, KeptPolicies(policies=list(kept)), key=key)


def _write(folder: Path, kept: KeptPolicies, *, key: Sm2PrivateKey) -> None:
    signed = sign_message(kept, key=key)
    try:
        replace_file(folder / FILE, [signed.model_dump_json(indent=1).encode()])
    except OSError as error:
        raise StorageError(
            "The vault's policies could not be written.",
            remedy="Free space on the vault's disk, then repeat it.",
        ) from error


def _unreadable() -> StorageError:
    return StorageError(
        "The vault's policies cannot be read, or are not as the vault wrote them.",
        reason="policy.kept",
        remedy="Restore the vault's folder from its backup.",
    )


def _begins(one: KeptPolicy, policy: Policy) -> datetime:
    return begins_at(policy, taken_in=datetime.fromisoformat(one.taken_in_at))


def _named(policy: Policy) -> PolicyNamed:
    return PolicyNamed(digest=policy.digest, name=policy.name, version=policy.version)
