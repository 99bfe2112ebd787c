"""Numbers with noise at the checker: what is left of their budgets, and who is told which kind.

Analysts are one audience, since they may pass on what they read. Of a month's readings they are
told exact numbers or numbers with noise, whichever came first (`ToldMonthRow`): beside an exact
number one with noise hides nothing, and the other way round. While policy wants noise for analysts,
what staff is told exactly is not for analysts to read, and is no such month.

ε is charged in the transaction that marks the month, before anything is decrypted, and entered in
the log and metered there (`usage`). Nothing is given back, and the same request again costs nothing
more. Of two at once the second finds what the first spent.

The vault counts for itself (`vault.noise_budgets`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import product
from typing import Final, Literal

from sqlmodel import Session, func, insert, select

from gridsecure.approvals import ReleaseSubject
from gridsecure.key_authority.checker.tables import ReleaseRow, SpentNoiseRow, ToldMonthRow
from gridsecure.key_authority.checker.usage import BOOK, CHARGED
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.messages import ReleaseRequest
from gridsecure.plans.purposes import RESEARCH
from gridsecure.policy.language import Policy
from gridsecure.policy.noise_costs import (
    NoiseCost,
    find_cost,
    not_private_error,
    other_way_error,
    reading_months,
    spent_error,
)
from gridsecure.store import evidence
from gridsecure.store.database import read_session
from gridsecure.store.rows import find, keep
from gridsecure.store.usage import ANALYSTS

Told = Literal["exactly", "noisily"]
EXACTLY: Final = "exactly"
NOISILY: Final = "noisily"


def check_cost(session: Session, policy: Policy, subject: ReleaseSubject) -> None:
    """Refuse what a question costs too much of, or the other kind of numbers was told of.

    Raises:
        ReleaseRefusedError: `query.budget`, `release.private`.
    """
    cost = find_cost(policy, subject)
    if cost is None:
        _check_told(session, reading_months(subject.start, subject.end), EXACTLY)
        return
    _check_told(session, cost.months, NOISILY)
    if not is_charged(session, subject.request_id):
        _check_left(session, policy, cost)


def check_left(
    session: Session,
    policy: Policy,
    epsilon: int,
    span: tuple[str, str],
    *,
    classes: Iterable[str],
) -> int:
    """What is left of the budget for a question, before anybody approved it [millionths].

    Args:
        epsilon: In millionths; 0 where its numbers are exact.
        span: Start and end of its public period.
        classes: All that lie there.

    Returns:
        Of the customer class with the least; 0 for exact numbers.

    Raises:
        ReleaseRefusedError: As `check_cost`.
    """
    months = reading_months(*span)
    _check_told(session, months, NOISILY if epsilon else EXACTLY)
    if not epsilon:
        return 0
    return _check_left(session, policy, NoiseCost(epsilon, months, tuple(classes)))


def charge(session: Session, policy: Policy, subject: ReleaseSubject, *, at: datetime) -> None:
    """Charge a question with noise, once, before anything of it is decrypted.

    Args:
        session: From `write_session`.

    Raises:
        ReleaseRefusedError: As `check_cost`; nothing is charged.
    """
    check_cost(session, policy, subject)
    cost, name = find_cost(policy, subject), subject.request_id
    if cost is None or is_charged(session, name):
        return
    _mark(session, cost.months, NOISILY, at=at)
    spent = {"request_id": name, "epsilon": cost.epsilon, "at": at, "metered": True}
    rows = [
        spent | {"month": month, "customer_class": own}
        for month, own in product(cost.months, cost.classes)
    ]
    session.execute(insert(SpentNoiseRow), rows)
    detail: dict[str, evidence.JSON] = {
        "request": name,
        "party": ANALYSTS,
        "months": list(cost.months),
        "epsilon": {own: cost.epsilon * len(cost.months) for own in cost.classes},
    }
    BOOK.enter(session, at=at, actor="checker", action=CHARGED, detail=detail)


def check_exact(session: Session, policy: Policy, request: ReleaseRequest) -> None:
    """Refuse an analyst exact numbers where policy wants noise, or noise was told of the month.

    Raises:
        ReleaseRefusedError: `release.private`.
    """
    if request.purpose != RESEARCH:
        return
    if policy.private is not None:
        raise not_private_error(policy)
    _check_told(session, reading_months(request.start, request.end), EXACTLY)


def mark_told(session: Session, policy: Policy, subject: ReleaseSubject, *, at: datetime) -> None:
    """Mark months of which analysts may read exact numbers from now on.

    It is called in the transaction that keeps a release, of staff too: analysts read those as long
    as policy has exact numbers for them, and the month is not one of numbers with noise.

    Raises:
        ReleaseRefusedError: An analyst asked, and noise was told of the month meanwhile
            (`release.private`).
    """
    if subject.epsilon:
        return
    months = reading_months(subject.start, subject.end)
    if subject.purpose == RESEARCH:
        _check_told(session, months, EXACTLY)
    if policy.private is None:
        unmarked = [m for m in months if find(session, ToldMonthRow, month=m) is None]
        _mark(session, unmarked, EXACTLY, at=at)


def may_read_values(zone: AuthorityZone, release_id: str) -> bool:
    """Whether analysts may read the values of a release that there is."""
    if zone.policy.private is not None:
        return False
    asked = select(ReleaseRow.start, ReleaseRow.end).filter_by(release_id=release_id)
    with read_session(zone.engine) as session:
        months = reading_months(*session.exec(asked).one())
        rows = [find(session, ToldMonthRow, month=month) for month in months]
    return all(one is not None and one.told == EXACTLY for one in rows)


def _mark(session: Session, months: Iterable[str], told: Told, *, at: datetime) -> None:
    for month in months:
        keep(session, ToldMonthRow(month=month, told=told, at=at))


def _check_told(session: Session, months: Iterable[str], wanted: Told) -> None:
    rows = [find(session, ToldMonthRow, month=month) for month in months]
    if any(row is not None and row.told != wanted for row in rows):
        raise other_way_error()


def is_charged(session: Session, request_id: str) -> bool:
    """Whether noise was charged for a request, for good."""
    asked = select(SpentNoiseRow.request_id).filter_by(request_id=request_id).limit(1)
    return session.exec(asked).first() is not None


def _check_left(session: Session, policy: Policy, cost: NoiseCost) -> int:
    """What is left of the customer class with the least, if that is enough [millionths]."""
    budget = policy.private.budget if policy.private else 0
    least = budget
    for month, name in product(cost.months, cost.classes):
        asked = select(func.coalesce(func.sum(SpentNoiseRow.epsilon), 0)).filter_by(
            month=month, customer_class=name
        )
        least = min(least, budget - int(session.exec(asked).one()))
    if cost.epsilon > least:
        raise spent_error(least)
    return least
