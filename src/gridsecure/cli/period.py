"""The commands of `gridsecure period`: what is open of a month, and closing it.

The billing office closes a month once its rosters are in: it signs the list of uploads that are
billed and totalled together. What comes later is closed by a further list. Uploads that spoil the
others are left out by a new list, which takes the earlier one's place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.on_use import on_use
from gridsecure.errors import InputError, NotFoundError

with on_use():
    from gridsecure import messages, month_texts, periods
    from gridsecure.crypto import sm2
    from gridsecure.offices import files as office_files
    from gridsecure.offices import officers

TIMEZONE: Final = "Asia/Shanghai"
_PATH: Final = "/closing-lists"

Call = Callable[..., Any]
"""Calls the platform as a member of the billing staff: method, path, options -> JSON answer."""

period_app = typer.Typer(
    help="Close a month: say which uploads are billed and totalled together.", no_args_is_help=True
)

IdentityOption = Annotated[str, typer.Option(help="Address of the identity service.")]
PlatformOption = Annotated[str, typer.Option(help="Address of the platform.")]
PersonOption = Annotated[Path, typer.Option(help="Key that you sign in with.")]
MonthOption = Annotated[str, typer.Option(help="The month, as 2026-07.")]
TimezoneOption = Annotated[str, typer.Option(help="Local time of the supply area.")]


@period_app.command("show")
@explain_errors
def show(
    *,
    identity: IdentityOption,
    platform: PlatformOption,
    key: PersonOption,
    month: MonthOption,
    timezone: TimezoneOption = TIMEZONE,
) -> None:
    """Show a month's closing lists, and the uploads that none of them names."""
    span = _span(month, timezone)
    with officers.sign_in_person(identity, key=key, services={"platform": platform}) as call:
        answer = call("platform", "GET", _PATH, params=span)
    _show(answer, Console())


@period_app.command("close")
@explain_errors
def close(  # noqa: PLR0913 - one parameter an option
    *,
    identity: IdentityOption,
    platform: PlatformOption,
    key: PersonOption,
    office_key: Annotated[Path, typer.Option(help="The billing office's key; it signs the list.")],
    month: MonthOption,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(help="An upload to leave out of the list in force; may be given again."),
    ] = None,
    timezone: TimezoneOption = TIMEZONE,
) -> None:
    """Sign and hand in a month's next closing list."""
    office, span = office_files.officer_key(office_key), _span(month, timezone)
    with officers.sign_in_person(identity, key=key, services={"platform": platform}) as call:
        count = close_month(
            partial(call, "platform"),
            key=office,
            now=datetime.now(UTC),
            leave_out=leave_out or (),
            **span,
        )
    Console().print(f"Closed {month} for {count} uploads. Bills and load curves can be run.")


def close_month(
    call: Call,
    *,
    key: sm2.Sm2PrivateKey,
    start: str,
    end: str,
    now: datetime,
    leave_out: Collection[str] = (),
) -> int:
    """Sign and hand in a month's next list: all that is open, or a list in force less some uploads.

    Args:
        call: Calls the platform.
        key: The billing office's.
        start: Start of the month, ISO 8601.
        end: Its end.
        now: The present, aware.
        leave_out: Uploads that the list in force which names them is signed anew without.

    Returns:
        How many uploads the list names.

    Raises:
        NotFoundError: Nothing is open (`period.nothing-open`).
        InputError: No one list in force names what is left out, or it names nothing else
            (`period.leave-out`).
        GridSecureError: The platform refused.
    """
    answer = call("GET", _PATH, params={"start": start, "end": end})
    if leave_out:
        uploads = _remaining(answer, set(leave_out))
    else:
        uploads = [item["upload"] for item in answer["open"]]
    if not uploads:
        raise NotFoundError(
            "No committed upload of this month is open.",
            reason="period.nothing-open",
            remedy="Wait for the gateways' uploads. Uploads that are already closed can be run.",
        )
    number = len(answer["closed"]) + 1
    envelope = closing_list(uploads, number=number, key=key, start=start, end=end, now=now)
    call("POST", _PATH, json=envelope.model_dump())
    return len(uploads)


def closing_list(
    uploads: Collection[str],
    *,
    number: int,
    key: sm2.Sm2PrivateKey,
    start: str,
    end: str,
    now: datetime,
) -> messages.Signed:
    """Sign a month's closing list.

    Args:
        uploads: What is billed and totalled together.
        number: The list's number, from 1.
        key: The billing office's.
        start: Start of the month, ISO 8601.
        end: Its end.
        now: The present, aware.
    """
    content = messages.ClosingList(
        start=start, end=end, number=number, closed_at=now.isoformat(), uploads=sorted(uploads)
    )
    return messages.sign_message(content, key=key)


def _remaining(answer: dict[str, Any], left_out: set[str]) -> list[str]:
    """The one list in force that names what is left out, without it."""
    lists = [messages.Signed.model_validate(item) for item in answer["closed"]]
    named = [
        set(messages.ClosingList.parsed(item.body).uploads)
        for item in lists
        if item.digest in answer["in_force"]
    ]
    found = [uploads - left_out for uploads in named if left_out < uploads]
    if len(found) != 1:
        raise InputError(
            "No single closing list in force names all of these uploads.",
            reason="period.leave-out",
            remedy="Give the uploads of one list, by digest: gridsecure period show.",
        )
    return sorted(found[0])


def _show(answer: dict[str, Any], console: Console) -> None:
    table = Table("list", "state", "closed at")
    table.add_column("upload", overflow="fold")
    for item in answer["closed"]:
        envelope = messages.Signed.model_validate(item)
        content = messages.ClosingList.parsed(envelope.body)
        state = "in force" if envelope.digest in answer["in_force"] else "replaced"
        for upload in content.uploads:
            table.add_row(str(content.number), state, content.closed_at, upload)
    for item in answer["open"]:
        table.add_row("", "open", "", item["upload"])
    console.print(table)


def _span(month: str, timezone: str) -> dict[str, str]:
    try:
        period = periods.billing_month(*month_texts.read_month(month), timezone=timezone)
    except (ValueError, KeyError, OSError) as error:
        raise InputError(
            "The time zone cannot be read.",
            reason="period.timezone",
            remedy="Write its IANA name, as Asia/Shanghai.",
        ) from error
    return {"start": period.start.isoformat(), "end": period.end.isoformat()}
