"""Groups: which slot of which roster a question counts where.

A group is all meter points that have the same values of what is grouped by, and are in the same
cohorts of a question that compares two. So no meter point is in two groups, and what both cohorts
have in common is a group of its own, whose totals count for both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridsecure.errors import InputError
from gridsecure.messages import Digest, RosterManifest
from gridsecure.queries.cohorts import Cohort, Range
from gridsecure.queries.language import GroupName, Question

MAX_GROUPS: Final = 1_000
"""Most groups of one question."""
OUTSIDE: Final = -1

CohortName = Literal["first", "second", "both"]
COHORTS: Final[tuple[CohortName, ...]] = ("first", "second", "both")
_MILLI: Final = 1000
"""Rosters hold VA and Wh, questions name kVA and kWh."""

_Mask = NDArray[np.bool_]


class GroupLabel(NamedTuple):
    """What the meter points of a group have in common.

    Args:
        values: Of what is grouped by, in its order.
        cohort: The cohorts they are in: "first" is the question's own.
    """

    values: tuple[str, ...]
    cohort: CohortName = "first"


@dataclass(frozen=True, slots=True, eq=False)
class Grouping:
    """Which slots are in which group.

    Args:
        labels: Of each group, sorted.
        rows: Per roster, the group number of each slot, -1 outside all.
    """

    labels: tuple[GroupLabel, ...]
    rows: tuple[NDArray[np.int64], ...]


def group_rosters(
    question: Question, rosters: Iterable[RosterManifest], *, tariffs: Mapping[Digest, str]
) -> Grouping:
    """Divide the meter points of rosters into a question's groups.

    Args:
        rosters: Taken one after the other, and not kept.
        tariffs: The name of each tariff, by digest; one without a name is called by its digest.

    Raises:
        InputError: More groups than one question may have (`query.groups`), or nobody is in any
            (`query.nobody`).
    """
    seen: dict[GroupLabel, int] = {}
    found = []
    for roster in rosters:
        facts = _Facts(roster, tariff_name=tariffs.get(roster.tariff, roster.tariff))
        found.append(_number(question, facts, seen=seen))
        if len(seen) > MAX_GROUPS:
            raise InputError(
                "The question has too many groups.",
                reason="query.groups",
                remedy=f"Group by less, or narrow where: up to {MAX_GROUPS:,} groups are told of.",
            )
    if not seen:
        raise InputError(
            "No meter point is in what the question asks about.",
            reason="query.nobody",
            remedy="Compare its names of zones, classes and tariffs with those of rosters.",
        )
    labels = sorted(seen, key=lambda label: (label.values, COHORTS.index(label.cohort)))
    # Found in the order of the rosters, numbered in the order of the labels. The last place is
    # for who is outside, which the number -1 reads.
    final = np.full(len(seen) + 1, OUTSIDE, dtype=np.int64)
    for number, label in enumerate(labels):
        final[seen[label]] = number
    return Grouping(tuple(labels), tuple(final[numbers] for numbers in found))


class _Coded:
    """Values of slots by number, so that expressions compare each value once."""

    def __init__(self, values: Sequence[str]) -> None:
        numbers: dict[str, int] = {}
        coded = (numbers.setdefault(value, len(numbers)) for value in values)
        self.codes = np.fromiter(coded, dtype=np.int64, count=len(values))
        self.values = list(numbers)

    def are_in(self, names: frozenset[str]) -> _Mask:
        """Which slots have any of these values."""
        return np.array([value in names for value in self.values], dtype=bool)[self.codes]


class _Facts:
    """What a roster says of its slots, as far as questions ask."""

    def __init__(self, roster: RosterManifest, *, tariff_name: str) -> None:
        self._roster, self._tariff_name = roster, tariff_name

    @cached_property
    def _zones(self) -> _Coded:
        return _Coded(self._roster.zones)

    @cached_property
    def _classes(self) -> _Coded:
        return _Coded(self._roster.customer_classes)

    @cached_property
    def _pseudonyms(self) -> _Coded:
        return _Coded(self._roster.pseudonyms)

    def code(self, name: GroupName) -> _Coded:
        """What is grouped by, of each slot."""
        if name == "tariff":
            return _Coded([self._tariff_name] * self._roster.slots)
        return self._zones if name == "zone" else self._classes

    def select(self, cohort: Cohort | None) -> _Mask:
        """Which slots are in a cohort; None is everybody."""
        slots = self._roster.slots
        kept = np.ones(slots, dtype=bool)
        if cohort is None:
            return kept
        if cohort.zone is not None:
            kept &= self._zones.are_in(frozenset(cohort.zone))
        if cohort.customer_class is not None:
            kept &= self._classes.are_in(frozenset(cohort.customer_class))
        if cohort.pseudonym is not None:
            kept &= self._pseudonyms.are_in(frozenset(cohort.pseudonym))
        if cohort.tariff is not None:
            kept &= not {self._tariff_name, self._roster.tariff}.isdisjoint(cohort.tariff)
        if cohort.large is not None:
            kept &= cohort.large == self._roster.large
        kept &= _lie_in(self._roster.contracted_va, cohort.contracted_kva)
        kept &= _lie_in(self._roster.household_quota_wh, cohort.household_quota_kwh)
        for one in cohort.all_of or ():
            kept &= self.select(one)
        for one in cohort.none_of or ():
            kept &= ~self.select(one)
        if cohort.any_of is not None:
            kept &= np.logical_or.reduce([self.select(one) for one in cohort.any_of])
        return kept


def _lie_in(values: Sequence[int], limits: Range | None) -> _Mask:
    if limits is None:
        return np.ones(len(values), dtype=bool)
    low, high = limits.limits
    numbers = np.array(values, dtype=object)  # whole numbers of any size
    kept = np.asarray(numbers >= math.ceil(low * _MILLI), dtype=bool)
    if high is not None:
        kept &= np.asarray(numbers < math.ceil(high * _MILLI), dtype=bool)
    return kept


def _number(question: Question, facts: _Facts, *, seen: dict[GroupLabel, int]) -> NDArray[np.int64]:
    """The provisional group of each slot; groups not met before are numbered on."""
    own = facts.select(question.where)
    second = facts.select(question.second) if question.is_compared else np.zeros_like(own)
    cohorts = np.where(own & second, 2, np.where(own, 0, 1))
    columns = [facts.code(name) for name in question.group_by]
    combined = cohorts
    for column in columns:
        combined = combined * len(column.values) + column.codes
    (inside,) = np.nonzero(own | second)
    _, first, places = np.unique(combined[inside], return_index=True, return_inverse=True)
    known = [
        seen.setdefault(
            GroupLabel(
                tuple(column.values[column.codes[slot]] for column in columns),
                COHORTS[cohorts[slot]],
            ),
            len(seen),
        )
        for slot in inside[first]
    ]
    numbers = np.full(len(own), OUTSIDE, dtype=np.int64)
    if known:
        numbers[inside] = np.array(known, dtype=np.int64)[places]
    return numbers
