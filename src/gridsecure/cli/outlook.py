"""`gridsecure outlook`: alarms and forecasts, from released totals and from nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gridsecure.cli.explained import explain_errors, notes
from gridsecure.cli.office_options import IdentityUrlOption, without_slash
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.cli.period import PersonOption
from gridsecure.errors import InputError, StorageError

with on_use():
    from gridsecure import whole_files
    from gridsecure.analyst import (
        desk,
        merged_cells,
        outlook_alarms,
        outlook_forecasts,
        outlook_series,
        releases,
    )
    from gridsecure.cli import online, verify

if TYPE_CHECKING:
    from gridsecure.analyst.outlook_series import OutlookSeries

outlook_app = typer.Typer(
    help="Outlook (态势): alarms and forecasts of released series of days and months.",
    no_args_is_help=True,
)
CertificatesArgument = Annotated[
    list[Path], typer.Argument(help="Release certificates of bills and load curves.")
]
AuthorityKeyOption = Annotated[str, typer.Option(help="The key authority's key (130 digits).")]
_PLANS: Final = {"bill", "load-curve"}
_MOST_DIGITS: Final = 15
_WHOLE: Final = {"when", "next", "told", "forecast"}
"""Columns that a narrow terminal does not break."""
_RULES: Final = {
    "above": "above 超上限",
    "below": "below 低下限",
    "change": "change 突变",
    "year": "year 同比",
}
_METHODS: Final = {
    "days-of-its-kind": "days of its kind 同类日",
    "season-and-level": "season and level 季节",
    "last-month": "last month 上月",
    None: "too little 不足",
}


@outlook_app.callback()
def outlook() -> None:
    """Watch and forecast what was released."""


@outlook_app.command("fetch")
@explain_errors
def fetch(
    folder: Annotated[Path, typer.Argument(help="Folder that certificates are written to.")],
    *,
    authority: Annotated[
        str, typer.Option(help="Address of the key authority.", callback=without_slash)
    ],
    authority_key: AuthorityKeyOption,
    identity: IdentityUrlOption,
    key: PersonOption,
) -> None:
    """Fetch the certificates of bills and load curves that you may read, and verify each."""
    pinned = releases.pin_authority(authority_key)
    written = 0
    with online.person(identity, key=key, services={"authority": authority}) as call:
        for one in call("authority", "GET", "/releases"):
            if one["plan"] not in _PLANS:
                continue
            told = call("authority", "GET", f"/releases/{one['release_id']}")
            content = json.dumps(told).encode()
            (found,) = desk.verify_releases([content], authorities=[pinned])
            named = found.release  # and not the list's words: they make a file's name
            name = f"{named.plan}-{named.start:%Y-%m-%d}-{named.certificate_digest[:12]}.json"
            _write(folder / name, content)
            written += 1
    notes.print(f"{written} certificates are in {folder.name}.", markup=False)


@outlook_app.command("alarms")
@explain_errors
def alarms(  # noqa: PLR0913 - one parameter an option
    certificates: CertificatesArgument,
    *,
    authority_key: AuthorityKeyOption,
    level: Annotated[str, typer.Option(help="Spreads that a day may be from its kind.")] = "3.5",
    year_change: Annotated[
        str, typer.Option(help="Change of a month on the year before [%].")
    ] = "20",
    above: Annotated[str, typer.Option(help="Largest energy of a group's day [kWh].")] = "",
    below: Annotated[str, typer.Option(help="Smallest energy of a group's day [kWh].")] = "",
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Name days and months that are unlike what was told before, or beyond limits."""
    rules = outlook_alarms.AlarmRules(
        level=_number(level),
        year_percent=_number(year_change),
        above=_number(above) if above else None,
        below=_number(below) if below else None,
    )
    found = outlook_alarms.watch(_series(certificates, authority_key), rules)
    rows = [
        _label(one.series)
        | {
            "at": one.at.isoformat(),
            "rule": one.rule,
            "value": _shown(one.series, Fraction(one.number)),
            "expected": _shown(one.series, one.expected),
            "percent": _percent(one.percent),
        }
        for one in found.alarms
    ]
    counts = {name: getattr(found, name) for name in ("compared", "alone", "withheld")}
    document = {"alarms": rows} | counts
    print_result(document, output, show=lambda console: _show_alarms(document, console))


