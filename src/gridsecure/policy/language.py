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
Cells below their minimum are merged where the rule says so (`merge`), along the policy's steps
(`merging`). Rules that merge the customers of one group have one minimum: at two, what is told at
the one would silence what is told at the other.

What a rule permits may end (`expires`), and be told in so many releases of a month (`budget`). A
rule that expired permits nothing, and goes on to say on what terms others permit the same.

A rule may limit how much of a cell one customer may be (`dominance`). The vault compares the bills
of a month; what is finer follows its answer. So a policy that limits what is finer limits months
for billing as well, and previews where it limits those: tariffs that are tried would be questions
about the largest customer.

A policy may want an agreement of the data market for releases of some purposes (`agreement`): none
of them is made until a consumer named one that both sides signed.

A policy says no more than the gate enforces: a term that nobody knows is refused when it is read
(`policy.term`), so that nobody relies on a rule that nothing holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import product
from typing import Any, Final, Literal, NamedTuple, TypeVar

from gridsecure.approvals import APPROVER_ROLES
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import InputError
from gridsecure.messages import MergeStep
from gridsecure.month_texts import read_moment
from gridsecure.plans.cells import BILLS, ENERGY, MEASURES, OTHER_CLASSES, WHOLE
from gridsecure.plans.merging import OTHERS, find_name
from gridsecure.plans.purposes import BILLING, PREVIEW, PURPOSES, RESEARCH
from gridsecure.policy.private_answers import PRIVATE, PrivateTerms, read_private
from gridsecure.toml_documents import read_document

Resolution = Literal["monthly", "daily", "interval"]
"""How often a released number is given; `interval` is anything finer than a day."""
Role = Literal["staff", "analyst"]
"""Who asks: an analyst with the grant for this very query, or anybody else."""

RESOLUTIONS: Final[tuple[Resolution, ...]] = ("monthly", "daily", "interval")
"""From the coarsest to the finest."""
ROLES: Final[tuple[Role, ...]] = ("staff", "analyst")

FEWEST: Final = 2
MOST: Final = 1_000_000
FEWEST_PREVIEWED: Final = 15
"""A cell answers up to 14 questions of previews, which need an unknown more than that."""
FEWEST_POINTS: Final = 2
"""Where nobody has several meter points, all count, and no other number says more."""
HIGHEST_GRADE: Final = 9

_HEAD: Final = (
    "name", "version", "in_force_from", "title", "grades", "class_groups", "sources", "rules",
)  # fmt: skip
_MAY_HEAD: Final = ("merging", "expires", "customer_points", "agreement", PRIVATE)
_MAY_RULE: Final = ("approvals", "standing", "merge", "expires", "budget", "dominance")
_TERMS: Final = ("measures", "grades", "classes", "roles", "purposes")
_RULE: Final = ("name", *_TERMS, "minimum", "sources")
_GROUPED: Final = "grouped"
_CLASSES_OF_STEP: Final = ("apart", _GROUPED)
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
        merge: Whether cells of fewer are merged.
        expires: It permits nothing from then on; None is never.
        budget: How many releases of a calendar month may tell what it permits; None is any number.
        dominance: Largest share of a cell that one customer may have [%]; `WHOLE` is no limit.
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
    merge: bool = False
    expires: datetime | None = None
    budget: int | None = None
    dominance: int = WHOLE


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
        merging: The steps by which cells are merged, from the nearest neighbours to the farthest.
        expires: Nothing is released under it from then on; None is never.
        as_of: The moment at which it is asked what it permits; None is before anything expires.
        customer_points: Most meter points that one customer has, by the utility's books; 0 is any
            number. The gate knows which meter point counts for its customer, and not whose the
            others are.
        private: On which terms analysts are told numbers with noise, and no others; None where
            theirs are exact.
        agreement: Purposes of which nothing is released but under an agreement of the data market.
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
    merging: tuple[MergeStep, ...] = ()
    expires: datetime | None = None
    as_of: datetime | None = None
    customer_points: int = 0
    private: PrivateTerms | None = None
    agreement: frozenset[str] = frozenset()

    @property
    def digest(self) -> str:
        """SM3 of its text."""
        return sm3_hex(self.text.encode())

    @property
    def terms_digest(self) -> str:
        """Names what it permits: its digest, and another name once rules expired."""
        over = [rule.name for rule in self.rules if self._is_over(rule)]
        return self.digest if not over else sm3_hex(json.dumps([self.digest, *over]).encode())

    def at(self, moment: datetime) -> Policy:
        """It, asked at a moment."""
        return replace(self, as_of=moment)

    def permits(self, rules: Iterable[Rule]) -> bool:
        """Whether one of some rules has not expired.

        Those that have still say on what terms: time takes away, and never loosens.
        """
        return any(not self._is_over(rule) for rule in rules)

    def _is_over(self, rule: Rule) -> bool:
        if rule.expires is None or self.as_of is None:
            return False
        return rule.expires <= self.as_of

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


