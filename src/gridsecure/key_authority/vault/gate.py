"""What the vault itself holds a release to: the policy, the officers' signatures, revocations.

The checker says what it wants decrypted and shows who approved it. The vault believes none of that:
it has the officers' public keys from its own settings, the policies that they signed
(`held_policies`), and looks at

1. whether the subject is about an order of this kind, under the policy that the vault has;
2. whether enough officers signed this very subject, none of them revoked, expired or the requester;
3. whether, where its policy wants one, an agreement covers this very release, by the keys of market
   and registration office from the vault's own settings;
4. whether the rosters and tariffs that it is handed are those of the subject, and whether an order
   is about all the outputs of whole transcripts: totals of other cells, or of fewer rosters, would
   show a household by their difference;
5. column by column, whether all that still holds, and before the first one whether the month's
   budget is spent, by a count of its own (`spent_budgets`).

Of a correction the subject names the corrected bills. The outputs they are compared with, the bills
as released before, the vault takes from the checker, and for one subject always the same ones: with
others for a single bill, the difference of two answers would be that bill.

Officers' standing authorisations approve whatever subject the checker writes, within their scope.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from gridsecure.approvals import (
    Approvers,
    Ground,
    ReleaseSubject,
    check_grounds,
    expired_error,
    outputs_digest,
    read_ground,
    revoked_error,
    subject_digest,
)
from gridsecure.circulation.agreed_releases import (
    NOBODY,
    AgreementProof,
    ProvedAgreement,
    ProvedBy,
    missing_error,
    prove_asked,
)
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import GridSecureError, ReleaseRefusedError, StorageError
from gridsecure.key_authority.packages import Approved
from gridsecure.key_authority.vault.held_policies import VaultPolicies
from gridsecure.key_authority.vault.kept_noise import NoisyAnswers
from gridsecure.key_authority.vault.spent_budgets import SpentBudgets
from gridsecure.messages import ColumnEntry, Digest, PlanName, SupplyTerms
from gridsecure.plans.cells import Minima, Place
from gridsecure.plans.noise import read_epsilon
from gridsecure.plans.purposes import PREVIEW, RESEARCH, RESEARCH_PLANS, STAFF_PURPOSES
from gridsecure.policy.decisions import asked_for, find_approvals, find_minima
from gridsecure.policy.language import RESOLUTIONS, Approvals, Policy, Resolution
from gridsecure.policy.levels import DIFFERS
from gridsecure.policy.signed_policies import SignedPolicy, VaultPolicy
from gridsecure.policy.supply import check_supply, find_suppliers
from gridsecure.whole_files import create_file

_REVOKED: Final = ".revoked-ground"


class ReleaseGate:
    """The policy, the officers and what was revoked, for as long as the vault runs.

    Args:
        folder: The vault's own; what was revoked is kept in it.
        policies: What may be released, of how many customers, with whose approval.
        clock: Tells the time.
        agreements_by: The keys that prove agreements; without them none is one.

    Raises:
        StorageError: As `SpentBudgets`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        policies: VaultPolicies,
        approvers: Approvers,
        clock: Callable[[], datetime],
        agreements_by: ProvedBy = NOBODY,
    ) -> None:
        self.policies = policies
        self.agreements_by = agreements_by
        self._folder = folder
        self._approvers = approvers
        self._clock = clock
        self.budgets = SpentBudgets(policies.key_lock)
        self.noisy = NoisyAnswers(folder, self.budgets)
        self.compared: dict[Digest, list[Digest]] = {}
        """What each subject's bills were compared with, while this process lasts."""
        self._revoked = {path.name[: -len(_REVOKED)] for path in folder.glob(f"*{_REVOKED}")}

    def now(self) -> datetime:
        """The present."""
        return self._clock()

    def open(self, approved: Approved, *, plan: PlanName, is_preview: bool = False) -> Passage:
        """Let an order of a kind pass, if officers approved it.

        Raises:
            ReleaseRefusedError: The subject is about something else (`approval.order`), or lacks an
                agreement that policy wants (`agreement.missing`), or as `approvals.read_ground` and
                `approvals.check_grounds`.
            GridSecureError: It is of another policy (`policy.differs`), or the vault's is not in
                force yet or no longer (`policy.early`, `policy.expired`), or the checker is held to
                another security level (`level.differs`): what was asked can wait.
            AuthenticityError: A signature is none of the officers'.
        """
        level = self.policies.level
        if approved.level != (level.digest if level else ""):
            raise _other_level()
        now, policy = self._clock(), self.policies.find()
        subject = ReleaseSubject.parse(approved.subject)
        # 1. about this order, under this policy
        if subject.plan != plan or subject.purpose not in _purposes(plan, is_preview=is_preview):
            raise _other_order()
        if now < policy.in_force_from:
            raise GridSecureError("The vault's policy is not in force yet.", reason="policy.early")
        if policy.expires is not None and now >= policy.expires:
            raise GridSecureError("The vault's policy has expired.", reason="policy.expired")
        if subject.policy != policy.digest:
            # No fault of the request: a policy takes over here a moment earlier or later.
            raise _other_policy()
        # 2. enough officers
        digest = subject_digest(approved.subject)
        grounds = [
            read_ground(one, subject, digest=digest, approvers=self._approvers, now=now)
            for one in approved.grounds
        ]
        self.check(grounds)
        needed = _needed(policy, subject)
        check_grounds(
            grounds,
            needed=needed.roles,
            standing=needed.standing,
            suppliers=subject.suppliers,
        )
        # 3. under an agreement
        agreed = self._prove_agreed(policy, subject, approved.agreement, now=now)
        return Passage(self, policy, subject, digest, tuple(grounds), agreed)

    def _prove_agreed(
        self,
        policy: Policy,
        subject: ReleaseSubject,
        proof: AgreementProof | None,
        *,
        now: datetime,
    ) -> ProvedAgreement | None:
        """The agreement that covers a release; None where policy wants none."""
        if subject.purpose not in policy.agreement:
            return None
        if proof is None:
            raise missing_error(subject.purpose, "the vault was shown none.")
        try:
            return prove_asked(proof, subject, by=self.agreements_by, now=now)
        except GridSecureError as error:  # it waits: the consumer may name another one
            raise missing_error(subject.purpose, error.message) from error

    def check(self, grounds: Iterable[Ground]) -> None:
        """Refuse what was revoked or expired since the order began.

        Raises:
            ReleaseRefusedError: `approval.revoked`, `approval.expired`.
        """
        now = self._clock()
        for ground in grounds:
            if {ground.signer, ground.digest} & self._revoked:
                raise revoked_error()
            if now >= ground.expires_at:
                raise expired_error()

    def revoke(self, name: Digest) -> None:
        """Let a key or a signed message of an officer count no more, for good.

        Raises:
            StorageError: It cannot be kept; until the vault starts again it holds all the same.
        """
        self._revoked.add(name)
        try:
            create_file(self._folder / f"{name}{_REVOKED}", b"")
        except FileExistsError:
            return
        except OSError as error:
            raise StorageError(
                "A revocation could not be kept.", remedy="Check the vault's folder, and repeat it."
            ) from error

    @property
    def revocations(self) -> int:
        """How many keys and signed words of officers count no more."""
        return len(self._revoked)

    def open_policies(self, named: str) -> Policy:
        """What the vault starts with.

        Raises:
            GridSecureError: As `VaultPolicies.open`.
        """
        return self.policies.open(named, approvers=self._unrevoked())

    def hold_policy(self, document: SignedPolicy) -> None:
        """Take a policy in.

        Raises:
            GridSecureError: As `VaultPolicies.hold`.
        """
        self.policies.hold(document, approvers=self._unrevoked())

    def read_policy(self, nonce: str) -> VaultPolicy:
        """As `VaultPolicies.stand`."""
        return self.policies.stand(nonce)

    def _unrevoked(self) -> Approvers:
        return {name: one for name, one in self._approvers.items() if name not in self._revoked}


