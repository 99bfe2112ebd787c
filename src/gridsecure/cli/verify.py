"""`gridsecure verify`: a certificate checked offline, with public keys alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from gridsecure.analyst import certificates, releases
from gridsecure.cli.output import OutputFormat, print_result
from gridsecure.errors import NotFoundError
from gridsecure.policy.levels import open_level
from gridsecure.transparency.log_policies import read_policy
from gridsecure.transparency.notes import read_key


@dataclass(frozen=True, slots=True)
class LogTrust:
    """What is believed of the log, and wanted of the certificate.

    Args:
        keys: More public keys of it than the authority's own.
        policy: A file that says whose cosignatures are wanted.
        proof: A file with a proof in a later checkpoint.
        level: The security level that it has to have; any, or none, where empty.
    """

    keys: list[str]
    policy: Path | None
    proof: Path | None
    level: str = ""


def verify_file(path: Path, *, authority: str, trust: LogTrust, output: OutputFormat) -> None:
    """Verify the certificate in a file and say what was found.

    Args:
        authority: The key authority's public key, 130 hexadecimal digits.

    Raises:
        NotFoundError: There is no such file (`certificate.file`).
        GridSecureError: As `certificates.verify_certificate`.
    """
    found = certificates.verify_certificate(
        read_file(path),
        authority=releases.pin_authority(authority),
        keys=[read_key(key) for key in trust.keys],
        policy=read_policy(read_file(trust.policy)) if trust.policy else None,
        proof=read_file(trust.proof).decode(errors="replace") if trust.proof else "",
        level=open_level(trust.level),
    )
    document = certificates.certificate_document(found)
    print_result(document, output, show=lambda console: _show(document, console))


def read_file(path: Path) -> bytes:
    """The bytes of a file that was named.

    Raises:
        NotFoundError: It cannot be read (`certificate.file`).
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFoundError(
            f"{path.name} cannot be read.",
            reason="certificate.file",
            remedy="Check its path and permissions.",
        ) from error


def _say_level(document: dict[str, Any]) -> str:
    if not document["level_digest"]:
        return "none: the certificate names no security level"
    name = document["level"] or "of a text that does not ship, not checked"
    return f"{name} ({document['level_digest']})"


def _show(document: dict[str, Any], console: Console) -> None:
    values = "with values" if document["has_values"] else "without values"
    for line in (
        f"Release {document['release_id']}, {document['plan']}, {document['cells']} cells {values}",
        f"  signed by  {document['signer']}",
        f"  logged as  entry {document['entry']} of {document['log']}",
        f"             {document['entry_hash']} at {document['logged_at']}",
        f"  proved in  {document['checkpoint_size']} entries under {document['checkpoint_root']}",
        f"  cosigned   by {', '.join(document['cosigners']) or 'no witness that was asked for'}",
        f"  level      {_say_level(document)}",
    ):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
