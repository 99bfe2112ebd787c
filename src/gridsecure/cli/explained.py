"""How commands speak to people: notes on the error stream, and refusals explained."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from gridsecure.errors import GridSecureError, InvalidReadingsError, RowFault
from gridsecure.written_words import printable

MOST_PROBLEMS = 10
MOST_FAULTS = 20
_MOST_RUNS = 20
notes = Console(stderr=True, highlight=False)


def explain_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn deliberate errors into one sentence, a reason code and exit status 1.

    Messages quote names out of files and of other parties, so a bracket in one is no markup, and
    what would steer a terminal is not printed.
    """

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except GridSecureError as error:
            notes.print(
                f"[bold red]{_shown(error.reason)}[/] {_shown(error.message)}", soft_wrap=True
            )
            for problem in getattr(error, "problems", ())[:MOST_PROBLEMS]:
                notes.print(f"  {_shown(str(problem))}", soft_wrap=True)
            for fault in _beyond(error):
                notes.print(f"  {_shown(_rows_of(fault))}", soft_wrap=True)
            if error.remedy:
                notes.print(f"[bold]What to do:[/] {_shown(error.remedy)}", soft_wrap=True)
            raise typer.Exit(1) from error

    return run


def _shown(text: str) -> str:
    return escape(printable(text))


def _beyond(error: GridSecureError) -> tuple[RowFault, ...]:
    """Kinds of fault, where the places that were shown are not all rows that have them."""
    if not isinstance(error, InvalidReadingsError):
        return ()
    rows = sum(fault.count for fault in error.faults)
    return error.faults[:MOST_FAULTS] if rows > min(len(error.problems), MOST_PROBLEMS) else ()


def _rows_of(fault: RowFault) -> str:
    """Every row of a kind, and what to do: `kwh-decimals: 3 lines, 2-3 and 7; …`."""
    runs = list(zip(fault.firsts, fault.lasts, strict=True))[:_MOST_RUNS]
    named = ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in runs)
    left = fault.count - sum(last - first + 1 for first, last in runs)
    more = f" and {left:,} more" if left else ""
    unit = f"{fault.place}{'s' if fault.count > 1 else ''}"
    return f"{fault.rule}: {fault.count:,} {unit} ({named}{more}): {fault.detail}. {fault.remedy}"
