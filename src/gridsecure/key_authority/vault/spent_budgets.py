"""The vault's own count of releases that have a budget: one file, signed, beside its key sets.

The checker counts certificates. A checker that was taken over need not, so the vault counts as well
what it is ordered to decrypt: each approved subject once in a calendar month, before anything of it
is decrypted, whatever becomes of the order. So it never counts less than the checker certifies, and
more only where an order ended in the middle and was not repeated in that month.

    counted, on the disk ──► decrypted      killed in between, the same order finds it counted

One month is kept, and of noise all that was ever spent (`noise_budgets`). A month never goes back:
with a clock that is set back, releases count in the month that was reached. When the key is split
anew, the count goes along as the process has it in memory (`keep_spent`), as policies do.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import ClassVar, Final

from pydantic import Field

from gridsecure.approvals import ReleaseSubject
from gridsecure.circulation.agreed_releases import ProvedAgreement
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.errors import GridSecureError, ReleaseRefusedError, StorageError
from gridsecure.key_authority.vault.key_lock import KeyLock
from gridsecure.key_authority.vault.noise_budgets import SpentNoise, charge_noise
from gridsecure.messages import Digest, Message, Signed, open_message, sign_message
from gridsecure.policy.budgets import budget_month, find_budgets, over_budget_error
from gridsecure.policy.language import Policy
from gridsecure.whole_files import replace_file

FILE: Final = "budgets.json"


class SpentCase(Message):
    """What policy has a budget for, and the releases of the month that were about it.

    Args:
        case: Measure, resolution, customer class, role and purpose.
        subjects: Their digests.
    """

    kind: ClassVar[str] = "vault-spent-case"
    case: list[str]
    subjects: list[Digest]


class AgreedUse(Message):
    """Which approved subject an agreement was named for under a release's id.

    Args:
        agreement: Its digest.
        subject: The digest of what officers approved.
    """

    kind: ClassVar[str] = "vault-agreed-use"
    agreement: Digest
    release: str
    subject: Digest


class KeptSpending(Message):
    """What was counted in a month.

    Args:
        month: `2026-07`; empty before anything was.
        noise: Every question with noise that there ever was.
        agreed: Every use of an agreement that there ever was.
    """

    kind: ClassVar[str] = "vault-spent-budgets"
    month: str = ""
    spent: list[SpentCase] = Field(default_factory=list)
    noise: list[SpentNoise] = Field(default_factory=list)
    agreed: list[AgreedUse] = Field(default_factory=list)


class SpentBudgets:
    """The count of one vault. Its callers see to it that one order is counted at a time.

    Args:
        key_lock: Names the folder of key sets, and the key that signs the file.

    Raises:
        StorageError: The file cannot be read, or is not as the vault wrote it (`policy.kept`).
    """

    def __init__(self, key_lock: KeyLock) -> None:
        self._own = key_lock
        self.kept = self._read()
        self._passed = ("", "")

    def spend(
        self,
        policy: Policy,
        subject: ReleaseSubject,
        *,
        digest: Digest,
        at: datetime,
        under: ProvedAgreement | None = None,
    ) -> None:
        """Count a release, once in a month, before anything of it is decrypted.

        Args:
            digest: The subject's, which officers signed.
            under: The agreement that it is named for; a use of it is one subject, for good.

        Raises:
            GridSecureError: The month's budget of something in it is spent (`policy.budget`);
                nothing is counted.
            ReleaseRefusedError: As `charge_noise`, or the agreement was used as often as was
                agreed, or for another subject of this release (`agreement.used`); nothing is
                counted.
            StorageError: It cannot be kept; nothing is counted.
        """
        month = max(self.kept.month, budget_month(policy, at))
        if self._passed == (month, digest):  # asked before each column
            return
        before = self.kept.spent if month == self.kept.month else []
        spent = {tuple(one.case): one.subjects for one in before}
        noise = charge_noise(self.kept.noise, policy, subject, digest=digest)
        agreed = _use_agreement(self.kept.agreed, under, subject=digest)
        is_new = len(noise) > len(self.kept.noise) or len(agreed) > len(self.kept.agreed)
        for case, budget in find_budgets(policy, subject).items():
            subjects = spent.get(case, [])
            if digest not in subjects:
                if len(subjects) >= budget:
                    raise over_budget_error()
                spent[tuple(case)] = [*subjects, digest]
                is_new = True
        if is_new:
            cases = [SpentCase(case=list(case), subjects=own) for case, own in spent.items()]
            self._keep(KeptSpending(month=month, spent=cases, noise=noise, agreed=agreed))
        self._passed = (month, digest)

    def find_answer(self, subject: Digest) -> Digest:
        """What a question with noise was answered; empty where it was not."""
        return next((one.answer for one in self.kept.noise if one.subject == subject), "")

    def name_answer(self, subject: Digest, answer: Digest) -> None:
        """Keep what a question with noise is answered, for good, before it is.

        Raises:
            StorageError: It cannot be kept.
        """
        noise = [
            one.model_copy(update={"answer": answer}) if one.subject == subject else one
            for one in self.kept.noise
        ]
        self._keep(self.kept.model_copy(update={"noise": noise}))

    def _keep(self, kept: KeptSpending) -> None:
        keep_spent(self._own.keys_folder, kept, key=self._own.key)
        self.kept = kept

    def _read(self) -> KeptSpending:
        path = self._own.keys_folder / FILE
        if not path.exists():
            return KeptSpending()
        key = self._own.key.public_key
        try:
            envelope = Signed.parse(path.read_bytes())
            return open_message(envelope, expect=KeptSpending, trusted={key.thumbprint: key})
        except (OSError, GridSecureError) as error:
            raise StorageError(
                "The vault's count of releases cannot be read, or is not as the vault wrote it.",
                reason="policy.kept",
                remedy="Restore the vault's folder from its backup.",
            ) from error


def _use_agreement(
    kept: list[AgreedUse], under: ProvedAgreement | None, *, subject: Digest
) -> list[AgreedUse]:
    """The uses of agreements with one more, unless it was counted."""
    if under is None:
        return kept
    own = {one.release: one.subject for one in kept if one.agreement == under.digest}
    release = under.named.release
    if own.get(release) == subject:
        return kept
    if release in own or len(own) >= under.agreement.uses:
        raise ReleaseRefusedError(
            "The agreement was used as often as was agreed, or for another content of this "
            "request.",
            reason="agreement.used",
            remedy="Order the run anew and name the agreement for it; or agree on more uses.",
        )
    return [*kept, AgreedUse(agreement=under.digest, release=release, subject=subject)]


def keep_spent(keys: Path, kept: KeptSpending, *, key: Sm2PrivateKey) -> None:
    """Keep the count beside key sets, whether or not their splitting is in force yet.

    Raises:
        StorageError: The disk refuses.
    """
    signed = sign_message(kept, key=key)
    try:
        replace_file(keys / FILE, [signed.model_dump_json(indent=1).encode()])
    except OSError as error:
        raise StorageError(
            "The vault's count of releases could not be written.",
            remedy="Free space on the vault's disk, then repeat it.",
        ) from error
