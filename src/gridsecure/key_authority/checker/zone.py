"""What the checker holds: policy, ledger, signing key, a door to the vault. No secret key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import Engine

from gridsecure.approvals import Approvers
from gridsecure.builds import source_digest
from gridsecure.circulation.agreed_releases import ProvedBy
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.key_authority.checker.reexecution import Checks
from gridsecure.key_authority.packages import Keep, PreviewAnswer, VaultAnswer
from gridsecure.messages import Digest, Signed
from gridsecure.plans.cells import Minima
from gridsecure.policy.decisions import asked_for, find_minima
from gridsecure.policy.language import Policy, Resolution
from gridsecure.policy.levels import Level
from gridsecure.policy.signed_policies import SignedPolicy
from gridsecure.store.log_tree import SignedLog
from gridsecure.store.objects import ObjectStore

Settlement = Callable[[str, Sequence[str]], list[str]]
"""Billing domain and pseudonyms -> the settlement pseudonym of each."""


class VaultDoor(Protocol):
    """What the checker may ask of a vault: in a process of its own, or in this one for tests."""

    def create_key_set(self, order: Signed, /) -> PublicKeySet:
        """As `Vault.create_key_set`."""
        ...

    def read_life(self, gateway: str, key_id: str, /) -> Signed:
        """As `Vault.read_life`."""
        ...

    def move_key_set(self, envelope: Signed, /) -> Signed:
        """As `Vault.move_key_set`."""
        ...

    def hold_policy(self, document: SignedPolicy, /) -> Signed:
        """As `Vault.hold_policy`."""
        ...

    def read_policy(self, nonce: str = "") -> Signed:
        """As `Vault.read_policy`."""
        ...

    def revoke_ground(self, order: Signed, /) -> None:
        """As `Vault.revoke_ground`."""
        ...

    def status(self, nonce: str = "") -> Signed:
        """As `Vault.status`."""
        ...

    def state_challenge(self, purpose: str, /, *, asker: str = "") -> Signed:
        """As `Vault.state_challenge`."""
        ...

    def give_share(self, envelope: Signed, /) -> Signed:
        """As `Vault.give_share`."""
        ...

    def hand_out_share(self, name: str, /) -> Signed:
        """As `Vault.hand_out_share`."""
        ...

    def lock(self, envelope: Signed, /) -> Signed:
        """As `Vault.lock`."""
        ...

    def release_bills(self, order: Signed, files: Iterable[bytes], keep: Keep, /) -> VaultAnswer:
        """As `Vault.release_bills`."""
        ...

    def release_corrections(
        self, order: Signed, files: Iterable[bytes], keep: Keep, /
    ) -> VaultAnswer:
        """As `Vault.release_corrections`."""
        ...

    def release_totals(self, order: Signed, files: Iterable[bytes], /) -> VaultAnswer:
        """As `Vault.release_totals`."""
        ...

    def release_query(self, order: Signed, files: Iterable[bytes], /) -> VaultAnswer:
        """As `Vault.release_query`."""
        ...

    def preview_bills(self, order: Signed, files: Iterable[bytes], /) -> PreviewAnswer:
        """As `Vault.preview_bills`."""
        ...


@dataclass(frozen=True, slots=True)
class AuthorityZone:
    """The checker's stores, keys and trusted parties.

    Args:
        objects: Published key objects and sealed statements.
        checks: What executes plans again.
        signing_key: Signs key notices, orders to the vault and release certificates.
        query_key: Opens the questions that analysts seal to it.
        blinding_key: What the blinding of questions follows from [32 bytes].
        log: Signs what the evidence log is at a moment.
        platform: The compute platform's key by thumbprint.
        identity: The identity authority's key by thumbprint; gateways are known by it alone.
        office: The billing office's key by thumbprint; it closes months.
        settlement: Asks the identity authority for settlement pseudonyms.
        policy: What may be released, of how many customers at the least; for one piece of work
            the policy that held when it began.
        approvers: The officers whose approval of releases counts.
        agreements_by: The keys that prove agreements; none where the policy wants none.
        shadow_questions: How many a cell answers of a month in previews of shadow runs.
        level: The security level that it is held to.
        timezones: Local time of every tariff that this process read.
        rules: What it decides by, which is its software as it stood when the process began.
    """

    engine: Engine
    objects: ObjectStore
    checks: Checks
    signing_key: Sm2PrivateKey = field(repr=False)
    query_key: Sm2PrivateKey = field(repr=False)
    blinding_key: bytes = field(repr=False)
    log: SignedLog
    platform: Mapping[str, Sm2PublicKey]
    identity: Mapping[str, Sm2PublicKey]
    office: Mapping[str, Sm2PublicKey]
    settlement: Settlement
    vault: VaultDoor
    policy: Policy
    approvers: Approvers
    agreements_by: ProvedBy = field(default_factory=ProvedBy)
    shadow_questions: int = 0
    level: Level | None = None
    timezones: dict[str, str] = field(default_factory=dict, repr=False)
    rules: Digest = field(default_factory=source_digest)

    def find_minima(self, purpose: str, *, resolution: Resolution) -> Minima:
        """What policy permits a request of this purpose, at a resolution."""
        return find_minima(self.policy, asked_for(purpose, resolution=resolution))
