"""Key sets at rest: the secret key sealed with SM4-GCM under a key-encryption key, in one file.

    sealed secret ‖ format ‖ place ‖ parameters' digest ‖ public key ‖ relinearisation keys

in format 2; in format 1, of releases before the vault had custodians, without `format`. Each comes
after its length (`frames`). `format` is JSON: its version, what the secret is sealed with, and
the scheme of the key, so that a later release knows what it has before it opens anything.

A key file is written whole or not at all and readable by its owner only. The public half stands
beside the sealed secret and is bound to it, and so are the gateway whose key set it is and its
generation: the envelope's purpose names the digest of everything else in the file, so that no byte
of it can change unseen. The file's name says the same once more; a file under another's name is
refused. Whether a key set may be used is not said here (`key_states`).

Not here: what a secret key is (`custody`). So whoever seals files anew has no way to use one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from re import fullmatch
from typing import Final

from gridsecure import frames
from gridsecure.crypto.envelope import Kek, open_sealed, reseal, seal
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import (
    ConflictError,
    EnvelopeError,
    InvalidMessageError,
    KeyMismatchError,
    NotFoundError,
    StorageError,
)
from gridsecure.homomorphic.keys import PublicKeySet, key_fingerprint
from gridsecure.homomorphic.parameters import find_parameters
from gridsecure.whole_files import create_file

SECRET_PURPOSE: Final = "homomorphic-secret-key"  # noqa: S105 - a purpose, not a secret
FORMAT: Final = 2
SEALED: Final = "SM4-GCM"
SUFFIX: Final = ".keys"
REVOKED: Final = ".revoked"
"""The file of a revoked key set, in folders of releases before there were custodians."""
_GATEWAY: Final = r"[0-9a-f]{64}"
_BESIDE: Final = {1: 4, FORMAT: 5}
"""By format, how many parts stand beside the sealed secret."""


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Which key set of which gateway.

    Args:
        gateway: Thumbprint of the gateway's key.
        generation: Counts the gateway's key sets of these parameters, from 1.

    Raises:
        NotFoundError: The gateway's name is no thumbprint, or there is no such parameter set.
    """

    gateway: str
    parameters: str
    generation: int

    def __post_init__(self) -> None:
        if not fullmatch(_GATEWAY, self.gateway):
            raise NotFoundError("There is no gateway of that name.", reason="not-found.gateway")
        find_parameters(self.parameters)

    @property
    def stem(self) -> str:
        """Its file's name, without the suffix."""
        return f"{self.gateway}.{self.parameters}.{self.generation}"


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A key file cut into its parts; nothing of it is authenticated yet.

    Args:
        version: Its format.
        sealed: The sealed secret.
        beside: All other parts, as the seal binds them.
    """

    version: int
    sealed: bytes
    beside: tuple[bytes, ...]

    @property
    def place(self) -> str:
        """Its file's name, without the suffix."""
        return self.beside[-4].decode(errors="replace")

    @property
    def key_id(self) -> str:
        """What the file says its key set is."""
        return key_fingerprint(self.beside[-3].decode(errors="replace"), self.beside[-2])

    @property
    def purpose(self) -> str:
        """What the secret is sealed for: with these parts, and no others."""
        return f"{SECRET_PURPOSE}/{sm3_hex(frames.join_frames(self.beside))}"

    def public(self, parameters: str) -> PublicKeySet:
        """The public half.

        Raises:
            NotFoundError: There is no such parameter set, or it means something else by now.
        """
        digest, public_key, relinearisation = self.beside[-3:]
        return PublicKeySet(
            find_parameters(parameters, digest=digest.decode()), public_key, relinearisation
        )


def write_key_file(
    folder: Path,
    place: KeyPlace,
    halves: tuple[bytes, PublicKeySet],
    *,
    kek: Kek,
    created_at: datetime,
) -> None:
    """Keep a key set sealed.

    Args:
        halves: The secret half, in bytes, and the public one.
        kek: The 16-byte key-encryption key.

    Raises:
        ConflictError: The folder already holds this key set (`keys.exists`).
        StorageError: The disk refuses; no half-written file is left.
    """
    if key_path(folder, place).exists():
        raise _existing()
    secret, public = halves
    beside = [
        _format_of(place.parameters),
        place.stem.encode(),
        public.parameters.digest.encode(),
        public.public_key,
        public.relinearisation_keys,
    ]
    sealed = seal(
        secret,
        kek=kek,
        purpose=KeyFile(FORMAT, b"", tuple(beside)).purpose,
        owner=public.key_id,
        created_at=created_at,
    )
    _create(key_path(folder, place), frames.join_frames([sealed, *beside]))


