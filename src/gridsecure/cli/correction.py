"""The commands of `gridsecure correction`: a month that was billed, corrected through the services.

The gateway makes a correction of files and of batches that came late, and sends what changed to the
platform. The billing staff then have it computed and released: new bills that cancel the old ones,
with the difference line by line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.file_parts import open_parts
from gridsecure.cli.office_options import AuthorityUrlOption, IdentityUrlOption, PlatformUrlOption
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.cli.period import CycleDayOption, PersonOption, TimezoneOption, month_span
from gridsecure.cli.released_runs import release_run, show_outcomes, wait_for
from gridsecure.cli.run_order import TIMEZONE
from gridsecure.cli.source import GatewayOption
from gridsecure.errors import GridSecureError
from gridsecure.month_texts import CALENDAR

with on_use():
    from gridsecure.cli import online

correction_app = typer.Typer(
    help="Correct a month that was billed: by files, and by readings that came late.",
    no_args_is_help=True,
)

MonthArgument = Annotated[str, typer.Argument(help="The month, as 2026-07.")]


@correction_app.command("start")
@explain_errors
def start(  # noqa: PLR0913 - one parameter an option
    month: MonthArgument,
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    readings: Annotated[
        list[Path] | None, typer.Option(help="Late and corrected readings; may be given again.")
    ] = None,
    tariff: Annotated[
        list[Path] | None, typer.Option(help="A tariff in place of the one with its id.")
    ] = None,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Have the gateway correct a month, as an operator, and wait until it is done.

    Batches that came late are taken up with it, and are enough for it. The same again resumes it.
    """
    handed_in = (("readings", readings), ("tariffs", tariff))
    with (
        open_parts(*handed_in) as parts,
        online.person(identity, key=key, services={"gateway": gateway}) as call,
    ):
        path = f"/months/{month}/corrections"
        name = call("gateway", "POST", path, files=parts)["name"]
        told = wait_for(lambda: _named(call("gateway", "GET", path), name))
    if told["state"] != "done":
        raise GridSecureError(
            told["message"] or "The correction did not come to its end.",
            reason=told["reason"] or "correction.interrupted",
            remedy="Start it again when its reason is gone.",
        )
    print_result(told, output, show=lambda console: _list([told], console))


@correction_app.command("show")
@explain_errors
def show(
    month: MonthArgument,
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """List the corrections of a month, as an operator or a member of the billing staff."""
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        told = call("gateway", "GET", f"/months/{month}/corrections")
    print_result({"corrections": told}, output, show=lambda console: _list(told, console))


@correction_app.command("release")
@explain_errors
def release(  # noqa: PLR0913 - one parameter an option
    month: MonthArgument,
    *,
    identity: IdentityUrlOption,
    platform: PlatformUrlOption,
    authority: AuthorityUrlOption,
    key: PersonOption,
    timezone: TimezoneOption = TIMEZONE,
    cycle_day: CycleDayOption = CALENDAR,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Have the corrections of a month computed and released, as a member of the billing staff."""
    order = {"plan": "rebill", "purpose": "billing"} | month_span(month, timezone, cycle_day)
    services = {"platform": platform, "authority": authority}
    document = release_run(identity, services, order, key=key)
    print_result(document, output, show=lambda console: show_outcomes(document, console))


def _named(told: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The correction of a name; one that ended before it was fixed is not among them."""
    gone = {"state": "interrupted", "message": None, "reason": None}
    return next((one for one in told if one["name"] == name), gone)


def _list(told: list[dict[str, Any]], console: Console) -> None:
    table = Table("correction", "state", "left out")
    for name in ("number", "bills corrected", "first bills", "without a bill"):
        table.add_column(name, justify="right")
    for one in told:
        counts = one["report"] or {}
        first, late = counts.get("first_billed", 0), counts.get("late", 0)
        shown = (counts["corrected"], first, late - first) if counts else (None, None, None)
        numbers = ("" if count is None else f"{count:,}" for count in (one["number"], *shown))
        state = one["state"] if one["reason"] is None else f"{one['state']}: {one['reason']}"
        left_out = ", ".join(f"{count:,} {why}" for why, count in one["left_out"].items())
        table.add_row(one["name"][:12], state, left_out, *numbers)
    console.print(table)
