"""`gridsecure catalogue`: dataset cards of verified releases, searched, exported and read back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gridsecure.cli.explained import explain_errors, notes
from gridsecure.cli.market import MarketUrlOption
from gridsecure.cli.office_options import IdentityUrlOption
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.cli.period import PersonOption
from gridsecure.errors import InputError, NotFoundError

with on_use():
    from gridsecure import messages as signed_messages
    from gridsecure import released_values
    from gridsecure.analyst import certificates, releases
    from gridsecure.circulation import entries
    from gridsecure.cli import online, verify, workshop_products
    from gridsecure.policy import signed_policies
    from gridsecure.products import catalogue_rdf, datasets, usage_rights

if TYPE_CHECKING:
    from gridsecure.products.datasets import Catalogue, DatasetCard, Quality

catalogue_app = typer.Typer(
    help="Datasets: cards of releases, their search, DCAT-AP and ODRL.", no_args_is_help=True
)
CatalogueArgument = Annotated[Path, typer.Argument(help="A catalogue (.json, as `add` writes it).")]
OwnerOption = Annotated[str, typer.Option(help="Whose datasets they are.")]


@catalogue_app.callback()
def catalogue() -> None:
    """Say what datasets there are."""


@catalogue_app.command()
@explain_errors
def add(  # noqa: PLR0913 - one parameter an option
    file: CatalogueArgument,
    *,
    release: Annotated[list[Path], typer.Option(help="A release certificate; repeat it.")],
    authority_key: Annotated[str, typer.Option(help="The key authority's key (130 digits).")],
    owner: OwnerOption,
    price: Annotated[str, typer.Option(help="Of one use, in yuan.")] = "0",
    quality: Annotated[
        Path | None, typer.Option(help="The gateway's report of the month (JSON).")
    ] = None,
    title: Annotated[str, typer.Option(help="Of a new catalogue.")] = "Datasets",
    title_zh: Annotated[str, typer.Option(help="Of a new catalogue, in Chinese.")] = "数据目录",
) -> None:
    """Enter releases into a catalogue, each verified with its entry in the log."""
    pinned = releases.pin_authority(authority_key)
    terms = datasets.Terms(owner, price)
    counted = _read_quality(quality) if quality is not None else None
    made = []
    for path in release:
        content = verify.read_file(path)
        found = certificates.verify_certificate(content, authority=pinned)
        envelope = released_values.SignedCertificate.parse(content)
        signed = signed_messages.ReleaseCertificate.parse(envelope.body)
        whole = released_values.attach_values(signed, envelope)
        digest = found.release.certificate_digest
        made.append(datasets.make_card(whole, digest=digest, terms=terms, quality=counted))
    known = _read(file) if file.exists() else _empty(title, title_zh, owner)
    kept = {card.certificate: card for card in (*known.cards, *made)}
    cards = sorted(kept.values(), key=lambda card: card.dataset)
    workshop_products.write_json(file, known.model_copy(update={"cards": cards}).model_dump())


@catalogue_app.command()
@explain_errors
def fetch(
    file: CatalogueArgument,
    *,
    identity: IdentityUrlOption,
    market: MarketUrlOption,
    key: PersonOption,
    authority_key: Annotated[str, typer.Option(help="The key authority's key (130 digits).")],
) -> None:
    """Fetch the market's catalogue; each certificate is verified, with its entry in the log."""
    pinned = releases.pin_authority(authority_key)
    asked = {"kind": entries.CatalogueEntry.kind, "side": "everybody"}
    with online.person(identity, key=key, services={"market": market}) as call:
        found = call("market", "GET", "/documents", params=asked)
    cards = []
    for told in found:
        (signed,) = told["signed"]
        entry = entries.CatalogueEntry.parse(signed["body"])
        content = entry.certificate.model_dump_json().encode()
        certificates.verify_certificate(content, authority=pinned)
        certificate = signed_messages.ReleaseCertificate.parse(entry.certificate.body)
        cards.append(entries.entry_card(entry, certificate))
    made = _empty("Datasets of the market", "数据市场目录", "market")
    document = made.model_copy(update={"cards": sorted(cards, key=lambda card: card.dataset)})
    workshop_products.write_json(file, document.model_dump())


