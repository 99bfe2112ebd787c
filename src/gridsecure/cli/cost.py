"""`gridsecure cost`: what this system costs against a review or an enclave, on your own figures."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.errors import NotFoundError

with on_use():
    from gridsecure.cli import cost_model

cost_app = typer.Typer(
    help="Costs of security (综合安全成本) of this system and of other ways, by your own figures.",
    no_args_is_help=True,
)
_CHINESE: Final = {
    "one-off": "一次性",
    "fixed": "固定",
    "computing": "计算",
    "storing": "存储",
    "people": "人工",
    "incidents": "事件",
    "total": "合计",
}


@cost_app.callback()
def cost() -> None:
    """Compare costs."""


@cost_app.command("form")
@explain_errors
def form() -> None:
    """Print the file to fill in; nothing in it has a default but what was measured here."""
    typer.echo(cost_model.FORM, nl=False)


@cost_app.command("compare")
@explain_errors
def compare(
    file: Annotated[Path, typer.Argument(help="Your figures (.toml), as `form` prints them.")],
    *,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Compare what each way costs a month, line by line; differences may have either sign."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise NotFoundError(
            f"{file.name} cannot be read.",
            reason="cost.missing",
            remedy="Write one with `gridsecure cost form > FILE`, and fill it in.",
        ) from error
    document = cost_model.compare(cost_model.read_inputs(text))
    print_result(document, output, show=lambda console: _show(document, console))


def _show(document: dict[str, Any], console: Console) -> None:
    ways = document["ways"]
    said = f"{document['points']} meter points, {document['releases']} releases a month"
    table = Table(title=f"yuan a month (元/月): {said}")
    table.add_column("")
    for name in ways:
        table.add_column(Text(name), justify="right", overflow="fold")
    for line, chinese in _CHINESE.items():
        table.add_row(f"{line} {chinese}", *(f"{Decimal(way[line]):,}" for way in ways.values()))
    console.print(table)
    for name, one in document["against"].items():
        percent = one["difference_percent"]
        share = "" if percent is None else f" ({percent} %)"
        even = one["equal_at_releases"]
        both = "at no number of releases" if even is None else f"at {even} releases a month"
        console.print(
            Text(f"Against {name}: {one['difference_yuan']} yuan a month{share}; equal {both}."),
            soft_wrap=True,
        )
    for name, number in document["measured"].items():
        console.print(f"{name} is the measured {number} (docs/scale.md).", highlight=False)
    console.print("Every other figure is the file's own (其余数字均为自填).", highlight=False)
