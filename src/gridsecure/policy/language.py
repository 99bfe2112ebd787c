"""A release policy's text, and what it says.

A policy is a TOML file of rules. Each permits some *measures* at some *grades* of data, for some
groups of customer classes, roles and purposes, and says the fewest customers that such a number may
be about. What no rule permits is refused. Where several rules permit the same, the one with the
largest minimum decides, whatever their order.

The grade of data (分类分级) follows from its resolution: what is measured more often says more
of a household. A policy is refused where a higher grade is permitted more than a lower one, so
raising the grade of a resolution can only tighten it.

A rule may name the officers whose approval such a number needs, and for which of them a standing
authorisation will do. Of several rules that permit the same, all approvals are needed.

A policy may say no more than the gate enforces. A term that the gate does not know yet, such as
a limit of dominance, is refused when the policy is read (`policy.unenforced`), so that nobody
relies on a rule that nothing holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from gridsecure.approvals import APPROVER_ROLES
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import InputError
from gridsecure.month_texts import read_moment
from gridsecure.plans.cells import MEASURES, OTHER_CLASSES
from gridsecure.plans.purposes import PREVIEW, PURPOSES
from gridsecure.toml_documents import read_document

Resolution = Literal["monthly", "daily", "interval"]
"""How often a released number is given; `interval` is anything finer than a day."""
Role = Literal["staff", "analyst"]
"""Who asks: an analyst with the grant for this very query, or anybody else."""

RESOLUTIONS: Final[tuple[Resolution, ...]] = ("monthly", "daily", "interval")
"""From the coarsest to the finest."""
ROLES: Final[tuple[Role, ...]] = ("staff", "analyst")
UNENFORCED: Final = ("budget", "dominance", "expires", "merge")
"""Terms of rules that the gate does not enforce yet."""

FEWEST: Final = 2
MOST: Final = 1_000_000
FEWEST_PREVIEWED: Final = 15
"""A cell answers up to 14 questions of previews, which need an unknown more than that."""
HIGHEST_GRADE: Final = 9

_HEAD: Final = (
    "name", "version", "in_force_from", "title", "grades", "class_groups", "sources", "rules",
)  # fmt: skip
_TERMS: Final = ("measures", "grades", "classes", "roles", "purposes")
_RULE: Final = ("name", *_TERMS, "minimum", "sources")
_MAY_RULE: Final = ("approvals", "standing")
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?")
_LONGEST_CLASS: Final = 64
_LONGEST_TITLE: Final = 500


@dataclass(frozen=True, slots=True)
class Rule:
    """What a rule permits.

    Args:
        classes: Names of groups of customer classes.
        minimum: Fewest customers that a number may be about.
        sources: Names of the sources it rests on.
        approvals: Roles of the officers who have to approve each release.
        standing: Those of them for whom a standing authorisation will do.
    """

    name: str
    measures: frozenset[str]
    grades: frozenset[int]
    classes: frozenset[str]
    roles: frozenset[str]
    purposes: frozenset[str]
    minimum: int
    sources: tuple[str, ...]
    approvals: frozenset[str] = frozenset()
    standing: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Policy:
    """A release policy.

    Args:
        version: A later policy has a larger one.
        in_force_from: Nothing is released under it before.
        grades: The grade of each resolution.
        class_groups: Group -> customer classes; `OTHER_CLASSES` in one stands for all that no group
            names.
        sources: Name -> title of what rules rest on.
        text: As it was written.
    """

    name: str
    version: int
    in_force_from: datetime
    title: str
    grades: Mapping[Resolution, int]
    class_groups: Mapping[str, frozenset[str]]
    rules: tuple[Rule, ...]
    sources: Mapping[str, str]
    text: str = field(repr=False)

    @property
    def digest(self) -> str:
        """SM3 of its text."""
        return sm3_hex(self.text.encode())

    @property
    def classes(self) -> list[str]:
        """Every customer class that it names."""
        return sorted(frozenset().union(*self.class_groups.values()))

    def find_group(self, customer_class: str) -> str | None:
        """The group of a customer class, or of all that no group names; None if there is none."""
        for wanted in (customer_class, OTHER_CLASSES):
            for group, classes in self.class_groups.items():
                if wanted in classes:
                    return group
        return None

    def find_rules(
        self, measure: str, *, grade: int, group: str | None, role: str, purpose: str
    ) -> list[Rule]:
        """All rules that permit it, in the order of the file."""
        return [
            rule
            for rule in self.rules
            if measure in rule.measures
            and grade in rule.grades
            and group in rule.classes
            and role in rule.roles
            and purpose in rule.purposes
        ]


def strictest(rules: Iterable[Rule]) -> Rule | None:
    """The rule that decides: of those that permit it, the one with the largest minimum."""
    return max(rules, key=lambda rule: rule.minimum, default=None)


class Approvals(NamedTuple):
    """Whose approval is needed.

    Args:
        roles: Roles of officers.
        standing: Those of them for whom a standing authorisation will do.
    """

    roles: frozenset[str] = frozenset()
    standing: frozenset[str] = frozenset()

    def is_looser_than(self, other: Approvals) -> bool:
        """Whether some officer is not asked any more, or not for each release any more."""
        return not self.roles >= other.roles or not (self.standing & other.roles <= other.standing)


def join_approvals(rules: Iterable[Rule]) -> Approvals:
    """The approvals that several rules want together; a word stands where all of them let it."""
    found = list(rules)
    roles = frozenset[str]().union(*(rule.approvals for rule in found))
    each = frozenset[str]().union(*(rule.approvals - rule.standing for rule in found))
    return Approvals(roles, roles - each)


def parse_policy(text: str) -> Policy:
    """Read a policy.

    Args:
        text: TOML; the packs beside this module are examples.

    Raises:
        InputError: It is no TOML or lacks a part (`policy.syntax`); it has a term that nobody knows
            (`policy.term`), or that the gate does not enforce yet (`policy.unenforced`); a value
            that a term cannot have (`policy.value`); a higher grade that is permitted more
            (`policy.grades`); or a rule without a source (`policy.source`).
    """
    document = read_document(text, name="policy", refuse=lambda why: _refusal(why, "syntax"))
    _check_keys("The policy", document, wanted=_HEAD)
    groups = _read_groups(document["class_groups"])
    grades = _read_grades(document["grades"])
    sources = _read_sources(document["sources"])
    tables = document["rules"]
    if not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
        raise _refusal("The policy has no [[rules]]", "syntax")
    rules = tuple(_read_rule(table, groups=groups, sources=sources) for table in tables)
    if len({rule.name for rule in rules}) != len(rules):
        raise _refusal("Two rules of the policy have one name", "value")
    policy = Policy(
        name=_read_name(document["name"], "The policy's name"),
        version=_read_number(document["version"], "version", least=1, most=MOST),
        in_force_from=_read_start(document["in_force_from"]),
        title=_read_title(document["title"], "title"),
        grades=grades,
        class_groups=groups,
        rules=rules,
        sources=sources,
        text=text,
    )
    _check_grades(policy)
    return policy


def _check_grades(policy: Policy) -> None:
    """Refuse what would make a higher grade looser: raising a grade has to tighten the rule."""
    for measure in MEASURES:
        for group in policy.class_groups:
            for role in ROLES:
                for purpose in PURPOSES:
                    asked = {"group": group, "role": role, "purpose": purpose}
                    _check_ladder(policy, measure, asked)


def _check_ladder(policy: Policy, measure: str, asked: Mapping[str, str]) -> None:
    before, approved = 0, Approvals()
    for grade in range(1, HIGHEST_GRADE + 1):
        rules = policy.find_rules(measure, grade=grade, **asked)
        rule, approvals = strictest(rules), join_approvals(rules)
        minimum = MOST + 1 if rule is None else rule.minimum
        if minimum < before or (rule is not None and approvals.is_looser_than(approved)):
            named = rule.name if rule else ""
            raise _refusal(
                f"Rule {named!r} permits {measure} of grade {grade} more than of the grade below, "
                f"for {asked['group']}, {asked['role']} and {asked['purpose']}",
                "grades",
            )
        before, approved = minimum, approvals


def _check_keys(
    where: str, table: Mapping[str, Any], *, wanted: tuple[str, ...], more: tuple[str, ...] = ()
) -> None:
    later = [name for name in UNENFORCED if name in table]
    if later:
        raise InputError(
            f"{where} has the term {later[0]!r}, which the release gate does not enforce yet.",
            reason="policy.unenforced",
            remedy="Take the term out, and see to it in another way: the gate would ignore it.",
        )
    unknown = sorted(table.keys() - {*wanted, *more})
    if unknown:
        raise _refusal(f"{where} has an unknown term {unknown[0]!r}", "term")
    missing = [name for name in wanted if name not in table]
    if missing:
        raise _refusal(f"{where} does not say {missing[0]!r}", "syntax")


def _read_rule(
    table: Mapping[str, Any],
    *,
    groups: Mapping[str, frozenset[str]],
    sources: Mapping[str, str],
) -> Rule:
    name = _read_name(table.get("name"), "A rule's name")
    where = f"Rule {name!r}"
    _check_keys(where, table, wanted=_RULE, more=_MAY_RULE)
    known = {
        "measures": MEASURES,
        "grades": range(1, HIGHEST_GRADE + 1),
        "classes": groups,
        "roles": ROLES,
        "purposes": PURPOSES,
    }
    terms = {term: _read_choice(table[term], f"{where}: {term}", known[term]) for term in _TERMS}
    cited = tuple(sorted(_read_choice(table["sources"], f"{where}: sources", sources)))
    least = FEWEST_PREVIEWED if PREVIEW in terms["purposes"] else FEWEST
    minimum = _read_number(table["minimum"], f"{where}: minimum", least=least, most=MOST)
    approvals = frozenset[str]()
    if "approvals" in table:
        approvals = _read_choice(table["approvals"], f"{where}: approvals", APPROVER_ROLES)
    standing = frozenset[str]()
    if "standing" in table:
        standing = _read_choice(table["standing"], f"{where}: standing", sorted(approvals))
    terms |= {"approvals": approvals, "standing": standing}
    return Rule(name=name, **terms, minimum=minimum, sources=cited)


def _read_choice(given: object, where: str, known: Any) -> frozenset[Any]:
    """A list of different values, each of them known, and one at the least."""
    if (
        not isinstance(given, list)
        or not given
        or not all(type(one) in (str, int) and one in known for one in given)
        or len(set(given)) != len(given)
    ):
        said = ", ".join(map(str, known)) or "nothing that the policy names"
        raise _refusal(f"{where} is a list of some of: {said}", "value")
    return frozenset(given)


def _read_groups(table: object) -> dict[str, frozenset[str]]:
    if not isinstance(table, dict) or not table:
        raise _refusal("[class_groups] names a list of customer classes for each group", "syntax")
    groups: dict[str, frozenset[str]] = {}
    for name, classes in table.items():
        _read_name(name, "A group's name")
        if (
            not isinstance(classes, list)
            or not classes
            or not all(type(one) is str and 0 < len(one) <= _LONGEST_CLASS for one in classes)
        ):
            raise _refusal(f"The group {name!r} is a list of customer classes", "value")
        groups[name] = frozenset(classes)
    if sum(map(len, groups.values())) != len(frozenset().union(*groups.values())):
        raise _refusal("A customer class is in two groups", "value")
    return groups


def _read_grades(table: object) -> dict[Resolution, int]:
    if not isinstance(table, dict) or table.keys() != set(RESOLUTIONS):
        raise _refusal(f"[grades] says a grade for {', '.join(RESOLUTIONS)}", "syntax")
    found = {
        name: _read_number(table[name], f"grades.{name}", least=1, most=HIGHEST_GRADE)
        for name in RESOLUTIONS
    }
    if sorted(found.values()) != list(found.values()):
        raise _refusal("A finer resolution has a lower grade than a coarser one", "grades")
    return found


def _read_sources(tables: object) -> dict[str, str]:
    if not isinstance(tables, list) or not tables:
        raise _refusal("The policy has no [[sources]]", "source")
    found: dict[str, str] = {}
    for table in tables:
        if not isinstance(table, dict) or table.keys() != {"name", "title"}:
            raise _refusal("A source says its name and its title", "source")
        found[_read_name(table["name"], "A source's name")] = _read_title(table["title"], "title")
    return found


def _read_start(given: object) -> datetime:
    """A moment with an offset, in the years that this house reads."""
    moment = read_moment(given.isoformat()) if isinstance(given, datetime) else None
    if moment is None:
        raise _refusal("in_force_from is a moment with its offset", "value")
    return moment


def _read_name(given: object, where: str) -> str:
    if not isinstance(given, str) or not _NAME.fullmatch(given):
        raise _refusal(f"{where} is of small letters, digits and hyphens", "value")
    return given


def _read_title(given: object, where: str) -> str:
    if not isinstance(given, str) or not 0 < len(given) <= _LONGEST_TITLE:
        raise _refusal(f"{where} is a text of at most {_LONGEST_TITLE} characters", "value")
    return given


def _read_number(given: object, where: str, *, least: int, most: int) -> int:
    # A bool is an int to Python, and 1.0 is none to us.
    if type(given) is not int or not least <= given <= most:
        raise _refusal(f"{where} is a whole number from {least:,} to {most:,}", "value")
    return given


def _refusal(why: str, code: str) -> InputError:
    return InputError(
        f"{why}.",
        reason=f"policy.{code}",
        remedy="Correct the policy; `gridsecure policy show strict --text` prints an example.",
    )
