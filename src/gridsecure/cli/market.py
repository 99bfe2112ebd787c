"""The commands of `gridsecure market`: documents are written, signed, brought, listed and settled.

A person's key stays on the person's machine. What is signed is the document's whole text.
"""

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
from gridsecure.cli.office_options import IdentityUrlOption, without_slash
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result, to_the_minute
from gridsecure.cli.period import PersonOption

with on_use():
    from gridsecure import messages, written_words
    from gridsecure.circulation import kinds, recipes, trade
    from gridsecure.cli import market_files, market_server, online, workshop_products
    from gridsecure.offices import files as office_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gridsecure.identity_messages import Audience

market_app = typer.Typer(
    help="Sign and bring documents of the data market: rights, products, offers, agreements.",
    no_args_is_help=True,
)

MarketUrlOption = Annotated[
    str, typer.Option("--market", help="Address of the market.", callback=without_slash)
]
KindArgument = Annotated[str, typer.Argument(help="Kind of document, as `kinds` prints it.")]
FileArgument = Annotated[Path, typer.Argument(help="The document (.json).")]
OutputOption = Annotated[Path, typer.Option("--output", help="File that is written (.json).")]
DigestArgument = Annotated[str, typer.Argument(help="Digest of the document.")]


class ListedSide(StrEnum):
    """Whose documents are listed."""

    OURS = "ours"
    TO_US = "to-us"
    EVERYBODY = "everybody"


@market_app.command("kinds")
@explain_errors
def list_kinds(*, output: FormatOption = OutputFormat.TABLE) -> None:
    """List the kinds of document that the market has."""
    names = dict(kinds.KIND_NAMES)
    print_result({"kinds": names}, output, show=lambda console: _show_pairs(names, console))


@market_app.command("form")
@explain_errors
def form(kind: KindArgument) -> None:
    """Print what a document of a kind consists of, as a JSON schema."""
    typer.echo(market_files.form_text(kind))


@market_app.command("recipe")
@explain_errors
def recipe(
    name: Annotated[
        str, typer.Argument(help="A question that ships, a registered plan, or a product's file.")
    ],
    *,
    plan: Annotated[bool, typer.Option("--plan", help="It is a plan.")] = False,
    file: Annotated[
        bool, typer.Option("--file", help="It is a product of the workshop, or its file (TOML).")
    ] = False,
) -> None:
    """Print a question, plan or composition as a product's design names it, with its digest."""
    if file:
        made = recipes.file_recipe(workshop_products.product_text(name))
        typer.echo(made.model_dump_json(exclude={"kind"}))
        return
    digest = recipes.plan_digest(name) if plan else recipes.question_digest(name)
    kind = "plan" if plan else "question"
    typer.echo(json.dumps({"recipe": kind, "name": name, "digest": digest}))


@market_app.command("sign")
@explain_errors
def sign(file: FileArgument, *, key: PersonOption, output: OutputOption) -> None:
    """Sign a document with your own key; a time of signing that it leaves out is now."""
    own = office_files.officer_key(key)
    document = market_files.read_document(file, signed_at=online.utc_now().isoformat())
    signed = messages.sign_message(document, key=own)
    office_files.write_own(output, signed.model_dump_json(indent=1) + "\n")
    Console().print(f"Signed the {document.kind} {signed.digest}.", soft_wrap=True, highlight=False)


@market_app.command("send")
@explain_errors
def send(
    file: FileArgument,
    *,
    identity: IdentityUrlOption,
    market: MarketUrlOption,
    key: PersonOption,
) -> None:
    """Bring a signed document to the market; the same again changes nothing."""
    signed = market_files.read_signed(file)
    with online.person(identity, key=key, services={"market": market}) as call:
        told = call("market", "POST", "/documents", json=signed.model_dump())
    said = f"The {told['kind']} {told['digest']} is {told['state']}."
    Console().print(said, soft_wrap=True, highlight=False)


