"""How a line's amount was reached, in one line of arithmetic that a reader can do again.

Every kind of line has its own form; all end the same way: the exact amount in full, and the amount
it is rounded to. Nothing is computed here but what is shown.
"""

from __future__ import annotations

from decimal import Decimal

from gridsecure.statements.bill_document import Bill, BillLine
from gridsecure.statements.checks import MINIMUM, is_product, percent_of, percentage
from gridsecure.statements.figures import (
    exact_money_text,
    figure_text,
    half_up,
    minus,
    money_text,
)
from gridsecure.statements.wording import Wording

TIMES = "×"
GIVES = "→"
EQUAL = "="
NEARLY = "≈"


def explain(line: BillLine, *, bill: Bill, wording: Wording) -> str:
    """Return the arithmetic of a line of a checked bill."""
    if line.charge == MINIMUM and not (line.rate is not None and is_product(line)):
        return _top_up(line, bill, wording)
    if line.base is not None:
        return _percentage(line, line.base, wording)
    if line.rate is None:
        return _without_rate(line, wording)
    factors = (
        f"{wording.counted(figure_text(line.quantity), line.unit)} {TIMES} "
        f"{_bracketed(line.rate)} {wording.per(line.unit)}"
    )
    if is_product(line):
        return f"{factors} = {_result(line, wording)}"
    return f"{factors} ≈ {_result(line, wording)}; {wording.say('shown_cut')}"


def _percentage(line: BillLine, base: Decimal, wording: Wording) -> str:
    percent = percent_of(line) or Decimal(0)
    whole = wording.amount(exact_money_text(base))
    parts = f"{wording.say('base')} {whole} {TIMES} {_bracketed(percent, '%')}"
    equal = EQUAL if percentage(base, percent) == line.amount_exact else NEARLY
    return f"{parts} {equal} {_result(line, wording)}"


def _without_rate(line: BillLine, wording: Wording) -> str:
    if line.unit == "kWh":
        energy = wording.counted(figure_text(line.quantity), line.unit)
        return f"{wording.say('per_interval')}{_aside(energy, wording)} = {_result(line, wording)}"
    return f"{wording.say('fixed_amount')}: {_result(line, wording)}"


def _top_up(line: BillLine, bill: Bill, wording: Wording) -> str:
    """Explain the line that lifts a bill to its minimum, exactly and over the rounded lines.

    What the minimum is follows from the exact amounts; where those need no top-up, it was reached,
    or only the roundings of the other lines fall short of it.
    """
    if not line.amount_exact and not line.amount:
        return wording.say("top_up_none")
    others_exact = minus(bill.total_exact, line.amount_exact)
    others = minus(bill.total, line.amount)
    if not line.amount_exact:
        result = wording.amount(money_text(line.amount))
        return wording.say("top_up_rounding", others=money_text(others), amount=result)
    minimum = exact_money_text(bill.total_exact)
    exact = wording.say("top_up", minimum=minimum, others=exact_money_text(others_exact))
    exact = f"{exact} {EQUAL} {exact_money_text(line.amount_exact)}"
    if others == others_exact:
        return exact
    result = wording.amount(money_text(line.amount))
    rounded = wording.say("top_up", minimum=minimum, others=money_text(others))
    rounded = f"{rounded} {EQUAL} {result}" if line.amount else wording.say("top_up_none")
    return wording.say("top_up_rounded", exact=exact, rounded=rounded)


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
