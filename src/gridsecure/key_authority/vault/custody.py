"""Key sets made, kept and opened: what `key_files` seals and opens, as keys that decrypt."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from gridsecure.crypto.envelope import Kek
from gridsecure.errors import NotFoundError
from gridsecure.homomorphic.parameters import find_parameters
from gridsecure.homomorphic.secret_key import SecretKeySet, generate_key_set, load_secret_key_set
from gridsecure.key_authority.vault.key_files import (
    KeyPlace,
    key_path,
    open_key_file,
    write_key_file,
)


def create_key_set(
    folder: Path, place: KeyPlace, *, kek: Kek, created_at: datetime
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
    folder: Path, place: KeyPlace, key_set: SecretKeySet, *, kek: Kek, created_at: datetime
) -> None:
    """Keep a key set sealed.

    Args:
        kek: The 16-byte key-encryption key.

    Raises:
        ConflictError: The folder already holds this key set (`keys.exists`).
        StorageError: The disk refuses; no half-written file is left.
    """
    write_key_file(
        folder, place, (key_set.to_bytes(), key_set.public), kek=kek, created_at=created_at
    )


def open_key_set(folder: Path, place: KeyPlace, *, kek: Kek) -> SecretKeySet:
    """Open a key set.

    Raises:
        NotFoundError: There is none in this place (`not-found.key-set`).
        EnvelopeError: Another key-encryption key, or an altered file.
        KeyMismatchError: Halves that do not belong together (`keys.file`).
        StorageError: The disk refuses.
    """
    path = key_path(folder, place)
    if not path.exists():
        raise NotFoundError("The vault holds no such key set.", reason="not-found.key-set")
    secret, public = open_key_file(path, kek=kek)
    return load_secret_key_set(secret, public=public)
