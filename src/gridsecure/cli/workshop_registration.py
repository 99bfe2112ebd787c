"""`gridsecure workshop register` and `verify-bundle`: what is handed in of a product."""

from __future__ import annotations

import json
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.on_use import on_use
from gridsecure.cli.workshop_products import (
    DEFAULT_METERS,
    DEFAULT_PERIOD,
    LEAST_METERS,
    MOST_METERS,
    MetersOption,
    PeriodOption,
    ProductArgument,
)
from gridsecure.errors import InputError

with on_use():
    from gridsecure import messages as signed_messages
    from gridsecure import released_values, toml_documents
    from gridsecure.analyst import certificates, releases
    from gridsecure.cli import online, registration_pdf, verify, workshop_products
    from gridsecure.offices import files as office_files
    from gridsecure.products import checks, components, designs, previews, registration

if TYPE_CHECKING:
    from gridsecure.products.designs import ProductDesign
    from gridsecure.products.registration import (
        ComplianceStatement,
        CostLine,
        Ownership,
        RegistrationBundle,
    )


class ProductType(StrEnum):
    """What a product is, in the words of the Shenzhen rules."""

    INDEX = "data-index"
    REPORT = "data-report"
    DATASET = "dataset"
    ENCRYPTED = "encrypted-data"


FilesOption = Annotated[list[Path] | None, typer.Option(exists=True)]


@explain_errors
def register(  # noqa: PLR0913 - one parameter an option
    product: ProductArgument,
    *,
    statements: Annotated[
        Path, typer.Option(help="Rights and compliance statements (TOML).", exists=True)
    ],
    holder: Annotated[str, typer.Option(help="Who registers.")],
    key: Annotated[Path, typer.Option(help="The holder's key file.")],
    to: Annotated[Path, typer.Option(help="The bundle (.json); a PDF is written beside it.")],
    kind: Annotated[ProductType, typer.Option("--type", help="Of the product.")],
    certificate: FilesOption = None,
    usage: FilesOption = None,
    party: Annotated[list[str] | None, typer.Option(help="Whose use counts; repeat it.")] = None,
    rate: Annotated[list[str] | None, typer.Option(help="Yuan a unit, as jobs=0.12.")] = None,
    on: Annotated[str | None, typer.Option(help="Day YYYY-MM-DD; else today.")] = None,
    years: Annotated[int, typer.Option(help="How long all of it is kept.")] = 30,
    period: PeriodOption = DEFAULT_PERIOD,
    meters: MetersOption = DEFAULT_METERS,
    font: Annotated[Path | None, typer.Option(help="A TrueType font to embed.")] = None,
) -> None:
    """Put together what is handed in of a product, signed by its holder: JSON and a PDF."""
    text = workshop_products.product_text(product)
    design, issue = designs.read_design(text), designs.Issue(period)
    city = workshop_products.city_of(design, meters)
    frames = previews.preview_design(design, city=city, issue=issue)
    rights, said = _read_statements(statements)
    bundle = registration.make_bundle(
        text,
        holder=registration.Holder(holder, kind.value, _day(on), years),
        check=checks.check_design(design, city=city, issue=issue),
        sample=previews.sample_of(design, frames, city=city, issue=issue),
        cards=components.make_library().cards,
        ownership=rights,
        statements=said,
        costs=_read_costs(usage or [], party or [], rate or []),
        certificates=[_read_text(path) for path in certificate or ()],
    )
    signed = signed_messages.sign_message(bundle, key=office_files.officer_key(key))
    workshop_products.write_json(to, signed.model_dump())
    pdf = registration_pdf.render_bundle(bundle, design, signer=signed.signer, font=font)
    workshop_products.write_bytes(to.with_suffix(".pdf"), pdf)


def _read_text(path: Path) -> str:
    return verify.read_file(path).decode("utf-8", errors="replace")


