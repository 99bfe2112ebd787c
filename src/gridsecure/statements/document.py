"""From a bill to a statement: pure, the same statement for the same bill, every time.

1. The period of the bill document is read and checked (`bill_document`, `checks`).
2. Each line gets its words, its arithmetic, its source and how it was computed.
3. The parts that the bill has data for are added: correction, price build-up, value-added tax.
4. Price documents are numbered in the order in which lines name them. What is thought of a source
   is for those who keep tariffs, and no statement says it.

A bill that does not add up gives an error, not a statement.

Price build-up: a column is a period, a tier, or both. Every component with a unit of kWh has
exactly one rate in a column (its own, or one for all energy), save a tier surcharge, which may have
none. A column for which that does not hold is left out rather than shown with a wrong sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from gridsecure.statements.bill_document import (
    Bill,
    BillLine,
    BillNotice,
    moment_before,
    read_bill,
)
from gridsecure.statements.checks import amounts_by_key, check_bill, percent_of
from gridsecure.statements.explain import explain
from gridsecure.statements.figures import (
    add_up,
    exact_money_text,
    figure_text,
    minus,
    money_text,
    product,
)
from gridsecure.statements.model import (
    Column,
    Fact,
    Labels,
    LineView,
    Section,
    SourceView,
    StatementView,
    Table,
)
from gridsecure.statements.plain_text import make_visible
from gridsecure.statements.qr_codes import find_modules
from gridsecure.statements.wording import Language, Wording

NO_VALUE = "—"
WHAT_IF = "what-if"


@dataclass(frozen=True, slots=True)
class Addressee:
    """Whom a statement concerns and who gives it out.

    Args:
        meter_point_id: The meter point, under the name that its customer knows.
        issuer: Who issues the statement; the electricity utility, without its name, if not given.
        code: What the issuer signed of the bill; empty where it signed nothing.
    """

    meter_point_id: str
    issuer: str | None = None
    code: str = ""


def make_statement(period: object, *, addressee: Addressee, language: Language) -> StatementView:
    """Make the statement of one period of a bill document.

    Raises:
        InputError: `statement.shape` or `statement.arithmetic`.
    """
    bill = read_bill(period)
    check_bill(bill)
    wording = Wording(language, bill.currency)
    sources = _used_sources(bill)
    columns, lines = _lines(bill, sources, wording)
    sections = (correction_section(bill, wording), build_up_section(bill, wording))
    return StatementView(
        language_tag=language.tag,
        title=wording.say("title_corrected" if bill.cancels or bill.adjustment else "title"),
        motto=_motto(bill, wording),
        meter_point=Fact(wording.say("meter_point"), make_visible(addressee.meter_point_id)),
        facts=_facts(bill, addressee, wording),
        total=_total(bill, wording),
        total_figure=money_text(bill.total),
        change=_change(bill, wording),
        warning=_what_if(bill, wording),
        labels=_labels(wording),
        columns=columns,
        lines=lines,
        total_note=wording.say(
            "total_note",
            unit=wording.hundredth,
            currency=wording.currency,
            exact=exact_money_text(bill.total_exact),
        ),
        sections=tuple(each for each in (*sections, _vat_section(bill, wording)) if each),
        sources=tuple(dict.fromkeys(sources.values())),
        code=find_modules(addressee.code) if addressee.code else (),
        notes=_notes(bill, wording),
    )


def _labels(wording: Wording) -> Labels:
    return Labels(
        lines=wording.say("lines"),
        total=wording.say("total"),
        arithmetic=wording.say("arithmetic"),
        source=wording.say("source"),
        computed=wording.say("computed"),
        sources=wording.say("sources"),
        code=wording.say("code"),
        code_note=wording.say("code_note"),
        notes=wording.say("notes"),
        page_of=wording.say("page_of", page="{page}", pages="{pages}"),
        colon=wording.say("colon"),
    )


WAYS = ("ciphertext", "gateway", "contract", "authority")


def _motto(bill: Bill, wording: Wording) -> str:
    """Say how the bill was computed only where the bill itself says so."""
    encrypted = any(line.computed == "ciphertext" for line in bill.lines)
    return wording.say("motto" if encrypted else "motto_plain", unit=wording.hundredth)


def _facts(bill: Bill, addressee: Addressee, wording: Wording) -> tuple[Fact, ...]:
    issuer = make_visible(addressee.issuer) if addressee.issuer else wording.say("issuer_utility")
    dates = {"first": wording.date(bill.start), "last": wording.date(bill.last_instant)}
    facts = [
        ("issuer", issuer),
        ("billing_period", wording.say("period_dates", **dates)),
    ]
    if bill.served:
        start, end = bill.served
        own = {"first": wording.date(start), "last": wording.date(moment_before(end))}
        facts.append(("served_days", wording.say("period_dates", **own)))
    if bill.tariff:
        chinese = wording.language is Language.CHINESE
        name = bill.tariff.name_zh if chinese else bill.tariff.name_en
        version = wording.say(
            "tariff_version_of",
            version=make_visible(bill.tariff.version),
            tariff_id=make_visible(bill.tariff.tariff_id),
        )
        facts += [("tariff", make_visible(name)), ("tariff_version", version)]
    else:
        facts.append(("tariff", wording.say("not_stated")))
    if bill.version is not None and not bill.cancels:
        facts.append(("bill_version", wording.say("bill_version_of", version=str(bill.version))))
    if bill.cancels:
        new = bill.cancels.version + 1 if bill.version is None else bill.version
        versions = {"new": str(new), "old": str(bill.cancels.version)}
        facts.append(("bill_version", wording.say("replaces", **versions)))
    return tuple(Fact(wording.say(label), value) for label, value in facts)


def _total(bill: Bill, wording: Wording) -> Fact:
    label = wording.say("total_credit" if bill.total < 0 else "total")
    return Fact(label, wording.amount(money_text(bill.total)))


def _change(bill: Bill, wording: Wording) -> Fact | None:
    if bill.adjustment:
        amount = bill.adjustment.total
    elif bill.cancels:
        amount = minus(bill.total, bill.cancels.total)
    else:
        return None
    return Fact(
        wording.say(f"change_{direction_of(amount)}"), wording.amount(money_text(amount.copy_abs()))
    )


def _lines(
    bill: Bill, sources: dict[str, SourceView], wording: Wording
) -> tuple[tuple[Column, ...], tuple[LineView, ...]]:
    """Return columns and lines; a column that no line fills is left out."""
    has_periods = any(line.tou_period for line in bill.lines)
    has_tiers = any(line.tier is not None for line in bill.lines)
    columns = [Column(wording.say("charge"))]
    columns += [Column(wording.say("tou_period"))] if has_periods else []
    columns += [Column(wording.say("tier"))] if has_tiers else []
    columns += [
        Column(wording.say("quantity"), is_figure=True),
        Column(wording.say("rate", currency=wording.currency), is_figure=True),
        Column(wording.say("amount", currency=wording.currency), is_figure=True),
    ]
    views = []
    for line in bill.lines:
        cells = [wording.charge(line.charge)]
        cells += [wording.tou_period(line.tou_period)] if has_periods else []
        cells += [wording.tier(line.tier)] if has_tiers else []
        rate = NO_VALUE if line.rate is None or line.base is not None else figure_text(line.rate)
        cells += [_quantity(line, wording), rate, money_text(line.amount)]
        source = sources.get(line.source) if line.source else None
        views.append(
            LineView(
                cells=tuple(cells),
                arithmetic=explain(line, bill=bill, wording=wording),
                source=source.reference if source else "",
                computed=_computed(line, wording),
            )
        )
    return tuple(columns), tuple(views)


def _quantity(line: BillLine, wording: Wording) -> str:
    """Write the quantity; beside a percentage it may be the power factor that led to it."""
    if line.base is not None and line.quantity != percent_of(line):
        return wording.say("power_factor_of", value=figure_text(line.quantity))
    if line.base is not None:
        return wording.counted(figure_text(line.quantity), "%")
    if line.charge == "minimum" and line.rate is None:
        return NO_VALUE
    return wording.counted(figure_text(line.quantity), line.unit)


def _computed(line: BillLine, wording: Wording) -> str:
    if line.computed in WAYS:
        return wording.say(f"computed_{line.computed}")
    return make_visible(line.computed or "")


def _used_sources(bill: Bill) -> dict[str, SourceView]:
    """Number the documents in the order of the lines that name them; then those of other figures.

    Sources of one document share a number.
    """
    documents = {source.source_id: source.document for source in bill.sources}
    views: dict[str, SourceView] = {}
    numbered: dict[str, SourceView] = {}
    for name in dict.fromkeys([*(line.source for line in bill.lines), *documents]):
        if name is None or name not in documents:
            continue
        title = make_visible(documents[name])
        views[name] = numbered.setdefault(title, SourceView(f"[{len(numbered) + 1}]", title))
    return views


def _notes(bill: Bill, wording: Wording) -> tuple[str, ...]:
    keys = ["note_served"] if bill.served else []
    keys += (
        ["note_part_month"]
        if bill.served and bill.tariff and bill.tariff.has_doubtful_parts
        else []
    )
    keys += ["note_rounding"]
    keys += ["note_base"] if any(line.base is not None for line in bill.lines) else []
    ways = {line.computed for line in bill.lines}
    keys += [f"note_{way}" for way in WAYS if way in ways]
    keys += ["note_receipt"] if bill.has_receipt else []
    said = tuple(_noticed(notice, wording) for notice in bill.notices if notice.code != WHAT_IF)
    return (*said, *(wording.say(key, unit=wording.hundredth) for key in keys))


def _what_if(bill: Bill, wording: Wording) -> str:
    """A what-if is no bill, and its reader must know so first."""
    return "".join(_noticed(each, wording) for each in bill.notices if each.code == WHAT_IF)


def _noticed(notice: BillNotice, wording: Wording) -> str:
    """A notice in the statement's language; one of a later version as the document says it."""
    values = {name: make_visible(value) for name, value in notice.values.items()}
    return wording.notice(notice.code, values) or make_visible(notice.text)


