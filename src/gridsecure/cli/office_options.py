"""Options that the offices' commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def without_slash(text: str) -> str:
    """An address as paths are appended to it."""
    return text.rstrip("/")


UrlOption = Annotated[
    str, typer.Option(help="Address of the identity service.", callback=without_slash)
]
IdentityUrlOption = Annotated[
    str,
    typer.Option("--identity", help="Address of the identity service.", callback=without_slash),
]
AuthorityUrlOption = Annotated[
    str, typer.Option("--authority", help="Address of the key authority.", callback=without_slash)
]
PlatformUrlOption = Annotated[
    str, typer.Option("--platform", help="Address of the platform.", callback=without_slash)
]
DenyListOption = Annotated[
    str,
    typer.Option(
        "--platform-url", help="Platform to bring the deny list to.", callback=without_slash
    ),
]
KeyOption = Annotated[Path, typer.Option(help="The officer's SM2 key (32 bytes, mode 0600).")]
OpenerKeyOption = Annotated[
    Path, typer.Option(help="This office's half of the opening key (32 bytes, mode 0600).")
]
WitnessOption = Annotated[
    Path, typer.Option(help="What this office verified of the evidence logs and keeps.")
]
SubjectOption = Annotated[str, typer.Option(help="The pseudonym, 64 hexadecimal digits.")]
IdentityOption = Annotated[str, typer.Option(help="Whom, as in the record of enrolments.")]
ReferenceOption = Annotated[str, typer.Option(help="The order's number in both offices' files.")]
