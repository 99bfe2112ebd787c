"""What is asked of the platform, and for which month."""

from __future__ import annotations

from dataclasses import dataclass

from gridsecure.month_texts import read_month
from gridsecure.periods import billing_month


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


def month_bounds(month: str, *, timezone: str) -> tuple[str, str]:
    """Return start and end of a local calendar month, ISO 8601 with offset.

    Args:
        month: `YYYY-MM`.
        timezone: IANA name of the local time that months are counted in.

    Raises:
        InputError: Not a month (`month.format`, `month.year`).

    >>> month_bounds("2026-07", timezone="Asia/Shanghai")
    ('2026-07-01T00:00:00+08:00', '2026-08-01T00:00:00+08:00')
    """
    period = billing_month(*read_month(month), timezone=timezone)
    return period.start.isoformat(), period.end.isoformat()
