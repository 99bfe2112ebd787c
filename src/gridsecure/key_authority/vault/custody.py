"""Key sets at rest: the secret key sealed with SM4-GCM under a key-encryption key, in one file.

A key file is written whole or not at all and readable by its owner only. The public half stands
beside the sealed secret and is bound to it, and so are the gateway whose key set it is and its
generation: the envelope's purpose names the digest of everything else in the file, so that no byte
of it can change unseen. The file's name says the same once more; a file under another's name is
refused. A revoked key set's file gets another suffix, and is not opened again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from re import fullmatch
from typing import Final

from gridsecure import frames
from gridsecure.crypto.envelope import open_sealed, seal
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
from gridsecure.homomorphic.secret_key import SecretKeySet, generate_key_set, load_secret_key_set
from gridsecure.whole_files import create_file, sync_folder

SECRET_PURPOSE: Final = "homomorphic-secret-key"  # noqa: S105 - a purpose, not a secret
_SUFFIX: Final = ".keys"
_REVOKED: Final = ".revoked"
_GATEWAY: Final = r"[0-9a-f]{64}"


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


def create_key_set(
    folder: Path, place: KeyPlace, *, kek: bytes, created_at: datetime
) -> SecretKeySet:
    """Generate a key set and keep it sealed.

    Args:
        place: Whose it is; a folder holds at most one key set of each place.
        kek: The 16-byte key-encryption key.

    Raises:
        ConflictError: The folder already holds this key set (`keys.exists`).
        StorageError: The disk refuses; no half-written file is left.
    """
    key_set = generate_key_set(find_parameters(place.parameters))
    keep_key_set(folder, place, key_set, kek=kek, created_at=created_at)
    return key_set


def keep_key_set(
    folder: Path, place: KeyPlace, key_set: SecretKeySet, *, kek: bytes, created_at: datetime
) -> None:
    """Keep a key set sealed.

    Args:
        kek: The 16-byte key-encryption key.

    Raises:
        ConflictError: The folder already holds this key set (`keys.exists`).
        StorageError: The disk refuses; no half-written file is left.
    """
    if _path(folder, place, _SUFFIX).exists() or _path(folder, place, _REVOKED).exists():
        raise _existing()
    public = key_set.public
    beside = [
        place.stem.encode(),
        public.parameters.digest.encode(),
        public.public_key,
        public.relinearisation_keys,
    ]
    sealed = seal(
        key_set.to_bytes(),
        kek=kek,
        purpose=_purpose(beside),
        owner=public.key_id,
        created_at=created_at,
    )
    try:
        create_file(_path(folder, place, _SUFFIX), frames.join_frames([sealed, *beside]))
    except FileExistsError as error:
        raise _existing() from error
    except OSError as error:
        raise StorageError(
            "A key file could not be written; nothing of it was kept.",
            remedy="Free space on the vault's disk, then try again.",
        ) from error


def check_kek(folder: Path, *, kek: bytes) -> None:
    """Open one key file, where there is any, so that a vault under another key does not start.

    Raises:
        EnvelopeError: Another key-encryption key, or an altered file.
        KeyMismatchError, StorageError: As `open_key_set`.
    """
    for path in sorted(folder.glob(f"*{_SUFFIX}"))[:1]:
        _open(path, kek)


def open_key_set(folder: Path, place: KeyPlace, *, kek: bytes) -> SecretKeySet:
    """Open a key set.

    Raises:
        NotFoundError: There is none in this place (`not-found.key-set`).
        EnvelopeError: Another key-encryption key, or an altered file.
        KeyMismatchError: Halves that do not belong together (`keys.file`), or the key set was
            revoked (`keys.revoked`).
        StorageError: The disk refuses.
    """
    if _path(folder, place, _REVOKED).exists():
        raise KeyMismatchError("A key set was revoked.", reason="keys.revoked")
    path = _path(folder, place, _SUFFIX)
    if not path.exists():
        raise NotFoundError("The vault holds no such key set.", reason="not-found.key-set")
    return _open(path, kek)


def find_place(folder: Path, *, gateway: str, key_id: str) -> KeyPlace | None:
    """Where a gateway's key set of this id is, in force or revoked; None if it has none.

    Raises:
        EnvelopeError: A file of the gateway was altered.
        NotFoundError: As `KeyPlace`.
        StorageError: The disk refuses.
    """
    if not fullmatch(_GATEWAY, gateway):
        return None
    for path in sorted(folder.glob(f"{gateway}.*")):
        parts = path.name.split(".")
        if f".{parts[-1]}" not in (_SUFFIX, _REVOKED) or len(parts) != 4:
            continue
        _, name, generation, _ = parts
        _, _, digest, public_key, _ = _content(path)
        if key_fingerprint(digest.decode(errors="replace"), public_key) == key_id:
            return KeyPlace(gateway, name, int(generation))
    return None


def revoke_key_set(folder: Path, place: KeyPlace) -> None:
    """Put a key set away for good; a second time changes nothing.

    Raises:
        NotFoundError: There is none in this place (`not-found.key-set`).
        StorageError: The disk refuses.
    """
    path, away = _path(folder, place, _SUFFIX), _path(folder, place, _REVOKED)
    if not path.exists() and not away.exists():
        raise NotFoundError("The vault holds no such key set.", reason="not-found.key-set")
    try:
        if path.exists():
            path.rename(away)
        sync_folder(folder)
    except OSError as error:
        raise StorageError(
            "A key file could not be moved away.", remedy="Check the vault's folder."
        ) from error


def _open(path: Path, kek: bytes) -> SecretKeySet:
    sealed, *beside = _content(path)
    secret = open_sealed(sealed, kek=kek, purpose=_purpose(beside))
    # From here on every byte is as it was written under this key-encryption key.
    stem, digest, public_key, relinearisation = beside
    if stem.decode() != path.stem:
        raise KeyMismatchError("A key file's content does not match its name.", reason="keys.file")
    parameters = find_parameters(path.stem.split(".")[1], digest=digest.decode())
    return load_secret_key_set(secret, public=PublicKeySet(parameters, public_key, relinearisation))


def _content(path: Path) -> list[bytes]:
    try:
        content = frames.split_frames(path.read_bytes())
    except OSError as error:
        raise StorageError(
            "A key file could not be read.", remedy="Check the vault's folder."
        ) from error
    except InvalidMessageError as error:
        raise _altered() from error
    if len(content) != 5:
        raise _altered()
    return content


def _purpose(beside: Sequence[bytes]) -> str:
    return f"{SECRET_PURPOSE}/{sm3_hex(frames.join_frames(beside))}"


def _path(folder: Path, place: KeyPlace, suffix: str) -> Path:
    return folder / f"{place.stem}{suffix}"


def _existing() -> ConflictError:
    return ConflictError(
        "The vault already has this key set.",
        reason="keys.exists",
        remedy="Use it, or rotate it.",
    )


def _altered() -> EnvelopeError:
    return EnvelopeError("A key file was altered.")
