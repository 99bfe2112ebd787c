"""The commands of `gridsecure gateway`: what it is handed in, its months, and their readings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.file_parts import open_parts
from gridsecure.cli.office_options import IdentityUrlOption
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result, to_the_minute
from gridsecure.cli.period import PersonOption
from gridsecure.cli.released_runs import wait_for
from gridsecure.cli.source import GatewayOption
from gridsecure.errors import GridSecureError

with on_use():
    from gridsecure.cli import online

gateway_app = typer.Typer(help="Look after a gateway.", no_args_is_help=True)

_STATES: Final = ("came_in", "billed", "estimated", "quarantined", "waiting")
_TIMEOUT_S: Final = 3600.0  # a large month is read and validated again
_MOST_LISTED: Final = 1000
_KINDS: Final = {"files": "files of the month", "edits": "edits"}


@gateway_app.command("files")
@explain_errors
def hand_in(  # noqa: PLR0913 - one parameter an option
    month: Annotated[str, typer.Argument(help="The month, as 2026-07.")],
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    readings: Annotated[
        list[Path] | None,
        typer.Option(help="Readings of the month, where no source sent them; may be given again."),
    ] = None,
    checks: Annotated[
        list[Path] | None,
        typer.Option(help="Faces of registers or totals of days, to compare readings with."),
    ] = None,
    contracts: Annotated[
        Path | None, typer.Option(help="Contracts that go into the books from the month's first.")
    ] = None,
    tariff: Annotated[
        list[Path] | None, typer.Option(help="A tariff in place of the one with its id.")
    ] = None,
) -> None:
    """Hand in files of a month as an operator, in place of all that was handed in for it before.

    They can be handed in until the month's rosters are fixed. A file that cannot be used is refused
    with the reason, and what was handed in before stays.
    """
    handed_in = (
        ("readings", readings),
        ("checks", checks),
        ("contracts", [contracts] if contracts else None),
        ("tariffs", tariff),
    )
    with (
        open_parts(*handed_in) as parts,
        online.person(identity, key=key, services={"gateway": gateway}) as call,
    ):
        asked = {"files": parts, "timeout": _TIMEOUT_S}
        kept = call("gateway", "PUT", f"/months/{month}/files", **asked)
    told = f"{kept['readings_files']:,} of readings, {len(checks or ()):,} to compare them with"
    Console().print(f"{month}: files are kept: {told}; {kept['contracts']:,} contracts.")


@gateway_app.command("process")
@explain_errors
def process(
    month: Annotated[str, typer.Argument(help="The month that is over, as 2026-07.")],
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Have a month validated, encrypted and uploaded, as an operator, and wait until it is done.

    It fixes who is billed, and from which readings; what comes later is corrected. The same again
    resumes it. Next the billing office closes the month: gridsecure period close.
    """
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        path = f"/months/{month}"
        call("gateway", "POST", f"{path}/process")
        told = wait_for(lambda: call("gateway", "GET", path), while_in={"running"})
    if told["state"] != "done":
        raise GridSecureError(
            told["message"] or "The month did not come to its end.",
            reason=told["reason"] or "month.interrupted",
            remedy="Start it again when its reason is gone.",
        )
    print_result(told, output, show=lambda console: _show_report(month, told["report"], console))


def _show_report(month: str, report: dict[str, Any], console: Console) -> None:
    counts = {name: f"{report[name]:,}" for name in ("billed_meters", "meters", "accepted")}
    console.print(
        f"{month}: {counts['billed_meters']} of {counts['meters']} meter points are billed, from"
        f" {counts['accepted']} readings, {report['estimated']:,} of them estimated."
    )
    if any(reason.startswith("identity.") for reason in report["excluded"]):
        console.print(
            f"  Who was refused by the identity authority is billed, once its reason is gone, by"
            f" gridsecure correction start {month}."
        )
    for title, by in (("left out", "excluded"), ("estimated", "estimated_by")):
        found = ", ".join(f"{reason} {count:,}" for reason, count in sorted(report[by].items()))
        if found:
            console.print(f"  {title}: {found}")


