"""What a policy decides about a request, and how two policies differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Final, NamedTuple, Protocol

from gridsecure.errors import InputError
from gridsecure.messages import Merging
from gridsecure.periods import is_day
from gridsecure.plans.cells import (
    BILLS,
    ENERGY,
    MEASURES,
    MONEY,
    OTHER_CLASSES,
    WHOLE,
    Minima,
)
from gridsecure.plans.purposes import BILLING, PREVIEW, PURPOSES, RESEARCH, STAFF_PURPOSES
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
from gridsecure.policy.private_answers import PrivateTerms, is_less_noise

REQUEST: Final = "request"
"""Stands in a comparison for a request that is told nothing of some customers."""


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
        private: The noise that it is told with; None where it is exact.
        agreement: Whether it is told under an agreement of the data market alone.
    """

    minimum: int
    approvals: Approvals
    budget: int | None = None
    expires: datetime | None = None
    dominance: int = WHOLE
    customer_points: int = 0
    private: PrivateTerms | None = None
    agreement: bool = False

    def is_looser_than(self, other: Terms) -> bool:
        """Whether they permit more, oftener or for longer, with less noise or fewer approvals."""
        return (
            self.minimum < other.minimum
            or is_less_noise(self.private, other.private)
            or (other.agreement and not self.agreement)
            or self.dominance > other.dominance
            or self._takes_fewer_points(other)
            or self.approvals.is_looser_than(other.approvals)
            or is_more(self.budget, other.budget)
            or is_more(self.expires, other.expires)
        )

    def _takes_fewer_points(self, other: Terms) -> bool:
        """Whether a customer is taken to be smaller: more cells keep a limit, less noise hides."""
        is_of_none = other.dominance == WHOLE and other.private is None
        if is_of_none or not self.customer_points:
            return False
        return not other.customer_points or self.customer_points < other.customer_points


class Change(NamedTuple):
    """What two policies decide otherwise.

    Args:
        case: Its measure is `REQUEST` where nothing is told of the customers, and others approve.
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
    share, private = strictest_share(rules), find_private(policy, case)
    points = policy.customer_points if share < WHOLE or private else 0
    return Terms(
        *(rule.minimum, approvals, budget, min(ends, default=None), share, points, private),
        agreement=case.purpose in policy.agreement,
    )


def find_private(policy: Policy, case: Case) -> PrivateTerms | None:
    """The noise that whoever asks is told a number with; None where it is exact."""
    return policy.private if case.role == "analyst" else None


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
    """Everything that two policies let through otherwise, as it is enforced.

    A request tells the measures of a customer class together, so a rule that goes may loosen what
    others permit: the largest minimum, the smallest limit of dominance, all approvals and the
    smallest budget of them hold. It is compared as long as every rule holds, and from each moment
    on at which one expires.
    """
    ends = {rule.expires for policy in (before, after) for rule in policy.rules if rule.expires}
    pairs = [(before, after), *((before.at(end), after.at(end)) for end in sorted(ends))]
    classes = sorted({*before.classes, *after.classes, OTHER_CLASSES})
    alike: dict[tuple[str | None, str | None], list[Change]] = {}
    changes = []
    for name in classes:
        groups = (before.find_group(name), after.find_group(name))
        if groups not in alike:
            alike[groups] = _compare_class(pairs, name)
        for change in alike[groups]:
            case = change.case._replace(customer_class=name)
            changes.append(change._replace(case=case))
    return changes


def _compare_class(pairs: Iterable[tuple[Policy, Policy]], customer_class: str) -> list[Change]:
    """What is otherwise of a class: of each case the first change, or the first that is looser."""
    found: dict[Case, Change] = {}
    for before, after in pairs:
        for asked, measures in _list_asked():
            first, second = (
                find_enforced(policy, asked, measures, customer_class) for policy in (before, after)
            )
            cases = [*first, *(case for case in second if case not in first)]
            changes = [Change(case, first.get(case), second.get(case)) for case in cases]
            if not second:
                changes.append(_compare_request(before, after, asked, customer_class))
            for change in changes:
                known = found.get(change.case)
                is_first = known is None and change.before != change.after
                if is_first or (known and change.is_looser and not known.is_looser):
                    found[change.case] = change
    return list(found.values())


def find_enforced(
    policy: Policy, asked: Asked, measures: Sequence[str], customer_class: str
) -> dict[Case, Terms]:
    """What a request is told of a class beside what else it is told: by case, on which terms."""
    cases = {
        name: Case(name, asked.resolution, customer_class, asked.role, asked.purpose)
        for name in MEASURES
    }
    told = {
        name: terms
        for name in measures
        for terms in [find_terms(policy, cases[name])]
        if terms is not None
    }
    share = strictest_share(rule for case in cases.values() for rule in _rules(policy, case))
    approvals = find_approvals(policy, [asked], classes=[customer_class])
    budgets = [terms.budget for terms in told.values() if terms.budget is not None]
    found = {}
    for name, own in told.items():
        # Money is told where all else is; what else there is does not wait for money.
        beside = [terms for other, terms in told.items() if name == MONEY or other != MONEY]
        # A number of bills is about nobody's energy, unless energy is told with it.
        limit = WHOLE if name == BILLS and ENERGY not in told else share
        private = find_private(policy, cases[name])
        found[cases[name]] = Terms(
            max(terms.minimum for terms in beside),
            approvals,
            min(budgets, default=None),
            own.expires,
            limit,
            policy.customer_points if limit < WHOLE or private else 0,
            private,
            asked.purpose in policy.agreement,
        )
    return found


def _compare_request(before: Policy, after: Policy, asked: Asked, customer_class: str) -> Change:
    """Who approves a request that is told nothing of a class: its bills are issued all the same."""
    case = Case(REQUEST, asked.resolution, customer_class, asked.role, asked.purpose)
    first, second = (
        Terms(0, find_approvals(policy, [asked], classes=[customer_class]))
        for policy in (before, after)
    )
    matters = asked.purpose == BILLING or _tells_anything(after, asked)
    return Change(case, first, second if matters else first)


def _tells_anything(policy: Policy, asked: Asked) -> bool:
    """Whether somebody who asks for a purpose is told something of others."""
    return any(asked.role in rule.roles and asked.purpose in rule.purposes for rule in policy.rules)


def _list_asked() -> list[tuple[Asked, Sequence[str]]]:
    """Every way to ask, with the measures that a request is about."""
    monthly: list[tuple[Role, str]] = [
        ("staff", purpose) for purpose in sorted({*STAFF_PURPOSES["bill"], PREVIEW})
    ]
    curves: list[tuple[Role, str]] = [
        ("staff", purpose) for purpose in sorted(STAFF_PURPOSES["load-curve"])
    ]
    curves.append(("analyst", RESEARCH))
    ways: list[tuple[Resolution, Sequence[str], list[tuple[Role, str]]]] = [
        ("monthly", MEASURES, monthly),
        ("monthly", (ENERGY, MONEY), [("analyst", RESEARCH)]),
        ("daily", (ENERGY,), curves),
        ("interval", (ENERGY,), curves),
    ]
    return [
        (Asked(role, purpose, resolution), measures)
        for resolution, measures, askers in ways
        for role, purpose in askers
    ]


def list_cases(classes: Iterable[str]) -> Iterator[Case]:
    """Every question that a request can ask of a policy, for some customer classes."""
    for name in classes:
        for asked, measures in _list_asked():
            for measure in measures:
                yield Case(measure, asked.resolution, name, asked.role, asked.purpose)
