"""Forecasts (预测) of released series, with the error that they had on months and days held out.

* A day: the mean of the last four days of its kind, as `queries.forecasts` has it.
* A month: the same month a year before, times what the last three months came to against the same
  three a year before (a seasonal naive forecast with a level; Hyndman and Athanasopoulos,
  Forecasting: Principles and Practice, 3rd ed., 5.2). Where a year is not there, the last month by
  the length of both (naive). Which of them it was is said.

The error is that of the same method for every number that was told, from those before it alone. It
stands beside the error of the last number taken for the next, so that one sees whether it is worth
anything. No interval is given: two years have too few months for one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from typing import Final, Literal

from gridsecure.analyst.outlook_alarms import year_before
from gridsecure.analyst.outlook_series import OutlookSeries
from gridsecure.queries.forecasts import predict

Method = Literal["days-of-its-kind", "season-and-level", "last-month"]
KIND_DAYS: Final = 4
_RECENT: Final = 3
_DAY: Final = timedelta(days=1)
_NUMBER: Final = ""
"""The one step of a day's curve here."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """How far off forecasts of what is known were.

    Args:
        numbers: How many were forecast.
        missed: Sum of absolute errors.
        naive: The same of the last number taken for the next one.
        total: Sum of what was forecast.
    """

    numbers: int
    missed: Fraction
    naive: Fraction
    total: Fraction

    @property
    def mean_error(self) -> Fraction | None:
        """Mean absolute error; None of nothing."""
        return self.missed / self.numbers if self.numbers else None

    @property
    def percent(self) -> Fraction | None:
        """Absolute errors, of what was forecast [%]; None of nothing."""
        return 100 * self.missed / self.total if self.total else None

    @property
    def naive_percent(self) -> Fraction | None:
        """The same of the last number taken for the next one [%]."""
        return 100 * self.naive / self.total if self.total else None


@dataclass(frozen=True, slots=True)
class OutlookForecast:
    """The number that comes next.

    Args:
        at: The day, or the first day of the month.
        number: What is expected [Wh or fen]; None if too little was told.
        method: How; None where there is no number.
        error: Of the same method, on what is known.
    """

    series: OutlookSeries
    at: date
    number: Fraction | None
    method: Method | None
    error: HeldOut


def forecast(series: Sequence[OutlookSeries]) -> list[OutlookForecast]:
    """The next number of each series that anything was told of."""
    return [_forecast(one) for one in series if one.told]


def _forecast(series: OutlookSeries) -> OutlookForecast:
    told = series.told
    at = _following(series, max(told))
    found = _expect(series, told, at)
    method = None if found is None else found[1]
    number = None if found is None else found[0]
    return OutlookForecast(series, at, number, method, _hold_out(series, method))


def _hold_out(series: OutlookSeries, method: Method | None) -> HeldOut:
    """Forecast every number by one method, from those before it."""
    told = series.told
    numbers, missed, naive, total = 0, Fraction(0), Fraction(0), Fraction(0)
    days = list(told)
    for index, at in enumerate(days[1:], start=1):
        before = {day: told[day] for day in days[:index]}
        found = _expect(series, before, at, only=method)
        if method is not None and found is not None:
            numbers += 1
            missed += abs(found[0] - told[at])
            naive += abs(before[days[index - 1]] - told[at])
            total += abs(told[at])
    return HeldOut(numbers, missed, naive, total)


def _expect(
    series: OutlookSeries,
    told: Mapping[date, int],
    at: date,
    *,
    only: Method | None = None,
) -> tuple[Fraction, Method] | None:
    """What is expected of a day or month, by the best method there is enough for, or by one."""
    if series.grain == "day":
        curves = {day: {_NUMBER: number} for day, number in told.items()}
        found = predict(curves, at, days=KIND_DAYS)
        return None if found is None else (found[_NUMBER], "days-of-its-kind")
    if only != "last-month":
        season = _season(told, at)
        if season is not None:
            return season, "season-and-level"
    last = _month_before(at)
    if only == "season-and-level" or last not in told:
        return None
    return Fraction(told[last] * _length(at), _length(last)), "last-month"


def _season(told: Mapping[date, int], at: date) -> Fraction | None:
    recent = [_month_before(at)]
    while len(recent) < _RECENT:
        recent.append(_month_before(recent[-1]))
    wanted = [year_before(at), *recent, *map(year_before, recent)]
    if any(month not in told for month in wanted):
        return None
    earlier = sum(told[year_before(month)] for month in recent)
    if not earlier:
        return None
    return Fraction(told[wanted[0]] * sum(told[month] for month in recent), earlier)


def _following(series: OutlookSeries, at: date) -> date:
    return at + _DAY if series.grain == "day" else _month_after(at)


def _month_after(at: date) -> date:
    year, month = divmod(12 * at.year + at.month, 12)
    return at.replace(year=year, month=month + 1)


def _month_before(at: date) -> date:
    year, month = divmod(12 * at.year + at.month - 2, 12)
    return at.replace(year=year, month=month + 1)


def _length(at: date) -> int:
    """Days of the month that begins on a day."""
    return (_month_after(at) - at).days
