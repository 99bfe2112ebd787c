"""Billing periods: half-open local months of a cycle.

Invariants: both ends are aware; `start < end`. A cycle begins its periods on one day of the month:
the first, which makes calendar months, or a later one. A period has the name of the month that its
last day lies in, in which its meters are read. Its length in hours changes where the clock changes,
and its length in days is counted on the local calendar.

Not handled here: tariffs that change mid-month. Who moves in or out within a month is billed over
the month, with the readings of its own days (`gateway.books.months`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from gridsecure.errors import InputError
from gridsecure.month_texts import CALENDAR, LAST_CYCLE_DAY, check_year, read_month

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True, order=True)
class BillingPeriod:
    """The half-open time `[start, end)` that one bill covers.

    Args:
        start: First instant of the period, aware, in the tariff's local time.
        end: First instant after the period, aware, in the same zone.

    Raises:
        ValueError: An end without a zone, or an end that is not after the start.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("a billing period needs aware datetimes")
        if self.end <= self.start:
            raise ValueError("a billing period ends after it starts")

    @property
    def days(self) -> int:
        """Local calendar days in the period [days]."""
        return (self.end.date() - self.start.date()).days

    @property
    def month(self) -> tuple[int, int]:
        """Year and number of the local month that its last day lies in."""
        last = self.end - timedelta(microseconds=1)  # on the wall clock, whatever the offset
        return last.year, last.month

    @property
    def name(self) -> str:
        """That month, YYYY-MM: what people call the period.

        >>> billing_month(2026, 8, timezone="Asia/Shanghai", cycle_day=16).name
        '2026-08'
        """
        return "{:04d}-{:02d}".format(*self.month)


def billing_month(
    year: int, month: int, *, timezone: str, cycle_day: int = CALENDAR
) -> BillingPeriod:
    """Return the billing period of a month in a cycle.

    Args:
        month: The calendar month that its last day lies in, 1 to 12.
        timezone: IANA name of the local time, as `Asia/Shanghai`.
        cycle_day: Day of the month that the cycle's periods begin on, 1 to 28.

    Raises:
        InputError: A year without electricity bills (`month.year`), or a day that not every month
            has (`cycle.day`).

    >>> billing_month(2025, 12, timezone="Asia/Shanghai").end.isoformat()
    '2026-01-01T00:00:00+08:00'
    >>> billing_month(2026, 1, timezone="Asia/Shanghai", cycle_day=16).start.isoformat()
    '2025-12-16T00:00:00+08:00'
    """
    check_year(year)
    check_cycle_day(cycle_day)
    tzinfo = ZoneInfo(timezone)
    # Months are counted from year 0; a period that begins later than the first began a month ago.
    first = year * 12 + month - 1 - (cycle_day > CALENDAR)
    start, end = (
        datetime(number // 12, number % 12 + 1, cycle_day, tzinfo=tzinfo)
        for number in (first, first + 1)
    )
    return BillingPeriod(start, end)


def month_period(month: str, *, timezone: str, cycle_day: int = CALENDAR) -> BillingPeriod:
    """The billing period of a month written YYYY-MM, as `billing_month`.

    Raises:
        InputError: It is not a month (`month.format`), or as `billing_month`.
    """
    return billing_month(*read_month(month), timezone=timezone, cycle_day=cycle_day)


def check_cycle_day(cycle_day: int) -> None:
    """Refuse a day of the month that no cycle begins on.

    Raises:
        InputError: `cycle.day`.
    """
    if not CALENDAR <= cycle_day <= LAST_CYCLE_DAY:
        raise InputError(
            f"A billing cycle begins on day 1 to {LAST_CYCLE_DAY} of the month.",
            reason="cycle.day",
            remedy="Give the day that its periods begin on; 1 makes calendar months.",
        )


def local_day(text: str, *, timezone: str) -> BillingPeriod:
    """Return a local calendar day as a period.

    Args:
        text: YYYY-MM-DD.
        timezone: IANA name of the local time.

    Raises:
        InputError: Not a day (`day.format`), or a year without electricity bills (`month.year`).

    >>> local_day("2025-12-31", timezone="Asia/Shanghai").end.isoformat()
    '2026-01-01T00:00:00+08:00'
    """
    if _DAY.fullmatch(text) is None:
        raise _no_day()
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise _no_day() from error
    check_year(day.year)
    tzinfo, following = ZoneInfo(timezone), day + timedelta(days=1)
    return BillingPeriod(
        *(datetime(d.year, d.month, d.day, tzinfo=tzinfo) for d in (day, following))
    )


def month_around(moment: datetime, *, timezone: str, cycle_day: int = CALENDAR) -> BillingPeriod:
    """The billing period of a cycle that a moment lies in.

    Args:
        moment: Aware.
        timezone: IANA name of the local time.
        cycle_day: Day of the month that the cycle's periods begin on.
    """
    local = moment.astimezone(ZoneInfo(timezone))
    is_of_next = local.day >= cycle_day > CALENDAR  # named by the month that it ends in
    number = local.year * 12 + local.month - 1 + is_of_next
    return billing_month(number // 12, number % 12 + 1, timezone=timezone, cycle_day=cycle_day)


def is_day(start: str, end: str) -> bool:
    """Whether a period is one local day.

    Args:
        start: Its start, ISO 8601 with the local offset.
        end: Its end, exclusive.

    >>> is_day("2026-07-31T00:00:00+08:00", "2026-08-01T00:00:00+08:00")
    True
    >>> is_day("2026-07-01T00:00:00+08:00", "2026-08-01T00:00:00+08:00")
    False
    """
    try:
        first, last = datetime.fromisoformat(start), datetime.fromisoformat(end)
    except ValueError:
        return False
    if first.tzinfo is None or last.tzinfo is None:
        return False
    is_next = last.date() - first.date() == timedelta(days=1)
    return is_next and first.time() == last.time() == time()


def _no_day() -> InputError:
    return InputError(
        "This is not a day.",
        reason="day.format",
        remedy="Write year, month and day as in 2026-07-31.",
    )
