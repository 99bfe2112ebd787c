"""The correction part of a statement: what was cancelled, what replaces it, what is 退补."""

from __future__ import annotations

from decimal import Decimal

from gridsecure.statements.bill_document import Bill
from gridsecure.statements.checks import amounts_by_key
from gridsecure.statements.figures import minus, money_text
from gridsecure.statements.model import Column, Section, Table
from gridsecure.statements.wording import Wording

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