def smallest_budget(rules: Iterable[Rule]) -> int | None:
    """How many releases of a calendar month may tell it; None is any number."""
    return min((rule.budget for rule in rules if rule.budget is not None), default=None)


def latest_expiry(rules: Iterable[Rule]) -> datetime | None:
    """When none of some rules permits anything any more; None is never."""
    ends = [rule.expires for rule in rules]
    return None if None in ends else max((end for end in ends if end is not None), default=None)


EndT = TypeVar("EndT", int, datetime)


def is_more(one: EndT | None, other: EndT | None) -> bool:
    """Whether a budget or an expiry is a larger one than another, where None is without end."""
    return other is not None and (one is None or one > other)


def strictest_share(rules: Iterable[Rule]) -> int:
    """The largest share that one customer may have by all rules that permit it [%]."""
    return min((rule.dominance for rule in rules), default=WHOLE)


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
            (`policy.term`); a value that a term cannot have (`policy.value`); a higher grade that
            is permitted more
            (`policy.grades`); steps of merging that do not follow each other, or rules that merge
            one group at two minima (`policy.merging`); a limit of dominance that nothing compares
            (`policy.dominance`); numbers with noise for nobody, or of customers of any size
            (`policy.private`); or a rule without a source (`policy.source`).
    """
    document = read_document(text, name="policy", refuse=lambda why: _refusal(why, "syntax"))
    _check_keys("The policy", document, wanted=_HEAD, more=_MAY_HEAD)
    groups = _read_groups(document["class_groups"])
    grades = _read_grades(document["grades"])
    sources = _read_sources(document["sources"])
    tables = document["rules"]
    if not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
        raise _refusal("The policy has no [[rules]]", "syntax")
    rules = tuple(_read_rule(table, groups=groups, sources=sources) for table in tables)
    if len({rule.name for rule in rules}) != len(rules):
        raise _refusal("Two rules of the policy have one name", "value")
    points = _read_points(document)
    policy = Policy(
        name=_read_name(document["name"], "The policy's name"),
        version=_read_number(document["version"], "version", least=1, most=MOST),
        in_force_from=_read_moment(document["in_force_from"], "in_force_from"),
        title=_read_title(document["title"], "title"),
        grades=grades,
        class_groups=groups,
        rules=rules,
        sources=sources,
        text=text,
        merging=_read_merging(document.get("merging", []), groups=groups),
        expires=_read_expiry(document, "expires"),
        customer_points=points,
        private=_read_private(document, points),
        agreement=_read_agreement(document),
    )
    if policy.expires is not None and policy.expires <= policy.in_force_from:
        raise _refusal("The policy expires before it is in force", "value")
    _check_grades(policy)
    _check_merging(policy)
    _check_dominance(policy)
    _check_private(policy)
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
    before, approved, below, share = 0, Approvals(), list[Rule](), WHOLE
    for grade in range(1, HIGHEST_GRADE + 1):
        rules = policy.find_rules(measure, grade=grade, **asked)
        rule, approvals = strictest(rules), join_approvals(rules)
        minimum = MOST + 1 if rule is None else rule.minimum
        own = 0 if rule is None else strictest_share(rules)
        if (minimum < before or own > share) or (
            rule is not None
            and (approvals.is_looser_than(approved) or (below and _is_freer(rules, below)))
        ):
            named = rule.name if rule else ""
            raise _refusal(
                f"Rule {named!r} permits {measure} of grade {grade} more than of the grade below, "
                f"for {asked['group']}, {asked['role']} and {asked['purpose']}",
                "grades",
            )
        before, approved, below, share = minimum, approvals, rules, own


def _is_freer(rules: Sequence[Rule], below: Sequence[Rule]) -> bool:
    """Whether some rules permit more releases, or for longer, than others."""
    return is_more(smallest_budget(rules), smallest_budget(below)) or is_more(
        latest_expiry(rules), latest_expiry(below)
    )


def _check_merging(policy: Policy) -> None:
    """Refuse rules that would merge one group of classes in two ways."""
    merging = [rule for rule in policy.rules if rule.merge]
    if merging and not policy.merging:
        raise _refusal(f"Rule {merging[0].name!r} merges, and the policy has no steps", "merging")
    for group in policy.class_groups:
        deciding = {
            strictest(
                policy.find_rules(measure, grade=grade, group=group, role=role, purpose=purpose)
            )
            for measure, role, purpose in product(MEASURES, ROLES, PURPOSES)
            for grade in set(policy.grades.values())
        }
        minima = {rule.minimum for rule in deciding if rule is not None and rule.merge}
        if len(minima) > 1:
            shown = " and ".join(map(str, sorted(minima)))
            raise _refusal(
                f"Rules merge the group {group!r} at the minima {shown}: what is told at "
                "one of them would silence the other",
                "merging",
            )


def _check_dominance(policy: Policy) -> None:
    """Refuse a limit that no month's bills would be compared by, and previews that are freer."""
    grades = policy.grades
    for group, role, purpose in product(policy.class_groups, ROLES, PURPOSES):
        billed = policy.find_rules(
            ENERGY, grade=grades["monthly"], group=group, role="staff", purpose=BILLING
        )
        compared = strictest_share(billed)
        for grade in {grades["daily"], grades["interval"]}:
            rules = policy.find_rules(ENERGY, grade=grade, group=group, role=role, purpose=purpose)
            if strictest_share(rules) < compared:
                raise _refusal(
                    f"Energy of {group} in days or intervals, for {purpose}, has a limit of "
                    f"dominance that their months, for {BILLING}, are not compared by",
                    "dominance",
                )
    for group, measure in product(policy.class_groups, MEASURES):
        billed, previewed = (
            policy.find_rules(
                measure, grade=grades["monthly"], group=group, role="staff", purpose=purpose
            )
            for purpose in (BILLING, PREVIEW)
        )
        if previewed and strictest_share(billed) < strictest_share(previewed):
            raise _refusal(
                f"Previews of {measure} of {group} have a looser limit of dominance than bills",
                "dominance",
            )


