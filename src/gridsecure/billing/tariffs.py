"""Tariffs: rows of data with a validity, loaded from TOML and refused when not unambiguous.

A tariff holds its prices as published; nothing here recomputes a price from a ratio, because one
published sharp price does not reproduce from its own rule. Time-of-use labels are row values.

Not handled here: demand charges, power factor, annual tiers, tiers whose adder depends on the
time-of-use period.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gridsecure.billing.tariff_consistency import (
    check_days,
    check_rates,
    check_tiers,
    check_windows,
)
from gridsecure.billing.tariff_rows import (
    DayRow,
    RateRow,
    SourceRow,
    TierRow,
    WindowRow,
    check_keys,
    read_date,
    read_day,
    read_rate,
    read_source,
    read_text,
    read_texts,
    read_tier,
    read_window,
    refusal,
)
from gridsecure.errors import InputError

# Monday to Friday, and Saturday with Sunday; a tariff may declare more and list their dates.
WEEKDAY = "weekday"
WEEKEND = "weekend"
CURRENCY = "CNY"
HEADER = "header"
TABLES = ("sources", "windows", "tiers", "rates", "days")


@dataclass(frozen=True, slots=True)
class Tariff:
    """A set of rates with its validity; guaranteed to give every kWh exactly one price.

    Args:
        tariff_id: Stable name, as contracts refer to it.
        version: Edition of the rates under that name.
        name_en: Name in English.
        name_zh: Name in Chinese.
        city: Where it applies.
        timezone: IANA name of the local time of windows, months and days.
        valid_from: First local date of validity.
        valid_to: First local date after validity, or None while it is in force.
        tier_convention: How tiers and time-of-use combine, or None.
        day_types: Every type of day the windows tell apart; the first two are the ordinary ones.
        sources: Where the figures come from.
        windows: Time-of-use windows; empty for a tariff without time-of-use.
        tiers: Consumption steps; empty for a tariff without tiers.
        rates: The rates, in the order of the bill's lines.
        days: Dates whose type is not the one their day of the week says.
    """

    tariff_id: str
    version: str
    name_en: str
    name_zh: str
    city: str
    timezone: str
    valid_from: date
    valid_to: date | None
    tier_convention: str | None
    day_types: tuple[str, ...]
    sources: tuple[SourceRow, ...]
    windows: tuple[WindowRow, ...]
    tiers: tuple[TierRow, ...]
    rates: tuple[RateRow, ...]
    days: tuple[DayRow, ...]

    @property
    def tou_periods(self) -> tuple[str, ...]:
        """Time-of-use labels in the order of the rates; empty without time-of-use."""
        labels = (rate.tou_period for rate in self.rates if rate.tou_period is not None)
        return tuple(dict.fromkeys(labels))


def parse_tariff(text: str) -> Tariff:
    """Read a tariff from TOML text.

    Args:
        text: The tariff file's content; `catalogue/` holds examples of every part.

    Raises:
        InvalidTariffError: The text is not TOML, a row is wrong, or the rows together do not
            give every kWh exactly one price; the message names the row and the reason.
    """
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        # Besides its own error, tomllib lets through those of endless digits and deep nesting.
        raise refusal("file", f"not valid TOML ({error})", "syntax") from error
    tariff = _read_document(document)
    check_windows(tariff.windows, day_types=tariff.day_types)
    check_tiers(tariff.tiers)
    check_days(tariff.days)
    check_rates(
        tariff.rates,
        sources=tariff.sources,
        labels=frozenset(window.tou_period for window in tariff.windows),
        tiers=frozenset(tier.tier for tier in tariff.tiers),
        convention=tariff.tier_convention,
    )
    return tariff


def load_tariff(path: Path) -> Tariff:
    """Read a tariff file.

    Raises:
        InputError: The file cannot be read (`tariff.unreadable`).
        InvalidTariffError: As `parse_tariff`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The tariff file {path.name} cannot be read as UTF-8 text.",
            reason="tariff.unreadable",
            remedy="Check the path and the encoding.",
        ) from error
    return parse_tariff(text)


def catalogue_tariffs() -> dict[str, Path]:
    """Return the tariff files that ship with the package, by tariff id."""
    folder = Path(__file__).with_name("catalogue")
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def _read_document(document: Mapping[str, Any]) -> Tariff:
    _check_header(document)
    tables = {name: _read_tables(document, name) for name in TABLES}
    special = read_texts(document, "day_types", row=HEADER)
    day_types = (WEEKDAY, WEEKEND, *special)
    if len(set(day_types)) != len(day_types):
        raise refusal(HEADER, "day_types names a type twice", "day-type")
    valid_from, valid_to = _read_validity(document)
    convention = None
    if "tier_convention" in document:
        convention = read_text(document, "tier_convention", row=HEADER)
    return Tariff(
        tariff_id=read_text(document, "tariff_id", row=HEADER),
        version=read_text(document, "version", row=HEADER),
        name_en=read_text(document, "name_en", row=HEADER),
        name_zh=read_text(document, "name_zh", row=HEADER),
        city=read_text(document, "city", row=HEADER),
        timezone=_read_timezone(document),
        valid_from=valid_from,
        valid_to=valid_to,
        tier_convention=convention,
        day_types=day_types,
        sources=tuple(read_source(table, row=row) for row, table in tables["sources"]),
        windows=tuple(
            read_window(table, row=row, known_day_types=day_types)
            for row, table in tables["windows"]
        ),
        tiers=tuple(read_tier(table, row=row) for row, table in tables["tiers"]),
        rates=tuple(read_rate(table, row=row) for row, table in tables["rates"]),
        days=tuple(
            read_day(table, row=row, known_day_types=day_types) for row, table in tables["days"]
        ),
    )


def _check_header(document: Mapping[str, Any]) -> None:
    check_keys(
        document,
        row=HEADER,
        required=(
            *("tariff_id", "version", "name_en", "name_zh", "city"),
            *("currency", "timezone", "valid_from", "sources", "rates"),
        ),
        optional=("valid_to", "tier_convention", "day_types", "windows", "tiers", "days"),
    )
    if document["currency"] != CURRENCY:
        raise refusal(HEADER, f"currency must be {CURRENCY}: bills round to the fen", "currency")


def _read_tables(document: Mapping[str, Any], name: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Name each row as people count them: `rates[1]` is the first."""
    rows = document.get(name, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise refusal(name, f"write each row as [[{name}]]", "rows")
    return [(f"{name}[{number}]", row) for number, row in enumerate(rows, start=1)]


def _read_timezone(document: Mapping[str, Any]) -> str:
    name = read_text(document, "timezone", row=HEADER)
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise refusal(HEADER, f"unknown timezone {name!r}", "timezone") from error
    return name


def _read_validity(document: Mapping[str, Any]) -> tuple[date, date | None]:
    valid_from = read_date(document, "valid_from", row=HEADER)
    if "valid_to" not in document:
        return valid_from, None
    valid_to = read_date(document, "valid_to", row=HEADER)
    if valid_to <= valid_from:
        raise refusal(HEADER, "valid_to must be after valid_from", "validity")
    return valid_from, valid_to
