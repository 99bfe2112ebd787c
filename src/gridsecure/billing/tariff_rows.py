"""The rows a tariff consists of, and how one row is read from its TOML table.

A row refuses what is wrong about itself (unknown key, bad month, too many decimals); what is
wrong between rows (gaps, overlaps, missing rates) is the business of `tariff_consistency`.
Rates and limits are read as written, through Decimal, and never touch a binary float.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from gridsecure.errors import InvalidTariffError

ALL_MONTHS = tuple(range(1, 13))
MINUTES_PER_DAY = 1440
RATE_DECIMALS = 8
LIMIT_DECIMALS = 3
UNITS = ("CNY/kWh", "CNY/kVA-month", "CNY/month", "CNY/day")
CONFIDENCES = ("confirmed", "secondary", "unconfirmed")
RESERVED_LABEL = "total"
LARGEST_NUMBER = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class SourceRow:
    """Where figures come from and how far to trust them.

    `confidence` is `confirmed` (read in the original, or told alike by independent public
    sources), `secondary` (told by one public source) or `unconfirmed` (not found in public).
    """

    source_id: str
    title: str
    confidence: str


@dataclass(frozen=True, slots=True)
class WindowRow:
    """Local minutes `[from_minute, to_minute)` of a day that carry one time-of-use label."""

    months: tuple[int, ...]
    day_types: tuple[str, ...]
    from_minute: int
    to_minute: int
    tou_period: str
    row: str


@dataclass(frozen=True, slots=True)
class TierRow:
    """One consumption step; `upper_limit_kwh` is inclusive, None leaves the step open."""

    months: tuple[int, ...]
    tier: int
    upper_limit_kwh: Decimal | None
    row: str


@dataclass(frozen=True, slots=True)
class RateRow:
    """One rate: money per unit [`unit`] for a charge, perhaps in one period or one tier."""

    charge: str
    tou_period: str | None
    tier: int | None
    rate: Decimal
    unit: str
    source: str
    row: str


@dataclass(frozen=True, slots=True)
class DayRow:
    """A date whose type its day of the week does not tell.

    As a hot day announced a day ahead, or a Saturday that is worked.
    """

    day: date
    day_type: str
    row: str


def read_source(table: Mapping[str, Any], *, row: str) -> SourceRow:
    """Read one `[[sources]]` table; `row` names it in refusals."""
    check_keys(table, row=row, required=("id", "title", "confidence"))
    confidence = read_text(table, "confidence", row=row)
    if confidence not in CONFIDENCES:
        raise refusal(row, f"confidence must be one of {', '.join(CONFIDENCES)}", "confidence")
    return SourceRow(
        source_id=read_text(table, "id", row=row),
        title=read_text(table, "title", row=row),
        confidence=confidence,
    )


def read_window(
    table: Mapping[str, Any], *, row: str, known_day_types: tuple[str, ...]
) -> WindowRow:
    """Read one `[[windows]]` table; without `day_types` it holds on every type of day."""
    check_keys(
        table, row=row, required=("from", "to", "tou_period"), optional=("months", "day_types")
    )
    day_types = read_texts(table, "day_types", row=row) or known_day_types
    unknown = sorted(set(day_types) - set(known_day_types))
    if unknown:
        raise refusal(row, f"unknown day type {unknown[0]!r}", "day-type")
    from_minute = _read_clock(table, "from", row=row)
    to_minute = _read_clock(table, "to", row=row)
    if from_minute >= to_minute:
        raise refusal(row, "a window ends after it starts, the same day; write two rows", "window")
    tou_period = read_text(table, "tou_period", row=row)
    if tou_period == RESERVED_LABEL:
        raise refusal(row, f"{RESERVED_LABEL!r} is the name of the total register", "window")
    return WindowRow(
        months=_read_months(table, row=row),
        day_types=day_types,
        from_minute=from_minute,
        to_minute=to_minute,
        tou_period=tou_period,
        row=row,
    )


def read_tier(table: Mapping[str, Any], *, row: str) -> TierRow:
    """Read one `[[tiers]]` table; without `upper_limit_kwh` the tier is open."""
    check_keys(table, row=row, required=("tier",), optional=("months", "upper_limit_kwh"))
    limit = None
    if "upper_limit_kwh" in table:
        limit = _read_number(table, "upper_limit_kwh", row=row, decimals=LIMIT_DECIMALS)
        if limit <= 0:
            raise refusal(row, "a tier limit is above zero", "tier-limit")
    return TierRow(
        months=_read_months(table, row=row),
        tier=_read_tier_number(table, row=row),
        upper_limit_kwh=limit,
        row=row,
    )


def read_rate(table: Mapping[str, Any], *, row: str) -> RateRow:
    """Read one `[[rates]]` table; the rate has at most eight decimals."""
    check_keys(
        table,
        row=row,
        required=("charge", "rate", "unit", "source"),
        optional=("tou_period", "tier"),
    )
    unit = read_text(table, "unit", row=row)
    if unit not in UNITS:
        raise refusal(row, f"unknown unit {unit!r}; known: {', '.join(UNITS)}", "unit")
    return RateRow(
        charge=read_text(table, "charge", row=row),
        tou_period=read_text(table, "tou_period", row=row) if "tou_period" in table else None,
        tier=_read_tier_number(table, row=row) if "tier" in table else None,
        rate=_read_number(table, "rate", row=row, decimals=RATE_DECIMALS),
        unit=unit,
        source=read_text(table, "source", row=row),
        row=row,
    )


def read_day(table: Mapping[str, Any], *, row: str, known_day_types: tuple[str, ...]) -> DayRow:
    """Read one `[[days]]` table: a date and one of the tariff's day types."""
    check_keys(table, row=row, required=("date", "day_type"))
    day_type = read_text(table, "day_type", row=row)
    if day_type not in known_day_types:
        raise refusal(row, f"unknown day type {day_type!r}", "day-type")
    return DayRow(day=read_date(table, "date", row=row), day_type=day_type, row=row)


