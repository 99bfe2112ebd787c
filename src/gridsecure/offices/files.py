"""The files an office keeps for itself: its keys, the last heads of the log, and signed orders."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from gridsecure.credentials.opening import Opener, OpenerKey
from gridsecure.credentials.suites import Suite
from gridsecure.crypto.sm2 import Sm2PrivateKey, private_key_from_bytes
from gridsecure.errors import InputError, InvalidMessageError, StorageError
from gridsecure.identity_messages import LogEntry
from gridsecure.messages import Message, Signed
from gridsecure.store.evidence import EvidenceEntry
from gridsecure.store.log_entries import read_entry, shown_entry

KEY_BYTES: Final = 32
_OTHERS: Final = 0o077

Log = Literal["registrations", "enrolments"]
LOGS: Final[tuple[Log, ...]] = ("registrations", "enrolments")
"""The identity service's two evidence logs."""


class Witness(Message):
    """The last head of each log that this office verified."""

    registrations: LogEntry | None = None
    enrolments: LogEntry | None = None


def officer_key(path: Path) -> Sm2PrivateKey:
    """An officer's SM2 key.

    Raises:
        StorageError: As for `_secret`, or it holds no key (`keys.damaged`).
    """
    try:
        return private_key_from_bytes(_secret(path))
    except InvalidMessageError as error:
        raise _damaged(path) from error


def opener_key(path: Path, *, opener: Opener, suite: Suite) -> OpenerKey:
    """An office's half of the opening key.

    Raises:
        StorageError: As for `officer_key`.
    """
    k = int.from_bytes(_secret(path), "big")
    if not 0 < k < suite.group.order:
        raise _damaged(path)
    return OpenerKey(opener, k)


def read_witness(path: Path) -> dict[Log, EvidenceEntry]:
    """The heads this office kept; none before its first look at the log.

    Args:
        path: Where it keeps them.

    Raises:
        StorageError: The file cannot be read (`office.file`).
        InputError: It is no witness (`office.witness`).
    """
    if not path.exists():
        return {}
    try:
        kept = Witness.model_validate_json(_read(path))
        heads: dict[Log, LogEntry | None] = {
            "registrations": kept.registrations,
            "enrolments": kept.enrolments,
        }
        return {log: read_entry(one) for log, one in heads.items() if one is not None}
    except (ValidationError, InvalidMessageError) as error:
        raise InputError(
            f"{path.name} is no witness of the evidence log.",
            reason="office.witness",
            remedy="Restore it from your own backup. A new witness remembers nothing.",
        ) from error


def write_witness(path: Path, heads: dict[Log, EvidenceEntry]) -> None:
    """Keep heads, in place of the earlier ones.

    Args:
        heads: By log, verified.

    Raises:
        StorageError: The disk refuses (`office.file`).
    """
    kept = {log: shown_entry(entry) for log, entry in heads.items()}
    text = Witness.model_validate(kept).model_dump_json(indent=1) + "\n"
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise _refused(path, error) from error


def read_signed(path: Path) -> Signed:
    """A signed order in a file.

    Raises:
        StorageError: It cannot be read (`office.file`).
        InvalidMessageError: It is no signed message.
    """
    return Signed.parse(_read(path))


def write_signed(path: Path, envelope: Signed) -> None:
    """Write a signed order to a new file.

    Args:
        path: The file; nothing is overwritten.

    Raises:
        StorageError: The disk refuses, or there is such a file (`office.file`).
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(envelope.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise _refused(path, error) from error


def _secret(path: Path) -> bytes:
    """A secret of 32 bytes that only its owner can read."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise _refused(path, error) from error
    if mode & _OTHERS:
        raise StorageError(
            f"Other users of this machine may read {path.name}.",
            reason="keys.permissions",
            remedy="Treat the key as exposed, replace it, and keep the file at mode 0600.",
        )
    data = _read(path)
    if len(data) != KEY_BYTES:
        raise _damaged(path)
    return data


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _refused(path, error) from error


def _damaged(path: Path) -> StorageError:
    return StorageError(
        f"{path.name} does not hold a key.",
        reason="keys.damaged",
        remedy=f"A key file is {KEY_BYTES} raw bytes; restore it from its backup.",
    )


def _refused(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path.name} cannot be used.",
        reason="office.file",
        remedy=f"Check its path and permissions ({error.strerror}).",
    )
