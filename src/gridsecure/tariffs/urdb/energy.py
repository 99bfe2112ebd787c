"""URDB energy charges as tariff rows: time of use, tiers, and both with a named convention.

Where every month has one period, as with seasonal tiers, no windows are written; tiers and rates
name their months instead. What the readers refuse is refused with period and tier.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from gridsecure.tariffs.consistency import MONTH, PER_PERIOD, UNIFORM_ADDER, YEAR
from gridsecure.tariffs.pricing import ENERGY_CHARGE, TIER_ADDER_CHARGE
from gridsecure.tariffs.rows import (
    KWH,
    KWH_PER_DAY,
    KWH_PER_KW,
    KWH_PER_KW_DAY,
)
from gridsecure.tariffs.urdb import elements as read
from gridsecure.tariffs.urdb.conventions import (
    EnergyTerms,
    Ladders,
    choose_convention,
    common_ladders,
    read_convention,
    step_above,
)
from gridsecure.tariffs.urdb.elements import MONTHS, refuse
from gridsecure.tariffs.urdb.rows import ALL_MONTHS, ConvertedElement, Row, Value, rate_row
from gridsecure.tariffs.urdb.structures import (
    Schedule,
    Structure,
    StructureTier,
    find_unreached,
    periods_by_month,
    read_schedule,
    read_structure,
    window_rows,
)

STRUCTURE = "energyratestructure"
# The unit of a limit; the first is meant where none is written.
ENERGY_UNITS = {
    "kwh": KWH,
    "kwh/kw": KWH_PER_KW,
    "kwh daily": KWH_PER_DAY,
    "kwh/kw daily": KWH_PER_KW_DAY,
}
PER_KW_LIMITS = (KWH_PER_KW, KWH_PER_KW_DAY)
PREFIX = "period-"
TIER_RESETS = {"month": MONTH, "monthly": MONTH, "year": YEAR, "annual": YEAR}


def convert_energy(elements: Mapping[str, Any], *, terms: EnergyTerms) -> ConvertedElement:
    """Turn the energy elements into windows, tiers and rates.

    Raises:
        InvalidTariffError: As the readers of structures and schedules, and
            `urdb.tier-convention`, `urdb.tiers-differ`, `urdb.tier-reset`.
    """
    structure = read_structure(
        _required(elements), name=STRUCTURE, units=ENERGY_UNITS, set_aside=terms.set_aside
    )
    schedule = read_schedule(elements, kind="energy", periods=len(structure.periods))
    months = periods_by_month(schedule)
    reset = _tier_reset(elements, structure)
    named = read_convention(elements)
    if all(len(periods) == 1 for periods in months):
        part = _by_month(structure, months, terms)
    else:
        part = _by_period(structure, schedule, terms=terms, named=named)
    notes = (*_weekend_note(elements), *find_unreached(structure, months), *part.notes)
    return ConvertedElement(part.rows, {**(part.header or {}), **reset}, notes)


def _required(elements: Mapping[str, Any]) -> Any:
    if STRUCTURE not in elements:
        refuse(
            STRUCTURE,
            "the rate prices no energy",
            code="energy-missing",
            remedy="Ask the API with detail=full; its short answer leaves the structures out.",
        )
    return elements[STRUCTURE]


def convert_fuel_adjustments(elements: Mapping[str, Any], *, unit: str) -> ConvertedElement:
    """Monthly fuel adjustments become a charge of their own on every kWh of the month."""
    name = "fueladjustmentsmonthly"
    if name not in elements:
        return ConvertedElement()
    written = read.read_items(elements[name], where=name, count=MONTHS)
    prices = [read.read_price(value, where=f"{name}[{at}]") for at, value in enumerate(written)]
    if not any(prices):
        return ConvertedElement()
    return ConvertedElement(
        tuple(
            rate_row("fuel-adjustment", rate, unit=unit, months=of_months)
            for rate, of_months in read.group_months(prices).items()
        )
    )


def _by_month(
    structure: Structure, months: tuple[tuple[int, ...], ...], terms: EnergyTerms
) -> ConvertedElement:
    """One period in every month: no windows, and tiers and rates that depend on the month."""
    ladders = tuple(structure.periods[periods[0]] for periods in months)
    if all(len(ladder) == 1 for ladder in ladders):
        return ConvertedElement(
            _rates_by_month(ENERGY_CHARGE, ladders, 1, tier=None, unit=terms.unit)
        )
    tiers = max(len(ladder) for ladder in ladders)
    rates = tuple(
        row
        for tier in range(1, tiers + 1)
        for row in _rates_by_month(ENERGY_CHARGE, ladders, tier, tier=tier, unit=terms.unit)
    )
    return ConvertedElement((*_tier_rows(ladders, structure.unit), *rates))


def _rates_by_month(
    charge: str, ladders: Ladders, position: int, *, tier: int | None, unit: str
) -> tuple[Row, ...]:
    """One row for each price that a tier has in some months."""
    prices = [ladder[position - 1].price if len(ladder) >= position else None for ladder in ladders]
    scope: dict[str, Value] = {} if tier is None else {"tier": tier}
    return tuple(
        rate_row(charge, price, unit=unit, **scope, months=of_months)
        for price, of_months in read.group_months(prices).items()
        if price is not None
    )


def _by_period(
    structure: Structure, schedule: Schedule, *, terms: EnergyTerms, named: str | None
) -> ConvertedElement:
    """Several periods in some month: windows, and rates by period and perhaps by tier."""
    months = periods_by_month(schedule)
    windows = window_rows(schedule, table="windows", prefix=PREFIX)
    reached = sorted({period for periods in months for period in periods})
    if all(len(structure.periods[period]) == 1 for period in reached):
        return ConvertedElement((*windows, *_rates_by_period(structure, reached, terms.unit)))
    if terms.convention == PER_PERIOD:
        rates = _tier_rates(structure, months, unit=terms.unit, convention=PER_PERIOD)
        rows = (*windows, *_ladders_by_period(structure, reached), *rates)
        return ConvertedElement(rows, {"tier_convention": PER_PERIOD})
    ladders = common_ladders(structure, months)
    convention, notes = choose_convention(structure, months, terms=terms, named=named)
    if convention == UNIFORM_ADDER:
        rates = (
            *_rates_by_period(structure, reached, terms.unit),
            *_adder_rows(ladders, terms.unit),
        )
    else:
        rates = _tier_rates(structure, months, unit=terms.unit, convention=convention)
    rows = (*windows, *_tier_rows(ladders, structure.unit), *rates)
    return ConvertedElement(rows, {"tier_convention": convention}, notes)


def _rates_by_period(structure: Structure, periods: list[int], unit: str) -> tuple[Row, ...]:
    """The price of the first tier, by period."""
    return tuple(
        rate_row(
            ENERGY_CHARGE,
            structure.periods[period][0].price,
            unit=unit,
            tou_period=f"{PREFIX}{period}",
        )
        for period in periods
    )


def _tier_rates(
    structure: Structure, months: tuple[tuple[int, ...], ...], *, unit: str, convention: str
) -> tuple[Row, ...]:
    """The price of each tier of each period; by month where months differ in their tiers."""
    reached = sorted({period for periods in months for period in periods})
    alike = len({len(structure.periods[period]) for period in reached}) == 1
    rows = []
    for period in reached:
        of_months = tuple(m for m, periods in enumerate(months, start=1) if period in periods)
        always = alike or convention == PER_PERIOD
        scope: dict[str, Value] = {"tou_period": f"{PREFIX}{period}"}
        for number, tier in enumerate(structure.periods[period], start=1):
            scope |= {"tier": number, "months": ALL_MONTHS if always else of_months}
            rows.append(rate_row(ENERGY_CHARGE, tier.price, unit=unit, **scope))
    return tuple(rows)


def _tier_rows(ladders: Ladders, unit: str) -> tuple[Row, ...]:
    """`[[tiers]]` rows for the ladder of each month, equal months together."""
    steps = read.group_months([tuple(tier.limit for tier in ladder) for ladder in ladders])
    return tuple(
        Row("tiers", _tier_values(number, limit, unit=unit, months=of_months))
        for limits, of_months in steps.items()
        for number, limit in enumerate(limits, start=1)
    )


def _ladders_by_period(structure: Structure, periods: list[int]) -> tuple[Row, ...]:
    return tuple(
        Row("tiers", {"tou_period": f"{PREFIX}{period}", **_tier_values(number, tier.limit,
            unit=structure.unit, months=ALL_MONTHS)})
        for period in periods
        for number, tier in enumerate(structure.periods[period], start=1)
    )  # fmt: skip


def _tier_values(
    number: int, limit: Decimal | None, *, unit: str, months: tuple[int, ...]
) -> dict[str, Value]:
    values: dict[str, Value] = {"tier": number}
    if months != ALL_MONTHS:
        values["months"] = months
    if limit is not None:
        values |= {"upper_limit_kwh": limit} if unit == KWH else {
            "upper_limit": limit, "unit": unit
        }  # fmt: skip
    return values


def _adder_rows(ladders: Ladders, unit: str) -> tuple[Row, ...]:
    """What each tier costs above the first, which is alike in all periods of a month."""
    above = tuple(
        tuple(StructureTier(tier.limit, step_above(tier, ladder[0])) for tier in ladder)
        for ladder in ladders
    )
    tiers = max(len(ladder) for ladder in ladders)
    return tuple(
        row
        for tier in range(2, tiers + 1)
        for row in _rates_by_month(TIER_ADDER_CHARGE, above, tier, tier=tier, unit=unit)
    )


def _tier_reset(elements: Mapping[str, Any], structure: Structure) -> dict[str, Value]:
    if "tier_reset" not in elements:
        return {}
    written = read.read_text(elements["tier_reset"], where="tier_reset").lower()
    if written not in TIER_RESETS:
        refuse("tier_reset", f"known are {read.join_names(TIER_RESETS)}", code="tier-reset")
    reset = TIER_RESETS[written]
    if reset == MONTH:
        return {}
    if structure.unit != KWH:
        refuse("tier_reset", f"limits in {structure.unit} start anew each month", code="tier-reset")
    return {"tier_reset": reset}


def _weekend_note(elements: Mapping[str, Any]) -> tuple[str, ...]:
    if "energyweekdayschedule" in elements and "energyweekendschedule" not in elements:
        return ("energyweekendschedule: not given; weekends are billed like weekdays.",)
    return ()
