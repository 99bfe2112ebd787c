"""The release policy in force as people read it, and what it says of a request.

A text is believed to be the policy of a digest only if it is; whether that policy is the one that
officers signed, `gridsecure policy show` tells, with a vault that one knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gridsecure.errors import SignatureError
from gridsecure.plans.cells import MEASURES, OTHER_CLASSES, WHOLE
from gridsecure.plans.noise import spell_epsilon
from gridsecure.plans.purposes import PURPOSES
from gridsecure.policy.decisions import Case, Terms, decide, find_terms, list_cases, read_case
from gridsecure.policy.language import RESOLUTIONS, Policy, Rule, parse_policy
from gridsecure.wire.policies import PoliciesTold, PolicyTold

ALL_MEASURES: Final = MEASURES
ALL_PURPOSES: Final = PURPOSES
ALL_RESOLUTIONS: Final[Sequence[str]] = RESOLUTIONS
EVERY_SHARE: Final = WHOLE
"""The share that is no limit [%]."""


@dataclass(frozen=True, slots=True)
class TakenInPolicy:
    """A policy that a service has taken in.

    Args:
        begins_at: When it took over, or takes over, ISO 8601.
        signatures: How many officers signed it.
    """

    policy: Policy
    begins_at: str
    signatures: int


@dataclass(frozen=True, slots=True)
class StandingPolicies:
    """The policy in force, and those that take over later; none is before the first one's day."""

    in_force: TakenInPolicy | None
    waiting: tuple[TakenInPolicy, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a policy says of a request.

    Args:
        rule: The one that decides; None where none permits it.
        terms: On which terms; None likewise.
        permitted: What else of these customers may be told, and of how many at the least.
    """

    case: Case
    rule: Rule | None
    terms: Terms | None
    permitted: tuple[tuple[Case, int], ...]


def read_policies(told: PoliciesTold) -> StandingPolicies:
    """What a service told of its policies, each text compared with its digest.

    Raises:
        SignatureError: A text is not what its digest says (`policy.text`).
        InputError: A text is no policy.
    """
    return StandingPolicies(
        None if told.in_force is None else _read(told.in_force), tuple(map(_read, told.waiting))
    )


def _read(told: PolicyTold) -> TakenInPolicy:
    policy = parse_policy(told.text)
    if policy.digest != told.digest:
        raise SignatureError(
            "A service shows another policy than its digest says.",
            reason="policy.text",
            remedy="Do not go by it. Tell the security officer.",
        )
    return TakenInPolicy(policy, told.begins_at, len(told.signatures))


def explain_request(
    policy: Policy, *, purpose: str, measure: str, resolution: str, customer_class: str
) -> Explanation:
    """Which rule decides a request, and what else of these customers may be told.

    Raises:
        InputError: No policy speaks of one of the words (`policy.case`).
    """
    asked = read_case(
        measure=measure, resolution=resolution, customer_class=customer_class, purpose=purpose
    )
    permitted = [
        (case, rule.minimum)
        for case in list_cases([customer_class])
        for rule in [decide(policy, case)]
        if rule is not None
    ]
    return Explanation(asked, decide(policy, asked), find_terms(policy, asked), tuple(permitted))


def list_resolutions(policy: Policy, rule: Rule) -> list[str]:
    """The resolutions that a rule is about, the coarsest first."""
    return [name for name in RESOLUTIONS if policy.grades[name] in rule.grades]


def list_classes(policy: Policy, groups: Iterable[str]) -> list[str]:
    """The customer classes of some groups; `*`, at the end, is every class that is not named."""
    found = frozenset[str]().union(*(policy.class_groups[group] for group in groups))
    return sorted(found, key=lambda name: (name == OTHER_CLASSES, name))


def spell_noise(terms: Terms) -> tuple[str, str] | None:
    """The ε of one question, and of all about a month's readings; None where numbers are exact."""
    if terms.private is None:
        return None
    return spell_epsilon(terms.private.epsilon), spell_epsilon(terms.private.budget)
