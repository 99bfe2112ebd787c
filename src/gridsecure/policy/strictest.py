"""The strictest of several policies: a policy that permits what every one of them permits.

Where data of several owners are told of together, each owner's policy holds (维持原有数据供给协议).
What is formed here is a policy like any other, with a text of its own, so that everybody who forms
it finds the same digest, officers sign it, and one gate enforces it. Term by term:

    minimum          the largest            dominance       the smallest share
    approvals        all of them            standing        where every policy lets it
    budget           the smallest           expires         the earliest
    customer_points  the most, or any       private         the smallest ε and budget
    merge            where all merge by the same steps; else cells of too few are withheld
    agreement        for every purpose that one of them wants it for

What is met is what each policy enforces: measures of a customer class are told together, so a
measure that one policy drops takes its minimum and its limit to those that stay. The result is then
compared with each policy by the comparison that guards every change of policy. Where it would be
looser in some case, the terms cannot be joined, and no policy is made (`policy.incomparable`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import product
from typing import Any, Final, NamedTuple

from gridsecure.errors import InputError
from gridsecure.messages import MergeStep
from gridsecure.plans.cells import BILLS, MEASURES, OTHER_CLASSES, WHOLE
from gridsecure.plans.noise import spell_epsilon
from gridsecure.plans.purposes import PURPOSES
from gridsecure.policy.decisions import (
    Asked,
    Terms,
    compare_policies,
    find_enforced,
    find_minima,
)
from gridsecure.policy.language import (
    RESOLUTIONS,
    ROLES,
    Approvals,
    Policy,
    Resolution,
    parse_policy,
)

JOINT: Final = "joint"
_GRADES: Final[dict[Resolution, int]] = {
    name: grade for grade, name in enumerate(RESOLUTIONS, start=1)
}
_LONGEST_NAME: Final = 64

Key = tuple[str | None, ...]
"""The group of a customer class by each policy."""


class _Met(NamedTuple):
    """On which terms all policies permit something, and whether all merge it."""

    terms: Terms
    merge: bool


class _Told(NamedTuple):
    """What a rule lists, one word of each at first."""

    measures: frozenset[Any]
    grades: frozenset[Any]
    classes: frozenset[Any]
    roles: frozenset[Any]
    purposes: frozenset[Any]


def find_strictest(policies: Iterable[Policy], *, name: str = JOINT, version: int = 1) -> Policy:
    """The strictest of some policies, whatever their order.

    Args:
        policies: One at the least.
        name: What it is called, and its version: of those that are put in force where another one
            holds, each needs a larger one.

    Raises:
        InputError: They permit nothing in common (`policy.nothing-common`), or have terms that
            cannot be joined (`policy.incomparable`); or the name is none (`policy.value`).
    """
    found = sorted({one.digest: one for one in policies}.values(), key=lambda one: one.digest)
    groups = _join_groups(found)
    merging = _common_steps(found, groups)
    met = {
        told: own
        for key, group in _names(groups).items()
        for told, own in _meet_class(found, groups[key][0], group)
    }
    if not met:
        raise InputError(
            "The policies permit nothing in common.",
            reason="policy.nothing-common",
            remedy="Compare them (gridsecure policy diff); each has to permit what all tell of.",
        )
    met = _settle_merging(met, can_merge=bool(merging))
    named = {group: groups[key] for key, group in _names(groups).items()}
    head = (json.dumps(name), version)
    text = _write(found, head=head, groups=named, merging=merging, met=met)
    try:
        made = parse_policy(text)
    except InputError as error:
        if error.reason == "policy.value":
            raise
        raise _incomparable() from error
    if any(one.is_looser for policy in found for one in compare_policies(policy, made)):
        raise _incomparable()
    return made


def _incomparable() -> InputError:
    return InputError(
        "The policies have terms that no one policy can keep together.",
        reason="policy.incomparable",
        remedy="Agree on one of them, or write a policy that `gridsecure policy diff` finds looser "
        "than none of them.",
    )


def _join_groups(policies: Sequence[Policy]) -> dict[Key, list[str]]:
    """Customer classes by the groups that the policies have them in."""
    names = sorted({OTHER_CLASSES, *(name for one in policies for name in one.classes)})
    found: dict[Key, list[str]] = {}
    for name in names:
        found.setdefault(tuple(one.find_group(name) for one in policies), []).append(name)
    return found


def _names(groups: Mapping[Key, Sequence[str]]) -> dict[Key, str]:
    """A name for each of them: the policies' own, where they agree on it."""
    found: dict[Key, str] = {}
    for place, key in enumerate(groups):
        said = "-".join(dict.fromkeys(one or "none" for one in key))
        is_free = len(said) <= _LONGEST_NAME and said not in found.values()
        found[key] = said if is_free else f"group-{place}"
    return found


