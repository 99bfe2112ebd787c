"""Options of the commands that write statements."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gridsecure.statements.wording import Language

LanguageOption = Annotated[Language, typer.Option(help="Chinese or English.")]
IssuerOption = Annotated[
    str | None,
    typer.Option(envvar="GRIDSECURE_STATEMENT_ISSUER", help="The utility that issues it."),
]
FontOption = Annotated[Path | None, typer.Option(help="TrueType font to embed in a PDF.")]
MonthOption = Annotated[str | None, typer.Option(help="Only this month, YYYY-MM.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite files.")]
