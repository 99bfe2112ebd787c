"""Options of the commands for bills, and the sealed files that they read and write."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from gridsecure.cli.on_use import on_use
from gridsecure.errors import InputError, StorageError
from gridsecure.statements.wording import Language

with on_use():
    from gridsecure import whole_files

_LARGEST: Final = 64 * 1024 * 1024
"""The largest sealed file that is read [bytes], as the portal's."""
LanguageOption = Annotated[Language, typer.Option(help="Chinese or English.")]
IssuerOption = Annotated[
    str | None,
    typer.Option(envvar="GRIDSECURE_STATEMENT_ISSUER", help="The utility that issues it."),
]
FontOption = Annotated[Path | None, typer.Option(help="TrueType font to embed in a PDF.")]
MonthOption = Annotated[str | None, typer.Option(help="Only this month, YYYY-MM.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite files.")]
CustomersOption = Annotated[
    Path, typer.Option(help="The office's list of customers' keys; stays on its own machine.")
]


def read_sealed(path: Path) -> bytes:
    """What was sealed, in a file.

    Raises:
        InputError: It cannot be read (`delivery.file`), or is larger than any (`delivery.size`).
    """
    try:
        with path.open("rb") as file:
            sealed = file.read(_LARGEST + 1)
    except OSError as error:
        raise InputError(
            f"{path.name} cannot be read.",
            reason="delivery.file",
            remedy=f"Check its path and permissions ({error.strerror}).",
        ) from error
    if len(sealed) > _LARGEST:
        raise InputError(
            f"{path.name} is larger than anything that is sealed here.",
            reason="delivery.size",
            remedy="Name a sealed bill, question or answer.",
        )
    return sealed


def write_sealed(path: Path, sealed: bytes) -> None:
    """Write what was sealed to a new file.

    Raises:
        StorageError: The disk refuses, or there is such a file (`delivery.output`).
    """
    try:
        whole_files.create_file(path, sealed)
    except OSError as error:
        raise StorageError(
            f"{path.name} could not be written.",
            reason="delivery.output",
            remedy=f"Name a new file in a folder that can be written ({error.strerror}).",
        ) from error