def _common_steps(
    policies: Sequence[Policy], groups: Mapping[Key, Sequence[str]]
) -> tuple[MergeStep, ...]:
    """The steps of merging, where all policies have the same and agree on what is grouped."""
    first = policies[0]
    joined = {frozenset(classes) for classes in groups.values()}
    if any(one.merging != first.merging for one in policies):
        return ()
    is_alike = joined == set(first.class_groups.values())
    return first.merging if is_alike or not any(one.groups for one in first.merging) else ()


def _meet_class(
    policies: Sequence[Policy], customer_class: str, group: str
) -> Iterator[tuple[_Told, _Met]]:
    """What all policies permit of a customer class, case by case.

    Nothing is on looser terms than at the coarser resolution, as in any policy.
    """
    for role, purpose in product(ROLES, PURPOSES):
        coarser: dict[str, Terms] | None = None
        for resolution, grade in _GRADES.items():
            asked = Asked(role, purpose, resolution)
            terms = _meet_asked(policies, asked, customer_class)
            if coarser is not None:
                terms = {
                    name: _meet_terms([coarser[name], own], measure=name)
                    for name, own in terms.items()
                    if name in coarser
                }
            coarser = terms
            merge = all(_is_merged(one, asked, customer_class) for one in policies)
            for name, own in terms.items():
                words = (name, grade, group, role, purpose)
                yield _Told(*(frozenset({word}) for word in words)), _Met(own, merge)


def _meet_asked(policies: Sequence[Policy], asked: Asked, customer_class: str) -> dict[str, Terms]:
    """By measure, on which terms all policies permit it."""
    each = [find_enforced(one, asked, MEASURES, customer_class) for one in policies]
    found = {}
    for case in each[0]:
        own = [terms[case] for terms in each if case in terms]
        if len(own) == len(policies):
            found[case.measure] = _meet_terms(own, measure=case.measure)
    return found


def _is_merged(policy: Policy, asked: Asked, customer_class: str) -> bool:
    name = customer_class if customer_class in policy.classes else OTHER_CLASSES
    return name in find_minima(policy, asked).merging.classes


def _meet_terms(terms: Sequence[Terms], *, measure: str) -> Terms:
    """The strictest of some terms; what is of the whole policy is said there."""
    roles = frozenset[str]().union(*(one.approvals.roles for one in terms))
    each = frozenset[str]().union(*(one.approvals.roles - one.approvals.standing for one in terms))
    budgets = [one.budget for one in terms if one.budget is not None]
    ends = [one.expires for one in terms if one.expires is not None]
    return Terms(
        max(one.minimum for one in terms),
        Approvals(roles, roles - each),
        min(budgets, default=None),
        min(ends, default=None),
        # A number of bills is about nobody's energy; energy and money carry the limit.
        WHOLE if measure == BILLS else min(one.dominance for one in terms),
    )


def _settle_merging(met: Mapping[_Told, _Met], *, can_merge: bool) -> dict[_Told, _Met]:
    """Cells of a group are merged at one minimum, or not at all."""
    minima: dict[frozenset[str], set[int]] = {}
    for told, own in met.items():
        if own.merge:
            minima.setdefault(told.classes, set()).add(own.terms.minimum)
    return {
        told: own._replace(merge=own.merge and can_merge and len(minima[told.classes]) == 1)
        for told, own in met.items()
    }


def _join_told(met: Mapping[_Told, _Met]) -> list[tuple[_Told, _Met]]:
    """As few rules as say the same: two that differ in one list are one."""
    found = list(met.items())
    place = 0
    while place < len(found):
        told, own = found[place]
        for other in range(place + 1, len(found)):
            if found[other][1] == own and (joined := _joined(told, found[other][0])):
                del found[other]
                found[place] = (joined, own)
                place = -1  # from the beginning: what is joined may join with what came before
                break
        place += 1
    return found


