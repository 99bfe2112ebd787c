"""Totals over groups and steps: what a question is answered with, as it travels and is read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from pydantic import Field, NonNegativeInt, model_validator

from gridsecure.messages import Message
from gridsecure.queries.groups import COHORTS, CohortName, GroupLabel
from gridsecure.queries.language import Question
from gridsecure.queries.steps import step_minutes

Told = int | None
"""A whole number in its unit; None where it may not be told."""


class GroupCount(Message):
    """A group, and how many are in it, which is public.

    Args:
        values: Of what is grouped by, in its order.
        cohort: As in `GroupLabel`.
        customers: Who is in it with several meter points counts once, in each zone and class.
    """

    kind: ClassVar[str] = "group-count"
    values: list[str]
    cohort: CohortName = "first"
    points: NonNegativeInt
    customers: NonNegativeInt

    @property
    def label(self) -> GroupLabel:
        """What its meter points have in common."""
        return GroupLabel(tuple(self.values), self.cohort)


class StepSpan(Message):
    """A step: from its start until its end, ISO 8601 with the local offset."""

    kind: ClassVar[str] = "step-span"
    start: str = Field(min_length=10, max_length=40)
    end: str = Field(min_length=10, max_length=40)


class Totals(Message):
    """The totals of one question of one period.

    Args:
        values: By the name of a total (`Question.totals`), step by step the number of each group;
            energy [Wh], its squares [Wh²], demand [W], money [fen], meter points.
        noise: The scale of the noise that each number has [Wh]; 0 where they are exact.
    """

    kind: ClassVar[str] = "question-totals"
    groups: list[GroupCount]
    steps: list[StepSpan]
    values: dict[str, list[list[Told]]]
    noise: NonNegativeInt = 0

    @model_validator(mode="after")
    def _is_a_table(self) -> Self:
        labels = {group.label for group in self.groups}
        starts = {step.start for step in self.steps}
        shapes = {len(rows) for rows in self.values.values()} | {len(self.steps)}
        widths = {len(row) for rows in self.values.values() for row in rows} | {len(self.groups)}
        if len(shapes) > 1 or len(widths) > 1:
            raise ValueError("each total has a number for each step and group")
        if len(labels) != len(self.groups) or len(starts) != len(self.steps):
            raise ValueError("groups and steps are distinct")
        return self


@dataclass(frozen=True, slots=True)
class Crowd:
    """A cohort within a group, with its totals: what a statistic is computed of.

    Args:
        values: Of what is grouped by.
        numbers: By the name of a total, one for each step; None where any part of it is withheld.
        noise: The scales of the noise in each number [Wh]; none where it is exact.
    """

    values: tuple[str, ...]
    points: int
    customers: int
    numbers: dict[str, list[Told]]
    noise: tuple[int, ...] = ()

    def total(self, name: str) -> Told:
        """The sum over all steps."""
        return add_told(self.numbers[name])


def add_told(numbers: Iterable[Told]) -> Told:
    """The sum, if all of it may be told."""
    total = 0
    for number in numbers:
        if number is None:
            return None
        total += number
    return total


def list_crowds(question: Question, totals: Totals) -> list[tuple[Crowd, Crowd]]:
    """The question's own cohort and the second one, within each group; one and the same if alone.

    What both cohorts have in common counts for both.
    """
    numbered: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, group in enumerate(totals.groups):
        numbered[tuple(group.values)].append(number)
    found = []
    for values, numbers in sorted(numbered.items()):
        own, second = (
            _join(totals, values, [n for n in numbers if totals.groups[n].cohort != other])
            for other in (COHORTS[1], COHORTS[0])
        )
        found.append((own, second if question.is_compared else own))
    return found


def _join(totals: Totals, values: tuple[str, ...], numbers: Sequence[int]) -> Crowd:
    groups = [totals.groups[number] for number in numbers]
    return Crowd(
        values,
        points=sum(group.points for group in groups),
        customers=sum(group.customers for group in groups),
        numbers={
            name: [add_told(row[number] for number in numbers) for row in rows]
            for name, rows in totals.values.items()
        },
        noise=(totals.noise,) * len(groups) if totals.noise else (),
    )


def list_minutes(question: Question, totals: Totals) -> list[int]:
    """How much time of each step is asked about [min]."""
    return [step_minutes(question, step.start, step.end) for step in totals.steps]