@market_app.command("list")
@explain_errors
def list_documents(
    kind: KindArgument,
    *,
    identity: IdentityUrlOption,
    market: MarketUrlOption,
    key: PersonOption,
    side: Annotated[ListedSide, typer.Option(help="Whose.")] = ListedSide.OURS,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """List documents of a kind: one's own, those to one, or published ones of everybody.

    A regulator's `everybody` has all of them.
    """
    with online.person(identity, key=key, services={"market": market}) as call:
        params = {"kind": kind, "side": side.value}
        found = call("market", "GET", "/documents", params=params)
    print_result({"documents": found}, output, show=lambda console: _show_list(found, console))


@market_app.command("show")
@explain_errors
def show(
    digest: DigestArgument,
    *,
    identity: IdentityUrlOption,
    market: MarketUrlOption,
    key: PersonOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Show a document: what it says, how it stands, and who signed it."""
    with online.person(identity, key=key, services={"market": market}) as call:
        told = call("market", "GET", f"/documents/{digest}")
    print_result(told, output, show=lambda console: _show_document(told, console))


@market_app.command("draft")
@explain_errors
def draft(
    *,
    offer: Annotated[str, typer.Option(help="Digest of the offer.")],
    request: Annotated[str, typer.Option(help="Digest of the request for it.")],
    identity: IdentityUrlOption,
    market: MarketUrlOption,
    key: PersonOption,
    output: OutputOption,
) -> None:
    """Draw up the agreement of an offer and a request, which both sides then sign.

    The release policy in force is in it, whole; it is written beside it, to be read. The market
    draws it up; that it is what offer and request lead to is compared here.
    """
    with online.person(identity, key=key, services={"market": market}) as call:
        body = {"offer": offer, "request": request}
        told = call("market", "POST", "/agreement-drafts", json=body)
        agreement = trade.Agreement.parse(told["text"])
        read = {
            one: call("market", "GET", f"/documents/{one}")
            for one in {offer, request, agreement.design}
        }
    market_files.check_draft(agreement, read)
    policy = output.with_suffix(".policy.toml")
    office_files.write_own(policy, agreement.policy_text)
    office_files.write_own(output, market_files.document_text(agreement))
    said = (
        f"{agreement.provider} and {agreement.consumer}: {agreement.product}, version "
        f"{agreement.version}, {agreement.uses} uses at {agreement.price_fen} fen, under the "
        f"policy {agreement.policy}, which is in {policy.name} to read. Both sign {output.name}."
    )
    Console().print(said, soft_wrap=True, highlight=False)


@market_app.command("name-release")
@explain_errors
def name_release(
    *,
    agreement: Annotated[str, typer.Option(help="Digest of the agreement.")],
    release: Annotated[str, typer.Option(help="The request's id, which will be the release's.")],
    identity: IdentityUrlOption,
    market: MarketUrlOption,
    authority: Annotated[
        str, typer.Option(help="Address of the key authority.", callback=without_slash)
    ],
    key: PersonOption,
) -> None:
    """Tell the key authority, as the consumer, under which agreement a release is asked for.

    It is shown both signatures, both organisations' records and the market's word that the
    agreement stands; policy may want that.
    """
    own = office_files.officer_key(key)
    services: dict[Audience, str] = {"market": market, "authority": authority}
    with online.person(identity, key=key, services=services) as call:
        named = market_files.name_release(
            call, agreement, release=release, key=own, now=online.utc_now()
        )
    said = f"The release {named['release']} is asked for under {named['agreement']}."
    Console().print(said, soft_wrap=True, highlight=False)


@market_app.command("settle")
@explain_errors
def settle(
    *,
    agreement: Annotated[str, typer.Option(help="Digest of the agreement.")],
    month: Annotated[str, typer.Option(help="A month that is over, of UTC, as 2026-11.")],
    identity: IdentityUrlOption,
    market: MarketUrlOption,
    key: PersonOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Have a month settled; the statement is the same whoever asks, and how often."""
    with online.person(identity, key=key, services={"market": market}) as call:
        body = {"agreement": agreement, "month": month}
        told = call("market", "POST", "/settlements", json=body)
    print_result(told, output, show=lambda console: _show_document(told, console))


@market_app.command("serve")
@explain_errors
def serve(
    *,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port.")] = 8040,
    host: Annotated[str, typer.Option(help="The address it listens at.")] = "127.0.0.1",
) -> None:
    """Run the market's service, set up by the GRIDSECURE_MARKET_ variables (docs/market.md)."""
    market_server.serve(host, port)


def _show_pairs(pairs: dict[str, str], console: Console) -> None:
    table = Table("kind", "中文")
    for name, chinese in pairs.items():
        table.add_row(name, chinese)
    console.print(table)


def _show_list(found: list[dict[str, Any]], console: Console) -> None:
    table = Table("digest", "name", "of", "to", "state", "at")
    for one in found:
        table.add_row(
            one["digest"],
            Text(one["name"]),
            Text(one["organisation"]),
            Text(one["counterpart"]),
            one["state"],
            to_the_minute(one["at"]),
        )
    console.print(table)


def _show_document(told: dict[str, Any], console: Console) -> None:
    table = Table("field", "value")
    for name, value in _lines(told):
        table.add_row(name, Text(value))
    console.print(table)
    policy = json.loads(told["signed"][0]["body"]).get("policy_text", "")
    if policy:
        console.print("The release policy in it:")
        for line in policy.splitlines():
            console.print(written_words.printable(line), markup=False, highlight=False)


def _lines(told: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("kind", "digest", "state", "at"):
        yield name, told[name]
    if told.get("uses") is not None:
        yield "uses so far", str(told["uses"])
    for name, value in json.loads(told["signed"][0]["body"]).items():
        if name != "policy_text":
            is_text = isinstance(value, str)
            yield name, value if is_text else json.dumps(value, ensure_ascii=False)
    for one in told["signed"]:
        yield "signed by", one["signer"]
