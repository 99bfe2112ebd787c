"""The `gridsecure` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from gridsecure.cli import ports
from gridsecure.cli.analyst import analyst_app
from gridsecure.cli.approval import approval_app
from gridsecure.cli.authorisation import authorisation_app
from gridsecure.cli.backup import backup, restore, verify_backup
from gridsecure.cli.books import books_app
from gridsecure.cli.build import build_app
from gridsecure.cli.card import card_app
from gridsecure.cli.catalogue import catalogue_app
from gridsecure.cli.correction import correction_app
from gridsecure.cli.cost import cost_app
from gridsecure.cli.day import day_app
from gridsecure.cli.doctor import doctor
from gridsecure.cli.eaas import eaas_app
from gridsecure.cli.edits import edits_app
from gridsecure.cli.evidence import evidence_app
from gridsecure.cli.exceptions import exceptions_app
from gridsecure.cli.explained import explain_errors, notes
from gridsecure.cli.gateway import gateway_app
from gridsecure.cli.identity import identity_app
from gridsecure.cli.init import init, join
from gridsecure.cli.keys import keys_app
from gridsecure.cli.level import level_app
from gridsecure.cli.log import log_app
from gridsecure.cli.market import market_app
from gridsecure.cli.my import my_app
from gridsecure.cli.network import ask as ask_network
from gridsecure.cli.objects import objects_app
from gridsecure.cli.office import office_app
from gridsecure.cli.on_use import on_use
from gridsecure.cli.outlook import outlook_app
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.cli.period import period_app
from gridsecure.cli.plan import plan_app
from gridsecure.cli.policy import policy_app
from gridsecure.cli.query import query_app
from gridsecure.cli.query_ask import ask as ask_question
from gridsecure.cli.query_explain import explain_question
from gridsecure.cli.query_packs import pack_app
from gridsecure.cli.query_series import describe_series
from gridsecure.cli.query_try import try_out
from gridsecure.cli.receipt import receipt_app
from gridsecure.cli.receiver import receiver_app
from gridsecure.cli.rules import rules_app
from gridsecure.cli.run_order import DEFAULT_METERS, DEFAULT_MONTHS, DEFAULT_TARIFF, RunMeters
from gridsecure.cli.shadow import shadow_app
from gridsecure.cli.source import source_app
from gridsecure.cli.statement_options import (
    FontOption,
    ForceOption,
    IssuerOption,
    LanguageOption,
    MonthOption,
)
from gridsecure.cli.tariff import tariff_app
from gridsecure.cli.tls import tls_app
from gridsecure.cli.usage import usage_app
from gridsecure.cli.vault import vault_app
from gridsecure.cli.workshop import workshop_app
from gridsecure.cli.workshop_products import check as check_product
from gridsecure.cli.workshop_products import list_products, show_product
from gridsecure.cli.workshop_products import preview as preview_product
from gridsecure.cli.workshop_products import schema as product_schema
from gridsecure.cli.workshop_registration import register as register_product
from gridsecure.cli.workshop_registration import verify_bundle
from gridsecure.garbage import search_seldom
from gridsecure.gateway.meanings import Meaning, Stamps, Values
from gridsecure.month_texts import CALENDAR
from gridsecure.statements.options import Format, RenderOptions
from gridsecure.statements.wording import Language
from gridsecure.version import VERSION

with on_use():
    from gridsecure.cli import bill as bill_room
    from gridsecure.cli import bill_tariffs, tables
    from gridsecure.cli import rebill as rebill_room
    from gridsecure.cli import replay as replay_room
    from gridsecure.cli import run as run_room
    from gridsecure.cli import statement as statement_room
    from gridsecure.cli import verify as verify_room
    from gridsecure.wire import connections

app = typer.Typer(
    name="gridsecure",
    help="Exact electricity bills computed on encrypted meter readings.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("init")(init)
app.command("network")(ask_network)
app.command("join")(join)
app.add_typer(card_app, name="card")
app.command("doctor")(doctor)
app.command("backup")(backup)
app.command("verify-backup")(verify_backup)
app.command("restore")(restore)
app.add_typer(tariff_app, name="tariff")
app.add_typer(plan_app, name="plan")
app.add_typer(analyst_app, name="analyst")
query_app.command("ask")(ask_question)
query_app.command("try")(try_out)
query_app.command("explain")(explain_question)
query_app.command("series")(describe_series)
query_app.add_typer(pack_app, name="pack")
app.add_typer(query_app, name="query")
app.add_typer(identity_app, name="identity")
app.add_typer(keys_app, name="keys")
app.add_typer(vault_app, name="vault")
app.add_typer(log_app, name="log")
app.add_typer(evidence_app, name="evidence")
app.add_typer(receipt_app, name="receipt")
app.add_typer(period_app, name="period")
app.add_typer(office_app, name="office")
app.add_typer(my_app, name="my")
app.add_typer(shadow_app, name="shadow")
app.add_typer(source_app, name="source")
app.add_typer(receiver_app, name="receiver")
app.add_typer(gateway_app, name="gateway")
app.add_typer(books_app, name="books")
app.add_typer(correction_app, name="correction")
app.add_typer(day_app, name="day")
app.add_typer(rules_app, name="rules")
app.add_typer(policy_app, name="policy")
app.add_typer(level_app, name="level")
app.add_typer(approval_app, name="approval")
app.add_typer(authorisation_app, name="authorisation")
app.add_typer(exceptions_app, name="exceptions")
app.add_typer(edits_app, name="edits")
app.add_typer(objects_app, name="objects")
app.add_typer(build_app, name="build")
app.add_typer(tls_app, name="tls")
app.add_typer(usage_app, name="usage")
app.add_typer(cost_app, name="cost")
app.add_typer(outlook_app, name="outlook")
workshop_app.command("list")(list_products)
workshop_app.command("show")(show_product)
workshop_app.command("schema")(product_schema)
workshop_app.command("check")(check_product)
workshop_app.command("preview")(preview_product)
workshop_app.command("register")(register_product)
workshop_app.command("verify-bundle")(verify_bundle)
app.add_typer(workshop_app, name="workshop")
app.add_typer(market_app, name="market")
app.add_typer(eaas_app, name="eaas")
app.add_typer(catalogue_app, name="catalogue")


TariffOption = Annotated[
    list[str] | None,
    typer.Option(help="Tariff file or catalogue id; without it, the contracts' tariffs."),
]
ContractOption = Annotated[Path | None, typer.Option(help="Contract file (CSV).")]
WhatIfOption = Annotated[
    bool, typer.Option("--what-if", help="Bill by --tariff whatever the contracts say.")
]
TimezoneOption = Annotated[
    str | None, typer.Option(help="Local time of a URDB rate, as America/New_York.")
]

ValuesOption = Annotated[
    Values | None, typer.Option(help="What the values are, where they leave a doubt.")
]
StampsOption = Annotated[
    Stamps | None, typer.Option(help="What the times are, where they leave a doubt.")
]
MeterPointOption = Annotated[
    str, typer.Option(help="The meter point of a file that names none, as exports of one do.")
]
CycleDayOption = Annotated[
    int,
    typer.Option(help="Day of the month that billing periods begin on; 1 makes calendar months."),
]
RegisterHoursOption = Annotated[
    str,
    typer.Option(help="Hours of each register: 'peak=08:00-22:00 valley=00:00-08:00,22:00-24:00'."),
]
YearToDateOption = Annotated[
    list[str] | None,
    typer.Option(help="KWH or ID=KWH used since 1 January before the first month."),
]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gridsecure {VERSION}")
        raise typer.Exit


def _believe(authorities: Path | None) -> Path | None:
    if authorities is not None:
        connections.trust(connections.TlsFiles(ca=authorities))
    return authorities


def _note(text: str) -> None:
    notes.print(text, style="dim")


def _print_bills(document: dict[str, Any], output: OutputFormat) -> None:
    print_result(document, output, show=lambda console: tables.show_bills(document, console))


@app.callback()
def gridsecure(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show it and stop."),
    ] = False,
    tls_ca: Annotated[
        Path | None,
        typer.Option(
            envvar="GRIDSECURE_TLS_CA",
            callback=_believe,
            help="Authorities that services are believed by (PEM).",
        ),
    ] = None,
) -> None:
    """Exact electricity bills computed on encrypted meter readings."""


@app.command()
@explain_errors
def bill(  # noqa: PLR0913 - one parameter an option
    *,
    readings: Annotated[Path, typer.Option(help="Readings file (CSV, long or wide).")],
    tariff: TariffOption = None,
    contract: ContractOption = None,
    what_if: WhatIfOption = False,
    timezone: TimezoneOption = None,
    values: ValuesOption = None,
    stamps: StampsOption = None,
    meter_point: MeterPointOption = "",
    year_to_date: YearToDateOption = None,
    cycle_day: CycleDayOption = CALENDAR,
    register_hours: RegisterHoursOption = "",
    meter: Annotated[list[str] | None, typer.Option(help="Bill only this meter point.")] = None,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Bill a readings file on ciphertext, through all parties in one process."""
    tariffs = bill_tariffs.TariffOptions(tuple(tariff or ()), timezone, what_if)
    meaning, opening = Meaning(values, stamps, None, meter_point), tuple(year_to_date or ())
    order = bill_room.BillOrder(
        *(readings, tariffs, contract, tuple(meter or ())),
        *(meaning, opening, cycle_day, register_hours),
    )
    _print_bills(bill_room.bill_file(order, report=_note), output)