def _joined(one: _Told, other: _Told) -> _Told | None:
    differ = [place for place in range(len(one)) if one[place] != other[place]]
    if len(differ) != 1:
        return None
    (place,) = differ
    return _Told(*(one[n] | other[n] if n == place else one[n] for n in range(len(one))))


def _write(
    policies: Sequence[Policy],
    *,
    head: tuple[str, int],
    groups: Mapping[str, Sequence[str]],
    merging: Sequence[MergeStep],
    met: Mapping[_Told, _Met],
) -> str:
    """The policy's text."""
    sources = {f"{one.name[:40].rstrip('-')}-{one.digest[:16]}": one for one in policies}
    ends = [one.expires for one in policies if one.expires is not None]
    names = ", ".join(f"{one.name} {one.version}" for one in policies)
    lines = [
        "# Made by `gridsecure policy strictest`: as strict as every policy among its sources.",
        f"name = {head[0]}",
        f"version = {head[1]}",
        f"in_force_from = {max(one.in_force_from for one in policies).isoformat()}",
        f"title = {_text(f'The strictest of: {names}'[:500])}",
        *_expiry(min(ends, default=None)),
        *_points(policies),
        *_agreement(policies),
        "",
        "[grades]",
        *(f"{name} = {grade}" for name, grade in _GRADES.items()),
        "",
        "[class_groups]",
        *(f"{name} = {_list(classes)}" for name, classes in groups.items()),
        *_private(policies, met),
    ]
    for step in merging:
        areas = ", ".join(f"{_text(name)} = {_list(zones)}" for name, zones in step.areas.items())
        said = "grouped" if step.groups else "apart"
        lines += ["", "[[merging]]", f"areas = {{ {areas} }}", f'classes = "{said}"']
    for name, one in sources.items():
        said = f"{one.name}, version {one.version}, SM3 {one.digest}"
        lines += ["", "[[sources]]", f"name = {_text(name)}", f"title = {_text(said)}"]
    for number, (told, own) in enumerate(_join_told(met), start=1):
        lines += ["", "[[rules]]", f'name = "case-{number}"', *_rule(told, own, list(sources))]
    return "\n".join(lines) + "\n"


def _rule(told: _Told, own: _Met, sources: Sequence[str]) -> Iterator[str]:
    terms = own.terms
    for name, words in zip(_Told._fields, told, strict=True):
        yield f"{name} = {_list(sorted(words))}"
    yield f"minimum = {terms.minimum}"
    for name, roles in zip(("approvals", "standing"), terms.approvals, strict=True):
        if roles:
            yield f"{name} = {_list(sorted(roles))}"
    if terms.dominance < WHOLE:
        yield f"dominance = {terms.dominance}"
    if terms.budget is not None:
        yield f"budget = {terms.budget}"
    yield from _expiry(terms.expires)
    if own.merge:
        yield "merge = true"
    yield f"sources = {_list(sources)}"


def _expiry(end: datetime | None) -> Iterator[str]:
    if end is not None:
        yield f"expires = {end.isoformat()}"


def _points(policies: Sequence[Policy]) -> Iterator[str]:
    """The most meter points of a customer by those that look at it; any number is the most."""
    said = [
        one.customer_points
        for one in policies
        if one.private is not None or any(rule.dominance < WHOLE for rule in one.rules)
    ]
    if said and all(said):
        yield f"customer_points = {max(said)}"


def _agreement(policies: Sequence[Policy]) -> Iterator[str]:
    """Every purpose that one of them wants an agreement for."""
    wanted = frozenset[str]().union(*(one.agreement for one in policies))
    if wanted:
        yield f"agreement = {_list(sorted(wanted))}"


def _private(policies: Sequence[Policy], met: Iterable[_Told]) -> Iterator[str]:
    """The least that one question and a month may cost, where analysts may ask at all."""
    terms = [one.private for one in policies if one.private is not None]
    if terms and any("analyst" in told.roles for told in met):
        yield from ("", "[private]")
        budget = min(one.budget for one in terms)
        yield f'epsilon = "{spell_epsilon(min(budget, *(one.epsilon for one in terms)))}"'
        yield f'budget = "{spell_epsilon(budget)}"'


def _list(words: Sequence[str | int]) -> str:
    return json.dumps(list(words), ensure_ascii=False)


def _text(said: str) -> str:
    return json.dumps(said, ensure_ascii=False)
