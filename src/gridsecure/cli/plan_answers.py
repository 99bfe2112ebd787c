"""What a plan would compute for a tariff and a roster, as a table for people and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gridsecure.billing.bill_documents import computed_where
from gridsecure.billing.charges import CIPHERTEXT
from gridsecure.billing.contracts import default_contracts, load_contracts
from gridsecure.billing.rules import LineRule
from gridsecure.cli.tariff_names import find_tariff
from gridsecure.errors import InputError
from gridsecure.messages import MAX_SLOTS
from gridsecure.month_texts import read_month
from gridsecure.periods import BillingPeriod, billing_month
from gridsecure.plans.explain import ExplainedLine, Explanation, explain
from gridsecure.plans.lines.kind import Method
from gridsecure.plans.lines.registry import DIVISOR, KINDS, describe_line
from gridsecure.plans.quantities import ColumnNeed
from gridsecure.tariffs.tariff import Tariff, load_tariff

ASSUMED_VA = 315_000
"""Contracted capacity of a meter point that no contract file describes [VA]."""


@dataclass(frozen=True, slots=True)
class PlanQuestion:
    """What to explain.

    Args:
        tariff: A tariff file, or the id of one in the catalogue.
        contract: Contract file, or None.
        month: YYYY-MM, or None for the tariff's first whole month.
        slots: Meter points of the roster; by default the contracts, or a full roster.
    """

    tariff: str
    contract: Path | None = None
    month: str | None = None
    slots: int | None = None


def answer_question(question: PlanQuestion) -> Explanation:
    """Answer a question.

    Raises:
        GridSecureError: With a reason code and a remedy.
    """
    if question.slots is not None and question.slots > MAX_SLOTS:
        raise InputError(
            f"A roster has at most {MAX_SLOTS} meter points.",
            reason="plan.slots",
            remedy="Give a smaller --slots, or leave it out for a full roster.",
        )
    tariff = load_tariff(find_tariff(question.tariff))
    period = _period(question.month, tariff)
    contracts = _roster(question)
    large = bool((contracts["large"] == "yes").any())
    return explain(tariff, contracts=contracts, period=period, large=large)


def _roster(question: PlanQuestion) -> pd.DataFrame:
    """The contracts, or a typical one, repeated over the slots."""
    if question.contract is None:
        rows = default_contracts(["a meter point"]).assign(contracted_va=ASSUMED_VA)
        slots = question.slots or MAX_SLOTS
    else:
        rows = load_contracts(question.contract)
        slots = question.slots or min(len(rows), MAX_SLOTS)
    if rows.empty:
        raise InputError(
            "The contract file has no meter points.",
            reason="contract.file",
            remedy="Give a file with at least one, or none at all.",
        )
    return rows.iloc[np.arange(slots) % len(rows)].reset_index(drop=True)


def _period(month: str | None, tariff: Tariff) -> BillingPeriod:
    if month is None:
        first = tariff.valid_from if tariff.dynamic is None else tariff.dynamic.start.date()
        return billing_month(*_whole_month(first), timezone=tariff.timezone)
    return billing_month(*read_month(month), timezone=tariff.timezone)


def _whole_month(first: date) -> tuple[int, int]:
    """The first month that begins on or after a date."""
    number = first.year * 12 + first.month - (first.day == 1)
    return number // 12, number % 12 + 1


_DIVIDED: Final = Method("divisor", "the total, by which shares are divided after decryption")


def explanation_to_json(explanation: Explanation) -> dict[str, Any]:
    """The explanation as one object; names are kept stable for scripts."""
    costs = explanation.costs
    return {
        "tariff": {
            "id": explanation.tariff.tariff_id,
            "version": explanation.tariff.version,
            "currency": explanation.tariff.currency,
        },
        "month": f"{explanation.period.start:%Y-%m}",
        "slots": explanation.slots,
        "lines": [_line(line, explanation.rules) for line in explanation.lines],
        "authority": authority_steps(explanation),
        "costs": {
            "platform_us": round(costs.platform_us, 3),
            "load_us": round(costs.load_us, 3),
            "write_us": round(costs.write_us, 3),
            "release_us": round(costs.release_us, 3),
            "gateway_us": round(costs.gateway_us, 3),
            "stored_bytes": round(costs.stored_bytes, 1),
            "stored_columns": costs.stored_columns,
        },
    }


def authority_steps(explanation: Explanation) -> list[str]:
    """What the key authority does with the decrypted outputs, in order."""
    rules = explanation.rules
    steps = ["decrypt the outputs; refuse a value outside its proven range or limbs that disagree"]
    steps.append("put limbs together to exact quantities and amounts")
    told = [kind.afterwards(rule) for kind in KINDS for rule in rules if kind.takes(rule)]
    steps += dict.fromkeys(filter(None, told))
    steps.append("round every line half-up to 0.01 and add the rounded lines up")
    if explanation.tariff.vat_rate is not None:
        steps.append(f"split the total: net = total / {1 + explanation.tariff.vat_rate}, half-up")
    steps.append(f"seal {len(rules)} lines a meter point; release only totals of cells")
    return steps


def _described(line: ExplainedLine, rules: Sequence[LineRule]) -> tuple[str, Method]:
    """Where and how a line is computed."""
    if line.refusal is not None:
        return "refused", Method(line.refusal.reason, line.refusal.message)
    if line.line == DIVISOR:
        return CIPHERTEXT, _DIVIDED
    return computed_where(rules[line.line]), describe_line(line.line, rules)


def _line(line: ExplainedLine, rules: Sequence[LineRule]) -> dict[str, Any]:
    where, method = _described(line, rules)
    rule = None if line.line == DIVISOR else rules[line.line]
    document: dict[str, Any] = {
        "line": None if rule is None else line.line + 1,
        "charge": None if rule is None else rule.charge,
        "tou_period": None if rule is None else rule.tou_period,
        "tier": None if rule is None else rule.tier,
        "rate": None if rule is None else format(rule.rate, "f"),
        "unit": None if rule is None else rule.unit,
        "computed": where,
        "operation": method.operation,
        "how": method.how,
        "depth": method.depth,
        "columns": [
            {"quantity": need.quantity, "parameters": need.parameters.name, "high": need.high}
            for need in line.columns
        ],
        "outputs": len(line.outputs),
        "rate_limbs": line.rate_limbs,
        "largest": str(line.largest),
        "range_margin_bits": _rounded(line.range_margin_bits),
        "noise_margin_bits": _rounded(line.margin_bits),
        "platform_us": round(line.platform_us, 3),
    }
    if line.refusal is not None:
        document["refusal"] = {"reason": line.refusal.reason, "remedy": line.refusal.remedy}
    return document


def _rounded(bits: float | None) -> float | None:
    return None if bits is None else round(bits, 1)


def show_explanation(explanation: Explanation, console: Console) -> None:
    """Print the explanation: the lines, what each reads, the authority's part and the cost."""
    tariff = explanation.tariff
    title = f"{tariff.tariff_id} {tariff.version}   {explanation.period.start:%Y-%m}"
    table = Table(title=escape(title), title_justify="left")
    table.add_column("line", overflow="fold")
    table.add_column("computed")
    table.add_column("operation")
    for name in ("outputs", "range", "noise", "µs"):
        table.add_column(name, justify="right")
    for line in explanation.lines:
        where, method = _described(line, explanation.rules)
        style = "red" if line.refusal is not None else None
        name = escape(line_title(line, explanation.rules))
        table.add_row(name, where, method.operation, *_figures(line), style=style)
    console.print(table)
    console.print("range, noise: bits to spare under the plain modulus and the noise capacity\n")
    for line in explanation.lines:
        _, method = _described(line, explanation.rules)
        _say(console, f"{line_title(line, explanation.rules)}: {method.how}")
        for reads in _by_set(line.columns):
            _say(console, f"    reads {reads}")
    console.print("\nIn the authority, on decrypted numbers:")
    for step in authority_steps(explanation):
        _say(console, f"  - {step}")
    console.print()
    console.print(_costs(explanation))


