"""What a policy decides about a request, and how two policies differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import NamedTuple, Protocol

from gridsecure.errors import InputError
from gridsecure.messages import Merging
from gridsecure.periods import is_day
from gridsecure.plans.cells import ENERGY, MEASURES, OTHER_CLASSES, WHOLE, Minima
from gridsecure.plans.purposes import PREVIEW, PURPOSES, RESEARCH, STAFF_PURPOSES
from gridsecure.policy.language import (
    RESOLUTIONS,
    Approvals,
    Policy,
    Resolution,
    Role,
    Rule,
    is_more,
    join_approvals,
    latest_expiry,
    smallest_budget,
    strictest,
    strictest_share,
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a policy looks at in a request, besides measure and customer class."""

    role: Role
    purpose: str
    resolution: Resolution


def asked_for(purpose: str, *, resolution: Resolution) -> Asked:
    """What a request is to a policy: research comes with a grant, and nothing else does."""
    return Asked("analyst" if purpose == RESEARCH else "staff", purpose, resolution)


class Spanned(Protocol):
    """A column as far as its resolution goes: of `intervals` of one length, in its time."""

    @property
    def start(self) -> str: ...  # noqa: D102
    @property
    def end(self) -> str: ...  # noqa: D102
    @property
    def intervals(self) -> int: ...  # noqa: D102


def curve_resolution(columns: Iterable[Spanned]) -> Resolution:
    """The resolution of a load curve: daily where each number is of a whole local day.

    Columns of an hour each have one interval, too.
    """
    whole = all(one.intervals == 1 and is_day(one.start, one.end) for one in columns)
    return "daily" if whole else "interval"


class Case(NamedTuple):
    """One question to a policy."""

    measure: str
    resolution: Resolution
    customer_class: str
    role: str
    purpose: str


class Terms(NamedTuple):
    """On which terms a policy permits something.

    Args:
        minimum: Fewest customers.
        approvals: Whose approval it needs.
        budget: In how many releases of a calendar month it may be told; None is any number.
        expires: When it ends; None is never.
        dominance: Largest share of the number that one customer may have [%].
        customer_points: Most meter points that a customer is taken to have for it; 0 is any number,
            or that there is no such limit.
    """

    minimum: int
    approvals: Approvals
    budget: int | None = None
    expires: datetime | None = None
    dominance: int = WHOLE
    customer_points: int = 0

    def is_looser_than(self, other: Terms) -> bool:
        """Whether they permit more, oftener or for longer, or with fewer approvals."""
        return (
            self.minimum < other.minimum
            or self.dominance > other.dominance
            or self._takes_fewer_points(other)
            or self.approvals.is_looser_than(other.approvals)
            or is_more(self.budget, other.budget)
            or is_more(self.expires, other.expires)
        )

    def _takes_fewer_points(self, other: Terms) -> bool:
        """Whether a customer is taken to be smaller, so that more cells keep a limit."""
        if other.dominance == WHOLE or not self.customer_points:
            return False
        return not other.customer_points or self.customer_points < other.customer_points


class Change(NamedTuple):
    """What two policies decide otherwise.

    Args:
        before: None where it is refused.
        after: Likewise.
    """

    case: Case
    before: Terms | None
    after: Terms | None

    @property
    def is_looser(self) -> bool:
        """Whether the second policy permits more, as `Terms.is_looser_than`."""
        if self.before is None or self.after is None:
            return self.before is None
        return self.after.is_looser_than(self.before)


def read_case(*, measure: str, resolution: str, customer_class: str, purpose: str) -> Case:
    """A question as somebody typed it.

    Raises:
        InputError: One of the words is none of those that policies know (`policy.case`).
    """
    for word, known in ((measure, MEASURES), (resolution, RESOLUTIONS), (purpose, PURPOSES)):
        if word not in known:
            raise InputError(
                f"No policy speaks of {word!r}.",
                reason="policy.case",
                remedy=f"Say one of {', '.join(known)}.",
            )
    (found,) = (known for known in RESOLUTIONS if known == resolution)
    asked = asked_for(purpose, resolution=found)
    return Case(measure, found, customer_class, asked.role, purpose)


