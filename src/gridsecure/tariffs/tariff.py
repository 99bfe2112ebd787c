"""Tariffs: rows of data with a validity, loaded from TOML and refused when not unambiguous.

A tariff holds its prices as published; nothing here recomputes a price from a ratio, because one
published sharp price does not reproduce from its own rule. Time-of-use labels are row values.

Not handled here: what a rate multiplies (`rules`), and which part of it is computed on ciphertext
(`gridsecure.plans`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from gridsecure.errors import InputError, InvalidTariffError
from gridsecure.tariffs.cells import (
    read_text,
    read_texts,
    refusal,
)
from gridsecure.tariffs.consistency import (
    check_days,
    check_tiers,
    check_windows,
)
from gridsecure.tariffs.elements import (
    DemandRatchet,
    DynamicPrices,
    PartMonthRule,
    PowerFactorRule,
    read_dynamic,
    read_part_month,
    read_power_factor,
    read_ratchet,
)
from gridsecure.tariffs.header import (
    HEADER,
    check_header,
    optional_cell,
    optional_table,
    read_cycle_month,
    read_reset,
    read_timezone,
    read_validity,
    read_vat,
)
from gridsecure.tariffs.pricing import PricedRows, check_rates
from gridsecure.tariffs.rows import (
    PER_KW,
    DayRow,
    RateRow,
    SourceRow,
    TierRow,
    WindowRow,
    read_day,
    read_rate,
    read_source,
    read_tier,
    read_window,
)
from gridsecure.tariffs.sources import (
    PART_MONTH,
    UNCONFIRMED,
    FigureSource,
    check_sources,
    read_figure_sources,
)
from gridsecure.tariffs.versions import choose_edition, tariff_paths
from gridsecure.toml_documents import read_document

# Monday to Friday, and Saturday with Sunday; a tariff may declare more and list their dates.
WEEKDAY = "weekday"
WEEKEND = "weekend"
TABLES = ("sources", "windows", "demand_windows", "tiers", "rates", "days")


LARGEST_TEXT: Final = 8 << 20
"""Characters of a tariff file; those of the catalogue have at most seven thousand."""
_LOOKED_AT: Final = 4096
_KEPT_TEXT: Final = 1 << 18
_KEPT: Final = 32
"""So many tariffs are kept as they were read, of texts that are not longer than that: every roster,
job and bill of a month reads the same few. All of a tariff is immutable."""


@dataclass(frozen=True, slots=True)
class Tariff:
    """A set of rates with its validity; guaranteed to give every kWh exactly one price.

    Args:
        tariff_id: Stable name, as contracts refer to it.
        name_en: Name in English.
        name_zh: Name in Chinese.
        city: Where it applies.
        timezone: IANA name of the local time of windows, months and days.
        valid_from: First local date of validity.
        valid_to: First local date after validity, or None while it is in force.
        currency: What rates are in; bills round to its hundredth.
        tier_convention: How tiers and time-of-use combine, or None.
        tier_reset: Whether tiers count a `month` or a calendar `year`.
        cycle_month: `last-day` where a period that lies in two months has the prices of the one
            that its last day lies in, or None: such a period is billed only where both are alike.
        vat_rate: Value-added tax contained in every price, as 0.13, or None.
        day_types: Every type of day the windows tell apart; the first two are the ordinary ones.
        sources: Where the figures come from.
        windows: Time-of-use windows; empty for a tariff without time-of-use.
        demand_windows: Windows of time-of-use demand; empty where only the month's highest counts.
        tiers: Consumption steps; empty for a tariff without tiers.
        rates: The rates, in the order of the bill's lines.
        days: Dates whose type is not the one their day of the week says.
        dynamic: Prices per interval, or None.
        power_factor: The power-factor adjustment, or None.
        ratchet: The demand ratchet, or None.
        part_month: What charges and limits of a month are for a part of it, or None.
        figure_sources: Where windows, tiers and other figures that are no rates come from.
    """

    tariff_id: str
    version: str
    name_en: str
    name_zh: str
    city: str
    timezone: str
    valid_from: date
    valid_to: date | None
    currency: str
    tier_convention: str | None
    tier_reset: str
    cycle_month: str | None
    vat_rate: Decimal | None
    day_types: tuple[str, ...]
    sources: tuple[SourceRow, ...]
    windows: tuple[WindowRow, ...]
    demand_windows: tuple[WindowRow, ...]
    tiers: tuple[TierRow, ...]
    rates: tuple[RateRow, ...]
    days: tuple[DayRow, ...]
    dynamic: DynamicPrices | None
    power_factor: PowerFactorRule | None
    ratchet: DemandRatchet | None
    part_month: PartMonthRule | None
    figure_sources: tuple[FigureSource, ...]

    @property
    def tou_periods(self) -> tuple[str, ...]:
        """Time-of-use labels of energy in the order of the rates; empty without time-of-use."""
        return self._labels(demand=False)

    @property
    def demand_periods(self) -> tuple[str, ...]:
        """Time-of-use labels of demand in the order of the rates; empty without any."""
        return self._labels(demand=True)

    @property
    def named_sources(self) -> tuple[tuple[str, str], ...]:
        """Every row that names a source, with the source's id, in the order of the file's rows."""
        named = [(rate.row, rate.source) for rate in self.rates]
        named += [("dynamic", self.dynamic.source)] if self.dynamic else []
        named += [("power_factor", self.power_factor.source)] if self.power_factor else []
        named += [("demand_ratchet", self.ratchet.source)] if self.ratchet else []
        named += [(PART_MONTH, self.part_month.source)] if self.part_month else []
        named += [(figure.row, figure.source) for figure in self.figure_sources]
        return tuple(named)

    @property
    def has_doubtful_parts(self) -> bool:
        """Whether its rule for a part of a month was not found in public."""
        rule = self.part_month
        doubted = {one.source_id for one in self.sources if one.confidence == UNCONFIRMED}
        return rule is not None and rule.source in doubted

    def _labels(self, *, demand: bool) -> tuple[str, ...]:
        labels = (
            rate.tou_period
            for rate in self.rates
            if rate.tou_period is not None and (rate.per == PER_KW) == demand
        )
        return tuple(dict.fromkeys(labels))


def parse_tariff(text: str) -> Tariff:
    """Read a tariff from TOML text.

    Args:
        text: The tariff file's content; `catalogue/` holds examples of every part.

    Raises:
        InvalidTariffError: The text is not TOML, a row is wrong, or the rows together do not
            give every kWh exactly one price; the message names the row and the reason.
    """
    if len(text) > LARGEST_TEXT:
        raise _too_large()
    if text[:_LOOKED_AT].lstrip().startswith(("{", "[{")):
        raise InvalidTariffError(
            "The file is JSON, like rates of the URDB, and not a tariff file.",
            reason="tariff.syntax",
            remedy="Import a rate with `gridsecure tariff import --urdb FILE --output FILE`.",
        )
    return _read_tariff(text) if len(text) <= _KEPT_TEXT else _read_tariff.__wrapped__(text)


@lru_cache(maxsize=_KEPT)
def _read_tariff(text: str) -> Tariff:
    document = read_document(
        text,
        name="file",
        refuse=lambda why: refusal("file", why, "syntax"),
        largest=LARGEST_TEXT,
        parse_float=Decimal,
    )
    tariff = _read_document(document)
    check_windows(tariff.windows, day_types=tariff.day_types)
    check_windows(tariff.demand_windows, day_types=tariff.day_types)
    check_tiers(tariff.tiers, convention=tariff.tier_convention, reset=tariff.tier_reset)
    check_days(tariff.days)
    check_sources(tariff.sources, named=tariff.named_sources)
    check_rates(
        PricedRows(
            rates=tariff.rates,
            windows=tariff.windows,
            demand_windows=tariff.demand_windows,
            tiers=tariff.tiers,
            convention=tariff.tier_convention,
            dynamic=tariff.dynamic,
            power_factor=tariff.power_factor,
            ratchet=tariff.ratchet,
        )
    )
    return tariff


def _too_large() -> InvalidTariffError:
    return InvalidTariffError(
        f"The tariff file is longer than {LARGEST_TEXT >> 20} million characters.",
        reason="tariff.too-large",
        remedy="Give a file with one tariff; split hourly prices into one file a year.",
    )


def load_tariff(path: Path) -> Tariff:
    """Read a tariff file.

    Raises:
        InputError: The file cannot be read (`tariff.unreadable`).
        InvalidTariffError: As `parse_tariff`.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            text = stream.read(LARGEST_TEXT + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The tariff file {path.name} cannot be read as UTF-8 text.",
            reason="tariff.unreadable",
            remedy="Check the path and the encoding.",
        ) from error
    return parse_tariff(text)