def _say(console: Console, text: str) -> None:
    """Print text as it is: a bracket in a name is no markup."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def line_title(line: ExplainedLine, rules: Sequence[LineRule]) -> str:
    """A line as people name it: its number, charge, period and tier."""
    if line.line == DIVISOR:
        return "divisor"
    rule = rules[line.line]
    scope = [rule.tou_period or "", "" if rule.tier is None else f"tier {rule.tier}"]
    return " ".join([f"{line.line + 1} {rule.charge}", *filter(None, scope)])


def _figures(line: ExplainedLine) -> list[str]:
    if not line.outputs:
        return ["", "", "", ""]
    bits = (_rounded(line.range_margin_bits), _rounded(line.margin_bits))
    return [str(len(line.outputs)), *(str(number) for number in bits), f"{line.platform_us:.2f}"]


def _by_set(columns: Sequence[ColumnNeed]) -> list[str]:
    """Column names by parameter set; digits and numbered columns are counted, not listed."""
    names: dict[str, Counter[tuple[str, int]]] = {}
    for need in columns:
        family = need.quantity.rstrip("0123456789").rstrip(":")
        is_numbered = family != need.quantity and not family.startswith(("register", "demand"))
        name = f"{family.partition(':digit')[0]} digits" if ":digit" in family else family
        counted = names.setdefault(need.parameters.name, Counter())
        counted[name if is_numbered else need.quantity, need.high] += 1
    return [
        f"{parameters}: " + ", ".join(_counted(name, count) for name, count in found.items())
        for parameters, found in names.items()
    ]


def _counted(name: tuple[str, int], count: int) -> str:
    quantity, high = name
    return f"{quantity}{f' ({count})' if count > 1 else ''} up to {high:,}"


def _costs(explanation: Explanation) -> Table:
    costs = explanation.costs
    table = Table(
        title=f"Estimate a meter point and month, {explanation.slots:,} in a roster",
        title_justify="left",
        show_header=False,
    )
    table.add_column()
    table.add_column(justify="right")
    for name, value in {
        "platform: compute [µs]": f"{costs.platform_us:,.2f}",
        "platform: open the columns [µs]": f"{costs.load_us:,.2f}",
        "platform: write the outputs [µs]": f"{costs.write_us:,.2f}",
        "vault: decrypt [µs]": f"{costs.release_us:,.2f}",
        "gateway: encrypt and write [µs]": f"{costs.gateway_us:,.2f}",
        f"stored in {costs.stored_columns} columns [bytes]": f"{costs.stored_bytes:,.0f}",
    }.items():
        table.add_row(name, value)
    return table
