"""Lines of an answer, and what a statistic is computed of, of one group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple

from gridsecure.errors import InputError
from gridsecure.plans.noise import half_width
from gridsecure.queries.forms import COUNT, MONEYS
from gridsecure.queries.language import Question, measure_head
from gridsecure.queries.numbers import round_half_up, shift, write_exactly
from gridsecure.queries.totals import Crowd, StepSpan, Told, add_told

TOLD: Final = "told"
WITHHELD: Final = "withheld"
"""A part of it may not be told."""
UNDEFINED: Final = "undefined"
"""It would be divided by nothing, or the series do not tell slopes apart."""
OPEN: Final = "beyond the last edge"
NOT_GIVEN: Final = "not given"
"""The asker gave no amount of the group."""

KWH: Final = "kWh"
KW: Final = "kW"
YUAN: Final = "yuan"
PERCENT: Final = "%"
POINTS: Final = "meter points"
WH_PER_KWH: Final = 1000

Span = tuple[str, str]
"""Start and end, ISO 8601."""


class Line(NamedTuple):
    """A number of an answer.

    Args:
        span: When it is about.
        value: None where there is none, and `state` says why.
        uncertainty: So near the exact number it is in 95 of 100 cases, where it has noise; None
            where that is not known.
    """

    span: Span
    quantity: str
    value: Decimal | None
    unit: str
    state: str = TOLD
    uncertainty: Decimal | None = None

    def with_noise(self, scales: Sequence[int], *, worth: Fraction) -> Line:
        """It, and how near to the exact number it is.

        Args:
            scales: Of the draws of noise that are added up in it [Wh].
            worth: What one Wh of them comes to in its unit.
        """
        if self.value is None or not scales:
            return self
        return self._replace(uncertainty=round_half_up(half_width(scales) * abs(worth)))


@dataclass(frozen=True, slots=True)
class Asked:
    """What a statistic is computed of, of one group.

    Args:
        own: The question's own cohort in the group.
        second: The one that it is compared with; the same where there is none.
        minutes: How much time of each step is asked about [min].
    """

    question: Question
    own: Crowd
    second: Crowd
    steps: Sequence[StepSpan]
    minutes: Sequence[int]

    @property
    def name(self) -> str:
        """The name of the measure's own total."""
        return self.question.measure

    def numbers_of(self, crowd: Crowd) -> list[Told]:
        """A cohort's numbers by step: of the measure, or how many meter points there are."""
        if self.name == COUNT:
            return [crowd.points] * len(self.steps)
        return crowd.numbers[self.name]

    @property
    def numbers(self) -> list[Told]:
        """The own cohort's."""
        return self.numbers_of(self.own)

    @property
    def spans(self) -> list[Span]:
        """When each step is."""
        return [(step.start, step.end) for step in self.steps]

    @property
    def whole(self) -> Span:
        """From the first step until the last."""
        return self.steps[0].start, self.steps[-1].end

    @property
    def unit(self) -> str:
        """The unit that its measure is shown in."""
        return self._shown[0]

    def show(self, number: int) -> Decimal:
        """A total in that unit."""
        return shift(number, places=self._shown[1])

    @property
    def worth(self) -> Fraction:
        """One of a total, in that unit."""
        return Fraction(1, 10 ** self._shown[1])

    @property
    def _shown(self) -> tuple[str, int]:
        head = measure_head(self.name)
        if head == COUNT:
            return POINTS, 0
        if head in MONEYS:
            return YUAN, 2
        return (KW, 3) if head == "demand" else (KWH, 3)

    @property
    def quantity(self) -> str:
        """What its measure is called in a line."""
        return self.name.replace(":", " ", 1)


Lines = Callable[[Asked, Any], Iterator[Line]]
"""What computes a statistic; it takes the statistic's own form."""


def total_line(asked: Asked, span: Span, quantity: str, number: Told) -> Line:
    """A total, in the unit of the measure."""
    if number is None:
        return Line(span, quantity, None, asked.unit, WITHHELD)
    return Line(span, quantity, asked.show(number), asked.unit)


def exact_line(span: Span, quantity: str, number: Fraction | None, unit: str) -> Line:
    """A number that ends; None is withheld."""
    if number is None:
        return Line(span, quantity, None, unit, WITHHELD)
    return Line(span, quantity, write_exactly(number), unit)


def quotient_line(
    span: Span, quantity: str, numbers: tuple[Fraction | Told, Fraction | Told], unit: str
) -> Line:
    """A quotient, rounded once.

    Args:
        numbers: What is divided, and by what; None is withheld.
    """
    above, below = numbers
    if above is None or below is None:
        return Line(span, quantity, None, unit, WITHHELD)
    if below == 0:
        return Line(span, quantity, None, unit, UNDEFINED)
    return Line(span, quantity, round_half_up(Fraction(above) / Fraction(below)), unit)


def times(number: Told, factor: Fraction | int) -> Fraction | None:
    """A multiple of a total, if that may be told."""
    return None if number is None else Fraction(number) * factor


def less(one: Told, other: Told) -> Told:
    """One total less another, if both may be told."""
    return add_told([one, None if other is None else -other])


def check_series(asked: Asked, series: Sequence[str], *, field: str) -> Sequence[str]:
    """The values of a series, if it has one for each step.

    Raises:
        InputError: It has not (`query.steps`), or is a name without values (`series.missing`).
    """
    if isinstance(series, str):
        raise lack_values(field)
    if len(series) != len(asked.steps):
        raise InputError(
            f"statistic.{field} has {len(series)} values, and there are {len(asked.steps)} steps.",
            reason="query.steps",
            remedy=f"Give one for each step in order, from {asked.whole[0]} on.",
        )
    return series


def lack_values(field: str) -> InputError:
    """Why nothing is computed of a series that was named and not given."""
    return InputError(
        f"statistic.{field} names a series that was not given.",
        reason="series.missing",
        remedy="Give its table with --series, its header beside it.",
    )
