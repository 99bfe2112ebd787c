"""How commands speak to people: notes on the error stream, and refusals explained."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from gridsecure.errors import GridSecureError

MOST_PROBLEMS = 10
notes = Console(stderr=True, highlight=False)


def explain_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn deliberate errors into one sentence, a reason code and exit status 1.

    Messages quote names out of files, so they are printed as they are: a bracket in one is no
    markup.
    """

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except GridSecureError as error:
            notes.print(f"[bold red]{error.reason}[/] {escape(error.message)}", soft_wrap=True)
            for problem in getattr(error, "problems", ())[:MOST_PROBLEMS]:
                notes.print(f"  {escape(str(problem))}", soft_wrap=True)
            if error.remedy:
                notes.print(f"[bold]What to do:[/] {escape(error.remedy)}", soft_wrap=True)
            raise typer.Exit(1) from error

    return run