def _vat_section(bill: Bill, wording: Wording) -> Section | None:
    if bill.vat is None:
        return None
    vat = bill.vat
    percent = figure_text(product(vat.rate, Decimal(100)))
    figures = {
        "total": money_text(bill.total),
        "net": money_text(vat.net),
        "net_taken": f"({money_text(vat.net)})" if vat.net < 0 else money_text(vat.net),
        "tax": money_text(vat.tax),
        "divisor": figure_text(add_up((vat.rate, Decimal(1)))),
        "unit": wording.hundredth,
    }
    columns = (
        Column(wording.say("vat")),
        Column(wording.say("amount", currency=wording.currency), is_figure=True),
    )
    rows = (
        (wording.say("vat_net"), figures["net"]),
        (wording.say("vat_tax", percent=percent), figures["tax"]),
        (wording.say("vat_gross"), figures["total"]),
    )
    return Section(wording.say("vat"), wording.say("vat_note", **figures), (Table(columns, rows),))


_ABSENT = "—"
Key = tuple[str, str | None, int | None]


def direction_of(amount: Decimal) -> str:
    """Return which way a difference goes: a negative one is refunded to the customer."""
    if amount == 0:
        return "unchanged"
    return "refunded" if amount < 0 else "to_pay"


def correction_section(bill: Bill, wording: Wording) -> Section | None:
    """Return the section of a bill that cancels another or carries refunds or supplements."""
    if bill.cancels is None and bill.adjustment is None:
        return None
    if bill.cancels is None:
        note = wording.say("correction_only")
    else:
        new = bill.cancels.version + 1 if bill.version is None else bill.version
        note = wording.say("correction_note", old=str(bill.cancels.version), new=str(new))
    return Section(wording.say("correction"), note, (_table(bill, wording),))


