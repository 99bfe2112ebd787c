"""`gridsecure network`: three networks of tenants on this machine, asked the same question."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result

with on_use():
    from gridsecure.cli import networks

if TYPE_CHECKING:
    from gridsecure.cli.networks import NetworkAnswer

FEWEST_METERS = 64
"""Of each of two suppliers, more than 15 homes."""


class TopologyName(StrEnum):
    """Which network."""

    POINT_TO_POINT = "point-to-point"
    STAR = "star"
    MESH = "mesh"


CHINESE = {"point-to-point": "点对点", "star": "星状", "mesh": "融合·网状"}


@explain_errors
def ask(
    topology: Annotated[TopologyName, typer.Argument(help="Which network.")],
    *,
    meters: Annotated[
        int, typer.Option(min=FEWEST_METERS, help="Simulated meter points of all suppliers.")
    ] = FEWEST_METERS,
    home: Annotated[
        Path | None, typer.Option(help="Where the services' folders stay; else they are removed.")
    ] = None,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Ask a network of tenants, of real services, for the energy of all homes."""
    with TemporaryDirectory(prefix="gridsecure-network-") as made:
        Path(made).chmod(0o711)  # checker and vault pass through
        folder = Path(made) if home is None else home.resolve()
        answer = networks.ask_network(topology.value, meters=meters, folder=folder)
    print_result(_document(answer), output, show=lambda console: _show(answer, console))
    if not answer.is_exact:
        raise typer.Exit(1)


def _document(answer: NetworkAnswer) -> dict[str, object]:
    return {
        "topology": answer.topology,
        "told_kwh": {name: str(told) for name, told in answer.told.items()},
        "total_kwh": str(answer.total),
        "plain_kwh": str(answer.plain),
        "approvals": {name: list(people) for name, people in answer.approvals.items()},
        "refused": dict(answer.refused),
        "joined_kwh": {name: str(joined) for name, joined in answer.joined.items()},
        "without_agreement": dict(answer.without),
        "is_exact": answer.is_exact,
    }


def _show(answer: NetworkAnswer, console: Console) -> None:
    title = f"{answer.topology} {CHINESE[answer.topology]}: energy of all homes"
    table = Table("", "kWh", "approved by", title=title, title_justify="left")
    for name, told in answer.told.items():
        table.add_row(f"told by {name}", str(told), ", ".join(answer.approvals[name]))
    table.add_row("together", str(answer.total), "")
    for name, joined in answer.joined.items():
        table.add_row(f"joined by {name}", str(joined), "")
    table.add_row("in the clear", str(answer.plain), "")
    console.print(table)
    for name, reason in answer.without.items():
        console.print(f"{name} tells nothing without an agreement: {reason}", highlight=False)
    for who, reason in answer.refused.items():
        console.print(f"{who}: {reason or 'LET IN'}", highlight=False)
    console.print("Equal." if answer.is_exact else "NOT EQUAL, or somebody was let in.")