@gateway_app.command("months")
@explain_errors
def list_months(
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """List the months that something was handed in for, as an operator or the billing staff."""
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        found = call("gateway", "GET", "/months")
    print_result({"months": found}, output, show=lambda console: _list_months(found, console))


def _list_months(found: list[dict[str, Any]], console: Console) -> None:
    table = Table("month", "state", "late readings", "billed or corrected by itself at")
    for one in found:
        state = one["state"] if one["reason"] is None else f"{one['state']}: {one['reason']}"
        late = "wait" if one["late_readings"] else ""
        table.add_row(one["month"], state, late, to_the_minute(one["due_at"] or ""))
    console.print(table)


@gateway_app.command("waiting")
@explain_errors
def list_waiting(
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    refused: Annotated[
        bool, typer.Option("--refused", help="Those of the last thirty days that were refused.")
    ] = False,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """List large batches that wait to be read, as an operator: since when, how far, and why.

    Those that wait are in the order in which they came; the first thousand are shown.
    """
    asked = {"state": "refused" if refused else "waiting", "limit": _MOST_LISTED}
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        found = call("gateway", "GET", "/v1/waiting-batches", params=asked)
    print_result({"batches": found}, output, show=lambda console: _list_queued(found, console))


def _list_queued(found: list[dict[str, Any]], console: Console) -> None:
    table = Table("source", "batch", "since", "state")
    for name in ("MB", "readings so far"):
        table.add_column(name, justify="right")
    table.add_column("reason")
    for one in found:
        place = (one["source"], one["batch_id"][:24], to_the_minute(one["at"]), one["state"])
        size = (f"{one['size'] / 1e6:,.1f}", f"{one['readings']:,}")
        table.add_row(*place, *size, one["reason"])
    console.print(table)


@gateway_app.command("reconcile")
@explain_errors
def reconcile(
    months: Annotated[list[str], typer.Argument(help="Months, as 2026-07.")],
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Count what came in of months and what became of it, as an operator or the billing staff.

    Every reading that a gateway took in is billed, estimated, quarantined or waiting. Where the
    four do not add up to what came in, the batches are named and the exit code is 1.
    """
    found = []
    for month in months:
        # Each month signs in anew: a token lasts five minutes, and reading a month may take them.
        with online.person(identity, key=key, services={"gateway": gateway}) as call:
            asked = {"params": {"month": month}, "timeout": _TIMEOUT_S}
            found.append(call("gateway", "GET", "/v1/reconciliation", **asked))

    def show(console: Console) -> None:
        for one in found:
            _show(one, console)

    print_result({"months": found}, output, show=show)
    if not all(one["adds_up"] for one in found):
        raise typer.Exit(1)


def _show(found: dict[str, Any], console: Console) -> None:
    total = found["total"]
    table = Table(title=found["month"], title_justify="left", show_footer=True)
    table.add_column("source", footer="all")
    for state in _STATES:
        name = state.replace("_", " ")
        table.add_column(name, justify="right", footer=f"{total[state]:,}")
    for one in found["sources"]:
        table.add_row(_named(one["kind"], one["name"]), *(f"{one[state]:,}" for state in _STATES))
    console.print(table)
    for state, reasons in total["reasons"].items():
        listed = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
        console.print(f"{state}: {listed}", markup=False, soft_wrap=True)
    for line in _differences(found):
        console.print(Text(line, style="bold red"), soft_wrap=True)
    if found["adds_up"]:
        console.print("The numbers add up.")


def _differences(found: dict[str, Any]) -> list[str]:
    """What does not add up, a sentence each."""
    lines = [
        f"{_named(one['kind'], one['source'])} {one['name']}: {one['came_in']:,} came in,"
        f" {one['found']:,} are accounted for"
        + (f", {one['lost']:,} are lost" if one["lost"] else "")
        + (f", {one['twice']:,} count twice" if one["twice"] else "")
        + (f" ({one['reason']})" if one["reason"] else "")
        + "."
        for one in found["differing"]
    ]
    if found["reported"] != found["counted"]:
        for name, count in found["reported"].items():
            if count != found["counted"][name]:
                now = found["counted"][name]
                lines.append(f"The month was billed with {count:,} {name}; now there are {now:,}.")
    if found["other_energy"]:
        lines.append(
            f"{found['other_energy']:,} meter points were billed for another energy than that of"
            " their readings."
        )
    return lines


def _named(kind: str, name: str) -> str:
    if kind == "source":
        return name
    return _KINDS.get(kind, f"{kind} {name}")
