"""The files an office keeps for itself: its keys, what it saw of the logs, and signed orders."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError

from gridsecure.credentials.opening import Opener, OpenerKey
from gridsecure.credentials.suites import Suite
from gridsecure.crypto.sm2 import Sm2PrivateKey, private_key_from_bytes
from gridsecure.errors import InputError, InvalidMessageError, StorageError
from gridsecure.messages import Digest, Message, Signed
from gridsecure.released_values import SignedCertificate
from gridsecure.transparency.tree import Frontier, frontier_nodes
from gridsecure.whole_files import create_file, replace_file

KEY_BYTES: Final = 32
_OTHERS: Final = 0o077

Log = Literal["registrations", "enrolments"]
LOGS: Final[tuple[Log, ...]] = ("registrations", "enrolments")
"""The identity service's two evidence logs."""


class SeenLog(Message):
    """What this office verified of a log: its size, and the hashes of the tree's full subtrees."""

    size: int = Field(ge=0)
    hashes: list[Digest] = Field(max_length=64)


class SeenEntry(Message):
    """The last entry of a log that this office verified before the log was a tree.

    Its hash covers every entry before it. Witness files were of this form then.

    Args:
        index: Its place, from 0.
        hash: Its name, which it has kept.
    """

    index: int = Field(ge=0)
    at: str
    actor: str
    action: str
    detail: str
    previous: Digest
    hash: Digest


class Witness(Message):
    """What this office verified of each log the last time."""

    registrations: SeenLog | SeenEntry | None = None
    enrolments: SeenLog | SeenEntry | None = None


Kept = dict[Log, Frontier | SeenEntry]
"""By log, what this office keeps of it."""


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


def read_witness(path: Path) -> Kept:
    """What this office kept of the logs; nothing before its first look at one.

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
        seen: dict[Log, SeenLog | SeenEntry | None] = {
            "registrations": kept.registrations,
            "enrolments": kept.enrolments,
        }
        return {log: _frontier(one) for log, one in seen.items() if one is not None}
    except (ValidationError, ValueError) as error:
        raise InputError(
            f"{path.name} is no witness of the evidence log.",
            reason="office.witness",
            remedy="Restore it from your own backup. A new witness remembers nothing.",
        ) from error


def _frontier(seen: SeenLog | SeenEntry) -> Frontier | SeenEntry:
    if isinstance(seen, SeenEntry):
        return seen
    if len(seen.hashes) != len(frontier_nodes(seen.size)):
        raise ValueError("a tree of this size has another number of full subtrees")
    return Frontier(seen.size, tuple(map(bytes.fromhex, seen.hashes)))


def write_witness(path: Path, seen: Kept) -> None:
    """Keep what was seen of the logs, in place of what was kept earlier.

    Args:
        seen: By log, verified.

    Raises:
        StorageError: The disk refuses (`office.file`).
    """
    kept = {
        log: SeenLog(size=one.size, hashes=[node.hex() for node in one.hashes])
        if isinstance(one, Frontier)
        else one
        for log, one in seen.items()
    }
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


def read_certificate(path: Path) -> SignedCertificate:
    """A release certificate in a file, with or without the values beside it.

    Raises:
        StorageError: It cannot be read (`office.file`).
        InvalidMessageError: It is no certificate.
    """
    return SignedCertificate.parse(_read(path))


def write_signed(path: Path, envelope: Signed, *, is_public: bool = False) -> None:
    """Write what was signed to a new file.

    Args:
        path: The file; nothing is overwritten.
        is_public: Whether every user of the machine may read it.

    Raises:
        StorageError: The disk refuses, or there is such a file (`office.file`).
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(envelope.model_dump_json(indent=1) + "\n")
        if is_public:
            path.chmod(0o644)
    except OSError as error:
        raise _refused(path, error) from error


def write_own(path: Path, text: str) -> None:
    """Write what its owner alone may read, to a new file.

    Raises:
        StorageError: The disk refuses, or there is such a file (`office.file`).
    """
    try:
        create_file(path, text.encode())
    except OSError as error:
        raise _refused(path, error) from error


def write_public(path: Path, text: str) -> None:
    """Write what everybody may read, in place of an earlier file.

    Raises:
        StorageError: The disk refuses (`office.file`).
    """
    try:
        replace_file(path, [text.encode()], mode=0o644)
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
