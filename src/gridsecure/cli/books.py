"""The commands of `gridsecure books`: who holds each meter point, its meters and contracts, by day.

An import is compared with the books first; what is applied afterwards is exactly that. Accounts are
numbers: a gateway has no names and no addresses.
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
from gridsecure.cli.period import PersonOption
from gridsecure.cli.source import GatewayOption
from gridsecure.errors import InputError

with on_use():
    from urllib.parse import quote

    from gridsecure.cli import online

books_app = typer.Typer(
    help="Keep a gateway's books: accounts, meters and contracts of meter points, by day.",
    no_args_is_help=True,
)

PATH = "/v1/books"
FileArgument = Annotated[Path, typer.Argument(help="CSV, or one JSON object a line.")]
FromOption = Annotated[
    str, typer.Option("--from", help="First day of lines that state none, as 2026-07-01.")
]
_PAGE = 1000
_COUNTS = ("added", "changed", "ended", "unchanged", "refused")


@books_app.command("diff")
@explain_errors
def diff(  # noqa: PLR0913 - one parameter an option
    file: FileArgument,
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    valid_from: FromOption = "",
    every: Annotated[
        bool, typer.Option("--all", help="Show all differences, and not the first alone.")
    ] = False,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Compare an import with the books, and print the digest that applies it."""
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        found = _hand_in(call, file, valid_from)
        if every:
            path = f"{PATH}/imports/{found['digest']}/differences"
            found["differences"] = call("gateway", "GET", path, params={"limit": _PAGE})
    print_result(found, output, show=lambda console: _show_comparison(found, console))


@books_app.command("apply")
@explain_errors
def apply(
    digest: Annotated[str, typer.Argument(help="As `diff` printed it.")],
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Apply an import that was compared; refused if the books changed since."""
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        made = call("gateway", "POST", f"{PATH}/imports/{quote(digest, safe='')}/apply")
    print_result(made, output, show=lambda console: _show_change(made, console))


@books_app.command("import")
@explain_errors
def import_file(
    file: FileArgument,
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    valid_from: FromOption = "",
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Compare an import and apply it at once; nothing is applied if a line is refused."""
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        found = _hand_in(call, file, valid_from)
        if found["refused"]:
            _show_comparison(found, Console(stderr=True))
        else:
            _show_notices(found, Console(stderr=True))
        made = call("gateway", "POST", f"{PATH}/imports/{found['digest']}/apply")
    print_result(made, output, show=lambda console: _show_change(made, console))


@books_app.command("show")
@explain_errors
def show(
    meter_point: Annotated[str, typer.Argument(help="The meter point.")],
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Show everything that the books ever said of a meter point, and who said it."""
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        params = {"meter_point_id": meter_point}
        found = call("gateway", "GET", f"{PATH}/history", params=params)
    print_result(found, output, show=lambda console: _show_facts(found["facts"], console))


def _hand_in(call: Any, file: Path, valid_from: str) -> dict[str, Any]:
    try:
        body = file.read_bytes()
    except OSError as error:
        raise InputError(
            f"The import {file.name!r} cannot be read: {error.strerror}.",
            reason="books.file",
            remedy="Check the path and the permissions.",
        ) from error
    params = {"valid_from": valid_from} if valid_from else {}
    found: dict[str, Any] = call("gateway", "POST", f"{PATH}/imports", params=params, content=body)
    return found


def _show_comparison(found: dict[str, Any], console: Console) -> None:
    counts = ", ".join(f"{found[name]:,} {name}" for name in _COUNTS)
    console.print(f"{found['lines']:,} lines: {counts}.")
    for one in found["refusals"]:
        console.print(f"  line {one['line']:,}: {one['message']} [{one['reason']}]", markup=False)
    table = Table("meter point", "what", "before", "after")
    for one in found["differences"]:
        sides = (_written(one[side]) for side in ("before", "after"))
        table.add_row(one["meter_point_id"], one["what"], *sides)
    if found["differences"]:
        console.print(table)
    _show_notices(found, console)
    more = sum(found[name] for name in _COUNTS[:3]) - len(found["differences"])
    if more:
        console.print(f"{more:,} more; --all shows them.")
    if not found["refused"]:
        console.print(f"Apply it with: gridsecure books apply {found['digest']}")


def _show_notices(found: dict[str, Any], console: Console) -> None:
    for one in found["notices"]:
        of = f"line {one['line']:,}"
        more = f" and {one['count'] - 1:,} more" if one["count"] > 1 else ""
        where = f"{of}{more} ({one['meter_point_id']})"
        console.print(f"  note, {where}: {one['message']} [{one['code']}]", markup=False)


def _show_change(made: dict[str, Any], console: Console) -> None:
    counts = ", ".join(f"{made[name]:,} {name}" for name in _COUNTS[:3])
    console.print(f"The books are of revision {made['revision']:,}: {counts}.")


def _show_facts(facts: list[dict[str, Any]], console: Console) -> None:
    table = Table("kind", "from", "to", "what", "entered", "by", "left")
    for fact in facts:
        left = "" if fact["until_revision"] is None else str(fact["until_revision"])
        entered = f"{fact['revision']} ({to_the_minute(fact['entered_at'])})"
        days = (fact["valid_from"], fact["valid_to"] or "")
        what = _values(fact["values"])
        table.add_row(fact["kind"], *days, what, entered, fact["entered_by"], left)
    console.print(table)


def _written(facts: list[dict[str, Any]]) -> str:
    return "\n".join(
        f"{fact['valid_from']} – {fact['valid_to'] or ''}: {_values(fact['values'])}"
        for fact in facts
    )


def _values(values: dict[str, Any]) -> str:
    stated = {name: value for name, value in values.items() if value not in ("", 0, -1)}
    return ", ".join(f"{name} {value}" for name, value in stated.items())
