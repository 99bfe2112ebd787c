"""What commands can print their results as."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console


def to_the_minute(moment: str) -> str:
    """A moment as people read it, always with its offset: 2026-07-01T00:00+08:00; "" stays."""
    return datetime.fromisoformat(moment).isoformat(timespec="minutes") if moment else ""


class OutputFormat(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


FormatOption = Annotated[OutputFormat, typer.Option("--format", help="What to print.")]


def print_result(
    document: dict[str, Any], output: OutputFormat, *, show: Callable[[Console], None]
) -> None:
    """Print a result as JSON, or as what `show` makes of it for people."""
    if output is OutputFormat.JSON:
        typer.echo(json.dumps(document, ensure_ascii=False))
    else:
        show(Console())
