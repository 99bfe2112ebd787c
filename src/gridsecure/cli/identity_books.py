"""`gridsecure identity books`: what the utility's books say of meter points and gateways.

Zone, class, customer and owner are certified from these books, so cells are made of them and not of
what a gateway says. Both files are CSV with the columns of `docs/formats.md`.
"""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Annotated, Final

import typer

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.office_options import KeyOption, UrlOption
from gridsecure.cli.on_use import on_use
from gridsecure.errors import InputError

with on_use():
    from gridsecure.cli import office_client

ACCOUNT_COLUMNS: Final = (
    "meter_point_id", "gateway", "name", "address", "customer_id", "zone", "customer_class",
)  # fmt: skip
GATEWAY_COLUMNS: Final = ("gateway", "owner")
MAX_ROWS: Final = 4096
"""Rows of one request. If one fails, the earlier ones are entered, and repeating is harmless."""

Rows = list[dict[str, str]]


@explain_errors
def books(
    *,
    url: UrlOption,
    key: KeyOption,
    accounts: Annotated[
        Path | None, typer.Option(help="CSV file of meter points, customers, zones and classes.")
    ] = None,
    gateways: Annotated[
        Path | None, typer.Option(help="CSV file of gateways and who runs each.")
    ] = None,
) -> None:
    """Enter meter points and gateways in the identity authority's books, as an operator."""
    if accounts is None and gateways is None:
        raise InputError(
            "There is nothing to enter.",
            reason="office.options",
            remedy="Give --accounts, --gateways or both.",
        )
    wanted = [
        ("/books", _rows(accounts, ACCOUNT_COLUMNS)),
        ("/books/gateways", _rows(gateways, GATEWAY_COLUMNS)),
    ]
    with office_client.sign_in_person(url, key=key, services={"identity": url}) as call:
        for path, rows in wanted:
            for start in range(0, len(rows), MAX_ROWS):
                call("identity", "PUT", path, json=rows[start : start + MAX_ROWS])
    named = zip(("meter points", "gateways"), wanted, strict=True)
    counts = [f"{len(rows)} {what}" for what, (_, rows) in named if rows]
    typer.echo(f"Entered {' and '.join(counts)}. Certified with the next credential of each.")


def _rows(path: Path | None, columns: tuple[str, ...]) -> Rows:
    """The rows of a file, whole before anything is sent; none without a file.

    Raises:
        InputError: It cannot be read, lacks a column, is empty (`books.file`), or names something
            twice (`books.twice`).
    """
    if path is None:
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file, strict=True)
            missing = [name for name in columns if name not in (lines.fieldnames or ())]
            if missing:
                raise _unreadable(path, f"it lacks the column {missing[0]}")
            rows = [_row(line, columns, path, lines.line_num) for line in lines]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, "it is no readable CSV file in UTF-8") from error
    if not rows:
        raise _unreadable(path, "it has no row")
    (name, count), *_ = Counter(row[columns[0]] for row in rows).most_common(1)
    if count > 1:
        raise InputError(
            f"{path.name} has {count} rows of {name}.",
            reason="books.twice",
            remedy="Leave one; nothing was entered.",
        )
    return rows


def _row(
    line: dict[str | None, str | None], columns: tuple[str, ...], path: Path, number: int
) -> dict[str, str]:
    if None in line or None in line.values():
        raise _unreadable(path, f"line {number} does not have as many fields as the header")
    return {name: (line[name] or "").strip() for name in columns}


def _unreadable(path: Path, why: str) -> InputError:
    return InputError(
        f"{path.name} cannot be entered: {why}.",
        reason="books.file",
        remedy="Correct the file; nothing was entered.",
    )


def add_books_command(app: typer.Typer) -> None:
    """Add the command.

    Args:
        app: `gridsecure identity`.
    """
    app.command("books")(books)
