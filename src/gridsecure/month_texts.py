"""Months and moments as text, read in one place, so that the years are bounded once.

At the ends of the calendar another time zone has no such date, and frames count nanoseconds to 2262
only. Nothing here needs the tables of the other rooms, so that messages and commands read it fast.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Final

from gridsecure.errors import InputError

FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2199
"""The years of electricity bills; readings, tariffs and messages of other years are refused."""

MONTH_PATTERN: Final = r"(?:19[7-9][0-9]|2[01][0-9]{2})-(?:0[1-9]|1[0-2])"
"""A month of those years, YYYY-MM."""

CALENDAR: Final = 1
"""The day of the month on which the billing periods of a cycle of calendar months begin."""
LAST_CYCLE_DAY: Final = 28
"""Every month has it, so every month has a period that begins on it."""

_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


def is_in_years(moment: date) -> bool:
    """Whether a date or moment is of the years of electricity bills."""
    return FIRST_YEAR <= moment.year <= LAST_YEAR


def read_month(text: str) -> tuple[int, int]:
    """Read a month written YYYY-MM: its year and number.

    Raises:
        InputError: It is none (`month.format`), or of a year without electricity bills
            (`month.year`).

    >>> read_month("2026-07")
    (2026, 7)
    """
    found = _MONTH.fullmatch(text)
    if found is None:
        raise InputError(
            "This is not a month.",
            reason="month.format",
            remedy="Write year and month as in 2026-07.",
        )
    year = int(found[1])
    check_year(year)
    return year, int(found[2])


def year_text(text: str) -> str:
    """The year that a month, date or local moment is of, as it is written there.

    Pseudonyms and key sets are of a calendar year on the supply area's clock, so it is read from
    the text with its local offset and never from the moment.

    >>> year_text("2026-01-01T00:00:00+08:00")
    '2026'
    """
    return text[:4]


def day_text(text: str) -> str:
    """The local day that a moment is of, as it is written there.

    >>> day_text("2026-01-01T00:00:00+08:00")
    '2026-01-01'
    """
    return text[:10]


def read_moment(text: str) -> datetime | None:
    """Read a moment of the years of electricity bills, with its offset.

    Args:
        text: ISO 8601, as `2026-07-01T00:00:00+08:00`.

    Returns:
        The moment, or None where the text is none, lacks the offset, or is of other years.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None and is_in_years(moment) else None


def check_year(year: int) -> None:
    """Refuse a year without electricity bills.

    Raises:
        InputError: `month.year`.
    """
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise InputError(
            f"The year of a month lies between {FIRST_YEAR} and {LAST_YEAR}.",
            reason="month.year",
            remedy="Write year and month as in 2026-07.",
        )
