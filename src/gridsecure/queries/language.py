"""The language of questions: a measure of some groups in some steps, and a statistic of it.

    {"measure": "energy", "period": {"month": "2026-07"}, "every": "day",
     "where": {"zone": ["futian"]}, "group_by": ["customer_class"], "statistic": {"name": "sum"}}

A question is a partition of some meter points into groups (`groups`) and of a period into steps
(`steps`); what is computed on ciphertexts are totals over group and step, and all else is computed
of them (`answers`). It has one canonical spelling. Its errors name a field and what is allowed in
it, and quote nothing but a field's name.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from gridsecure.errors import InputError
from gridsecure.messages import Message
from gridsecure.plans import cells, query_names
from gridsecure.plans.noise import EPSILON_PATTERN, EPSILON_WORDS, read_epsilon
from gridsecure.plans.query_counted import check_counted
from gridsecure.queries.cohorts import Cohort, check_cohort
from gridsecure.queries.exact import sort_texts
from gridsecure.queries.forms import (
    ANY_STEP,
    CLOCKED,
    COUNT,
    ENERGY,
    FINE,
    MONEYS,
    NOT_COMPUTABLE,
    STEPS,
    Binned,
    CoincidentPeak,
    Concentration,
    Difference,
    Every,
    Histogram,
    Index,
    Loss,
    Rate,
    Ratio,
    Saving,
    Share,
    Shift,
    Statistic,
    Sum,
    Variance,
    Variation,
    WhatIf,
)
from gridsecure.queries.refusals import check_statistic, check_text, explain_error
from gridsecure.queries.spans import EVERY_HOUR, Period, Times

SQUARED: Final = query_names.SQUARED
AT_LEAST: Final = query_names.AT_LEAST
BILL_WHAT_IF: Final = query_names.BILL_WHAT_IF

GroupName = Literal["zone", "customer_class", "tariff"]
Resolution = Literal["interval", "daily", "monthly"]
"""The release policy's words."""

_MEASURES: Final = (
    "energy; of whole months register:NAME (of a time-of-use register, as register:peak),"
    " tier:N (energy within that tier), demand (the sum of maximum demands), bill, line:CHARGE (of"
    " bills, as line:energy), and count (of meter points)"
)
_MEASURE: Final = (
    r"^(energy|export|demand|bill|count|register:[^\x00-\x1f\x7f]{1,60}|line:[a-z0-9-]{1,60}"
    r"|tier:[1-9])$"
)


def _sort_groups(value: object) -> object:
    is_texts = isinstance(value, list) and all(isinstance(name, str) for name in value)
    return sort_texts(value) if is_texts and isinstance(value, list) else value


class Private(Message):
    """That a question is answered with noise, of the discrete Laplace distribution.

    Args:
        epsilon: What all of its totals together may cost: the less, the more noise.
    """

    kind: ClassVar[str] = "question-noise"
    epsilon: Annotated[str, Field(pattern=EPSILON_PATTERN, description=EPSILON_WORDS)]

    @property
    def millionths(self) -> int:
        """ε in millionths; 0 for none that may be asked for."""
        return read_epsilon(self.epsilon) or 0