def refusal(row: str, why: str, code: str) -> InvalidTariffError:
    """Build the error that names the row and the reason (`tariff.<code>`)."""
    return InvalidTariffError(
        f"{row}: {why}.",
        reason=f"tariff.{code}",
        remedy="Correct the row in the tariff file; nothing was billed.",
    )


def check_keys(
    table: Mapping[str, Any],
    *,
    row: str,
    required: tuple[str, ...],
    optional: tuple[str, ...] = (),
) -> None:
    """Refuse a missing or unknown key: a misspelt one would otherwise change a price."""
    for key in required:
        if key not in table:
            raise refusal(row, f"{key} is missing", "missing-key")
    unknown = sorted(set(table) - set(required) - set(optional))
    if unknown:
        raise refusal(row, f"unknown key {unknown[0]!r}", "unknown-key")


def read_text(table: Mapping[str, Any], key: str, *, row: str) -> str:
    """Read a text that says something."""
    value = table[key]
    if not isinstance(value, str) or not value.strip():
        raise refusal(row, f"{key} must be a text", "text")
    return value


def read_texts(table: Mapping[str, Any], key: str, *, row: str) -> tuple[str, ...]:
    """Read a list of texts; an absent key is an empty list."""
    values = table.get(key, [])
    if not isinstance(values, list) or not all(isinstance(v, str) and v.strip() for v in values):
        raise refusal(row, f"{key} must be a list of texts", "text")
    return tuple(values)


def read_date(table: Mapping[str, Any], key: str, *, row: str) -> date:
    """Read a local date (TOML date without a time)."""
    value = table[key]
    if not isinstance(value, date) or isinstance(value, datetime):
        raise refusal(row, f"{key} must be a date, as 2025-02-01", "date")
    return value


def _read_months(table: Mapping[str, Any], *, row: str) -> tuple[int, ...]:
    months = table.get("months", list(ALL_MONTHS))
    # `True in range` holds in Python, so the type is compared and not only the value.
    good = isinstance(months, list) and all(type(m) is int and 1 <= m <= 12 for m in months)
    if not good or not months or len(set(months)) != len(months):
        raise refusal(row, "months must be different numbers from 1 to 12", "months")
    return tuple(months)


def _read_tier_number(table: Mapping[str, Any], *, row: str) -> int:
    tier = table["tier"]
    if type(tier) is not int or tier < 1:
        raise refusal(row, "tier must be a whole number from 1", "tier")
    return tier


def _read_clock(table: Mapping[str, Any], key: str, *, row: str) -> int:
    hours, _, minutes = read_text(table, key, row=row).partition(":")
    shaped = len(hours) == len(minutes) == 2 and (hours + minutes).isascii()
    if not shaped or not (hours + minutes).isdigit():
        raise refusal(row, f"{key} must be a clock time HH:MM", "window")
    minute = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or minute > MINUTES_PER_DAY:
        raise refusal(row, f"{key} must lie between 00:00 and 24:00", "window")
    return minute


def _read_number(table: Mapping[str, Any], key: str, *, row: str, decimals: int) -> Decimal:
    raw = table[key]
    if type(raw) not in (str, int, Decimal):
        raise refusal(row, f"{key} must be a decimal number", "number")
    try:
        number = Decimal(raw)
    except InvalidOperation as error:
        raise refusal(row, f"{key} must be a decimal number", "number") from error
    exponent = number.as_tuple().exponent
    # The exponent of NaN and infinity is a letter; a vast one would make vast integers later, and
    # makes Decimal arithmetic overflow, so the sign is dropped by copying.
    if (
        not isinstance(exponent, int)
        or exponent > LARGEST_NUMBER.adjusted()
        or number.copy_abs() > LARGEST_NUMBER
    ):
        raise refusal(row, f"{key} must be at most {LARGEST_NUMBER}", "number")
    if exponent < -decimals:
        raise refusal(row, f"{key} has more than {decimals} decimals", "decimals")
    return number
