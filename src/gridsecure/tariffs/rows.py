"""The rows a tariff consists of, and how one row is read from its TOML table.

A row refuses what is wrong about itself (unknown key, bad month, too many decimals); what is
wrong between rows (gaps, overlaps, missing rates) is the business of `tariff_consistency`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from gridsecure.tariffs.cells import (
    ALL_MONTHS,
    check_keys,
    read_clock,
    read_date,
    read_months,
    read_number,
    read_text,
    read_texts,
    read_tier_number,
    refusal,
)

RATE_DECIMALS = 8
LIMIT_DECIMALS = 3
PER_KWH, PER_KVA, PER_KW, PER_MONTH, PER_DAY = "kWh", "kVA-month", "kW-month", "month", "day"
RATE_BASES = (PER_KWH, PER_KVA, PER_KW, PER_MONTH, PER_DAY)
KWH = "kWh"
KWH_PER_KVA = "kWh/kVA"
KWH_PER_KW = "kWh/kW"
KWH_PER_DAY = "kWh/day"
KWH_PER_KW_DAY = "kWh/kW-day"
LIMIT_UNITS = (KWH, KWH_PER_KVA, KWH_PER_KW, KWH_PER_DAY, KWH_PER_KW_DAY)
# Limits counted on use hours (kWh per kVA or kW) are compared as whole numbers.
WHOLE_LIMIT_UNITS = (KWH_PER_KVA, KWH_PER_KW, KWH_PER_KW_DAY)
CONFIDENCES = ("confirmed", "secondary", "unconfirmed")
RESERVED_LABEL = "total"


@dataclass(frozen=True, slots=True)
class SourceRow:
    """Where figures come from and how far to trust them.

    `confidence` is `confirmed` (read in the original, or told alike by independent public
    sources), `secondary` (told by one public source) or `unconfirmed` (not found in public).
    `title` and `confidence` are for those who keep tariffs. `document` is the published price
    document that a customer's bill refers to, by its own title; None if there is none to name.
    """

    source_id: str
    title: str
    confidence: str
    document: str | None = None


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
    """One consumption step; `upper_limit` [`unit`] is inclusive, None leaves the step open.

    `tou_period` is set where every time-of-use period has a ladder of its own.
    """

    months: tuple[int, ...]
    tier: int
    upper_limit: Decimal | None
    unit: str
    tou_period: str | None
    row: str


@dataclass(frozen=True, slots=True)
class RateRow:
    """One rate: money per unit [`unit`] for a charge, perhaps in one period or one tier.

    `min_kwh_per_kva`, where given, limits the rate to meter points with at least so many kWh per
    contracted kVA in the month.
    """

    charge: str
    tou_period: str | None
    tier: int | None
    rate: Decimal
    unit: str
    source: str
    row: str
    months: tuple[int, ...] = ALL_MONTHS
    min_kwh_per_kva: int | None = None

    @property
    def per(self) -> str:
        """What the rate is counted on: the unit without its currency."""
        return self.unit.partition("/")[2]


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
    check_keys(table, row=row, required=("id", "title", "confidence"), optional=("document",))
    confidence = read_text(table, "confidence", row=row)
    if confidence not in CONFIDENCES:
        raise refusal(row, f"confidence must be one of {', '.join(CONFIDENCES)}", "confidence")
    return SourceRow(
        source_id=read_text(table, "id", row=row),
        title=read_text(table, "title", row=row),
        confidence=confidence,
        document=read_text(table, "document", row=row) if "document" in table else None,
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
    from_minute = read_clock(table, "from", row=row)
    to_minute = read_clock(table, "to", row=row)
    if from_minute >= to_minute:
        raise refusal(row, "a window ends after it starts, the same day; write two rows", "window")
    tou_period = read_text(table, "tou_period", row=row)
    if tou_period == RESERVED_LABEL:
        raise refusal(row, f"{RESERVED_LABEL!r} is the name of the total register", "window")
    return WindowRow(
        months=read_months(table, row=row),
        day_types=day_types,
        from_minute=from_minute,
        to_minute=to_minute,
        tou_period=tou_period,
        row=row,
    )


def read_tier(table: Mapping[str, Any], *, row: str) -> TierRow:
    """Read one `[[tiers]]` table; without a limit the tier is open."""
    optional = ("months", "tou_period", "upper_limit_kwh", "upper_limit", "unit")
    check_keys(table, row=row, required=("tier",), optional=optional)
    if "upper_limit_kwh" in table and ("upper_limit" in table or "unit" in table):
        raise refusal(row, "upper_limit_kwh has its unit in its name; give one limit", "unit")
    unit = read_text(table, "unit", row=row) if "unit" in table else KWH
    if unit not in LIMIT_UNITS:
        raise refusal(row, f"unknown unit {unit!r}; known: {', '.join(LIMIT_UNITS)}", "unit")
    if "upper_limit" in table and "unit" not in table:
        raise refusal(row, f"upper_limit needs a unit: {', '.join(LIMIT_UNITS)}", "unit")
    key = "upper_limit" if "upper_limit" in table else "upper_limit_kwh"
    limit = None
    if key in table:
        decimals = 0 if unit in WHOLE_LIMIT_UNITS else LIMIT_DECIMALS
        limit = read_number(table, key, row=row, decimals=decimals)
        if limit <= 0:
            raise refusal(row, "a tier limit is above zero", "tier-limit")
    return TierRow(
        months=read_months(table, row=row),
        tier=read_tier_number(table, row=row),
        upper_limit=limit,
        unit=unit,
        tou_period=read_text(table, "tou_period", row=row) if "tou_period" in table else None,
        row=row,
    )


def read_rate(table: Mapping[str, Any], *, row: str, currency: str) -> RateRow:
    """Read one `[[rates]]` table; the rate has at most eight decimals."""
    check_keys(
        table,
        row=row,
        required=("charge", "rate", "unit", "source"),
        optional=("tou_period", "tier", "months", "min_kwh_per_kva"),
    )
    unit = read_text(table, "unit", row=row)
    units = [f"{currency}/{per}" for per in RATE_BASES]
    if unit not in units:
        raise refusal(row, f"unknown unit {unit!r}; known: {', '.join(units)}", "unit")
    least = None
    if "min_kwh_per_kva" in table:
        least = int(read_number(table, "min_kwh_per_kva", row=row, decimals=0))
        if least <= 0:
            raise refusal(row, "min_kwh_per_kva is a whole number above zero", "tier-limit")
    return RateRow(
        charge=read_text(table, "charge", row=row),
        tou_period=read_text(table, "tou_period", row=row) if "tou_period" in table else None,
        tier=read_tier_number(table, row=row) if "tier" in table else None,
        rate=read_number(table, "rate", row=row, decimals=RATE_DECIMALS),
        unit=unit,
        source=read_text(table, "source", row=row),
        row=row,
        months=read_months(table, row=row),
        min_kwh_per_kva=least,
    )


def read_day(table: Mapping[str, Any], *, row: str, known_day_types: tuple[str, ...]) -> DayRow:
    """Read one `[[days]]` table: a date and one of the tariff's day types."""
    check_keys(table, row=row, required=("date", "day_type"))
    day_type = read_text(table, "day_type", row=row)
    if day_type not in known_day_types:
        raise refusal(row, f"unknown day type {day_type!r}", "day-type")
    return DayRow(day=read_date(table, "date", row=row), day_type=day_type, row=row)
