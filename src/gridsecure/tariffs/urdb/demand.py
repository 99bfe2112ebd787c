"""URDB demand charges as tariff rows: by month, by time of use, and with a ratchet.

Demand is the highest mean power of one interval of the readings in the month, or in a window of it.
SAM bills a ratcheted month's demand in full in every demand window of that month, however low the
demand in the window was; no tariff sheet says so, so a ratchet over time-of-use demand is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gridsecure.tariffs.urdb import elements as read
from gridsecure.tariffs.urdb.elements import MONTHS, refuse
from gridsecure.tariffs.urdb.rows import (
    ALL_MONTHS,
    SOURCE,
    ConvertedElement,
    Row,
    Value,
    plain,
    rate_row,
)
from gridsecure.tariffs.urdb.structures import (
    Structure,
    find_unreached,
    periods_by_month,
    read_schedule,
    read_structure,
    window_rows,
)

FLAT = "flatdemandstructure"
BY_TIME = "demandratestructure"
DEMAND_UNITS = {"kw": "kW"}
PREFIX = "demand-"
CHARGE = "demand"
LARGEST_RANGE = 12


@dataclass(frozen=True, slots=True)
class DemandTerms:
    """What the import says about demand charges from outside the file.

    Args:
        unit: Unit of a demand rate.
        lookback_range: Months that a ratchet looks back where the file names months only.
        counted: Whether energy tiers are counted in kWh per kW of demand.
        set_aside: Elements that whoever imports says do not matter.
    """

    unit: str
    lookback_range: int | None
    counted: bool
    set_aside: frozenset[str]


def convert_demand(elements: Mapping[str, Any], *, terms: DemandTerms) -> ConvertedElement:
    """Turn the demand elements into demand windows, demand rates and a ratchet.

    Raises:
        InvalidTariffError: As the readers of structures and schedules, and `urdb.unit`,
            `urdb.demand-tiers`, `urdb.lookbackpercent`, `urdb.lookbackmonths`,
            `urdb.lookbackrange`.
    """
    flat = _structure(elements, FLAT, "flatdemandunit", terms)
    by_time = _structure(elements, BY_TIME, "demandrateunit", terms)
    parts = [
        _flat_part(elements, flat, terms),
        _by_time_part(elements, by_time, terms),
        _ratchet_part(elements, by_time, terms, charged=flat is not None),
    ]
    return ConvertedElement(
        tuple(row for part in parts for row in part.rows),
        notes=tuple(note for part in parts for note in part.notes),
    )


def _structure(
    elements: Mapping[str, Any], name: str, unit_name: str, terms: DemandTerms
) -> Structure | None:
    """One demand structure, or None if it is absent or charges nothing."""
    if name not in elements or read.is_nothing(elements[name]):
        return None
    structure = read_structure(
        elements[name], name=name, units=DEMAND_UNITS, set_aside=terms.set_aside
    )
    if structure.is_free():
        return None
    for unit in (unit_name, "demandunits"):
        if unit in elements:
            read.read_unit(elements[unit], where=unit, known=DEMAND_UNITS)
    for position, tiers in enumerate(structure.periods):
        if len(tiers) > 1:
            refuse(
                f"{name}[{position}]",
                "a demand charge has one tier; steps of demand are not billed",
                code="demand-tiers",
                remedy="A rate with steps of demand cannot be imported; bill it with another tool.",
            )
    return structure


def _flat_part(
    elements: Mapping[str, Any], structure: Structure | None, terms: DemandTerms
) -> ConvertedElement:
    if structure is None:
        return ConvertedElement()
    name = "flatdemandmonths"
    if name not in elements and len(structure.periods) > 1:
        refuse(name, f"{len(structure.periods)} periods need their months", code="schedule")
    written = read.read_items(elements.get(name, [0] * MONTHS), where=name, count=MONTHS)
    periods = [read.read_whole(value, where=f"{name}[{at}]") for at, value in enumerate(written)]
    for at, period in enumerate(periods):
        if not 0 <= period < len(structure.periods):
            refuse(f"{name}[{at}]", f"there is no period {period}", code="period")
    prices = [structure.periods[period][0].price for period in periods]
    rows = tuple(
        rate_row(CHARGE, rate, unit=terms.unit, months=of_months)
        for rate, of_months in read.group_months(prices).items()
        if rate
    )
    return ConvertedElement(
        rows, notes=find_unreached(structure, tuple((period,) for period in periods))
    )


def _by_time_part(
    elements: Mapping[str, Any], structure: Structure | None, terms: DemandTerms
) -> ConvertedElement:
    if structure is None:
        return ConvertedElement()
    schedule = read_schedule(elements, kind="demand", periods=len(structure.periods))
    months = periods_by_month(schedule)
    rates = tuple(
        rate_row(
            CHARGE,
            structure.periods[period][0].price,
            unit=terms.unit,
            tou_period=f"{PREFIX}{period}",
        )
        for period in sorted({period for periods in months for period in periods})
    )
    rows = (*window_rows(schedule, table="demand_windows", prefix=PREFIX), *rates)
    notes: tuple[str, ...] = ()
    if "demandweekdayschedule" in elements and "demandweekendschedule" not in elements:
        notes = ("demandweekendschedule: not given; weekends are billed like weekdays.",)
    return ConvertedElement(rows, notes=(*notes, *find_unreached(structure, months)))


def _ratchet_part(
    elements: Mapping[str, Any],
    by_time: Structure | None,
    terms: DemandTerms,
    *,
    charged: bool,
) -> ConvertedElement:
    """`[demand_ratchet]`; the month's own demand always counts in full."""
    percent = _percent(elements)
    if not percent:
        return ConvertedElement()
    if by_time is not None:
        refuse(
            "lookbackpercent",
            f"the file does not say which demand of {BY_TIME} it looks back at",
            code="lookbackpercent",
            remedy="A ratchet is imported with flat demand only; bill this with another tool.",
        )
    if terms.counted:
        refuse(
            "lookbackpercent",
            "tiers in kWh per kW count the ratcheted demand, and the engine the month's own",
            code="lookbackpercent",
            remedy="A ratchet is imported with tiers in kWh only; bill this with another tool.",
        )
    if not charged:
        return ConvertedElement(
            notes=("lookbackpercent: the rate charges no demand; not imported.",)
        )
    months = _lookback_months(elements)
    values: dict[str, Value] = {"percent": plain(percent)}
    if months != ALL_MONTHS:
        values["months"] = months
    values |= {"range_months": _lookback_range(elements, terms), "source": SOURCE}
    return ConvertedElement((Row("demand_ratchet", values, repeats=False),))