@explain_errors
def verify_bundle(
    file: Annotated[Path, typer.Argument(help="A bundle (.json).")],
    *,
    holder_key: Annotated[str, typer.Option(help="The holder's public key (130 digits).")],
    authority_key: Annotated[
        str, typer.Option(help="The key authority's key, where it has certificates.")
    ] = "",
) -> None:
    """Verify a bundle offline: holder, digests, retention, certificates; its proofs are made again.

    What is the holder's own word (自述) is printed as such.
    """
    pinned = releases.pin_authority(holder_key).key
    envelope = signed_messages.Signed.parse(verify.read_file(file))
    bundle = signed_messages.open_message(
        envelope,
        expect=registration.RegistrationBundle,
        trusted={pinned.thumbprint: pinned},
    )
    design = registration.check_bundle(bundle)
    if bundle.certificates and not authority_key:
        raise InputError(
            "The bundle has certificates of issues.",
            reason="registration.authority",
            remedy="Give --authority-key, the key that they have to be signed with.",
        )
    _verify_issues(bundle, design, authority_key)
    city = workshop_products.city_of(design, _meters_of(bundle))
    cards = components.make_library().cards
    registration.check_proofs(bundle, design, city=city, cards=cards)
    console = Console()
    for line in (
        f"{design.title_zh} · {design.title}, version {design.version}, of {bundle.holder}",
        f"  kept until    {bundle.retained_until}",
        f"  certificates  {len(bundle.certificates)} in the authority's log",
        f"  made again    check and sample, of {bundle.check.period}",
        f"  自述          the holder's own word: {', '.join(registration.OWN_WORD)}",
        f"  processing    {bundle.processing_yuan} yuan by the holder's own rates (自述)",
        *(f"  {name:<13} {digest}" for name, digest in bundle.digests.items()),
        f"  {bundle.notice}",
    ):
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _verify_issues(bundle: RegistrationBundle, design: ProductDesign, authority_key: str) -> None:
    """Verify the certificates of a bundle, each of which is of another issue of its product."""
    seen = set[str]()
    for text in bundle.certificates:
        certificates.verify_certificate(
            text.encode(), authority=releases.pin_authority(authority_key)
        )
        said = released_values.SignedCertificate.parse(text).body
        found = signed_messages.ReleaseCertificate.parse(said)
        registration.check_issue(found, design)
        if found.release_id in seen:
            raise InputError(
                "The bundle has one certificate twice.",
                reason="registration.certificate",
                remedy="Name each issue's certificate once.",
            )
        seen.add(found.release_id)


def _meters_of(bundle: RegistrationBundle) -> int:
    """How large the synthetic city is; a stranger's bundle does not make it a large one."""
    meters = bundle.check.city.get("meters")
    if not isinstance(meters, int) or not LEAST_METERS <= meters <= MOST_METERS:
        raise InputError(
            "The bundle's check is of no synthetic city.",
            reason="registration.city",
            remedy="Put the bundle together with `gridsecure workshop register`.",
        )
    return meters


def _day(text: str | None) -> date:
    return online.utc_now().date() if text is None else _read_day(text)


def _read_day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            "A day is written as 2026-11-30.",
            reason="registration.day",
            remedy="Give --on as YYYY-MM-DD.",
        ) from error


def _read_statements(path: Path) -> tuple[list[Ownership], list[ComplianceStatement]]:
    """Rights and statements of a TOML file: `[[ownership]]` and `[[statements]]`."""
    text = _read_text(path)
    document = toml_documents.read_document(text, name="file of statements", refuse=_no_statements)
    rights = [
        registration.Ownership.parse(json.dumps(one)) for one in document.get("ownership", [])
    ]
    said = [
        registration.ComplianceStatement.parse(json.dumps(one))
        for one in document.get("statements", [])
    ]
    return rights, said


def _no_statements(sentence: str) -> InputError:
    return InputError(
        f"{sentence}.",
        reason="registration.statements",
        remedy="Write [[ownership]] with right, holder and basis, and [[statements]] with clause,"
        " statement and evidence.",
    )


def _read_costs(usages: list[Path], parties: list[str], rates: list[str]) -> list[CostLine]:
    by_measure = dict(rate.partition("=")[::2] for rate in rates)
    texts = [_read_text(path) for path in usages]
    return registration.read_costs(texts, parties=parties, rates=by_measure)
