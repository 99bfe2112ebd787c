"""The commands of `gridsecure shadow`: what another tariff would change, before anybody is billed.

A shadow run is computed on ciphertext and checked by the key authority like any run. Nothing of it
is released. What comes of it is a preview: how many bills would change in each cell, and by how
much, as far as the rules of release allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.office_options import AuthorityUrlOption, IdentityUrlOption, PlatformUrlOption
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result, to_the_minute
from gridsecure.cli.period import (
    CycleDayOption,
    MonthOption,
    PersonOption,
    TimezoneOption,
    month_span,
)
from gridsecure.cli.run_order import TIMEZONE
from gridsecure.errors import InputError
from gridsecure.month_texts import CALENDAR
from gridsecure.periods import BillingPeriod

with on_use():
    from gridsecure.analyst import merged_cells, releases
    from gridsecure.cli import online, tariff_names
    from gridsecure.offices import files as office_files
    from gridsecure.offices import shadow_orders
    from gridsecure.tariffs import tariff as tariffs

if TYPE_CHECKING:
    from gridsecure.messages import PreviewCell, ShadowPreview
    from gridsecure.plans.cells import Place

shadow_app = typer.Typer(
    help="Try a tariff or corrections: what would change, with nothing released.",
    no_args_is_help=True,
)


@shadow_app.command("order")
@explain_errors
def order(  # noqa: PLR0913 - one parameter an option
    *,
    identity: IdentityUrlOption,
    platform: PlatformUrlOption,
    key: PersonOption,
    office_key: Annotated[Path, typer.Option(help="The billing office's key; it signs the order.")],
    month: MonthOption,
    tariff: Annotated[
        str | None, typer.Option(help="Tariff file or catalogue id to bill the month by.")
    ] = None,
    instead_of: Annotated[
        str | None, typer.Option(help="Only bills by this tariff, a file or catalogue id.")
    ] = None,
    corrections: Annotated[
        bool, typer.Option("--corrections", help="Try the corrections that wait instead.")
    ] = False,
    closing: Annotated[
        int | None, typer.Option("--list", min=1, help="Number of the closing list to bill.")
    ] = None,
    upload: Annotated[
        list[str] | None, typer.Option(help="Bill only this upload; may be given again.")
    ] = None,
    timezone: TimezoneOption = TIMEZONE,
    cycle_day: CycleDayOption = CALENDAR,
) -> None:
    """Order a shadow run, which the next release round answers with a preview."""
    _check_order(corrections, tariff, others=bool(upload or instead_of or closing))
    span = month_span(month, timezone, cycle_day)
    texts = [_tariff_text(name, span) for name in (tariff, instead_of)]
    with online.person(identity, key=key, services={"platform": platform}) as call:
        run_id = shadow_orders.order_shadow_run(
            call,
            key=office_files.officer_key(office_key),
            now=online.utc_now(),
            tariff=texts[0],
            instead_of=texts[1],
            uploads=upload or (),
            number=closing,
            **span,
        )
    Console().print(f"Shadow run {run_id} is started; a release round makes its preview.")


@shadow_app.command("show")
@explain_errors
def show(
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    authority_key: Annotated[str, typer.Option(help="The key authority's key (130 digits).")],
    key: PersonOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Show what shadow runs would change, oldest first."""
    pinned = releases.pin_authority(authority_key)
    with online.person(identity, key=key, services={"authority": authority}) as call:
        found = shadow_orders.list_shadow_previews(call, authority=pinned.key)
    document = {"previews": [preview.model_dump() for preview in found]}
    print_result(document, output, show=lambda console: _show(found, console))


def _nothing_to_try() -> InputError:
    return InputError(
        "A shadow run tries either a tariff or the corrections that wait.",
        reason="shadow.what",
        remedy="Give --tariff, or --corrections alone.",
    )


def _check_order(corrections: bool, tariff: str | None, *, others: bool) -> None:
    """Refuse an order of both, of neither, or of corrections with what tariffs are tried on."""
    if bool(tariff) == corrections or (corrections and others):
        raise _nothing_to_try()


def _tariff_text(name: str | None, span: Mapping[str, str]) -> str:
    """A tariff's text, of the edition of that month; none where it is not named."""
    if name is None:
        return ""
    named = _period(span["start"], span["end"])
    path = tariff_names.find_tariff(name, month=date(*named.month, 1))
    tariffs.load_tariff(path)  # what is no sound tariff is explained before anything is sent
    return path.read_text(encoding="utf-8")


def _period(start: str, end: str) -> BillingPeriod:
    return BillingPeriod(*map(datetime.fromisoformat, (start, end)))


def _show(previews: list[ShadowPreview], console: Console) -> None:
    for preview in previews:
        tried = f"tariff {preview.tariff[:12]}" if preview.tariff else "corrections"
        named = _period(preview.start, preview.end).name
        title = f"{named}, {tried}, {to_the_minute(preview.previewed_at)}"
        table = Table("zone", "class", title=title)
        for column in ("bills", "would change", "energy [kWh]", "amount"):
            table.add_column(column, justify="right")
        for cell in preview.cells:
            told = _told(cell.energy_wh, places=3), _told(cell.amount_fen, places=2)
            place = merged_cells.name_cell(_parts(cell, preview))
            table.add_row(*place, f"{cell.bills:,}", _count(cell), *told)
        console.print(table)


def _parts(cell: PreviewCell, preview: ShadowPreview) -> list[Place]:
    """The zones and classes of a cell; its own, in previews of before cells were merged."""
    places = [preview.places[number] for number in cell.parts]
    return [(one.zone, one.customer_class) for one in places] or [(cell.zone, cell.customer_class)]


def _told(value: str | None, *, places: int) -> str:
    """A whole number of the smallest units, with so many decimals."""
    return "withheld" if value is None else f"{Decimal(value).scaleb(-places):,}"


def _count(cell: PreviewCell) -> str:
    """How many bills change, in words where only a bound may be told."""
    least, most = cell.changed_least, cell.changed_most
    if least == most:
        return f"{least:,}"
    if (least, most) == (0, cell.bills):
        return "withheld"
    return f"at most {most:,}" if least == 0 else f"at least {least:,}"
