"""Questions near another one: with less to tell groups apart by, or coarser, and each a question.

They are made of the question's own words alone, whatever anybody's data are: what is left out goes
from the finest to the coarsest. A published cell that holds the cohort is among them, and the last
one is about all cells by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gridsecure.errors import InputError
from gridsecure.queries.cohorts import Cohort
from gridsecure.queries.forms import STEPS
from gridsecure.queries.language import Question, parse_question

_PARTS: Final[tuple[tuple[str, ...], ...]] = (
    ("large",),
    ("any_of", "none_of", "all_of"),
    ("tariff",),
)
_CELLS: Final[tuple[tuple[str, ...], ...]] = (
    ("zone", "customer_class"),
    ("customer_class",),
    ("zone",),
    (),
)


def list_near(question: Question) -> Iterator[Question]:
    """Questions of which the nearest comes first, none of them twice."""
    seen = {question.text}
    for near in _variants(question):
        try:
            found = parse_question(near.text)
        except InputError:  # as a statistic that is not of coarser steps
            continue
        if found.text not in seen:
            seen.add(found.text)
            yield found


def _variants(question: Question) -> Iterator[Question]:
    groups = [question.group_by[:end] for end in range(len(question.group_by) - 1, -1, -1)]
    for kept in groups:
        yield question.model_copy(update={"group_by": kept})
    for every in STEPS[STEPS.index(question.every) + 1 :]:
        yield question.model_copy(update={"every": every, "when": None})
    for names in _PARTS:
        where = _without(question.where, names)
        yield question.model_copy(update={"where": where})
        yield question.model_copy(update={"where": where, "group_by": []})
    for names in _CELLS:
        where = _only(question.where, names)
        yield question.model_copy(update={"where": where, "group_by": []})
    yield question.model_copy(update={"where": None, "group_by": ["customer_class", "zone"]})


def _without(cohort: Cohort | None, names: tuple[str, ...]) -> Cohort | None:
    if cohort is None:
        return None
    return _only(cohort, tuple(name for name in type(cohort).model_fields if name not in names))


def _only(cohort: Cohort | None, names: tuple[str, ...]) -> Cohort | None:
    """A cohort by some of its conditions; None, which is everybody, where none is left."""
    left = {n: getattr(cohort, n) for n in names if cohort and getattr(cohort, n) is not None}
    return Cohort.model_construct(**left) if left else None
