"""Does the bill add up? A statement explains arithmetic, so it refuses arithmetic that is wrong.

What is checked, exactly: a line's quantity times its rate is its exact amount; its amount is the
exact amount rounded half-up; the totals are the sums of the lines; net and tax are those of the
rate; an adjustment is the new bill less the cancelled one. Three lines are of another kind:

- Energy that was shared out in proportion has no finite decimal. It is cut to the Wh and its amount
  to the last decimal of amounts, so the two agree to a Wh, and the statement says so.
- A percentage of a base is cut to the last decimal of amounts.
- The line that lifts a bill to its minimum is rounded to what the other rounded lines lack, so that
  the total is the minimum; it may differ from its own exact amount by their roundings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from gridsecure.errors import InputError
from gridsecure.statements.bill_document import AdjustmentLine, Bill, BillLine
from gridsecure.statements.figures import add_up, half_up, minus, net_of, product

HUNDREDTH: Final = Decimal("0.01")
# Energy is written to the Wh [kWh]; a part of it that came out of a division is cut there.
ENERGY_STEP: Final = Decimal("0.001")
# The last decimal of exact amounts, at which those that came out of a division are cut.
AMOUNT_STEP: Final = Decimal("1e-11")
HALF: Final = Decimal("0.005")
MINIMUM: Final = "minimum"
Key = tuple[str, str | None, int | None]


def percent_of(line: BillLine) -> Decimal | None:
    """Return the percentage [%] that makes a line's amount from its base, if one does.

    The percentage is the quantity, or the rate in percent, or the rate as a fraction.
    """
    candidates = [line.quantity]
    if line.rate is not None:
        candidates += [line.rate, product(line.rate, Decimal(100))]
    base = Decimal(0) if line.base is None else line.base
    for percent in candidates:
        rest = minus(percentage(base, percent), line.amount_exact)
        if rest.copy_abs() < AMOUNT_STEP and rest * percentage(base, percent) >= 0:
            return percent
    return None


def percentage(base: Decimal, percent: Decimal) -> Decimal:
    """Return so many percent of a base, exactly."""
    return product(product(base, percent), HUNDREDTH)


def is_product(line: BillLine) -> bool:
    """Return whether quantity times rate is the exact amount, with nothing rounded."""
    return line.rate is not None and product(line.quantity, line.rate) == line.amount_exact


def check_bill(bill: Bill) -> None:
    """Refuse a bill whose figures do not follow from one another.

    Raises:
        InputError: `statement.arithmetic`, with the place.
    """
    for number, line in enumerate(bill.lines):
        _check_line(line, bill, f"lines[{number}]")
    _require(bill.total == add_up(line.amount for line in bill.lines), "total")
    exact = add_up(line.amount_exact for line in bill.lines)
    _require(bill.total_exact == exact, "total_exact")
    if bill.vat:
        _require(bill.vat.rate >= 0, "vat.rate")
        _require(bill.vat.net == net_of(bill.total, bill.vat.rate), "vat.net")
        _require(bill.vat.tax == minus(bill.total, bill.vat.net), "vat.tax")
    _check_correction(bill)


def amounts_by_key(lines: Iterable[BillLine | AdjustmentLine]) -> dict[Key, Decimal]:
    """Add the rounded amounts of lines that are of the same charge, period and tier."""
    amounts: dict[Key, Decimal] = defaultdict(Decimal)
    for line in lines:
        amounts[line.key] = add_up((amounts[line.key], line.amount))
    return dict(amounts)


def _check_line(line: BillLine, bill: Bill, place: str) -> None:
    if line.charge == MINIMUM:
        _require(_is_top_up(line, bill), f"{place}.amount")
    else:
        _require(line.amount == half_up(line.amount_exact), f"{place}.amount")
    if line.base is not None:
        _require(percent_of(line) is not None, f"{place}.amount_exact")
    elif line.rate is not None and not is_product(line):
        _require(line.unit == "kWh", place)
        error = minus(product(line.quantity, line.rate), line.amount_exact).copy_abs()
        _require(error < product(ENERGY_STEP, line.rate.copy_abs()), place)


def _is_top_up(line: BillLine, bill: Bill) -> bool:
    """Return whether a minimum line is what the other lines lack, over their rounded amounts."""
    if line.amount_exact > 0:
        missing = minus(half_up(bill.total_exact), minus(bill.total, line.amount))
        return line.amount == max(missing, Decimal(0))
    # Reached exactly: how high the minimum is cannot be told, but roundings alone can lack it.
    roundings = product(HALF, Decimal(len(bill.lines)))
    return line.amount_exact == 0 and 0 <= line.amount <= roundings


def _check_correction(bill: Bill) -> None:
    if bill.cancels and bill.cancels.lines:
        old_total = add_up(line.amount for line in bill.cancels.lines)
        _require(bill.cancels.total == old_total, "cancels.total")
    if bill.adjustment:
        changes = amounts_by_key(bill.adjustment.lines)
        _require(bill.adjustment.total == add_up(changes.values()), "adjustment.total")
        if bill.cancels:
            change = minus(bill.total, bill.cancels.total)
            _require(bill.adjustment.total == change, "adjustment.total")
        if bill.cancels and bill.cancels.lines:
            old, new = amounts_by_key(bill.cancels.lines), amounts_by_key(bill.lines)
            for key in {**old, **new, **changes}:
                change = minus(new.get(key, Decimal(0)), old.get(key, Decimal(0)))
                _require(changes.get(key, Decimal(0)) == change, "adjustment.lines")


def _require(holds: bool, place: str) -> None:
    if not holds:
        raise InputError(
            f"The bill does not add up at {place}, so it is not put on a statement.",
            reason="statement.arithmetic",
            remedy="Compute the bill again with `gridsecure bill`; do not edit its figures.",
        )
