"""Import of OpenEI URDB rates, versions 7 and 8, as tariff files.

Invariant: every element of the rate is priced, or changes no bill, or is refused by its name; none
is left out silently. The text that comes out is a tariff file like any other, read by
`parse_tariff` with all its checks before it is handed on. What maps to what is in `docs/urdb.md`.

Not handled here: rates with several meters, exported energy, demand in kVA; and rounding, which the
URDB does not know: bills round as every tariff file's do.

Prices by interval (`ts_buy_rate`) start on 1 January, and their number tells the interval. SAM's
year has 365 days, so they are laid on a year that has as many.
"""

from __future__ import annotations

from calendar import isleap
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any, NoReturn

from gridsecure.month_texts import FIRST_YEAR, LAST_YEAR
from gridsecure.tariffs.consistency import CONVENTIONS
from gridsecure.tariffs.header import read_timezone
from gridsecure.tariffs.pricing import MINIMUM_CHARGE
from gridsecure.tariffs.tariff import Tariff, parse_tariff
from gridsecure.tariffs.urdb import elements as read
from gridsecure.tariffs.urdb.conventions import EnergyTerms
from gridsecure.tariffs.urdb.demand import DemandTerms, convert_demand
from gridsecure.tariffs.urdb.elements import MAY_BE_SET_ASIDE, refuse
from gridsecure.tariffs.urdb.energy import PER_KW_LIMITS, convert_energy, convert_fuel_adjustments
from gridsecure.tariffs.urdb.rows import SOURCE, ConvertedElement, Row, Value, rate_row, tariff_file
from gridsecure.tariffs.urdb.structures import ENOUGH_DIGITS

MONTHS = Decimal(12)
LONGEST_TITLE = 300
# Charge and unit by their URDB names; the older API had one element for each unit.
STANDING = ("fixedchargefirstmeter", "fixedchargeunits", "fixedmonthlycharge")
MINIMUM = ("mincharge", "minchargeunits", "minmonthlycharge")


@dataclass(frozen=True, slots=True)
class UrdbOptions:
    """What a URDB rate does not say, or what whoever imports says instead.

    Args:
        tariff_id: Name of the tariff; the rate's label if None.
        version: Edition; the first day of validity if None.
        currency: Three letters; what the file writes as $.
        timezone: IANA name of the local time; the file's own if None, and one must be named.
        year: Year of validity if the rate has no start date, and of `ts_buy_rate`.
        tier_convention: How tiers and time of use combine, whatever the file says.
        lookback_range: Months a ratchet looks back if the file names none.
        set_aside: Elements that do not matter to the meter points billed, by name.
    """

    tariff_id: str | None = None
    version: str | None = None
    currency: str = "USD"
    timezone: str | None = None
    year: int | None = None
    tier_convention: str | None = None
    lookback_range: int | None = None
    set_aside: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.tier_convention is not None and self.tier_convention not in CONVENTIONS:
            _refuse_option("tier convention", self.tier_convention, CONVENTIONS)
        for name in sorted(self.set_aside - MAY_BE_SET_ASIDE):
            _refuse_option("element to set aside", name, sorted(MAY_BE_SET_ASIDE))
        if self.year is not None and not FIRST_YEAR <= self.year <= LAST_YEAR:
            _refuse_option("year", str(self.year), (f"{FIRST_YEAR} to {LAST_YEAR}",))


@dataclass(frozen=True, slots=True)
class UrdbImport:
    """An imported rate: the text of a tariff file, what it says, and notes for whoever imports."""

    text: str
    tariff: Tariff
    notes: tuple[str, ...]


def import_rate(document: Mapping[str, Any], *, options: UrdbOptions) -> UrdbImport:
    """Import one URDB rate.

    Args:
        document: The rate, or the API's envelope around it, as `parse_urdb` reads it.
        options: What the rate does not say.

    Raises:
        InvalidTariffError: An element cannot be priced (`urdb.…`, with its name), or the tariff
            that the elements make is refused (`tariff.…`).
    """
    text, notes = _convert(document, options)
    return UrdbImport(text, parse_tariff(text), notes)


