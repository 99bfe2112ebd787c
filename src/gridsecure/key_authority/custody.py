"""Key sets at rest: the secret key sealed with SM4-GCM under a key-encryption key, in one file.

A key file is written whole or not at all and readable by its owner only. Opening it proves that
secret and public half belong together.
"""

from __future__ import annotations

import os
import secrets
from datetime import datetime
from pathlib import Path
from typing import Final

from gridsecure import frames
from gridsecure.crypto.envelope import open_sealed, seal
from gridsecure.crypto.keys import PublicKeySet
from gridsecure.crypto.parameters import parameters_named
from gridsecure.crypto.secret_key import SecretKeySet, generate_key_set, secret_key_set
from gridsecure.errors import ConflictError, KeyMismatchError, StorageError

SECRET_PURPOSE: Final = "homomorphic-secret-key"  # noqa: S105 - a purpose, not a secret
_SUFFIX: Final = ".keys"


def create_key_set(
    folder: Path, *, parameters_name: str, kek: bytes, created_at: datetime
) -> SecretKeySet:
    """Generate a key set and keep it sealed.

    Args:
        folder: The vault's folder.
        parameters_name: Parameter set; a folder holds at most one key set of each.
        kek: The 16-byte key-encryption key.
        created_at: Now.

    Raises:
        NotFoundError: No such parameter set.
        ConflictError: The folder already holds a key set of these parameters.
        StorageError: The disk refuses; no half-written file is left.
    """
    parameters = parameters_named(parameters_name)
    path = folder / f"{parameters.name}{_SUFFIX}"
    if path.exists():
        raise ConflictError(
            f"A key set of {parameters.name} exists.",
            reason="keys.exists",
            remedy="Use it; replacing keys is a ceremony of its own.",
        )
    key_set = generate_key_set(parameters)
    sealed = seal(
        key_set.to_bytes(),
        kek=kek,
        purpose=SECRET_PURPOSE,
        owner=key_set.public.key_id,
        created_at=created_at,
    )
    public = key_set.public
    content = [
        parameters.name.encode(),
        parameters.digest.encode(),
        sealed,
        public.public_key,
        public.relinearisation_keys,
    ]
    _write(path, frames.joined(content))
    return key_set


def open_key_sets(folder: Path, *, kek: bytes) -> dict[str, SecretKeySet]:
    """Open every key set of a folder, by parameter set name.

    Raises:
        EnvelopeError: Another key-encryption key, or an altered file.
        KeyMismatchError: Halves that do not belong together, or a file under another name.
    """
    return {path.stem: _open(path, kek) for path in sorted(folder.glob(f"*{_SUFFIX}"))}


def _open(path: Path, kek: bytes) -> SecretKeySet:
    content = frames.split(path.read_bytes())
    if len(content) != 5 or content[0].decode(errors="replace") != path.stem:
        raise KeyMismatchError("A key file is not what its name says.", reason="keys.file")
    name, digest, sealed, public_key, relinearisation = content
    parameters = parameters_named(name.decode(), digest=digest.decode(errors="replace"))
    public = PublicKeySet(parameters, public_key, relinearisation)
    return secret_key_set(open_sealed(sealed, kek=kek, purpose=SECRET_PURPOSE), public=public)


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageError(
            "A key file could not be written; nothing of it was kept.",
            remedy="Free space on the vault's disk and try again.",
        ) from error