def _read_private(document: Mapping[str, Any], customer_points: int) -> PrivateTerms | None:
    if PRIVATE not in document:
        return None
    return read_private(document[PRIVATE], customer_points=customer_points, refuse=_refusal)


def _read_agreement(document: Mapping[str, Any]) -> frozenset[str]:
    """Purposes that want an agreement: bills are owed anyway, and previews are of nobody."""
    if "agreement" not in document:
        return frozenset()
    may = [one for one in PURPOSES if one not in (BILLING, PREVIEW)]
    return frozenset(_read_choice(document["agreement"], "agreement", may))


def _check_private(policy: Policy) -> None:
    """Refuse noise on what analysts may not ask for: of that they are told nothing at all."""
    if policy.private is not None and not any(
        "analyst" in rule.roles and RESEARCH in rule.purposes and ENERGY in rule.measures
        for rule in policy.rules
    ):
        raise _refusal("[private] speaks of analysts, and no rule permits them energy", PRIVATE)


def _check_keys(
    where: str,
    table: Mapping[str, Any],
    *,
    wanted: tuple[str, ...],
    more: tuple[str, ...] = (),
) -> None:
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
    terms: dict[str, Any] = {
        term: _read_choice(table[term], f"{where}: {term}", known[term]) for term in _TERMS
    }
    cited = tuple(sorted(_read_choice(table["sources"], f"{where}: sources", sources)))
    least = FEWEST_PREVIEWED if PREVIEW in terms["purposes"] else FEWEST
    minimum = _read_number(table["minimum"], f"{where}: minimum", least=least, most=MOST)
    approvals = frozenset[str]()
    if "approvals" in table:
        approvals = _read_choice(table["approvals"], f"{where}: approvals", APPROVER_ROLES)
    standing = frozenset[str]()
    if "standing" in table:
        standing = _read_choice(table["standing"], f"{where}: standing", sorted(approvals))
    merge = table.get("merge", False)
    if not isinstance(merge, bool):
        raise _refusal(f"{where}: merge is true or false", "value")
    terms |= {"approvals": approvals, "standing": standing}
    terms["expires"] = _read_expiry(table, f"{where}: expires")
    if "budget" in table:
        if BILLING in terms["purposes"]:
            raise _refusal(f"{where}: bills are issued, whatever budget there is", "value")
        terms["budget"] = _read_number(table["budget"], f"{where}: budget", least=1, most=MOST)
    share = _read_share(table, where, measures=terms["measures"], minimum=minimum)
    return Rule(name=name, **terms, minimum=minimum, sources=cited, merge=merge, dominance=share)