@dataclass(frozen=True, slots=True)
class Passage:
    """One order that may pass, for as long as what it rests on holds.

    Args:
        policy: What held when it began.
        digest: The subject's, which officers signed.
        grounds: What it rests on.
        agreed: The agreement that covers it; None where policy wants none.
    """

    gate: ReleaseGate
    policy: Policy
    subject: ReleaseSubject
    digest: Digest
    grounds: tuple[Ground, ...]
    agreed: ProvedAgreement | None = None

    @property
    def places(self) -> frozenset[Place]:
        """The cells that were approved."""
        return frozenset((cell.zone, cell.customer_class) for cell in self.subject.cells)

    @property
    def epsilon(self) -> int:
        """What its numbers may cost, in millionths of ε; 0 where they are exact."""
        return read_epsilon(self.subject.epsilon) or 0

    def check(self) -> None:
        """Before a column is decrypted: let it be, where all still holds, and count the release.

        Raises:
            ReleaseRefusedError: As `ReleaseGate.check`, of what this order rests on, or its
                agreement is over (`agreement.missing`).
            GridSecureError: As `SpentBudgets.spend`.
        """
        self.gate.check(self.grounds)
        now, agreed = self.gate.now(), self.agreed
        if agreed is not None and now >= agreed.until:
            raise missing_error(self.subject.purpose, "it is over, or the market's word is old.")
        self.gate.budgets.spend(self.policy, self.subject, digest=self.digest, at=now, under=agreed)

    def check_span(self, start: str, end: str) -> None:
        """Refuse an order about another time than was approved.

        Raises:
            ReleaseRefusedError: `approval.order`.
        """
        if (self.subject.start, self.subject.end) != (start, end):
            raise _other_order()

    def check_minima(self, minima: Minima, *, resolution: Resolution) -> None:
        """Refuse other numbers of customers, or merging, than the vault's policy has for it.

        Raises:
            GridSecureError: `policy.differs`: a rule may have expired meanwhile.
            ReleaseRefusedError: `approval.order` where the subject is of another resolution.
        """
        if resolution not in self.subject.resolutions:
            raise _other_order()
        asked = asked_for(self.subject.purpose, resolution=resolution)
        if minima != find_minima(self.policy, asked):
            raise _other_policy()

    def admit_cells(self, places: Iterable[Place]) -> None:
        """Refuse cells that were not approved.

        Raises:
            ReleaseRefusedError: `approval.order`.
        """
        if not set(places) <= self.places:
            raise _other_order()

    def admit_rosters(self, rosters: Iterable[Digest]) -> None:
        """Refuse rosters, by the digests of their texts, that the subject does not name.

        Raises:
            ReleaseRefusedError: `approval.order`.
        """
        if not set(rosters) <= set(self.subject.rosters):
            raise _other_order()

    def admit_all_rosters(self, rosters: Iterable[Digest]) -> None:
        """Refuse an order that is not about every roster of the subject, once.

        Raises:
            ReleaseRefusedError: `approval.order`.
        """
        if sorted(rosters) != self.subject.rosters:
            raise _other_order()

    def admit_terms(self, supplied: Iterable[SupplyTerms]) -> None:
        """Refuse rosters whose owners have stricter terms, or officers whom nobody asked.

        Raises:
            GridSecureError: As `check_supply`.
            ReleaseRefusedError: `approval.order`.
        """
        found = list(supplied)
        check_supply(self.policy, found)
        if any(own not in self.subject.suppliers for own in find_suppliers(found)):
            raise _other_order()

    def admit_tariffs(self, texts: Mapping[Digest, str]) -> None:
        """Refuse tariffs that the subject does not name, or other texts of them.

        Raises:
            ReleaseRefusedError: `approval.order`.
        """
        named = set(self.subject.tariffs)
        if any(name not in named or sm3_hex(text.encode()) != name for name, text in texts.items()):
            raise _other_order()

    def admit(self, entries: Iterable[ColumnEntry]) -> None:
        """Refuse columns that are not all those of one transcript.

        Raises:
            ReleaseRefusedError: `approval.order`.
        """
        if outputs_digest(entries) not in self.subject.outputs:
            raise _other_order()

    def admit_all(self, parts: Iterable[Iterable[ColumnEntry]]) -> None:
        """Refuse an order that is not about every transcript, once.

        Args:
            parts: The columns of each.

        Raises:
            ReleaseRefusedError: `approval.order`.
        """
        if sorted(map(outputs_digest, parts)) != self.subject.outputs:
            raise _other_order()

    def admit_compared(self, parts: Iterable[Iterable[ColumnEntry]]) -> None:
        """Refuse other bills to compare with than the first order of this subject had.

        Args:
            parts: The columns of each earlier version, in the order of the corrections.

        Raises:
            ReleaseRefusedError: `approval.order`.
        """
        named = list(map(outputs_digest, parts))
        if self.gate.compared.setdefault(self.digest, named) != named:
            raise _other_order()

    def admit_question(self, question: Digest, *, groups: Digest, steps: Digest) -> None:
        """Refuse an order about another question, or about others or other times than approved.

        Args:
            groups: Of all rosters and rows, as `groups_digest`.
            steps: As `steps_digest`.

        Raises:
            ReleaseRefusedError: `approval.order`.
        """
        subject = self.subject
        if (subject.question, subject.groups, subject.steps) != (question, groups, steps):
            raise _other_order()

    def check_count(self, parts: int) -> None:
        """Refuse an order about fewer or more transcripts than were approved.

        Raises:
            ReleaseRefusedError: `approval.order`.
        """
        if parts != len(self.subject.outputs):
            raise _other_order()


