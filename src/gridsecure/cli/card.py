"""`gridsecure card`: what a zone's card says, before or after it is taken in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.written_words import printable

with on_use():
    from gridsecure.cli import zone_cards, zone_setup

card_app = typer.Typer(help="Show what zones say on their cards.", no_args_is_help=True)


@card_app.command("show")
@explain_errors
def show(
    places: Annotated[
        list[Path], typer.Argument(help="Cards, or folders of zones for those that they keep.")
    ],
    *,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Show zone, name, roles, address and thumbprint of cards; a folder's own card is the first."""
    cards = [card for place in places for card in _cards_at(place)]
    told = {"cards": [zone_cards.describe_card(card) for card in cards]}
    print_result(told, output, show=lambda console: _print_lines(told["cards"], console))


def line_of(told: Mapping[str, Any]) -> str:
    """A card in one line, whatever its maker wrote on it.

    Args:
        told: As `describe_card` has it, or `Taken.describe`.
    """
    roles = f" ({', '.join(told['roles'])})" if told["roles"] else ""
    address = f" at {told['address']}" if told["address"] else ""
    name = "" if told["name"] == told["zone"] else f" {told['name']}"
    line = f"{told['zone']}{name}{roles}{address}: {told['thumbprint']}"
    if "is_new" in told:
        line += f", {_state_of(told)}"
    return printable(line)


def _state_of(told: Mapping[str, Any]) -> str:
    if told["is_new"]:
        return "new"
    was = [f"{name} {_in_words(value)}" for name, value in told["was"].items()]
    return f"was: {'; '.join(was)}" if was else "as it was"


def _in_words(value: object) -> str:
    """What a field had; keys and statements are too long to be read."""
    text = ", ".join(value) if isinstance(value, list) else str(value)
    longest = 80
    return (text[:longest] + "…" if len(text) > longest else text) or "none"


def _cards_at(place: Path) -> list[Any]:
    if not place.is_dir():
        return [zone_cards.read_card(place)]
    zone_setup.read_facts(place)
    own = zone_setup.own_card(place)
    return [*([] if own is None else [own]), *zone_setup.read_neighbours(place)]


def _print_lines(cards: list[dict[str, Any]], console: Console) -> None:
    for card in cards:
        console.print(Text(line_of(card)), soft_wrap=True)
