"""Single cells of a tariff's TOML tables: read, or refused by row and reason.

Numbers are read as written, through Decimal, and never touch a binary float.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from gridsecure.errors import InvalidTariffError
from gridsecure.month_texts import FIRST_YEAR, LAST_YEAR, is_in_years

ALL_MONTHS = tuple(range(1, 13))
MINUTES_PER_DAY = 1440
LARGEST_NUMBER = Decimal(1_000_000)
LARGEST_TIER = 1_000


def refusal(row: str, why: str, code: str) -> InvalidTariffError:
    """Build the error that names the row and the reason (`tariff.<code>`)."""
    return InvalidTariffError(
        f"{row}: {why}.",
        reason=f"tariff.{code}",
        remedy="Correct the row in the tariff file.",
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
    check_years(value, key, row=row)
    return value


def check_years(value: date, key: str, *, row: str) -> None:
    """Refuse a date that is not of the years of electricity bills."""
    if not is_in_years(value):
        raise refusal(
            row,
            f"{key} lies between {FIRST_YEAR} and {LAST_YEAR}; a tariff without an end has no"
            " valid_to",
            "year",
        )


def read_months(table: Mapping[str, Any], *, row: str) -> tuple[int, ...]:
    """Read the months a row holds in; an absent key means all of them."""
    months = table.get("months", list(ALL_MONTHS))
    # `True in range` holds in Python, so the type is compared and not only the value.
    good = isinstance(months, list) and all(type(m) is int and 1 <= m <= 12 for m in months)
    if not good or not months or len(set(months)) != len(months):
        raise refusal(row, "months must be different numbers from 1 to 12", "months")
    return tuple(months)


def read_tier_number(table: Mapping[str, Any], *, row: str) -> int:
    """Read the number of a tier, from 1 to `LARGEST_TIER`."""
    tier = table["tier"]
    if type(tier) is not int or not 1 <= tier <= LARGEST_TIER:
        raise refusal(row, f"tier must be a whole number from 1 to {LARGEST_TIER:,}", "tier")
    return tier


def read_clock(table: Mapping[str, Any], key: str, *, row: str) -> int:
    """Read a clock time HH:MM as a minute of the day, 24:00 included."""
    hours, _, minutes = read_text(table, key, row=row).partition(":")
    shaped = len(hours) == len(minutes) == 2 and (hours + minutes).isascii()
    if not shaped or not (hours + minutes).isdigit():
        raise refusal(row, f"{key} must be a clock time HH:MM", "window")
    minute = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or minute > MINUTES_PER_DAY:
        raise refusal(row, f"{key} must lie between 00:00 and 24:00", "window")
    return minute


def read_number(table: Mapping[str, Any], key: str, *, row: str, decimals: int) -> Decimal:
    """Read a decimal number with at most `decimals` decimals."""
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
