"""`gridsecure analyst`: enrol under one's name once a year, then ask under nobody's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gridsecure.cli.explained import explain_errors, notes
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.cli.period import (
    ClosedDayOption,
    ClosedMonthOption,
    CycleDayOption,
    TimezoneOption,
    period_span,
)
from gridsecure.cli.run_order import TIMEZONE
from gridsecure.errors import InputError, InvalidMessageError, NotFoundError
from gridsecure.month_texts import CALENDAR

with on_use():
    from gridsecure import zone_keys
    from gridsecure.analyst import (
        asking,
        enrolment,
        grants,
        load_curves,
        merged_cells,
        queries,
        releases,
    )
    from gridsecure.cli import online
    from gridsecure.client import analysts
    from gridsecure.crypto import sm2

analyst_app = typer.Typer(
    help="Analysts: load curves for research, asked under grants that name nobody.",
    no_args_is_help=True,
)
WalletOption = Annotated[Path, typer.Option(help="The wallet's file.")]
IdentityOption = Annotated[str, typer.Option(help="Address of the identity service.")]


@analyst_app.callback()
def analyst() -> None:
    """Enrol and ask."""


@analyst_app.command()
@explain_errors
def enrol(  # noqa: PLR0913 - one parameter an option
    *,
    identity_url: IdentityOption,
    identity_key: Annotated[str, typer.Option(help="The identity service's key (130 digits).")],
    utility_key: Annotated[str, typer.Option(help="The utility's key (130 digits).")],
    regulator_key: Annotated[str, typer.Option(help="The regulator's key (130 digits).")],
    key: Annotated[Path, typer.Option(help="Your registered SM2 key (file).")],
    name: Annotated[str, typer.Option(help="Your name at the identity service.")],
    wallet: WalletOption,
    period: Annotated[str, typer.Option(help="The year, YYYY.")],
) -> None:
    """Get a credential for a year. This is the only time that your name is said."""
    service = enrolment.IdentityService(
        url=identity_url,
        key=parse_point(identity_key, option="--identity-key"),
        signers={
            "utility": parse_point(utility_key, option="--utility-key"),
            "regulator": parse_point(regulator_key, option="--regulator-key"),
        },
    )
    with online.open_connection() as http:
        asking.enrol_analyst(
            http,
            service=service,
            name=name,
            key=load_analyst_key(key),
            wallet=wallet,
            period=period,
            now=online.utc_now(),
        )
    notes.print(f"Enrolled for {escape(period)}. Keep {escape(wallet.name)}, and no copy of it.")


@analyst_app.command()
@explain_errors
def ask(  # noqa: PLR0913 - one parameter an option
    *,
    wallet: WalletOption,
    identity_url: IdentityOption,
    platform_url: Annotated[str, typer.Option(help="Address of the compute platform.")],
    authority_url: Annotated[str, typer.Option(help="Address of the key authority.")],
    authority_key: Annotated[str, typer.Option(help="The key authority's key (130 digits).")],
    month: ClosedMonthOption = "",
    day: ClosedDayOption = "",
    timezone: TimezoneOption = TIMEZONE,
    cycle_day: CycleDayOption = CALENDAR,
    wait: Annotated[int, typer.Option(min=0, help="Give up after so many seconds.")] = 600,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Ask for the load curve of a month or sealed day, and wait for it. It takes one grant."""
    span = period_span(month, day, timezone, cycle_day=cycle_day)
    with online.open_unlinked() as http:
        analyst_client = asking.Asking(
            http,
            grants.QueryAddresses(identity_url, platform_url, authority_url),
            releases.pin_authority(authority_key),
            online.utc_now,
            patience(wait),
        )
        answer = analyst_client.load_curve(wallet, **span)
    document = answer_to_json(answer)
    print_result(document, output, show=lambda console: show_answer(answer, console))
    notes.print(f"{answer.left} of {answer.limit} grants are left this month.")


@dataclass(slots=True)
class _Told:
    """Says where a query stands, whenever that changes."""

    shown: str = ""

    def __call__(self, progress: queries.QueryProgress) -> None:
        stands = (
            f"computed, release request {progress.request_state}"
            if progress.state == "done"
            else f"{progress.state}, {progress.done} of {progress.of or '?'} jobs"
        )
        if stands != self.shown:
            notes.print(stands, style="dim")
            self.shown = stands


def patience(seconds: float) -> Callable[[queries.QueryProgress], None]:
    """How long to wait for an answer, telling meanwhile where it stands.

    Args:
        seconds: After which to give up [s].
    """
    return analysts.patience(seconds, tell=_Told())


def answer_to_json(answer: asking.QueryAnswer) -> dict[str, Any]:
    """An answer as a document: the release's evidence and all its cells."""
    release = answer.release
    return {
        "release_id": release.release_id,
        "plan": release.plan,
        "start": release.start.isoformat(),
        "end": release.end.isoformat(),
        "purpose": release.purpose,
        "requested_by": release.requested_by,
        "minimum_members": release.minimum_members,
        "signer": release.signer,
        "grants_left": answer.left,
        "cells": [
            {
                "zone": cell.zone,
                "customer_class": cell.customer_class,
                "start": cell.start.isoformat(),
                "end": cell.end.isoformat(),
                "parts": [list(part) for part in cell.parts],
                "measure": cell.measure,
                "members": cell.members,
                "value": cell.value,
            }
            for cell in release.cells
        ],
    }


def show_answer(answer: asking.QueryAnswer, console: Console) -> None:
    """Print the released cells, interval by interval."""
    frame = load_curves.load_curve_table(answer.release)
    table = Table(title=f"Release {answer.release.release_id}")
    for title in ("day", "from", "zone", "class", "energy [kWh]"):
        table.add_column(title, justify="right" if title.startswith("energy") else "left")
    for row in frame.to_dict("records"):
        energy = row["state"] if row["energy_kwh"] is None else f"{row['energy_kwh']:.3f}"
        labels = map(escape, merged_cells.name_cell(row["parts"]))
        table.add_row(row["day"], row["clock"], *labels, energy)
    console.print(table)


def load_analyst_key(path: Path) -> sm2.Sm2PrivateKey:
    """An analyst's SM2 key in a file of mode 0600.

    Raises:
        NotFoundError: There is none (`keys.missing`).
        StorageError: Others may read it, or the disk refuses.
        InvalidMessageError: It holds no key.
    """
    if not path.is_file():
        raise NotFoundError(
            f"There is no key file {path.name!r}.",
            reason="keys.missing",
            remedy="Give the file with the key that the identity service has registered.",
        )
    return sm2.private_key_from_bytes(zone_keys.load_secret(path, bytes))


def parse_point(text: str, *, option: str) -> sm2.Sm2PublicKey:
    """A public key given to an option.

    Raises:
        InputError: It is none (`settings.key`).
    """
    try:
        return sm2.Sm2PublicKey(bytes.fromhex(text))
    except (ValueError, InvalidMessageError) as error:
        raise InputError(
            f"What {option} was given is not an SM2 public key.",
            reason="settings.key",
            remedy="Give its point as 130 hexadecimal digits that begin with 04.",
        ) from error
