"""How a line's amount was reached, in one line of arithmetic that a reader can do again.

Every kind of line has its own form; all end the same way: the exact amount in full, and the amount
it is rounded to. Nothing is computed here but what is shown.
"""

from __future__ import annotations

from decimal import Decimal

from apps.statements.bill_document import Bill, BillLine
from apps.statements.checks import is_product, percent_of
from apps.statements.figures import (
    add_up,
    exact_money_text,
    figure_text,
    half_up,
    minus,
    money_text,
)
from apps.statements.wording import Wording

TIMES = "×"
GIVES = "→"


def explain(line: BillLine, *, bill: Bill, wording: Wording) -> str:
    """Return the arithmetic of a line of a checked bill."""
    if line.charge == "minimum" and not (line.rate is not None and is_product(line)):
        return _top_up(line, bill, wording)
    if line.base is not None:
        return _percentage(line, wording)
    if line.rate is None:
        return _without_rate(line, wording)
    factors = (
        f"{wording.counted(figure_text(line.quantity), line.unit)} {TIMES} "
        f"{_bracketed(line.rate)} {wording.per(line.unit)}"
    )
    if is_product(line):
        return f"{factors} = {_result(line, wording)}"
    return f"{factors} ≈ {_result(line, wording)}; {wording.say('shown_rounded')}"


def _percentage(line: BillLine, wording: Wording) -> str:
    percent = percent_of(line)
    base = wording.amount(exact_money_text(line.base or Decimal(0)))
    parts = f"{wording.say('base')} {base} {TIMES} {_bracketed(percent or Decimal(0), '%')}"
    return f"{parts} = {_result(line, wording)}"


def _without_rate(line: BillLine, wording: Wording) -> str:
    if line.unit == "kWh":
        energy = wording.counted(figure_text(line.quantity), line.unit)
        return f"{wording.say('per_interval')}{_aside(energy, wording)} = {_result(line, wording)}"
    return f"{wording.say('fixed_amount')}: {_result(line, wording)}"


def _top_up(line: BillLine, bill: Bill, wording: Wording) -> str:
    """Explain the line that lifts a bill to its minimum: the exact minimum is what both make."""
    if not line.amount_exact:
        return wording.say("top_up_none")
    others = minus(add_up(each.amount_exact for each in bill.lines), line.amount_exact)
    if not _is_cents(bill.total_exact):
        # The minimum was taken over the rounded lines, so those are what it is compared with.
        others = minus(bill.total, line.amount)
    minimum = add_up((others, line.amount_exact))
    difference = wording.say(
        "top_up", minimum=exact_money_text(minimum), others=exact_money_text(others)
    )
    return f"{difference} = {_result(line, wording)}"


def _result(line: BillLine, wording: Wording) -> str:
    exact = exact_money_text(line.amount_exact)
    if _is_cents(line.amount_exact):
        return wording.amount(exact)
    rule = _aside(wording.say("rounded", unit=wording.hundredth), wording)
    return f"{exact} {GIVES} {wording.amount(money_text(line.amount))}{rule}"


def _aside(text: str, wording: Wording) -> str:
    return wording.say("aside", text=text)


def _bracketed(value: Decimal, suffix: str = "") -> str:
    text = f"{figure_text(value)}{suffix}"
    return f"({text})" if value < 0 else text


def _is_cents(value: Decimal) -> bool:
    return half_up(value) == value