def decide(policy: Policy, case: Case) -> Rule | None:
    """The rule that decides a case; None where no rule permits it."""
    rules = _rules(policy, case)
    return strictest(rules) if policy.permits(rules) else None


def find_terms(policy: Policy, case: Case) -> Terms | None:
    """On which terms a case is permitted; None where no rule permits it."""
    rules = _rules(policy, case)
    rule = strictest(rules)
    if rule is None or not policy.permits(rules):
        return None
    ends = [end for end in (latest_expiry(rules), policy.expires) if end is not None]
    approvals, budget = join_approvals(rules), smallest_budget(rules)
    share = strictest_share(rules)
    points = policy.customer_points if share < WHOLE else 0
    return Terms(rule.minimum, approvals, budget, min(ends, default=None), share, points)


def find_approvals(policy: Policy, asked: Iterable[Asked], *, classes: Iterable[str]) -> Approvals:
    """Whose approval a request about some customer classes needs.

    Where no rule permits anything of a class, all approvals that the policy knows are needed: bills
    are issued whatever may be told of their totals. Rules that expired still want theirs.
    """
    deciding: list[Rule] = []
    for one, name in product(list(asked), list(classes)):
        cases = [Case(measure, one.resolution, name, one.role, one.purpose) for measure in MEASURES]
        rules = [rule for case in cases for rule in _rules(policy, case)]
        deciding += rules or policy.rules
    return join_approvals(deciding)


def _rules(policy: Policy, case: Case) -> list[Rule]:
    return policy.find_rules(
        case.measure,
        grade=policy.grades[case.resolution],
        group=policy.find_group(case.customer_class),
        role=case.role,
        purpose=case.purpose,
    )


def find_minima(policy: Policy, asked: Asked) -> Minima:
    """The fewest customers by class and measure that a request may be told of.

    A customer class is merged where every rule that permits something of it merges. Its smallest
    limit of dominance holds for all its measures: each of them tells of the others.
    """
    by_class, merged, shares = {}, [], {}
    for name in dict.fromkeys((*policy.classes, OTHER_CLASSES)):
        cases = [
            Case(measure, asked.resolution, name, asked.role, asked.purpose) for measure in MEASURES
        ]
        rules = {case.measure: decide(policy, case) for case in cases}
        deciding = {m: rule for m, rule in rules.items() if rule is not None}
        share = strictest_share(rule for case in cases for rule in _rules(policy, case))
        if share < WHOLE:
            shares[name] = share
        by_class[name] = {measure: rule.minimum for measure, rule in deciding.items()}
        if deciding and all(rule.merge for rule in deciding.values()):
            merged.append(name)
    points = policy.customer_points if shares else 0
    return Minima(by_class, Merging(classes=merged, steps=list(policy.merging)), shares, points)


def compare_policies(before: Policy, after: Policy) -> list[Change]:
    """Every case that two policies decide otherwise."""
    classes = sorted({*before.classes, *after.classes, OTHER_CLASSES})
    changes = []
    for case in list_cases(classes):
        change = Change(case, find_terms(before, case), find_terms(after, case))
        if change.before != change.after:
            changes.append(change)
    return changes


def list_cases(classes: Iterable[str]) -> Iterator[Case]:
    """Every question that a request can ask of a policy, for some customer classes."""
    monthly = [("staff", purpose) for purpose in sorted({*STAFF_PURPOSES["bill"], PREVIEW})]
    curves = [("staff", purpose) for purpose in sorted(STAFF_PURPOSES["load-curve"])]
    curves.append(("analyst", RESEARCH))
    asked: list[tuple[Resolution, Sequence[str], list[tuple[str, str]]]] = [
        ("monthly", MEASURES, monthly),
        ("daily", (ENERGY,), curves),
        ("interval", (ENERGY,), curves),
    ]
    for name in classes:
        for resolution, measures, askers in asked:
            for measure, (role, purpose) in product(measures, askers):
                yield Case(measure, resolution, name, role, purpose)
