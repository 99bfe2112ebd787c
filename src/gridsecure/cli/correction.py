"""The commands of `gridsecure correction`: a month that was billed, corrected through the services.

The gateway makes a correction of files, of corrected books and of batches that came late, and sends
what changed to the platform. Files that change much, tariffs and books wait until a second operator
approves them. The billing staff then have it computed and released: new bills that cancel the old
ones, with the difference line by line.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

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
    help="Correct a month that was billed: by files, books, and readings that came late.",
    no_args_is_help=True,
)

_ORDERS: Final = "/v1/correction-orders"
_TIMEOUT_S: Final = 3600.0  # a large month is read to see what files change

NumberArgument = Annotated[int, typer.Argument(help="Number of the order.")]
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
    rules: Annotated[
        Path | None, typer.Option(help="A rule book in place of the one that billed the month.")
    ] = None,
    books: Annotated[
        bool, typer.Option("--books", help="Count by the gateway's books as they are now.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why this corrects the month; it is kept.")] = "",
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Have the gateway correct a month, as an operator, and wait until it is done.

    Batches that came late are taken up with it, and are enough for it. Whoever hands in files, or
    asks for corrected books, says why. If that changes more than one person may, the order waits
    until another operator approves it. The same again resumes it.
    """
    handed_in = (
        ("readings", readings),
        ("tariffs", tariff),
        ("rules", [rules] if rules else None),
    )
    with (
        open_parts(*handed_in) as parts,
        online.person(identity, key=key, services={"gateway": gateway}) as call,
    ):
        path = f"/months/{month}/corrections"
        params = ({"reason": reason} if reason else {}) | ({"books": "true"} if books else {})
        asked = {"params": params or None, "timeout": _TIMEOUT_S}
        name = call("gateway", "POST", path, files=parts, **asked)["name"]
        told = _wait(call, month, name)

    print_result(told, output, show=lambda console: _show_started(told, console))


@correction_app.command("orders")
@explain_errors
def list_orders(
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    month: Annotated[str, typer.Option(help="Of a month, as 2026-07.")] = "",
    state: Annotated[str, typer.Option(help="pending, approved, applied or rejected.")] = "",
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """List corrections that persons ordered: who and why, and what was decided."""
    asked = {"month": month, "state": state}
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        found = call("gateway", "GET", _ORDERS, params=asked)
    print_result({"orders": found}, output, show=lambda console: _list_orders(found, console))


@correction_app.command("approve")
@explain_errors
def approve(
    number: NumberArgument,
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    reason: Annotated[str, typer.Option(help="Why; it is kept.")] = "",
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Approve another operator's order, and wait until its correction is done."""
    decision = {"approve": True, "reason": reason}
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        order = call("gateway", "POST", f"{_ORDERS}/{number}/decision", json=decision)
        told = _wait(call, order["month"], order["correction"])
    print_result(told, output, show=lambda console: _list([told], console))


@correction_app.command("reject")
@explain_errors
def reject(
    number: NumberArgument,
    *,
    identity: IdentityUrlOption,
    gateway: GatewayOption,
    key: PersonOption,
    reason: Annotated[str, typer.Option(help="Why; it is kept.")],
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Reject an order before its correction is fixed; it changes nothing."""
    decision = {"approve": False, "reason": reason}
    with online.person(identity, key=key, services={"gateway": gateway}) as call:
        found = [call("gateway", "POST", f"{_ORDERS}/{number}/decision", json=decision)]
    print_result({"orders": found}, output, show=lambda console: _list_orders(found, console))


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


def _show_started(told: dict[str, Any], console: Console) -> None:
    _list([told], console)
    if told["state"] == "pending":
        console.print(
            f"Order {told['order']} waits for another operator:"
            f" gridsecure correction approve {told['order']}"
        )


def _wait(call: Callable[..., Any], month: str, name: str) -> dict[str, Any]:
    """Wait for a correction until it is done, or waits for a second person."""
    path = f"/months/{month}/corrections"
    at_work = {"running", "approved"}
    told: dict[str, Any] = wait_for(
        lambda: _named(call("gateway", "GET", path), name), while_in=at_work
    )
    if told["state"] not in {"done", "pending"}:
        raise GridSecureError(
            told["message"] or "The correction did not come to its end.",
            reason=told["reason"] or "correction.interrupted",
            remedy="Start it again when its reason is gone.",
        )
    return told


def _list_orders(found: list[dict[str, Any]], console: Console) -> None:
    table = Table("order", "month", "state", "books")
    for name in ("files", "meter points", "intervals"):
        table.add_column(name, justify="right")
    for name in ("by", "why", "decided by", "because"):
        table.add_column(name)
    for one in found:
        files = one["readings"] + one["tariffs"] + [one["rules"]] * bool(one["rules"])
        counts = (len(files), one["meter_points"], one["intervals"])
        table.add_row(
            *(str(one["id"]), one["month"], one["state"], str(one["books"] or "")),
            *(f"{count:,}" for count in counts),
            *(one["person"], one["reason"], one["approver"], one["decision"]),
        )
    console.print(table)


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
