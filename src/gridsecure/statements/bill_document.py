"""The bill document as checked values: what a statement is made from.

Reads one period of the JSON that `gridsecure bill --format json` prints. The stable keys are
required; what later versions added (tariff, sources, VAT, version, cancelled bill, adjustment, and
a line's unit, source, way of computing and base) may be missing. Numbers are decimal texts and stay
exact. An error names the place in the document, never the value found there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from gridsecure.statements.json_table import JsonTable, mapping, refusal

CURRENCIES: Final = ("CNY", "USD", "EUR", "GBP")
# Units of documents that were written before lines carried theirs.
_UNITS: Final[Mapping[str, str]] = {"energy": "kWh", "tier-adder": "kWh", "capacity": "kVA"}


@dataclass(frozen=True, slots=True)
class BillLine:
    """One line of a bill; `rate` is None where no single price applies."""

    charge: str
    tou_period: str | None
    tier: int | None
    quantity: Decimal
    rate: Decimal | None
    amount_exact: Decimal
    amount: Decimal
    unit: str
    source: str | None
    computed: str | None
    base: Decimal | None

    @property
    def key(self) -> tuple[str, str | None, int | None]:
        """What the line is, whatever its figures."""
        return self.charge, self.tou_period, self.tier


@dataclass(frozen=True, slots=True)
class BillTariff:
    """The tariff a bill was computed with."""

    tariff_id: str
    version: str
    name_en: str
    name_zh: str
    currency: str
    has_doubtful_parts: bool = False
    """Whether nobody confirmed its rule for a part of a month."""


@dataclass(frozen=True, slots=True)
class PriceSource:
    """The published document that prices come from, by its title."""

    source_id: str
    document: str


@dataclass(frozen=True, slots=True)
class VatSplit:
    """The value-added tax inside the total."""

    rate: Decimal
    net: Decimal
    tax: Decimal


@dataclass(frozen=True, slots=True)
class CancelledBill:
    """The version that this bill replaces."""

    version: int
    total: Decimal
    lines: tuple[BillLine, ...]


@dataclass(frozen=True, slots=True)
class AdjustmentLine:
    """A refund (negative) or supplement: the new amount less the old one."""

    charge: str
    tou_period: str | None
    tier: int | None
    amount: Decimal

    @property
    def key(self) -> tuple[str, str | None, int | None]:
        """What the line is, whatever its figures."""
        return self.charge, self.tou_period, self.tier


@dataclass(frozen=True, slots=True)
class Adjustment:
    """Refunds and supplements (退补) of a correction."""

    lines: tuple[AdjustmentLine, ...]
    total: Decimal


@dataclass(frozen=True, slots=True)
class BillNotice:
    """What the reader of a bill must know beside its figures.

    Args:
        code: Its stable code.
        text: The sentence that the document has for it.
    """

    code: str
    values: Mapping[str, str]
    text: str


@dataclass(frozen=True, slots=True)
class Bill:
    """One meter point's bill for one period, as read."""

    start: datetime
    end: datetime
    lines: tuple[BillLine, ...]
    total_exact: Decimal
    total: Decimal
    tariff: BillTariff | None
    sources: tuple[PriceSource, ...]
    vat: VatSplit | None
    version: int | None
    cancels: CancelledBill | None
    adjustment: Adjustment | None
    notices: tuple[BillNotice, ...] = ()
    served: tuple[datetime, datetime] | None = None
    """Start and end of the days that are the account's, where those are a part of the period."""
    has_receipt: bool = False
    """Whether a receipt comes with it, of the readings that it was made of."""

    @property
    def currency(self) -> str:
        """Currency of every amount; documents without a tariff are in yuan."""
        return self.tariff.currency if self.tariff else "CNY"

    @property
    def month(self) -> str:
        """The month that the period's last day lies in, YYYY-MM."""
        return f"{self.last_instant.year:04d}-{self.last_instant.month:02d}"

    @property
    def last_instant(self) -> datetime:
        """The last moment inside the period, whose day is the last day billed."""
        return moment_before(self.end)


def moment_before(end: datetime) -> datetime:
    """The last moment before an end, whose day is the last one inside."""
    return end - timedelta(microseconds=1)