def _table(bill: Bill, wording: Wording) -> Table:
    columns = [Column(wording.say("charge"))]
    if bill.cancels:
        columns.append(
            Column(wording.say("old_amount", version=str(bill.cancels.version)), is_figure=True)
        )
        columns.append(Column(_new_heading(bill, wording), is_figure=True))
    columns.append(Column(wording.say("difference"), is_figure=True))
    columns.append(Column(wording.say("direction")))
    rows = [*_adjustment_rows(bill, wording), _total_row(bill, wording)]
    return Table(tuple(columns), tuple(rows))


def _new_heading(bill: Bill, wording: Wording) -> str:
    if bill.version is None:
        return wording.say("this_bill")
    return wording.say("new_amount", version=str(bill.version))


def _adjustment_rows(bill: Bill, wording: Wording) -> list[tuple[str, ...]]:
    if bill.adjustment is None:
        return []
    new = amounts_by_key(bill.lines)
    old = amounts_by_key(bill.cancels.lines) if bill.cancels else {}
    return [
        _row(
            _named(line.key, wording),
            (old.get(line.key), new.get(line.key)) if bill.cancels else (),
            line.amount,
            wording,
        )
        for line in bill.adjustment.lines
    ]


def _total_row(bill: Bill, wording: Wording) -> tuple[str, ...]:
    amounts = (bill.cancels.total, bill.total) if bill.cancels else ()
    if bill.adjustment:
        change = bill.adjustment.total
    else:
        change = minus(bill.total, bill.cancels.total) if bill.cancels else Decimal(0)
    return _row(wording.say("adjustment_total"), amounts, change, wording)