def rate_timezone(document: Mapping[str, Any]) -> str | None:
    """The IANA name of a rate's local time, or None: most rates name none.

    Raises:
        InvalidTariffError: The document is no single rate (`urdb.items`), or names no time zone
            that there is (`tariff.timezone`).
    """
    named = {key.lower(): value for key, value in read.only_item(document).items()}.get("timezone")
    return read_timezone({"timezone": named}) if named else None


def _convert(document: Mapping[str, Any], options: UrdbOptions) -> tuple[str, tuple[str, ...]]:
    elements = read.known_elements(read.only_item(document), set_aside=options.set_aside)
    per_kwh = f"{options.currency}/kWh"
    terms = EnergyTerms(per_kwh, options.tier_convention, options.set_aside)
    energy = convert_energy(elements, terms=terms)
    parts = [
        convert_dynamic(elements, energy, year=options.year),
        convert_fuel_adjustments(elements, unit=per_kwh),
        convert_demand(
            elements,
            terms=DemandTerms(
                unit=f"{options.currency}/kW-month",
                lookback_range=options.lookback_range,
                counted=any(row.values.get("unit") in PER_KW_LIMITS for row in energy.rows),
                set_aside=options.set_aside,
            ),
        ),
        _money_part(elements, STANDING, charge="standing", currency=options.currency),
        _money_part(elements, MINIMUM, charge=MINIMUM_CHARGE, currency=options.currency),
    ]
    header = _header(elements, options)
    for part in parts:
        header |= part.header or {}
    notes = (
        *_applicability(elements),
        *(f"{name}: set aside as not mattering." for name in sorted(options.set_aside)),
        *(note for part in parts for note in part.notes),
    )
    rows = [_source_row(elements), *(row for part in parts for row in part.rows)]
    return tariff_file(header, rows, notes=notes), notes


def _header(elements: Mapping[str, Any], options: UrdbOptions) -> dict[str, Value]:
    name = _text(elements, "name") or _text(elements, "label") or "URDB rate"
    valid_from, valid_to = _validity(elements, options)
    header: dict[str, Value] = {
        "tariff_id": _tariff_id(elements, options),
        "version": options.version or valid_from.isoformat(),
        "name_en": name,
        "name_zh": name,
        "city": _text(elements, "utility") or "URDB",
        "currency": options.currency,
        "timezone": options.timezone or _text(elements, "timezone") or _no_timezone(),
        "valid_from": valid_from,
    }
    return header if valid_to is None else {**header, "valid_to": valid_to}


def _no_timezone() -> NoReturn:
    refuse(
        "timezone",
        "the rate does not say whose clock its hours follow",
        code="timezone",
        remedy="Pass --timezone, such as --timezone America/New_York.",
    )


def _tariff_id(elements: Mapping[str, Any], options: UrdbOptions) -> str:
    name = options.tariff_id or _text(elements, "label")
    if not name:
        refuse(
            "label",
            "the rate has no label",
            code="label",
            remedy=read.import_with("tariff-id", "NAME"),
        )
    return name


def _validity(elements: Mapping[str, Any], options: UrdbOptions) -> tuple[date, date | None]:
    """Start and end, which the URDB writes as the seconds of a date; the last day is included."""
    first = _date(elements, "startdate")
    if first is None and options.year is not None:
        first = date(options.year, 1, 1)
    if first is None:
        refuse(
            "startdate",
            "the rate has no start date",
            code="startdate",
            remedy=read.import_with("year", "2025"),
        )
    last = _date(elements, "enddate")
    return first, None if last is None else last + timedelta(days=1)


def _date(elements: Mapping[str, Any], name: str) -> date | None:
    """The date of a number of seconds since 1970.

    Midnights of the Americas are later than that of UTC and earlier than its next, so the date in
    UTC is the one meant, whichever of the two the database holds.
    """
    if name not in elements:
        return None
    seconds = read.read_whole(elements[name], where=name)
    latest = datetime(LAST_YEAR, 1, 1, tzinfo=UTC)
    if not 0 <= seconds < int(latest.timestamp()):
        refuse(name, f"no date between {FIRST_YEAR} and {LAST_YEAR}", code=name)
    return datetime.fromtimestamp(seconds, UTC).date()


