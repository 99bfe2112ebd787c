"""`gridsecure query`: questions in files, their language, and what they are answered with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from gridsecure.cli.explained import explain_errors, notes
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.errors import NotFoundError

with on_use():
    from gridsecure.analyst import desk, releases
    from gridsecure.cli import query_files, series_headers, verify
    from gridsecure.queries import language, series

query_app = typer.Typer(
    help="Questions of analysts: their language, and their answers.", no_args_is_help=True
)
QuestionArgument = Annotated[Path, typer.Argument(help="A question (JSON).")]
CsvOption = Annotated[Path | None, typer.Option(help="Write all rows as CSV.")]
ParquetOption = Annotated[Path | None, typer.Option(help="Write all rows as Parquet.")]
RESEARCH = "research"
CHART_ENDINGS = (".html", ".png", ".svg")


def _check_chart(chart: Path | None) -> Path | None:
    """Refuse a chart that could not be written before anything is asked."""
    if chart is not None and chart.suffix.lower() not in CHART_ENDINGS:
        raise typer.BadParameter(f"a chart's file ends with {', '.join(CHART_ENDINGS)}")
    return chart


ChartOption = Annotated[
    Path | None,
    typer.Option(help="Write a chart (.html, .png or .svg).", callback=_check_chart),
]


SeriesOption = Annotated[
    list[Path] | None,
    typer.Option(help="A series that the question names (CSV, header beside it); repeat it."),
]
PurposeOption = Annotated[
    str, typer.Option(help="What the series are used for; their owners' policies decide.")
]


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


@query_app.command()
@explain_errors
def answer(  # noqa: PLR0913 - one parameter an option
    question: QuestionArgument,
    *,
    release: Annotated[list[Path], typer.Option(help="A release certificate; repeat it.")],
    authority_key: Annotated[
        list[str],
        typer.Option(help="The key authority's key (130 digits); repeat it for several cities."),
    ],
    series: SeriesOption = None,
    purpose: PurposeOption = RESEARCH,
    csv: CsvOption = None,
    parquet: ParquetOption = None,
    chart: ChartOption = None,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Answer a question from published releases, on this machine: nobody is asked."""
    asked = read_question(question)
    pinned = [releases.pin_authority(one) for one in authority_key]
    joining = series_headers.joining_of(series, purpose=purpose)
    published = desk.verify_releases(map(verify.read_file, release), authorities=pinned)
    found = desk.answer_published(asked, published, joining=joining)
    files = query_files.AnswerFiles(csv, parquet, chart)
    is_told = print_answer(found, files=files, output=output)
    for name in found.joined:
        notes.print(f"The releases tell of {escape(name)} together: group by less to see it.")
    if not is_told:
        raise typer.Exit(1)


def print_answer(
    found: desk.Answer, *, files: query_files.AnswerFiles, output: OutputFormat
) -> bool:
    """Print an answer, write it to the files that are named, and say what is missing.

    Returns:
        Whether any number of it is told.
    """
    frame = found.frame
    document = query_files.answer_to_json(found)
    print_result(document, output, show=lambda console: query_files.show_answer(frame, console))
    missing = query_files.count_missing(frame)
    for state, number in missing.items():
        notes.print(f"{number} of {len(frame)} numbers are {state}.")
    is_told = sum(missing.values()) < len(frame)
    for one in found.series:
        notes.print(f"Joined {escape(one.header.name)} of {escape(one.header.owner)}.")
    if is_told:
        for path in files.write(found):
            notes.print(f"Wrote {escape(path.name)}.")
    return is_told


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
        "series": list(series.list_named(question)),
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
        *(f"  joined with {name}" for name in document["series"]),
        *(f"  period      {one['start']} to {one['end']}" for one in asked),
        f"  as one line {json.dumps(document['question'], sort_keys=True, ensure_ascii=False)}",
    ):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