def catalogue_tariffs(month: date | None = None) -> dict[str, Path]:
    """Return the tariff files that ship with the package, by tariff id.

    Args:
        month: Any date of a month, to take of each tariff the edition in force in it; where none
            is, and without a month, the newest.
    """
    return {
        tariff_id: choose_edition(paths, month=month)
        for tariff_id, paths in catalogue_paths().items()
    }


def catalogue_paths() -> dict[str, tuple[Path, ...]]:
    """Return every edition of the tariffs that ship with the package, by tariff id."""
    return tariff_paths(Path(__file__).with_name("catalogue"))


def _read_document(document: Mapping[str, Any]) -> Tariff:
    check_header(document)
    tables = {name: _read_tables(document, name) for name in TABLES}
    day_types = _read_day_types(document)
    valid_from, valid_to = read_validity(document)
    currency = document["currency"]

    def windows(name: str) -> tuple[WindowRow, ...]:
        known = {"known_day_types": day_types}
        return tuple(read_window(table, row=row, **known) for row, table in tables[name])

    return Tariff(
        tariff_id=read_text(document, "tariff_id", row=HEADER),
        version=read_text(document, "version", row=HEADER),
        name_en=read_text(document, "name_en", row=HEADER),
        name_zh=read_text(document, "name_zh", row=HEADER),
        city=read_text(document, "city", row=HEADER),
        timezone=read_timezone(document),
        valid_from=valid_from,
        valid_to=valid_to,
        currency=currency,
        tier_convention=optional_cell(document, "tier_convention", read_text),
        tier_reset=read_reset(document),
        cycle_month=read_cycle_month(document),
        vat_rate=read_vat(document),
        day_types=day_types,
        sources=tuple(read_source(table, row=row) for row, table in tables["sources"]),
        windows=windows("windows"),
        demand_windows=windows("demand_windows"),
        tiers=tuple(read_tier(table, row=row) for row, table in tables["tiers"]),
        rates=tuple(read_rate(t, row=row, currency=currency) for row, t in tables["rates"]),
        days=tuple(
            read_day(table, row=row, known_day_types=day_types) for row, table in tables["days"]
        ),
        dynamic=optional_table(document, "dynamic", read_dynamic),
        power_factor=optional_table(document, "power_factor", read_power_factor),
        ratchet=optional_table(document, "demand_ratchet", read_ratchet),
        part_month=optional_table(document, "part_month", read_part_month),
        figure_sources=read_figure_sources(document),
    )


def _read_day_types(document: Mapping[str, Any]) -> tuple[str, ...]:
    day_types = (WEEKDAY, WEEKEND, *read_texts(document, "day_types", row=HEADER))
    if len(set(day_types)) != len(day_types):
        raise refusal(HEADER, "day_types names a type twice", "day-type")
    return day_types


def _read_tables(document: Mapping[str, Any], name: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Name each row as people count them: `rates[1]` is the first."""
    rows = document.get(name, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise refusal(name, f"write each row as [[{name}]]", "rows")
    return [(f"{name}[{number}]", row) for number, row in enumerate(rows, start=1)]
