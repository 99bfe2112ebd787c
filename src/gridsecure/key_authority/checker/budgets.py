"""Budgets: how many releases of a calendar month may be about what policy permits.

Counted is each measure, resolution, customer class, role and purpose that a release is about, told
or withheld: that something is withheld is an answer, too. Whoever asks shares the budget: an
analyst's query names nobody. The month is that of the release, on the clock that the policy's
`in_force_from` is written in.

What is over budget waits for the next month. A release is counted in the transaction that keeps
its certificate, so that of two at once the one that comes second finds the budget spent.

The vault counts nothing: budgets are the checker's to keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import product

from sqlmodel import Session, func, insert, select

from gridsecure.approvals import ReleaseSubject
from gridsecure.errors import GridSecureError
from gridsecure.key_authority.checker.tables import SpentBudgetRow
from gridsecure.policy.decisions import Case, asked_for, find_terms
from gridsecure.policy.language import RESOLUTIONS, Policy


def check_budget(
    session: Session, policy: Policy, subject: ReleaseSubject, *, at: datetime
) -> None:
    """Let a request wait whose budget is spent.

    Raises:
        GridSecureError: `policy.budget`; it says nothing of what would be told.
    """
    month = _month(policy, at)
    for case, budget in _find_budgets(policy, subject).items():
        if _count_spent(session, case, month=month) >= budget:
            raise GridSecureError(
                "As many releases as policy permits in a month were about this.",
                reason="policy.budget",
                remedy="Wait for the next month; the request is answered by a round then.",
            )


def spend_budget(
    session: Session, policy: Policy, subject: ReleaseSubject, *, at: datetime
) -> None:
    """Count a release, in the transaction that keeps it.

    Args:
        session: From `write_session`.

    Raises:
        GridSecureError: Others spent the budget meanwhile (`policy.budget`).
    """
    check_budget(session, policy, subject, at=at)
    rows = [
        {**case._asdict(), "release_id": subject.request_id, "month": _month(policy, at), "at": at}
        for case in _find_budgets(policy, subject)
    ]
    if rows:
        session.execute(insert(SpentBudgetRow), rows)


def _find_budgets(policy: Policy, subject: ReleaseSubject) -> Mapping[Case, int]:
    """What a request is about, as far as it has a budget."""
    found = {}
    asked = [
        asked_for(subject.purpose, resolution=name)
        for name in RESOLUTIONS
        if name in subject.resolutions
    ]
    classes = sorted({cell.customer_class for cell in subject.cells})
    for one, measure, name in product(asked, subject.measures, classes):
        case = Case(measure, one.resolution, name, one.role, one.purpose)
        terms = find_terms(policy, case)
        if terms is not None and terms.budget is not None:
            found[case] = terms.budget
    return found


def _count_spent(session: Session, case: Case, *, month: str) -> int:
    counted = select(func.count()).select_from(SpentBudgetRow)
    return session.exec(counted.filter_by(**case._asdict(), month=month)).one()


def _month(policy: Policy, at: datetime) -> str:
    return f"{at.astimezone(policy.in_force_from.tzinfo):%Y-%m}"