@catalogue_app.command()
@explain_errors
def find(  # noqa: PLR0913 - one parameter an option
    file: CatalogueArgument,
    *,
    customer_class: Annotated[str, typer.Option("--class", help="A tariff class.")] = "",
    zone: Annotated[str, typer.Option(help="A zone.")] = "",
    at: Annotated[str, typer.Option(help="A month as 2026-07, or a moment.")] = "",
    measure: Annotated[str, typer.Option(help="As energy_wh.")] = "",
    measured: Annotated[int, typer.Option(min=0, max=100, help="Least share measured [%].")] = 0,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Find datasets by class, zone, period and quality."""
    wanted = datasets.Search(customer_class, zone, at, measure, measured)
    found = datasets.search(_read(file).cards, wanted)
    document = {"datasets": [card.model_dump() for card in found]}
    print_result(document, output, show=lambda console: _show(found, console))
    if not found:
        raise typer.Exit(1)


@catalogue_app.command()
@explain_errors
def export(
    file: CatalogueArgument,
    *,
    to: Annotated[Path, typer.Option(help="DCAT-AP as JSON-LD (.jsonld) or Turtle (.ttl).")],
) -> None:
    """Write a catalogue as DCAT-AP."""
    _need_rdf()
    graph = catalogue_rdf.to_graph(_read(file))
    workshop_products.write_bytes(to, catalogue_rdf.write_graph(graph, ending=to.suffix))


@catalogue_app.command("import")
@explain_errors
def import_rdf(
    rdf: Annotated[Path, typer.Argument(help="DCAT-AP that was exported (.jsonld, .ttl).")],
    *,
    to: Annotated[Path, typer.Option(help="The catalogue (.json).")],
) -> None:
    """Read an exported catalogue back."""
    _need_rdf()
    graph = catalogue_rdf.read_graph(verify.read_file(rdf), ending=rdf.suffix)
    workshop_products.write_json(to, catalogue_rdf.from_graph(graph).model_dump())


@catalogue_app.command()
@explain_errors
def check(
    rdf: Annotated[Path, typer.Argument(help="DCAT-AP (.jsonld, .ttl).")],
    *,
    shapes: Annotated[
        Path | None, typer.Option(help="Shapes (Turtle) in place of ours, as the published ones.")
    ] = None,
) -> None:
    """Validate DCAT-AP by SHACL shapes."""
    _need_rdf()
    graph = catalogue_rdf.read_graph(verify.read_file(rdf), ending=rdf.suffix)
    found = catalogue_rdf.check_shapes(graph, shapes=shapes or catalogue_rdf.SHAPES)
    for one in found:
        notes.print(f"{one.focus}: {one.path}: {one.message}", markup=False, soft_wrap=True)
    if found:
        raise typer.Exit(1)
    Console().print("It conforms.")


@catalogue_app.command()
@explain_errors
def odrl(
    policy: Annotated[str, typer.Argument(help="A policy that ships, or a file.")],
    *,
    owner: OwnerOption,
    target: Annotated[str, typer.Option(help="The dataset it is about, as an IRI.")],
) -> None:
    """Print a release policy as ODRL, in the closed profile."""
    found = signed_policies.load_policy(policy)
    usage = usage_rights.usage_of(found, target=target, assigner=owner)
    typer.echo(json.dumps(usage_rights.write_odrl(usage), ensure_ascii=False, indent=2))


@catalogue_app.command("read-odrl")
@explain_errors
def read_odrl(file: Annotated[Path, typer.Argument(help="A policy in ODRL (JSON-LD).")]) -> None:
    """Read a policy in ODRL; any term that its profile has not is refused."""
    text = verify.read_file(file).decode("utf-8", errors="replace")
    typer.echo(json.dumps(usage_rights.read_odrl(text).model_dump(), ensure_ascii=False, indent=2))


def _need_rdf() -> None:
    if find_spec("rdflib") is None or find_spec("pyshacl") is None:
        raise InputError(
            "The libraries for RDF are not installed.",
            reason="catalogue.extra",
            remedy='Install them with pip install "gridsecure[catalogue]".',
        )


def _empty(title: str, title_zh: str, publisher: str) -> Catalogue:
    return datasets.Catalogue(title=title, title_zh=title_zh, publisher=publisher, cards=[])


def _read(file: Path) -> Catalogue:
    try:
        text = file.read_bytes()
    except OSError as error:
        raise NotFoundError(
            f"{file.name} cannot be read.",
            reason="catalogue.file",
            remedy="Name a catalogue that `gridsecure catalogue add` wrote.",
        ) from error
    return datasets.Catalogue.parse(text)


def _read_quality(path: Path) -> Quality:
    """Quality figures of a gateway's report of a month."""
    try:
        found: Any = json.loads(path.read_bytes())
        report = found.get("report", found)
        return datasets.Quality(
            **{name: report[name] for name in ("accepted", "estimated", "quarantined")}
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise NotFoundError(
            f"{path.name} is no report of a month.",
            reason="catalogue.quality",
            remedy="Give the JSON that the gateway answers at GET /months/{month}.",
        ) from error


def _show(cards: Sequence[DatasetCard], console: Console) -> None:
    table = Table()
    for head in (
        "dataset",
        "名称",
        "owner",
        "grade",
        "classes",
        "zones",
        "told",
        "measured %",
        "yuan",
    ):
        table.add_column(head, overflow="fold")
    for card in cards:
        told = f"{card.told} of {card.told + card.withheld}"
        measured = str(card.quality.measured_percent) if card.quality else "-"
        row = (
            *(card.dataset, card.title_zh, card.owner, str(card.grade)),
            *(", ".join(card.classes), ", ".join(card.zones), told, measured, card.price_yuan),
        )
        table.add_row(*map(Text, row))
    console.print(table)
