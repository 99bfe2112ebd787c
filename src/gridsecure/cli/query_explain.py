"""`gridsecure query explain`: the steps by which a question is answered, and what names them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.cli.query import QuestionArgument, read_question

with on_use():
    from gridsecure.queries import chains

if TYPE_CHECKING:
    from gridsecure.queries.chains import ChainStep


@explain_errors
def explain_question(
    question: QuestionArgument,
    *,
    sealed: Annotated[bool, typer.Option("--sealed", help="As `ask` has it answered.")] = False,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Say by which steps a question is answered, who computes each, and what names its output."""
    steps = chains.explain_chain(read_question(question), is_sealed=sealed)
    document = {"steps": [step._asdict() for step in steps]}
    print_result(document, output, show=lambda console: _show(steps, console))


def _show(steps: Sequence[ChainStep], console: Console) -> None:
    table = Table()
    for column in ("", "party", "gives", "form", "digest stands in"):
        table.add_column(column)
    for number, step in enumerate(steps, 1):
        table.add_row(*map(Text, (str(number), *step)))
    console.print(table)
