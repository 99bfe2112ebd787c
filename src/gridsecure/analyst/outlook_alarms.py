"""Alarms (告警) on released series: limits, days unlike their kind, months unlike a year before.

A day is compared with the median of the last days of its kind before it: Monday to Friday, or
Saturday and Sunday. It is unlike them if |x - median| > level · max(1.4826 · MAD, share · median),
the Hampel identifier (F. R. Hampel, J. Am. Stat. Assoc. 69, 1974; MAD is the median of |x - median|
and 1.4826 of it the standard deviation of a normal distribution). The share keeps days that hardly
differ from raising alarms. Nothing is computed of what was not told, and all of it is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from statistics import median
from typing import Final, Literal

from gridsecure.analyst.outlook_series import UNITS, OutlookSeries
from gridsecure.errors import InputError
from gridsecure.plans.cells import ENERGY

Rule = Literal["above", "below", "change", "year"]
LEAST_DAYS: Final = 5
MOST_DAYS: Final = 20
"""Days of its kind that a day is compared with."""
LEAST_SPREAD: Final = Fraction(1, 50)
_SIGMA: Final = Fraction(14826, 10_000)
_SATURDAY: Final = 5


@dataclass(frozen=True, slots=True)
class AlarmRules:
    """What raises an alarm.

    Args:
        level: How many spreads a day may be from the median of its kind.
        year_percent: By how much a month may differ from the same month a year before [%].
        above: Largest energy of a day [kWh]; None for no limit.
        below: Smallest energy of a day [kWh]; None for no limit.
    """

    level: Fraction = Fraction(7, 2)
    year_percent: Fraction = Fraction(20)
    above: Fraction | None = None
    below: Fraction | None = None

    def __post_init__(self) -> None:
        """Refuse rules that mean nothing.

        Raises:
            InputError: A number is negative, or the limits leave nothing (`outlook.rules`).
        """
        numbers = (self.level, self.year_percent, self.above, self.below)
        is_crossed = None not in (self.above, self.below) and self.below > self.above  # type: ignore[operator] # neither is None
        if is_crossed or any(n is not None and n < 0 for n in numbers):
            raise InputError(
                "Levels, percentages and limits are 0 or more, and --below is below --above.",
                reason="outlook.rules",
                remedy="Change them, or leave them out.",
            )


@dataclass(frozen=True, slots=True)
class Alarm:
    """A number that a rule names.

    Args:
        at: The day, or the first day of the month.
        number: What was told [Wh or fen].
        expected: What it was compared with, in the same unit: a limit, a median, a month's number.
    """

    series: OutlookSeries
    at: date
    rule: Rule
    number: int
    expected: Fraction

    @property
    def percent(self) -> Fraction | None:
        """How far off it is, of what it was compared with [%]; None of nothing."""
        return 100 * (self.number - self.expected) / self.expected if self.expected else None


@dataclass(frozen=True, slots=True)
class Watched:
    """What was looked at.

    Args:
        compared: Numbers that a day of its kind or a month a year before was there for.
        alone: Numbers with too little before them: limits alone were applied.
        withheld: Days and months of which nothing was told, or not all.
    """

    alarms: tuple[Alarm, ...]
    compared: int
    alone: int
    withheld: int


def watch(series: Sequence[OutlookSeries], rules: AlarmRules) -> Watched:
    """Find what the rules name, in order of time."""
    alarms: list[Alarm] = []
    compared = alone = 0
    for one in series:
        for at, number in one.told.items():
            alarms += _limits(one, at, number, rules)
            expected = _expected(one, at)
            compared, alone = (compared, alone + 1) if expected is None else (compared + 1, alone)
            if expected is not None and _differs(one, number, expected, rules):
                rule: Rule = "change" if one.grain == "day" else "year"
                alarms.append(Alarm(one, at, rule, number, expected[0]))
    withheld = sum(len(one.numbers) - len(one.told) for one in series)
    alarms.sort(key=lambda alarm: (alarm.at, alarm.series.parts, alarm.rule))
    return Watched(tuple(alarms), compared, alone, withheld)


def _limits(series: OutlookSeries, at: date, number: int, rules: AlarmRules) -> Iterator[Alarm]:
    if series.grain != "day" or series.measure != ENERGY:
        return
    by = UNITS[ENERGY][1]
    if rules.above is not None and number > rules.above * by:
        yield Alarm(series, at, "above", number, rules.above * by)
    if rules.below is not None and number < rules.below * by:
        yield Alarm(series, at, "below", number, rules.below * by)


def _expected(series: OutlookSeries, at: date) -> tuple[Fraction, Fraction] | None:
    """What a number is compared with, and the spread of a day; None if too little was told."""
    if series.grain == "month":
        before = series.told.get(year_before(at))
        return None if before is None else (Fraction(before), Fraction(0))
    kind = at.weekday() >= _SATURDAY
    days = [
        Fraction(number)
        for day, number in series.told.items()
        if day < at and (day.weekday() >= _SATURDAY) == kind
    ][-MOST_DAYS:]
    if len(days) < LEAST_DAYS:
        return None
    middle = median(days)
    spread = median(abs(number - middle) for number in days)
    return middle, max(_SIGMA * spread, LEAST_SPREAD * abs(middle))


def _differs(
    series: OutlookSeries, number: int, expected: tuple[Fraction, Fraction], rules: AlarmRules
) -> bool:
    middle, spread = expected
    limit = (
        rules.level * spread if series.grain == "day" else rules.year_percent * abs(middle) / 100
    )
    return abs(number - middle) > limit


def year_before(at: date) -> date:
    """The same day a year before.

    >>> year_before(date(2028, 2, 29)), year_before(date(2026, 7, 1))
    (datetime.date(2027, 2, 28), datetime.date(2025, 7, 1))
    """
    is_leap_day = (at.month, at.day) == (2, 29)
    return at.replace(year=at.year - 1, day=28 if is_leap_day else at.day)
