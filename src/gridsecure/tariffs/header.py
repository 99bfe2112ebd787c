"""The header of a tariff file: its keys, its validity, and the options that hold for all rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gridsecure.tariffs.cells import check_keys, read_date, read_number, read_text, refusal
from gridsecure.tariffs.consistency import MONTH, RESETS
from gridsecure.tariffs.sources import FIGURE_SOURCES

# Currencies whose bills round to a hundredth.
CURRENCIES = ("CNY", "USD", "EUR", "GBP")
HEADER = "header"
LAST_DAY = "last-day"
"""A billing period that lies in two months has the prices of the one that its last day lies in."""
Element = TypeVar("Element")


def optional_cell(
    document: Mapping[str, Any], key: str, read: Callable[..., Element]
) -> Element | None:
    """Read a cell of the header that may be absent."""
    return read(document, key, row=HEADER) if key in document else None


def optional_table(
    document: Mapping[str, Any], name: str, read: Callable[..., Element]
) -> Element | None:
    """Read a table that may be absent, written as `[name]`."""
    if name not in document:
        return None
    if not isinstance(document[name], dict):
        raise refusal(name, f"write it as [{name}]", "rows")
    return read(document[name], row=name)


def read_reset(document: Mapping[str, Any]) -> str:
    """Read whether tiers count a month or a year."""
    reset = optional_cell(document, "tier_reset", read_text) or MONTH
    if reset not in RESETS:
        raise refusal(HEADER, f"tier_reset must be one of {', '.join(RESETS)}", "tier-reset")
    return reset


def read_cycle_month(document: Mapping[str, Any]) -> str | None:
    """Read whose prices a period in two months has, or None where the tariff does not say."""
    said = optional_cell(document, "cycle_month", read_text)
    if said not in (None, LAST_DAY):
        raise refusal(HEADER, f"cycle_month is {LAST_DAY!r}, or is left out", "cycle-month")
    return said


def read_vat(document: Mapping[str, Any]) -> Decimal | None:
    """Read the share of value-added tax that every price contains, or None."""
    if "vat_rate" not in document:
        return None
    rate = read_number(document, "vat_rate", row=HEADER, decimals=4)
    if not 0 <= rate < 1:
        raise refusal(HEADER, "vat_rate is written as a share below 1, as 0.13", "vat")
    return rate


def check_header(document: Mapping[str, Any]) -> None:
    """Refuse a header with unknown or missing keys, or an unknown currency."""
    check_keys(
        document,
        row=HEADER,
        required=(
            *("tariff_id", "version", "name_en", "name_zh", "city"),
            *("currency", "timezone", "valid_from", "sources"),
        ),
        optional=(
            *(
                "rates",
                "valid_to",
                "tier_convention",
                "tier_reset",
                "cycle_month",
                "vat_rate",
                "day_types",
                "windows",
            ),
            *("demand_windows", "tiers", "days", "dynamic", "power_factor", "demand_ratchet"),
            "part_month",
            FIGURE_SOURCES,
        ),
    )
    if document["currency"] not in CURRENCIES:
        raise refusal(
            HEADER,
            f"currency must be one of {', '.join(CURRENCIES)}: bills round to a hundredth",
            "currency",
        )


def read_timezone(document: Mapping[str, Any]) -> str:
    """Read the IANA name of the local time."""
    name = read_text(document, "timezone", row=HEADER)
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise refusal(HEADER, f"unknown timezone {name!r}", "timezone") from error
    return name


def read_validity(document: Mapping[str, Any]) -> tuple[date, date | None]:
    """Read the first date of validity and the first date after it."""
    valid_from = read_date(document, "valid_from", row=HEADER)
    if "valid_to" not in document:
        return valid_from, None
    valid_to = read_date(document, "valid_to", row=HEADER)
    if valid_to <= valid_from:
        raise refusal(HEADER, "valid_to must be after valid_from", "validity")
    return valid_from, valid_to
