"""`gridsecure office`: bills leave the billing office, to customers with a key or to a printer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.office_questions import questions_app
from gridsecure.cli.on_use import on_use
from gridsecure.cli.statement_options import (
    CustomersOption,
    FontOption,
    ForceOption,
    IssuerOption,
    LanguageOption,
    MonthOption,
)
from gridsecure.statements.options import Format, RenderOptions
from gridsecure.statements.wording import Language

with on_use():
    from gridsecure.cli import deliveries, online
    from gridsecure.offices import customers as customer_keys
    from gridsecure.offices import files as office_files
    from gridsecure.offices import mailings

office_app = typer.Typer(
    help="Bills leave the billing office: sealed to customers, or to be printed.",
    no_args_is_help=True,
)

office_app.add_typer(questions_app, name="questions")


@office_app.callback()
def office() -> None:
    """All of it works on the office's own machine and calls no service."""


@office_app.command("enrol")
@explain_errors
def enrol(
    request: Annotated[Path, typer.Argument(help="The request that `gridsecure my key` made.")],
    *,
    account: Annotated[str, typer.Option(help="The account of whom you spoke to, by your books.")],
    customers: CustomersOption,
) -> None:
    """Enter a customer's key, to which the bills of the account are sealed from now on.

    Make sure first that the request is the customer's: have the key's thumbprint read out, and find
    the account of who reads it in your own books. A request for another account is refused.
    """
    asked = office_files.read_signed(request)
    customer_keys.require_account(asked, account)
    with customer_keys.CUSTOMER_LIST.changing(customers) as kept:
        with_it, added = kept.add(asked, now=online.utc_now())
        customer_keys.CUSTOMER_LIST.write(customers, with_it)
    typer.echo(f"Bills of {added.account} are sealed to {added.key.thumbprint} from now on.")


@office_app.command("withdraw")
@explain_errors
def withdraw(
    *,
    account: Annotated[str, typer.Option(help="The name that the bills are under.")],
    thumbprint: Annotated[str, typer.Option(help="The key's thumbprint, or how it begins.")],
    customers: CustomersOption,
    lost: Annotated[
        bool, typer.Option("--lost", help="Under all accounts that have it: it was lost.")
    ] = False,
) -> None:
    """Take a key off an account for good: its customer moved out, or, with --lost, lost it.

    Under other accounts the same key stays, unless it was lost. Bills that were delivered stay as
    they are.
    """
    with customer_keys.CUSTOMER_LIST.changing(customers) as kept:
        if lost:
            left, accounts = kept.without_lost(account, thumbprint)
        else:
            left, accounts = kept.without(account, thumbprint), [account]
        customer_keys.CUSTOMER_LIST.write(customers, left)
    if not accounts:
        typer.echo("It stood under no account any more; none can have it entered again.")
    for name in accounts:
        typer.echo(f"No later bill of {name} is sealed to it.")


@office_app.command("customers")
@explain_errors
def list_customers(*, customers: CustomersOption) -> None:
    """List accounts that have a key."""
    table = Table("account")
    table.add_column("key", overflow="fold")
    for account, thumbprint in customer_keys.CUSTOMER_LIST.read(customers).thumbprints():
        table.add_row(Text(account), thumbprint)
    Console().print(table)


@office_app.command("statements")
@explain_errors
def statements(  # noqa: PLR0913 - one parameter an option
    *,
    bill: Annotated[Path, typer.Option(help="Bill file, of `gridsecure period bills`.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    office_key: Annotated[Path, typer.Option(help="The billing office's key; it signs bills.")],
    customers: CustomersOption,
    meter: Annotated[str | None, typer.Option(help="Only this account.")] = None,
    month: MonthOption = None,
    language: LanguageOption = Language.CHINESE,
    kind: Annotated[Format, typer.Option("--format", help="What is printed.")] = Format.PDF,
    issuer: IssuerOption = None,
    font: FontOption = None,
    force: ForceOption = False,
) -> None:
    """Sign a cycle's bills, seal each to its customer, and write statements of all others."""
    job = deliveries.DeliveryJob(
        bill=bill,
        output=output,
        key=office_files.officer_key(office_key),
        customers=customer_keys.CUSTOMER_LIST.read(customers),
        now=online.utc_now(),
        meter=meter,
        month=month,
        force=force,
    )
    done = deliveries.deliver(job, options=RenderOptions(language, kind, issuer, font))
    typer.echo(
        f"Bills sealed to their customers: {done.sealed:,}. To be printed: {done.printed:,}."
        f" All of them: {output / deliveries.DELIVERIES}"
    )


@office_app.command("post")
@explain_errors
def post(
    delivered: Annotated[Path, typer.Argument(help="Folder that `office statements` wrote.")],
    *,
    site: Annotated[Path, typer.Option(help="Folder that your web server serves.")],
    name: Annotated[str, typer.Option(help="The mailing's, as 2026-07; of no other one.")],
    office_key: Annotated[Path, typer.Option(help="The billing office's key.")],
    customers: CustomersOption,
) -> None:
    """Hand a cycle's sealed bills over: put them where customers fetch them.

    The web server learns neither whose they are nor how many, and who fetches takes dozens.
    """
    done = mailings.post_bills(
        delivered / deliveries.SEALED,
        site,
        name=name,
        key=office_files.officer_key(office_key),
        customers=customer_keys.CUSTOMER_LIST.read(customers),
        now=online.utc_now(),
    )
    typer.echo(f"Posted as {name}: {done.bills:,} bills of {done.customers:,} customers.")
    typer.echo(f"Shelves: {done.shelves:,}, of {done.shelf_bytes:,} bytes each, in {site / name}.")
    if done.left:
        typer.echo(f"Left in {delivered / deliveries.SEALED}, to go another way: {done.left:,}.")