def _row(
    name: str, amounts: tuple[Decimal | None, ...], change: Decimal, wording: Wording
) -> tuple[str, ...]:
    texts = [_ABSENT if amount is None else money_text(amount) for amount in amounts]
    sign = "+" if change > 0 else ""
    return name, *texts, f"{sign}{money_text(change)}", wording.say(direction_of(change))


def _named(key: Key, wording: Wording) -> str:
    charge, tou_period, tier = key
    parts = [wording.charge(charge), wording.tou_period(tou_period), wording.tier(tier)]
    return " · ".join(part for part in parts if part)


SURCHARGE: Final = "tier-adder"
# Priced by the kWh, but of another quantity than the energy taken.
OTHER_ENERGY: Final = {"feed-in", "free-quota"}
_NO_PRICE: Final = "—"
# What fits the width of a page; more go into further tables.
COLUMNS_AT_ONCE: Final = 5


@dataclass(frozen=True, slots=True)
class _Cell:
    """The energy a column is about."""

    tou_period: str | None
    tier: int | None

    def holds(self, line: BillLine) -> bool:
        """Return whether a line's rate applies to this energy."""
        return line.tou_period in {None, self.tou_period} and line.tier in {None, self.tier}


def build_up_section(bill: Bill, wording: Wording) -> Section | None:
    """Return the section, or None where a kWh has a single price."""
    priced = [
        line
        for line in bill.lines
        if line.unit == "kWh" and line.rate is not None and line.charge not in OTHER_ENERGY
    ]
    charges = tuple(dict.fromkeys(line.charge for line in priced))
    if len(charges) < 2:
        return None
    cells = [cell for cell in _cells(priced) if _is_complete(cell, priced, charges)]
    tables = tuple(
        _build_up_table(cells[at : at + COLUMNS_AT_ONCE], priced, charges, wording)
        for at in range(0, len(cells), COLUMNS_AT_ONCE)
    )
    if not tables:
        return None
    return Section(wording.say("build_up"), wording.say("build_up_note"), tables)


def _cells(priced: Sequence[BillLine]) -> list[_Cell]:
    tou_periods: list[str | None] = list(
        dict.fromkeys(line.tou_period for line in priced if line.tou_period)
    )
    tiers = {line.tier for line in priced if line.tier is not None}
    surcharged = [line.tier for line in priced if line.charge == SURCHARGE and line.tier]
    if surcharged:
        # Below the first surcharge lie the tiers without one.
        tiers.update(range(1, min(surcharged)))
    steps: list[int | None] = [*sorted(tiers)]
    return [_Cell(label, step) for label in tou_periods or [None] for step in steps or [None]]


def _rates(cell: _Cell, priced: Sequence[BillLine], charge: str) -> list[Decimal]:
    return [
        line.rate
        for line in priced
        if line.charge == charge and line.rate is not None and cell.holds(line)
    ]


def _is_complete(cell: _Cell, priced: Sequence[BillLine], charges: Sequence[str]) -> bool:
    for charge in charges:
        count = len(_rates(cell, priced, charge))
        if count != 1 and not (count == 0 and charge == SURCHARGE):
            return False
    return True


def _build_up_table(
    cells: Sequence[_Cell], priced: Sequence[BillLine], charges: Sequence[str], wording: Wording
) -> Table:
    heading = wording.say("build_up_component", unit=wording.per("kWh"))
    columns = [Column(heading)]
    columns += [Column(_heading(cell, wording), is_figure=True) for cell in cells]
    rows = []
    for charge in charges:
        rates = [_rates(cell, priced, charge) for cell in cells]
        texts = [figure_text(found[0]) if found else _NO_PRICE for found in rates]
        rows.append((wording.charge(charge), *texts))
    sums = [add_up(rate for charge in charges for rate in _rates(c, priced, charge)) for c in cells]
    rows.append((wording.say("build_up_sum"), *map(figure_text, sums)))
    return Table(tuple(columns), tuple(rows))


def _heading(cell: _Cell, wording: Wording) -> str:
    parts = [wording.tou_period(cell.tou_period), wording.tier(cell.tier)]
    return " · ".join(part for part in parts if part) or wording.say("all_energy")
