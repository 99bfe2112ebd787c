"""The commands of `gridsecure day`: local days, sealed one by one as they are over.

The gateway encrypts a day of what sources sent and uploads it. The billing office closes it, and
the day's load curve is run and released while the month goes on. Bills come with the month.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.office_options import AuthorityUrlOption, IdentityUrlOption, PlatformUrlOption
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.cli.period import PersonOption, TimezoneOption, day_span
from gridsecure.cli.released_runs import release_run, show_outcomes, wait_for
from gridsecure.cli.run_order import TIMEZONE
from gridsecure.cli.source import GatewayOption
from gridsecure.errors import GridSecureError

with on_use():
    from gridsecure.cli import online

day_app = typer.Typer(
    help="Seal local days as they are over, and release their load curves.",
    no_args_is_help=True,
)

DayArgument = Annotated[str, typer.Argument(help="The local day, as 2026-07-31.")]


@day_app.command("seal")
@explain_errors
def seal(
    day: DayArgument,
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Have the gateway seal a day, as an operator, and wait until it is done.

    The same again resumes it. A sealed day is never replaced.
    """
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        call("gateway", "POST", f"/days/{day}/seal")
        told = wait_for(lambda: call("gateway", "GET", f"/days/{day}"), while_in={"running"})
    if told["state"] != "sealed":
        raise GridSecureError(
            told["message"] or "The day did not come to its end.",
            reason=told["reason"] or "day.interrupted",
            remedy="Start it again when its reason is gone.",
        )
    print_result(told, output, show=lambda console: _list([told], console))


@day_app.command("list")
@explain_errors
def show(
    month: Annotated[str, typer.Argument(help="The month, as 2026-07.")],
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """List the days of a month, as an operator or a member of the billing staff."""
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        told = call("gateway", "GET", f"/months/{month}/days")
    print_result({"days": told}, output, show=lambda console: _list(told, console))


@day_app.command("release")
@explain_errors
def release(  # noqa: PLR0913 - one parameter an option
    day: DayArgument,
    *,
    identity: IdentityUrlOption,
    platform: PlatformUrlOption,
    authority: AuthorityUrlOption,
    key: PersonOption,
    timezone: TimezoneOption = TIMEZONE,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Have the load curve of a closed day computed and released, as a member of the billing staff.

    The billing office closes the day first: gridsecure period close --day.
    """
    order = {"plan": "load-curve", "purpose": "operations"} | day_span(day, timezone)
    services = {"platform": platform, "authority": authority}
    document = release_run(identity, services, order, key=key)
    print_result(document, output, show=lambda console: show_outcomes(document, console))


def _list(told: list[dict[str, Any]], console: Console) -> None:
    table = Table("day", "state")
    for name in ("meter points", "without a complete day", "readings", "estimated"):
        table.add_column(name, justify="right")
    for one in told:
        counts = one["report"] or {}
        numbers = (counts.get(name) for name in ("meters", "silent", "readings", "estimated"))
        shown = ("" if count is None else f"{count:,}" for count in numbers)
        state = one["state"] if one["reason"] is None else f"{one['state']}: {one['reason']}"
        table.add_row(one["day"], state, *shown)
    console.print(table)
