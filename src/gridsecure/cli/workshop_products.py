"""`gridsecure workshop` for products: list, show, check before they run, preview in the open."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gridsecure.cli.explained import explain_errors, notes
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.errors import NotFoundError, StorageError

with on_use():
    from gridsecure import whole_files
    from gridsecure.cli import query_files
    from gridsecure.products import checks, designs, previews
    from gridsecure.simulator import open_cities

if TYPE_CHECKING:
    from gridsecure.products.checks import PartCheck, ProductCheck
    from gridsecure.products.cities import OpenCity
    from gridsecure.products.designs import ProductDesign
    from gridsecure.products.previews import Frames

ProductArgument = Annotated[str, typer.Argument(help="A product that ships, or a file (TOML).")]
PeriodOption = Annotated[
    str, typer.Option("--for", help="The issue's period, as 2026-07; a day as 2026-07-31.")
]
LEAST_METERS, MOST_METERS = 16, 16384
MetersOption = Annotated[
    int, typer.Option(min=LEAST_METERS, max=MOST_METERS, help="Of the synthetic city.")
]
DEFAULT_PERIOD = "2026-07"
DEFAULT_METERS = 320


@explain_errors
def list_products(*, output: FormatOption = OutputFormat.TABLE) -> None:
    """List the products that ship."""
    rows = [designs.read_design(designs.standard_text(one)) for one in designs.list_standard()]
    document = {
        "products": [
            one.model_dump(include={"name", "version", "title", "title_zh", "price_yuan"})
            for one in rows
        ]
    }
    print_result(document, output, show=lambda console: _show_list(document, console))


@explain_errors
def show_product(product: ProductArgument) -> None:
    """Print the file of a product that ships, to begin one's own with."""
    typer.echo(designs.standard_text(product), nl=False)


@explain_errors
def schema() -> None:
    """Print the JSON schema of products."""
    typer.echo(json.dumps(designs.design_schema(), ensure_ascii=False, indent=2))


@explain_errors
def check(
    product: ProductArgument,
    *,
    period: PeriodOption = DEFAULT_PERIOD,
    meters: MetersOption = DEFAULT_METERS,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Prove a product before anything runs: who is told of, bounds, noise, cost, or why not."""
    design = read_product(product)
    city, issue = city_of(design, meters), designs.Issue(period)
    found = checks.check_design(design, city=city, issue=issue)
    print_result(found.model_dump(), output, show=lambda console: _show_check(found, console))
    if found.refusals:
        raise typer.Exit(1)


@explain_errors
def preview(
    product: ProductArgument,
    *,
    period: PeriodOption = DEFAULT_PERIOD,
    meters: MetersOption = DEFAULT_METERS,
    to: Annotated[Path | None, typer.Option(help="Write the sample to this file (JSON).")] = None,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Make a product of synthetic readings, in the open, and show what its buyer would see."""
    design = read_product(product)
    city, issue = city_of(design, meters), designs.Issue(period)
    frames = previews.preview_design(design, city=city, issue=issue)
    sample = previews.sample_of(design, frames, city=city, issue=issue)
    print_result(
        sample.model_dump(), output, show=lambda console: _show_frames(design, frames, console)
    )
    notes.print("Synthetic: no reading of a customer is in it.")
    if to is not None:
        write_json(to, sample.model_dump())


def city_of(design: ProductDesign, meters: int) -> OpenCity:
    """A city of as many utilities as a product has suppliers, up to two."""
    return open_cities.city_for(design, meters=meters)


def read_product(name: str) -> ProductDesign:
    """A product that ships, or one of a file.

    Raises:
        NotFoundError: There is neither (`product.unknown`).
        InputError: It is none (`product.<what>`).
    """
    return designs.read_design(product_text(name))


def product_text(name: str) -> str:
    """The text of a product that ships, or of a file.

    Raises:
        NotFoundError: There is neither (`product.unknown`).
    """
    path = Path(name)
    if name in designs.list_standard() or not path.suffix:
        return designs.standard_text(name)
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise NotFoundError(
            f"{path.name} cannot be read.",
            reason="product.unknown",
            remedy="Check its path and permissions.",
        ) from error


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document, as a whole or not at all.

    Raises:
        StorageError: It cannot be written (`product.output`).
    """
    text = json.dumps(document, ensure_ascii=False, indent=2)
    write_bytes(path, f"{text}\n".encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, as a whole or not at all.

    Raises:
        StorageError: It cannot be written (`product.output`).
    """
    try:
        whole_files.replace_file(path, [content])
    except OSError as error:
        raise StorageError(
            f"{path.name} cannot be written.",
            reason="product.output",
            remedy="Check its folder, its permissions and the space that is left.",
        ) from error
    notes.print(f"Wrote {escape(path.name)}.")


def _show_list(document: Mapping[str, Any], console: Console) -> None:
    table = Table()
    for head in ("name", "名称", "about", "version", "yuan an issue"):
        table.add_column(head)
    for row in document["products"]:
        shown = ("name", "title_zh", "title", "version", "price_yuan")
        table.add_row(*(Text(str(row[name])) for name in shown))
    console.print(table)


def _show_check(found: ProductCheck, console: Console) -> None:
    for part in found.parts:
        for line in _lines(part):
            console.print(line, soft_wrap=True, markup=False, highlight=False)


def _lines(part: PartCheck) -> list[str]:
    head = [f"{part.name}: {', '.join(part.totals) or 'counts'}, {part.resolution}"]
    if part.refusals and not part.groups:
        head = [f"{part.name}: refused"]
    told = [group for group in part.groups if group.is_told]
    for group in part.groups:
        name = " ".join(group.values) or "all"
        fewest = "nothing permitted" if group.minimum is None else f"at least {group.minimum}"
        state = "" if group.is_told else ", withheld"
        head.append(f"  {name:<24} {group.customers} customers, {fewest}{state}")
    if told:
        head.append(
            f"  reads {part.columns} columns; {sum(part.operations.values())} operations, depth"
            f" {part.depth}; at most {part.largest:,}, {part.margin_bits} bits to spare"
        )
        head.append(f"  approved by {', '.join(part.approvals)}")
    if part.noise_wh:
        head.append(f"  within {part.noise_wh / 1000:,.3f} kWh in 95 of 100 cases")
    for refusal in part.refusals:
        head.append(f"  {refusal.field}: {refusal.message} ({refusal.reason}) {refusal.remedy}")
    return head


def _show_frames(design: ProductDesign, frames: Frames, console: Console) -> None:
    titles = {part.name: f"{part.title} · {part.title_zh}" for part in design.parts}
    titles |= {step.name: f"{step.title} · {step.title_zh}" for step in design.steps}
    for name, frame in frames.items():
        console.print(Text(titles[name]), style="bold")
        query_files.show_answer(frame.head(previews.SAMPLE_ROWS), console)
        console.print(f"{len(frame):,} rows in all")
