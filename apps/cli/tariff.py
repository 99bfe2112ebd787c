"""`gridsecure tariff`: what can be done with tariff files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from apps.cli.explained import explained, notes
from apps.cli.tariff_files import import_urdb_file
from gridsecure.billing.urdb import UrdbOptions

tariff_app = typer.Typer(help="Tariff files: where they come from.", no_args_is_help=True)


@tariff_app.callback()
def tariff() -> None:
    """Work with tariff files."""


@tariff_app.command("import")
@explained
def import_tariff(  # noqa: PLR0913 - one parameter an option
    *,
    urdb: Annotated[Path, typer.Option(help="Rate of the OpenEI URDB (JSON).")],
    output: Annotated[Path, typer.Option(help="Tariff file to write (TOML).")],
    year: Annotated[
        int | None, typer.Option(help="First year, for a rate without a start date.")
    ] = None,
    tier_convention: Annotated[
        str | None,
        typer.Option(help="How tiers and time of use combine, whatever the file says."),
    ] = None,
    currency: Annotated[str, typer.Option(help="What the file writes as $.")] = "USD",
    timezone: Annotated[str | None, typer.Option(help="Local time of the rate.")] = None,
    tariff_id: Annotated[str | None, typer.Option(help="Name, instead of the label.")] = None,
    lookback_range: Annotated[
        int | None, typer.Option(help="Months a ratchet looks back, if the file names none.")
    ] = None,
    set_aside: Annotated[
        list[str] | None, typer.Option(help="Element that does not matter to you, by name.")
    ] = None,
) -> None:
    """Write a tariff file from a URDB rate; what cannot be billed is refused by name."""
    options = UrdbOptions(
        tariff_id=tariff_id,
        currency=currency,
        timezone=timezone,
        year=year,
        tier_convention=tier_convention,
        lookback_range=lookback_range,
        set_aside=frozenset(set_aside or ()),
    )
    result = import_urdb_file(urdb, options=options, output=output)
    for note in result.notes:
        notes.print(f"note: {escape(note)}", soft_wrap=True)
    notes.print(
        f"{escape(output.name)}: tariff {escape(result.tariff.tariff_id)}"
        f" {escape(result.tariff.version)}, {len(result.tariff.rates)} rates",
        soft_wrap=True,
    )