def read_bill(period: object) -> Bill:
    """Read one period of a bill document.

    Raises:
        InputError: `statement.shape`, with the place in the document.
    """
    table = JsonTable(mapping(period, "period"), "period")
    start, end = table.moment("start"), table.moment("end")
    if end <= start:
        raise refusal("period.end", "does not come after the start")
    cancels = table.optional("cancels", lambda value, at: _cancelled(JsonTable.of(value, at)))
    adjustment = table.optional("adjustment", lambda value, at: _adjusted(JsonTable.of(value, at)))
    return Bill(
        start=start,
        end=end,
        lines=table.each("lines", _line),
        total_exact=table.number("total_exact"),
        total=table.money("total"),
        tariff=table.optional("tariff", lambda value, at: _tariff(JsonTable.of(value, at))),
        sources=table.optional("sources", _sources) or (),
        vat=table.optional("vat", lambda value, at: _vat(JsonTable.of(value, at))),
        version=table.whole("version") if table.has("version") else None,
        cancels=cancels,
        adjustment=adjustment,
        notices=table.each("notices", _notice) if table.has("notices") else (),
        served=table.optional("served", lambda value, at: _served(value, at, (start, end))),
        has_receipt=table.has("receipt"),
    )


def _served(value: object, at: str, period: tuple[datetime, datetime]) -> tuple[datetime, datetime]:
    table = JsonTable.of(value, at)
    start, end = table.moment("start"), table.moment("end")
    if not period[0] <= start < end <= period[1]:
        raise refusal(at, "is not a part of the period")
    return start, end


def _notice(table: JsonTable) -> BillNotice:
    values = mapping(table.values.get("values", {}), f"{table.place}.values")
    named = {str(name): str(value) for name, value in values.items()}
    return BillNotice(table.text("code"), named, table.text("text"))


def _line(table: JsonTable) -> BillLine:
    charge = table.text("charge")
    table.require("rate")
    return BillLine(
        charge=charge,
        tou_period=table.label("tou_period"),
        tier=table.whole("tier") if table.has("tier") else None,
        quantity=table.number("quantity"),
        rate=table.number("rate") if table.has("rate") else None,
        amount_exact=table.number("amount_exact"),
        amount=table.money("amount"),
        unit=table.label("unit") or _UNITS.get(charge, ""),
        source=table.label("source"),
        computed=table.label("computed"),
        base=table.number("base") if table.has("base") else None,
    )


def _tariff(table: JsonTable) -> BillTariff:
    currency = table.text("currency")
    if currency not in CURRENCIES:
        raise refusal(f"{table.place}.currency", f"is none of {', '.join(CURRENCIES)}")
    return BillTariff(
        tariff_id=table.text("id"),
        version=table.text("version"),
        name_en=table.text("name_en"),
        name_zh=table.text("name_zh"),
        currency=currency,
        has_doubtful_parts=table.has("part_month"),
    )


def _sources(value: object, place: str) -> tuple[PriceSource, ...]:
    found = []
    for number, (source_id, entry) in enumerate(mapping(value, place).items()):
        table = JsonTable.of(entry, f"{place}[{number}]")
        # Documents of earlier versions hold remarks of those who keep tariffs, and no document.
        if table.has("document"):
            found.append(PriceSource(source_id, table.text("document")))
    return tuple(found)


def _vat(table: JsonTable) -> VatSplit:
    return VatSplit(table.number("rate"), table.money("net"), table.money("tax"))


def _cancelled(table: JsonTable) -> CancelledBill:
    lines = table.each("lines", _line) if table.has("lines") else ()
    return CancelledBill(table.whole("version"), table.money("total"), lines)


def _adjusted(table: JsonTable) -> Adjustment:
    return Adjustment(table.each("lines", _adjustment_line), table.money("total"))


def _adjustment_line(table: JsonTable) -> AdjustmentLine:
    return AdjustmentLine(
        charge=table.text("charge"),
        tou_period=table.label("tou_period"),
        tier=table.whole("tier") if table.has("tier") else None,
        amount=table.money("amount"),
    )