def open_key_file(path: Path, *, kek: Kek) -> tuple[bytes, PublicKeySet]:
    """The secret half of the key set in a file, and the public one.

    Raises:
        EnvelopeError: Another key-encryption key, an altered file, or one of another format.
        KeyMismatchError: The content is another place's (`keys.file`).
        StorageError: The disk refuses.
    """
    file = read_key_file(path)
    if file.version != FORMAT:
        raise _of_another_release(path)
    secret = open_sealed(file.sealed, kek=kek, purpose=file.purpose)
    # From here on every byte is as it was written under this key-encryption key.
    _check_name(file, path)
    return secret, file.public(path.stem.split(".")[1])


def read_key_file(path: Path) -> KeyFile:
    """Cut a key file of any format into its parts.

    Raises:
        EnvelopeError: It has another shape, or says that it is of a later format (`keys.format`).
        StorageError: The disk refuses.
    """
    try:
        sealed, *beside = frames.split_frames(path.read_bytes())
    except OSError as error:
        raise StorageError(
            "A key file could not be read.", remedy="Check the vault's folder."
        ) from error
    except (InvalidMessageError, ValueError) as error:
        raise _altered() from error
    for version, count in _BESIDE.items():
        if len(beside) == count and (version == 1 or _version_of(beside[0], path) == version):
            return KeyFile(version, sealed, tuple(beside))
    raise _altered()


def list_key_files(folder: Path) -> Iterator[Path]:
    """All key files of a folder, by name."""
    for path in sorted(folder.glob("*.*")):
        if path.suffix in {SUFFIX, REVOKED} and len(path.name.split(".")) == 4:
            yield path


def reseal_key_files(source: Path, target: Path, *, kek: Kek, new_kek: Kek) -> int:
    """Seal every key set of a folder anew in another one, in this release's format; how many.

    Args:
        target: Is there, and is given up if this fails.

    Raises:
        EnvelopeError, KeyMismatchError, StorageError: As `open_key_file`.
    """
    count = 0
    for path in list_key_files(source):
        file = read_key_file(path)
        _check_name(file, path)
        beside = (_format_of(path.stem.split(".")[1]), *file.beside[-4:])
        anew = KeyFile(FORMAT, b"", beside)
        sealed = reseal(file.sealed, kek=kek, new_kek=new_kek, purpose=(file.purpose, anew.purpose))
        _create(target / f"{path.stem}{SUFFIX}", frames.join_frames([sealed, *beside]))
        count += 1
    return count


def find_place(folder: Path, *, gateway: str, key_id: str) -> KeyPlace | None:
    """Where a gateway's key set of this id is; None if it has none.

    Raises:
        EnvelopeError: A file of the gateway was altered.
        NotFoundError: As `KeyPlace`.
        StorageError: The disk refuses.
    """
    if not fullmatch(_GATEWAY, gateway):
        return None
    for path in list_key_files(folder):
        own, name, generation, _ = path.name.split(".")
        if own == gateway and read_key_file(path).key_id == key_id:
            return KeyPlace(gateway, name, int(generation))
    return None


def destroy_file(path: Path) -> None:
    """Overwrite a file and remove it. A disk may keep what was there: old backups surely do.

    Raises:
        OSError: The disk refuses.
    """
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()


def key_path(folder: Path, place: KeyPlace) -> Path:
    """Where a key set's file is."""
    return folder / f"{place.stem}{SUFFIX}"


def _format_of(parameters: str) -> bytes:
    said = {
        "format": FORMAT,
        "scheme": find_parameters(parameters).scheme.name,
        "sealed": SEALED,
    }
    return json.dumps(said, separators=(",", ":")).encode()


def _version_of(said: bytes, path: Path) -> int:
    try:
        version = json.loads(said)["format"]
    except (ValueError, TypeError, KeyError) as error:
        raise _altered() from error
    if version != FORMAT:
        raise _of_another_release(path)
    return FORMAT


def _check_name(file: KeyFile, path: Path) -> None:
    if file.place != path.stem:
        raise KeyMismatchError("A key file's content does not match its name.", reason="keys.file")


def _create(path: Path, data: bytes) -> None:
    try:
        create_file(path, data)
    except FileExistsError as error:
        raise _existing() from error
    except OSError as error:
        raise StorageError(
            "A key file could not be written; nothing of it was kept.",
            remedy="Free space on the vault's disk, then try again.",
        ) from error


def _existing() -> ConflictError:
    return ConflictError(
        "The vault already has this key set.",
        reason="keys.exists",
        remedy="Use it, or rotate it.",
    )


def _altered() -> EnvelopeError:
    return EnvelopeError("A key file was altered.")


def _of_another_release(path: Path) -> EnvelopeError:
    return EnvelopeError(
        f"The key file {path.name[:12]}… is of another release's format.",
        reason="keys.format",
        remedy="Run the release that wrote it, or `gridsecure vault init` on an earlier folder.",
    )