def _read_points(document: Mapping[str, Any]) -> int:
    if "customer_points" not in document:
        return 0
    return _read_number(
        document["customer_points"], "customer_points", least=FEWEST_POINTS, most=MOST
    )


def _read_share(
    table: Mapping[str, Any], where: str, *, measures: frozenset[str], minimum: int
) -> int:
    if "dominance" not in table:
        return WHOLE
    share = _read_number(table["dominance"], f"{where}: dominance", least=1, most=WHOLE - 1)
    if measures == {BILLS}:
        raise _refusal(f"{where}: dominance is of energy and money, and it has neither", "value")
    if share * minimum < WHOLE:
        raise _refusal(f"{where}: one of {minimum} customers has more than {share} %", "value")
    return share


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
    return _read_lists(table, "The group", "customer class")


def _read_lists(table: Mapping[str, object], where: str, what: str) -> dict[str, frozenset[str]]:
    """Lists of words by name; no word is in two of them."""
    found: dict[str, frozenset[str]] = {}
    for name, words in table.items():
        _read_name(name, f"{where}'s name")
        if (
            not isinstance(words, list)
            or not words
            or not all(type(one) is str and 0 < len(one) <= _LONGEST_CLASS for one in words)
        ):
            raise _refusal(f"{where} {name!r} lists names of {what}s", "value")
        found[name] = frozenset(words)
    if sum(map(len, found.values())) != len(frozenset().union(*found.values())):
        raise _refusal(f"A {what} is in two of the same kind", "value")
    return found


def _read_merging(tables: object, *, groups: Mapping[str, frozenset[str]]) -> tuple[MergeStep, ...]:
    """The steps, each of which keeps together what the one before put together."""
    if not isinstance(tables, list):
        raise _refusal("[[merging]] says the steps by which cells are merged", "syntax")
    steps: list[MergeStep] = []
    for table in tables:
        if not isinstance(table, dict):
            raise _refusal("[[merging]] says the steps by which cells are merged", "syntax")
        _check_keys("A step of merging", table, wanted=("areas", "classes"))
        if table["classes"] not in _CLASSES_OF_STEP or not isinstance(table["areas"], dict):
            raise _refusal(
                "A step of merging says its areas, and classes: 'apart' or 'grouped'", "value"
            )
        areas = _read_lists(table["areas"], "The area", "zone")
        grouped = groups if table["classes"] == _GROUPED else {}
        step = MergeStep(
            areas={name: sorted(zones) for name, zones in areas.items()},
            groups={name: sorted(classes) for name, classes in grouped.items()},
        )
        if steps:
            _check_step(steps[-1], step)
        steps.append(step)
    return tuple(steps)


def _check_step(before: MergeStep, step: MergeStep) -> None:
    """Refuse a step that would take apart what the one before it put together."""
    zones = sorted({OTHERS, *(z for own in (before, step) for a in own.areas.values() for z in a)})
    for area in before.areas:
        beneath = {find_name(step.areas, z) for z in zones if find_name(before.areas, z) == area}
        if len(beneath) > 1:
            raise _refusal(f"A step of merging takes the area {area!r} apart", "merging")
    if before.groups and not step.groups:
        raise _refusal("A step of merging takes customer classes apart", "merging")


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


def _read_moment(given: object, where: str) -> datetime:
    """A moment with an offset, in the years that this house reads."""
    moment = read_moment(given.isoformat()) if isinstance(given, datetime) else None
    if moment is None:
        raise _refusal(f"{where} is a moment with its offset", "value")
    return moment


def _read_expiry(table: Mapping[str, Any], where: str) -> datetime | None:
    return _read_moment(table["expires"], where) if "expires" in table else None


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
