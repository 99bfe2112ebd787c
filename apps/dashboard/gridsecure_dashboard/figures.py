"""How numbers are written: thousands separated, units named, money with two decimals."""

from __future__ import annotations

from calendar import month_name
from datetime import datetime, timedelta, tzinfo
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from gridsecure.analyst.runs import name_month

NOTHING = "–"

_SCALED_FROM: Final = 10_000
_CHINESE_UNITS: Final = (("亿", 100_000_000), ("万", 10_000))
_ENGLISH_UNITS: Final = (("M", 1_000_000), ("k", 1_000))
_ENERGY_UNITS: Final = (("GWh", 1_000_000), ("MWh", 1_000))  # kWh


def count(number: int | None) -> str:
    """A count, as 12,345."""
    return NOTHING if number is None else f"{number:,}"


def decimal(number: Decimal | None, *, places: int) -> str:
    """A decimal, half up to the given places, as 12,345.60."""
    if number is None:
        return NOTHING
    rounded = number.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)
    return f"{rounded:,}"


def scaled(number: Decimal | int, *, places: int, is_chinese: bool) -> str:
    """A large number as people say it, in 万 and 亿 or in k and M; a small one as it is.

    >>> scaled(Decimal("492222.13"), places=2, is_chinese=True)
    '49.22 万'
    >>> scaled(Decimal("492222.13"), places=2, is_chinese=False)
    '492.22 k'
    >>> scaled(9999, places=0, is_chinese=True)
    '9,999'
    """
    exact = Decimal(number)
    for unit, size in _CHINESE_UNITS if is_chinese else _ENGLISH_UNITS:
        if abs(exact) >= max(size, _SCALED_FROM):
            return f"{decimal(exact / size, places=2)} {unit}"
    return decimal(exact, places=places)


def energy(kwh: Decimal | None) -> str:
    """Energy with the unit that leaves few digits, as 49.36 GWh.

    >>> energy(Decimal("49358527.355"))
    '49.36 GWh'
    >>> energy(Decimal("512.3"))
    '512.30 kWh'
    """
    if kwh is None:
        return NOTHING
    for unit, size in _ENERGY_UNITS:
        if abs(kwh) >= size:
            return f"{decimal(kwh / size, places=2)} {unit}"
    return f"{decimal(kwh, places=2)} kWh"


def change(ratio: Decimal | None) -> str:
    """By how much something changed, as +3.2% or -0.4%."""
    if ratio is None:
        return NOTHING
    return f"{'+' if ratio > 0 else ''}{percent(ratio)}"


def signed(number: Decimal, *, places: int) -> str:
    """A difference with its sign, as +12.00."""
    return f"{'+' if number > 0 else ''}{decimal(number, places=places)}"


def percent(ratio: Decimal | None) -> str:
    """A ratio as 45.6%."""
    return NOTHING if ratio is None else f"{decimal(ratio * 100, places=1)}%"


def bytes_text(number: int) -> str:
    """A size, as 71.5 MiB."""
    size, unit = Decimal(number), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{decimal(size, places=0 if unit == 'B' else 1)} {unit}"


def short(digest: str) -> str:
    """The beginning of a digest, where the whole one stands nearby."""
    return f"{digest[:12]}…"


def date(text_or_moment: str | datetime) -> str:
    """The local date of a time as the services write it."""
    if isinstance(text_or_moment, datetime):
        return text_or_moment.strftime("%Y-%m-%d")
    return text_or_moment[:10]


def moment(text_or_moment: str | datetime, *, zone: tzinfo) -> str:
    """A time on the zone's clock, to the minute and with its offset, as 2026-07-01 08:30 +08:00.

    Args:
        text_or_moment: Aware; or text of a service, which is shown as it is if it is no time.
        zone: Where the readers are; never the server's own.
    """
    if isinstance(text_or_moment, datetime):
        local = text_or_moment.astimezone(zone)
        return f"{local:%Y-%m-%d %H:%M} {local.isoformat()[-6:]}"
    try:
        return moment(datetime.fromisoformat(text_or_moment), zone=zone)
    except ValueError:
        return text_or_moment


def month(start: str, end: str) -> str:
    """The month that a period has the name of, as 2026-07."""
    try:
        return name_month(start, end)
    except ValueError:
        return date(start)[:7]


def month_words(name: str) -> tuple[str, str]:
    """A month in Chinese and in English; what is no month stays as it is.

    >>> month_words("2026-06")
    ('2026 年 6 月', 'June 2026')
    """
    try:
        first = datetime.strptime(name, "%Y-%m")  # noqa: DTZ007 - a month's name has no zone
    except ValueError:
        return name, name
    return f"{first.year} 年 {first.month} 月", f"{month_name[first.month]} {first.year}"


def period(start: str, end: str) -> str:
    """A period as 2026-07, as 2026-07-01 if it is one day, or with its first and last day.

    >>> period("2026-07-01T00:00:00+08:00", "2026-07-02T00:00:00+08:00")
    '2026-07-01'
    >>> period("2026-07-16T00:00:00+08:00", "2026-08-16T00:00:00+08:00")
    '2026-08 (2026-07-16 – 2026-08-15)'
    """
    try:
        first, last = (datetime.fromisoformat(date(moment)) for moment in (start, end))
    except ValueError:
        return month(start, end)
    if (last - first).days == 1:
        return date(start)
    if first.day == last.day == 1:
        return month(start, end)
    return f"{month(start, end)} ({date(start)} – {last - timedelta(days=1):%Y-%m-%d})"
