"""What is asked of the platform, and for which month."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gridsecure.month_texts import CALENDAR, read_month
from gridsecure.periods import BillingPeriod, month_period


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What is asked of the platform.

    Args:
        start: Start of the period, ISO 8601 with offset.
        end: Its end, exclusive.
        purpose: Why; it is printed on the release certificate.
    """

    plan: str
    start: str
    end: str
    purpose: str


def check_month(month: str) -> str:
    """Return a month that is written `YYYY-MM`.

    Raises:
        InputError: It is not (`month.format`, `month.year`).
    """
    read_month(month)
    return month


def month_bounds(month: str, *, timezone: str, cycle_day: int = CALENDAR) -> tuple[str, str]:
    """Return start and end of a month's billing period, ISO 8601 with offset.

    Args:
        month: `YYYY-MM`.
        timezone: IANA name of the local time that months are counted in.
        cycle_day: Day of the month that billing periods begin on.

    Raises:
        InputError: Not a month (`month.format`, `month.year`).

    >>> month_bounds("2026-07", timezone="Asia/Shanghai")
    ('2026-07-01T00:00:00+08:00', '2026-08-01T00:00:00+08:00')
    """
    period = month_period(month, timezone=timezone, cycle_day=cycle_day)
    return period.start.isoformat(), period.end.isoformat()


def name_month(start: str, end: str) -> str:
    """The month that a billing period has the name of, YYYY-MM.

    Raises:
        ValueError: They are no times with an offset, or not in this order.

    >>> name_month("2026-07-16T00:00:00+08:00", "2026-08-16T00:00:00+08:00")
    '2026-08'
    """
    return BillingPeriod(*map(datetime.fromisoformat, (start, end))).name
