"""The vault that whoever runs a command knows: by its key, or by an own share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gridsecure.cli.on_use import on_use

with on_use():
    from gridsecure.offices import custodians
    from gridsecure.offices import files as office_files

if TYPE_CHECKING:
    from gridsecure.offices.custodians import KnownVault

KnownVaultOption = Annotated[
    str | None,
    typer.Option(
        "--vault-key",
        help="The vault that you know: its key as `vault init` printed it, a file with it, or a "
        "share of yours (.json).",
    ),
]
UNVERIFIED: Final = "The key authority says so. With --vault-key it is the vault's own word."


def known_vault(key: Path, text: str | None) -> KnownVault | None:
    """The vault that somebody knows, if there is one.

    Args:
        key: Opens the own share, where that is what is known.

    Raises:
        GridSecureError: It is no key, or no share that opens.
    """
    if text is None:
        return None
    if text.endswith(".json"):
        share = office_files.read_signed(Path(text))
        own = custodians.open_share(share, key=office_files.officer_key(key))
        return custodians.known_by(share, own)
    return custodians.KnownVault(custodians.read_vault_key(text))
