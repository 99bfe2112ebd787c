"""`gridsecure plan`: what the platform would compute, before anything is encrypted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from gridsecure.cli.explained import explain_errors, notes
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result

with on_use():
    from gridsecure.cli import plan_answers
    from gridsecure.plans import explain

plan_app = typer.Typer(help="Plans: what is computed on ciphertext, and how.", no_args_is_help=True)


@plan_app.callback()
def plan() -> None:
    """Look at plans."""


@plan_app.command("explain")
@explain_errors
def explain_plan(
    *,
    tariff: Annotated[str, typer.Option(help="Tariff file (TOML), or an id of the catalogue.")],
    contract: Annotated[Path | None, typer.Option(help="Contract file (CSV).")] = None,
    month: Annotated[str | None, typer.Option(help="Month, YYYY-MM.")] = None,
    slots: Annotated[int | None, typer.Option(min=1, help="Meter points of the roster.")] = None,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Explain how each line of a tariff is computed, from which columns, and what it costs."""
    question = plan_answers.PlanQuestion(tariff, contract, month, slots)
    explanation = plan_answers.answer_question(question)
    if contract is None:
        assumed = plan_answers.ASSUMED_VA // 1000
        notes.print(f"no --contract: every meter point has {assumed} kVA and no quota")
    document = plan_answers.explanation_to_json(explanation)
    print_result(
        document, output, show=lambda console: plan_answers.show_explanation(explanation, console)
    )
    for line in explanation.refused:
        _note_refusal(line, explanation)
    if explanation.refused:
        raise typer.Exit(1)


def _note_refusal(line: explain.ExplainedLine, explanation: explain.Explanation) -> None:
    if line.refusal is not None:
        title = plan_answers.line_title(line, explanation.rules)
        what = escape(f"line {title}: {line.refusal.message} {line.refusal.remedy}")
        notes.print(f"[bold red]{line.refusal.reason}[/] {what}", soft_wrap=True)
