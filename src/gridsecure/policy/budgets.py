"""What a release is about, as far as policy has a budget for it.

Counted is each measure, resolution, customer class, role and purpose that a release is about, told
or withheld: that something is withheld is an answer, too. Whoever asks shares the budget: an
analyst's query names nobody. The month is that of the release, on the clock that the policy's
`in_force_from` is written in.

Checker and vault count by these functions, each for itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from itertools import product

from gridsecure.approvals import ReleaseSubject
from gridsecure.errors import GridSecureError
from gridsecure.messages import PlanName
from gridsecure.plans.cells import measures_of
from gridsecure.policy.decisions import Asked, Case, asked_for, find_terms
from gridsecure.policy.language import RESOLUTIONS, Policy


def find_budgets(policy: Policy, subject: ReleaseSubject) -> Mapping[Case, int]:
    """What a request is about, as far as it has a budget, and how large that is in a month.

    The measures are those of its plan, whatever the subject says of them.
    """
    asked = [
        asked_for(subject.purpose, resolution=name)
        for name in RESOLUTIONS
        if name in subject.resolutions
    ]
    classes = {cell.customer_class for cell in subject.cells}
    return find_class_budgets(policy, asked, plan=subject.plan, classes=classes)


def find_class_budgets(
    policy: Policy, asked: Iterable[Asked], *, plan: PlanName, classes: Collection[str]
) -> dict[Case, int]:
    """The same, of all that a plan tells of some customer classes."""
    found = {}
    for one, measure, name in product(asked, measures_of(plan), sorted(classes)):
        case = Case(measure, one.resolution, name, one.role, one.purpose)
        terms = find_terms(policy, case)
        if terms is not None and terms.budget is not None:
            found[case] = terms.budget
    return found


def budget_month(policy: Policy, at: datetime) -> str:
    """The month that a release counts in: `2026-07`."""
    return f"{at.astimezone(policy.in_force_from.tzinfo):%Y-%m}"


def over_budget_error() -> GridSecureError:
    """That a request waits for the next month; it says nothing of what would be told."""
    return GridSecureError(
        "As many releases as policy permits in a month were about this.",
        reason="policy.budget",
        remedy="Wait for the next month; the request is answered by a round then.",
    )