@outlook_app.command("forecast")
@explain_errors
def forecast(
    certificates: CertificatesArgument,
    *,
    authority_key: AuthorityKeyOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Forecast the next day and month of each group, and say how far off that was before."""
    found = outlook_forecasts.forecast(_series(certificates, authority_key))
    rows = [
        _label(one.series)
        | {
            "at": one.at.isoformat(),
            "value": None if one.number is None else _shown(one.series, one.number),
            "method": one.method,
            "held_out": one.error.numbers,
            "error": _shown(one.series, error) if (error := one.error.mean_error) else None,
            "error_percent": _percent(one.error.percent),
            "last_number_error_percent": _percent(one.error.naive_percent),
        }
        for one in found
    ]
    document = {"forecasts": rows}
    print_result(document, output, show=lambda console: _show_forecasts(rows, console))


def _series(certificates: Iterable[Path], authority_key: str) -> list[OutlookSeries]:
    pinned = releases.pin_authority(authority_key)
    published = desk.verify_releases(map(verify.read_file, certificates), authorities=[pinned])
    return outlook_series.read_series(one.release for one in published)


def _number(text: str) -> Fraction:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number.adjusted()) > _MOST_DIGITS:
        raise InputError(
            "A level, percentage or limit is no number.",
            reason="outlook.number",
            remedy="Give a decimal number, as 3.5.",
        )
    return Fraction(number)


def _label(series: OutlookSeries) -> dict[str, Any]:
    zones, classes = merged_cells.name_cell(series.parts)
    unit = outlook_series.UNITS[series.measure][0]
    return {"zone": zones, "customer_class": classes, "grain": series.grain, "unit": unit}


def _shown(series: OutlookSeries, number: Fraction) -> str:
    """A number in its unit, to the Wh or the fen."""
    by = outlook_series.UNITS[series.measure][1]
    whole = Decimal(number.numerator) / number.denominator
    rounded = whole.quantize(Decimal(1), rounding=ROUND_HALF_UP)
    return format(rounded / by, "f")


def _percent(number: Fraction | None) -> str | None:
    if number is None:
        return None
    share = Decimal(number.numerator) / number.denominator
    return format(share.quantize(Decimal("0.1"), rounding=ROUND_HALF_UP), "f")


def _show_alarms(document: dict[str, Any], console: Console) -> None:
    table = _table("when", "zone", "class", "rule", "told", "compared with", "unit", "off [%]")
    for one in document["alarms"]:
        table.add_row(
            *map(Text, (one["at"], one["zone"], one["customer_class"], _RULES[one["rule"]])),
            *(one["value"], one["expected"], one["unit"], one["percent"] or ""),
        )
    console.print(table)
    console.print(
        f"{document['compared']} numbers were compared, {document['alone']} have too little before "
        f"them, {document['withheld']} were not told.",
        highlight=False,
    )


def _show_forecasts(rows: list[dict[str, Any]], console: Console) -> None:
    heads = ("next", "zone", "class", "forecast", "unit", "how", "tried on", "off [%]")
    table = _table(*heads, "last number off [%]")
    for one in rows:
        table.add_row(
            *map(Text, (one["at"], one["zone"], one["customer_class"])),
            *(one["value"] or "", one["unit"], _METHODS[one["method"]], str(one["held_out"])),
            *(one["error_percent"] or "", one["last_number_error_percent"] or ""),
        )
    console.print(table)
    console.print("No forecast is of a customer: all of it is computed of released totals.")


def _table(*heads: str) -> Table:
    table = Table()
    for head in heads:
        table.add_column(head, overflow="fold", no_wrap=head in _WHOLE)
    return table


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        whole_files.replace_file(path, [content])
    except OSError as error:
        raise StorageError(
            f"{path.name} cannot be written.",
            reason="outlook.output",
            remedy="Check its folder, its permissions and the space that is left.",
        ) from error
