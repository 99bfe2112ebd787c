"""The commands of `gridsecure rules`: the rule book that a gateway validates readings by."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.office_options import IdentityUrlOption
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.cli.period import MonthOption, PersonOption
from gridsecure.cli.released_runs import wait_for
from gridsecure.cli.source import GatewayOption
from gridsecure.errors import GridSecureError, InputError

with on_use():
    from gridsecure.billing import rule_books
    from gridsecure.cli import online

rules_app = typer.Typer(
    help="Show, check and hand in the rules that readings are validated by.", no_args_is_help=True
)

PATH = "/v1/validation-rules"
TRIALS = "/v1/rule-trials"
FileArgument = Annotated[Path, typer.Argument(help="A rule book (TOML).")]
OfMonthOption = Annotated[str, typer.Option("--month", help="One month alone, as 2026-07.")]


@rules_app.command("default")
@explain_errors
def default() -> None:
    """Print the packaged rule book: a start for one of your own."""
    typer.echo(rule_books.default_text(), nl=False)


@rules_app.command("check")
@explain_errors
def check(file: FileArgument) -> None:
    """Check a rule book without handing it in."""
    book = rule_books.parse_book(_read(file))
    Console().print(f"Rule book {book.version} has every rule, and can be handed in.")


@rules_app.command("show")
@explain_errors
def show(
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    month: OfMonthOption = "",
) -> None:
    """Print the rule book that holds at a gateway, or that a month was fixed with."""
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        held = call("gateway", "GET", PATH, params={"month": month})
    typer.echo(held["text"], nl=False)


@rules_app.command("put")
@explain_errors
def put(
    file: FileArgument,
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    month: OfMonthOption = "",
) -> None:
    """Let a rule book hold for what a gateway validates from now on."""
    text = _read(file)
    rule_books.parse_book(text)
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        held = call("gateway", "PUT", PATH, params={"month": month}, content=text.encode())
    where = f"for {month}" if month else "for every month without one of its own"
    Console().print(f"Rule book {held['version']} holds {where}: {held['digest']}")


@rules_app.command("try")
@explain_errors
def try_rules(
    file: Annotated[
        Path | None, typer.Argument(help="A rule book; without it, the one in force.")
    ] = None,
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    month: MonthOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Validate a month without processing it, and compare with a rule book; wait until it is done.

    The work list follows the rules in force. What the other book finds is shown, and not kept.
    """
    text = "" if file is None else _read(file)
    asked = {"month": month}
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        call("gateway", "POST", TRIALS, params=asked, content=text.encode())
        told = wait_for(lambda: call("gateway", "GET", f"/months/{month}"), while_in={"running"})
        if told["state"] == "failed":
            raise GridSecureError(
                told["message"], reason=told["reason"], remedy="Try again when its reason is gone."
            )
        found = call("gateway", "GET", TRIALS, params=asked)
    print_result(found, output, show=lambda console: _compare(found, console))


@rules_app.command("compare")
@explain_errors
def compare(
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    month: MonthOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Show what the rules last tried on a month change: counts before and after."""
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        found = call("gateway", "GET", TRIALS, params={"month": month})
    print_result(found, output, show=lambda console: _compare(found, console))


def _compare(found: dict[str, Any], console: Console) -> None:
    table = Table("what", "rule")
    for name in ("before", "after", "difference"):
        table.add_column(name, justify="right")
    rows = [
        (what, "", found[f"{what}_before"], found[f"{what}_after"])
        for what in ("billed", "estimated", "quarantined")
    ]
    rows += [("problems", one["rule"], one["before"], one["after"]) for one in found["problems"]]
    for what, rule, before, after in rows:
        table.add_row(what, rule, f"{before:,}", f"{after:,}", f"{after - before:+,}")
    console.print(f"Rules {found['rules_before'][:16]} → {found['rules_after'][:16]}")
    console.print(table)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The rule book {file.name!r} cannot be read as UTF-8.",
            reason="rules.file",
            remedy="Check the path, the permissions and the encoding.",
        ) from error
