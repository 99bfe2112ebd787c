"""When: the month or day that a question is about, and which of its days and hours.

Clock times are local, as the clock on the wall shows them; a day whose clock is set has an hour
twice, or not at all.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from typing import Annotated, ClassVar, Final, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, model_validator

from gridsecure.errors import InputError
from gridsecure.messages import Message
from gridsecure.month_texts import CALENDAR, LAST_CYCLE_DAY
from gridsecure.periods import BillingPeriod, local_day, month_period
from gridsecure.queries.exact import sort_texts

SHANGHAI: Final = "Asia/Shanghai"
DAY_MINUTES: Final = 24 * 60
EVERY_HOUR: Final = [(0, DAY_MINUTES)]
"""All of a day, as windows of its minutes."""
MAX_DAYS: Final = 31
MAX_WINDOWS: Final = 24
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS: Final[tuple[Weekday, ...]] = (
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday",
)  # fmt: skip


def _check_day(text: str) -> str:
    local_day(text, timezone=SHANGHAI)  # whether it is a day depends on no time zone
    return text


def _sort_weekdays(days: list[Weekday]) -> list[Weekday]:
    return sorted(set(days), key=WEEKDAYS.index)


Day = Annotated[str, AfterValidator(_check_day), Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
Days = Annotated[list[Day], AfterValidator(sort_texts), Field(min_length=1, max_length=MAX_DAYS)]


class Period(Message):
    """A billing month, or one local day.

    Args:
        month: YYYY-MM.
        day: YYYY-MM-DD.
        timezone: IANA name of the supply area's local time.
        cycle_day: Day of the month that its billing periods begin on.
    """

    kind: ClassVar[str] = "question-period"
    month: str | None = Field(default=None, pattern=r"^[0-9]{4}-[0-9]{2}$")
    day: Day | None = None
    timezone: str = Field(default=SHANGHAI, max_length=64)
    cycle_day: int = Field(default=CALENDAR, ge=CALENDAR, le=LAST_CYCLE_DAY)

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.month is None) == (self.day is None) or (self.day and self.cycle_day != CALENDAR):
            raise InputError(
                "A period is a month or a day.",
                reason="query.period",
                remedy="Give month as in 2026-07, with the cycle_day if it begins on another day, "
                "or day as in 2026-07-31.",
            )
        try:
            ZoneInfo(self.timezone)
        except (ValueError, OSError, ZoneInfoNotFoundError) as error:
            raise InputError(
                "A period's timezone is none.",
                reason="query.timezone",
                remedy=f"Give an IANA name as {SHANGHAI}.",
            ) from error
        _ = self.span
        return self

    @property
    def span(self) -> BillingPeriod:
        """The same with both its ends."""
        if self.day is not None:
            return local_day(self.day, timezone=self.timezone)
        return month_period(self.month or "", timezone=self.timezone, cycle_day=self.cycle_day)

    @property
    def days(self) -> list[date]:
        """The local days in it."""
        first, last = self.span.start.date(), self.span.end.date()
        return [first + timedelta(days=n) for n in range((last - first).days)]


class Window(Message):
    """Some hours of the clock.

    Args:
        start: HH:MM.
        end: HH:MM, exclusive; 24:00 is midnight.
    """

    kind: ClassVar[str] = "clock-window"
    start: str
    end: str

    @model_validator(mode="after")
    def _runs_on(self) -> Self:
        begin, end = self.minutes
        if begin >= end:
            raise InputError(
                "A window of the clock ends before it begins.",
                reason="query.clock",
                remedy='Give start and end as in "08:00" and "24:00"; divide one that runs over '
                "midnight.",
            )
        return self

    @property
    def minutes(self) -> tuple[int, int]:
        """Its ends, in minutes of the clock."""
        return _clock_minutes(self.start), _clock_minutes(self.end)


def _clock_minutes(text: str) -> int:
    found = _CLOCK.fullmatch(text)
    if found is not None:
        return int(found[1]) * 60 + int(found[2])
    if text == "24:00":
        return DAY_MINUTES
    raise InputError(
        "A clock time cannot be read.",
        reason="query.clock",
        remedy='Write hours and minutes as in "08:30"; the end of a day is "24:00".',
    )


def sort_windows(windows: list[Window]) -> list[Window]:
    """Windows of the clock in order.

    Raises:
        InputError: Two of them overlap (`query.clock`).
    """
    ordered = sorted(windows, key=lambda window: window.minutes)
    for one, following in pairwise(ordered):
        if following.minutes[0] < one.minutes[1]:
            raise InputError(
                "Two windows of the clock overlap.",
                reason="query.clock",
                remedy="Give windows that end before the next one begins.",
            )
    return ordered


class Times(Message):
    """Which days and hours of the period; what is left out restricts nothing."""

    kind: ClassVar[str] = "question-times"
    days: Days | None = None
    weekdays: (
        Annotated[list[Weekday], AfterValidator(_sort_weekdays), Field(min_length=1)] | None
    ) = None
    clock: (
        Annotated[
            list[Window],
            AfterValidator(sort_windows),
            Field(min_length=1, max_length=MAX_WINDOWS),
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _restricts(self) -> Self:
        if self.days is None and self.weekdays is None and self.clock is None:
            raise InputError(
                "When restricts nothing.",
                reason="query.when",
                remedy="Give days, weekdays or clock, or leave when out.",
            )
        return self

    def has_day(self, day: date) -> bool:
        """Whether hours of a local day are among them."""
        named = self.days is None or day.isoformat() in self.days
        return named and (self.weekdays is None or WEEKDAYS[day.weekday()] in self.weekdays)

    @property
    def windows(self) -> list[tuple[int, int]]:
        """The hours, as windows of a day's minutes."""
        if self.clock is None:
            return EVERY_HOUR
        return [window.minutes for window in self.clock]


def clock_minutes(moment: time | datetime) -> int:
    """A local time in minutes of the clock."""
    return moment.hour * 60 + moment.minute