@app.command()
@explain_errors
def rebill(  # noqa: PLR0913 - one parameter an option
    *,
    readings: Annotated[Path, typer.Option(help="Readings file as first billed (CSV).")],
    tariff: TariffOption = None,
    corrected: Annotated[
        Path | None, typer.Option(help="Readings file with late and corrected readings (CSV).")
    ] = None,
    corrected_tariff: Annotated[
        str | None, typer.Option(help="Tariff file or catalogue id in place of the first.")
    ] = None,
    contract: ContractOption = None,
    what_if: WhatIfOption = False,
    timezone: TimezoneOption = None,
    values: ValuesOption = None,
    stamps: StampsOption = None,
    meter_point: MeterPointOption = "",
    year_to_date: YearToDateOption = None,
    cycle_day: CycleDayOption = CALENDAR,
    register_hours: RegisterHoursOption = "",
    meter: Annotated[list[str] | None, typer.Option(help="Bill only this meter point.")] = None,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Bill a readings file on ciphertext, then cancel and rebill what was corrected."""
    tariffs = bill_tariffs.TariffOptions(tuple(tariff or ()), timezone, what_if)
    meaning, opening = Meaning(values, stamps, None, meter_point), tuple(year_to_date or ())
    first = bill_room.BillOrder(
        *(readings, tariffs, contract, tuple(meter or ())),
        *(meaning, opening, cycle_day, register_hours),
    )
    order = rebill_room.RebillOrder(first, corrected, corrected_tariff)
    _print_bills(rebill_room.rebill_file(order, report=_note), output)


@app.command()
@explain_errors
def statement(  # noqa: PLR0913 - one parameter an option
    *,
    bill: Annotated[Path, typer.Option(help="Bill file (JSON of `gridsecure bill`).")],
    output: Annotated[Path, typer.Option(help="File (.html, .pdf) or folder to write.")],
    meter: Annotated[str | None, typer.Option(help="Only this meter point.")] = None,
    month: MonthOption = None,
    language: LanguageOption = Language.CHINESE,
    kind: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.HTML,
    issuer: IssuerOption = None,
    font: FontOption = None,
    force: ForceOption = False,
) -> None:
    """Write customers' statements of a bill file: every line explained, HTML or PDF."""
    statement_room.write_statements(
        statement_room.StatementJob(bill, output, meter, month, force),
        options=RenderOptions(language, kind, issuer, font),
        report=typer.echo,
    )


@app.command()
@explain_errors
def run(  # noqa: PLR0913 - one parameter an option
    *,
    meters: Annotated[
        int | None, typer.Option(min=0, help="Simulated meter points (503; 0 with --readings).")
    ] = None,
    readings: Annotated[
        list[Path] | None, typer.Option(exists=True, help="Your own readings file (CSV).")
    ] = None,
    contract: Annotated[
        Path | None, typer.Option(exists=True, help="Contracts of your meter points (CSV).")
    ] = None,
    tariff: Annotated[str, typer.Option(help="Tariff of yours without a contract.")] = (
        DEFAULT_TARIFF
    ),
    month: Annotated[str | None, typer.Option(help="Last month to bill, YYYY-MM.")] = None,
    months: Annotated[
        int | None,
        typer.Option(min=1, max=12, help="How many months to it (3; 1 with --readings)."),
    ] = None,
    home: Annotated[Path, typer.Option(help="Where the run's folder is made.")] = Path("run"),
    port: Annotated[
        int | None,
        typer.Option(
            min=1, max=ports.LAST_PORT, help="Dashboard's port; the next four are the services'."
        ),
    ] = None,
    serve: Annotated[bool, typer.Option(help="Stay open with the dashboard.")] = True,
    anew: Annotated[
        bool, typer.Option("--new", help="Begin anew, even if such a run is there to be served.")
    ] = False,
) -> None:
    """Bill meters through all services on this machine, and open the dashboard."""
    count = meters if meters is not None else (0 if readings else DEFAULT_METERS)
    several = months if months is not None else (1 if readings else DEFAULT_MONTHS)
    chosen = RunMeters(count, tuple(readings or ()), contract, tariff, month, several)
    order = run_room.RunOrder(chosen, port, serve, anew)
    if not run_room.run_grid(order, parent=home.resolve(), console=Console()):
        raise typer.Exit(1)


@app.command()
@explain_errors
def verify(  # noqa: PLR0913 - one parameter an option
    certificate: Annotated[Path, typer.Argument(help="A signed certificate (JSON).")],
    *,
    authority_key: Annotated[str, typer.Option(help="The key authority's key (130 digits).")],
    log_key: Annotated[
        list[str] | None,
        typer.Option(help="Another public key of its log (name+id+base64); repeat it."),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(help="Whose cosignatures are wanted (c2sp.org/tlog-policy)."),
    ] = None,
    proof: Annotated[
        Path | None,
        typer.Option(help="A proof in a cosigned checkpoint, of `gridsecure log prove`."),
    ] = None,
    level: Annotated[
        str, typer.Option(help="The security level that it has to have: L1, L2, L3 or a file.")
    ] = "",
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Check a certificate offline: who signed it, that it is in the log, and keeps its level."""
    trust = verify_room.LogTrust(log_key or [], policy, proof, level)
    verify_room.verify_file(certificate, authority=authority_key, trust=trust, output=output)


@app.command()
@explain_errors
def replay(
    certificate: Annotated[Path, typer.Argument(help="A signed certificate (JSON).")],
    *,
    objects: Annotated[str, typer.Option(help="Folder or URL of an object store.")],
    authority_key: Annotated[str, typer.Option(help="The key authority's key (130 digits).")],
    identity_key: Annotated[str, typer.Option(help="The identity service's key (130 digits).")],
    messages: Annotated[
        Path | None,
        typer.Option(help="The signed messages; else messages.json beside the certificate."),
    ] = None,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Execute a certificate's plans again from the ciphertexts, without a secret key."""
    keys = (authority_key, identity_key)
    if not replay_room.replay_file(
        certificate, messages=messages, objects=objects, keys=keys, output=output
    ):
        raise typer.Exit(1)


def main() -> None:
    """Run the command."""
    search_seldom()
    app()
