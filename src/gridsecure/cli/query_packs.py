"""`gridsecure query pack`: questions that ship, written for a month and its customers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gridsecure.cli.explained import explain_errors, notes
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.errors import StorageError

with on_use():
    from gridsecure import whole_files
    from gridsecure.queries import packs, series

pack_app = typer.Typer(
    help="Questions that ship: list them, write one for a month.", no_args_is_help=True
)
Names = list[str] | None


@pack_app.callback()
def pack() -> None:
    """Take a question that others ask as well."""


@pack_app.command("list")
@explain_errors
def list_packs(*, output: FormatOption = OutputFormat.TABLE) -> None:
    """List the questions that ship, and which series of others each names."""
    rows = [
        {
            "name": name,
            "about": packs.TITLES[name],
            "statistic": question.statistic.name,
            "series": list(series.list_named(question)),
        }
        for name, question in packs.list_packs().items()
    ]
    print_result({"packs": rows}, output, show=lambda console: _show(rows, console))


@pack_app.command("show")
@explain_errors
def show_pack(  # noqa: PLR0913 - one parameter an option
    name: Annotated[str, typer.Argument(help="As `pack list` prints it.")],
    *,
    month: Annotated[str | None, typer.Option(help="YYYY-MM; else July 2026.")] = None,
    base: Annotated[str | None, typer.Option(help="Month to compare with; else the last.")] = None,
    event: Annotated[str | None, typer.Option(help="Day of a demand response event.")] = None,
    timezone: Annotated[str | None, typer.Option(help="Of the supply area.")] = None,
    zone: Annotated[Names, typer.Option(help="Zone; repeat it.")] = None,
    customer_class: Annotated[Names, typer.Option(help="Class; repeat it.")] = None,
    tariff: Annotated[Names, typer.Option(help="Tariff; repeat it.")] = None,
    to: Annotated[Path | None, typer.Option(help="Write the question to this file.")] = None,
) -> None:
    """Print a question that ships, for a month and its customers, or write it to a file."""
    question = packs.fit_pack(
        name,
        month=month,
        base=base,
        event=event,
        timezone=timezone,
        cohort={"zone": zone or (), "customer_class": customer_class or (), "tariff": tariff or ()},
    )
    text = json.dumps(json.loads(question.text), ensure_ascii=False, indent=2)
    if to is None:
        typer.echo(text)
        return
    try:
        whole_files.replace_file(to, [f"{text}\n".encode()])
    except OSError as error:
        raise StorageError(
            f"{to.name} cannot be written.",
            reason="query.output",
            remedy="Check its folder, its permissions and the space that is left.",
        ) from error
    notes.print(f"Wrote {to.name}.", markup=False)


def _show(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    table = Table()
    for column in ("name", "about", "statistic", "series"):
        table.add_column(column)
    for row in rows:
        texts = (row["name"], row["about"], row["statistic"], ", ".join(row["series"]))
        table.add_row(*map(Text, texts))
    console.print(table)