def _percent(elements: Mapping[str, Any]) -> Decimal:
    name = "lookbackpercent"
    percent = read.read_price(elements.get(name, 0), where=name)
    if not 0 <= percent <= 1:
        refuse(name, "it is a part of one, as 0.8", code=name)
    return percent


def _lookback_months(elements: Mapping[str, Any]) -> tuple[int, ...]:
    """Months whose demand is looked back at; where none is named, every month is."""
    name = "lookbackmonths"
    if name not in elements:
        return ALL_MONTHS
    written = read.read_items(elements[name], where=name, count=MONTHS)
    flags = [
        flag if isinstance(flag, bool) else read.read_whole(flag, where=f"{name}[{at}]")
        for at, flag in enumerate(written)
    ]
    if not set(flags) <= {0, 1}:
        refuse(name, "each month is true or false", code=name)
    return tuple(month for month, flag in enumerate(flags, start=1) if flag) or ALL_MONTHS


def _lookback_range(elements: Mapping[str, Any], terms: DemandTerms) -> int:
    name = "lookbackrange"
    months = read.read_whole(elements.get(name, 0), where=name) or terms.lookback_range or 0
    if months == 0:
        refuse(
            name,
            "the file names no number of months that the ratchet looks back",
            code=name,
            remedy="Take the number of months from the tariff sheet. "
            + read.import_with("lookback-range", "11"),
        )
    if not 1 <= months <= LARGEST_RANGE:
        refuse(name, f"a ratchet looks back 1 to {LARGEST_RANGE} months", code=name)
    return months
