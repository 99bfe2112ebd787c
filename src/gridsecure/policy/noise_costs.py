"""What a request costs of the budgets for noise, and that none is told exactly instead.

ε is charged for each customer class that lies there and each month of readings in the period, told
or withheld, because whom a question is about is nobody's to know. A customer with meter points of
several classes may lose a budget for each, where uploads have one of them alone. Nothing is given
back: neither where a release ended in the middle, nor with another month.

Checker and vault charge by these functions, each for itself.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from gridsecure.approvals import ReleaseSubject
from gridsecure.errors import ReleaseRefusedError
from gridsecure.plans.noise import read_epsilon, spell_epsilon
from gridsecure.plans.purposes import RESEARCH
from gridsecure.policy.language import Policy

PRIVATE: Final = "release.private"
SPENT: Final = "query.budget"
_SMALLEST: Final = timedelta(microseconds=1)


class NoiseCost(NamedTuple):
    """What is charged before anything is decrypted.

    Args:
        epsilon: In millionths.
        months: Of the readings, as 2026-07.
        classes: Customer classes.
    """

    epsilon: int
    months: tuple[str, ...]
    classes: tuple[str, ...]


def find_cost(policy: Policy, subject: ReleaseSubject) -> NoiseCost | None:
    """What a request costs; None where its numbers are exact, and may be.

    Raises:
        ReleaseRefusedError: It is exact where policy wants noise, or with noise, or more of ε,
            where policy has none for it (`release.private`).
    """
    is_asked = subject.purpose == RESEARCH
    terms = policy.private if is_asked else None
    epsilon = read_epsilon(subject.epsilon) or 0
    if terms is None and not subject.epsilon:
        return None
    if terms is None or subject.plan != "query" or not 0 < epsilon <= terms.epsilon:
        raise not_private_error(policy)
    classes = tuple(sorted({cell.customer_class for cell in subject.cells}))
    return NoiseCost(epsilon, reading_months(subject.start, subject.end), classes)


def check_epsilon(policy: Policy, epsilon: int) -> None:
    """Refuse a question whose numbers are told otherwise by policy, before anything is computed.

    Args:
        epsilon: In millionths; 0 where it asks for exact numbers.

    Raises:
        ReleaseRefusedError: As `find_cost`.
    """
    most = policy.private.epsilon if policy.private else 0
    if epsilon > most or bool(epsilon) != bool(most):
        raise not_private_error(policy)


def reading_months(start: str, end: str) -> tuple[str, ...]:
    """The calendar months that a period has a part of, on its own clock.

    >>> reading_months("2026-07-15T00:00:00+08:00", "2026-08-15T00:00:00+08:00")
    ('2026-07', '2026-08')
    """
    first = datetime.fromisoformat(start)
    last = datetime.fromisoformat(end).astimezone(first.tzinfo) - _SMALLEST
    numbers = range(_number(first), max(_number(last), _number(first)) + 1)
    return tuple(f"{number // 12:04d}-{number % 12 + 1:02d}" for number in numbers)


def _number(moment: datetime) -> int:
    return moment.year * 12 + moment.month - 1


def not_private_error(policy: Policy) -> ReleaseRefusedError:
    """That numbers are told with noise, or exactly, and were asked for otherwise."""
    terms = policy.private
    if terms is None:
        said = "Analysts are told exact numbers under this policy, and none with noise."
        remedy = "Leave private out of the question."
    else:
        said = "Analysts are told numbers with noise under this policy, and no others."
        remedy = f'Ask a sealed question with private.epsilon up to "{spell_epsilon(terms[0])}".'
    return ReleaseRefusedError(said, reason=PRIVATE, remedy=remedy)


def spent_error(left: int) -> ReleaseRefusedError:
    """That a question costs more than is left of a month's budget.

    Args:
        left: In millionths.
    """
    return ReleaseRefusedError(
        "Less is left of the budget for these readings than the question costs.",
        reason=SPENT,
        remedy=f"ε {spell_epsilon(max(left, 0))} is left of it, for good. Ask with so much, or the "
        "same question as somebody before.",
    )


def other_way_error() -> ReleaseRefusedError:
    """That the other kind of numbers of a month was told to analysts before."""
    return ReleaseRefusedError(
        "Of this month's readings, analysts may read either exact numbers or numbers with noise, "
        "and were given the others before.",
        reason=PRIVATE,
        remedy="Ask about another month, or read what was released.",
    )
