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
from gridsecure.cli.written_texts import TEXT_HELP, read_text
from gridsecure.errors import ConflictError, GridSecureError, StorageError
from gridsecure.written_words import printable

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
    """Take questions in: about bills that this office issued, of keys that it entered.

    A file that is none is named, and the others are taken in; the command then ends with 1.
    """
    desk = _desk(office_key, customers)
    refused = 0
    for path in files:
        try:
            with lists.QUESTION_LIST.changing(questions) as kept:
                listed, taken = desk.take(kept, read_sealed(path))
                lists.QUESTION_LIST.write(questions, listed)
        except (StorageError, ConflictError):  # the list itself
            raise
        except GridSecureError as error:
            refused += 1
            words = printable(f"{path.name}: {error.reason}: {error.message} {error.remedy}")
            typer.echo(words, err=True)
            continue
        typer.echo(f"Question {taken.number}, of {taken.account}: {taken.reason}.")
        _warn(taken)
    if refused:
        raise typer.Exit(1)


@questions_app.command("list")
@explain_errors
def show_list(
    *,
    questions: QuestionsOption,
    all_: Annotated[
        bool, typer.Option("--all", help="Those that were answered or closed, too.")
    ] = False,
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
    for line in desk.read(listed).text.splitlines():
        typer.echo(f"> {line}")  # so that no line of a customer's looks like one of the command's


@questions_app.command("answer")
@explain_errors
def answer(
    number: NumberArgument,
    *,
    text: Annotated[str, typer.Option(help=f"The answer, up to 2,000 characters. {TEXT_HELP}")],
    out: Annotated[Path, typer.Option(help="Where the sealed answer goes.")],
    questions: QuestionsOption,
    office_key: KeyOption,
    customers: CustomersOption,
) -> None:
    """Answer a question, sealed to the customer's key that asked it."""
    desk, words = _desk(office_key, customers), read_text(text)
    with lists.QUESTION_LIST.changing(questions) as kept:
        done, sealed = desk.answer(kept, number, words)
        write_sealed(out, sealed)
        lists.QUESTION_LIST.write(questions, done)
    _warn(done.find(number))
    typer.echo(f"Question {number} is answered. Give {out} to the customer.")


@questions_app.command("close")
@explain_errors
def close(number: NumberArgument, *, questions: QuestionsOption) -> None:
    """Close a question that is not answered here: by letter, or not at all."""
    with lists.QUESTION_LIST.changing(questions) as kept:
        lists.QUESTION_LIST.write(questions, kept.closed(number, now=online.utc_now()))
    typer.echo(f"Question {number} is closed; its customer is told nothing.")


def _warn(question: ListedQuestion) -> None:
    """Say where the bill may be of somebody else, who has left."""
    if question.before_key:
        typer.echo(
            "Its bill begins before the key that asked was entered: find out whose days it is of."
        )


def _desk(office_key: Path, customers: Path) -> QuestionDesk:
    return lists.QuestionDesk(
        office_files.officer_key(office_key),
        customer_keys.CUSTOMER_LIST.read(customers),
        online.utc_now(),
    )
