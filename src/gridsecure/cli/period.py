"""The commands of `gridsecure period`: closing a month or day, releasing its bills, comparing them.

The billing office closes a month once its rosters are in: it signs the list of uploads that are
billed and totalled together. What comes later is closed by a further list. Uploads that spoil the
others are left out by a new list, which takes the earlier one's place. Then the billing staff has
the bills of the month computed and released. Once bills or corrections
are released, the office compares them with those that the gateways expect.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gridsecure.cli import released_runs
from gridsecure.cli.explained import explain_errors
from gridsecure.cli.office_options import (
    AuthorityUrlOption,
    IdentityUrlOption,
    PlatformUrlOption,
    without_slash,
)
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.cli.run_order import TIMEZONE
from gridsecure.errors import InputError
from gridsecure.month_texts import CALENDAR

with on_use():
    from gridsecure import messages, month_texts, periods, statement_checks
    from gridsecure.cli import analyst, online, statement
    from gridsecure.offices import billing_office, closing_lists
    from gridsecure.offices import files as office_files


if TYPE_CHECKING:
    from gridsecure.bill_receipts import BillReceipt
    from gridsecure.identity_messages import Audience
    from gridsecure.offices.billing_office import BillingOffice

period_app = typer.Typer(
    help="Close a month, have its bills released, and compare them with the gateways'.",
    no_args_is_help=True,
)

PersonOption = Annotated[Path, typer.Option(help="Key that you sign in with.")]
MonthOption = Annotated[str, typer.Option(help="The month, as 2026-07.")]
ClosedMonthOption = Annotated[str, typer.Option("--month", help="The month, as 2026-07.")]
ClosedDayOption = Annotated[
    str, typer.Option("--day", help="A sealed day instead, as 2026-07-31, for its load curve.")
]
CycleDayOption = Annotated[
    int, typer.Option(help="Day of the month that the gateway's billing periods begin on.")
]
TimezoneOption = Annotated[str, typer.Option(help="Local time of the supply area.")]


def _without_slashes(urls: Sequence[str]) -> list[str]:
    return [without_slash(url) for url in urls]


AuthorityKeyOption = Annotated[str, typer.Option(help="The key authority's key (130 digits).")]
GatewaysOption = Annotated[
    list[str],
    typer.Option(help="A gateway's address; again for each one.", callback=_without_slashes),
]
GatewayKeysOption = Annotated[
    list[str], typer.Option(help="Its key (130 digits), in the order of --gateway.")
]
OpeningKeyOption = Annotated[Path, typer.Option(help="The billing office's key; it opens bills.")]


@period_app.command("show")
@explain_errors
def show(  # noqa: PLR0913 - one parameter an option
    *,
    identity: IdentityUrlOption,
    platform: PlatformUrlOption,
    key: PersonOption,
    month: ClosedMonthOption = "",
    day: ClosedDayOption = "",
    timezone: TimezoneOption = TIMEZONE,
    cycle_day: CycleDayOption = CALENDAR,
) -> None:
    """Show a month's or day's closing lists, and the uploads that none of them names."""
    span = period_span(month, day, timezone, cycle_day=cycle_day)
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
    cycle_day: CycleDayOption = CALENDAR,
) -> None:
    """Sign and hand in the next closing list of a month, or of a day that was sealed."""
    office = office_files.officer_key(office_key)
    span = period_span(month, day, timezone, cycle_day=cycle_day)
    with online.person(identity, key=key, services={"platform": platform}) as call:
        count = closing_lists.close_month(
            call,
            key=office,
            now=online.utc_now(),
            leave_out=leave_out or (),
            cycle_day=cycle_day,
            **span,
        )
    runs = "Its load curve" if day else "Bills and load curves"
    Console().print(f"Closed {month or day} for {count} uploads. {runs} can be run.")


@period_app.command("release")
@explain_errors
def release(  # noqa: PLR0913 - one parameter an option
    *,
    identity: IdentityUrlOption,
    platform: PlatformUrlOption,
    authority: AuthorityUrlOption,
    key: PersonOption,
    month: MonthOption,
    timezone: TimezoneOption = TIMEZONE,
    cycle_day: CycleDayOption = CALENDAR,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Have the bills of a closed month computed and released, as a member of the billing staff.

    What was released before is not computed again; a month closed for late uploads has theirs
    released.
    """
    order = {"plan": "bill", "purpose": "billing"} | month_span(month, timezone, cycle_day)
    services = {"platform": platform, "authority": authority}
    document = released_runs.release_run(identity, services, order, key=key)
    print_result(
        document, output, show=lambda console: released_runs.show_outcomes(document, console)
    )


