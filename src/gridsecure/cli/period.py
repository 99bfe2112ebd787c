"""The commands of `gridsecure period`: what is open of a month or day, and closing it.

The billing office closes a month once its rosters are in: it signs the list of uploads that are
billed and totalled together. What comes later is closed by a further list. Uploads that spoil the
others are left out by a new list, which takes the earlier one's place.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.office_options import IdentityUrlOption, PlatformUrlOption
from gridsecure.cli.on_use import on_use
from gridsecure.cli.run_order import TIMEZONE
from gridsecure.errors import InputError

with on_use():
    from gridsecure import messages, month_texts, periods
    from gridsecure.cli import online
    from gridsecure.offices import closing_lists
    from gridsecure.offices import files as office_files


period_app = typer.Typer(
    help="Close a month: say which uploads are billed and totalled together.", no_args_is_help=True
)

PersonOption = Annotated[Path, typer.Option(help="Key that you sign in with.")]
MonthOption = Annotated[str, typer.Option(help="The month, as 2026-07.")]
ClosedMonthOption = Annotated[str, typer.Option("--month", help="The month, as 2026-07.")]
ClosedDayOption = Annotated[
    str, typer.Option("--day", help="A sealed day instead, as 2026-07-31, for its load curve.")
]
TimezoneOption = Annotated[str, typer.Option(help="Local time of the supply area.")]


@period_app.command("show")
@explain_errors
def show(
    *,
    identity: IdentityUrlOption,
    platform: PlatformUrlOption,
    key: PersonOption,
    month: ClosedMonthOption = "",
    day: ClosedDayOption = "",
    timezone: TimezoneOption = TIMEZONE,
) -> None:
    """Show a month's or day's closing lists, and the uploads that none of them names."""
    span = period_span(month, day, timezone)
    with online.person(identity, key=key, services={"platform": platform}) as call:
        answer = call("platform", "GET", closing_lists.PATH, params=span)
    _show(answer, Console())


@period_app.command("close")
@explain_errors
def close(  # noqa: PLR0913 - one parameter an option
    *,
    identity: IdentityUrlOption,
    platform: PlatformUrlOption,
    key: PersonOption,
    office_key: Annotated[Path, typer.Option(help="The billing office's key; it signs the list.")],
    month: ClosedMonthOption = "",
    day: ClosedDayOption = "",
    leave_out: Annotated[
        list[str] | None,
        typer.Option(help="An upload to leave out of the list in force; may be given again."),
    ] = None,
    timezone: TimezoneOption = TIMEZONE,
) -> None:
    """Sign and hand in the next closing list of a month, or of a day that was sealed."""
    office, span = office_files.officer_key(office_key), period_span(month, day, timezone)
    with online.person(identity, key=key, services={"platform": platform}) as call:
        count = closing_lists.close_month(
            call,
            key=office,
            now=online.utc_now(),
            leave_out=leave_out or (),
            **span,
        )
    runs = "Its load curve" if day else "Bills and load curves"
    Console().print(f"Closed {month or day} for {count} uploads. {runs} can be run.")


def _show(answer: dict[str, Any], console: Console) -> None:
    table = Table("list", "state", "closed at")
    table.add_column("upload", overflow="fold")
    for item in answer["closed"]:
        envelope = messages.Signed.model_validate(item)
        content = messages.ClosingList.parse(envelope.body)
        state = "in force" if envelope.digest in answer["in_force"] else "replaced"
        for upload in content.uploads:
            table.add_row(str(content.number), state, content.closed_at, upload)
    for item in answer["open"]:
        table.add_row("", "open", "", item["upload"])
    console.print(table)


def period_span(month: str, day: str, timezone: str) -> dict[str, str]:
    """Start and end of a month or of a day, whichever is given.

    Raises:
        InputError: Both or neither (`period.one`), or as `month_span` and `day_span`.
    """
    if bool(month) == bool(day):
        raise InputError(
            "A period is either a month or a day.",
            reason="period.one",
            remedy="Give --month 2026-07, or --day 2026-07-31 for a sealed day's load curve.",
        )
    return month_span(month, timezone) if month else day_span(day, timezone)


def month_span(month: str, timezone: str) -> dict[str, str]:
    """Start and end of a month, as the platform is asked for it.

    Raises:
        InputError: Not a month, or no time zone (`period.timezone`).
    """
    number = month_texts.read_month(month)
    return _span(lambda: periods.billing_month(*number, timezone=timezone))


def day_span(day: str, timezone: str) -> dict[str, str]:
    """Start and end of a local day, as the platform is asked for it.

    Raises:
        InputError: Not a day (`day.format`), or no time zone (`period.timezone`).
    """
    return _span(lambda: periods.local_day(day, timezone=timezone))


def _span(find: Callable[[], periods.BillingPeriod]) -> dict[str, str]:
    try:
        period = find()
    except (ValueError, KeyError, OSError) as error:
        raise InputError(
            "The time zone cannot be read.",
            reason="period.timezone",
            remedy="Write its IANA name, as Asia/Shanghai.",
        ) from error
    return {"start": period.start.isoformat(), "end": period.end.isoformat()}
