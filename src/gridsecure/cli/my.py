"""`gridsecure my`: what a customer does with the own key: open bills, and check who issued them."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.office_options import without_slash
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result, to_the_minute
from gridsecure.cli.statement_options import (
    ForceOption,
    LanguageOption,
    read_sealed,
    write_sealed,
)
from gridsecure.cli.written_texts import TEXT_HELP, read_text
from gridsecure.errors import InputError, StorageError
from gridsecure.statements.options import Format, RenderOptions
from gridsecure.statements.wording import Language

with on_use():
    from gridsecure import delivered_bills, whole_files
    from gridsecure.cli import analyst, online, portal_server, statement, tables, verify
    from gridsecure.cli import receipt as receipt_room
    from gridsecure.crypto import sm2
    from gridsecure.offices import files as office_files
    from gridsecure.portal import comparisons, fetching, folder, own_bills, receipts, web
    from gridsecure.statements import render

if TYPE_CHECKING:
    from gridsecure.crypto.sm2 import Sm2PrivateKey
    from gridsecure.portal.own_bills import CustomerKeys, OwnBill
    from gridsecure.portal.receipt_checks import ReceiptCheck

my_app = typer.Typer(help="A customer's own bills, opened with the own key.", no_args_is_help=True)

KeyOption = Annotated[Path, typer.Option(help="Your key, of `gridsecure my key`.")]
OfficeOption = Annotated[str, typer.Option(help="The billing office's key (130 digits).")]
PortOption = Annotated[
    int, typer.Option(min=0, max=65535, help="At 127.0.0.1; 0 takes a free one.")
]


@my_app.callback()
def my() -> None:
    """All of it works on the customer's own machine. `fetch` asks the office's web server."""


@my_app.command("key")
@explain_errors
def make_key(
    *,
    account: Annotated[str, typer.Option(help="The account, as it stands on your statement.")],
    key: Annotated[Path, typer.Option(help="Your key; made there if there is none yet.")],
    request: Annotated[Path, typer.Option(help="Where the request goes, for the office.")],
    also: Annotated[
        list[str] | None,
        typer.Option(help="Another account that has this key; where no list of them was kept."),
    ] = None,
) -> None:
    """Make a key of your own, and the request that the billing office enters it by.

    A key that is there already is used: for another account of yours, or where a request was lost.
    """
    kept = _read_accounts(key) if key.exists() else frozenset[str]()
    own = office_files.officer_key(key) if key.exists() else _new_key(key)
    asked = delivered_bills.request_key(account, key=own, now=online.utc_now())
    office_files.write_signed(request, asked)
    if kept is not None or also:
        _keep_accounts(key, {account, *(kept or ()), *(also or ())})
    else:  # accounts that have the key already would be left out
        typer.echo(f"{_accounts_of(key).name} is missing: bills of any account open with this key.")
        typer.echo("To have it hold your own alone, name all that have the key: --also ACCOUNT.")
    typer.echo(f"Your key's thumbprint: {own.public_key.thumbprint}")
    typer.echo(f"Keep {key} safe: without it no bill opens. Give {request} to the billing office.")


@my_app.command("fetch")
@explain_errors
def fetch(
    url: Annotated[
        str,
        typer.Argument(help="Where the office posts bills (https://…).", callback=without_slash),
    ],
    *,
    key: KeyOption,
    office_key: OfficeOption,
    into: Annotated[Path, typer.Option(help="Folder of your sealed bills.")],
) -> None:
    """Fetch your sealed bills, for `gridsecure my bill` and `gridsecure my portal`.

    Each is on a shelf among many others', which is fetched whole: the server cannot tell yours.
    """
    own = office_files.officer_key(key)
    office = analyst.parse_point(office_key, option="--office-key")
    with online.open_unlinked() as http:
        found = fetching.fetch_bills(http, url, key=own, office=office, folder=into)
    for path in found:
        typer.echo(str(path))
    typer.echo(f"New bills: {len(found):,}.")


def _new_key(path: Path) -> Sm2PrivateKey:
    own = sm2.generate_private_key()
    try:
        whole_files.create_file(path, own.to_bytes())
    except OSError as error:
        raise StorageError(
            f"{path.name} could not be written; no key was made.",
            reason="my.key",
            remedy=f"Name a file in a folder that can be written ({error.strerror}).",
        ) from error
    return own


def _accounts_of(key: Path) -> Path:
    """Where the accounts are kept that a key was made for, one a line of JSON."""
    return key.with_name(f"{key.name}.accounts")


def _keep_accounts(key: Path, accounts: set[str]) -> None:
    lines = "".join(f"{json.dumps(one, ensure_ascii=False)}\n" for one in sorted(accounts))
    try:
        whole_files.replace_file(_accounts_of(key), [lines.encode()])
    except OSError as error:
        raise StorageError(
            f"{_accounts_of(key).name} could not be written.",
            reason="my.key",
            remedy=f"Have the key in a folder that can be written ({error.strerror}).",
        ) from error


def _read_accounts(key: Path) -> frozenset[str] | None:
    """The accounts that a key was made for; None where none were kept."""
    try:
        text = _accounts_of(key).read_text(encoding="utf-8")
        return frozenset(str(json.loads(line)) for line in text.splitlines())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{_accounts_of(key).name} cannot be read.",
            reason="my.key",
            remedy="Remove it, and name all accounts that have the key once: `gridsecure my key"
            " --account … --also …`.",
        ) from error


@my_app.command("bill")
@explain_errors
def bill(  # noqa: PLR0913 - one parameter an option
    delivery: Annotated[Path, typer.Argument(help="The sealed bill that the office sent.")],
    *,
    key: KeyOption,
    office_key: OfficeOption,
    earlier: Annotated[
        Path | None, typer.Option(help="Another sealed bill, to compare with: of last year, say.")
    ] = None,
    statement_file: Annotated[
        Path | None, typer.Option("--statement", help="Write it as .pdf or .html as well.")
    ] = None,
    receipt: Annotated[
        Path | None, typer.Option(help="Write the receipt, for `gridsecure receipt verify`.")
    ] = None,
    language: LanguageOption = Language.CHINESE,
    force: ForceOption = False,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Open a bill, check that the office issued it, and show every line."""
    keys = _keys(key, office_key)
    opened = keys.open_bill(read_sealed(delivery))
    files = _files(opened, statement_file, receipt, language)
    if not force:
        statement.refuse_existing(list(files))
    document: dict[str, Any] = {
        "account": opened.facts.account,
        "issuer": opened.facts.issuer,
        "period": opened.period,
    }
    if earlier is not None:
        before = keys.open_bill(read_sealed(earlier))
        document["compared"] = comparisons.compare_bills(before.period, opened.period)
    for path, content in files.items():
        statement.write_whole(path, content)
    print_result(document, output, show=lambda console: _show(document, console))


