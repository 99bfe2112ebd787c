"""The vault's own count of what questions with noise cost, kept with its count of releases.

Budgets are of the readings of a month, and not of the month in which somebody asks: nothing of it
is ever forgotten, and no new month gives anything back. Each approved subject is charged once, in
the file, before anything of it is decrypted. So what an order costs that ended in the middle stays
charged, and the same order again costs nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import ClassVar

from gridsecure.approvals import ReleaseSubject
from gridsecure.messages import Digest, Message
from gridsecure.plans.purposes import RESEARCH
from gridsecure.policy.language import Policy
from gridsecure.policy.noise_costs import (
    find_cost,
    other_way_error,
    reading_months,
    spent_error,
)


class SpentNoise(Message):
    """What a question with noise was charged, and what it was answered.

    Args:
        subject: Its digest.
        epsilon: In millionths.
        months: Of the readings; likewise `classes`, the customer classes.
        answer: SM3 of what it was answered; empty before it was.
    """

    kind: ClassVar[str] = "vault-spent-noise"
    subject: Digest
    epsilon: int
    months: list[str]
    classes: list[str]
    answer: Digest = ""


def charge_noise(
    spent: Sequence[SpentNoise], policy: Policy, subject: ReleaseSubject, *, digest: Digest
) -> list[SpentNoise]:
    """What was spent, and beside it what a subject costs that is not among it.

    Args:
        digest: The subject's, which officers signed.

    Raises:
        ReleaseRefusedError: It costs more than is left (`query.budget`); exact numbers are asked of
            a month that noise was told of (`release.private`); or as `find_cost`.
    """
    cost = find_cost(policy, subject)
    if cost is None:
        noisy = {month for one in spent for month in one.months}
        asked = subject.purpose == RESEARCH
        if asked and not noisy.isdisjoint(reading_months(subject.start, subject.end)):
            raise other_way_error()
        return list(spent)
    if any(one.subject == digest for one in spent):
        return list(spent)
    budget = policy.private.budget if policy.private else 0
    for month, name in product(cost.months, cost.classes):
        own = sum(one.epsilon for one in spent if month in one.months and name in one.classes)
        if own + cost.epsilon > budget:
            raise spent_error(budget - own)
    new = SpentNoise(
        subject=digest,
        epsilon=cost.epsilon,
        months=list(cost.months),
        classes=list(cost.classes),
    )
    return [*spent, new]