class Question(Message):
    """What an analyst wants to know.

    Args:
        where: Whom it is about; everybody, if it is left out.
        every: The steps that the period is divided into; "month" is all of it.
        when: Which days and hours of the period.
        group_by: One number for each value of these.
        private: That it is answered with noise; left out, exactly.
    """

    kind: ClassVar[str] = "question"
    version: Literal[1] = 1
    measure: Annotated[str, Field(pattern=_MEASURE, description=_MEASURES)]
    where: Cohort | None = None
    period: Period
    every: Every = "month"
    when: Times | None = None
    group_by: Annotated[list[GroupName], BeforeValidator(_sort_groups)] = Field(
        default_factory=list
    )
    statistic: Statistic = Field(default=Sum(name="sum"), description="an object with a name")
    private: Private | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Question:
        for cohort in (self.where, self.second):
            if cohort is not None:
                check_cohort(cohort)
        _check_steps(self)
        _check_days(self)
        _check_compared(self)
        if isinstance(self.statistic, WhatIf):
            for rates in (self.statistic.rates, self.statistic.against):
                _check_rates(self, rates or ())
        _check_private(self)
        return self

    @property
    def text(self) -> str:
        """Its one canonical spelling: without what is left at its default, keys in order."""
        update: dict[str, Any] = {"where": self.where.spell() if self.where else None}
        if isinstance(self.statistic, Share | Difference | CoincidentPeak) and self.statistic.of:
            of = self.statistic.of.spell()
            update["statistic"] = self.statistic.model_copy(update={"of": of})
        spelled = self.model_copy(update=update).model_dump(exclude_defaults=True)
        return json.dumps(spelled, sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    @property
    def resolution(self) -> Resolution:
        """How often a number is given, in the policy's words.

        Whoever may leave out hours or days of a longer step can subtract, and so learns of these
        hours and days.
        """
        if self.every in CLOCKED or (self.when is not None and self.when.clock is not None):
            return "interval"
        is_daily = self.every == "day" or self.period.day is not None
        return "daily" if is_daily or self.when is not None else "monthly"

    @property
    def measures(self) -> frozenset[str]:
        """What it is told of, in the policy's words."""
        head = measure_head(self.measure)
        if head in MONEYS:
            return frozenset({cells.MONEY})
        return frozenset({cells.BILLS if head == COUNT else cells.ENERGY})

    @property
    def totals(self) -> tuple[str, ...]:
        """The totals over group and step that its statistic is computed of, by name.

        `energy`, `register:peak`, `bill` and so on are totals of the measure. `energy:squared` is
        the total of squares [Wh²], and `at-least:50` the number of meter points with 50 kWh or
        more. `bill:what-if` are bills by the statistic's tariff. `count` has none: how many meter
        points a group has is public.
        """
        if isinstance(self.statistic, Binned):
            return tuple(f"{AT_LEAST}{edge}" for edge in self.statistic.edges_kwh)
        if isinstance(self.statistic, Variance | Variation | Concentration):
            return (self.measure, self.measure + SQUARED)
        if isinstance(self.statistic, WhatIf) and self.statistic.tariff is not None:
            return (BILL_WHAT_IF,)
        return () if self.measure == COUNT else (self.measure,)

    @property
    def is_compared(self) -> bool:
        """Whether it has a second cohort, which may be everybody."""
        if isinstance(self.statistic, Difference):
            return self.statistic.of is not None
        return isinstance(self.statistic, Share | CoincidentPeak)

    @property
    def second(self) -> Cohort | None:
        """The second cohort; None where there is none, or it is everybody."""
        if isinstance(self.statistic, Share | Difference | CoincidentPeak):
            return self.statistic.of
        return None

    @property
    def base(self) -> Period | None:
        """The period that its own is compared with, if it is."""
        return (
            self.statistic.base if isinstance(self.statistic, Index | Difference | Shift) else None
        )

    @property
    def legs(self) -> tuple[Question, ...]:
        """What is asked for: questions of totals alone, each of one period and asked for itself.

        They say nothing that only the asker computes with, as rates, weights or series. So several
        statistics of the same totals are one question. One that compares two periods is two, first
        of its own period.
        """
        own = Question(
            measure=self.measure,
            where=self.where,
            period=self.period,
            every=self.every,
            when=self._times,
            group_by=self.group_by,
            statistic=self._base_statistic,
            private=self.private,
        )
        if self.base is None:
            return (own,)
        return (own, own.model_copy(update={"period": self.base}))

    @property
    def _base_statistic(self) -> Statistic:
        """The plainest statistic of the same totals and cohorts."""
        if isinstance(self.statistic, Binned):
            return Histogram(name="histogram", edges_kwh=self.statistic.edges_kwh)
        if isinstance(self.statistic, Variance | Variation | Concentration):
            return Variance(name="variance")
        if isinstance(self.statistic, WhatIf) and self.statistic.tariff is not None:
            return self.statistic
        return Share(name="share", of=self.second) if self.is_compared else Sum(name="sum")

    @property
    def _times(self) -> Times | None:
        """When it asks, where the statistic names days or hours of its own as well."""
        clock = self.when.clock if self.when else None
        if isinstance(self.statistic, Saving):
            return Times(days=[*self.statistic.event, *self.statistic.baseline], clock=clock)
        return self.when

    def has_day(self, day: date) -> bool:
        """Whether hours of a local day are asked about."""
        if isinstance(self.statistic, Saving):
            return day.isoformat() in (*self.statistic.event, *self.statistic.baseline)
        return self.when is None or self.when.has_day(day)


def measure_head(measure: str) -> str:
    """The word that a measure begins with."""
    return measure.partition(":")[0]


def parse_question(text: str) -> Question:
    """Read a question in any spelling.

    Raises:
        InputError: It is not one: `query.<what>`. The message names the field and what is allowed.
    """
    check_statistic(check_text(text), refused=NOT_COMPUTABLE)
    try:
        return Question.model_validate_json(text)
    except ValidationError as error:
        (first, *_) = error.errors(include_url=False, include_input=False)
        raise explain_error(first, model=Question) from error


def question_schema() -> dict[str, Any]:
    """The JSON schema of questions."""
    schema = Question.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema


def _check_steps(question: Question) -> None:
    """A statistic is of some measures, and of steps that these are known in."""
    head, form = measure_head(question.measure), type(question.statistic)
    name = question.statistic.name
    check_counted(question.measure)
    if head not in form.measures:
        raise InputError(
            f"The measure {head} has no statistic {name}.",
            reason="query.measure",
            remedy=f"{name} is of {', '.join(sorted(form.measures))}.",
        )
    is_whole = question.every == "month" and question.period.month is not None
    if head != ENERGY and not (is_whole and question.when is None):
        raise InputError(
            f"The measure {head} is known of whole months alone.",
            reason="query.every",
            remedy='Ask for a month, every "month", without when; or for energy.',
        )
    if question.every not in form.steps:
        raise InputError(
            f'{name} is not known every "{question.every}".',
            reason="query.every",
            remedy=f"Allowed are {', '.join(s for s in STEPS if s in form.steps)}.",
        )
    if question.every == "month" and question.period.day is not None:
        raise InputError(
            "A day has no months.",
            reason="query.every",
            remedy='Allowed are "interval", "hour" and "day".',
        )
    if isinstance(question.statistic, Binned) and question.when is not None:
        raise InputError(
            "Only whole months are compared with edges.",
            reason="query.when",
            remedy="Leave when out.",
        )


def _check_days(question: Question) -> None:
    """What it names of days lies in its period, and some of it is left."""
    named: set[str] = set(question.when.days or ()) if question.when else set()
    if isinstance(question.statistic, Saving):
        if question.when is not None and (question.when.days or question.when.weekdays):
            raise InputError(
                "A saving names its own days.",
                reason="query.when",
                remedy="Leave days and weekdays out of when.",
            )
        named |= {*question.statistic.event, *question.statistic.baseline}
    days = question.period.days
    if not named <= {day.isoformat() for day in days}:
        raise InputError(
            "A day lies outside the period.",
            reason="query.outside-period",
            remedy=f"The period runs from {days[0]} to {days[-1]}.",
        )
    if not any(question.has_day(day) for day in days):
        raise InputError(
            "No day of the period is left.",
            reason="query.contradiction",
            remedy="Name days of the weekdays that you ask about.",
        )


def _check_compared(question: Question) -> None:
    """What is compared are two different things, and one number a step is explained."""
    second, own = question.second, question.where
    if question.is_compared and (second and second.spell()) == (own and own.spell()):
        raise InputError(
            "A cohort is compared with itself.",
            reason="query.contradiction",
            remedy="Name another one in statistic.of, or leave that out to compare with everybody.",
        )
    base = question.base
    if base is not None and (base.day is None) != (question.period.day is None):
        raise InputError(
            "A month is compared with a day.",
            reason="query.period",
            remedy="Give a base of the same kind as the period.",
        )
    if base == question.period:
        raise InputError(
            "A period is compared with itself.",
            reason="query.contradiction",
            remedy="Name another one in statistic.base.",
        )
    if base is not None and question.when is not None and question.when.days is not None:
        raise InputError(
            "Days of one period are not those of another.",
            reason="query.when",
            remedy="Use weekdays or the clock.",
        )
    if isinstance(question.statistic, Loss) and question.group_by:
        raise InputError(
            "What was fed in is of one group.",
            reason="query.group-by",
            remedy="Leave group_by out, and name the feeder's zone in where.",
        )
    if isinstance(question.statistic, Ratio):
        _check_given(question, question.statistic)


def _check_private(question: Question) -> None:
    """Noise is measured by what one customer's intervals may come to, so it is of their sums."""
    if question.private is None:
        return
    if question.totals != (ENERGY,):
        raise InputError(
            "Noise is added to totals of energy alone.",
            reason="query.private",
            remedy="Ask for energy and a statistic of its sums, or leave private out.",
        )
    if not question.private.millionths:
        raise InputError(
            "private.epsilon is not allowed.",
            reason="query.private",
            remedy=f"Allowed are {EPSILON_WORDS}.",
        )


def _check_given(question: Question, ratio: Ratio) -> None:
    if isinstance(ratio.given, str):
        return  # its groups are compared when it is filled in
    groups = [tuple(given.group) for given in ratio.given]
    if len(set(groups)) != len(groups) or {len(g) for g in groups} != {len(question.group_by)}:
        raise InputError(
            "What is given is not of one group each.",
            reason="query.given",
            remedy="Give each group once, with a value for every name in group_by.",
        )


def _check_rates(question: Question, rates: Sequence[Rate]) -> None:
    """At each time that is asked about, exactly one rate holds."""
    whens = [rate.when for rate in rates if rate.when is not None]
    is_clocked = any(when.clock is not None for when in whens)
    allowed = CLOCKED if is_clocked else FINE if whens else ANY_STEP
    if question.every not in allowed:
        raise InputError(
            "Rates change within a step.",
            reason="query.every",
            remedy=f"Allowed are {', '.join(s for s in STEPS if s in allowed)}.",
        )
    whole = [begin for when in whens for window in when.windows for begin in window]
    if question.every == "hour" and any(minute % 60 for minute in whole):
        raise InputError(
            "A rate changes within an hour.",
            reason="query.every",
            remedy='Ask every "interval".',
        )
    days = [day for day in question.period.days if question.has_day(day)] if rates else []
    asked = question.when.windows if question.when else EVERY_HOUR
    for day in days:
        found = sorted(
            window
            for rate in rates
            if rate.when is None or rate.when.has_day(day)
            for window in (rate.when.windows if rate.when else EVERY_HOUR)
        )
        if not _fill(found, asked):
            raise InputError(
                f"On {day}, not exactly one rate holds at each time.",
                reason="query.rates",
                remedy="Give rates whose days and windows fill what is asked about, each time "
                "once.",
            )


def _fill(windows: Sequence[tuple[int, int]], asked: Sequence[tuple[int, int]]) -> bool:
    """Whether windows in order lie apart, and fill those that are asked about."""
    apart = all(one[1] <= two[0] for one, two in itertools.pairwise(windows))
    kept = [
        (max(low, begin), min(high, end))
        for begin, end in asked
        for low, high in windows
        if max(low, begin) < min(high, end)
    ]
    return apart and sum(b - a for a, b in kept) == sum(b - a for a, b in asked)
