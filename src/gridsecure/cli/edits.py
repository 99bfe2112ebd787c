"""The commands of `gridsecure edits`: readings that a person replaces or confirms.

A large edit counts once a second operator approved it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.office_options import IdentityUrlOption
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result, to_the_minute
from gridsecure.cli.period import MonthOption, PersonOption
from gridsecure.cli.source import GatewayOption
from gridsecure.errors import InputError

with on_use():
    from gridsecure.cli import online

edits_app = typer.Typer(
    help="Replace or confirm readings, and approve what others edited.", no_args_is_help=True
)

PATH = "/v1/edits"

NumberArgument = Annotated[int, typer.Argument(help="Number of the edit.")]
ReasonOption = Annotated[str, typer.Option(help="Why; it is kept.")]


@edits_app.command("replace")
@explain_errors
def replace(
    file: Annotated[Path, typer.Argument(help="Readings of one meter point (CSV or JSON).")],
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    month: MonthOption,
    reason: ReasonOption,
) -> None:
    """Put readings of one meter point in place of others."""
    try:
        body = file.read_bytes()
    except OSError as error:
        raise InputError(
            f"The file {file.name!r} cannot be read: {error.strerror}.",
            reason="edit.file",
            remedy="Check the path and the permissions.",
        ) from error
    asked = {"month": month, "reason": reason}
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        _list([call("gateway", "POST", PATH, params=asked, content=body)], Console())


@edits_app.command("confirm")
@explain_errors
def confirm(  # noqa: PLR0913 - one parameter an option
    meter: Annotated[str, typer.Argument(help="The meter point.")],
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    month: MonthOption,
    first: Annotated[str, typer.Option(help="Start of the first interval, with its offset.")],
    last: Annotated[str, typer.Option(help="Start of the last one. Default: the first.")] = "",
    reason: ReasonOption,
) -> None:
    """Vouch for readings that validation set aside: they count as they came."""
    wanted = _marked(meter, month=month, span=(first, last or first), reason=reason)
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        _list([call("gateway", "POST", f"{PATH}/confirmations", json=wanted)], Console())


@edits_app.command("estimate")
@explain_errors
def order_estimate(  # noqa: PLR0913 - one parameter an option
    meter: Annotated[str, typer.Argument(help="The meter point.")],
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    month: MonthOption,
    first: Annotated[str, typer.Option(help="Start of the first interval, with its offset.")],
    last: Annotated[str, typer.Option(help="Start of the last one. Default: the first.")] = "",
    reason: ReasonOption,
) -> None:
    """Order an estimate: readings do not count any more, and are estimated like missing ones."""
    wanted = _marked(meter, month=month, span=(first, last or first), reason=reason)
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        _list([call("gateway", "POST", f"{PATH}/estimates", json=wanted)], Console())


@edits_app.command("list")
@explain_errors
def show_list(
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    month: Annotated[str, typer.Option(help="Of a month, as 2026-07.")] = "",
    state: Annotated[str, typer.Option(help="pending, in-force, rejected or late.")] = "",
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """List edits: which intervals, who and why, and what became of them."""
    asked = {"month": month, "state": state}
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        found = call("gateway", "GET", PATH, params=asked)
    print_result({"edits": found}, output, show=lambda console: _list(found, console))


@edits_app.command("approve")
@explain_errors
def approve(
    number: NumberArgument,
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    reason: ReasonOption = "",
) -> None:
    """Approve another person's edit, so that it counts."""
    decision = {"approve": True, "reason": reason}
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        _list([call("gateway", "POST", f"{PATH}/{number}/decision", json=decision)], Console())


@edits_app.command("reject")
@explain_errors
def reject(
    number: NumberArgument,
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    reason: ReasonOption,
) -> None:
    """Reject an edit before its month is fixed; it counts no longer."""
    decision = {"approve": False, "reason": reason}
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        _list([call("gateway", "POST", f"{PATH}/{number}/decision", json=decision)], Console())


def _marked(meter: str, *, month: str, span: tuple[str, str], reason: str) -> dict[str, str]:
    """Readings from one interval to another, as the gateway takes them."""
    named = {"month": month, "meter_point_id": meter, "reason": reason}
    return named | dict(zip(("first", "last"), span, strict=True))


def _list(found: list[dict[str, Any]], console: Console) -> None:
    table = Table("number", "month", "meter point", "kind")
    table.add_column("intervals", justify="right")
    for name in ("from", "to", "state", "by", "why", "decided by"):
        table.add_column(name)
    for one in found:
        table.add_row(
            *(str(one["id"]), one["month"], one["meter_point_id"], one["kind"]),
            f"{one['intervals']:,}",
            *(to_the_minute(one[name]) for name in ("first", "last")),
            *(one["state"], one["person"], one["reason"], one["approver"]),
        )
    console.print(table)