@period_app.command("compare")
@explain_errors
def compare(  # noqa: PLR0913 - one parameter an option
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    authority_key: AuthorityKeyOption,
    gateway: GatewaysOption,
    gateway_key: GatewayKeysOption,
    key: PersonOption,
    office_key: OpeningKeyOption,
    month: MonthOption,
    timezone: TimezoneOption = TIMEZONE,
    cycle_day: CycleDayOption = CALENDAR,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Compare a month's released bills and corrections with what the gateways expect of them.

    Each gateway bills its own readings in the clear and tells digests of what was released. Where a
    bill or correction differs, or is on one side only, the exit code is 1.
    """
    gateways = _gateways(gateway, gateway_key)
    office = _office(office_key, authority_key, gateways)
    with online.person(identity, key=key, services={"authority": authority}) as call:
        opening = replace(office, call=call)
        span = month_span(month, timezone, cycle_day)
        certificates = opening.fetch_certificates(start=span["start"])
        statements = opening.open_statements(certificates)
    expected: dict[tuple[str, int], Any] = {}
    for url, point in gateways:
        # Each gateway is signed in to anew: a token lasts five minutes, and billing may take them.
        with online.person(identity, key=key, services={"gateway": url}) as call:
            asked = replace(office, call=call, gateway=point)
            expected |= asked.fetch_expected_digests(month, certificates)
    found = statement_checks.check_statements(expected, statements=statements)
    document = {"month": month, "releases": len(certificates), **asdict(found)}
    print_result(document, output, show=lambda console: _show_check(document, console))
    if found.mismatches:
        raise typer.Exit(1)


@period_app.command("bills")
@explain_errors
def bills(  # noqa: PLR0913 - one parameter an option
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    authority_key: AuthorityKeyOption,
    gateway: GatewaysOption,
    gateway_key: GatewayKeysOption,
    key: PersonOption,
    office_key: OpeningKeyOption,
    month: MonthOption,
    output: Annotated[Path, typer.Option(help="The bill file to write.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite it.")] = False,
    timezone: TimezoneOption = TIMEZONE,
    cycle_day: CycleDayOption = CALENDAR,
) -> None:
    """Open a month's released bills and corrections, and write them by meter point.

    The file is what `gridsecure statement` makes customers' statements of. Whoever moved in or out
    within the month finds its own days in its bill.
    """
    if not force:
        statement.refuse_existing([output])
    start = month_span(month, timezone, cycle_day)["start"]
    gateways = _gateways(gateway, gateway_key)
    office = _office(office_key, authority_key, gateways)
    with online.person(identity, key=key, services={"authority": authority}) as call:
        opening = replace(office, call=call)
        statements = opening.open_statements(opening.fetch_certificates(start=start))
    proven = billing_office.ProvenAccounts({}, {})
    receipts: list[BillReceipt] = []
    for url, point in gateways:
        services: dict[Audience, str] = {"identity": identity, "gateway": url}
        with online.person(identity, key=key, services=services) as call:
            asked = replace(office, call=call, gateway=point)
            own = asked.prove_accounts(month=month, start=start)
            receipts += asked.fetch_receipts(month)
        proven.names.update(own.names)
        proven.parts.update(own.parts)
    document = billing_office.assign_bills(statements, proven)
    billing_office.attach_receipts(document, receipts)
    statement.write_whole(output, json.dumps(document, ensure_ascii=False).encode())
    Console().print(f"Wrote the bills of {len(document['meters']):,} meter points to {output}.")


def _office(key: Path, authority_key: str, gateways: Sequence[tuple[str, Any]]) -> BillingOffice:
    """The billing office, which nobody has signed in for yet."""
    own = office_files.officer_key(key)
    trusted = analyst.parse_point(authority_key, option="--authority-key")
    return billing_office.BillingOffice(_not_signed_in, own, trusted, gateways[0][1])


def _not_signed_in(*_given: Any, **_more: Any) -> Any:
    raise ValueError("an office calls nobody before it has signed in")


def _gateways(urls: Sequence[str], keys: Sequence[str]) -> list[tuple[str, Any]]:
    """Gateways' addresses, each with its key."""
    if len(urls) != len(keys):
        raise InputError(
            f"{len(urls)} gateways were given, and {len(keys)} keys of gateways.",
            reason="period.gateways",
            remedy="Give a --gateway-key for each --gateway, in the same order.",
        )
    points = [analyst.parse_point(text, option="--gateway-key") for text in keys]
    return list(zip(urls, points, strict=True))


def _show_check(found: dict[str, Any], console: Console) -> None:
    console.print(
        f"{found['month']}: {found['bills']:,} bills of {found['releases']:,} releases,"
        f" {found['corrections']:,} of them corrections, {found['lines']:,} lines."
    )
    if not found["mismatches"]:
        console.print("All are as the gateways expect them.")
        return
    console.print(
        f"{found['mismatches']:,} differ from what the gateways expect, or are on one side only."
        " Issue none of them. Their settlement pseudonyms:",
        soft_wrap=True,
    )
    for name in found["differing"]:
        console.print(name, soft_wrap=True)


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


def period_span(month: str, day: str, timezone: str, *, cycle_day: int) -> dict[str, str]:
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
    return month_span(month, timezone, cycle_day) if month else day_span(day, timezone)


def month_span(month: str, timezone: str, cycle_day: int) -> dict[str, str]:
    """Start and end of a month's billing period, as the platform is asked for it.

    Raises:
        InputError: Not a month, no time zone (`period.timezone`), or a day that no cycle begins on
            (`cycle.day`).
    """
    month_texts.read_month(month)
    return _span(lambda: periods.month_period(month, timezone=timezone, cycle_day=cycle_day))


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
