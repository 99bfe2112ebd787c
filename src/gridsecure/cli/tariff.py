"""`gridsecure tariff`: what can be done with tariff files."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from gridsecure.cli.explained import explain_errors, notes
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.cli.statement_options import LanguageOption
from gridsecure.errors import InputError
from gridsecure.statements.wording import Language

with on_use():
    from gridsecure import month_texts, periods
    from gridsecure.cli import tariff_check, tariff_files, tariff_names, tariff_show, tariff_tables
    from gridsecure.tariffs import calendar as tariff_calendar
    from gridsecure.tariffs import diff as tariff_diff
    from gridsecure.tariffs import tariff as tariffs
    from gridsecure.tariffs.urdb import conversion as urdb

tariff_app = typer.Typer(
    help="Tariff files: what they say, whether they bill, where they come from.",
    no_args_is_help=True,
)
NAME = "Tariff file, or a catalogue id."


@tariff_app.callback()
def tariff() -> None:
    """Work with tariff files."""


@tariff_app.command("list")
@explain_errors
def list_tariffs(*, language: LanguageOption = Language.ENGLISH) -> None:
    """List the catalogue's tariffs, and how many of their figures are not confirmed."""
    paths = tariffs.catalogue_paths()
    tariff_tables.show_list(paths, language=language, console=tariff_tables.wide(Console()))


@tariff_app.command("show")
@explain_errors
def show(
    name: Annotated[str, typer.Argument(help=NAME)],
    *,
    month: Annotated[str | None, typer.Option(help="Month to show, YYYY-MM.")] = None,
    language: LanguageOption = Language.ENGLISH,
) -> None:
    """Show a tariff: hours, tiers and rates of a month, with source and confidence of each."""
    wanted = None if month is None else date(*month_texts.read_month(month), 1)
    tariff = tariffs.load_tariff(tariff_names.find_tariff(name, month=wanted))
    if wanted is not None:
        period = periods.billing_month(wanted.year, wanted.month, timezone=tariff.timezone)
    else:
        months = tariff_calendar.whole_months(tariff, most=1)
        if not months:
            raise InputError(
                f"The validity of {tariff.tariff_id!r} holds no whole month.",
                reason="tariff.validity",
                remedy="Correct valid_from and valid_to.",
            )
        period = months[0]
    console = tariff_tables.wide(Console())
    tariff_show.show_tariff(tariff, period=period, language=language, console=console)


@tariff_app.command("check")
@explain_errors
def check(
    names: Annotated[list[str], typer.Argument(help="Tariff files or catalogue ids.")],
) -> None:
    """Check that tariffs can be billed on ciphertext; exit 1 with row and reason if not."""
    good = True
    for name in names:
        path = tariff_names.find_tariff(name)
        checked = tariff_check.check_tariff(path)
        tariff_tables.show_check(path, checked, tariff_tables.wide(Console()))
        good = good and not checked.problems
    if not good:
        raise typer.Exit(1)


@tariff_app.command("diff")
@explain_errors
def diff(
    before: Annotated[str, typer.Argument(help=NAME)],
    after: Annotated[str, typer.Argument(help=NAME)],
    *,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Compare two tariffs row by row: what was added, removed or changed."""
    old, new = (tariffs.load_tariff(tariff_names.find_tariff(name)) for name in (before, after))
    changes = tariff_diff.diff_tariffs(old, new)
    document = {"changes": [change.to_json() for change in changes]}
    print_result(
        document,
        output,
        show=lambda console: tariff_tables.show_diff(changes, tariff_tables.wide(console)),
    )


@tariff_app.command("import")
@explain_errors
def import_tariff(  # noqa: PLR0913 - one parameter an option
    *,
    rate: Annotated[Path, typer.Option("--urdb", help="Rate of the OpenEI URDB (JSON).")],
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
    options = urdb.UrdbOptions(
        tariff_id=tariff_id,
        currency=currency,
        timezone=timezone,
        year=year,
        tier_convention=tier_convention,
        lookback_range=lookback_range,
        set_aside=frozenset(set_aside or ()),
    )
    result = tariff_files.import_urdb_file(rate, options=options, output=output)
    for note in result.notes:
        notes.print(f"note: {escape(note)}", soft_wrap=True)
    notes.print(
        f"{escape(output.name)}: tariff {escape(result.tariff.tariff_id)}"
        f" {escape(result.tariff.version)}, {len(result.tariff.rates)} rates",
        soft_wrap=True,
    )