def _purposes(plan: PlanName, *, is_preview: bool) -> frozenset[str]:
    """What a plan is released for: by a purpose of another's, its authorisations would count."""
    if is_preview:
        return frozenset() if plan in RESEARCH_PLANS else frozenset({PREVIEW})
    return STAFF_PURPOSES[plan] | ({RESEARCH} if plan in RESEARCH_PLANS else frozenset())


def _needed(policy: Policy, subject: ReleaseSubject) -> Approvals:
    classes = {cell.customer_class for cell in subject.cells}
    asked = [
        asked_for(subject.purpose, resolution=_resolution(name)) for name in subject.resolutions
    ]
    if not classes or not asked:
        raise _other_order()
    return find_approvals(policy, asked, classes=classes)


def _resolution(name: str) -> Resolution:
    for known in RESOLUTIONS:
        if known == name:
            return known
    raise _other_order()


def _other_order() -> ReleaseRefusedError:
    return ReleaseRefusedError(
        "What the vault is to decrypt is not what was approved.",
        reason="approval.order",
        remedy="Do not repeat it; find out what the checker asked for.",
    )


def _other_level() -> GridSecureError:
    return GridSecureError(
        "The vault is held to another security level than the checker.",
        reason=DIFFERS,
        remedy="Give both the same setting LEVEL, and start them anew (docs/levels.md).",
    )


def _other_policy() -> GridSecureError:
    return GridSecureError(
        "The vault has another release policy than the checker.",
        reason="policy.differs",
        remedy="If it stays so, put the policy in force once more (gridsecure policy put).",
    )
