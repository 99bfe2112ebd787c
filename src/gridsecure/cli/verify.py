"""`gridsecure verify`: a certificate checked offline, with public keys alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from gridsecure.analyst import certificates, releases
from gridsecure.cli.output import OutputFormat, print_result
from gridsecure.errors import NotFoundError
from gridsecure.transparency.log_policies import read_policy
from gridsecure.transparency.notes import read_key


@dataclass(frozen=True, slots=True)
class LogTrust:
    """What is believed of the log.

    Args:
        keys: More public keys of it than the authority's own.
        policy: A file that says whose cosignatures are wanted.
        proof: A file with a proof in a later checkpoint.
    """

    keys: list[str]
    policy: Path | None
    proof: Path | None


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
    )
    document = _document(found)
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


def _document(found: certificates.VerifiedCertificate) -> dict[str, Any]:
    release, entry = found.release, found.entry
    return {
        "release_id": release.release_id,
        "plan": release.plan,
        "start": release.start.isoformat(),
        "end": release.end.isoformat(),
        "released_at": release.released_at.isoformat(),
        "signer": release.signer,
        "cells": len(release.cells),
        "has_values": found.has_values,
        "log": entry.checkpoint.origin,
        "entry": entry.index,
        "entry_hash": release.evidence_head,
        "logged_at": entry.at,
        "checkpoint_size": entry.checkpoint.size,
        "checkpoint_root": entry.checkpoint.root.hex(),
        "cosigners": list(found.cosigners),
    }


def _show(document: dict[str, Any], console: Console) -> None:
    values = "with values" if document["has_values"] else "without values"
    for line in (
        f"Release {document['release_id']}, {document['plan']}, {document['cells']} cells {values}",
        f"  signed by  {document['signer']}",
        f"  logged as  entry {document['entry']} of {document['log']}",
        f"             {document['entry_hash']} at {document['logged_at']}",
        f"  proved in  {document['checkpoint_size']} entries under {document['checkpoint_root']}",
        f"  cosigned   by {', '.join(document['cosigners']) or 'no witness that was asked for'}",
    ):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