@my_app.command("portal")
@explain_errors
def show_portal(
    bills: Annotated[Path, typer.Argument(help="Folder with your sealed bills and answers.")],
    *,
    key: KeyOption,
    office_key: OfficeOption,
    gateway_key: Annotated[
        str, typer.Option(help="The gateway's key (130 digits), to check receipts by.")
    ] = "",
    port: PortOption = 0,
) -> None:
    """Show your bills in the browser of this machine, until Ctrl-C. Nothing leaves it."""
    check = receipt_check_of(gateway_key) if gateway_key else None
    own_folder = folder.BillFolder(bills, _keys(key, office_key), lambda: _read_accounts(key))
    with portal_server.listen(port) as listening:
        door = web.Door(listening.getsockname()[1], web.new_token())
        typer.echo(f"Your bills: {door.address}")
        typer.echo("The address opens them until Ctrl-C; give it to nobody.")
        app = web.portal_app(own_folder, door=door, clock=online.utc_now, check=check)
        portal_server.serve(app, listening)


def receipt_check_of(gateway_key: str) -> ReceiptCheck:
    """What checks receipts in the portal, by a gateway's key.

    Args:
        gateway_key: 130 hexadecimal digits.

    Raises:
        InputError: It is no key (`settings.key`).
    """
    analyst.parse_point(gateway_key, option="--gateway-key")
    trust = verify.LogTrust([], None, None)
    return lambda material: receipt_room.check_material(
        material, gateway_key=gateway_key, trust=trust
    )


