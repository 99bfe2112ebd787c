"""`gridsecure query`: questions in files, their language, and what they are answered with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.errors import NotFoundError

with on_use():
    from gridsecure.queries import language

query_app = typer.Typer(
    help="Questions of analysts: their language, and their answers.", no_args_is_help=True
)
QuestionArgument = Annotated[Path, typer.Argument(help="A question (JSON).")]


@query_app.callback()
def query() -> None:
    """Write, check and answer questions."""


@query_app.command()
@explain_errors
def schema() -> None:
    """Print the JSON schema of questions."""
    typer.echo(json.dumps(language.question_schema(), ensure_ascii=False, indent=2))


@query_app.command()
@explain_errors
def check(question: QuestionArgument, *, output: FormatOption = OutputFormat.TABLE) -> None:
    """Say what a question asks for, or which field of it is wrong. Nothing is sent."""
    document = describe_question(read_question(question))
    print_result(document, output, show=lambda console: _show(document, console))


def read_question(path: Path) -> language.Question:
    """The question in a file.

    Raises:
        NotFoundError: It cannot be read (`query.file`).
        InputError: It is none (`query.<what>`).
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise NotFoundError(
            f"{path.name} cannot be read.",
            reason="query.file",
            remedy="Check its path and permissions.",
        ) from error
    return language.parse_question(text)


def describe_question(question: language.Question) -> dict[str, Any]:
    """What a question asks for, as a document."""
    return {
        "question": json.loads(question.text),
        "resolution": question.resolution,
        "measures": sorted(question.measures),
        "totals": list(question.totals),
        "asked": [
            {"start": leg.period.span.start.isoformat(), "end": leg.period.span.end.isoformat()}
            for leg in question.legs
        ],
    }


def _show(document: dict[str, Any], console: Console) -> None:
    asked = document["asked"]
    for line in (
        f"It asks for {', '.join(document['totals']) or 'nothing but how many there are'}",
        f"  resolution  {document['resolution']}, of {', '.join(document['measures'])}",
        *(f"  period      {one['start']} to {one['end']}" for one in asked),
        f"  as one line {json.dumps(document['question'], sort_keys=True, ensure_ascii=False)}",
    ):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
