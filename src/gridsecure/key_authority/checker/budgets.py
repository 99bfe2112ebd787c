"""Budgets: how many releases of a calendar month may be about what policy permits.

What counts is in `gridsecure.policy.budgets`. What is over budget waits for the next month. A
release is counted in the transaction that keeps its certificate, so that of two at once the one
that comes second finds the budget spent.

The vault counts for itself what it is ordered to decrypt (`vault.spent_budgets`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from sqlmodel import Session, func, insert, select

from gridsecure.approvals import ReleaseSubject
from gridsecure.key_authority.checker.tables import SpentBudgetRow
from gridsecure.messages import PlanName
from gridsecure.policy.budgets import (
    budget_month,
    find_budgets,
    find_class_budgets,
    over_budget_error,
)
from gridsecure.policy.decisions import Asked, Case
from gridsecure.policy.language import Policy


def list_left(
    session: Session,
    policy: Policy,
    asked: Iterable[Asked],
    *,
    plan: PlanName,
    classes: Collection[str],
    at: datetime,
) -> dict[Case, tuple[int, int]]:
    """How many releases of this month may still be about something, and of how many, by case."""
    month = budget_month(policy, at)
    found = find_class_budgets(policy, asked, plan=plan, classes=classes)
    return {
        case: (max(budget - _count_spent(session, case, month=month), 0), budget)
        for case, budget in found.items()
    }


def check_budget(
    session: Session, policy: Policy, subject: ReleaseSubject, *, at: datetime
) -> None:
    """Let a request wait whose budget is spent.

    Raises:
        GridSecureError: `policy.budget`; it says nothing of what would be told.
    """
    month = budget_month(policy, at)
    for case, budget in find_budgets(policy, subject).items():
        if _count_spent(session, case, month=month) >= budget:
            raise over_budget_error()


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
    named = {"release_id": subject.request_id, "month": budget_month(policy, at), "at": at}
    rows = [{**case._asdict(), **named} for case in find_budgets(policy, subject)]
    if rows:
        session.execute(insert(SpentBudgetRow), rows)


def _count_spent(session: Session, case: Case, *, month: str) -> int:
    counted = select(func.count()).select_from(SpentBudgetRow)
    return session.exec(counted.filter_by(**case._asdict(), month=month)).one()
