"""The parts of a tariff of which there is at most one: dynamic prices, power factor, and so on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from gridsecure.month_texts import LAST_YEAR
from gridsecure.tariffs.cells import (
    check_keys,
    check_years,
    read_months,
    read_number,
    read_text,
    read_texts,
    refusal,
)
from gridsecure.tariffs.power_factor import STANDARDS
from gridsecure.tariffs.rows import RATE_DECIMALS

FUNDS_CHARGE = "government-funds"
THIRTIETHS, BY_DAYS, WHOLE = "thirtieths", "days", "whole"
_DAY_MINUTES = 1440
_LONGEST_RATCHET = 24


@dataclass(frozen=True, slots=True)
class DynamicPrices:
    """One price an interval for the whole energy, announced as a series.

    Args:
        start: Local start of the first interval, naive: wall time of the tariff's zone.
        rates: Price per interval [currency/kWh].
    """

    start: datetime
    interval: timedelta
    rates: tuple[Decimal, ...]
    source: str


@dataclass(frozen=True, slots=True)
class PowerFactorRule:
    """The power-factor adjustment of every bill under the tariff.

    Args:
        excludes: Charges that the percentage does not apply to.
    """

    standard: str
    source: str
    excludes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PartMonthRule:
    """What charges and limits of a month are for who holds a meter point for a part of it.

    Args:
        charges: `thirtieths`, a day costs a thirtieth of the month; `days`, its share of the days
            of the month; empty where no rule is published.
        limits: `days`, limits count by days, to the whole kWh; `whole`, they are those of a month;
            empty likewise.
    """

    charges: str
    limits: str
    source: str


@dataclass(frozen=True, slots=True)
class DemandRatchet:
    """Billed demand is at least a share of an earlier month's highest demand.

    Args:
        months: Calendar months whose demand counts later.
        range_months: How many months back it counts.
    """

    share: Decimal
    months: tuple[int, ...]
    range_months: int
    source: str


def read_dynamic(table: Mapping[str, Any], *, row: str) -> DynamicPrices:
    """Read the `[dynamic]` table."""
    check_keys(table, row=row, required=("source", "start", "interval_minutes", "rates"))
    minutes = table["interval_minutes"]
    if type(minutes) is not int or minutes < 1 or _DAY_MINUTES % minutes:
        raise refusal(row, "interval_minutes must divide a day", "dynamic")
    raw = table["rates"]
    if not isinstance(raw, list) or not raw:
        raise refusal(row, "rates must be a list of prices", "dynamic")
    rates = tuple(
        read_number({"rates": price}, "rates", row=f"{row}.rates[{n}]", decimals=RATE_DECIMALS)
        for n, price in enumerate(raw, start=1)
    )
    start, interval = _read_moment(table, "start", row=row), timedelta(minutes=minutes)
    # Compared as lengths: the sum may lie beyond the calendar.
    if len(rates) * interval > datetime(LAST_YEAR + 1, 1, 1) - start:  # noqa: DTZ001 - local times
        raise refusal(row, f"rates go on beyond {LAST_YEAR}", "year")
    return DynamicPrices(
        start=start,
        interval=interval,
        rates=rates,
        source=read_text(table, "source", row=row),
    )


def read_part_month(table: Mapping[str, Any], *, row: str) -> PartMonthRule:
    """Read the `[part_month]` table, which says at least how charges or how limits count."""
    check_keys(table, row=row, required=("source",), optional=("charges", "limits"))
    said = {}
    for key, known in (("charges", (THIRTIETHS, BY_DAYS)), ("limits", (BY_DAYS, WHOLE))):
        said[key] = read_text(table, key, row=row) if key in table else ""
        if said[key] not in ("", *known):
            raise refusal(row, f"{key} must be one of {', '.join(known)}", "part-month")
    if not any(said.values()):
        raise refusal(row, "say how charges or limits of a month count", "part-month")
    return PartMonthRule(**said, source=read_text(table, "source", row=row))


def read_power_factor(table: Mapping[str, Any], *, row: str) -> PowerFactorRule:
    """Read the `[power_factor]` table; without `excludes` the government funds stay out."""
    check_keys(table, row=row, required=("standard", "source"), optional=("excludes",))
    standard = read_text(table, "standard", row=row)
    if standard not in STANDARDS:
        raise refusal(row, f"standard must be one of {', '.join(STANDARDS)}", "power-factor")
    excludes = read_texts(table, "excludes", row=row) if "excludes" in table else (FUNDS_CHARGE,)
    return PowerFactorRule(standard, read_text(table, "source", row=row), excludes)


def read_ratchet(table: Mapping[str, Any], *, row: str) -> DemandRatchet:
    """Read the `[demand_ratchet]` table."""
    check_keys(table, row=row, required=("percent", "range_months", "source"), optional=("months",))
    share = read_number(table, "percent", row=row, decimals=4)
    if not 0 < share <= 1:
        raise refusal(row, "percent is written as a share between 0 and 1, as 0.80", "ratchet")
    span = table["range_months"]
    if type(span) is not int or not 1 <= span <= _LONGEST_RATCHET:
        raise refusal(row, f"range_months lies between 1 and {_LONGEST_RATCHET}", "ratchet")
    return DemandRatchet(
        share=share,
        months=read_months(table, row=row),
        range_months=span,
        source=read_text(table, "source", row=row),
    )


def _read_moment(table: Mapping[str, Any], key: str, *, row: str) -> datetime:
    value = table[key]
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise refusal(
                row, f"{key} must be a local time, as 2025-01-01T00:00", "date"
            ) from error
    if not isinstance(value, datetime) or value.tzinfo is not None:
        raise refusal(row, f"{key} must be a local time without an offset", "date")
    check_years(value, key, row=row)
    return value
