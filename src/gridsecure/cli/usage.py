"""`gridsecure usage`: what each party used in a month, and whether that reconciles."""

from __future__ import annotations

import csv
import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.office_options import IdentityUrlOption, KeyOption, without_slash
from gridsecure.cli.on_use import on_use
from gridsecure.errors import AuditBrokenError, InputError, NotFoundError

with on_use():
    from gridsecure.analyst import reports
    from gridsecure.cli import online
    from gridsecure.compute import tables as platform_tables
    from gridsecure.compute import usage as platform_usage
    from gridsecure.encryption import tables as encryption_tables
    from gridsecure.encryption import usage as encryption_usage
    from gridsecure.key_authority.checker import tables as authority_tables
    from gridsecure.key_authority.checker import usage as authority_usage
    from gridsecure.market import tables as market_tables
    from gridsecure.market import usage as market_usage
    from gridsecure.store import database as databases
    from gridsecure.store import schema as schemas

if TYPE_CHECKING:
    from gridsecure.identity_messages import Audience
    from gridsecure.store.usage import Difference

usage_app = typer.Typer(
    help="Read what each party used in a month, and reconcile it.", no_args_is_help=True
)


class MeteredZone(StrEnum):
    """A zone that meters."""

    PLATFORM = "platform"
    AUTHORITY = "authority"
    MARKET = "market"
    ENCRYPTION = "encryption"


class UsageFormat(StrEnum):
    """How usage is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


MonthOption = Annotated[str, typer.Option(help="The month, of UTC, as 2026-11.")]


@usage_app.command()
@explain_errors
def show(  # noqa: PLR0913 - one parameter an option
    *,
    month: MonthOption,
    identity: IdentityUrlOption,
    key: KeyOption,
    platform: Annotated[
        str, typer.Option(help="Address of the platform.", callback=without_slash)
    ] = "",
    authority: Annotated[
        str, typer.Option(help="Address of the key authority.", callback=without_slash)
    ] = "",
    market: Annotated[
        str, typer.Option(help="Address of the data market.", callback=without_slash)
    ] = "",
    encryption: Annotated[
        str, typer.Option(help="Address of the encryption service.", callback=without_slash)
    ] = "",
    output: Annotated[
        UsageFormat, typer.Option("--format", help="What to print.")
    ] = UsageFormat.TABLE,
) -> None:
    """Show what each party used in a month of the services that are named."""
    named: dict[Audience, str] = {
        "platform": platform,
        "authority": authority,
        "market": market,
        "encryption": encryption,
    }
    services = {name: url for name, url in named.items() if url}
    if not services:
        raise _nothing_named()
    with online.person(identity, key=key, services=services) as call:
        found = {name: call(name, "GET", "/usage", params={"month": month}) for name in services}
    rows: list[_Row] = [
        (month, zone, used["party"], used["measure"], used["amount"])
        for zone, answer in found.items()
        for used in answer["used"]
    ]
    _print(rows, output)


def _nothing_named() -> InputError:
    return InputError(
        "No service is named that meters.",
        reason="usage.service",
        remedy="Name the platform with --platform, the key authority with --authority, the "
        "data market with --market, the encryption service with --encryption, or several.",
    )


_Row = tuple[str, str, str, str, int]
_COLUMNS: Final = ("month", "zone", "party", "measure", "amount")


def _print(rows: list[_Row], output: UsageFormat) -> None:
    if output is UsageFormat.JSON:
        typer.echo(json.dumps([dict(zip(_COLUMNS, row, strict=True)) for row in rows]))
    elif output is UsageFormat.CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for month, zone, party, measure, amount in rows:
            writer.writerow((month, zone, reports.harmless_label(party), measure, amount))
    else:
        table = Table("zone", "party", "measure")
        table.add_column("amount", justify="right")
        for _month, zone, party, measure, amount in rows:
            table.add_row(zone, Text(party), measure, f"{amount:,}")
        Console().print(table)


@usage_app.command()
@explain_errors
def check(
    folder: Annotated[Path, typer.Argument(help="The zone's folder.")],
    *,
    zone: Annotated[MeteredZone, typer.Option(help="Whose it is.")],
    database: Annotated[
        str,
        typer.Option(help="URL of its database; else GRIDSECURE_<ZONE>_DATABASE, or the folder's."),
    ] = "",
) -> None:
    """Count both ways, from a zone's log and from its rows, and name whatever differs.

    Exits with an error unless all reconciles. It reads the whole database, and writes nothing.
    """
    database = database or os.environ.get(f"GRIDSECURE_{zone.name}_DATABASE", "")
    if not database and not (folder / "zone.db").is_file():
        raise NotFoundError(
            "There is no zone's database in this folder.",
            reason="objects.zone",
            remedy="Name the zone's folder, or its database with --database.",
        )
    differences = _differences(zone, database or f"sqlite:///{folder / 'zone.db'}")
    for one in differences:
        typer.echo(f"{one.kind}: {one.about}")
    if differences:
        raise AuditBrokenError(
            f"{len(differences)} figures of the usage do not reconcile.",
            reason="usage.differs",
            remedy="Keep the database as it is, compare its log with a witness's copy, and tell "
            "the security officer.",
        )
    typer.echo("Log, ledger and totals of the usage reconcile.")


def _differences(zone: MeteredZone, url: str) -> list[Difference]:
    rooms = {
        MeteredZone.PLATFORM: (platform_tables, platform_usage),
        MeteredZone.AUTHORITY: (authority_tables, authority_usage),
        MeteredZone.MARKET: (market_tables, market_usage),
        MeteredZone.ENCRYPTION: (encryption_tables, encryption_usage),
    }
    tables, usage = rooms[zone]
    engine = databases.open_database(url)
    try:
        schemas.check_schema(engine, tables.SCHEMA)
        with databases.read_session(engine) as session:
            found = list(usage.BOOK.find_differences(session, usage.list_done(session)))
            if zone is MeteredZone.MARKET:
                found += market_usage.find_statement_differences(session)
            return found
    finally:
        engine.dispose()