def _money_part(
    elements: Mapping[str, Any], names: tuple[str, str, str], *, charge: str, currency: str
) -> ConvertedElement:
    """A charge per month or day; a yearly standing charge becomes twelve exactly equal parts."""
    new, units, old = names
    amounts = {
        name: read.read_price(elements[name], where=name) for name in (new, old) if name in elements
    }
    amounts = {name: amount for name, amount in amounts.items() if amount}
    if not amounts:
        return ConvertedElement()
    if len(amounts) == 2:
        refuse(old, f"{new} is given as well", code="duplicate-element")
    ((name, amount),) = amounts.items()
    if amount < 0:
        refuse(name, "the charge is below zero", code="number")
    per = "month" if name == old else _per(elements, units, name)
    if per == "year":
        amount, per = _twelfth(amount, name=name, charge=charge), "month"
    return ConvertedElement((rate_row(charge, amount, unit=f"{currency}/{per}"),))


def _per(elements: Mapping[str, Any], units: str, name: str) -> str:
    if units not in elements:
        refuse(units, f"{name} has no unit", code="unit")
    return read.read_unit(
        elements[units], where=units, known={"$/month": "month", "$/day": "day", "$/year": "year"}
    )


def _twelfth(amount: Decimal, *, name: str, charge: str) -> Decimal:
    if charge == MINIMUM_CHARGE:
        refuse(name, "a minimum for a year cannot be settled in a bill for a month", code=name)
    with localcontext() as context:
        context.prec = ENOUGH_DIGITS
        part = (amount / MONTHS).quantize(Decimal(1).scaleb(-read.RATE_DECIMALS))
        if part * MONTHS != amount:
            refuse(name, "a twelfth of it has more than eight decimals", code=name)
    return part


def _applicability(elements: Mapping[str, Any]) -> tuple[str, ...]:
    """Note limits on who may take the rate: a bill does not check them."""
    named = sorted(name for name in elements if name.startswith(("peakkw", "voltage")))
    if not named:
        return ()
    return (f"{read.join_names(named)}: who may take the rate is not checked.",)


def _source_row(elements: Mapping[str, Any]) -> Row:
    """One public database tells the figures, so they are of secondary confidence."""
    told = [_text(elements, name) for name in ("label", "utility", "name", "source")]
    title = ", ".join(["OpenEI URDB", *(part for part in told if part)])
    return Row(
        "sources",
        {"id": SOURCE, "title": title[:LONGEST_TITLE], "confidence": "secondary"},
    )


def _text(elements: Mapping[str, Any], name: str) -> str:
    return read.read_text(elements[name], where=name) if elements.get(name) else ""


def _refuse_option(what: str, given: str, known: tuple[str, ...] | list[str]) -> None:
    refuse(what, f"unknown {given!r}; known: {read.join_names(known)}", code="option")


NAME = "ts_buy_rate"
MINUTES_PER_YEAR = 365 * 1440
INTERVALS = (5, 10, 15, 30, 60)


def convert_dynamic(
    elements: Mapping[str, Any], energy: ConvertedElement, *, year: int | None
) -> ConvertedElement:
    """Return the series of prices, or `energy` if the rate has none.

    Raises:
        InvalidTariffError: `urdb.ts_buy_rate`, `urdb.year`, and as the readers of numbers.
    """
    if NAME not in elements:
        return energy
    if any(row.values.get("rate", "0") != "0" for row in energy.rows):
        refuse(NAME, "the rate has other energy prices besides", code=NAME)
    written = read.read_items(elements[NAME], where=NAME)
    lengths = {MINUTES_PER_YEAR // minutes: minutes for minutes in INTERVALS}
    if len(written) not in lengths:
        refuse(
            NAME,
            f"{len(written)} prices are no year of {read.join_names(INTERVALS)} minutes",
            code=NAME,
        )
    if year is None or isleap(year):
        refuse(
            NAME,
            "the prices are those of a year with 365 days",
            code="year",
            remedy=read.import_with("year", "2025"),
        )
    prices = tuple(
        read.read_price(value, where=f"{NAME}[{at}]") for at, value in enumerate(written)
    )
    row = Row(
        "dynamic",
        {
            "source": SOURCE,
            "start": f"{year}-01-01T00:00",
            "interval_minutes": lengths[len(written)],
            "rates": prices,
        },
        repeats=False,
    )
    return ConvertedElement((row,), notes=energy.notes)