@my_app.command("code")
@explain_errors
def check_code(
    code: Annotated[str, typer.Argument(help="All that a statement's QR code holds.")],
    *,
    office_key: OfficeOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Check offline that the office issued a statement, by its QR code."""
    office = analyst.parse_point(office_key, option="--office-key")
    found = delivered_bills.read_code(code, office=office).model_dump()
    print_result(found, output, show=lambda console: _show_facts(found, console))


class ReasonOption(StrEnum):
    """What a question is about, as the office's list says it."""

    READINGS = "readings"
    ESTIMATE = "estimate"
    PRICE = "price"
    TIER = "tier"
    CORRECTION = "correction"
    OTHER = "other"


@my_app.command("ask")
@explain_errors
def ask(  # noqa: PLR0913 - one parameter an option
    delivery: Annotated[Path, typer.Argument(help="The sealed bill that it is about.")],
    *,
    key: KeyOption,
    office_key: OfficeOption,
    text: Annotated[str, typer.Option(help=f"Your question, up to 500 characters. {TEXT_HELP}")],
    out: Annotated[Path, typer.Option(help="Where the sealed question goes.")],
    line: Annotated[str, typer.Option(help="The charge; by default, the whole bill.")] = "",
    reason: Annotated[ReasonOption, typer.Option(help="What it is about.")] = ReasonOption.OTHER,
) -> None:
    """Ask the billing office about a bill: signed with your key, and sealed to the office."""
    keys = _keys(key, office_key)
    bill = keys.open_bill(read_sealed(delivery))
    words = read_text(text)
    sealed, digest = keys.ask(
        bill, line=line, reason=reason.value, text=words, now=online.utc_now()
    )
    write_sealed(out, sealed)
    typer.echo(f"Question {digest[:16]} is sealed. Give {out} to the billing office.")


@my_app.command("answer")
@explain_errors
def answer(
    file: Annotated[Path, typer.Argument(help="The sealed answer that the office sent.")],
    *,
    key: KeyOption,
    office_key: OfficeOption,
) -> None:
    """Open an answer, and check that the office gave it."""
    keys = _keys(key, office_key)
    found = keys.open_answer(read_sealed(file))
    about = delivered_bills.read_code(found.code, office=keys.office)
    asked = found.question
    typer.echo(f"To question {found.asked.digest[:16]}, about {about.account}, {about.start[:7]},")
    typer.echo(
        f"asked {to_the_minute(asked.asked_at)}, answered {to_the_minute(found.answered_at)}:"
    )
    for line in asked.text.splitlines():
        typer.echo(f"> {line}")
    typer.echo(found.text)


def _keys(key: Path, office_key: str) -> CustomerKeys:
    office = analyst.parse_point(office_key, option="--office-key")
    return own_bills.CustomerKeys(office_files.officer_key(key), office, _read_accounts(key))


def _files(
    opened: OwnBill, shown: Path | None, receipt: Path | None, language: Language
) -> dict[Path, bytes]:
    """What is written beside what is shown."""
    order = render.StatementOrder(opened.facts.account, opened.period, opened.code)
    files = {}
    if shown is not None:
        kind = Format.PDF if shown.suffix.lower() == ".pdf" else Format.HTML
        options = RenderOptions(language, kind, opened.facts.issuer or None)
        files[shown] = render.render_statement(order, options=options).content
    if receipt is not None:
        if not receipts.has_receipt(order):
            raise InputError(
                "The bill came without a receipt.",
                reason="delivery.receipt",
                remedy="Bills of months that were processed before there were receipts have none.",
            )
        files[receipt] = receipts.delivered_receipt(order)
    return files


def _show(document: dict[str, Any], console: Console) -> None:
    version = document["period"].get("version") or 1
    line = f"Account {document['account']}, version {version} of this bill"
    console.print(line, soft_wrap=True, markup=False, highlight=False)
    shown = {"meters": {document["account"]: {"periods": [document["period"]]}}}
    tables.show_bills(shown, console)
    if "compared" in document:
        _show_compared(document["compared"], console)
    console.print("The billing office signed this bill, as it stands here.")


def _show_compared(compared: dict[str, Any], console: Console) -> None:
    title = f"beside {compared['start'][:10]} – {compared['end'][:10]}"
    table = Table(title=title, title_justify="left", show_footer=True)
    table.add_column("charge", footer="total")
    for name, foot in (("then", "before"), ("now", "total"), ("difference", "difference")):
        table.add_column(name, justify="right", footer=compared[foot])
    for line in compared["lines"]:
        table.add_row(Text(line["charge"]), line["before"], line["now"], line["difference"])
    console.print(table)
    if compared["days_before"] != compared["days"]:
        console.print(f"{compared['days']} days now, {compared['days_before']} then.")


def _show_facts(found: dict[str, Any], console: Console) -> None:
    for line in (
        f"The office issued this bill of {found['account']}:",
        f"  issuer       {found['issuer'] or 'not named'}",
        f"  period       {found['start']} to {found['end']}",
        f"  version      {found['version']}",
        f"  total        {found['currency']} {found['total']}",
        f"  bill         {found['digest']}",
    ):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
