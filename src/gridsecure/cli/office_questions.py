"""`gridsecure office questions`: what customers ask about their bills, and the office's answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result, to_the_minute
from gridsecure.cli.statement_options import CustomersOption, read_sealed, write_sealed

with on_use():
    from gridsecure.cli import online
    from gridsecure.offices import customers as customer_keys
    from gridsecure.offices import files as office_files
    from gridsecure.offices import questions as lists

if TYPE_CHECKING:
    from gridsecure.offices.questions import ListedQuestion, QuestionDesk

questions_app = typer.Typer(help="Questions of customers about their bills.", no_args_is_help=True)

QuestionsOption = Annotated[
    Path, typer.Option(help="The office's list of questions; stays on its own machine.")
]
KeyOption = Annotated[Path, typer.Option(help="The billing office's key.")]
NumberArgument = Annotated[int, typer.Argument(help="Number of the question.")]


@questions_app.command("take")
@explain_errors
def take(
    files: Annotated[list[Path], typer.Argument(help="Sealed questions, of `gridsecure my ask`.")],
    *,
    questions: QuestionsOption,
    office_key: KeyOption,
    customers: CustomersOption,
) -> None:
    """Take questions in: about bills that this office issued, of keys that it entered."""
    desk = _desk(office_key, customers)
    for path in files:
        sealed = read_sealed(path)
        with lists.QUESTION_LIST.changing(questions) as kept:
            listed, taken = desk.take(kept, sealed)
            lists.QUESTION_LIST.write(questions, listed)
        typer.echo(f"Question {taken.number}, of {taken.account}: {taken.reason}.")
        _warn(taken)


@questions_app.command("list")
@explain_errors
def show_list(
    *,
    questions: QuestionsOption,
    all_: Annotated[bool, typer.Option("--all", help="Those that were answered, too.")] = False,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """List questions that are open: account, month, charge and reason, no amount and no text."""
    found = [
        {"state": one.state, **one.model_dump(exclude={"sealed", "digest", "asked_by"})}
        for one in lists.QUESTION_LIST.read(questions).questions
        if all_ or one.state == "open"
    ]

    def show(console: Console) -> None:
        table = Table("number", "taken in", "account", "month", "charge", "reason", "state", "key")
        for one in found:
            words = (str(one["number"]), to_the_minute(str(one["taken_at"])), str(one["account"]))
            about = (str(one["start"])[:7], str(one["line"]) or "all of it", str(one["reason"]))
            last = (str(one["state"]), "entered later" if one["before_key"] else "")
            table.add_row(*(Text(word) for word in (*words, *about, *last)))
        console.print(table)

    print_result({"questions": found}, output, show=show)


@questions_app.command("show")
@explain_errors
def show_one(number: NumberArgument, *, questions: QuestionsOption, office_key: KeyOption) -> None:
    """Show what a customer wrote."""
    listed = lists.QUESTION_LIST.read(questions).find(number)
    desk = lists.QuestionDesk(
        office_files.officer_key(office_key), customer_keys.Customers(), online.utc_now()
    )
    about = listed.line or "the whole bill"
    typer.echo(f"{listed.account}, {listed.start[:7]}, {about}, {listed.reason}, {listed.state}:")
    _warn(listed)
    typer.echo(desk.read(listed).text)


@questions_app.command("answer")
@explain_errors
def answer(
    number: NumberArgument,
    *,
    text: Annotated[str, typer.Option(help="The answer, up to 2,000 characters.")],
    out: Annotated[Path, typer.Option(help="Where the sealed answer goes.")],
    questions: QuestionsOption,
    office_key: KeyOption,
    customers: CustomersOption,
) -> None:
    """Answer a question, sealed to the customer's key that asked it."""
    desk = _desk(office_key, customers)
    with lists.QUESTION_LIST.changing(questions) as kept:
        done, sealed = desk.answer(kept, number, text)
        write_sealed(out, sealed)
        lists.QUESTION_LIST.write(questions, done)
    typer.echo(f"Question {number} is answered. Give {out} to the customer.")


def _warn(question: ListedQuestion) -> None:
    """Say where the bill may be of somebody else, who has left."""
    if question.before_key:
        typer.echo("Its bill is of before the key that asked was entered: find out whose it was.")


def _desk(office_key: Path, customers: Path) -> QuestionDesk:
    return lists.QuestionDesk(
        office_files.officer_key(office_key),
        customer_keys.CUSTOMER_LIST.read(customers),
        online.utc_now(),
    )
