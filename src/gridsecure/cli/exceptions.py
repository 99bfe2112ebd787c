"""The commands of `gridsecure exceptions`: what somebody has to look at before bills go out.

Exceptions are opened by the gateway when it validates a month. An operator assigns them, notes what
was found out, and closes them: resolved, where the readings were put right, or waived, where they
are right as they are.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.office_options import IdentityUrlOption
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result, to_the_minute
from gridsecure.cli.period import PersonOption
from gridsecure.cli.source import GatewayOption

with on_use():
    from gridsecure.cli import online

exceptions_app = typer.Typer(
    help="Work on what validation found: list, assign, note, close.", no_args_is_help=True
)

PATH = "/v1/exceptions"


class StateOption(StrEnum):
    """What becomes of an exception."""

    OPEN = "open"
    ASSIGNED = "assigned"
    RESOLVED = "resolved"
    WAIVED = "waived"


NumberArgument = Annotated[int, typer.Argument(help="Number of the exception.")]
NoteOption = Annotated[str, typer.Option("--note", help="Why; it is kept.")]
DueOption = Annotated[str | None, typer.Option("--due", help="By when, as 2026-08-05.")]


@exceptions_app.command("list")
@explain_errors
def show_list(  # noqa: PLR0913 - one parameter an option
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    month: Annotated[str, typer.Option(help="Of a month, as 2026-07.")] = "",
    state: Annotated[StateOption | None, typer.Option(help="In a state.")] = None,
    owner: Annotated[str, typer.Option(help="Of an owner.")] = "",
    meter: Annotated[str, typer.Option(help="Of a meter point.")] = "",
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """List exceptions, in the order in which they were opened."""
    wanted = {"month": month, "state": state or "", "owner": owner, "meter_point_id": meter}
    given = {name: value for name, value in wanted.items() if value}
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        found = call("gateway", "GET", PATH, params=given)
    print_result({"exceptions": found}, output, show=lambda console: _list(found, console))


@exceptions_app.command("show")
@explain_errors
def show(
    number: NumberArgument,
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Show an exception, and all that was done to it and said of it."""
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        found = call("gateway", "GET", f"{PATH}/{number}")
    print_result(found, output, show=lambda console: _show(found, console))


@exceptions_app.command("assign")
@explain_errors
def assign(  # noqa: PLR0913 - one parameter an option
    number: NumberArgument,
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    owner: Annotated[str, typer.Option(help="Whose work it is.")],
    due: DueOption = None,
    note: NoteOption = "",
) -> None:
    """Give an exception to an owner, with the day by which it is to be done."""
    change = {"state": "assigned", "owner": owner, "due": due, "note": note}
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        _show(call("gateway", "POST", f"{PATH}/{number}/changes", json=change), Console())


@exceptions_app.command("note")
@explain_errors
def note(
    number: NumberArgument,
    text: Annotated[str, typer.Argument(help="What there is to say.")],
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
) -> None:
    """Say something of an exception; its state stays."""
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        _show(call("gateway", "POST", f"{PATH}/{number}/changes", json={"note": text}), Console())


@exceptions_app.command("resolve")
@explain_errors
def resolve(
    number: NumberArgument,
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    note: NoteOption,
) -> None:
    """Close an exception whose readings were put right."""
    change = {"state": "resolved", "note": note}
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        _show(call("gateway", "POST", f"{PATH}/{number}/changes", json=change), Console())


@exceptions_app.command("waive")
@explain_errors
def waive(
    number: NumberArgument,
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    note: NoteOption,
) -> None:
    """Close an exception whose readings are right as they are; its rule holds no bill then."""
    change = {"state": "waived", "note": note}
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        _show(call("gateway", "POST", f"{PATH}/{number}/changes", json=change), Console())


@exceptions_app.command("reopen")
@explain_errors
def reopen(
    number: NumberArgument,
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    note: NoteOption = "",
) -> None:
    """Open a closed exception again; nobody owns it then."""
    change = {"state": "open", "note": note}
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        _show(call("gateway", "POST", f"{PATH}/{number}/changes", json=change), Console())


def _list(found: list[dict[str, Any]], console: Console) -> None:
    table = Table("number", "month", "meter point", "rule")
    table.add_column("intervals", justify="right")
    for name in ("from", "bill", "state", "owner", "due"):
        table.add_column(name)
    for one in found:
        table.add_row(
            *(str(one["id"]), one["month"], one["meter_point_id"], one["rule"]),
            f"{one['intervals']:,}",
            to_the_minute(one["first"]),
            "none" if one["unbilled"] else "",
            *(one["state"], one["owner"], one["due"]),
        )
    console.print(table)


def _show(found: dict[str, Any], console: Console) -> None:
    _list([found["exception"]], console)
    for said in found["notes"]:
        console.print(f"{to_the_minute(said['at'])} {said['person']}: {said['text']}", markup=False)
