"""`gridsecure plan`: what the platform would compute, before anything is encrypted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from re import fullmatch
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.console import Console
from rich.markup import escape

from apps.cli.explained import explained, notes
from apps.cli.output import FormatOption, OutputFormat
from apps.cli.plan_documents import explanation_to_json, line_title, show_explanation
from gridsecure.billing.contracts import MONTH_PATTERN, default_contracts, load_contracts
from gridsecure.billing.periods import BillingPeriod, billing_month
from gridsecure.billing.tariffs import Tariff, catalogue_tariffs, load_tariff
from gridsecure.errors import InputError, NotFoundError
from gridsecure.messages import MAX_SLOTS
from gridsecure.plans.explain import ExplainedLine, Explanation, explain

ASSUMED_VA = 315_000
"""Contracted capacity of a meter point that no contract file describes [VA]."""

plan_app = typer.Typer(help="Plans: what is computed on ciphertext, and how.", no_args_is_help=True)


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


@plan_app.callback()
def plan() -> None:
    """Look at plans."""


@plan_app.command("explain")
@explained
def explain_plan(
    *,
    tariff: Annotated[str, typer.Option(help="Tariff file (TOML), or an id of the catalogue.")],
    contract: Annotated[Path | None, typer.Option(help="Contract file (CSV).")] = None,
    month: Annotated[str | None, typer.Option(help="Month, YYYY-MM.")] = None,
    slots: Annotated[
        int | None, typer.Option(min=1, max=MAX_SLOTS, help="Meter points of the roster.")
    ] = None,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Explain how each line of a tariff is computed, from which columns, and what it costs."""
    explanation = explained_plan(PlanQuestion(tariff, contract, month, slots))
    if contract is None:
        notes.print(f"no --contract: every meter point has {ASSUMED_VA // 1000} kVA and no quota")
    if output is OutputFormat.JSON:
        typer.echo(json.dumps(explanation_to_json(explanation), ensure_ascii=False))
    else:
        show_explanation(explanation, Console())
    for line in explanation.refused:
        _note_refusal(line, explanation)
    if explanation.refused:
        raise typer.Exit(1)


def _note_refusal(line: ExplainedLine, explanation: Explanation) -> None:
    if line.refusal is not None:
        title = line_title(line, explanation.rules)
        what = escape(f"line {title}: {line.refusal.message} {line.refusal.remedy}")
        notes.print(f"[bold red]{line.refusal.reason}[/] {what}", soft_wrap=True)


def explained_plan(question: PlanQuestion) -> Explanation:
    """Answer a question.

    Raises:
        GridSecureError: With a reason code and a remedy.
    """
    path = catalogue_tariffs().get(question.tariff, Path(question.tariff))
    if not path.is_file():
        raise NotFoundError(
            f"There is neither a tariff file nor a tariff of the catalogue {question.tariff!r}.",
            remedy="Check the path or the id given to --tariff.",
        )
    tariff = load_tariff(path)
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
    if fullmatch(MONTH_PATTERN, month) is None:
        raise InputError(
            "--month is not a month.", reason="period.month", remedy="Write it as 2026-07."
        )
    return billing_month(int(month[:4]), int(month[5:]), timezone=tariff.timezone)


def _whole_month(first: date) -> tuple[int, int]:
    """The first month that begins on or after a date."""
    number = first.year * 12 + first.month - (first.day == 1)
    return number // 12, number % 12 + 1
