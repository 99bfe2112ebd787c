"""`gridsecure workshop`: components of products, and products, checked before they run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.errors import AuthenticityError, NotFoundError

with on_use():
    from gridsecure import messages as signed_messages
    from gridsecure.analyst import releases
    from gridsecure.offices import files as office_files
    from gridsecure.products import components, references

if TYPE_CHECKING:
    from gridsecure.products.components import ComponentCard, ComponentLibrary

workshop_app = typer.Typer(
    help="Data products: the components there are, and what is composed of them.",
    no_args_is_help=True,
)
_NAMED = 12
"""Digits of a version that a table shows."""


@workshop_app.callback()
def workshop() -> None:
    """Compose data products."""


@workshop_app.command("components")
@explain_errors
def list_components(
    names: Annotated[
        list[str] | None, typer.Argument(help="Components to show in full, as variance.")
    ] = None,
    *,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Print the card of every plan, measure, step and statistic."""
    cards = components.make_library().cards
    wanted = set(names or ())
    unknown = sorted(wanted - {card.name for card in cards})
    if unknown:
        raise NotFoundError(
            f"There is no component {unknown[0]!r}.",
            reason="components.unknown",
            remedy="Name one that `gridsecure workshop components` prints.",
        )
    shown = [card for card in cards if not wanted or card.name in wanted]
    document = {"measured_by": references.MEASURED_BY, "cards": [_document(one) for one in shown]}
    show = _show_full if wanted else _show_table
    print_result(document, output, show=lambda console: show(shown, console))


@workshop_app.command("sign-components")
@explain_errors
def sign_components(
    file: Annotated[Path, typer.Argument(help="Where the library goes, as components.json.")],
    *,
    key: Annotated[Path, typer.Option(help="The maker's key file.")],
) -> None:
    """Sign, as its maker, the component library of the software that is installed here."""
    own = office_files.officer_key(key)
    library = components.make_library()
    signed = signed_messages.sign_message(library, key=own)
    office_files.write_signed(file, signed, is_public=True)
    Console().print(
        f"{len(library.cards)} cards signed as {own.public_key.point.hex()}", soft_wrap=True
    )


@workshop_app.command("check-components")
@explain_errors
def check_components(
    file: Annotated[Path, typer.Argument(help="A signed component library.")],
    *,
    maker: Annotated[str, typer.Option(help="The maker's public key (130 hexadecimal digits).")],
) -> None:
    """Check that what is installed here has the components that the maker signed."""
    signed = read_library(file, maker=maker)
    differing = components.compare_libraries(signed, components.make_library())
    if differing:
        raise AuthenticityError(
            f"{len(differing)} components are not the signed ones: {', '.join(differing[:5])}.",
            reason="components.changed",
            remedy="Install the release that the library was signed for.",
        )
    Console().print(f"All {len(signed.cards)} components are the signed ones.")


def read_library(file: Path, *, maker: str) -> ComponentLibrary:
    """A signed library in a file.

    Raises:
        NotFoundError: It cannot be read (`components.file`).
        GridSecureError: As `components.open_library`.
    """
    try:
        text = file.read_bytes()
    except OSError as error:
        raise NotFoundError(
            f"{file.name} cannot be read.",
            reason="components.file",
            remedy="Check its path and permissions.",
        ) from error
    envelope = signed_messages.Signed.parse(text)
    return components.open_library(envelope, maker=releases.pin_authority(maker).key)


def _document(card: ComponentCard) -> dict[str, Any]:
    return card.model_dump() | {"depth": card.depth, "version": card.version}


def _show_table(cards: Sequence[ComponentCard], console: Console) -> None:
    table = Table()
    for head in (
        "类别 sort",
        "name",
        "名称",
        "depth",
        "operations",
        "strict",
        "uniform-15",
        "version",
    ):
        table.add_column(head, overflow="fold")
    for card in cards:
        steps = max((sum(one.operations.values()) for one in card.references), default=0)
        row = (
            *(card.sort, card.name, card.title_zh, str(card.depth), str(steps)),
            *(_fewest(card.minimum[pack]) for pack in ("strict", "uniform-15")),
            card.version[:_NAMED],
        )
        table.add_row(*map(Text, row))
    console.print(table)


def _fewest(by_class: dict[str, int | None]) -> str:
    """The fewest customers of any class to that of the strictest; "-" where none is told."""
    known = {fewest for fewest in by_class.values() if fewest is not None}
    if not known:
        return "-"
    return str(min(known)) if len(known) == 1 else f"{min(known)}-{max(known)}"


def _show_full(cards: Sequence[ComponentCard], console: Console) -> None:
    def say(line: str) -> None:
        console.print(line, soft_wrap=True, markup=False, highlight=False)

    for card in cards:
        say(f"{card.sort} {card.name} · {card.title_zh}: {card.title}")
        for label, listed in (
            ("parameters", card.parameters),
            ("of", card.measures),
            ("every", card.steps),
        ):
            if listed:
                say(f"  {label:<11} {', '.join(listed)}")
        for one in card.references:
            if one.refusal:
                say(f"  {one.of}: refused ({one.refusal})")
                continue
            cost = f", some {one.platform_us} µs a meter point" if one.platform_us else ""
            say(
                f"  {one.of}: {len(one.columns)} columns, depth {one.depth},"
                f" {sum(one.operations.values())} operations{cost};"
                f" at most {one.largest:,}, {one.margin_bits} bits to spare"
            )
        for pack, by_class in card.minimum.items():
            told = ", ".join(
                f"{name} {n if n is not None else '-'}" for name, n in by_class.items()
            )
            say(f"  {pack}: at least {told}")
        say(f"  tells       {card.leaks}")
        say(f"  泄露        {card.leaks_zh}")
        say(f"  version     {card.version}")
